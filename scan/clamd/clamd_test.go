package clamd_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/clamd"
	"github.com/landwaiter/landwaiter/scan/scantest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	d := startClamd(t)
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			address := map[string]string{"unix": d.socket, "tcp": d.tcp}[network]
			scantest.Run(t, scantest.Harness{Open: func(t *testing.T) scan.Engine {
				e, err := clamd.Open(context.Background(), clamd.Options{Network: network, Address: address, Conf: d.conf})
				if err != nil {
					t.Fatal(err)
				}
				return e
			}})
		})
	}
}

// TestUnknownLimits: the canaries of a clamd whose settings cannot be read find
// out how far it looks.
func TestUnknownLimits(t *testing.T) {
	d := startClamd(t, "MaxFileSize 25M", "StreamMaxLength 25M", "MaxScanSize 60M", "MaxRecursion 10", "MaxFiles 2000")
	e := d.open(t, clamd.Options{Network: "tcp", Address: d.tcp})
	proof, err := scan.Prove(context.Background(), e, scan.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		c        scan.Case
		from, to int64
	}{
		{scan.CaseSize, 20 << 20, 25 << 20}, {scan.CaseExpanded, 30 << 20, 60 << 20}, {scan.CaseDepth, 9, 9}, {scan.CaseEntries, 1000, 2000},
	} {
		r := proof.Result(c.c)
		if r.Outcome == scan.Alerted && c.c == scan.CaseSize {
			continue // StreamMaxLength speaks up
		}
		if r.Outcome != scan.Silent || r.Bound < c.from || r.Bound > c.to {
			t.Errorf("%s: %s up to %d; want silent up to %d … %d", c.c, r.Outcome, r.Bound, c.from, c.to)
		}
	}
	t.Logf("took %v", proof.Took)
}

func TestDownAtStart(t *testing.T) {
	d := newClamd(t)
	e := d.open(t, clamd.Options{})
	if _, err := e.Probe(context.Background()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Probe without a clamd = %v", err)
	}
	for _, s := range []scan.Sample{scantest.Stream(eicar()), scantest.File(t, eicar()), scantest.File(t, scantest.Benign(3<<20))} {
		if rep, err := e.Scan(context.Background(), s); !fault.Is(err, fault.Unavailable) {
			t.Errorf("Scan without a clamd = %s, %v", rep.Verdict, err)
		}
	}
	d.start(t)
	infected(t, e)
}

// infected wants EICAR found, each way.
func infected(t *testing.T, e *clamd.Engine) {
	t.Helper()
	for _, s := range []scan.Sample{scantest.Stream(eicar()), scantest.File(t, eicar())} {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		rep, err := e.Scan(ctx, s)
		cancel()
		if err != nil || rep.Verdict != scan.Infected || rep.Threat != "Eicar-Body.UNOFFICIAL" && rep.Threat != "Eicar-Test-File.UNOFFICIAL" {
			t.Fatalf("EICAR is %s %q, %v", rep.Verdict, rep.Threat, err)
		}
	}
}

// flood keeps n scans of infected files and streams going until stop is
// called, which returns how many were found, how many failed, and the first
// failure that is none of clamd's being away. A clean one fails the test.
func flood(t *testing.T, e *clamd.Engine, n int) (stop func() (found, failed int64, odd error)) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var found, failed atomic.Int64
	var odd atomic.Pointer[error]
	content := append(scantest.Benign(200<<10), eicar()...)
	for i := range n {
		s := scantest.File(t, content)
		if i%2 == 0 {
			s = scantest.Stream(content)
		}
		wg.Go(func() {
			for ctx.Err() == nil {
				sctx, done := context.WithTimeout(ctx, 30*time.Second)
				rep, err := e.Scan(sctx, s)
				done()
				switch {
				case err == nil && rep.Verdict == scan.Infected:
					found.Add(1)
				case err == nil:
					t.Errorf("%s", rep.Verdict)
				case ctx.Err() != nil:
				case fault.Is(err, fault.Unavailable):
					failed.Add(1)
					_ = pause(ctx, 10*time.Millisecond)
				default:
					odd.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	return func() (int64, int64, error) {
		cancel()
		wg.Wait()
		if p := odd.Load(); p != nil {
			return found.Load(), failed.Load(), *p
		}
		return found.Load(), failed.Load(), nil
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestKilled: clamd dies in the middle of scans, several times; they fail as
// unavailable, and the next ones work once it is back.
func TestKilled(t *testing.T) {
	d := startClamd(t)
	e := d.open(t, clamd.Options{})
	stop := flood(t, e, 16)
	for range 3 {
		infected(t, e)
		d.kill(t)
		d.start(t)
	}
	infected(t, e)
	found, failed, odd := stop()
	if found == 0 || failed == 0 || odd != nil {
		t.Errorf("%d found, %d failed, and %v; want some of each and none", found, failed, odd)
	}
	t.Logf("cases=%d violations=0", found+failed)
}

// TestStopped: clamd hangs; scans fail within Stall and the time of a PING.
func TestStopped(t *testing.T) {
	d := startClamd(t)
	e := d.open(t, clamd.Options{Stall: 300 * time.Millisecond})
	infected(t, e)
	d.signal(t, syscall.SIGSTOP)
	began := time.Now()
	var wg sync.WaitGroup
	for _, s := range []scan.Sample{scantest.Stream(eicar()), scantest.File(t, eicar()), scantest.File(t, scantest.Benign(3<<20))} {
		wg.Go(func() {
			if rep, err := e.Scan(context.Background(), s); !fault.Is(err, fault.Unavailable) {
				t.Errorf("Scan with a stopped clamd = %s, %v", rep.Verdict, err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to notice", took)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := e.Scan(ctx, scantest.File(t, eicar())); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Scan past its deadline = %v", err)
	}
	d.signal(t, syscall.SIGCONT)
	infected(t, e)
}

// TestIdle: clamd drops sessions that are idle; nobody notices.
func TestIdle(t *testing.T) {
	d := startClamd(t, "IdleTimeout 1", "ReadTimeout 1", "CommandReadTimeout 1")
	e := d.open(t, clamd.Options{Idle: time.Hour})
	for range 2 {
		infected(t, e)
		sockets := d.sockets(t)
		eventually(t, "clamd closes the idle sessions", func() bool { return d.sockets(t) < sockets })
		_ = pause(context.Background(), 1500*time.Millisecond) // those that are left
	}
	infected(t, e)
}

// TestStreamTooLong: clamd answers and hangs up while the stream is still coming.
func TestStreamTooLong(t *testing.T) {
	d := startClamd(t, "StreamMaxLength 1M")
	for network, address := range map[string]string{"unix": d.socket, "tcp": d.tcp} {
		e := d.open(t, clamd.Options{Network: network, Address: address})
		for _, size := range []int{1<<20 + 1, 3 << 20, 20 << 20} {
			for range 5 {
				rep, err := e.Scan(context.Background(), scantest.Stream(append(bytes.Repeat([]byte("x"), size), eicar()...)))
				if err != nil || rep.Verdict != scan.NotScanned || rep.Reason != scan.TooLarge {
					t.Errorf("%s, %d bytes: %s (%s), %v; want not_scanned(too_large)", network, size, rep.Verdict, rep.Reason, err)
				}
			}
		}
		infected := func() {
			if rep, err := e.Scan(context.Background(), scantest.Stream(eicar())); err != nil || rep.Verdict != scan.Infected {
				t.Errorf("%s: EICAR is %s, %v", network, rep.Verdict, err)
			}
		}
		infected()
	}
}

// TestAlerts: a clamd that speaks up about its limits is not silent.
func TestAlerts(t *testing.T) {
	d := startClamd(t, "AlertExceedsMax yes", "AlertEncrypted yes", "MaxFileSize 2M", "MaxScanSize 8M", "MaxFiles 500", "MaxRecursion 5")
	e := d.open(t, clamd.Options{Conf: d.conf})
	h, err := e.Probe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if want := (scan.Limits{Size: 2 << 20, Expanded: 8 << 20, Depth: 5, Entries: 500, Timeout: 2 * time.Minute, Encrypted: true, Exceeded: true}); h.Limits != want {
		t.Errorf("limits %+v, want %+v", h.Limits, want)
	}
	proof, err := scan.Prove(context.Background(), e, h.Limits)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []scan.Case{scan.CaseSize, scan.CaseDepth, scan.CaseEntries, scan.CaseExpanded, scan.CaseEncrypted} {
		if r := proof.Result(c); r.Outcome != scan.Alerted {
			t.Errorf("%s: %s up to %d, want alerted", c, r.Outcome, r.Bound)
		}
	}
}

// TestCancelOne: a canceled file does not disturb the others on its session.
func TestCancelOne(t *testing.T) {
	d := startClamd(t)
	e := d.open(t, clamd.Options{})
	var wg sync.WaitGroup
	for i := range 200 {
		s := scantest.File(t, eicar())
		ctx, cancel := context.WithCancel(context.Background())
		if i%3 == 0 {
			wg.Go(cancel)
		}
		wg.Go(func() {
			defer cancel()
			rep, err := e.Scan(ctx, s)
			if errors.Is(err, context.Canceled) && i%3 == 0 {
				return
			}
			if err != nil || rep.Verdict != scan.Infected {
				t.Errorf("%s, %v", rep.Verdict, err)
			}
		})
	}
	wg.Wait()
}

// TestClosedFile: a file that is closed already is an error, not a verdict.
func TestClosedFile(t *testing.T) {
	d := startClamd(t)
	e := d.open(t, clamd.Options{})
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	for _, size := range []int64{0, 2 << 20} {
		rep, err := e.Scan(context.Background(), scan.Sample{Size: size, File: f, Open: func(context.Context) (io.ReadCloser, error) { return nil, os.ErrClosed }})
		if err == nil || fault.Is(err, fault.Unavailable) {
			t.Errorf("%s, %v; want an error that is not clamd's", rep.Verdict, err)
		}
	}
}
