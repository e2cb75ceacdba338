package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/test/servers"
)

// TestExitCodes has each exit code come of what really happens.
func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write(t, path("clean/a"), []byte("x"))
	write(t, path("bad/a"), eicar())
	write(t, path("blind/clean"), []byte("x"))
	if err := os.Symlink("nowhere", path("blind/link")); err != nil {
		t.Fatal(err)
	}
	write(t, path("both/a"), eicar())
	if err := os.Symlink("nowhere", path("both/link")); err != nil {
		t.Fatal(err)
	}
	write(t, path("wrong.yaml"), []byte("units:\n  - {naem: x}\n"))
	write(t, path("option.yaml"), []byte("units:\n  - {name: x, url: 'file:///x', options: {magic: 'yes'}}\n"))
	write(t, path("taken.yaml"), []byte("units:\n  - {name: in, url: 'file://"+path("in")+"', workflow: quarantine}\n"))
	write(t, path("in/bad"), eicar())
	write(t, path("damaged/ledger.db"), []byte(strings.Repeat("not a database ", 500)))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	p := serve(t, path("data"), "--config", path("taken.yaml"))
	p.finished("in", "bad", func(r ledger.Record) bool {
		return r.Verdict == "infected" && len(r.Actions) == 2 && r.Actions[1].State == "done"
	})
	items := p.quarantined()
	if len(items) != 1 {
		t.Fatalf("quarantine %+v", items)
	}
	write(t, path("in/bad"), []byte("somebody else's"))
	p.finished("in", "bad", verdict("clean"))
	with := []string{"--config", path("taken.yaml"), "--data", p.data}

	for _, tt := range []struct {
		code int
		says string
		args []string
	}{
		{0, "", []string{"scan", path("clean")}},
		{0, "", []string{"scan", path("bad")}}, // only --detailed-exitcode tells
		{0, "", []string{"watch", path("clean"), "--once", "--detailed-exitcode"}},
		{1, "", []string{"--data", path("damaged"), "fsck"}},
		{1, "fsck", []string{"--data", path("damaged"), "serve", "--listen", "off"}},
		{1, "fsck", []string{"--data", path("damaged"), "entries"}},
		{2, "--help", []string{"scan"}},
		{2, "--help", []string{"entries", "--since", "yesterday-ish"}},
		{2, "", append(with, "quarantine", "restore", "no-id")},
		{3, "wrong.yaml:2:6", []string{"--config", path("wrong.yaml"), "serve", "--listen", "off", "--data", path("x")}},
		{3, "wrong.yaml:2:6", []string{"config", "validate", path("wrong.yaml")}},
		{3, "magic", []string{"--config", path("option.yaml"), "serve", "--listen", "off", "--data", path("x")}},
		{3, "", []string{"--config", path("wrong.yaml"), "entries"}},
		{5, "nothing", []string{"scan", path("nothing")}},
		{5, "", []string{"--data", path("no-ledger"), "entries"}},
		{5, "", append(with, "explain", "in", "never-seen")},
		{5, "", append(with, "entries", "--unit", "nobody")},
		{5, "", append(with, "quarantine", "purge", ledger.NewID().String())},
		{5, "", append(with, "dlq", "replay", ledger.NewID().String())},
		{6, "another landwaiter", append(with, "serve", "--listen", "off")},
		{6, "--to", append(with, "quarantine", "restore", items[0].ID)},
		{6, "taken already", []string{"serve", "--data", path("y"), "--listen", l.Addr().String()}},
		{7, "1 of 2", append(with, "quarantine", "restore", "--dry-run", items[0].ID, ledger.NewID().String())},
		{8, "", []string{"scan", fmt.Sprintf("s3://b?endpoint=http://127.0.0.1:%d&anonymous=true", servers.FreePort(t)), "--timeout", "50s"}},
		{9, "", []string{"scan", path("clean"), "--engine", "clamd://" + path("no.sock"), "--timeout", "1s"}},
		{10, "", []string{"scan", path("bad"), "--detailed-exitcode"}},
		{10, "", []string{"watch", path("bad"), "--once", "--detailed-exitcode"}},
		{10, "", append(with, "entries", "--detailed-exitcode")},
		{11, "", []string{"scan", path("blind"), "--detailed-exitcode"}},
		{11, "", []string{"watch", path("blind"), "--once", "--detailed-exitcode"}},
		{10, "", []string{"scan", path("both"), "--detailed-exitcode"}},
		{10, "", []string{"watch", path("both"), "--once", "--detailed-exitcode"}},
	} {
		t.Run(fmt.Sprintf("%d %s", tt.code, strings.Join(tt.args, " ")), func(t *testing.T) {
			out, errs, code := run(t, tt.args...)
			if code != tt.code || !strings.Contains(errs, tt.says) {
				t.Errorf("exit %d, want %d saying %q:\n%s%s", code, tt.code, tt.says, out, errs)
			}
			if strings.Contains(errs, "panic") || strings.Contains(errs, "goroutine ") {
				t.Error("it panicked")
			}
		})
	}
	// 4: who may not open the data folder.
	if os.Getuid() == 0 {
		bin, err := os.ReadFile(binary(t))
		if err != nil {
			t.Fatal(err)
		}
		public, err := os.MkdirTemp("", "landwaiter-e2e-exit-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(public) })
		if err := os.Chmod(public, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(public, "landwaiter"), bin, 0o755); err != nil {
			t.Fatal(err)
		}
		closed := filepath.Join(public, "data")
		if err := os.Mkdir(closed, 0o700); err != nil {
			t.Fatal(err)
		}
		q := serve(t, closed)
		for _, args := range [][]string{{"entries"}, {"storage", "list"}, {"serve", "--listen", "off"}} {
			cmd := exec.Command(filepath.Join(public, "landwaiter"), append([]string{"--data", closed}, args...)...)
			cmd.Dir = public
			nobody(t, cmd)
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != 4 {
				t.Errorf("%v as nobody: exit %d, want 4: %s", args, code, out)
			}
		}
		if err := q.end(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
}
