package store_test

import (
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/store"
)

// Retention removes entries of its sort and tenant; what is in quarantine and
// what failed stays explainable, and the inventory knows everything.
func testRetain(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	finish := func(key string, o ledger.Outcome) *ledger.Entry {
		b.intake(b.look(key, ""))
		e := b.pickOne()
		e.Version, e.Outcome, e.Verdict, e.Size = "v", o, scan.Clean, 5
		if err := b.db.Finish(ctx, e, ledger.End{Current: true}); err != nil {
			t.Fatal(err)
		}
		return e
	}
	finish("a", ledger.OutcomeDone)
	finish("b", ledger.OutcomeDone)
	kept := finish("kept", ledger.OutcomeDone)
	finish("failed", ledger.OutcomeFailed)
	must(b.db.QuarantinePut(ctx, store.QuarantineItem{Tenant: 1, Unit: b.unit, Key: "kept", SHA256: make([]byte, 32), Entry: kept.ID, Place: b.unit, Object: "q/1", State: store.QuarantineHeld}))(t)
	soon := time.Now().Add(time.Hour)
	for _, c := range []struct {
		tenant   int64
		realTime bool
		before   time.Time
		n        int
		want     int64
	}{{1, true, time.Now().Add(-time.Hour), 10, 0}, {1, false, soon, 10, 0}, {2, true, soon, 10, 0}, {1, true, soon, 1, 1}, {1, true, soon, 10, 1}, {1, true, soon, 10, 0}} {
		if got := must(b.db.PurgeEntries(ctx, c.tenant, c.realTime, c.before, c.n))(t); got != c.want {
			t.Errorf("%+v: %d removed", c, got)
		}
	}
	for key, want := range map[string]int{"a": 0, "b": 0, "kept": 1, "failed": 1} {
		if got := must(b.db.History(ctx, b.unit, key))(t); len(got) != want {
			t.Errorf("%s: %d entries, want %d", key, len(got), want)
		}
		if _, ok, err := b.db.Row(ctx, b.unit, key); err != nil || !ok {
			t.Errorf("%s: not in the inventory: %v", key, err)
		}
	}
	if err := b.db.Bury(ctx, ledger.Letter{Source: "s", Why: "x"}); err != nil {
		t.Fatal(err)
	}
	if n := must(b.db.PurgeLetters(ctx, soon, 10))(t); n != 1 {
		t.Errorf("%d letters removed", n)
	}
	if n := must(b.db.PurgeLogins(ctx, 10))(t); n != 0 {
		t.Errorf("%d logins removed", n)
	}
	if ours := must(b.db.Elect(ctx, "job", time.Hour))(t); !ours {
		t.Error("nobody does the job")
	}
	if ours := must(b.db.Elect(ctx, "job", time.Hour))(t); ours {
		t.Error("the job is done twice")
	}
	if list := must(b.db.TenantNumbers(ctx))(t); len(list) != 1 || list[0] != 1 {
		t.Errorf("tenants %v", list)
	}
}

// What the hourly job does of itself: the chain is cut and still proves itself,
// and the cut stands in it.
func testRetainJob(t *testing.T, open func(testing.TB) *store.DB) {
	db := open(t)
	c := &control.Control{Store: db}
	addRows(t, db, 0, 5)
	if n := must(c.Retain(ctx, []int64{1, 2}, time.Now()))(t); n != 0 {
		t.Errorf("%d rows removed of a young ledger", n)
	}
	if n := must(c.Retain(ctx, []int64{1, 2}, time.Now().AddDate(2, 0, 0)))(t); n != 4 {
		t.Errorf("%d rows removed, want all but the last", n)
	}
	rows, n, err := db.Audit(ctx, ledger.AuditFilter{})
	if err != nil || n != 2 || rows[0].Action != "retention.audit" || rows[0].Type != ledger.SystemAction {
		t.Errorf("%v %d %+v", err, n, rows)
	}
	if v := verify(t, db); !v.Sound() || v.Rows != 2 {
		t.Errorf("%+v", v)
	}
	must(db.AddNoun(ctx, ledger.Noun{Tenant: 2, Kind: ledger.Setting, Name: control.SettingRetention, Body: []byte(`{`)}))(t)
	if _, err := c.Retain(ctx, []int64{1, 2}, time.Now()); !fault.Is(err, fault.Corrupt) {
		t.Errorf("a setting that makes no sense: %v, want Corrupt", err)
	}
}
