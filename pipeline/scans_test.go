package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/store"
	"github.com/landwaiter/landwaiter/workflow"
)

// begin starts a scan of a unit's folder under a workflow.
func (w *world) begin(unit, folder string, flow workflow.Workflow) ledger.Scan {
	w.t.Helper()
	data, _ := flow.Snapshot()
	hash, err := w.db.SaveWorkflow(context.Background(), data)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := w.db.StartScan(context.Background(), ledger.Scan{Unit: w.ids[unit], Type: ledger.Instant, Partition: folder, Workflow: hash, Priority: 3})
	if err != nil {
		w.t.Fatal(err)
	}
	w.pipe.Look()
	return s
}

// ended waits for the end of a scan and returns it.
func (w *world) ended(id ledger.ID) (s ledger.Scan) {
	w.t.Helper()
	w.until("ended", func() bool {
		var err error
		if s, err = w.db.Scan(context.Background(), 0, id); err != nil {
			w.t.Fatal(err)
		}
		return !s.Ended.IsZero()
	})
	return s
}

// found counts the entries of a scan by key.
func (w *world) found(unit string, id ledger.ID) map[string]int {
	w.t.Helper()
	m := map[string]int{}
	for _, e := range w.entries(unit) {
		if e.Scan == id {
			m[e.Key]++
		}
	}
	return m
}

// TestScanUnwatched scans a unit that nothing watches, twice, each time all of
// it, and under the workflow of the scan and not of the unit.
func TestScanUnwatched(t *testing.T) {
	u, l := listed("a")
	u.still = true
	w := newWorld(t, u)
	for i := range 1200 {
		l.Write(fmt.Sprintf("docs/k%05d", i), nil)
	}
	l.Write("docs2/beside", nil)
	l.Write("docs/bad", []byte(evil))
	w.run()
	if ok, err := w.pipe.Idle(context.Background()); !ok || err != nil {
		t.Fatalf("a unit that nobody watches is not idle: %v", err)
	}
	for range 2 {
		s := w.ended(w.begin("a", "docs", report()).ID)
		if s.State != store.ScanCompleted || s.Error != "" {
			t.Errorf("%+v", s)
		}
		found := w.found("a", s.ID)
		if len(found) != 1201 || found["docs2/beside"] != 0 {
			t.Errorf("%d keys", len(found))
		}
		for key, n := range found {
			if n != 1 {
				t.Errorf("%s has %d entries", key, n)
			}
		}
	}
	if n := w.engine.called("bad"); n != 2 {
		t.Errorf("the engine saw the object %d times, want 2", n)
	}
	s := w.ended(w.begin("a", "", away()).ID)
	if n := w.vaulted(); n == 0 || s.State != store.ScanCompleted {
		t.Errorf("%s, and %d objects put away: the scan's own workflow was not used", s.State, n)
	}
	if _, starts := l.seen(); len(starts) != 3 {
		t.Errorf("listed %d times, want 3: nothing sweeps the unit", len(starts))
	}
	w.consistent()
}

// TestScanCrash kills the process at each call of a listing to the ledger, before
// and after its effect, and starts another: it wants every object in the scan
// once.
func TestScanCrash(t *testing.T) {
	const n = 1100
	cases, violations := 0, 0
	for at := int32(1); violations == 0; at++ {
		u, l := listed("a")
		u.still = true
		w := newWorld(t, u)
		for i := range n {
			l.Write(fmt.Sprintf("k%05d", i), nil)
		}
		var calls atomic.Int32
		w.called = func(op, _ string) error {
			switch op {
			case "Discover", "Discover+", "EndListing", "EndListing+", "CompleteScan", "CompleteScan+":
				if calls.Add(1) == at {
					w.dead.Store(true)
				}
			}
			if w.dead.Load() {
				return errDead
			}
			return nil
		}
		w.run()
		s := w.begin("a", "", report())
		w.until("dead or ended", func() bool {
			if w.dead.Load() {
				return true
			}
			now, err := w.db.Scan(context.Background(), 0, s.ID)
			return err == nil && !now.Ended.IsZero()
		})
		died := w.dead.Load()
		w.called = nil
		w.close()
		w.dead.Store(false)
		w.run()
		if s = w.ended(s.ID); s.State != store.ScanCompleted {
			t.Errorf("dying at call %d: %s %s", at, s.State, s.Error)
			violations++
		}
		found := w.found("a", s.ID)
		for key, times := range found {
			if times != 1 {
				t.Errorf("dying at call %d: %s has %d entries", at, key, times)
				violations++
				break
			}
		}
		if len(found) != n {
			t.Errorf("dying at call %d: %d objects of %d", at, len(found), n)
			violations++
		}
		w.consistent()
		w.close()
		if !died {
			break
		}
		cases++
	}
	if cases < 8 {
		t.Errorf("only %d places to die at", cases)
	}
	told("scan-crash", cases, violations, "enumerated")
}

// TestScanStop stops a scan whose listing waits for room: what is pending is
// canceled, nothing more is found, and another may start.
func TestScanStop(t *testing.T) {
	u, l := listed("a")
	u.still = true
	w := newWorld(t, u)
	w.bounds.Backlog = 1000
	for i := range 5000 {
		l.Write(fmt.Sprintf("k%05d", i), nil)
	}
	w.engine.down = true
	w.run()
	s := w.begin("a", "", report())
	w.until("full", func() bool {
		n, err := w.db.Backlog(context.Background(), w.ids["a"])
		return err == nil && n >= 1000
	})
	if _, err := w.db.StartScan(context.Background(), ledger.Scan{Unit: w.ids["a"], Type: ledger.Scheduled, Partition: "sub", Workflow: s.Workflow}); !fault.Is(err, fault.Exists) {
		t.Errorf("an overlapping scan: got %v, want Exists", err)
	}
	n, err := w.db.StopScan(context.Background(), s.ID)
	if err != nil || n < 1000 {
		t.Fatalf("stopped %d, %v", n, err)
	}
	if _, err := w.db.StopScan(context.Background(), s.ID); !fault.Is(err, fault.Changed) {
		t.Errorf("stopped twice: %v", err)
	}
	w.engine.set(func(e *engine) { e.down = false })
	w.until("through", func() bool {
		n, err := w.db.Backlog(context.Background(), w.ids["a"])
		return err == nil && n == 0
	})
	if got := int64(len(w.found("a", s.ID))); got != n {
		t.Errorf("%d entries, want the %d that were pending: something was found after the stop", got, n)
	}
	for _, e := range w.entries("a") {
		if e.Outcome != ledger.OutcomeCanceled {
			t.Fatalf("%s is %s", e.Key, e.Outcome)
		}
	}
	if next := w.ended(w.begin("a", "", report()).ID); next.State != store.ScanCompleted || len(w.found("a", next.ID)) != 5000 {
		t.Errorf("the scan after: %s, %d entries", next.State, len(w.found("a", next.ID)))
	}
	w.consistent()
}

// TestScanFails ends scans that cannot list, with the reason, and goes on where
// the unit only does not answer for a while.
func TestScanFails(t *testing.T) {
	u, l := listed("a")
	u.still = true
	w := newWorld(t, u)
	for i := range 700 {
		l.Write(fmt.Sprintf("k%05d", i), nil)
	}
	var lists atomic.Int32
	var refuse atomic.Bool
	w.hook = func(_, op, _ string) error {
		switch {
		case op != "List":
			return nil
		case refuse.Load():
			return fault.New(fault.Denied, "test", "", errors.New("no list permission"))
		case lists.Add(1) < 3:
			return unavailable("list")
		}
		return nil
	}
	w.run()
	if s := w.ended(w.begin("a", "", report()).ID); s.State != store.ScanCompleted || len(w.found("a", s.ID)) != 700 {
		t.Errorf("after the unit answered again: %s %s", s.State, s.Error)
	}
	refuse.Store(true)
	if s := w.ended(w.begin("a", "", report()).ID); s.State != store.ScanFailed || s.Error == "" {
		t.Errorf("a unit that refuses: %+v", s)
	}
	refuse.Store(false)
	l.set(func(l *lister) { l.gap = "k00001" })
	s := w.ended(w.begin("a", "", report()).ID)
	if s.State != store.ScanFailed || s.Error == "" || len(w.found("a", s.ID)) != 699 {
		t.Errorf("a part that cannot be listed: %s %q, %d entries", s.State, s.Error, len(w.found("a", s.ID)))
	}
}

// TestScanPriority lets a scan's objects go before others, and marks them.
func TestScanPriority(t *testing.T) {
	u, l := listed("a")
	w := newWorld(t, u)
	l.Write("k", []byte(evil))
	w.run()
	w.idle()
	s := w.ended(w.begin("a", "", report()).ID)
	for _, e := range w.entries("a") {
		want := 0
		if e.Scan == s.ID {
			want = 3
		}
		if e.Priority != want || e.Verdict != scan.Infected || time.Since(e.Discovered) > time.Hour {
			t.Errorf("%+v", e)
		}
	}
}

// TestUnlock hands passwords to the engine for one examination, and not to the
// next.
func TestUnlock(t *testing.T) {
	u, l := listed("a")
	w := newWorld(t, u)
	l.Write("k.zip", []byte("locked"))
	var mu sync.Mutex
	var seen [][]string
	w.engine.before = func(_ context.Context, s scan.Sample) error {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, s.Passwords)
		return nil
	}
	w.run()
	w.idle()
	for i, passwords := range [][]string{{"secret"}, nil} {
		e := w.only("a", "k.zip")
		if passwords != nil {
			if err := w.pipe.Unlock(&e, passwords); err != nil {
				t.Fatal(err)
			}
		}
		w.emit(event{Ref: e.Ref(), Force: true, Size: -1})
		w.until("scanned again", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == i+2 })
		w.idle()
	}
	if want := [][]string{nil, {"secret"}, nil}; !cmp.Equal(seen, want) {
		t.Errorf("the engine got %v, want %v", seen, want)
	}
}
