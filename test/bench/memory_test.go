package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/store"
)

const mib = 1 << 20

// BenchmarkMemory is P6: what the daemon holds when it has nothing to do, what
// one huge object adds, and what a million entries that wait for an engine take.
func BenchmarkMemory(b *testing.B) {
	b.Run("idle", func(b *testing.B) {
		dir := b.TempDir()
		d := serve(b, "--data", filepath.Join(dir, "data"), "--watch", dir)
		d.await(b, "/readyz")
		time.Sleep(3 * time.Second) // what is idle is seen only after a while
		figure("P6", "idle", float64(resident(d.cmd.Process.Pid, "VmRSS:"))/mib, "MiB", "<= 64")
		figure("P6", "idle, most so far", float64(d.own())/mib, "MiB", "-")
		d.stop()
	})
	b.Run("large", large)
	b.Run("waiting", waiting)
}

// large lets a sparse file land and measures what it adds to the most memory held.
func large(b *testing.B) {
	size := int64(count(b, "BENCH_GIB", 10)) << 30
	dir := b.TempDir()
	inbox := filepath.Join(dir, "inbox")
	folder(b, inbox, 200, 4096)
	cmd := exec.Command(binary(b), "watch", inbox, "-o", "json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	p := launch(b, cmd)
	lines := bufio.NewReader(out)
	take := func(n int) {
		for range n {
			if _, err := lines.ReadString('\n'); err != nil {
				b.Fatal(err)
			}
		}
	}
	take(200)
	before := p.own()
	f, err := os.Create(filepath.Join(dir, "large"))
	if err != nil {
		b.Fatal(err)
	}
	if err := errorsOf(f.Truncate(size), f.Close()); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	if err := os.Rename(f.Name(), filepath.Join(inbox, "large")); err != nil {
		b.Fatal(err)
	}
	take(1)
	took := time.Since(start)
	figure("P6", fmt.Sprintf("a file of %d GiB adds", size>>30), float64(p.own()-before)/mib, "MiB", "<= 8")
	figure("P6", "its rate", float64(size)/mib/took.Seconds(), "MiB/s", "-")
	p.stop()
	go func() { _, _ = io.Copy(io.Discard, out) }()
}

// waiting starts the daemon on a ledger full of entries whose engine is down.
// It is P7's measure of a start, too.
func waiting(b *testing.B) {
	n := count(b, "BENCH_WAITING", 1_000_000)
	dir := b.TempDir()
	data, inbox := filepath.Join(dir, "data"), filepath.Join(dir, "inbox")
	if err := errorsOf(os.Mkdir(data, 0o700), os.Mkdir(inbox, 0o755)); err != nil {
		b.Fatal(err)
	}
	serveOnce := func(engine string) *daemon {
		conf := filepath.Join(dir, "landwaiter.yaml")
		text := "units:\n  - name: u\n    url: file://" + inbox + "\npools:\n  - name: default\n    instances: [{url: '" + engine + "'}]\n"
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		return serve(b, "--config", conf, "--data", data)
	}
	ready := func(what string) {
		d := serveOnce("builtin:")
		live := d.ready
		start := time.Now()
		d.await(b, "/readyz")
		figure("P7", "start to ready, "+what, float64((live+time.Since(start)).Microseconds())/1000, "ms", "<= 300")
		d.stop()
	}
	ready("new ledger")
	ready("known ledger")
	fillWaiting(b, data, n)
	d := serveOnce("clamd://" + filepath.Join(dir, "nobody"))
	time.Sleep(10 * time.Second) // the time in which it would take them in
	if got := int(d.metric(b, "landwaiter_entries_pending")); got != n {
		b.Errorf("%d entries wait, want %d", got, n)
	}
	figure("P6", fmt.Sprintf("%d waiting entries, engines down", n), float64(d.own())/mib, "MiB", "<= 256")
	figure("P7", "start to live with them", float64(d.ready.Microseconds())/1000, "ms", "<= 300")
	d.stop()
	b.ReportMetric(0, "ns/op")
}

// fillWaiting writes n pending entries of the unit u into the ledger in dir.
func fillWaiting(b *testing.B, dir string, n int) {
	b.Helper()
	db, err := store.Open(b.Context(), store.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- db.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	}()
	id, err := db.EnsureUnit(ctx, connectors.Unit{Name: "u", URL: "file:///u"})
	if err != nil {
		b.Fatal(err)
	}
	scans, err := db.Scans(ctx, id)
	if err != nil || len(scans) == 0 {
		b.Fatal(len(scans), err)
	}
	l := &ledgerBench{db: db, dir: dir, unit: id, scan: scans[0]}
	l.intake(b, 0, int64(n), 500)
}
