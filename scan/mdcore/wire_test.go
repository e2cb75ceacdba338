package mdcore

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/scan"
)

// Whatever an instance writes, reading it neither panics nor makes up a
// verdict: a clean one comes from a code that can be clean, said once.
func FuzzReply(f *testing.F) {
	for _, s := range []string{
		`{"data_id":"a","process_info":{"progress_percentage":100,"result":"Allowed"},"scan_results":{"scan_all_result_i":0,"total_avs":1,"scan_details":{"A":{"scan_result_i":0}}}}`,
		`{"data_id":"a","process_info":{"progress_percentage":"100","result":"Blocked","blocked_reasons":["x"],"outdated_data":["y"],"post_processing":{"actions_ran":"Sanitized | b","sanitization_details":{"sanitized_file_info":{"file_size":1}}}},"scan_results":{"scan_all_result_i":48}}`,
		`{"data_id":"a","process_info":{"progress_percentage":100,"result":"Allowed"},"scan_results":{"scan_all_result_i":0},"extracted_files":{"files_extracted_count":2,"files_in_archive":[{"scan_all_result_i":1,"display_name":"\ud800"}]},"dlp_info":{"verdict":1,"hits":{"a":{"hits":[1]}}},"yara":{"hits":{"r":{}}},"vulnerability_info":{"result":{"detected_product":{"has_vulnerability":true}}}}`,
		`{"data_id":"a","process_info":{"progress_percentage":100,"result":"Allowed"},"scan_results":{"scan_all_result_i":0},"extracted_files":[{"extracted_files":[{"scan_results":{"scan_all_result_i":2}}]}]}`,
		`{"a":"Not Found"}`, `[[[`, `{"a":1,"A":2}`,
	} {
		f.Add([]byte(s))
	}
	e := &Engine{o: Options{MinEngines: 1}}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r report
		notFound(b, "a")
		if decode(b, &r) != nil {
			return
		}
		done, err := r.finished("a")
		if err != nil || !done {
			return
		}
		tl := new(tally)
		if tl.add(&r.Extracted, 0) != nil {
			return
		}
		rep := e.judge(&r, tl)
		if rep.Verdict == scan.None || rep.Verdict == scan.NotScanned && rep.Reason == "" {
			t.Fatalf("no verdict: %+v", rep)
		}
		if n := int(r.Scan.Code.n); rep.Verdict == scan.Clean {
			if v, _ := scan.FromCode(n); v != scan.Clean && !openCode(n) {
				t.Fatalf("code %d is clean", n)
			}
		}
		if _, err := json.Marshal(rep); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFold(t *testing.T) {
	for _, pair := range [][2]string{{"a", "A"}, {"scan", "\u017fcan"}, {"k", "\u212a"}, {"ß", "ẞ"}, {"scan_all_result_i", "SCAN_ALL_RESULT_I"}} {
		if fold(pair[0]) != fold(pair[1]) {
			t.Errorf("%q and %q", pair[0], pair[1])
		}
	}
	if fold("a") == fold("b") {
		t.Error("a and b")
	}
}

func TestBounds(t *testing.T) {
	var v any
	for name, s := range map[string]string{
		"deep": strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1), "many": "[" + strings.Repeat("0,", maxTokens) + "0]",
		"keys": func() string {
			var b strings.Builder
			b.WriteString("{")
			for i := range maxKeys + 1 {
				b.WriteString(`"` + strings.Repeat("x", i) + `":0,`)
			}
			return b.String() + `"y":0}`
		}(), "two": "0 0", "none": "", "open": `{"a":1`, "brackets": "[}",
	} {
		if decode([]byte(s), &v) == nil {
			t.Errorf("%s was read", name)
		}
	}
	if err := decode([]byte(strings.Repeat("[", maxDepth)+strings.Repeat("]", maxDepth)), &v); err != nil {
		t.Error(err)
	}
}
