package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/workflow"
)

// TestStopUnderLoad stops the daemon again and again while files come in and are
// acted on: each stop is quick, nothing stays in work, nothing is done twice.
func TestStopUnderLoad(t *testing.T) {
	w := newWorld(t)
	in := w.folder("in")
	w.configure("server: {listen: 'off'}\nunits:\n" + unit("in", in, ", workflow: quarantine"))
	const n, stops = 600, 4
	var longest time.Duration
	written := 0
	write := func(to int) {
		for ; written < to; written++ {
			content := fmt.Appendf(nil, "file %d", written)
			if written%5 == 0 {
				content = append(eicar(), fmt.Appendf(nil, "\n%*s", written%50, "")...)
			}
			put(t, filepath.Join(in, fmt.Sprintf("f%04d", written)), content)
		}
	}
	for i := range stops {
		write((i + 1) * n / stops)
		r := w.start()
		w.eventually("some work", func() error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.finished) < 10 {
				return fmt.Errorf("%d finished", len(r.finished))
			}
			return nil
		})
		began := time.Now()
		if err := r.end(); err != nil {
			t.Fatalf("stop %d: %v", i, err)
		}
		longest = max(longest, time.Since(began))
	}
	w.start()
	l := w.local()
	violations := 0
	w.eventually("all finished", func() error {
		done := entries(t, l.Control, control.EntryQuery{State: "finished", Outcome: ledger.OutcomeDone})
		if len(done) != n {
			return fmt.Errorf("%d of %d", len(done), n)
		}
		for _, state := range []string{"pending", "acting"} { // a look at what we removed may still be to come
			if open := entries(t, l.Control, control.EntryQuery{State: state}); len(open) > 0 {
				return fmt.Errorf("%d %s", len(open), state)
			}
		}
		return nil
	})
	done := map[string]int{}
	for _, r := range entries(t, l.Control, control.EntryQuery{}) {
		switch {
		case r.State == "finished" && r.Outcome == ledger.OutcomeDone:
			done[r.Key]++
		case r.State != "finished" || r.Outcome != ledger.OutcomeGone: // looked at again after we removed it
			violations++
			t.Errorf("%s: state %s, outcome %s", r.Key, r.State, r.Outcome)
		}
	}
	for key, times := range done {
		if times != 1 {
			violations++
			t.Errorf("%s was done %d times", key, times)
		}
	}
	caught := 0
	for q, err := range l.Quarantined(control.AsMachine(t.Context()), "") {
		if err != nil {
			t.Fatal(err)
		}
		caught++
		if s, err := l.Explain(control.AsMachine(t.Context()), "in", q.Key); err != nil || strings.Contains(fmt.Sprint(s.Entries[0].Events), "crash") {
			violations++
			t.Errorf("%s: a stop counted as a crash: %+v, %v", q.Key, s.Entries, err)
		}
	}
	if caught != n/5 {
		violations++
		t.Errorf("quarantine holds %d, want %d", caught, n/5)
	}
	if longest > 5*time.Second {
		t.Errorf("a stop took %v", longest)
	}
	t.Logf("cases=%d violations=%d seed=none: longest of %d stops under load %v", n, violations, stops, longest)
}

// serveMemory serves a unit of a driver in memory.
func serveMemory(t *testing.T, d *Daemon, name string, driver connectors.Driver) {
	t.Helper()
	u := connectors.Unit{Name: name, URL: "memory://" + name, SweepEvery: time.Second}
	pu, err := d.enter(t.Context(), u, workflow.Report(), &nouns{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.set.Swap(connectors.NewStorage(pu.Unit, driver, connectors.Options{})); err != nil {
		t.Fatal(err)
	}
	d.pipe.Serve(pu)
}

// TestStopStuck has a vendor's call that hears no cancellation: the daemon ends
// within its bound all the same, and the next one finishes the entry.
func TestStopStuck(t *testing.T) {
	w := newWorld(t)
	w.configure("server: {listen: 'off'}\n")
	m := connectortest.NewMemory("mem")
	m.Write("stuck", []byte("content"))
	entered, release := make(chan struct{}, 1), make(chan struct{})
	driver := &connectortest.Faults{Driver: m, Before: func(op, _ string) error {
		if op == "Open" {
			select {
			case entered <- struct{}{}:
			default:
			}
			<-release
		}
		return nil
	}}
	r := w.start(func(r *running) {
		r.drain, r.shut = 300*time.Millisecond, 300*time.Millisecond
		serveMemory(t, r.Daemon, "mem", driver)
	})
	<-entered
	began := time.Now()
	if err := r.end(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the stop took %v", took)
	}
	w.logged(0, "stopped without waiting for all work")
	close(release) // else the lock is not given back before the process ends
	m = connectortest.NewMemory("mem")
	m.Write("stuck", []byte("content"))
	again := w.start(func(r *running) { serveMemory(t, r.Daemon, "mem", m) })
	again.verdict("mem", "stuck", "clean")
	if l := again.records("mem", "stuck"); len(l) != 1 {
		t.Errorf("it finished %d times: %+v", len(l), l)
	}
}

// TestReplay takes an entry that failed for good back to pending.
func TestReplay(t *testing.T) {
	w := newWorld(t)
	w.configure("server: {listen: 'off'}\nbounds: {attempts: 1}\n")
	m := connectortest.NewMemory("mem")
	m.Write("k", []byte("content"))
	broken := make(chan struct{})
	driver := &connectortest.Faults{Driver: m, Before: func(op, _ string) error {
		select {
		case <-broken:
			return nil
		default:
		}
		if op == "Open" {
			return fmt.Errorf("a vendor's strange error")
		}
		return nil
	}}
	r := w.start(func(r *running) { serveMemory(t, r.Daemon, "mem", driver) })
	rec := r.verdict("mem", "k", "not_scanned")
	if rec.Outcome != ledger.OutcomeFailed {
		t.Fatalf("outcome %s", rec.Outcome)
	}
	c, err := control.Dial(t.Context(), w.data)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	close(broken)
	if _, err := c.Replay(control.AsMachine(t.Context()), rec.ID); err != nil {
		t.Fatal(err)
	}
	if now := r.verdict("mem", "k", "clean"); now.ID != rec.ID {
		t.Errorf("another entry: %s, want %s", now.ID, rec.ID)
	}
	if _, err := c.Replay(control.AsMachine(t.Context()), ledger.NewID().String()); err == nil {
		t.Error("an entry that is not there was replayed")
	}
}

// TestLongPath runs on a data folder whose socket's path is longer than an address holds.
func TestLongPath(t *testing.T) {
	w := newWorld(t)
	w.data = filepath.Join(w.dir, strings.Repeat("long/", 30), "data")
	w.configure("server: {listen: 'off'}\n")
	r := w.start()
	c, err := control.Dial(t.Context(), w.data)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Storages(control.AsMachine(t.Context())); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(filepath.Join(w.data, control.SocketName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(w.data, control.SocketName)); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

// TestOnce ends by itself when all that was there is finished.
func TestOnce(t *testing.T) {
	w := newWorld(t)
	in := w.folder("in")
	for i := range 20 {
		put(t, filepath.Join(in, fmt.Sprint(i)), []byte("x"))
	}
	w.configure("server: {listen: 'off'}\nunits:\n" + unit("in", in, ""))
	var n atomic.Int64
	d, err := Open(t.Context(), Options{Config: w.config(), Once: true, Finished: func(*ledger.Entry) { n.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := d.Run(ctx); err != nil || n.Load() != 20 {
		t.Errorf("%d finished, %v", n.Load(), err)
	}
}
