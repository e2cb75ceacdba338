package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/test/servers"
)

// TestTwoNodes runs two daemons on one PostgreSQL and one folder and kills one:
// the other takes over within the lease, and each file is done once.
func TestTwoNodes(t *testing.T) {
	dsn := servers.Postgres(t)
	dir := t.TempDir()
	inbox, quarantine := filepath.Join(dir, "inbox"), filepath.Join(dir, "quarantine")
	if err := os.Mkdir(inbox, 0o755); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "landwaiter.yaml")
	write(t, conf, []byte("store: {dsn: 'env:TEST_DSN'}\n"))
	t.Setenv("TEST_DSN", dsn)
	node := func(name string) *process {
		return serve(t, filepath.Join(dir, name), "--config", conf, "--watch", inbox, "--quarantine", quarantine)
	}
	const n = 1000
	written, caught := 0, 0
	more := func(to int) {
		for ; written < to; written++ {
			content := fmt.Appendf(nil, "file %d", written)
			if written%10 == 0 {
				content = append(eicar(), fmt.Appendf(nil, "\n%*s", written/10%50, "")...)
				caught++
			}
			write(t, filepath.Join(inbox, fmt.Sprintf("%d/f%04d", written%7, written)), content)
		}
	}
	more(n / 4)
	one := node("one")
	two := node("two")
	more(n / 2)
	eventually(t, 60*time.Second, func() error { // both have a share
		for _, p := range []*process{one, two} {
			if !strings.Contains(p.err.String(), "slots gained") {
				return fmt.Errorf("a node has no slots")
			}
		}
		return nil
	})
	more(3 * n / 4)
	if one.end(syscall.SIGKILL) == nil {
		t.Fatal("it was not killed")
	}
	killed := time.Now()
	more(n)
	// A command on the data folder of the dead one reads all the same.
	done := func(p *process) (map[string]int, int, error) {
		out, errs, code := run(t, "--config", conf, "--data", p.data, "entries", "--unit", "inbox", "--limit", "0", "-o", "csv")
		if code != 0 {
			return nil, 0, fmt.Errorf("exit %d: %s", code, errs)
		}
		_ = out
		l, err := p.entries("inbox")
		m, open := map[string]int{}, 0
		for _, r := range l {
			switch {
			case r.State != "finished":
				open++
			case r.Outcome == ledger.OutcomeDone:
				m[r.Key]++
			}
		}
		return m, open, err
	}
	var m map[string]int
	eventually(t, 90*time.Second, func() (err error) {
		var open int
		if m, open, err = done(two); err == nil && (len(m) != n || open > 0) {
			err = fmt.Errorf("%d of %d, %d open", len(m), n, open)
		}
		return err
	})
	took := time.Since(killed)
	violations := 0
	for key, times := range m {
		if times != 1 {
			violations++
			t.Errorf("%s: done %d times", key, times)
		}
	}
	if items := two.quarantined(); len(items) != caught {
		violations++
		t.Errorf("quarantine holds %d, want %d", len(items), caught)
	}
	files, err := filepath.Glob(quarantine + "/*.lwq")
	if err != nil || len(files) != caught {
		violations++
		t.Errorf("the quarantine has %d files, want %d (%v)", len(files), caught, err)
	}
	if took > 60*time.Second {
		t.Errorf("the other node needed %v", took)
	}
	// The dead one comes back and takes its share again; then a planned stop.
	again := node("one")
	eventually(t, 30*time.Second, func() error {
		if !strings.Contains(again.err.String(), "slots gained") {
			return fmt.Errorf("no slots for the node that came back")
		}
		return nil
	})
	if err := two.end(syscall.SIGTERM); err != nil {
		t.Errorf("stop: %v", err)
	}
	write(t, filepath.Join(inbox, "last"), []byte("last"))
	again.finished("inbox", "last", verdict("clean"))
	if out, errs, code := run(t, "--config", conf, "--data", again.data, "fsck"); code != 0 {
		t.Errorf("fsck: exit %d\n%s%s", code, out, errs)
	}
	t.Logf("cases=%d violations=%d seed=none: the other node was through after %v", n, violations, took.Round(time.Millisecond))
}

// TestDatabaseAway starts without a database, and loses it.
func TestDatabaseAway(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "landwaiter.yaml")
	port := servers.FreePort(t)
	write(t, conf, []byte(fmt.Sprintf("store: {dsn: 'postgres://u:hidden-word@127.0.0.1:%d/x?sslmode=disable'}\n", port)))
	for _, args := range [][]string{{"serve", "--listen", "off"}, {"entries"}, {"fsck"}} {
		_, errs, code := run(t, append([]string{"--config", conf, "--data", filepath.Join(dir, "data")}, args...)...)
		if code != 8 || strings.Contains(errs, "hidden-word") {
			t.Errorf("%v: exit %d, want 8: %s", args, code, errs)
		}
	}
}
