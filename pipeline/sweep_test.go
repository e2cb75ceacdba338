package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/scan"
)

// A lister is a unit without a watch, whose listing a test can look into.
type lister struct {
	*connectortest.Memory
	mu     sync.Mutex
	listed int
	starts []string
	gap    string // a prefix that cannot be listed
}

func (l *lister) List(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error] {
	l.mu.Lock()
	l.starts = append(l.starts, start)
	gap := l.gap
	l.mu.Unlock()
	return func(yield func(object.Info, error) bool) {
		told := false
		for info, err := range l.Memory.List(ctx, prefix, start) {
			if err == nil && gap != "" && len(info.Key) >= len(gap) && info.Key[:len(gap)] == gap {
				if !told {
					told = true
					if !yield(object.Info{}, &connectors.Gap{Prefix: gap, Err: fault.New(fault.Denied, "test", gap, nil)}) {
						return
					}
				}
				continue
			}
			l.mu.Lock()
			l.listed++
			l.mu.Unlock()
			if !yield(info, err) {
				return
			}
		}
	}
}

func (l *lister) seen() (int, []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.listed, l.starts
}

func (l *lister) set(f func(l *lister)) { l.mu.Lock(); defer l.mu.Unlock(); f(l) }

func listed(name string) (unit, *lister) {
	l := &lister{Memory: connectortest.NewMemory(name)}
	u := inMemory(name, report())
	u.driver, u.caps.Watch = l, false
	return u, l
}

// TestSweepStops stops discovery while the backlog is full, and goes on after.
func TestSweepStops(t *testing.T) {
	const n, bound = 5000, 1000
	u, l := listed("a")
	w := newWorld(t, u)
	w.bounds.Backlog = bound
	for i := range n {
		l.Write(fmt.Sprintf("k%05d", i), nil)
	}
	w.engine.down = true
	w.run()
	w.until("full", func() bool {
		b, err := w.db.Backlog(context.Background(), w.ids["a"])
		return err == nil && b >= bound
	})
	time.Sleep(300 * time.Millisecond) // to see that it does not go on
	pending, err := w.db.Backlog(context.Background(), w.ids["a"])
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := l.seen(); pending > bound+500 || got > bound+2000 {
		t.Errorf("%d pending and %d listed with a bound of %d", pending, got, bound)
	}
	w.engine.set(func(e *engine) { e.down = false })
	w.idle()
	if got := len(w.entries("a")); got != n {
		t.Errorf("%d entries, want %d", got, n)
	}
	told("sweep-stops", n, 0, "none")
}

// TestSweepResumes kills the process in the middle of a sweep: the next one
// goes on at the last batch that was committed, and misses nothing.
func TestSweepResumes(t *testing.T) {
	const n = 4000
	u, l := listed("a")
	w := newWorld(t, u)
	for i := range n {
		l.Write(fmt.Sprintf("k%05d", i), nil)
	}
	var at atomic.Int64
	at.Store(2600)
	w.hook = func(_, op, key string) error {
		if op == "List" && key == fmt.Sprintf("k%05d", at.Load()) {
			w.dead.Store(true) // the process dies here
			return errDead
		}
		return nil
	}
	w.run()
	w.until("dead", w.dead.Load)
	w.kill()
	at.Store(-1)
	w.run()
	w.idle()
	if got := len(w.entries("a")); got != n {
		t.Errorf("%d entries, want %d", got, n)
	}
	_, starts := l.seen()
	if len(starts) < 2 || starts[1] < "k02000" {
		t.Errorf("the second sweep began at %v, want at or after k02000", starts)
	}
	for _, e := range w.entries("a") {
		if e.Verdict != scan.Clean {
			t.Fatalf("%s is %s", e.Key, e.Verdict)
		}
	}
	w.consistent()
	told("sweep-resumes", n, 0, "none")
}

// TestSweepDiff finds what is new, changed and missing, and asks the engine for
// nothing else.
func TestSweepDiff(t *testing.T) {
	u, l := listed("a")
	w := newWorld(t, u)
	for i := range 300 {
		l.Write(fmt.Sprintf("k%03d", i), fmt.Appendf(nil, "%d", i))
	}
	w.run()
	w.idle()
	<-w.swept
	for i := range 100 {
		switch i % 3 {
		case 0:
			l.Delete(fmt.Sprintf("k%03d", i))
		case 1:
			l.Write(fmt.Sprintf("k%03d", i), []byte("changed"))
		case 2:
			l.Write(fmt.Sprintf("n%03d", i), []byte("new"))
		}
	}
	calls := w.engine.total()
	w.pipe.Sweep(w.ids["a"], "")
	s := <-w.swept
	w.idle()
	if s.New != 33 || s.Changed != 33 || s.Missing != 34 || s.Listed != 299 {
		t.Errorf("swept %+v", s)
	}
	if got := w.engine.total() - calls; got != 66 {
		t.Errorf("the engine was asked %d times, want 66", got)
	}
	w.pipe.Sweep(w.ids["a"], "")
	if s = <-w.swept; s.New+s.Changed+s.Missing != 0 {
		t.Errorf("the next sweep found %+v", s)
	}
	rows, err := w.db.Inventory(context.Background(), w.ids["a"], "", 1000)
	if err != nil || len(rows) != 299 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	w.consistent()
	told("sweep-diff", 400, 0, "none")
}

// TestSweepGap does not take what cannot be listed for missing.
func TestSweepGap(t *testing.T) {
	u, l := listed("a")
	w := newWorld(t, u)
	for _, k := range []string{"a/1", "b/1", "b/2", "c/1"} {
		l.Write(k, []byte(k))
	}
	w.run()
	w.idle()
	<-w.swept
	l.set(func(l *lister) { l.gap = "b/" })
	l.Delete("b/2") // cannot be known
	l.Delete("c/1")
	w.pipe.Sweep(w.ids["a"], "")
	s := <-w.swept
	w.idle()
	if s.Gaps != 1 || s.Missing != 1 {
		t.Errorf("swept %+v", s)
	}
	rows, err := w.db.Inventory(context.Background(), w.ids["a"], "", 10)
	if err != nil || len(rows) != 3 {
		t.Errorf("rows %+v, %v", rows, err)
	}
	l.set(func(l *lister) { l.gap = "" })
	w.pipe.Sweep(w.ids["a"], "")
	if s = <-w.swept; s.Missing != 1 {
		t.Errorf("after the gap: %+v", s)
	}
	told("sweep-gap", 4, 0, "none")
}

// TestSweepFails tries again after a listing that broke off.
func TestSweepFails(t *testing.T) {
	u, l := listed("a")
	w := newWorld(t, u)
	for i := range 10 {
		l.Write(fmt.Sprint(i), nil)
	}
	var broken atomic.Bool
	w.hook = func(_, op, key string) error {
		if op == "List" && key == "5" && broken.CompareAndSwap(false, true) {
			return fault.New(fault.Corrupt, "test", key, errors.New("torn page"))
		}
		return nil
	}
	w.run()
	w.until("all", func() bool { return len(w.entries("a")) == 10 })
	w.idle()
	told("sweep-fails", 10, 0, "none")
}

// TestOverflow sweeps the tree of which events were lost.
func TestOverflow(t *testing.T) {
	u, l := listed("a")
	w := newWorld(t, u)
	w.run()
	w.idle()
	for range cap(w.swept) {
		select {
		case <-w.swept:
		default:
		}
	}
	for _, k := range []string{"in/1", "in/2", "in0", "out/1"} {
		l.Write(k, []byte(k))
	}
	w.emit(event{Ref: object.Ref{Unit: "a", Key: "in/"}, Cause: "overflow", Size: -1})
	w.until("swept", func() bool { return len(w.entries("a")) == 2 })
	w.idle()
	for _, k := range []string{"in/1", "in/2"} {
		if e := w.want("a", k, scan.Clean, ""); e.Outcome != ledger.OutcomeDone {
			t.Errorf("%s: %s", k, e.Outcome)
		}
	}
	told("overflow", 4, 0, "none")
}
