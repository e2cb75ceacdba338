package crash

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/scan"
)

// TestBurst creates far more files than the kernel keeps events for while the
// daemon is stopped: when it goes on, the overflow heals itself.
func TestBurst(t *testing.T) {
	n := number("TEST_BURST", 20_000)
	p := newPlace(t)
	r := p.start()
	if err := os.WriteFile(filepath.Join(p.inbox, "first"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	scanned := func(want int64) func() error {
		return func() error {
			db, unit, err := p.read()
			if err != nil {
				return err
			}
			defer db.Close()
			counts, err := db.Counts(context.Background(), unit)
			if err != nil {
				return err
			}
			var clean int64
			for _, c := range counts {
				if c.Verdict == scan.Clean {
					clean += c.Objects
				}
			}
			if clean != want {
				return fmt.Errorf("%d of %d are clean: %+v", clean, want, counts)
			}
			return nil
		}
	}
	wait(t, 20*time.Second, scanned(1))
	if err := r.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		dir := filepath.Join(p.inbox, fmt.Sprintf("d%03d", i/1000))
		if i%1000 == 0 {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), fmt.Appendf(nil, "%d", i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	if err := r.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	wait(t, 5*time.Minute, scanned(int64(n)+1))
	took := time.Since(began)
	if err := r.end(syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, r.out.String())
	}
	fmt.Printf("burst: cases=%d violations=0 seed=none missed=0 covered_in=%v\n", n, took.Round(time.Millisecond))
}

func wait(t *testing.T, within time.Duration, f func() error) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(50 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %v", within, err)
		}
	}
}
