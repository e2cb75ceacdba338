package scan_test

import (
	"encoding/json"
	"testing"

	"github.com/landwaiter/landwaiter/scan"
)

// TestVerdictJSON: JSON has words, reports that were kept with numbers are read
// too, and what is not understood is never clean.
func TestVerdictJSON(t *testing.T) {
	got, err := json.Marshal(scan.Report{Verdict: scan.Infected})
	var r scan.Report
	if err != nil || json.Unmarshal(got, &r) != nil || r.Verdict != scan.Infected {
		t.Errorf("%s reads as %v, %v", got, r.Verdict, err)
	}
	for text, want := range map[string]scan.Verdict{
		`"clean"`: scan.Clean, `1`: scan.Clean, `3`: scan.Infected, `"not_scanned"`: scan.NotScanned, `""`: scan.None, `0`: scan.None, `null`: scan.None,
		`"cleanish"`: scan.NotScanned, `9`: scan.NotScanned, `-1`: scan.NotScanned, `1.5`: scan.NotScanned, `true`: scan.NotScanned, `{}`: scan.NotScanned,
	} {
		var v scan.Verdict
		if err := json.Unmarshal([]byte(text), &v); err != nil || v != want {
			t.Errorf("%s: got %v, %v, want %v", text, v, err, want)
		}
	}
	if got, _ := json.Marshal(scan.Infected); string(got) != `"infected"` {
		t.Errorf("got %s", got)
	}
}
