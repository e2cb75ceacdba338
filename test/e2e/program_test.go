// Package e2e drives the built program as its users do: files dropped into
// folders, objects put into buckets, commands typed, processes killed.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/test/servers"
)

// eicar is the test file, assembled so that no source holds it whole.
func eicar() []byte {
	return []byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*")
}

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "landwaiter-e2e-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "landwaiter")
	out, err := exec.Command("go", "build", "-o", bin, "github.com/landwaiter/landwaiter/cmd/landwaiter").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if bin, err := build(); err == nil {
		_ = os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

func binary(t *testing.T) string {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// A process is a running landwaiter.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	data string
	addr string
	out  *buffer
	err  *buffer
	done chan error
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start runs landwaiter with args; it is ended with the test.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(binary(t), args...), out: &buffer{}, err: &buffer{}, done: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		p.end(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("landwaiter %s\n%s", strings.Join(args, " "), tail(p.err.String(), 6000))
		}
	})
	return p
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// serve runs `serve` on a data folder and a free port, and waits until it is ready.
func serve(t *testing.T, data string, args ...string) *process {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", servers.FreePort(t))
	p := start(t, nil, append([]string{"serve", "--data", data, "--listen", addr}, args...)...)
	p.data, p.addr = data, addr
	eventually(t, 20*time.Second, func() error { return get("http://" + addr + "/readyz") })
	return p
}

// end signals the process and waits; it may have ended already.
func (p *process) end(sig syscall.Signal) error {
	_ = p.cmd.Process.Signal(sig) // it may be gone
	select {
	case err := <-p.done:
		p.done <- err
		return err
	case <-time.After(40 * time.Second):
		_ = p.cmd.Process.Kill()
		p.t.Error("landwaiter did not end within 40 s of its signal")
		return errors.New("killed")
	}
}

// run runs one command to its end and returns what it printed.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, binary(t), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// entries returns what `entries -o json` lists for a unit.
func (p *process) entries(unit string) ([]ledger.Record, error) {
	out, errs, code := run(p.t, "--data", p.data, "entries", "--unit", unit, "--limit", "0", "-o", "json")
	if code != 0 {
		return nil, fmt.Errorf("entries: exit %d: %s", code, errs)
	}
	var l []ledger.Record
	return l, json.Unmarshal([]byte(out), &l)
}

// finished waits until the newest finished entry of a key is as wanted.
func (p *process) finished(unit, key string, ok func(ledger.Record) bool) ledger.Record {
	p.t.Helper()
	var found ledger.Record
	eventually(p.t, 30*time.Second, func() error {
		l, err := p.entries(unit)
		if err != nil {
			return err
		}
		for _, r := range l {
			if r.Key == key && r.State == "finished" && ok(r) {
				found = r
				return nil
			}
		}
		return fmt.Errorf("%s:%s is not there as wanted: %+v", unit, key, l)
	})
	return found
}

func (p *process) quarantined() []control.Quarantined {
	p.t.Helper()
	out, errs, code := run(p.t, "--data", p.data, "quarantine", "list", "-o", "json")
	if code != 0 {
		p.t.Fatalf("quarantine list: exit %d: %s", code, errs)
	}
	var l []control.Quarantined
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		p.t.Fatal(err, out)
	}
	return l
}

func verdict(v string) func(ledger.Record) bool {
	return func(r ledger.Record) bool { return r.Verdict == v }
}

func eventually(t *testing.T, within time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %v", within, err)
		}
		time.Sleep(20 * time.Millisecond) // between two looks, not to wait for something
	}
}

func get(url string) error {
	c := http.Client{Timeout: 2 * time.Second}
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return err
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
