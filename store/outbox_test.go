package store_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/store"
	"github.com/landwaiter/landwaiter/workflow"
)

const claimed = time.Minute

func claim(t testing.TB, db *store.DB, channel string) []ledger.Notice {
	t.Helper()
	return must(db.ClaimNotices(ctx, 1, channel, 100, claimed))(t)
}

func settle(t testing.TB, db *store.DB, end ledger.NoticeEnd, list ...ledger.Notice) {
	t.Helper()
	var s []ledger.Settled
	for _, n := range list {
		n.Error, n.Due = "no answer", time.Now().Add(-time.Second)
		s = append(s, ledger.Settled{Notice: n, End: end})
	}
	if err := db.SettleNotices(ctx, s); err != nil {
		t.Fatal(err)
	}
}

// Finish writes the notices of an entry with it, for those who want them.
func testNotices(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	finish := func(key string, d workflow.Decision, o ledger.Outcome) *ledger.Entry {
		b.intake(b.look(key, ""))
		e := b.pickOne()
		e.Version, e.Outcome, e.Decision, e.Verdict, e.Size = "v", o, d, scan.Infected, 5
		if err := b.db.Finish(ctx, e, ledger.End{Current: true}); err != nil {
			t.Fatal(err)
		}
		if err := b.db.Finish(ctx, e, ledger.End{Current: true}); err != nil { // as after a lost answer
			t.Fatal(err)
		}
		return e
	}
	finish("before anybody asked", workflow.Blocked, ledger.OutcomeDone)
	b.db.Subscribe(map[int64][]ledger.Subscription{1: {{Channel: "all", Files: true}, {Channel: "blocked", Blocked: true}, {Channel: "scans", Scans: true}}, 2: {{Channel: "foreign", Files: true}}})
	finish("a", workflow.Allowed, ledger.OutcomeDone)
	bad := finish("b", workflow.Blocked, ledger.OutcomeDone)
	finish("c", workflow.Blocked, ledger.OutcomeSuperseded)
	for channel, want := range map[string]int{"all": 2, "blocked": 1, "scans": 0, "foreign": 0} {
		if got := claim(t, b.db, channel); len(got) != want {
			t.Errorf("%s: %d notices, want %d", channel, len(got), want)
		} else if channel == "blocked" {
			var f ledger.FileNotice
			if err := json.Unmarshal(got[0].Body, &f); err != nil || f.ID != bad.ID.String() || f.Key != "b" || f.State != "finished" || f.Workflow != b.scan.Workflow.String() {
				t.Errorf("%v %+v", err, f)
			}
		}
	}
	select {
	case <-b.db.Noticed():
	default:
		t.Error("nobody was woken")
	}
	s := must(b.db.StartScan(ctx, ledger.Scan{Unit: b.unit, Type: ledger.Instant, Workflow: b.scan.Workflow}))(t)
	for range 2 { // the second end is none
		if err := b.db.EndScan(ctx, s.ID, store.ScanCompleted); err != nil {
			t.Fatal(err)
		}
	}
	got := claim(t, b.db, "scans")
	var n ledger.ScanNotice
	if len(got) != 1 || json.Unmarshal(got[0].Body, &n) != nil || n.ID != s.ID || n.State != store.ScanCompleted || n.Ended.IsZero() {
		t.Errorf("%d notices, %+v", len(got), n)
	}
}

func testOutbox(t *testing.T, open func(testing.TB) *store.DB) {
	db := open(t)
	for range 3 {
		if err := db.AddNotice(ctx, ledger.Notice{Tenant: 1, Channel: "mail", Kind: ledger.NoticeMail, Body: []byte(`{}`)}); err != nil {
			t.Fatal(err)
		}
	}
	got := claim(t, db, "mail")
	if len(got) != 3 || got[0].Attempts != 1 || got[0].Created.IsZero() {
		t.Fatalf("%+v", got)
	}
	if again := claim(t, db, "mail"); len(again) != 0 {
		t.Errorf("%d notices were claimed twice", len(again))
	}
	late := got[0]
	late.Attempts--
	settle(t, db, ledger.Delivered, late) // of a claim that is over
	settle(t, db, ledger.Delivered, got[0])
	settle(t, db, ledger.Untried, got[1])
	settle(t, db, ledger.GivenUp, got[2])
	if again := claim(t, db, "mail"); len(again) != 1 || again[0].ID != got[1].ID || again[0].Attempts != 1 {
		t.Errorf("%+v", again)
	}
	if err := db.AddNotice(ctx, ledger.Notice{Tenant: 1, Channel: "dead", Kind: ledger.NoticeScan, Body: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	for attempt := 1; attempt <= 2; attempt++ { // whoever claimed it first died: it comes again, under its id
		if got := must(db.ClaimNotices(ctx, 1, "dead", 10, 0))(t); len(got) != 1 || got[0].Attempts != attempt {
			t.Errorf("attempt %d: %+v", attempt, got)
		}
	}
	up := true
	list, total, err := db.Notices(ctx, ledger.NoticeFilter{Tenant: 1, GivenUp: &up})
	if err != nil || total != 1 || list[0].ID != got[2].ID || list[0].Error != "no answer" || !list[0].GivenUp {
		t.Errorf("%v %d %+v", err, total, list)
	}
	if rows, n, err := db.Audit(ctx, ledger.AuditFilter{Tenant: 1}); err != nil || n != 1 || rows[0].Action != "notice.give_up" || rows[0].Target != "mail" {
		t.Errorf("%v %d %+v", err, n, rows)
	}
	for _, err := range []error{db.RetryNotice(ctx, 2, got[2].ID), db.DropNotice(ctx, 2, got[2].ID), db.DropNotice(ctx, 1, ledger.NewID())} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("got %v, want NotFound", err)
		}
	}
	if err := db.RetryNotice(ctx, 1, got[2].ID); err != nil {
		t.Fatal(err)
	}
	if again := claim(t, db, "mail"); len(again) != 1 || again[0].Attempts != 1 {
		t.Errorf("%+v", again)
	}
	settle(t, db, ledger.Untried, got[1]) // claimed again above, with the same count
	if err := db.TendOutbox(ctx, func(int64, string) bool { return false }, 100); err != nil {
		t.Fatal(err)
	}
	if _, n, _ := db.Notices(ctx, ledger.NoticeFilter{}); n != 0 {
		t.Errorf("%d notices of a closed channel are left", n)
	}
}

// A full outbox takes nothing more, and says how much that was.
func TestFullOutbox(t *testing.T) {
	db := openAt(t, store.Options{Dir: t.TempDir(), Notices: 5})
	db.Subscribe(map[int64][]ledger.Subscription{1: {{Channel: "logger", Audit: true}}})
	addRows(t, db, 0, 20) // every second one is tenant 1's
	if err := db.AddNotice(ctx, ledger.Notice{Tenant: 1, Channel: "mail"}); !fault.Is(err, fault.Throttled) {
		t.Errorf("got %v, want Throttled", err)
	}
	if got := claim(t, db, "logger"); len(got) != 5 {
		t.Errorf("%d notices, want 5", len(got))
	}
	if err := db.TendOutbox(ctx, func(int64, string) bool { return true }, 100); err != nil {
		t.Fatal(err)
	}
	rows, _, err := db.Audit(ctx, ledger.AuditFilter{Search: "notice.lose"})
	if err != nil || len(rows) != 1 || rows[0].Detail != "5 notices were not kept: too many wait" {
		t.Errorf("%v %+v", err, rows)
	}
	if _, n, _ := db.Notices(ctx, ledger.NoticeFilter{}); n != 5 {
		t.Errorf("%d notices wait: a row about them made more", n)
	}
}

// A tenant hears of its own storages, by the names that it gave them.
func testTenantsNotices(t *testing.T, open func(testing.TB) *store.DB) {
	db := open(t)
	b := newBench(t, db)
	unit := must(db.EnsureUnit(ctx, connectors.Unit{Name: ledger.UnitName(2, "inbox"), URL: "s3://two", Tenant: 2}))(t)
	db.Subscribe(map[int64][]ledger.Subscription{1: {{Channel: "x", Files: true, Scans: true}}, 2: {{Channel: "x", Scans: true}}})
	s := must(db.StartScan(ctx, ledger.Scan{Unit: unit, Type: ledger.Instant, Workflow: b.scan.Workflow}))(t)
	if err := db.EndScan(ctx, s.ID, store.ScanStopped); err != nil {
		t.Fatal(err)
	}
	if got := claim(t, db, "x"); len(got) != 0 {
		t.Errorf("another tenant heard of it: %+v", got)
	}
	got := must(db.ClaimNotices(ctx, 2, "x", 10, claimed))(t)
	var n ledger.ScanNotice
	if len(got) != 1 || json.Unmarshal(got[0].Body, &n) != nil || n.Unit != "inbox" || n.State != store.ScanStopped {
		t.Errorf("%d notices, %+v", len(got), n)
	}
}
