package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/store"
	"github.com/landwaiter/landwaiter/test/servers"
)

const lease = 2 * time.Second

// A node is a ledger of its own on a PostgreSQL, with a heartbeat to stop.
type node struct {
	*bench
	stop func() // the heartbeat ends, as if the process were paused
}

func newNode(t testing.TB, dsn string) *node { return newNodeAt(t, dsn, 0) }

// newNodeAt is a node whose clock is wrong by ahead.
func newNodeAt(t testing.TB, dsn string, ahead time.Duration) *node {
	t.Helper()
	db, err := store.Open(ctx, store.Options{DSN: dsn, Lease: lease, Now: func() time.Time { return time.Now().Add(ahead) }})
	if err != nil {
		t.Fatal(err)
	}
	run, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- db.Run(run) }()
	n := &node{stop: sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})}
	t.Cleanup(func() {
		n.stop()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	n.bench = &bench{t: t, db: db}
	return n
}

// slots counts the node's.
func (n *node) slots() (mine int) {
	for s := range 256 {
		if !n.db.Lease(uint8(s)).IsZero() {
			mine++
		}
	}
	return mine
}

func TestNodes(t *testing.T) {
	server := servers.Postgres(t)
	t.Run("start", func(t *testing.T) { testStartTogether(t, database(t, server, "")) })
	t.Run("skew", func(t *testing.T) { testSkew(t, database(t, server, "")) })
	t.Run("spread", func(t *testing.T) { testSpread(t, database(t, server, "")) })
	t.Run("pause", func(t *testing.T) { testPause(t, database(t, server, "")) })
	t.Run("exclusion", func(t *testing.T) { testExclusion(t, database(t, server, "")) })
	t.Run("crash", func(t *testing.T) { testNodeCrash(t, database(t, server, "")) })
	t.Run("lost connection", func(t *testing.T) { testLostConnection(t, database(t, server, "")) })
	for _, how := range []string{"TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'", "TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'",
		"TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8'"} {
		t.Run(how, func(t *testing.T) {
			dsn := database(t, server, how)
			testKeys(t, func(t testing.TB) *store.DB { return openAt(t, store.Options{DSN: dsn, Lease: lease}) })
		})
	}
}

// Nodes may start at one moment, on a database that has no table yet.
func testStartTogether(t *testing.T, dsn string) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			db, err := store.Open(ctx, store.Options{DSN: dsn})
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// A tool that never beats takes no share of the slots.
	tool, err := store.Open(ctx, store.Options{DSN: dsn, Lease: lease})
	if err != nil {
		t.Fatal(err)
	}
	defer tool.Close()
	n := newNode(t, dsn)
	wait(t, "all slots", func() bool { return n.slots() == 256 })
	if _, err := tool.Repair(ctx); err != nil {
		t.Error(err)
	}
}

// Clocks that differ delay nothing: what one node takes in is due for the other
// at once, and a back-off is as long as was asked for.
func testSkew(t *testing.T, dsn string) {
	fast := newNodeAt(t, dsn, 10*time.Minute)
	wait(t, "all slots", func() bool { return fast.slots() == 256 })
	*fast.bench = *newBench(t, fast.db)
	slow := newNodeAt(t, dsn, -10*time.Minute)
	slow.unit, slow.scan = fast.unit, fast.scan
	wait(t, "halves", func() bool { return slow.slots() == 128 })
	for _, from := range []*node{fast, slow} {
		var batch []ledger.Arrival
		for i := range 50 {
			batch = append(batch, from.look(fmt.Sprintf("%p %d", from, i), "v"))
		}
		from.intake(batch...)
	}
	got := 0
	wait(t, "all entries", func() bool {
		for _, n := range []*node{fast, slow} {
			now := time.Now().Add(map[*node]time.Duration{fast: 10 * time.Minute, slow: -10 * time.Minute}[n])
			for _, e := range n.pick(100) {
				got++
				if err := n.db.GiveBack(ctx, &e, now.Add(time.Hour), true); err != nil {
					t.Fatal(err)
				}
			}
		}
		return got >= 100
	})
	if got != 100 {
		t.Errorf("%d pick-ups of 100 entries that back off", got)
	}
	wait(t, "a due time in an hour", func() bool {
		fast.pick(1)
		due := must(fast.db.Due(ctx))(t)
		in := due[fast.unit][ledger.Small].Sub(time.Now().Add(10 * time.Minute))
		return in > 59*time.Minute && in < 61*time.Minute
	})
}

// Slots spread over the living, and a node that leaves or joins moves few.
func testSpread(t *testing.T, dsn string) {
	a := newNode(t, dsn)
	wait(t, "all slots", func() bool { return a.slots() == 256 })
	b := newNode(t, dsn)
	wait(t, "halves", func() bool { return a.slots() == 128 && b.slots() == 128 })
	for s := range 256 {
		if !a.db.Lease(uint8(s)).IsZero() && !b.db.Lease(uint8(s)).IsZero() {
			t.Errorf("slot %d is both nodes'", s)
		}
	}
	b.stop()
	if err := b.db.Close(); err != nil {
		t.Fatal(err)
	}
	wait(t, "all slots back", func() bool { return a.slots() == 256 })
}

// A node that is paused beyond its lease loses its slots, and changes nothing
// when it wakes.
func testPause(t *testing.T, dsn string) {
	a := newNode(t, dsn)
	wait(t, "all slots", func() bool { return a.slots() == 256 })
	*a.bench = *newBench(t, a.db)
	a.intake(a.look("k", "v1"))
	e := a.pickOne()
	a.stop()
	b := newNode(t, dsn)
	wait(t, "take-over", func() bool { return b.slots() == 256 })
	if !a.db.Lease(e.Slot).Before(time.Now()) {
		t.Error("the paused node believes in its lease")
	}
	b.unit, b.scan = a.unit, a.scan
	list := must(b.db.PickUp(ctx, b.unit, ledger.Alone, 5))(t)
	if len(list) != 1 || list[0].Epoch != e.Epoch+1 || list[0].Crashes != 1 {
		t.Fatalf("%+v", list)
	}
	for what, err := range map[string]error{
		"Finish":   a.db.Finish(ctx, judge(e, "v1"), ledger.End{Current: true}),
		"Begin":    a.db.Begin(ctx, e),
		"GiveBack": a.db.GiveBack(ctx, e, time.Now(), true),
	} {
		if e.State != ledger.Pending && what == "Finish" {
			t.Errorf("state %v", e.State)
		}
		if !fault.Is(err, fault.Stale) {
			t.Errorf("%s: got %v, want Stale", what, err)
		}
	}
	if n := len(a.pick(5)); n != 0 {
		t.Errorf("the paused node picked up %d", n)
	}
	b.clean(&list[0], "v1")
	b.consistent()
}

// One key in several scans is never in work twice, on whichever node, while
// nodes come and go and all of them take events.
func testExclusion(t *testing.T, dsn string) {
	seed := rand.Uint64()
	a := newNode(t, dsn)
	*a.bench = *newBench(t, a.db)
	second := must(a.db.StartScan(ctx, ledger.Scan{Unit: a.unit, Type: ledger.Instant, Workflow: a.scan.Workflow}))(t)
	nodes := []*node{a, newNode(t, dsn)}
	nodes[1].unit, nodes[1].scan = a.unit, a.scan

	var mu sync.Mutex
	inWork := map[string]string{}
	cases, violations := 0, 0
	work := func(ctx context.Context, n *node, name string) {
		for ctx.Err() == nil {
			list, err := n.db.PickUp(context.Background(), n.unit, ledger.Small, 20)
			if err != nil {
				t.Error(err)
				return
			}
			if len(list) == 0 {
				time.Sleep(2 * time.Millisecond)
			}
			mu.Lock()
			for _, e := range list {
				cases++
				if who, ok := inWork[e.Key]; ok {
					violations++
					t.Errorf("%s started %q while %s works on it", name, e.Key, who)
				}
				inWork[e.Key] = name
			}
			mu.Unlock()
			for i := range list {
				e := judge(&list[i], "v")
				mu.Lock()
				delete(inWork, e.Key)
				mu.Unlock()
				for err = ledger.ErrMoved; errors.Is(err, ledger.ErrMoved); {
					err = n.db.Finish(context.Background(), e, ledger.End{})
				}
				if err != nil {
					t.Errorf("finish: %v", err)
				}
			}
		}
	}
	run, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { work(run, n, fmt.Sprint("node ", i)) })
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for run.Err() == nil {
				var list []ledger.Arrival
				for range 5 {
					at := n.look(fmt.Sprint("key ", r.IntN(30)), "")
					if r.IntN(2) == 0 {
						at.Scan = second.ID
					}
					list = append(list, at)
				}
				if _, err := n.db.Intake(context.Background(), n.unit, list, nil); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(5 * time.Millisecond) // so that a Finish gets in between
			}
		})
	}
	reached := func(n int) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return cases >= n
		}
	}
	// A third node comes and goes meanwhile, which moves slots both ways.
	third := newNode(t, dsn)
	third.unit, third.scan = a.unit, a.scan
	wait(t, "slots of the third", func() bool { return third.slots() > 50 })
	leave, gone := context.WithCancel(run)
	var left sync.WaitGroup
	left.Go(func() { work(leave, third, "third") })
	wait(t, "work on three nodes", reached(200))
	gone()
	left.Wait()
	third.stop()
	if err := third.db.Close(); err != nil {
		t.Error(err)
	}
	wait(t, "slots back", func() bool { return a.slots()+nodes[1].slots() == 256 })
	wait(t, "work on two nodes", reached(300))
	cancel()
	wg.Wait()
	a.consistent()
	t.Logf("cases=%d violations=%d seed=%d", cases, violations, seed)
}

// What a killed node had in work goes to the next one, alone.
func testNodeCrash(t *testing.T, dsn string) {
	dieWith(t, dsn)
	n := newNode(t, dsn)
	wait(t, "take-over", func() bool { return n.slots() == 256 })
	*n.bench = *newBench(t, n.db)
	list := must(n.db.PickUp(ctx, n.unit, ledger.Alone, 5))(t)
	if len(list) != 1 || list[0].Crashes != 1 || list[0].Epoch != 2 {
		t.Fatalf("%+v", list)
	}
	n.clean(&list[0], "v1")
	n.clean(n.pickOne(), "v1")
	n.consistent()
}

// A lost connection hides whether a commit happened: the calls may be repeated,
// and no entry is left in work by nobody.
func testLostConnection(t *testing.T, dsn string) {
	n := newNode(t, dsn)
	wait(t, "all slots", func() bool { return n.slots() == 256 })
	*n.bench = *newBench(t, n.db)
	admin, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(ctx)
	run, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for run.Err() == nil {
			// The heartbeat's, the listener's and the writers' connections alike.
			if _, err := admin.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'landwaiter' AND datname = current_database() AND random() < 0.5"); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	// again repeats a call until the ledger answers.
	lost := 0
	again := func(f func() error) {
		for end := time.Now().Add(10 * time.Second); ; {
			err := f()
			if err == nil {
				return
			}
			lost++
			if !fault.Is(err, fault.Unavailable) || time.Now().After(end) {
				t.Fatalf("got %v", err)
			}
		}
	}
	const keys = 150
	for i := range keys {
		again(func() error {
			_, err := n.db.Intake(ctx, n.unit, []ledger.Arrival{n.look(fmt.Sprint("k", i), "v")}, nil)
			return err
		})
	}
	done := map[string]bool{}
	for end := time.Now().Add(20 * time.Second); len(done) < keys && time.Now().Before(end); {
		var list []ledger.Entry
		again(func() (err error) {
			list, err = n.db.PickUp(ctx, n.unit, ledger.Small, 10)
			return err
		})
		for i := range list {
			e := judge(&list[i], "v")
			again(func() error { return n.db.Finish(ctx, e, ledger.End{Current: true}) })
			if done[e.Key] {
				t.Errorf("%s was done twice", e.Key)
			}
			done[e.Key] = true
		}
	}
	cancel()
	wg.Wait()
	if len(done) != keys {
		t.Errorf("done %d of %d", len(done), keys)
	}
	wait(t, "an answer", func() bool { _, err := n.db.Fsck(ctx, true); return err == nil })
	n.consistent()
	t.Logf("cases=%d violations=0 lost answers=%d", keys, lost)
}

// The address, which may hold a password, is in no error.
func TestAddressStaysSecret(t *testing.T) {
	for _, dsn := range []string{"postgres://u:hunter2@127.0.0.1:1/x?sslmode=disable&connect_timeout=1", "postgres://u:hunter2@[::1/x"} {
		_, err := store.Open(ctx, store.Options{DSN: dsn})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v", err)
		}
	}
}
