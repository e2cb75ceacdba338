package pipeline_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/pipeline"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/remediation/quarantine"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/store"
	"github.com/landwaiter/landwaiter/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	vaultUnit = "quarantine"
	evil      = "evil " // what the engine finds in infected content
)

// An engine is a pool as the pipeline sees it: content with the word evil in it
// is infected, and what a hook says comes first.
type engine struct {
	mu          sync.Mutex
	calls       map[string]int // by sample name
	down        bool
	definitions string
	before      func(ctx context.Context, s scan.Sample) error              // asked before the content is read
	after       func(s scan.Sample, content []byte, rep *scan.Report) error // and after
}

func newEngine() *engine { return &engine{calls: map[string]int{}, definitions: "1"} }

func (e *engine) Scan(ctx context.Context, s scan.Sample) (scan.Report, error) {
	e.mu.Lock()
	e.calls[s.Name]++
	before, after, definitions := e.before, e.after, e.definitions
	e.mu.Unlock()
	if before != nil {
		if err := before(ctx, s); err != nil {
			return scan.Report{}, err
		}
	}
	r, err := s.Open(ctx)
	if err != nil {
		return scan.Report{}, err
	}
	content, err := io.ReadAll(r)
	if err = cmpOr(err, r.Close()); err != nil {
		return scan.Report{}, err
	}
	rep := scan.Report{Verdict: scan.Clean, Engine: "fake", Engines: 1, Definitions: definitions}
	if bytes.Contains(content, []byte(evil)) {
		rep.Verdict, rep.Threat = scan.Infected, "Evil"
	}
	rep.Code = scan.Code(rep.Verdict, rep.Reason)
	if after != nil {
		err = after(s, content, &rep)
	}
	return rep, err
}

func cmpOr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *engine) Ready() bool { e.mu.Lock(); defer e.mu.Unlock(); return !e.down }

func (e *engine) Definitions() string { e.mu.Lock(); defer e.mu.Unlock(); return e.definitions }

func (e *engine) set(f func(e *engine)) { e.mu.Lock(); defer e.mu.Unlock(); f(e) }

func (e *engine) called(name string) int { e.mu.Lock(); defer e.mu.Unlock(); return e.calls[name] }

func (e *engine) total() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.calls {
		n += c
	}
	return n
}

// A world is a ledger, units in memory, an engine, and a pipeline over them
// that can be stopped, killed and started again.
type world struct {
	t      testing.TB
	store  store.Options
	bounds pipeline.Bounds
	engine *engine
	now    func() time.Time
	// effect, if not nil, hears of each call to a unit that took effect.
	effect func(unit, op string)
	// called, if not nil, is asked before each call to the ledger that changes an
	// entry, and with op+"+" after its effect.
	called func(op, key string) error
	late   atomic.Bool // leases are renewed late
	dead   atomic.Bool // the process answers nobody, and nobody answers it
	// hook, if not nil, is asked before each call to a unit, and with op+"+" after
	// its effect: an error is the call's.
	hook func(unit, op, key string) error
	// finish is called for each finished entry.
	finish func(*ledger.Entry)
	step   time.Duration // that a step of a plan may take; a lease must outlast it
	about  string        // what the test does now, for its failure

	db     *store.DB
	set    *connectors.Set
	pipe   *pipeline.Pipeline
	places map[string]*connectortest.Memory
	ids    map[string]int64
	units  []unit
	vault  remediation.Vault
	stop   func()
	freeze func() // ends what renews the ledger's leases
	swept  chan pipeline.SweepStats
}

// A unit is what a world serves.
type unit struct {
	connectors.Unit
	flow   workflow.Workflow
	caps   connectors.Caps
	driver connectors.Driver // nil = in memory
	parts  []string
	still  bool // no RealTime scan: it is not watched
}

func inMemory(name string, flow workflow.Workflow) unit {
	return unit{Unit: connectors.Unit{Name: name, URL: "memory://" + name, SweepEvery: time.Hour}, flow: flow, caps: connectortest.AllCaps()}
}

func report() workflow.Workflow { w := workflow.Report(); w.Name = "report"; return w }

func away() workflow.Workflow { w := workflow.WithQuarantine(); w.Name = "away"; return w }

func newWorld(t testing.TB, units ...unit) *world {
	t.Helper()
	w := &world{t: t, store: store.Options{Dir: t.TempDir()}, engine: newEngine(), units: units, places: map[string]*connectortest.Memory{},
		ids: map[string]int64{}, swept: make(chan pipeline.SweepStats, 1000)}
	if !slices.ContainsFunc(units, func(u unit) bool { return u.Name == vaultUnit }) {
		w.units = append(w.units, inMemory(vaultUnit, report()))
	}
	for i := range w.units {
		if u := &w.units[i]; u.driver == nil {
			m := connectortest.NewMemory(u.Name)
			w.places[u.Name], u.driver = m, m
		} else if m, ok := u.driver.(*connectortest.Memory); ok {
			w.places[u.Name] = m
		}
	}
	t.Cleanup(func() { w.close() })
	return w
}

// open opens the ledger and the units, without running anything.
func (w *world) open() {
	w.t.Helper()
	db, err := store.Open(context.Background(), w.store)
	if err != nil {
		w.t.Fatal(err)
	}
	w.db, w.set = db, connectors.NewSet()
	var served []pipeline.Unit
	for _, u := range w.units {
		st := connectors.NewStorage(u.Unit, keepOpen{w.faults(u)}, connectors.Options{Probed: &connectors.Probed{Caps: u.caps, Proven: true}})
		if err := w.set.Swap(st); err != nil {
			w.t.Fatal(err)
		}
		if u.Name == vaultUnit {
			w.vault = quarantine.New(vaultUnit, st)
			continue
		}
		served = append(served, w.enter(u))
	}
	w.pipe = pipeline.New(pipeline.Options{Ledger: &mortal{db, &w.dead, &w.late, w.called}, Storages: w.set, Pools: map[string]pipeline.Scanner{"default": w.engine},
		Quarantine: vaultUnit, Bounds: w.bounds, Now: w.now, Log: w.log(),
		Executor: &remediation.Executor{Vault: w.vault, Timeout: w.step, Storage: func(name string) (remediation.Storage, error) {
			st, err := w.set.Get(name)
			if err != nil {
				return nil, err
			}
			return st, nil
		}},
		Finished: func(e *ledger.Entry) {
			if w.finish != nil {
				w.finish(e)
			}
		},
		Swept: func(_ string, s pipeline.SweepStats, err error) {
			select {
			case w.swept <- s:
			default:
			}
		},
	})
	w.pipe.Serve(served...)
}

// faults asks the world's hook before each call to a unit and after its effect.
func (w *world) faults(u unit) *connectortest.Faults {
	ask := func(op, key string) error {
		if w.dead.Load() {
			return errDead
		}
		if w.hook != nil {
			return w.hook(u.Name, op, key)
		}
		return nil
	}
	return &connectortest.Faults{Driver: u.driver, Before: ask, After: func(op, key string) error {
		if w.effect != nil {
			w.effect(u.Name, op)
		}
		return ask(op+"+", key)
	}}
}

func (w *world) log() *slog.Logger {
	if os.Getenv("TEST_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (w *world) enter(u unit) pipeline.Unit {
	w.t.Helper()
	ctx := context.Background()
	id, err := w.db.EnsureUnit(ctx, u.Unit)
	if err != nil {
		w.t.Fatal(err)
	}
	u.ID, w.ids[u.Name] = id, id
	data, sum := u.flow.Snapshot()
	if _, err := w.db.SaveWorkflow(ctx, data); err != nil {
		w.t.Fatal(err)
	}
	pu := pipeline.Unit{Unit: u.Unit, Workflow: u.flow, Hash: ledger.Hash(sum)}
	parts := u.parts
	if len(parts) == 0 && !u.still {
		parts = []string{""}
	}
	for _, part := range parts {
		s, err := w.db.EnsureRealTimeScan(ctx, id, part, ledger.Hash(sum), time.Time{})
		if err != nil {
			w.t.Fatal(err)
		}
		pu.Scans = append(pu.Scans, s)
	}
	return pu
}

// keepOpen survives the closing of a set: the place outlives the process.
type keepOpen struct{ *connectortest.Faults }

func (keepOpen) Close() error { return nil }

// run opens the world, if it is not, and runs its pipeline.
func (w *world) run() {
	w.t.Helper()
	if w.db == nil {
		w.open()
	}
	ctx, cancel := context.WithCancel(context.Background())
	under, end := context.WithCancel(context.Background())
	ran, based := make(chan error, 1), make(chan error, 1)
	pipe, db := w.pipe, w.db
	go func() { based <- db.Run(under) }()
	go func() { ran <- pipe.Run(ctx) }()
	w.freeze = end
	w.stop = func() {
		w.stop = nil
		cancel()
		if err := <-ran; err != nil {
			w.t.Error(err)
		}
		end()
		if err := <-based; err != nil {
			w.t.Error(err)
		}
	}
}

// close stops the pipeline and closes everything.
func (w *world) close() {
	w.t.Helper()
	if w.stop != nil {
		w.stop()
	}
	if w.db == nil {
		return
	}
	if err := cmpOr(w.set.Close(), w.db.Close()); err != nil {
		w.t.Error(err)
	}
	w.db, w.set, w.pipe = nil, nil, nil
}

// again is a new process on the same ledger and places.
func (w *world) again() {
	w.t.Helper()
	w.close()
	w.run()
}

// idle waits until all that is there is finished.
func (w *world) idle() {
	w.t.Helper()
	calm := 0
	w.until("idle", func() bool {
		ok, err := w.pipe.Idle(context.Background())
		if err != nil {
			w.t.Fatal(err)
		}
		if calm++; !ok {
			calm = 0
		}
		return calm > 3
	})
}

// until polls for at most two minutes: the race detector is slow.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(120 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("not %s within 120 s; entries %s%s", what, w.states(), w.about)
		}
	}
}

// entries are all entries of a unit, finished or not.
func (w *world) entries(unit string) (all []ledger.Entry) {
	w.t.Helper()
	for _, unfinished := range []bool{true, false} {
		f := ledger.Filter{Unit: w.ids[unit], Unfinished: unfinished, Oldest: true, Limit: 1000}
		for {
			p, err := w.db.Entries(context.Background(), f)
			if err != nil {
				w.t.Fatal(err)
			}
			all = append(all, p.Entries...)
			if f.After = p.Next; f.After == "" {
				break
			}
		}
	}
	return all
}

func (w *world) states() string {
	var b strings.Builder
	for _, u := range w.units {
		if u.Name == vaultUnit {
			continue
		}
		n, err := w.db.Backlog(context.Background(), w.ids[u.Name])
		if err != nil {
			return err.Error()
		}
		fmt.Fprintf(&b, "\n  %s: backlog %d, fault %v", u.Name, n, w.pipe.Fault(w.ids[u.Name]))
		for i, e := range w.entries(u.Name) {
			if i == 20 {
				b.WriteString(" …")
				break
			}
			fmt.Fprintf(&b, "\n  %s:%s@%s %s lane %d attempts %d crashes %d %s %s(%s) %s %s", u.Name, e.Key, e.Version, e.State, e.Lane, e.Attempts, e.Crashes, e.Outcome, e.Verdict, e.Reason, e.Plan, e.Error)
		}
	}
	return b.String()
}

// history says what is known of a key.
func (w *world) history(unit, key string) string {
	l, err := w.db.History(context.Background(), w.ids[unit], key)
	s := fmt.Sprint("history ", err)
	for _, e := range l {
		s += fmt.Sprintf("\n  %s %s %s(%s) %s", e.Version, e.State, e.Outcome, e.Verdict, e.Reason)
		for _, st := range e.Plan {
			s += fmt.Sprintf("\n    %s: %s %s", st, st.State, st.Detail)
		}
	}
	return s
}

// only returns the one entry of a key, which must be finished.
func (w *world) only(unit, key string) ledger.Entry {
	w.t.Helper()
	l, err := w.db.History(context.Background(), w.ids[unit], key)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(l) != 1 || l[0].State != ledger.Finished {
		w.t.Fatalf("%s:%s has %d entries, want one finished; all:%s", unit, key, len(l), w.states())
	}
	return l[0]
}

// want checks what became of a key.
func (w *world) want(unit, key string, v scan.Verdict, r scan.Reason) ledger.Entry {
	w.t.Helper()
	e := w.only(unit, key)
	if e.Verdict != v || e.Reason != r {
		w.t.Errorf("%s:%s is %s(%s) %q, want %s(%s)", unit, key, e.Verdict, e.Reason, e.Error, v, r)
	}
	return e
}

// emit hands an event to the pipeline as a source would.
func (w *world) emit(events ...event) {
	w.t.Helper()
	for _, ev := range events {
		if err := w.pipe.Emit(context.Background(), w.ids[ev.Unit], "test", []event{ev}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// consistent checks that the ledger agrees with itself.
func (w *world) consistent() {
	w.t.Helper()
	problems, err := w.db.Fsck(context.Background(), true)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range problems {
		w.t.Errorf("fsck: %+v", p)
	}
}

// vaulted are the original bytes of all that lies in the vault, by name.
func (w *world) vaulted() int { return len(w.places[vaultUnit].Keys()) }

func unavailable(what string) error { return fault.New(fault.Unavailable, "test", what, nil) }

// told prints a test's figures.
func told(what string, cases, violations int, seed any) {
	fmt.Printf("%s: cases=%d violations=%d seed=%v\n", what, cases, violations, seed)
}
