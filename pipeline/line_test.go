package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/file"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/workflow"
)

type event = object.Event

func look(unit, key, version string) event {
	return event{Ref: object.Ref{Unit: unit, Key: key, Version: version}, Size: -1, Cause: "test"}
}

// TestLine carries clean and infected objects through: found by the sweep at the
// start, and told by the watch.
func TestLine(t *testing.T) {
	w := newWorld(t, inMemory("a", away()))
	a := w.places["a"]
	a.Write("old.txt", []byte("here before"))
	a.Write("old.exe", []byte(evil+"before"))
	w.run()
	w.idle()
	a.Write("new.txt", []byte("came later"))
	a.Write("new.exe", []byte(evil+"later"))
	w.until("finished", func() bool { return len(a.Keys()) == 2 && len(w.entries("a")) == 4 })
	w.idle()
	violations := 0
	for key, v := range map[string]scan.Verdict{"old.txt": scan.Clean, "new.txt": scan.Clean, "old.exe": scan.Infected, "new.exe": scan.Infected} {
		e := w.want("a", key, v, "")
		if e.Outcome != ledger.OutcomeDone || e.Attempts != 1 || len(e.SHA256) != 32 || e.Size == 0 {
			violations++
			t.Errorf("%s: %s after %d attempts, sha256 %x", key, e.Outcome, e.Attempts, e.SHA256)
		}
		if wantGone := v == scan.Infected; (a.Content(key) == nil) != wantGone {
			violations++
			t.Errorf("%s: gone %v, want %v", key, !wantGone, wantGone)
		}
	}
	if w.vaulted() != 2 {
		t.Errorf("the vault holds %d, want 2", w.vaulted())
	}
	w.consistent()
	told("line", 4, violations, "none")
}

// TestFilter leaves out what the workflow says: not_scanned, never read.
func TestFilter(t *testing.T) {
	flow := report()
	flow.Filters = workflow.Filters{MaxSize: 10, Exclude: []string{"*.log"}}
	w := newWorld(t, inMemory("a", flow))
	for key, content := range map[string]string{"small": "x", "big": strings.Repeat("x", 11), "x.log": evil} {
		w.places["a"].Write(key, []byte(content))
	}
	w.run()
	w.idle()
	w.want("a", "small", scan.Clean, "")
	w.want("a", "big", scan.NotScanned, scan.Filtered)
	w.want("a", "x.log", scan.NotScanned, scan.Filtered)
	if n := w.engine.total(); n != 1 {
		t.Errorf("the engine was asked %d times, want once", n)
	}
	told("filter", 3, 0, "none")
}

// settling is a unit whose driver must be asked whether an object is whole.
func settling(name string, flow workflow.Workflow) unit {
	u := inMemory(name, flow)
	u.caps.ReadIsVersion = false
	return u
}

// TestSettle snoozes what is still written, at no attempt, until it settles or
// settle_max has passed.
func TestSettle(t *testing.T) {
	u := settling("a", report())
	u.SettleMax = 400 * time.Millisecond
	w := newWorld(t, u)
	m := w.places["a"]
	var looks, whole atomic.Int32
	m.Unsettled = func(info object.Info) time.Duration {
		looks.Add(1)
		if info.Key == "endless" || whole.Load() == 0 {
			return 5 * time.Millisecond
		}
		return 0
	}
	m.Write("grows", []byte("half"))
	w.run()
	w.until("looked at", func() bool { return looks.Load() > 3 })
	if w.engine.total() > 0 {
		t.Error("scanned before it was whole")
	}
	whole.Store(1)
	w.idle()
	if e := w.want("a", "grows", scan.Clean, ""); e.Attempts != 1 {
		t.Errorf("%d attempts, want 1: a look is none", e.Attempts)
	}
	began := time.Now()
	m.Write("endless", []byte("x"))
	w.until("given up waiting", func() bool { return w.engine.called("endless") == 1 })
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Errorf("scanned after %v, before settle_max", took)
	}
	told("settle", 2, 0, "none")
}

// TestVersions scans each version of a key once, ends a replaced one as
// superseded, and counts none of them clean that nobody read.
func TestVersions(t *testing.T) {
	w := newWorld(t, inMemory("a", report()))
	m := w.places["a"]
	w.run()
	w.idle()
	release := make(chan struct{})
	var once sync.Once
	began := make(chan struct{})
	w.engine.set(func(e *engine) {
		e.before = func(ctx context.Context, s scan.Sample) error {
			once.Do(func() {
				close(began)
				<-release
			})
			return nil
		}
	})
	m.Write("k", []byte("one"))
	<-began
	m.Write("k", []byte(evil+"two")) // the old version is gone: reading it says changed
	close(release)
	w.until("two entries", func() bool { return len(w.entries("a")) == 2 })
	w.idle()
	var got []string
	for _, e := range w.entries("a") {
		got = append(got, fmt.Sprint(e.Version, " ", e.Outcome, " ", e.Verdict))
	}
	// Memory's reader holds the bytes it opened, so the first may be judged: one
	// read is one version. What matters is that each got its own.
	if !strings.Contains(strings.Join(got, ","), "v2 done infected") {
		t.Errorf("got %v", got)
	}
	told("versions", 2, 0, "none")
}

// TestAllVersions finishes every version of a versioned unit that wants all.
func TestAllVersions(t *testing.T) {
	u := inMemory("a", report())
	u.Versions = "all"
	w := newWorld(t, u)
	m := w.places["a"]
	m.Versioned = true
	w.run()
	w.idle()
	for i := range 5 {
		m.Write("k", fmt.Appendf(nil, "%d", i))
	}
	w.until("five", func() bool { return len(w.entries("a")) == 5 })
	w.idle()
	seen := map[string]bool{}
	for _, e := range w.entries("a") {
		seen[e.Version] = e.Verdict == scan.Clean && e.Outcome == ledger.OutcomeDone
	}
	if len(seen) != 5 {
		t.Errorf("got %v", seen)
	}
	for v, ok := range seen {
		if !ok {
			t.Errorf("%s is not clean:%s", v, w.states())
		}
	}
	told("all-versions", 5, 0, "none")
}

// TestDeletes ends what is pending as gone and forgets the key, and does not
// let a stale delete lose an object that is there.
func TestDeletes(t *testing.T) {
	w := newWorld(t, inMemory("a", report()))
	m := w.places["a"]
	w.engine.set(func(e *engine) { e.down = true })
	w.run()
	m.Write("gone", []byte("x"))
	m.Write("stays", []byte("x"))
	w.until("pending", func() bool { return len(w.entries("a")) == 2 })
	m.Delete("gone")
	stale := look("a", "stays", "v0")
	stale.Op = object.Delete
	w.emit(stale)
	w.engine.set(func(e *engine) { e.down = false })
	w.idle()
	w.want("a", "gone", scan.NotScanned, scan.Gone)
	w.want("a", "stays", scan.Clean, "")
	// After it is known, a delete of another version is only a reason to look.
	w.emit(stale)
	w.idle()
	row, ok, err := w.db.Row(context.Background(), w.ids["a"], "stays")
	if err != nil || !ok || row.Verdict != scan.Clean {
		t.Errorf("row %+v, %v, %v", row, ok, err)
	}
	if n := w.engine.called("stays"); n != 1 {
		t.Errorf("scanned %d times, want once", n)
	}
	m.Delete("stays")
	w.until("forgotten", func() bool {
		_, ok, err := w.db.Row(context.Background(), w.ids["a"], "stays")
		return err == nil && !ok
	})
	w.consistent()
	told("deletes", 4, 0, "none")
}

// folder is a unit of a local folder.
func folder(t testing.TB, name string, flow workflow.Workflow) (unit, string) {
	t.Helper()
	dir := t.TempDir()
	u := unit{Unit: connectors.Unit{Name: name, URL: "file://" + dir, SweepEvery: time.Hour}, flow: flow}
	d, err := file.Open(t.Context(), u.Unit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	proven, err := connectors.Probe(t.Context(), u.Unit, d)
	if err != nil {
		t.Fatal(err)
	}
	u.driver, u.caps = d, proven.Caps
	return u, dir
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// TestNotRegular names what is no file, and never opens it.
func TestNotRegular(t *testing.T) {
	u, dir := folder(t, "f", report())
	w := newWorld(t, u)
	write(t, filepath.Join(dir, "file"), "x")
	if err := errors.Join(os.Symlink("/etc/passwd", filepath.Join(dir, "link")), syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644)); err != nil {
		t.Fatal(err)
	}
	w.run()
	w.idle()
	w.want("f", "file", scan.Clean, "")
	w.want("f", "link", scan.NotScanned, scan.NotRegular)
	w.want("f", "pipe", scan.NotScanned, scan.NotRegular)
	told("not-regular", 3, 0, "none")
}

// TestUnreadable ends what may not be read by its reason, and leaves the others alone.
func TestUnreadable(t *testing.T) {
	w := newWorld(t, inMemory("a", away()))
	m := w.places["a"]
	m.Fail = func(op, key string) error {
		switch {
		case op == "Open" && key == "secret":
			return fault.New(fault.Denied, "test", key, errors.New("no"))
		case op == "Open" && key == "locked":
			return &fault.Error{Op: "test", Kind: fault.Denied, Reason: string(scan.KeyDenied), Err: errors.New("no key")}
		}
		return nil
	}
	for _, k := range []string{"secret", "locked", "open"} {
		m.Write(k, []byte(evil))
	}
	w.run()
	w.idle()
	w.want("a", "secret", scan.NotScanned, scan.AccessDenied)
	w.want("a", "locked", scan.NotScanned, scan.KeyDenied)
	w.want("a", "open", scan.Infected, "")
	if m.Content("secret") == nil || m.Content("locked") == nil {
		t.Error("an object that nobody could read was removed")
	}
	told("unreadable", 3, 0, "none")
}

// TestLargeLane puts large objects into their own lane, at no attempt, so that
// small ones pass them by.
func TestLargeLane(t *testing.T) {
	w := newWorld(t, inMemory("a", report()))
	w.bounds.LargeSize, w.bounds.LargeWorkers, w.bounds.Workers = 1000, 1, 2
	m := w.places["a"]
	release := make(chan struct{})
	w.engine.set(func(e *engine) {
		e.before = func(ctx context.Context, s scan.Sample) error {
			if s.Size >= 1000 {
				<-release
			}
			return nil
		}
	})
	for i := range 5 {
		m.Write(fmt.Sprint("large", i), bytes.Repeat([]byte("x"), 1000+i))
	}
	w.run()
	w.until("a large one in work", func() bool { return w.engine.total() == 1 })
	for i := range 50 {
		m.Write(fmt.Sprint("small", i), []byte("x"))
	}
	w.until("small ones done", func() bool {
		p, err := w.db.Entries(context.Background(), ledger.Filter{Unit: w.ids["a"]})
		return err == nil && len(p.Entries) == 50
	})
	close(release)
	w.idle()
	for i := range 5 {
		e := w.want("a", fmt.Sprint("large", i), scan.Clean, "")
		if e.Lane != ledger.Large || e.Attempts != 1 {
			t.Errorf("lane %d after %d attempts", e.Lane, e.Attempts)
		}
	}
	told("large-lane", 55, 0, "none")
}

// TestFairness floods one unit; another's object does not wait for the flood.
func TestFairness(t *testing.T) {
	w := newWorld(t, inMemory("flood", report()), inMemory("quiet", report()))
	w.bounds.Workers = 2
	const n = 3000
	for i := range n {
		w.places["flood"].Write(fmt.Sprintf("f%05d", i), fmt.Appendf(nil, "%d", i))
	}
	w.engine.set(func(e *engine) {
		e.before = func(ctx context.Context, s scan.Sample) error {
			time.Sleep(200 * time.Microsecond) // the engine's work
			return nil
		}
	})
	var before atomic.Int64
	done := make(chan int64, 1)
	w.finish = func(e *ledger.Entry) {
		if e.UnitName == "quiet" {
			done <- before.Load()
		} else {
			before.Add(1)
		}
	}
	w.run()
	w.until("flooded", func() bool { return before.Load() > 100 })
	from := before.Load()
	w.places["quiet"].Write("one", []byte("one"))
	passed := <-done - from
	if passed > 600 {
		t.Errorf("%d of the flood went first", passed)
	}
	w.idle()
	told("fairness", n+1, 0, fmt.Sprint("none waited=", passed))
}

// TestCache answers from the cache only what an engine said completely, under
// the same definitions.
func TestCache(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(e *engine)
		content string
		after   func(s scan.Sample, content []byte, rep *scan.Report) error
		calls   int // for the second file of the same content
	}{
		{"clean", nil, "same", nil, 0},
		{"infected", nil, evil, nil, 0},
		{"new definitions", func(e *engine) { e.definitions = "2" }, "same", nil, 1},
		{"unknown definitions", func(e *engine) { e.definitions = "" }, "same", nil, 1},
		{"not scanned", nil, "same", func(_ scan.Sample, _ []byte, rep *scan.Report) error {
			rep.Verdict, rep.Reason = scan.NotScanned, scan.Encrypted
			return nil
		}, 1},
		{"suspicious", nil, "same", func(_ scan.Sample, _ []byte, rep *scan.Report) error { rep.Verdict = scan.Suspicious; return nil }, 1},
		{"definitions moved meanwhile", nil, "same", func(_ scan.Sample, _ []byte, rep *scan.Report) error { rep.Definitions = "0"; return nil }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, dir := folder(t, "f", report())
			w := newWorld(t, u)
			w.engine.after = c.after
			write(t, filepath.Join(dir, "first.txt"), c.content)
			w.run()
			w.idle()
			if c.change != nil {
				w.engine.set(c.change)
			}
			write(t, filepath.Join(dir, "second.txt"), c.content)
			w.until("second", func() bool { return len(w.entries("f")) == 2 })
			w.idle()
			if got := w.engine.called("second.txt"); got != c.calls {
				t.Errorf("the engine was asked %d times, want %d", got, c.calls)
			}
			if a, b := w.only("f", "first.txt"), w.only("f", "second.txt"); a.Verdict != b.Verdict || a.Reason != b.Reason {
				t.Errorf("first %s(%s), second %s(%s)", a.Verdict, a.Reason, b.Verdict, b.Reason)
			}
		})
	}
	told("cache", 7, 0, "none")
}

// files are the paths of all files below dir, private folders included.
func files(t testing.TB, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
