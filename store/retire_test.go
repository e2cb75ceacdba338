package store_test

import (
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/store"
)

// What is pending of a unit that is retired ends as canceled; what is known of
// its objects stays, and its name is free.
func testRetire(t *testing.T, open func(testing.TB) *store.DB) {
	db := open(t)
	b := newBench(t, db)
	u := must(db.Unit(ctx, "u"))(t)
	if got := must(db.UnitOf(ctx, 1, u.Client))(t); got.ID != b.unit {
		t.Errorf("got unit %d, want %d", got.ID, b.unit)
	}
	for _, err := range []error{second(db.UnitOf(ctx, 2, u.Client)), second(db.UnitOf(ctx, 0, ledger.NewID())), second(db.LatestEntry(ctx, b.unit, "none", ledger.ID{})),
		second(db.RetireUnit(ctx, 999)), second(db.ScanOf(ctx, 999, b.scan.ID)), second(db.ScanOf(ctx, b.unit, ledger.NewID()))} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("got %v, want NotFound", err)
		}
	}
	b.intake(b.look("done", "1"))
	b.clean(b.pickOne(), "1")
	b.intake(b.look("work", "1"))
	running := b.pickOne()
	for i := range 600 { // more than one transaction takes
		b.intake(b.look("pending "+string(rune('a'+i%26))+time.Duration(i).String(), "1"))
	}
	b.intake(b.look("done", "2"))
	if s := must(db.ScanOf(ctx, b.unit, b.scan.ID))(t); s.ID != b.scan.ID {
		t.Errorf("%+v", s)
	}
	latest := must(db.LatestEntry(ctx, b.unit, "done", b.scan.ID))(t)
	if got := must(db.LatestEntry(ctx, b.unit, "done", ledger.ID{}))(t); got != latest {
		t.Errorf("got %v, want %v", got, latest)
	}
	if err := db.SetCursor(ctx, ledger.Cursor{Unit: b.unit, Source: "s", Next: "n"}); err != nil {
		t.Fatal(err)
	}

	if n := must(db.Acting(ctx, b.unit))(t); n != 0 {
		t.Errorf("%d entries act, want none", n)
	}
	if left := must(db.RetireUnit(ctx, b.unit))(t); left != 1 {
		t.Errorf("%d entries are in work, want 1", left)
	}
	for _, e := range must(db.History(ctx, b.unit, "done"))(t) {
		if e.ID == latest && (e.Outcome != ledger.OutcomeCanceled || e.Verdict != scan.NotScanned || e.Reason != scan.Canceled || e.State != ledger.Finished) {
			t.Errorf("%+v", e)
		}
	}
	running.Outcome, running.Verdict, running.Reason = ledger.OutcomeCanceled, scan.NotScanned, scan.Canceled
	if err := db.Finish(ctx, running, ledger.End{}); err != nil {
		t.Fatal(err)
	}
	if left := must(db.RetireUnit(ctx, b.unit))(t); left != 0 || must(db.Backlog(ctx, b.unit))(t) != 0 {
		t.Errorf("%d in work, %d pending", left, must(db.Backlog(ctx, b.unit))(t))
	}
	if next := must(db.Cursor(ctx, b.unit, "s"))(t); next != "" {
		t.Errorf("a cursor is left: %q", next)
	}
	if _, err := db.UnitOf(ctx, 1, u.Client); !fault.Is(err, fault.NotFound) {
		t.Errorf("retired: %v", err)
	}
	if _, known, err := db.Row(ctx, b.unit, "done"); err != nil || !known {
		t.Errorf("the object is not known any more: %v", err)
	}
	for _, s := range must(db.Scans(ctx, b.unit))(t) {
		if s.Ended.IsZero() || s.State != store.ScanStopped {
			t.Errorf("%+v", s)
		}
	}
	if id := must(db.EnsureUnit(ctx, connectors.Unit{Name: "u", URL: "file:///other"}))(t); id == b.unit {
		t.Error("the name is still that of the retired unit")
	}
	b.consistent()
}
