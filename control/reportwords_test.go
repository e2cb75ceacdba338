package control

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/ledger"
)

func TestFilterWords(t *testing.T) {
	yes, no := true, false
	at := time.Date(2026, 11, 28, 19, 0, 0, 0, time.FixedZone("", 3600))
	if got := filterWords(ledger.FileFilter{Scans: []ledger.ID{{1}}, Units: []int64{1}}); got != nil {
		t.Errorf("of a scan alone: %q", got)
	}
	got := filterWords(ledger.FileFilter{Search: "a\x00b", From: at, To: at.Add(time.Hour), Types: []ledger.ScanType{ledger.Instant, 9}, Workflows: []ledger.Hash{{0xab}},
		Processing: []ledger.Processing{ledger.InProgress, ledger.ProcessingFailed}, Results: []ledger.Result{ledger.ResultBlocked, 77}, Codes: []int{1}, Detected: []int{0, 2},
		Vulns: []int{}, HasVulns: &yes, Sensitive: &no, Remedies: []ledger.Remedy{ledger.BlockedMoved, 55}})
	want := []string{`path contains a\x00b`, "found from 2026-11-28 18:00:00 UTC", "found before 2026-11-28 19:00:00 UTC", "type instant or 9", "workflow snapshot ab0000000000",
		"state in progress or failed", "result blocked or 77", "verdict infected", "engines that found something: 0 or 2", "vulnerabilities: none", "with vulnerabilities", "without sensitive data",
		"remediation BlockedMoved or 55"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
