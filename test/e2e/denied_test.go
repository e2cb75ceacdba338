package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/test/servers"
)

// nobody runs cmd as the user nobody, whom permissions concern.
func nobody(t *testing.T, cmd *exec.Cmd, own ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		return // we are somebody whom they concern
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		servers.Unable(t, err.Error())
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range own {
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// TestUnreadable has files and folders that the daemon may not read: they are
// not_scanned(access_denied) or said to be left out, never clean, and the others go on.
func TestUnreadable(t *testing.T) {
	dir, err := os.MkdirTemp("", "landwaiter-e2e-denied-") // which nobody may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	inbox, data := filepath.Join(dir, "inbox"), filepath.Join(dir, "data")
	write(t, filepath.Join(inbox, "open"), []byte("x"))
	write(t, filepath.Join(inbox, "closed"), eicar())
	write(t, filepath.Join(inbox, "cellar", "deep"), eicar())
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "landwaiter")
	content, err := os.ReadFile(binary(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bin, content, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o755, inbox: 0o755, filepath.Join(inbox, "closed"): 0, filepath.Join(inbox, "cellar"): 0} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	p := &process{t: t, data: data, out: &buffer{}, err: &buffer{}, done: make(chan error, 1)}
	p.cmd = exec.Command(bin, "serve", "--data", data, "--listen", "off", "--watch", inbox)
	p.cmd.Stderr = p.err
	nobody(t, p.cmd, data)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.end(syscall.SIGTERM)
		if t.Failed() {
			t.Log(tail(p.err.String(), 4000))
		}
	})
	p.finished("inbox", "open", verdict("clean"))
	r := p.finished("inbox", "closed", verdict("not_scanned"))
	if r.Reason != "access_denied" || r.Decision == "allowed" {
		t.Errorf("got %+v", r)
	}
	write(t, filepath.Join(inbox, "later"), []byte("x"))
	if err := os.Chmod(filepath.Join(inbox, "later"), 0); err != nil {
		t.Fatal(err)
	}
	l, err := p.entries("inbox")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range l {
		if strings.HasPrefix(r.Key, "cellar/") && r.Verdict == "clean" {
			t.Errorf("clean without a look: %+v", r)
		}
	}
	if !strings.Contains(p.err.String(), "cellar") && !strings.Contains(p.err.String(), "gaps=1") {
		t.Error("nobody says that a folder was left out")
	}
	// Made readable, it is looked at.
	if err := os.Chmod(filepath.Join(inbox, "closed"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.finished("inbox", "closed", verdict("infected"))
}

// TestBucketsAway configures buckets that are not there, with credentials that
// are wrong, and in another region: each is said, none is clean, others go on.
func TestBucketsAway(t *testing.T) {
	s := servers.MinIO(t)
	s.MakeBucket(t, "good", false)
	put(t, s, "good", "k", []byte("x"))
	dir := t.TempDir()
	conf := filepath.Join(dir, "landwaiter.yaml")
	bad := s
	bad.SecretKey = "a-secret-that-is-wrong"
	unknown := s
	unknown.AccessKey = "nobody-of-that-name"
	region := s
	region.Region = "eu-nowhere-7"
	away := s
	away.Endpoint = fmt.Sprintf("http://127.0.0.1:%d", servers.FreePort(t))
	write(t, conf, []byte("units:\n"+s3Unit("good", s, "good", "default")+s3Unit("missing", s, "not-there", "default")+s3Unit("wrong-secret", bad, "good2", "default")+
		s3Unit("wrong-key", unknown, "good3", "default")+s3Unit("wrong-region", region, "good4", "default")+s3Unit("away", away, "good", "default")))
	for _, b := range []string{"good2", "good3", "good4"} {
		s.MakeBucket(t, b, false)
		put(t, s, b, "k", eicar())
	}
	p := serve(t, filepath.Join(dir, "data"), "--config", conf)
	p.finished("good", "k", verdict("clean"))
	out, errs, code := run(t, "--config", conf, "--data", p.data, "storage", "list", "-o", "csv")
	if code != 0 {
		t.Fatalf("storage list: exit %d: %s", code, errs)
	}
	want := map[string][]string{
		"missing":      {"bucket"},
		"wrong-secret": {"denied"},
		"wrong-key":    {"denied"},
		"wrong-region": {"region"},
		"away":         {"refused"},
	}
	for line := range strings.Lines(out) {
		unit, _, _ := strings.Cut(line, ",")
		t.Log(strings.TrimSpace(line))
		if unit == "good" && !strings.Contains(line, ",ok,") {
			t.Errorf("unit good: %s", line)
		}
		for _, word := range want[unit] {
			if !strings.Contains(line, ",down,") || !strings.Contains(strings.ToLower(line), word) {
				t.Errorf("unit %s is not said to be down for its %s: %s", unit, word, line)
			}
		}
	}
	doctor, _, code := run(t, "--config", conf, "--data", p.data, "doctor", "-o", "csv")
	if code != 1 {
		t.Errorf("doctor: exit %d", code)
	}
	for unit := range want {
		found := false
		for line := range strings.Lines(doctor) {
			found = found || strings.Contains(line, "unit "+unit) && strings.HasPrefix(line, "fail")
		}
		if !found {
			t.Errorf("doctor does not fail unit %s:\n%s", unit, doctor)
		}
	}
	for _, secret := range []string{bad.SecretKey, s.SecretKey} {
		if strings.Contains(out+doctor+p.err.String(), secret) {
			t.Errorf("a secret is shown")
		}
	}
	// The bucket comes: it is opened, swept, and can do all that it should.
	s.MakeBucket(t, "not-there", false)
	put(t, s, "not-there", "late", eicar())
	p.finished("missing", "late", verdict("infected"))
	for unit := range want {
		if unit == "missing" {
			continue
		}
		if l, err := p.entries(unit); err != nil || len(l) > 0 {
			t.Errorf("unit %s: %+v, %v", unit, l, err)
		}
	}
	eventually(t, 10*time.Second, func() error {
		out, _, _ := run(t, "--config", conf, "--data", p.data, "storage", "list", "-o", "csv")
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, "missing,") && strings.Contains(line, ",ok,") {
				return nil
			}
		}
		return fmt.Errorf("%s", out)
	})
}
