package store_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/store"
	"github.com/landwaiter/landwaiter/test/servers"
	"github.com/landwaiter/landwaiter/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A bench is an open ledger with one unit and its RealTime scan.
type bench struct {
	t    testing.TB
	db   *store.DB
	unit int64
	scan ledger.Scan
}

var ctx = context.Background()

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A suite is what every ledger must do, whatever database it is in. open opens
// the same ledger again each time.
var suite = []struct {
	name string
	f    func(t *testing.T, open func(t testing.TB) *store.DB)
}{
	{"line", testLine},
	{"round trip", testRoundTrip},
	{"folding", testFolding},
	{"give back", testGiveBack},
	{"moved", testMoved},
	{"one at a time", testOneAtATime},
	{"plan", testPlan},
	{"cancel", testCancel},
	{"delete", testDelete},
	{"baseline", testBaseline},
	{"rescan", testRescan},
	{"versions", testVersions},
	{"keys", testKeys},
	{"pages", testPages},
	{"units", testUnits},
	{"scans", testScans},
	{"quarantine", testQuarantine},
	{"letters", testLetters},
	{"users", testUsers},
	{"last administrator", testLastAdministrator},
	{"sessions", testSessions},
	{"tokens", testTokens},
	{"tenants", testTenants},
}

func TestSQLite(t *testing.T) {
	for _, c := range suite {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.f(t, func(t testing.TB) *store.DB { return openAt(t, store.Options{Dir: dir}) })
		})
	}
}

func TestPostgres(t *testing.T) {
	server := servers.Postgres(t)
	for _, c := range suite {
		t.Run(c.name, func(t *testing.T) {
			dsn := database(t, server, "")
			c.f(t, func(t testing.TB) *store.DB { return openAt(t, store.Options{DSN: dsn, Lease: 2 * time.Second}) })
		})
	}
}

var databases atomic.Int64

// database makes an empty database on the server; how is the end of CREATE DATABASE.
func database(t testing.TB, server, how string) (dsn string) {
	t.Helper()
	c, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	name := fmt.Sprint("t", databases.Add(1))
	if _, err := c.Exec(ctx, "CREATE DATABASE "+name+" "+how); err != nil {
		t.Fatal(err)
	}
	return strings.Replace(server, "/postgres?", "/"+name+"?", 1)
}

// openAt opens a ledger, runs it, and waits until it has slots.
func openAt(t testing.TB, o store.Options) *store.DB {
	t.Helper()
	db, err := store.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	run(t, db)
	return db
}

// run runs db until the test ends, which then closes it.
func run(t testing.TB, db *store.DB) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- db.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	wait(t, "a slot", func() bool {
		for s := range 256 {
			if !db.Lease(uint8(s)).IsZero() {
				return true
			}
		}
		return false
	})
}

// wait polls until ok, for at most 10 s.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s within 10 s", what)
		}
	}
}

func newBench(t testing.TB, db *store.DB) *bench {
	t.Helper()
	b := &bench{t: t, db: db}
	b.unit = must(db.EnsureUnit(ctx, connectors.Unit{Name: "u", URL: "file:///srv"}))(t)
	b.scan = must(db.EnsureRealTimeScan(ctx, b.unit, "", b.workflow(), time.Time{}))(t)
	return b
}

func (b *bench) workflow() ledger.Hash {
	b.t.Helper()
	return must(b.db.SaveWorkflow(ctx, []byte(`{"name":"w"}`)))(b.t)
}

func (b *bench) look(key, version string) ledger.Arrival {
	return ledger.Arrival{Scan: b.scan.ID, Event: object.Event{Ref: object.Ref{Unit: "u", Key: key, Version: version}, Size: -1, Cause: "watch"}}
}

func (b *bench) intake(list ...ledger.Arrival) ledger.Taken {
	b.t.Helper()
	return must(b.db.Intake(ctx, b.unit, list, nil))(b.t)
}

func (b *bench) pick(n int) []ledger.Entry {
	b.t.Helper()
	return must(b.db.PickUp(ctx, b.unit, ledger.Small, n))(b.t)
}

func (b *bench) pickOne() *ledger.Entry {
	b.t.Helper()
	list := b.pick(10)
	if len(list) != 1 {
		b.t.Fatalf("picked up %d entries, want 1", len(list))
	}
	return &list[0]
}

// judge fills in what a worker learns of a clean object.
func judge(e *ledger.Entry, version string) *ledger.Entry {
	e.Version, e.Size, e.SHA256 = version, 5, make([]byte, 32)
	e.Outcome, e.Verdict, e.Decision, e.Engine = ledger.OutcomeDone, scan.Clean, workflow.Allowed, "builtin"
	e.Report = &scan.Report{Verdict: scan.Clean, Engine: "builtin", Definitions: "1"}
	return e
}

func (b *bench) clean(e *ledger.Entry, version string) {
	b.t.Helper()
	if err := b.db.Finish(ctx, judge(e, version), ledger.End{Current: true}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) wantTaken(want ledger.Taken, list ...ledger.Arrival) {
	b.t.Helper()
	if got := b.intake(list...); got != want {
		b.t.Fatalf("got %+v, want %+v", got, want)
	}
}

// consistent checks that the ledger agrees with itself.
func (b *bench) consistent() {
	b.t.Helper()
	for _, p := range must(b.db.Fsck(ctx, true))(b.t) {
		b.t.Errorf("fsck: %+v", p)
	}
}
