package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

// TestCrashKilled kills the daemon again and again at random moments while files
// come in. What was closed before the end must all be finished in the end, and
// each infected file put away once.
func TestCrashKilled(t *testing.T) {
	kills := number("TEST_KILLS", 15)
	chance, seed := seeded()
	p := newPlace(t)

	// The writer: what it closed is recorded, infected ones as true.
	wrote := map[string]bool{}
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			name, content := fmt.Sprintf("f%06d", i), fmt.Appendf(nil, "file %d", i)
			if i%10 == 0 {
				content = append(eicar(), '\n')
			}
			if i%100 == 1 { // some take longer to look at
				content = append(content, make([]byte, 1<<20)...)
			}
			if err := os.WriteFile(filepath.Join(p.inbox, name), content, 0o644); err != nil {
				t.Error(err)
				return
			}
			wrote[name] = i%10 == 0
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	})
	for range kills {
		r := p.start()
		time.Sleep(time.Duration(50+chance.IntN(450)) * time.Millisecond) // the moment to die
		if err := r.end(syscall.SIGKILL); err == nil || r.cmd.ProcessState.Exited() {
			close(stop)
			t.Fatalf("it ended by itself: %v\n%s", err, r.out.String())
		}
	}
	close(stop)
	writer.Wait()

	r := p.start()
	began := time.Now()
	var lost, twice, needless, rescans, crashes int
	p.finished(3*time.Minute, func(all map[string][]ledger.Entry, items []ledger.QuarantineItem) error {
		lost, twice, needless, rescans, crashes = 0, 0, 0, 0, 0
		held := map[string]int{}
		for _, q := range items {
			held[q.Key]++
		}
		for name, infected := range wrote {
			done := 0
			for _, e := range all[name] {
				crashes += e.Crashes
				switch {
				case e.Outcome == ledger.OutcomeDone && e.Reason == scan.EngineCrash:
					needless++
					done++
				case e.Outcome == ledger.OutcomeDone && (e.Verdict == scan.Infected) == infected:
					done++
				case e.Outcome != ledger.OutcomeGone && e.Outcome != ledger.OutcomeSuperseded:
					t.Logf("%s: %s %s(%s) %s", name, e.Outcome, e.Verdict, e.Reason, e.Error)
				}
			}
			_, err := os.Lstat(filepath.Join(p.inbox, name))
			if done == 0 || !infected && err != nil {
				lost++
			}
			if done > 1 {
				rescans++
			}
			if held[name] > 1 || !infected && held[name] > 0 {
				twice++
			}
			if infected && held[name] == 0 && needless == 0 {
				lost++
			}
		}
		if lost > 0 {
			return fmt.Errorf("%d of %d are lost", lost, len(wrote))
		}
		return nil
	})
	if err := r.end(syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	infected := 0
	for _, is := range wrote {
		if is {
			infected++
		}
	}
	if n := count(t, p.quarantine) - count(t, filepath.Join(p.quarantine, ".landwaiter")); n+needless < infected || n > infected {
		t.Errorf("the quarantine holds %d objects, want %d", n, infected)
	}
	// Empty files of a capability probe that was killed do no harm; all else would.
	if left := list(t, filepath.Join(p.inbox, ".landwaiter"), "probe-"); len(left) > 0 {
		t.Errorf("left aside: %q", left)
	}
	if lost+twice+needless > 0 {
		t.Errorf("lost %d, twice %d, ended as engine_crash though healthy %d", lost, twice, needless)
	}
	fmt.Printf("crash-killed: cases=%d violations=%d seed=%d kills=%d files=%d infected=%d lost=%d twice=%d needless_engine_crash=%d scanned_again=%d deaths_counted=%d recovered_in=%v\n",
		kills, lost+twice+needless, seed, kills, len(wrote), infected, lost, twice, needless, rescans, crashes, time.Since(began).Round(time.Millisecond))
}
