package store_test

import (
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/store"
	"github.com/landwaiter/landwaiter/workflow"
)

// instant starts an Instant scan of all of the unit.
func (b *bench) instant() ledger.Scan {
	b.t.Helper()
	return must(b.db.StartScan(ctx, ledger.Scan{Unit: b.unit, Type: ledger.Instant, Workflow: b.scan.Workflow, Name: "now", Priority: 2}))(b.t)
}

// discover takes keys into a scan whose listing is at was; it is then at next.
func (b *bench) discover(s ledger.Scan, was, next string, keys ...string) error {
	var batch []ledger.Arrival
	for _, k := range keys {
		batch = append(batch, ledger.Arrival{Scan: s.ID, Event: object.Event{Ref: object.Ref{Unit: "u", Key: k, Version: "v"}, Size: 1, Cause: "scan"}})
	}
	_, err := b.db.Discover(ctx, b.unit, batch, ledger.Listing{Scan: s.ID, Was: was, Next: next})
	return err
}

func testDiscover(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	s := b.instant()
	want := func(err error, kind fault.Kind) {
		t.Helper()
		if (kind == fault.Other) != (err == nil) || err != nil && !fault.Is(err, kind) {
			t.Fatalf("got %v, want %v", err, kind)
		}
	}
	want(b.discover(s, "", "b", "a", "b"), fault.Other)
	want(b.discover(s, "", "b", "a", "b"), fault.Stale) // another node, which thinks that it lists
	want(b.discover(s, "b", "c", "c"), fault.Other)
	want(b.db.EndListing(ctx, s.ID, "b"), fault.Stale)
	if ended := must(b.db.CompleteScan(ctx, s.ID))(t); ended {
		t.Error("completed before it was listed")
	}
	want(b.db.EndListing(ctx, s.ID, "c"), fault.Other)
	want(b.discover(s, "c", "d", "d"), fault.Stale)
	if running := must(b.db.RunningScans(ctx))(t); len(running) != 1 || running[0].Next != "c" || !running[0].Listed || running[0].Name != "now" || running[0].Priority != 2 {
		t.Errorf("%+v", running)
	}
	got := b.pick(10)
	if len(got) != 3 {
		t.Fatalf("%d entries, want 3", len(got))
	}
	for i := range got {
		if ended := must(b.db.CompleteScan(ctx, s.ID))(t); ended {
			t.Error("completed with entries that are not finished")
		}
		b.clean(&got[i], "v")
	}
	if ended := must(b.db.CompleteScan(ctx, s.ID))(t); !ended {
		t.Error("not completed")
	}
	if ended := must(b.db.CompleteScan(ctx, s.ID))(t); ended {
		t.Error("completed twice")
	}

	// Stopped: what is pending is canceled, and nothing more is taken.
	s = b.instant()
	want(b.discover(s, "", "a", "a"), fault.Other)
	if n := must(b.db.StopScan(ctx, s.ID))(t); n != 1 {
		t.Errorf("%d canceled, want 1", n)
	}
	want(second(b.db.StopScan(ctx, s.ID)), fault.Changed)
	want(b.discover(s, "a", "b", "b"), fault.Stale)
	if e := b.pickOne(); !e.Cancel {
		t.Error("not asked to end")
	} else {
		b.clean(e, "v")
	}
	want(b.db.FailScan(ctx, s.ID, "x"), fault.Stale)
	list, total, err := b.db.FindScans(ctx, ledger.ScanFilter{Tenant: 1, Unit: b.unit, Types: []ledger.ScanType{ledger.Instant}, States: []string{store.ScanStopped, store.ScanCompleted}, Name: "no"})
	if err != nil || total != 2 || len(list) != 2 || list[0].ID != s.ID {
		t.Errorf("%v %d %+v", err, total, list)
	}
	if _, total, err := b.db.FindScans(ctx, ledger.ScanFilter{States: []string{store.ScanStopping}}); total != 0 || err != nil {
		t.Errorf("%d are stopping, %v", total, err)
	}
	if before, after, err := b.db.Beside(ctx, s); before != list[1].ID || after != (ledger.ID{}) || err != nil {
		t.Errorf("beside: %s %s %v", before, after, err)
	}
	want(b.db.RemoveScan(ctx, s.ID), fault.Other)
	want(second(b.db.Scan(ctx, 1, s.ID)), fault.NotFound)
	want(second(b.db.Scan(ctx, 2, list[1].ID)), fault.NotFound)
	if n := len(must(b.db.Entries(ctx, ledger.Filter{Scan: s.ID}))(t).Entries); n != 0 {
		t.Errorf("%d entries of a removed scan", n)
	}
}

// testFiles lists what a scan found by every filter and in every order.
func testFiles(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	began := time.Now().Add(-time.Minute)
	b.intake(b.look("clean", "v"), b.look("bad/virus", "v"), b.look("bad/vuln", "v"), b.look("failed", "v"), b.look("waits", "v"))
	for _, e := range b.pick(10) {
		judge(&e, "v")
		switch e.Key {
		case "waits":
			if err := b.db.GiveBack(ctx, &e, time.Now().Add(time.Hour), true); err != nil {
				t.Fatal(err)
			}
			continue
		case "bad/virus":
			e.Verdict, e.Code, e.Decision, e.Report = scan.Infected, 1, workflow.Blocked, &scan.Report{Verdict: scan.Infected, Code: 1, Detected: 7}
		case "bad/vuln":
			e.Code, e.Report = 33, &scan.Report{Verdict: scan.Clean, Code: 33, Vulnerabilities: 2, Sensitive: 1}
		case "failed":
			e.Outcome, e.Verdict, e.Reason, e.Decision = ledger.OutcomeFailed, scan.NotScanned, scan.EngineError, ""
		}
		if err := b.db.Finish(ctx, &e, ledger.End{Current: true}); err != nil {
			t.Fatal(err)
		}
	}
	yes, no := true, false
	for name, c := range map[string]struct {
		f    ledger.FileFilter
		want int
	}{
		"all":               {ledger.FileFilter{}, 5},
		"another tenant":    {ledger.FileFilter{Tenant: 2}, 0},
		"unit":              {ledger.FileFilter{Units: []int64{b.unit}}, 5},
		"no unit":           {ledger.FileFilter{Units: []int64{}}, 0},
		"scan":              {ledger.FileFilter{Scans: []ledger.ID{b.scan.ID, {}}}, 5},
		"type":              {ledger.FileFilter{Types: []ledger.ScanType{ledger.Instant}}, 0},
		"in progress":       {ledger.FileFilter{Processing: []ledger.Processing{ledger.InProgress}}, 1},
		"failed":            {ledger.FileFilter{Processing: []ledger.Processing{ledger.ProcessingFailed}}, 1},
		"blocked":           {ledger.FileFilter{Results: []ledger.Result{ledger.ResultBlocked}}, 2},
		"code":              {ledger.FileFilter{Codes: []int{33, 99999}}, 1},
		"detected":          {ledger.FileFilter{Detected: []int{7, 8}}, 1},
		"nothing detected":  {ledger.FileFilter{Detected: []int{0}}, 4},
		"vulnerabilities":   {ledger.FileFilter{HasVulns: &yes}, 1},
		"none":              {ledger.FileFilter{HasVulns: &no}, 4},
		"how many":          {ledger.FileFilter{Vulns: []int{2}}, 1},
		"sensitive":         {ledger.FileFilter{Sensitive: &yes}, 1},
		"kept":              {ledger.FileFilter{Remedies: []ledger.Remedy{ledger.BlockedKept}}, 1},
		"no such remedy":    {ledger.FileFilter{Remedies: []ledger.Remedy{77}}, 0},
		"search":            {ledger.FileFilter{Search: "ad/v"}, 2},
		"workflow":          {ledger.FileFilter{Workflows: []ledger.Hash{b.scan.Workflow}}, 5},
		"no workflow":       {ledger.FileFilter{Workflows: []ledger.Hash{{1}}}, 0},
		"since":             {ledger.FileFilter{From: began, To: began.Add(time.Hour)}, 5},
		"before":            {ledger.FileFilter{To: began}, 0},
		"a member":          {ledger.FileFilter{Parent: ledger.NewID()}, 0},
		"three together":    {ledger.FileFilter{Search: "bad", Results: []ledger.Result{ledger.ResultAllowed}, Sensitive: &yes}, 1},
		"contradictory too": {ledger.FileFilter{Codes: []int{1}, HasVulns: &yes}, 0},
	} {
		page := must(b.db.Files(ctx, c.f))(t)
		if len(page.Entries) != c.want || page.Total != int64(c.want) || page.AtLeast {
			t.Errorf("%s: %d entries, total %d, want %d", name, len(page.Entries), page.Total, c.want)
		}
	}
	for by, want := range map[ledger.FileSort]string{{By: ledger.ByProcessing}: "waits", {By: ledger.ByResult, Desc: true}: "waits", {By: ledger.ByCode}: "clean", {By: ledger.ByCode, Desc: true}: "waits",
		{By: ledger.ByDetections, Desc: true}: "bad/virus", {By: ledger.ByVulnerabilities, Desc: true}: "bad/vuln"} {
		if got := must(b.db.Files(ctx, ledger.FileFilter{Sort: []ledger.FileSort{by}, Limit: 1}))(t).Entries[0].Key; got != want {
			t.Errorf("by %+v it begins with %s, want %s", by, got, want)
		}
	}
	for by := ledger.ByDiscovery; by <= ledger.ByVulnerabilities; by++ {
		whole := must(b.db.Files(ctx, ledger.FileFilter{Sort: []ledger.FileSort{{By: by, Desc: true}}}))(t).Entries
		for i := range whole {
			page := must(b.db.Files(ctx, ledger.FileFilter{Sort: []ledger.FileSort{{By: by, Desc: true}}, Start: i, Limit: 1}))(t)
			if len(page.Entries) != 1 || page.Entries[0].ID != whole[i].ID || page.Total != 5 {
				t.Errorf("by %d, page %d is not what the whole list has there", by, i)
			}
		}
	}
	if page := must(b.db.Files(ctx, ledger.FileFilter{Start: 5}))(t); len(page.Entries) != 0 || page.Total != 5 {
		t.Errorf("after the end: %d of %d", len(page.Entries), page.Total)
	}
}
