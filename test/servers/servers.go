// Package servers starts real servers for tests: S3 gateways, scan engines,
// databases. Each belongs to one test, listens on loopback only and is gone
// when that test ends. `make servers` installs them.
package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// How long a server may take to become ready, and to end after SIGTERM.
const (
	readyWithin = 60 * time.Second
	endWithin   = 10 * time.Second
)

// Missing skips the test because what is not installed. In CI (CI=true) that
// is a failure: a test that never ran proves nothing.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed: run `make servers`", what)
	}
	t.Skipf("%s is not installed: run `make servers`", what)
}

// Unable skips the test because of what this machine does not allow: not root,
// no such file system. In CI (CI=true) that is a failure, as with Missing.
func Unable(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("this cannot be tested here: %s", why)
	}
	t.Skip(why)
}

// Binary returns the path of the program name, from the folder that `make
// servers` fills or else from PATH and the system's folders for daemons.
func Binary(t testing.TB, name string) string {
	t.Helper()
	dirs := append([]string{binDir()}, filepath.SplitList(os.Getenv("PATH"))...)
	for _, dir := range append(dirs, "/usr/local/sbin", "/usr/sbin", "/sbin") {
		path := filepath.Join(dir, name)
		if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return path
		}
	}
	Missing(t, name)
	return ""
}

// binDir is where install.sh puts the servers that are Go programs.
func binDir() string {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	return filepath.Join(cache, "landwaiter", "servers", "bin")
}

// FreePort returns a TCP port that nobody listens on at 127.0.0.1. It lies below
// the range that outgoing connections take theirs from, so it stays free until
// the server binds it, unless another test draws the same number meanwhile.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		l, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no free port between 20000 and 32000")
	return 0
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// start runs cmd until the test ends and returns when ready returns nil. The
// server's output goes to a file, whose end is shown if the test failed.
func start(t testing.TB, cmd *exec.Cmd, ready func(context.Context) error) {
	t.Helper()
	name := filepath.Base(cmd.Path)
	log, err := os.CreateTemp(t.TempDir(), name+"-*.log")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	// A test binary that is killed must not leave servers behind. The signal
	// comes when the parent *thread* ends, hence a thread of its own that waits.
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
	}()
	if err := <-started; err != nil {
		_ = log.Close()
		t.Fatalf("start %s: %v", name, err)
	}
	t.Cleanup(func() {
		stop(t, cmd, ended)
		if t.Failed() {
			t.Logf("end of the log of %s:\n%s", name, tail(log, 4<<10))
		}
		_ = log.Close()
	})
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	for {
		err := ready(ctx)
		select {
		case <-ended:
			t.Fatalf("%s ended before it was ready: %v", name, cmd.ProcessState)
		case <-ctx.Done():
			t.Fatalf("%s was not ready after %v: %v", name, readyWithin, err)
		case <-time.After(10 * time.Millisecond):
			if err == nil {
				return
			}
		}
	}
}

// stop ends the process of cmd, by its id, and waits until it is gone.
func stop(t testing.TB, cmd *exec.Cmd, ended <-chan struct{}) {
	select {
	case <-ended:
		return
	default:
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(endWithin):
		t.Logf("%s did not end within %v of SIGTERM", cmd.Path, endWithin)
		_ = cmd.Process.Kill()
		<-ended
	}
}

// tail returns the last n bytes of f.
func tail(f *os.File, n int64) []byte {
	fi, err := f.Stat()
	if err != nil {
		return []byte(err.Error())
	}
	b := make([]byte, n)
	got, err := f.ReadAt(b, max(0, fi.Size()-n))
	if err != nil && !errors.Is(err, io.EOF) {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(b[:got])
}

// answersHTTP is a readiness check: GET url answers 200.
func answersHTTP(url string) func(context.Context) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("GET %s: %s", url, resp.Status)
		}
		return nil
	}
}
