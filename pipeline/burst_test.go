package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/pipeline"
	"github.com/landwaiter/landwaiter/scan"
)

// A batching engine takes samples without making the caller wait.
type batching struct {
	*engine
	wg        sync.WaitGroup
	submitted atomic.Int64
}

func (b *batching) Batches() bool { return true }

func (b *batching) Submit(ctx context.Context, s scan.Sample, done func(scan.Report, error)) error {
	b.submitted.Add(1)
	b.wg.Go(func() { done(b.Scan(ctx, s)) })
	return nil
}

// bursting is a world with one folder, whose small files go through in bursts.
func bursting(t *testing.T) (w *world, e *batching, dir string, finished *sync.Map) {
	t.Helper()
	u, dir := folder(t, "f", away())
	u.flow = report()
	w = newWorld(t, u)
	e, finished = &batching{engine: w.engine}, &sync.Map{}
	t.Cleanup(e.wg.Wait)
	w.open()
	w.pipe = pipeline.New(pipeline.Options{Ledger: w.db, Storages: w.set, Pools: map[string]pipeline.Scanner{"default": e}, Log: w.log(),
		Finished: func(e *ledger.Entry) {
			n, _ := finished.LoadOrStore(e.ID, new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
		}})
	for _, u := range w.units {
		if u.Name == "f" {
			w.pipe.Serve(w.enter(u))
		}
	}
	return w, e, dir, finished
}

// TestBursts takes small files through in bursts: each has one verdict, and
// what is not plainly clean has the one that a worker would give it.
func TestBursts(t *testing.T) {
	w, e, dir, finished := bursting(t)
	const n = 400
	for i := range n {
		write(t, filepath.Join(dir, fmt.Sprintf("f%03d", i)), fmt.Sprint("content ", i))
	}
	write(t, filepath.Join(dir, "infected"), evil)
	write(t, filepath.Join(dir, "again"), "the engine stumbles once")
	write(t, filepath.Join(dir, "changes"), "is replaced meanwhile")
	write(t, filepath.Join(dir, "grows"), "is longer in the end")
	write(t, filepath.Join(dir, "goes"), "is removed meanwhile")
	write(t, filepath.Join(dir, "large"), string(make([]byte, 2<<20)))
	if err := os.Symlink("infected", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	var once sync.Map
	e.set(func(g *engine) {
		g.after = func(s scan.Sample, content []byte, rep *scan.Report) error {
			if _, was := once.LoadOrStore(s.Name, true); was {
				return nil
			}
			path := filepath.Join(dir, s.Name)
			switch s.Name {
			case "again":
				return &fault.Error{Op: "test", Kind: fault.Throttled, After: time.Millisecond}
			case "changes":
				return errors.Join(os.WriteFile(path+".new", []byte(evil), 0o644), os.Rename(path+".new", path))
			case "grows":
				return os.WriteFile(path, []byte("is longer in the end, and "+evil), 0o644)
			case "goes":
				return os.Remove(path)
			}
			return nil
		}
	})
	w.run()
	w.idle()
	for i := range n {
		w.want("f", fmt.Sprintf("f%03d", i), scan.Clean, "")
	}
	w.want("f", "infected", scan.Infected, "")
	w.want("f", "again", scan.Clean, "")
	w.want("f", "large", scan.Clean, "")
	w.want("f", "link", scan.NotScanned, scan.NotRegular)
	for _, key := range []string{"changes", "grows"} {
		last := scan.None
		for _, en := range w.entries("f") {
			if en.Key == key && en.Outcome == ledger.OutcomeDone {
				if en.Verdict == scan.Clean {
					t.Errorf("%s: the first version is clean, though another had taken its place", key)
				}
				last = en.Verdict
			}
		}
		if last != scan.Infected {
			t.Errorf("%s: the new version is %v", key, last)
		}
	}
	if got := e.submitted.Load(); got < n {
		t.Errorf("%d files went to the engine in bursts, want at least %d", got, n)
	}
	finished.Range(func(id, count any) bool {
		if got := count.(*atomic.Int64).Load(); got != 1 {
			t.Errorf("entry %v was told of %d times", id, got)
		}
		return true
	})
	told("bursts", n+7, 0, "none")
}

// TestBurstStops stops the pipeline with files at the engine: they are given
// back without an attempt, and the next run ends them.
func TestBurstStops(t *testing.T) {
	w, e, dir, _ := bursting(t)
	const n = 300
	for i := range n {
		write(t, filepath.Join(dir, fmt.Sprintf("f%03d", i)), fmt.Sprint("content ", i))
	}
	var calls atomic.Int64
	e.set(func(g *engine) {
		g.before = func(ctx context.Context, s scan.Sample) error {
			if calls.Add(1) > 50 { // the others hang
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
	})
	w.run()
	w.until("stuck", func() bool { return calls.Load() > 100 })
	w.stop()
	given := 0
	for _, en := range w.entries("f") {
		switch {
		case en.State == ledger.Finished:
		case en.Attempts != 0:
			t.Errorf("%s: %v after %d attempts", en.Key, en.State, en.Attempts)
		default:
			given++
		}
	}
	if given < n-60 {
		t.Errorf("%d entries were given back, want at least %d", given, n-60)
	}
	e.set(func(g *engine) { g.before = nil })
	w.again()
	w.idle()
	for i := range n {
		w.want("f", fmt.Sprintf("f%03d", i), scan.Clean, "")
	}
	told("burst stops", n, 0, "none")
}
