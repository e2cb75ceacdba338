package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

// TestEnginesDown keeps entries pending, at no attempt, and never calls them
// clean: with the pool not ready, and with each call failing though it was.
func TestEnginesDown(t *testing.T) {
	const n = 200
	w := newWorld(t, inMemory("a", away()))
	for i := range n {
		w.places["a"].Write(fmt.Sprintf("k%03d", i), fmt.Appendf([]byte(evil), "%d", i))
	}
	w.engine.down = true
	w.run()
	w.until("pending", func() bool { return len(w.entries("a")) == n })
	// It seems ready, and each call finds that it is not.
	var calls atomic.Int64
	w.engine.set(func(e *engine) {
		e.down = false
		e.before = func(context.Context, scan.Sample) error {
			calls.Add(1)
			e.set(func(e *engine) { e.down = true })
			return unavailable("engine")
		}
	})
	w.until("asked", func() bool { return calls.Load() > 0 })
	w.until("given back", func() bool {
		for _, e := range w.entries("a") {
			if e.Attempts != 0 {
				return false
			}
		}
		return true
	})
	violations := 0
	for _, e := range w.entries("a") {
		if e.State != ledger.Pending || e.Attempts != 0 || e.Verdict == scan.Clean {
			violations++
			t.Errorf("%s: %s after %d attempts, %s", e.Key, e.State, e.Attempts, e.Verdict)
		}
	}
	w.engine.set(func(e *engine) { e.down, e.before = false, nil })
	w.idle()
	for i := range n {
		if e := w.want("a", fmt.Sprintf("k%03d", i), scan.Infected, ""); e.Attempts != 1 {
			violations++
			t.Errorf("%s took %d attempts, want 1", e.Key, e.Attempts)
		}
	}
	told("engines-down", n, violations, "none")
}

// TestPoison has objects that an engine always fails on: they end as failed
// when their attempts are used up, and the others do not wait for them.
func TestPoison(t *testing.T) {
	const n, bad = 400, 4
	w := newWorld(t, inMemory("a", report()))
	var skew atomic.Int64 // how far the clock is ahead: attempts back off for hours
	w.now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
	w.store.Now = w.now
	w.bounds.AttemptsFor = 1000 * time.Hour
	w.engine.before = func(_ context.Context, s scan.Sample) error {
		if strings.HasPrefix(s.Name, "poison") {
			return fault.New(fault.Other, "engine", s.Name, errors.New("cannot"))
		}
		return nil
	}
	for i := range n {
		name := fmt.Sprintf("fine%03d", i)
		if i%(n/bad) == 0 {
			name = fmt.Sprintf("poison%03d", i)
		}
		w.places["a"].Write(name, fmt.Appendf(nil, "%d", i))
	}
	w.run()
	w.until("all but the poison done", func() bool {
		done := 0
		for _, e := range w.entries("a") {
			if e.State == ledger.Finished && e.Verdict == scan.Clean {
				done++
			}
		}
		return done == n-bad
	})
	w.until("given up", func() bool {
		skew.Add(int64(20 * time.Minute))
		w.emit(look("a", "nudge", "")) // so that the clock is looked at
		failed := 0
		for _, e := range w.entries("a") {
			if e.State == ledger.Finished && e.Outcome == ledger.OutcomeFailed {
				failed++
			}
		}
		return failed == bad
	})
	violations := 0
	for _, e := range w.entries("a") {
		if !strings.HasPrefix(e.Key, "poison") {
			continue
		}
		if e.Attempts != 20 || e.Verdict != scan.NotScanned || e.Reason != scan.EngineError || e.Error == "" || w.engine.called(e.Key) != 20 {
			violations++
			t.Errorf("%s: %d attempts, %d calls, %s(%s) %s", e.Key, e.Attempts, w.engine.called(e.Key), e.Verdict, e.Reason, e.Error)
		}
	}
	told("poison", n, violations, "none")
}

// TestEngineCrash has an object that kills its parser: it is tried three times
// and ends as not_scanned(engine_crash), and the others finish.
func TestEngineCrash(t *testing.T) {
	w := newWorld(t, inMemory("a", away()))
	w.engine.before = func(_ context.Context, s scan.Sample) error {
		if s.Name == "bomb" {
			return &fault.Error{Op: "engine", Kind: fault.Other, Reason: string(scan.EngineCrash), Err: errors.New("the parser died")}
		}
		return nil
	}
	w.places["a"].Write("bomb", []byte("boom"))
	for i := range 50 {
		w.places["a"].Write(fmt.Sprint("fine", i), fmt.Appendf(nil, "%d", i))
	}
	w.run()
	w.idle()
	e := w.want("a", "bomb", scan.NotScanned, scan.EngineCrash)
	if e.Attempts != 3 || w.engine.called("bomb") != 3 {
		t.Errorf("%d attempts, %d calls, want 3", e.Attempts, w.engine.called("bomb"))
	}
	for i := range 50 {
		w.want("a", fmt.Sprint("fine", i), scan.Clean, "")
	}
	if w.places["a"].Content("bomb") == nil {
		t.Error("what was not scanned was removed")
	}
	told("engine-crash", 51, 0, "none")
}

// TestProcessCrash has an object that takes the whole process with it: the
// third death alone ends it, after one among others, and the others finish.
func TestProcessCrash(t *testing.T) {
	w := newWorld(t, inMemory("a", away()))
	const n = 30
	dead := make(chan struct{})
	kill := func() {
		w.kill()
		w.engine.set(func(e *engine) { e.before = nil })
	}
	arm := func() {
		dead = make(chan struct{})
		w.engine.set(func(e *engine) {
			e.before = func(ctx context.Context, s scan.Sample) error {
				if s.Name == "bomb" {
					close(dead)
				}
				if s.Name == "bomb" {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}
		})
	}
	w.places["a"].Write("bomb", []byte("boom"))
	for i := range n {
		w.places["a"].Write(fmt.Sprint("fine", i), fmt.Appendf(nil, "%d", i))
	}
	deaths := 0
	for {
		arm()
		w.run()
		gone := false
		w.until("died or idle", func() bool {
			select {
			case <-dead:
				gone = true
			default:
				ok, err := w.pipe.Idle(context.Background())
				return err == nil && ok
			}
			return gone
		})
		if !gone {
			break
		}
		deaths++
		kill()
	}
	e := w.want("a", "bomb", scan.NotScanned, scan.EngineCrash)
	if deaths > 4 || e.Crashes != 3 {
		t.Errorf("%d deaths, %d counted, want 3", deaths, e.Crashes)
	}
	for i := range n {
		if e := w.want("a", fmt.Sprint("fine", i), scan.Clean, ""); e.Crashes > 0 {
			t.Errorf("%s is blamed for %d deaths", e.Key, e.Crashes)
		}
	}
	told("process-crash", n+1, 0, "none")
}

// kill ends the process without giving anything back: its ledger answers no more.
func (w *world) kill() {
	w.t.Helper()
	w.dead.Store(true)
	w.close()
	w.dead.Store(false)
}

// TestHeldBack blocks Emit while the push backlog is full, and lets it go on
// when there is room.
func TestHeldBack(t *testing.T) {
	w := newWorld(t, inMemory("a", report()))
	w.bounds.PushBacklog = 50
	w.run()
	w.idle()
	w.engine.set(func(e *engine) { e.down = true })
	for i := range 60 {
		w.places["a"].Write(fmt.Sprintf("k%02d", i), fmt.Appendf(nil, "%d", i))
	}
	w.until("full", func() bool {
		n, err := w.db.Backlog(context.Background(), w.ids["a"])
		return err == nil && n >= 50
	})
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := w.pipe.Emit(ctx, w.ids["a"], "test", []event{look("a", "one more", "")}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Emit returned %v while the backlog was full", err)
	}
	blocked := make(chan error, 1)
	go func() {
		blocked <- w.pipe.Emit(context.Background(), w.ids["a"], "test", []event{look("a", "k00", "")})
	}()
	w.engine.set(func(e *engine) { e.down = false })
	select {
	case err := <-blocked:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Emit did not go on")
	}
	w.idle()
	for i := range 60 {
		w.want("a", fmt.Sprintf("k%02d", i), scan.Clean, "")
	}
	told("held-back", 60, 0, "none")
}

// TestUnitDown keeps a unit's entries while it does not answer, at no attempt.
func TestUnitDown(t *testing.T) {
	w := newWorld(t, inMemory("a", report()), inMemory("b", report()))
	var down atomic.Bool
	w.hook = func(unit, op, key string) error {
		if unit == "a" && down.Load() && op != "Watch" {
			return unavailable(op)
		}
		return nil
	}
	w.run()
	w.idle()
	down.Store(true)
	w.places["a"].Write("k", []byte("x"))
	w.places["b"].Write("k", []byte("x"))
	w.until("b done", func() bool { return len(w.entries("b")) == 1 && w.entries("b")[0].State == ledger.Finished })
	w.until("a is known to be down", func() bool { return w.pipe.Fault(w.ids["a"]) != nil })
	w.until("given back", func() bool {
		e := w.entries("a")
		return len(e) == 1 && e[0].Attempts == 0 && e[0].State == ledger.Pending
	})
	down.Store(false)
	w.until("a done", func() bool { return w.entries("a")[0].State == ledger.Finished })
	if e := w.want("a", "k", scan.Clean, ""); e.Attempts != 1 {
		t.Errorf("%d attempts, want 1", e.Attempts)
	}
	told("unit-down", 2, 0, "none")
}
