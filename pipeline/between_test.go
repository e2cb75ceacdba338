package pipeline_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/test/servers"
	"github.com/landwaiter/landwaiter/workflow"
)

// TestEventBeforeFinish has an event come in after the recheck and before the
// end: of the same version it changes nothing, of another it is new work, and
// of an object that went it ends the entry as gone.
func TestEventBeforeFinish(t *testing.T) {
	cases, violations := 0, 0
	for _, at := range []string{"Finish", "Begin"} {
		for _, what := range []string{"same", "other", "gone", "hint"} {
			cases++
			flow := report()
			if at == "Begin" {
				flow = workflow.Workflow{Name: "t", Tagging: workflow.Tagging{Enabled: true}}
			}
			u := inMemory("a", flow)
			u.caps.Watch = false
			w := newWorld(t, u)
			m := w.places["a"]
			version := m.Write("k", []byte("first"))
			var once sync.Once
			w.called = func(op, key string) error {
				if op == at {
					once.Do(func() {
						ev := look("a", "k", version)
						switch what {
						case "other":
							ev.Version = m.Write("k", []byte(evil))
						case "gone":
							m.Delete("k")
							ev.Op = object.Delete
						case "hint":
							ev.Version = ""
						}
						w.emit(ev)
					})
				}
				return nil
			}
			w.run()
			w.idle()
			var got []string
			for _, e := range w.entries("a") {
				got = append(got, fmt.Sprint(e.Outcome, " ", e.Verdict))
			}
			want := map[string]string{"same": "done clean", "hint": "done clean", "other": "superseded not_scanned,done infected", "gone": "gone not_scanned"}[what]
			calls := map[string]int{"other": 2}[what]
			if strings.Join(got, ",") != want || w.engine.called("k") != max(calls, 1) {
				violations++
				t.Errorf("%s before %s: got %v after %d scans, want %s", what, at, got, w.engine.called("k"), want)
			}
			w.consistent()
			w.close()
		}
	}
	told("event-before-finish", cases, violations, "none")
}

// TestNoLoopAfterPut kills the process between a put and its record, where the
// destination is a unit that is watched and whose workflow would move it on.
func TestNoLoopAfterPut(t *testing.T) {
	cases, violations := 0, 0
	for _, folders := range []bool{false, true} {
		for _, at := range []string{"b Put+", "ledger Step", "ledger Step+"} {
			cases++
			c := &crash{t: t, folders: folders, when: at,
				flow: workflow.Workflow{Name: "m", Blocked: workflow.Remedy{Handling: workflow.Move, Destinations: to("b")}}}
			c.run()
			if bad := c.wrong(map[string]string{"b:" + landed: content}, map[string]int{"b Put": 1, "a Remove": 1}); bad != "" || c.died != at {
				violations++
				t.Errorf("dying at %s, want %s: %s", c.died, at, bad)
			}
			c.w.close()
		}
	}
	told("no-loop-after-put", cases, violations, "none")
}

// TestTagThenSweep tags objects, which moves the version of a file, and sweeps
// and watches: nothing is scanned again.
func TestTagThenSweep(t *testing.T) {
	const n = 50
	tag := workflow.Workflow{Name: "t", Tagging: workflow.Tagging{Enabled: true}}
	check := func(name string, u unit, p prey) {
		u.SweepEvery = 100 * time.Millisecond
		w := newWorld(t, u)
		for i := range n {
			if err := p.put(fmt.Sprint("k", i), fmt.Appendf(nil, "%d", i), 0); err != nil {
				t.Fatal(err)
			}
		}
		w.run()
		for range 5 {
			w.pipe.Sweep(w.ids["prey"], "")
			<-w.swept
			w.idle()
		}
		rescans := w.engine.total() - n
		tagged := 0
		st, err := w.set.Get("prey")
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			tags, err := st.Tags(context.Background(), object.Ref{Unit: "prey", Key: fmt.Sprint("k", i)})
			if err != nil {
				t.Fatal(err)
			}
			if tags["MetaDefenderResult"] != "" {
				tagged++
			}
		}
		if rescans != 0 || tagged != n || len(w.entries("prey")) != n {
			t.Errorf("%s: %d scans again, %d of %d tagged, %d entries:%s", name, rescans, tagged, n, len(w.entries("prey")), w.states())
		}
		w.close()
		told("tag-then-sweep "+name, n, rescans, "none")
	}
	u, dir := folder(t, "prey", tag)
	check("folder", u, preyFolder{t, dir})
	srv := servers.Versitygw(t)
	b, at := bucket(t, "plain", srv, false, tag)
	b.Name = "prey"
	check("bucket", b, at)
	b, at = bucket(t, "versioned", srv, true, tag)
	b.Name = "prey"
	check("versioned bucket", b, at)
}

// nodes are two pipelines on one PostgreSQL, over the same places.
func nodes(t *testing.T, units ...unit) (a, b *world) {
	t.Helper()
	dsn := servers.Postgres(t)
	units = append(units, inMemory(vaultUnit, report()))
	for i := range units {
		if units[i].driver == nil {
			units[i].driver = connectortest.NewMemory(units[i].Name)
		}
	}
	a, b = newWorld(t, units...), newWorld(t, units...)
	for _, w := range []*world{a, b} {
		w.store.Dir, w.store.DSN, w.store.Lease, w.step = "", dsn, 2*time.Second, 500*time.Millisecond
	}
	return a, b
}

// TestOneKeyOnTwoNodes has a key in two scans of a unit, on two nodes: never do
// two entries of it run at once, and what is done to it is done once.
func TestOneKeyOnTwoNodes(t *testing.T) {
	const n = 100
	u := inMemory("a", away())
	u.parts = []string{"", "in"}
	a, b := nodes(t, u)
	var mu sync.Mutex
	active, together := map[string]int{}, 0
	effects := map[string]int{}
	for _, w := range []*world{a, b} {
		w.engine.before = func(_ context.Context, s scan.Sample) error {
			mu.Lock()
			defer mu.Unlock()
			if active[s.Name]++; active[s.Name] > 1 {
				together++
			}
			return nil
		}
		w.engine.after = func(s scan.Sample, _ []byte, _ *scan.Report) error {
			mu.Lock()
			defer mu.Unlock()
			active[s.Name]--
			return nil
		}
		w.effect = func(unit, op string) {
			mu.Lock()
			defer mu.Unlock()
			effects[unit+" "+op]++
		}
		w.run()
	}
	for i := range n {
		a.places["a"].Write(fmt.Sprintf("in/k%02d", i), fmt.Appendf([]byte(evil), "%d", i))
	}
	a.pipe.Sweep(a.ids["a"], "")
	b.pipe.Sweep(b.ids["a"], "")
	a.until("finished", func() bool {
		done := map[string]int{}
		for _, e := range a.entries("a") {
			if e.State != ledger.Finished {
				return false
			}
			done[e.Key]++
		}
		return len(done) == n
	})
	if together > 0 || effects["a Remove"] != n || effects[vaultUnit+" Put"] != n || a.vaulted() != n {
		t.Errorf("together %d, effects %v, in the vault %d; want each of %d once", together, effects, a.vaulted(), n)
	}
	if a.engine.total() == 0 || b.engine.total() == 0 {
		t.Errorf("the nodes scanned %d and %d: one did nothing", a.engine.total(), b.engine.total())
	}
	told("one-key-two-nodes", n, together, "none")
}

// TestPausedNode stops a node between Begin and the vendor's call, heartbeat and
// all, until another has taken over and done the work; then it wakes.
func TestPausedNode(t *testing.T) {
	a, b := nodes(t, inMemory("a", away()))
	var removes atomic.Int64
	var once sync.Once
	paused, wake := make(chan struct{}), make(chan struct{})
	for _, w := range []*world{a, b} {
		w.effect = func(unit, op string) {
			if unit == "a" && op == "Remove" {
				removes.Add(1)
			}
		}
	}
	a.hook = func(unit, op, _ string) error {
		if unit == "a" && op == "Remove" {
			once.Do(func() {
				a.freeze()
				close(paused)
				<-wake // deaf to its context, as a stopped process is
			})
		}
		return nil
	}
	a.run()
	a.places["a"].Write("k", []byte(evil))
	a.pipe.Sweep(a.ids["a"], "")
	t.Cleanup(sync.OnceFunc(func() {
		select {
		case <-wake:
		default:
			close(wake)
		}
	}))
	<-paused
	b.run()
	b.until("taken over", func() bool {
		l := b.entries("a")
		return len(l) == 1 && l[0].State == ledger.Finished
	})
	a.places["a"].Write("k", []byte("somebody else's")) // what the late call must not touch
	close(wake)
	b.until("the other's object judged", func() bool {
		row, ok, err := b.db.Row(context.Background(), b.ids["a"], "k")
		return err == nil && ok && row.Verdict == scan.Clean
	})
	a.stop()
	l := b.entries("a")
	if removes.Load() != 1 || string(a.places["a"].Content("k")) != "somebody else's" || a.vaulted() != 1 {
		t.Errorf("%d removals, there is %q, %d in the vault", removes.Load(), a.places["a"].Content("k"), a.vaulted())
	}
	for _, e := range l {
		if e.Verdict == scan.Infected {
			for _, s := range e.Plan {
				if s.State != remediation.Done {
					t.Errorf("%s: %s %s", s, s.State, s.Detail)
				}
			}
		}
	}
	told("paused-node", 1, int(removes.Load()-1), "none")
}

// TestLateLease has too little left of a lease to start a step for a while: the
// entry waits, and goes on when the lease was renewed.
func TestLateLease(t *testing.T) {
	w := newWorld(t, inMemory("a", away()))
	w.late.Store(true)
	w.places["a"].Write("k", []byte(evil))
	w.run()
	w.until("given back", func() bool {
		l := w.entries("a")
		return len(l) == 1 && l[0].State == ledger.Acting && l[0].Attempts == 0
	})
	if w.places["a"].Content("k") == nil {
		t.Error("a step started on a lease that it might outlast")
	}
	w.late.Store(false)
	w.idle()
	w.want("a", "k", scan.Infected, "")
	if w.places["a"].Content("k") != nil || w.vaulted() != 1 {
		t.Error("the plan was not carried out")
	}
	told("late-lease", 1, 0, "none")
}
