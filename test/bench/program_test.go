package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/test/servers"
)

// rounds is how often each side of a comparison runs, in turn; medians count.
const rounds = 3

// build makes the program, unless BENCH_BINARY names one.
var build = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("BENCH_BINARY"); bin != "" {
		return bin, nil
	}
	dir, err := os.MkdirTemp("", "landwaiter-bench-")
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
	if bin, err := build(); err == nil && bin != os.Getenv("BENCH_BINARY") {
		_ = os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// A side is one run of a program: what it took and what it held.
type side struct {
	wall time.Duration
	cpu  time.Duration // its own, its children's, and that of the server it asked
	own  time.Duration // without the server's
	peak int64         // bytes resident, of the program and of its children
}

// A program runs while its memory is watched.
type program struct {
	cmd  *exec.Cmd
	log  bytes.Buffer
	done chan struct{}
	err  error
	mu   sync.Mutex
	peak int64
}

// launch starts cmd, ended with the benchmark at the latest.
func launch(tb testing.TB, cmd *exec.Cmd) *program {
	tb.Helper()
	p := &program{cmd: cmd, done: make(chan struct{})}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.log
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	go func() {
		for t := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-p.done:
				t.Stop()
				return
			case <-t.C:
				p.look()
			}
		}
	}()
	tb.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-p.done:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			<-p.done
		}
		if tb.Failed() {
			tb.Logf("%s\n%.4000s", cmd, p.log.String())
		}
	})
	return p
}

// look keeps the most memory that was seen.
func (p *program) look() {
	if n := resident(p.cmd.Process.Pid, "VmHWM:"); n > 0 {
		for _, c := range children(p.cmd.Process.Pid) {
			n += resident(c, "VmHWM:")
		}
		p.mu.Lock()
		p.peak = max(p.peak, n)
		p.mu.Unlock()
	}
}

// own is the most memory of the program without its children, so far.
func (p *program) own() int64 { return resident(p.cmd.Process.Pid, "VmHWM:") }

// stop ends the program and waits.
func (p *program) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	<-p.done
}

func (p *program) most() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peak
}

// resident reads a line of /proc/PID/status, in bytes; 0 if the process is gone.
func resident(pid int, field string) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), field)
	f := strings.Fields(rest)
	if len(f) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

func children(pid int) (pids []int) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil
	}
	for _, t := range tasks {
		b, err := os.ReadFile(t)
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(f); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// used is the time that a running process took of the processors.
func used(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+2:]))
	var ticks int64
	for _, s := range f[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100) // USER_HZ is 100 on every Linux
}

// once runs a program to its end and counts the server behind pid, 0 = none.
func once(tb testing.TB, pid int, cmd *exec.Cmd) side {
	tb.Helper()
	var before time.Duration
	if pid > 0 {
		before = used(tb, pid)
	}
	start := time.Now()
	p := launch(tb, cmd)
	<-p.done
	s := side{wall: time.Since(start), own: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), peak: p.most()}
	s.cpu = s.own
	if p.err != nil {
		tb.Fatalf("%s: %v\n%s", cmd, p.err, p.log.String())
	}
	if pid > 0 {
		s.cpu += used(tb, pid) - before
	}
	return s
}

// listener is the process behind a unix socket.
func listener(tb testing.TB, path string) int {
	tb.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		tb.Fatal(err)
	}
	var cred *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, cerr); err != nil {
		tb.Fatal(err)
	}
	return int(cred.Pid)
}

func binary(tb testing.TB) string {
	tb.Helper()
	bin, err := build()
	if err != nil {
		tb.Fatal(err)
	}
	return bin
}

// A daemon is `serve` with its listener.
type daemon struct {
	*program
	url   string
	ready time.Duration // from its start
}

// serve starts the daemon and waits until /livez answers.
func serve(tb testing.TB, args ...string) *daemon {
	tb.Helper()
	return serveIn(tb, nil, args...)
}

// serveIn is serve with more of an environment.
func serveIn(tb testing.TB, env []string, args ...string) *daemon {
	tb.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", servers.FreePort(tb))
	cmd := exec.Command(binary(tb), append([]string{"serve", "--listen", addr}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	start := time.Now()
	d := &daemon{url: "http://" + addr, program: launch(tb, cmd)}
	d.await(tb, "/livez")
	d.ready = time.Since(start)
	return d
}

// await polls a path until it answers 200.
func (d *daemon) await(tb testing.TB, path string) {
	tb.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		resp, err := http.Get(d.url + path)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-d.done:
			tb.Fatalf("%s: %v\n%s", d.cmd, d.err, d.log.String())
		default:
		}
		if time.Now().After(end) {
			tb.Fatal(path, " did not answer 200")
		}
	}
}

// metric adds up a metric over its labels.
func (d *daemon) metric(tb testing.TB, name string) (sum float64) {
	tb.Helper()
	resp, err := http.Get(d.url + "/metrics")
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(l, name); ok && (rest[0] == ' ' || rest[0] == '{') {
			f := strings.Fields(l)
			v, err := strconv.ParseFloat(f[len(f)-1], 64)
			if err != nil {
				tb.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}

// median of what f says of each run.
func median[T any, N int64 | float64 | time.Duration](runs []T, f func(T) N) N {
	l := make([]N, len(runs))
	for i, r := range runs {
		l[i] = f(r)
	}
	slices.Sort(l)
	return l[len(l)/2]
}

func wall(s side) time.Duration      { return s.wall }
func processor(s side) time.Duration { return s.cpu }
func own(s side) time.Duration       { return s.own }
func server(s side) time.Duration    { return s.cpu - s.own }
func peak(s side) int64              { return s.peak }

// count is N from the environment, def where it says nothing.
func count(tb testing.TB, name string, def int) int {
	tb.Helper()
	s := os.Getenv(name)
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 {
		tb.Fatalf("%s=%q is not a number of objects", name, s)
	}
	return n
}

// figure prints one result with the bar it is held against.
func figure(bar, what string, value float64, unit, want string) {
	fmt.Printf("%-4s %-46s %12.3f %-10s want %s\n", bar, what, value, unit, want)
}

// folder fills dir with n files of random bytes, 1,000 to a folder.
func folder(tb testing.TB, dir string, n, size int) {
	tb.Helper()
	rnd := rand.NewChaCha8([32]byte{1})
	buf := make([]byte, size)
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprintf("d%03d", i/1000))
		if i%1000 == 0 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				tb.Fatal(err)
			}
		}
		_, _ = rnd.Read(buf) // it never fails
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("f%06d.bin", i)), buf, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
}

// load says how busy the machine is, to be read beside the figures.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	return strings.Join(strings.Fields(string(b))[:2], " ")
}
