package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
)

// TestInbox is the README's first walk: a file dropped into the inbox is caught,
// explained, restored, and stays restored.
func TestInbox(t *testing.T) {
	dir := t.TempDir()
	inbox, data := filepath.Join(dir, "inbox"), filepath.Join(dir, "data")
	write(t, filepath.Join(inbox, "before.txt"), []byte("was here before"))
	p := serve(t, data, "--watch", inbox, "--quarantine", filepath.Join(dir, "quarantine"))
	p.finished("inbox", "before.txt", verdict("clean"))

	write(t, filepath.Join(inbox, "report.txt"), []byte("nothing to see"))
	bad := filepath.Join(inbox, "sub", "eicar.com")
	write(t, bad, eicar())
	p.finished("inbox", "report.txt", verdict("clean"))
	r := p.finished("inbox", "sub/eicar.com", verdict("infected"))
	if r.Decision != "blocked" || len(r.Actions) != 2 || r.Actions[0].State != "done" || r.Actions[1].State != "done" {
		t.Errorf("got decision %s, actions %+v", r.Decision, r.Actions)
	}
	if r.LatencyMS > 1000 {
		t.Errorf("took %v ms", r.LatencyMS)
	}
	if exists(bad) {
		t.Error("the infected file is still in the inbox")
	}

	out, errs, code := run(t, "--data", data, "explain", "inbox", "sub/eicar.com")
	if code != 0 || !strings.Contains(out, "infected") || !strings.Contains(out, "quarantine") {
		t.Errorf("explain: exit %d\n%s%s", code, out, errs)
	}

	items := p.quarantined()
	if len(items) != 1 || items[0].Key != "sub/eicar.com" {
		t.Fatalf("quarantine holds %+v", items)
	}
	if out, errs, code := run(t, "--data", data, "quarantine", "restore", items[0].ID); code != 0 {
		t.Fatalf("restore: exit %d\n%s%s", code, out, errs)
	}
	got, err := os.ReadFile(bad)
	if err != nil || !bytes.Equal(got, eicar()) {
		t.Fatalf("restored file: %q, %v", got, err)
	}
	// Its hash is allowed now: touched, it is looked at again and stays.
	now := time.Now()
	if err := os.Chtimes(bad, now, now); err != nil {
		t.Fatal(err)
	}
	r = p.finished("inbox", "sub/eicar.com", func(r ledger.Record) bool { return r.Decision == "allowed" })
	if r.Verdict != "infected" || r.By == "" || !exists(bad) {
		t.Errorf("after restore: verdict %s, by %q, there %v", r.Verdict, r.By, exists(bad))
	}

	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	// Without a daemon the same commands read the ledger themselves.
	if out, _, code := run(t, "--data", data, "entries", "--verdict", "infected", "--detailed-exitcode"); code != 10 || !strings.Contains(out, "eicar.com") {
		t.Errorf("entries without a daemon: exit %d\n%s", code, out)
	}
}

// TestGrowingFile writes for three seconds and ends in EICAR: one verdict, none before.
func TestGrowingFile(t *testing.T) {
	dir := t.TempDir()
	inbox := filepath.Join(dir, "inbox")
	if err := os.Mkdir(inbox, 0o755); err != nil {
		t.Fatal(err)
	}
	p := serve(t, filepath.Join(dir, "data"), "--watch", inbox)
	f, err := os.Create(filepath.Join(inbox, "grows"))
	if err != nil {
		t.Fatal(err)
	}
	for range 30 {
		if _, err := f.Write(bytes.Repeat([]byte("growing "), 1000)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // the writer's own pace
	}
	if l, err := p.entries("inbox"); err != nil || len(l) > 0 {
		t.Errorf("before close: %+v, %v", l, err)
	}
	if _, err := f.Write(eicar()); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	p.finished("inbox", "grows", verdict("infected"))
	l, err := p.entries("inbox")
	if err != nil || len(l) != 1 {
		t.Errorf("want one entry, got %+v, %v", l, err)
	}
}

// TestHostileNames drops what strangers may: every name comes to a verdict.
func TestHostileNames(t *testing.T) {
	dir := t.TempDir()
	inbox := filepath.Join(dir, "inbox")
	want := map[string]string{}
	add := func(key, shown string) {
		write(t, filepath.Join(inbox, key), []byte("x"))
		want[shown] = "clean"
	}
	add("new\nline", `new\x0aline`)
	add("back\\slash", `back\\slash`)
	add("not-\xff\xfe-utf8", `not-\xff\xfe-utf8`)
	add("-rf", "-rf")
	add("sp ace/%2e%2e/..x", "sp ace/%2e%2e/..x")
	add(strings.Repeat("n", 255), strings.Repeat("n", 255))
	add("empty/../zero", "zero")
	write(t, filepath.Join(inbox, "zero"), nil)
	if err := os.Symlink("/etc/passwd", filepath.Join(inbox, "link")); err != nil {
		t.Fatal(err)
	}
	want["link"] = "not_scanned"
	if err := syscall.Mkfifo(filepath.Join(inbox, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	want["pipe"] = "not_scanned"
	deep := deepTree(t, inbox, 1000)
	want[deep] = "clean"

	out, errs, code := run(t, "watch", inbox, "--once", "-o", "json", "--detailed-exitcode")
	if code != 11 {
		t.Errorf("exit %d, want 11\n%s", code, errs)
	}
	got := map[string]string{}
	for line := range strings.Lines(out) {
		var r ledger.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		got[r.Key] = r.Verdict
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%.80q: got %q, want %q", k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d keys, want %d", len(got), len(want))
	}
}

// deepTree makes a file n folders down, which no path reaches, and returns its key.
func deepTree(t *testing.T, dir string, n int) string {
	t.Helper()
	fd, err := syscall.Open(dir, syscall.O_DIRECTORY|syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := syscall.Mkdirat(fd, "deepdeep", 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := syscall.Openat(fd, "deepdeep", syscall.O_DIRECTORY|syscall.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		syscall.Close(fd)
		fd = next
	}
	f, err := syscall.Openat(fd, "end", syscall.O_CREAT|syscall.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	syscall.Close(f)
	syscall.Close(fd)
	return strings.Repeat("deepdeep/", n) + "end"
}

// TestKilled kills the daemon while files come in: what was there is finished
// by the next one, once.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	inbox, data := filepath.Join(dir, "inbox"), filepath.Join(dir, "data")
	if err := os.Mkdir(inbox, 0o755); err != nil {
		t.Fatal(err)
	}
	p := serve(t, data, "--watch", inbox, "--quarantine", filepath.Join(dir, "q"))
	const n = 300
	for i := range n {
		content := fmt.Appendf(nil, "file %d", i)
		if i%10 == 0 {
			content = append(eicar(), fmt.Appendf(nil, "\n")...)
		}
		write(t, filepath.Join(inbox, fmt.Sprintf("f%03d", i)), content)
		if i == n/2 {
			if p.end(syscall.SIGKILL) == nil {
				t.Fatal("it was not killed")
			}
		}
	}
	p = serve(t, data, "--watch", inbox, "--quarantine", filepath.Join(dir, "q"))
	eventually(t, 60*time.Second, func() error {
		l, err := p.entries("inbox")
		if err != nil {
			return err
		}
		done := 0
		for _, r := range l {
			if r.State == "finished" && r.Outcome == ledger.OutcomeDone {
				done++
			}
		}
		if done != n {
			return fmt.Errorf("%d of %d are finished", done, n)
		}
		return nil
	})
	if items := p.quarantined(); len(items) != n/10 {
		t.Errorf("quarantine holds %d, want %d", len(items), n/10)
	}
}

// TestSecondDaemon starts two daemons on one data folder.
func TestSecondDaemon(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir)
	_, errs, code := run(t, "serve", "--data", dir, "--listen", "off")
	if code != 6 || !strings.Contains(errs, "another landwaiter") {
		t.Errorf("exit %d, want 6: %s", code, errs)
	}
}

// TestCorruptLedger damages the ledger's file: the daemon does not start and says how to go on.
func TestCorruptLedger(t *testing.T) {
	dir := t.TempDir()
	p := serve(t, dir)
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "ledger.db"), bytes.Repeat([]byte("not a database "), 1000))
	_, errs, code := run(t, "serve", "--data", dir, "--listen", "off")
	if code == 0 || !strings.Contains(errs, "fsck") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// TestMissingFolder, and other set-ups that can not work, end with a clear error.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"missing folder", []string{"watch", filepath.Join(dir, "nowhere"), "--once"}, 5, "nowhere"},
		{"missing target", []string{"scan", filepath.Join(dir, "nowhere")}, 5, "nowhere"},
		{"unknown engine", []string{"watch", dir, "--once", "--engine", "magic://x"}, 2, "magic"},
		{"engine that is not there", []string{"scan", dir, "--engine", "clamd:///nowhere/clamd.sock", "--timeout", "5s"}, 9, ""},
		{"unknown command", []string{"frobnicate"}, 2, "frobnicate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, errs, code := run(t, tt.args...)
			if code != tt.code || !strings.Contains(errs, tt.says) {
				t.Errorf("exit %d, want %d, saying %q:\n%s", code, tt.code, tt.says, errs)
			}
		})
	}
}
