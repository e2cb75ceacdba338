package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/pipeline"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/store"
	"github.com/landwaiter/landwaiter/test/servers"
	"github.com/landwaiter/landwaiter/workflow"
)

var _ pipeline.Ledger = (*store.DB)(nil)

// A ledgerBench is an open ledger with one unit.
type ledgerBench struct {
	db   *store.DB
	dir  string
	unit int64
	scan ledger.Scan

	finished func() // after each entry
}

// openLedger opens a ledger in dir, or on the server at dsn, and waits for slots.
func openLedger(tb testing.TB, dir, dsn string) *ledgerBench {
	tb.Helper()
	ctx := context.Background()
	db, err := store.Open(ctx, store.Options{Dir: dir, DSN: dsn})
	if err != nil {
		tb.Fatal(err)
	}
	run, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- db.Run(run) }()
	tb.Cleanup(func() {
		cancel()
		<-ended
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if mine(db) > 0 {
			break
		}
		if time.Now().After(end) {
			tb.Fatal("no slots")
		}
	}
	b := &ledgerBench{db: db, dir: dir}
	if b.unit, err = db.EnsureUnit(ctx, connectors.Unit{Name: "u", URL: "s3://b"}); err != nil {
		tb.Fatal(err)
	}
	wf, err := db.SaveWorkflow(ctx, []byte("{}"))
	if err != nil {
		tb.Fatal(err)
	}
	if b.scan, err = db.EnsureRealTimeScan(ctx, b.unit, "", wf, time.Time{}); err != nil {
		tb.Fatal(err)
	}
	return b
}

// mine counts the slots of this node.
func mine(db *store.DB) (n int) {
	for s := range 256 {
		if !db.Lease(uint8(s)).IsZero() {
			n++
		}
	}
	return n
}

// ledgers runs f on SQLite and on PostgreSQL.
func ledgers(b *testing.B, f func(b *testing.B, l *ledgerBench)) {
	b.Run("sqlite", func(b *testing.B) { f(b, openLedger(b, b.TempDir(), "")) })
	b.Run("postgres", func(b *testing.B) {
		dsn := os.Getenv("LANDWAITER_BENCH_DSN") // an empty database of a server at hand
		if dsn == "" {
			dsn = servers.Postgres(b)
		}
		f(b, openLedger(b, "", dsn))
	})
}

// key is 44 bytes long.
func key(n int64) string {
	return fmt.Sprintf("folder-%04d/sub-%04d/object-%012d.data", n/100_000, n/1000%100, n)
}

// version looks like an ETag.
func version(n int64) string { return fmt.Sprintf("%016x%016x", n*0x9e3779b97f4a7c, n) }

func (l *ledgerBench) arrivals(from int64, n int) []ledger.Arrival {
	out := make([]ledger.Arrival, n)
	for i := range out {
		k := from + int64(i)
		out[i] = ledger.Arrival{Scan: l.scan.ID, Event: object.Event{Ref: object.Ref{Unit: "u", Key: key(k), Version: version(k)}, Size: 4096, Cause: "hook"}}
	}
	return out
}

// cpu is the time that this process used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// intake writes n events in batches from 64 callers.
func (l *ledgerBench) intake(b *testing.B, from, n int64, batch int) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for {
				at := next.Add(int64(batch)) - int64(batch)
				if at >= n {
					return
				}
				size := min(int64(batch), n-at)
				got, err := l.db.Intake(context.Background(), l.unit, l.arrivals(from+at, int(size)), nil)
				if err != nil || int64(got.Inserted) != size {
					b.Errorf("%+v %v", got, err)
					panic("events were dropped")
				}
			}
		})
	}
	wg.Wait()
}

func report(b *testing.B, what string, n int64, took, used time.Duration) {
	b.ReportMetric(float64(n)/took.Seconds(), what+"/s")
	b.ReportMetric(float64(used.Microseconds())/float64(n), "cpu-µs/"+what)
	b.ReportMetric(0, "ns/op")
}

// BenchmarkIntake is P5: durable events from 64 connections.
func BenchmarkIntake(b *testing.B) {
	for _, size := range []int{100, 1} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			ledgers(b, func(b *testing.B, l *ledgerBench) {
				n := int64(b.N) * 1000
				start, used := time.Now(), cpu()
				b.ResetTimer()
				l.intake(b, 0, n, size)
				report(b, "event", n, time.Since(start), cpu()-used)
			})
		})
	}
}

func finish(e *ledger.Entry) {
	e.Size, e.SHA256 = 4096, e.ID[:]
	e.Outcome, e.Verdict, e.Decision, e.Engine, e.Engines = ledger.OutcomeDone, scan.Clean, workflow.Allowed, "builtin", 1
	e.Report = &scan.Report{Verdict: scan.Clean, Engine: "builtin", Engines: 1, Definitions: "1", Took: 80 * time.Microsecond}
}

// drain takes entries from pick-up to Finish until done has reached n.
func (l *ledgerBench) drain(tb testing.TB, n int64, done *atomic.Int64) {
	stop := make(chan struct{})
	var once sync.Once
	l.finished = func() {
		if done.Add(1) >= n {
			once.Do(func() { close(stop) })
		}
	}
	l.work(tb, stop)
}

// work picks up 256 at a time and finishes them from 256 goroutines, so that
// they share commits.
func (l *ledgerBench) work(tb testing.TB, stop <-chan struct{}) {
	work := make(chan ledger.Entry, 512)
	var wg sync.WaitGroup
	for range 256 {
		wg.Go(func() {
			for e := range work {
				finish(&e)
				if err := l.db.Finish(context.Background(), &e, ledger.End{Current: true}); err != nil {
					tb.Error(err)
				}
				if l.finished != nil {
					l.finished()
				}
			}
		})
	}
	for {
		list, err := l.db.PickUp(context.Background(), l.unit, ledger.Small, 256)
		if err != nil {
			tb.Error(err)
		}
		for _, e := range list {
			work <- e
		}
		if len(list) == 0 {
			select {
			case <-stop:
				close(work)
				wg.Wait()
				return
			case <-l.db.Changed():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

// BenchmarkLine is what the ledger costs an entry from intake to Finish.
func BenchmarkLine(b *testing.B) {
	ledgers(b, func(b *testing.B, l *ledgerBench) {
		n := int64(b.N) * 1000
		start, used := time.Now(), cpu()
		b.ResetTimer()
		l.intake(b, time.Now().UnixMicro()%1e11, n, 100) // new keys, whatever an earlier round left
		var done atomic.Int64
		l.drain(b, n, &done)
		report(b, "entry", n, time.Since(start), cpu()-used)
	})
}

// fill finishes n entries.
func (l *ledgerBench) fill(b *testing.B, n int64) {
	const part = 50_000
	var done atomic.Int64
	for at := int64(0); at < n; at += part {
		l.intake(b, at, min(part, n-at), 100)
		l.drain(b, min(at+part, n), &done)
	}
}

// BenchmarkPage is P7: a page of 100 from many entries, the slowest filter counts.
func BenchmarkPage(b *testing.B) {
	ctx := context.Background()
	ledgers(b, func(b *testing.B, l *ledgerBench) {
		const n = 1_000_000
		l.fill(b, n)
		for name, f := range map[string]store.Filter{
			"all": {}, "unit": {Unit: l.unit}, "infected": {Verdict: scan.Infected}, "failed": {Failed: true},
			"search": {Search: "no such thing"}, "decision": {Decision: workflow.Blocked}, "unfinished": {Unfinished: true},
			"since": {Since: time.Now().Add(-time.Minute), Verdict: scan.Clean}, "oldest": {Oldest: true}, "scan": {Scan: l.scan.ID},
		} {
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					p, err := l.db.Entries(ctx, f)
					if err != nil {
						b.Fatal(err)
					}
					if p.Next != "" {
						f.After = p.Next
						if _, err := l.db.Entries(ctx, f); err != nil {
							b.Fatal(err)
						}
						f.After = ""
					}
				}
			})
		}
		if l.dir == "" {
			return
		}
		l.intake(b, 2*n, 100_000, 100)
		if err := l.db.Close(); err != nil {
			b.Fatal(err)
		}
		b.Run("open", func(b *testing.B) { // with 100,000 entries that wait
			for b.Loop() {
				db, err := store.Open(ctx, store.Options{Dir: l.dir})
				if err != nil {
					b.Fatal(err)
				}
				if due, err := db.Due(ctx); err != nil || len(due) == 0 {
					b.Fatalf("due %v %v", due, err)
				}
				if err := db.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// BenchmarkInventory is P4: pages of the inventory, and what a key takes on disk.
func BenchmarkInventory(b *testing.B) {
	ctx := context.Background()
	ledgers(b, func(b *testing.B, l *ledgerBench) {
		const n = 1_000_000
		for at := int64(0); at < n; at += 1000 {
			list := l.arrivals(at, 1000)
			for i := range list {
				list[i].Event.Baseline = true
			}
			if _, err := l.db.Intake(ctx, l.unit, list, nil); err != nil {
				b.Fatal(err)
			}
		}
		rows, start := 0, time.Now()
		for b.Loop() {
			for after := ""; ; {
				page, err := l.db.Inventory(ctx, l.unit, after, 1000)
				if err != nil {
					b.Fatal(err)
				}
				rows += len(page)
				if len(page) < 1000 {
					break
				}
				after = page[len(page)-1].Key
			}
		}
		b.ReportMetric(float64(rows)/time.Since(start).Seconds(), "rows/s")
		b.ReportMetric(0, "ns/op")
		if l.dir != "" {
			if fi, err := os.Stat(filepath.Join(l.dir, "ledger.db")); err == nil {
				b.ReportMetric(float64(fi.Size())/n, "B/key")
			}
		}
	})
}

// nodeEnv makes the test binary a node of BenchmarkTwoNodes.
const nodeEnv = "LANDWAITER_STORE_BENCH_NODE"

// TestNode is not a test: it is a process of BenchmarkTwoNodes. It takes its own
// events, and whatever falls into its slots to the end.
func TestNode(t *testing.T) {
	var dsn string
	var number, n int64
	if _, err := fmt.Sscan(os.Getenv(nodeEnv), &dsn, &number, &n); err != nil {
		return // only as a process of BenchmarkTwoNodes
	}
	l := openLedger(t, "", dsn)
	for end := time.Now().Add(30 * time.Second); mine(l.db) != 128; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no fair share")
		}
	}
	fmt.Println("ready")
	_, _ = fmt.Scanln()
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 8 {
		wg.Go(func() {
			for {
				at := next.Add(200) - 200
				if at >= n {
					return
				}
				if _, err := l.db.Intake(context.Background(), l.unit, l.arrivals(number*n+at, int(min(200, n-at))), nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	stop := make(chan struct{})
	var drained sync.WaitGroup
	drained.Go(func() { l.work(t, stop) })
	wg.Wait()
	for left := int64(1); left > 0 && !t.Failed(); time.Sleep(5 * time.Millisecond) {
		var err error
		if left, err = l.db.Backlog(context.Background(), l.unit); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	drained.Wait()
	fmt.Println("done", cpu().Microseconds())
}

// BenchmarkTwoNodes is P8: two processes on one PostgreSQL, no engine work.
func BenchmarkTwoNodes(b *testing.B) {
	dsn := servers.Postgres(b)
	n := int64(b.N) * 1000
	var nodes [2]*exec.Cmd
	var in [2]io.WriteCloser
	var out [2]*bufio.Scanner
	for i := range nodes {
		c := exec.Command(os.Args[0], "-test.run=^TestNode$", "-test.v")
		c.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d", nodeEnv, dsn, i, n/2))
		c.Stderr = os.Stderr
		var err error
		if in[i], err = c.StdinPipe(); err != nil {
			b.Fatal(err)
		}
		pipe, err := c.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Start(); err != nil {
			b.Fatal(err)
		}
		nodes[i], out[i] = c, bufio.NewScanner(pipe)
	}
	until := func(word string) (used int64) {
		for i := range nodes {
			var said []string
			for {
				if !out[i].Scan() {
					b.Fatalf("node %d ended before it was %s: %q", i, word, said)
				}
				said = append(said, out[i].Text())
				var at int64
				if f := strings.Fields(out[i].Text()); len(f) > 0 && f[0] == word {
					if len(f) > 1 {
						_, _ = fmt.Sscan(f[1], &at)
					}
					used += at
					break
				}
			}
		}
		return used
	}
	until("ready")
	start := time.Now()
	b.ResetTimer()
	for i := range in {
		_, _ = fmt.Fprintln(in[i])
	}
	used := until("done")
	report(b, "entry", n, time.Since(start), time.Duration(used)*time.Microsecond)
	for i := range nodes {
		for out[i].Scan() {
		}
		if err := nodes[i].Wait(); err != nil {
			b.Error(err)
		}
	}
}
