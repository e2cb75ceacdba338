package e2e

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
)

// archive is a zip with many members, so that looking into it takes a while.
func archiveOf(t *testing.T, members int, seed int64) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	content := make([]byte, 4096)
	rng := rand.New(rand.NewSource(seed))
	for i := range members {
		f, err := z.Create(fmt.Sprintf("m%05d", i))
		if err != nil {
			t.Fatal(err)
		}
		rng.Read(content)
		if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestSignalToAll signals the whole process group, as a terminal's Ctrl-C and a
// service manager do, while parsers are at work: that is no crash of an object.
func TestSignalToAll(t *testing.T) {
	dir := t.TempDir()
	inbox, data := filepath.Join(dir, "inbox"), filepath.Join(dir, "data")
	const n = 150
	content := archiveOf(t, 400, 1)
	for i := range n {
		write(t, filepath.Join(inbox, fmt.Sprintf("a%03d.zip", i)), append(content, fmt.Sprint(i)...))
	}
	before := 0
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd := exec.Command(binary(t), "serve", "--data", data, "--listen", "off", "--watch", inbox)
		out := &buffer{}
		cmd.Stderr = out
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		p := &process{t: t, data: data}
		eventually(t, 30*time.Second, func() error {
			l, err := p.entries("inbox")
			if err != nil {
				return err
			}
			done := 0
			for _, r := range l {
				if r.State == "finished" {
					done++
				}
			}
			if done == before {
				return fmt.Errorf("nothing more finished yet: %s", tail(out.String(), 500))
			}
			return nil
		})
		began := time.Now()
		if err := syscall.Kill(-cmd.Process.Pid, sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v\n%s", sig, err, tail(out.String(), 2000))
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%v: it ended after %v", sig, took)
		}
		if strings.Contains(out.String(), "parser died") {
			t.Errorf("%v ended a parser:\n%s", sig, tail(out.String(), 2000))
		}
		if !strings.Contains(out.String(), "stopped") {
			t.Errorf("no word about the stop:\n%s", tail(out.String(), 1000))
		}
		l, err := p.entries("inbox")
		if err != nil {
			t.Fatal(err)
		}
		before = 0
		for _, r := range l {
			if r.State == "finished" {
				before++
			}
		}
		t.Logf("%v after %d of %d", sig, before, n)
	}
	p := serve(t, data, "--watch", inbox)
	violations := 0
	eventually(t, 60*time.Second, func() error {
		l, err := p.entries("inbox")
		if err != nil {
			return err
		}
		done := 0
		violations = 0
		for _, r := range l {
			if r.State == "finished" && r.Outcome == ledger.OutcomeDone {
				done++
				if r.Verdict != "clean" {
					violations++
				}
			}
		}
		if done != n {
			return fmt.Errorf("%d of %d are finished", done, n)
		}
		return nil
	})
	if violations > 0 {
		l, _ := p.entries("inbox")
		t.Errorf("%d archives have another verdict than clean: %+v", violations, l[0])
	}
	t.Logf("cases=%d violations=%d seed=1", n, violations)
}

// TestStopWithinBound sends SIGTERM while many files wait: exit 0, soon, and the
// next start finishes the rest.
func TestStopWithinBound(t *testing.T) {
	dir := t.TempDir()
	inbox, data := filepath.Join(dir, "inbox"), filepath.Join(dir, "data")
	const n = 5000
	for i := range n {
		write(t, filepath.Join(inbox, fmt.Sprintf("%d/f%d", i%20, i)), bytes.Repeat([]byte{byte(i)}, 8<<10))
	}
	p := start(t, nil, "serve", "--data", data, "--listen", "off", "--watch", inbox)
	p.data = data
	eventually(t, 20*time.Second, func() error {
		l, err := p.entries("inbox")
		for _, r := range l {
			if r.State == "finished" {
				return nil
			}
		}
		return errors.Join(errors.New("nothing finished yet"), err)
	})
	began := time.Now()
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	took := time.Since(began)
	if took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	out, errs, code := run(t, "watch", inbox, "--data", data, "--once", "-o", "json")
	if code != 0 {
		t.Errorf("exit %d: %s", code, errs)
	}
	rest := strings.Count(out, "\n")
	l, err := p.entries("inbox")
	if err != nil {
		t.Fatal(err)
	}
	done := map[string]int{}
	for _, r := range l {
		if r.State == "finished" && r.Outcome == ledger.OutcomeDone {
			done[r.Key]++
		}
	}
	if len(done) != n || len(l) != n {
		t.Errorf("%d keys finished, %d entries, want %d", len(done), len(l), n)
	}
	t.Logf("cases=%d violations=%d seed=none: stopped after %v with %d to go", n, n-len(done), took.Round(time.Millisecond), rest)
}

// TestReloadBySignal reloads the built program.
func TestReloadBySignal(t *testing.T) {
	dir := t.TempDir()
	a, b, conf := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "landwaiter.yaml")
	for _, d := range []string{a, b} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, conf, []byte("log: {format: json}\nunits:\n  - {name: a, url: 'file://"+a+"'}\n"))
	p := serve(t, filepath.Join(dir, "data"), "--config", conf)
	write(t, conf, []byte("log: {format: json}\nunits:\n  - {name: a, url: 'file://"+a+"'}\n  - {name: b, url: 'file://"+b+"', wrokflow: x}\n"))
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() error {
		if !strings.Contains(p.err.String(), conf+":4:") {
			return fmt.Errorf("no line and column in the log")
		}
		return nil
	})
	write(t, conf, []byte("log: {format: json}\nunits:\n  - {name: a, url: 'file://"+a+"'}\n  - {name: b, url: 'file://"+b+"'}\n"))
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(b, "f"), []byte("x"))
	eventually(t, 10*time.Second, func() error {
		if !strings.Contains(p.err.String(), `"msg":"reloaded`) {
			return fmt.Errorf("not reloaded")
		}
		return nil
	})
	p.finished("b", "f", verdict("clean"))
}
