package box

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/archive"
)

func TestMain(m *testing.M) {
	if mark := os.Getenv(envMark); mark != "" {
		os.Exit(serve(mark, hook))
	}
	if os.Getenv("BOX_LANDLOCK_ONLY") != "" {
		os.Exit(landlockOnly())
	}
	goleak.VerifyTestMain(m)
}

// hook makes a child do what a parser must not, if the content says so.
func hook(f *os.File) {
	var b [256]byte
	n, _ := f.ReadAt(b[:], 0)
	word, arg, _ := strings.Cut(string(b[:n]), "\n")
	arg, _, _ = strings.Cut(arg, "\n")
	switch word {
	case "PANIC":
		panic("a parser with a bug")
	case "EXIT":
		os.Exit(0)
	case "SEGV":
		_ = unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSEGV)
		_ = unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGKILL)
		time.Sleep(time.Hour)
	case "HANG":
		for {
			runtime.Gosched()
		}
	case "MEMORY":
		var all [][]byte
		for {
			p := make([]byte, 16<<20)
			for i := 0; i < len(p); i += 4096 {
				p[i] = 1
			}
			all = append(all, p)
			_ = all
		}
	case "DISK":
		for off := int64(0); ; off += 1 << 20 {
			if _, err := unix.Pwrite(fdSpool, make([]byte, 1<<20), off); err != nil {
				panic(err)
			}
		}
	case "LIES":
		_, _ = fdWriter(fdConn).Write([]byte(arg))
	case "WRITE":
		if _, err := f.WriteAt([]byte("x"), 0); err == nil {
			panic("written")
		}
	case "TRY":
		for _, a := range attempts(arg) {
			fmt.Fprintf(os.Stderr, "%s=%d ", a.name, int(a.do()))
		}
	}
}

type attempt struct {
	name string
	do   func() unix.Errno
}

// attempts are what nobody in the box may do; file is one that exists.
func attempts(file string) []attempt {
	call := func(nr uintptr, args ...uintptr) func() unix.Errno {
		return func() unix.Errno {
			args = append(args, 0, 0, 0, 0, 0, 0)
			r, _, e := unix.RawSyscall6(nr, args[0], args[1], args[2], args[3], args[4], args[5])
			if nr == unix.SYS_CLONE && e == 0 && r == 0 {
				unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
			}
			return e
		}
	}
	errno := func(err error) unix.Errno {
		var e unix.Errno
		if err == nil || !errors.As(err, &e) {
			return 0
		}
		return e
	}
	opens := func(path string, flags int) func() unix.Errno {
		return func() unix.Errno {
			fd, err := unix.Open(path, flags, 0o600)
			if err == nil {
				unix.Close(fd)
			}
			return errno(err)
		}
	}
	in4 := &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}
	return []attempt{
		{"read-passwd", opens("/etc/passwd", unix.O_RDONLY)},
		{"open-ledger", opens(file, unix.O_RDWR)},
		{"write-outside", opens(file+".new", unix.O_CREAT|unix.O_WRONLY)},
		{"connect", func() unix.Errno { return errno(unix.Connect(fdConn, in4)) }},
		{"bind", func() unix.Errno { return errno(unix.Bind(fdConn, in4)) }},
		{"socket", func() unix.Errno { _, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); return errno(err) }},
		{"fork", call(unix.SYS_CLONE, uintptr(unix.SIGCHLD))},
		{"clone3", call(unix.SYS_CLONE3)},
		{"exec", func() unix.Errno { return errno(unix.Exec("/bin/true", []string{"true"}, nil)) }},
		{"ptrace", call(unix.SYS_PTRACE, unix.PTRACE_TRACEME)},
		{"mount", func() unix.Errno { return errno(unix.Mount("none", "/tmp", "tmpfs", 0, "")) }},
		{"keyctl", call(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID)},
		{"bpf", call(unix.SYS_BPF)},
		{"io_uring", call(unix.SYS_IO_URING_SETUP, 1)},
		{"kill-parent", call(unix.SYS_KILL, uintptr(os.Getppid()), 0)},
		{"memfd", func() unix.Errno { _, err := unix.MemfdCreate("x", 0); return errno(err) }},
		{"executable-memory", func() unix.Errno {
			_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
			return errno(err)
		}},
		{"raise-limit", func() unix.Errno {
			return errno(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1000, Max: 1000}))
		}},
	}
}

// landlockOnly shows what landlock does where seccomp is not in front of it.
func landlockOnly() int {
	abi, err := lockFiles()
	if err != nil {
		fmt.Println("none", err)
		return 0
	}
	_, file := os.Open("/etc/passwd")
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return 1
	}
	tcp := unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}})
	fmt.Println(abi, errors.Is(file, unix.EACCES), errors.Is(tcp, unix.EACCES))
	return 0
}

type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func open(t testing.TB, o Options) *Pool {
	t.Helper()
	o.Dir = t.TempDir()
	p, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func file(t testing.TB, b []byte) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "content"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	return f
}

func inspect(t testing.TB, p *Pool, b []byte, ask Ask) (Result, error) {
	t.Helper()
	return p.Inspect(context.Background(), file(t, b), int64(len(b)), scan.Limits{}, ask)
}

const needle = "a needle of some length"

func zipOf(parts ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(parts); i += 2 {
		f, err := w.Create(parts[i])
		if err == nil {
			_, err = io.WriteString(f, parts[i+1])
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func TestInspect(t *testing.T) {
	p := open(t, Options{})
	bad := sha256.Sum256([]byte("listed"))
	res, err := inspect(t, p, zipOf("a", "harmless", "b/c\xff", "x "+needle, "d", "listed"), Ask{
		Needle: []byte(needle), Threat: "Needle", Digests: archive.SHA256 | archive.MD5,
		Match: func(s *archive.Sums, size int64) (string, bool) { return "Listed", s.SHA256 == bad && size == 6 },
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.Facts.Entries != 3 || res.Facts.Reason != "" || len(res.Infected) != 2 {
		t.Fatalf("got %+v", res)
	}
	if m := res.Infected[0]; m.Path != `b/c\xff` || m.Threat != "Needle" || m.Size != int64(2+len(needle)) || len(m.SHA256) != 64 {
		t.Errorf("got %+v", m)
	}
	if m := res.Infected[1]; m.Path != "d" || m.Threat != "Listed" {
		t.Errorf("got %+v", m)
	}
}

// TestWalk: files and streams, archives and others.
func TestWalk(t *testing.T) {
	p := open(t, Options{})
	var pax bytes.Buffer
	w := tar.NewWriter(&pax)
	if err := w.WriteHeader(&tar.Header{Name: "a", Size: 20 << 20, Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 20<<20)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"empty", nil, "{Kind: Depth:0 Entries:0 Expanded:0 Largest:0 Ratio:0 Encrypted:0 Reason: Path:}"},
		{"plain", []byte("plain"), "{Kind: Depth:0 Entries:0 Expanded:0 Largest:0 Ratio:0 Encrypted:0 Reason: Path:}"},
		{"zip", zipOf("a", "b"), "{Kind:zip Depth:1 Entries:1 Expanded:1 Largest:1 Ratio:0 Encrypted:0 Reason: Path:}"},
		{"behind text", append([]byte("text"), zipOf("a", "b")...), "{Kind:zip Depth:1 Entries:1 Expanded:1 Largest:1 Ratio:0 Encrypted:0 Reason: Path:}"},
		{"7z in zip", zipOf("a", "7z\xbc\xaf\x27\x1c....."), "{Kind:zip Depth:2 Entries:1 Expanded:11 Largest:11 Ratio:0 Encrypted:0 Reason:unsupported Path:a}"},
		{"large tar", pax.Bytes(), "{Kind:tar Depth:1 Entries:1 Expanded:20971520 Largest:20971520 Ratio:0 Encrypted:0 Reason: Path:}"},
	} {
		s := scan.Sample{Size: int64(len(c.b)), Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(c.b)), nil
		}}
		for range 2 {
			f, err := p.Walk(context.Background(), s, scan.Limits{})
			if got := fmt.Sprintf("%+v", f); err != nil || got != c.want {
				t.Errorf("%s (file %v): got %s, %v, want %s", c.name, s.File != nil, got, err, c.want)
			}
			s.File = file(t, c.b)
		}
	}
	short := scan.Sample{Size: 100, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(zipOf("a", "b")[:90])), nil
	}}
	if _, err := p.Walk(context.Background(), short, scan.Limits{}); err == nil {
		t.Error("a stream shorter than its size is no error")
	}
}

// TestCrash: content that kills its parser is given up after the third child,
// and takes nothing else with it.
func TestCrash(t *testing.T) {
	var words log
	p := open(t, Options{Size: 2, Memory: 128 << 20, Spool: 8 << 20, Timeout: 3 * time.Second,
		Log: slog.New(slog.NewTextHandler(&words, nil))})
	good := zipOf("a", needle)
	for _, c := range []struct {
		word string
		want scan.Reason
		dead int
	}{
		{"PANIC", scan.EngineCrash, tries},
		{"EXIT", scan.EngineCrash, tries},
		{"SEGV", scan.EngineCrash, tries},
		{"MEMORY", scan.EngineCrash, tries},
		{"DISK", scan.EngineCrash, tries},
		{"LIES\n\x00\x00\x00\x00\x00", scan.EngineCrash, tries},
		{"LIES\n\xff\xff\xff\xff\x00", scan.EngineCrash, tries},
		{"LIES\n\x02\x00\x00\x00d{", scan.EngineCrash, tries},
		{"LIES\n\x02\x00\x00\x00m\x02", scan.EngineCrash, tries},
		{"LIES\n\x01\x00\x00\x00?", scan.EngineCrash, tries},
		{`LIES` + "\n\x24\x00\x00\x00d" + `{"facts":{"reason":"everything ok"}}`[:35] + "\n", scan.EngineCrash, tries},
	} {
		name, _, _ := strings.Cut(c.word, "\n")
		t.Run(name, func(t *testing.T) {
			words.mu.Lock()
			words.b.Reset()
			words.mu.Unlock()
			var wg sync.WaitGroup
			stop := make(chan struct{})
			wg.Go(func() { // others go on
				for n := 0; ; n++ {
					res, err := inspect(t, p, good, Ask{Needle: []byte(needle), Threat: "T"})
					if err != nil || len(res.Infected) != 1 {
						t.Errorf("another content: %+v, %v", res, err)
						return
					}
					select {
					case <-stop:
						return
					default:
					}
				}
			})
			_, err := inspect(t, p, []byte(c.word), Ask{})
			close(stop)
			wg.Wait()
			if got := scan.Reason(fault.ReasonOf(err)); got != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if n := strings.Count(words.String(), "parser died"); n != c.dead {
				t.Errorf("%d children died, want %d: %s", n, c.dead, &words)
			}
		})
	}
}

// TestTimeout: a content that holds its parser up ends as timeout, in about
// that time, and a cancelled one at once.
func TestTimeout(t *testing.T) {
	p := open(t, Options{Size: 1})
	f := file(t, []byte("HANG\n"))
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := p.Inspect(ctx, f, 5, scan.Limits{}, Ask{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("canceled: %v", err)
	}
	_, err := p.Inspect(context.Background(), f, 5, scan.Limits{Timeout: 100 * time.Millisecond}, Ask{})
	if got := fault.ReasonOf(err); got != string(scan.Timeout) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > grace+5*time.Second {
		t.Errorf("took %v", took)
	}
	// A walk that merely takes long ends by itself, with what it knows.
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for range 400 {
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	z.Close()
	res, err := p.Inspect(context.Background(), file(t, b.Bytes()), int64(b.Len()),
		scan.Limits{Timeout: 50 * time.Millisecond, Ratio: 1 << 30}, Ask{})
	if err != nil || res.Facts.Reason != scan.Timeout || res.Facts.Entries != 1 {
		t.Errorf("got %+v, %v", res, err)
	}
}

// TestSandbox tries from inside of a child what is forbidden.
func TestSandbox(t *testing.T) {
	p := open(t, Options{Size: 1})
	t.Logf("%+v", p.Status())
	if !p.Status().Complete() {
		t.Errorf("not complete: %v", p.Status().Missing)
	}
	ledger := filepath.Join(t.TempDir(), "ledger")
	if err := os.WriteFile(ledger, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := p.take(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	b := []byte("TRY\n" + ledger + "\n")
	if _, err := c.ask(context.Background(), file(t, b), request{Size: int64(len(b)), Timeout: time.Minute}, Ask{}); err != nil {
		t.Error(err)
	}
	c.end()
	tried, allowed := 0, 0
	for _, w := range strings.Fields(strings.Trim(c.words.String(), `"`)) {
		name, code, _ := strings.Cut(w, "=")
		tried++
		if code != fmt.Sprint(int(unix.EPERM)) && code != fmt.Sprint(int(unix.EACCES)) {
			allowed++
			t.Errorf("%s: errno %s", name, code)
		}
	}
	if n := len(attempts("")); tried != n {
		t.Errorf("tried %d of %d: %s", tried, n, c.words)
	}
	t.Logf("cases=%d allowed=%d", tried, allowed)
	// The attempts are real: outside of the box some of them succeed.
	for _, a := range attempts(ledger)[:2] {
		if e := a.do(); e != 0 {
			t.Errorf("%s outside: %v", a.name, e)
		}
	}
}

func TestLandlock(t *testing.T) {
	attr := &os.ProcAttr{Env: []string{"BOX_LANDLOCK_ONLY=1"}}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	attr.Files = []*os.File{nil, w, w}
	proc, err := os.StartProcess("/proc/self/exe", []string{"box"}, attr)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	b, _ := io.ReadAll(r)
	if _, err := proc.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", b)
	if s := string(b); !strings.HasPrefix(s, "none") && !strings.HasSuffix(s, "true true\n") && !strings.HasPrefix(s, "1 true") &&
		!strings.HasPrefix(s, "2 true") && !strings.HasPrefix(s, "3 true") {
		t.Errorf("got %q", s)
	}
}

func TestRequired(t *testing.T) {
	s := Status{Rlimits: true, NoNewPrivileges: true, Capabilities: true, Seccomp: true}
	if s.Complete() {
		t.Error("complete without landlock")
	}
	s.Landlock = 1
	if !s.Complete() {
		t.Error("not complete")
	}
	p, err := Open(context.Background(), Options{Required: true, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err) // this kernel has all
	}
	p.Close()
}

// TestPool: children are bounded, kept, replaced, retired and ended; none is
// left.
func TestPool(t *testing.T) {
	p := open(t, Options{Size: 2, Uses: 3, Idle: 50 * time.Millisecond})
	good := zipOf("a", needle)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := inspect(t, p, good, Ask{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := children(p); n > 2 {
		t.Errorf("%d idle children", n)
	}
	deadline := time.Now().Add(10 * time.Second)
	for children(p) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("children are not retired")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if _, err := inspect(t, p, good, Ask{}); err != nil {
		t.Errorf("after retirement: %v", err)
	}
	var ours *child
	p.mu.Lock()
	if len(p.idle) > 0 {
		ours = p.idle[0]
	}
	p.mu.Unlock()
	p.Close()
	if ours != nil {
		if err := ours.cmd.Process.Signal(syscall.Signal(0)); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("a child is left: %v", err)
		}
	}
	if _, err := inspect(t, p, good, Ask{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("closed: %v", err)
	}
}

// TestCloseAtWork: Close does not wait for what may take minutes.
func TestCloseAtWork(t *testing.T) {
	p := open(t, Options{Size: 1})
	f := file(t, []byte("HANG\n"))
	done := make(chan error)
	go func() {
		_, err := p.Inspect(context.Background(), f, 5, scan.Limits{}, Ask{})
		done <- err
	}()
	for end := time.Now().Add(10 * time.Second); children(p) > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	p.Close()
	if err := <-done; !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func children(p *Pool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

// TestNothingInherited: a child has neither our environment nor our files.
func TestNothingInherited(t *testing.T) {
	t.Setenv("A_SECRET", "secret")
	var fds [2]int
	if err := unix.Pipe(fds[:]); err != nil { // not close-on-exec
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	p := open(t, Options{Size: 1})
	c, err := p.take(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer p.put(c)
	for _, e := range c.cmd.Env {
		if strings.Contains(e, "SECRET") {
			t.Errorf("environment: %s", e)
		}
	}
	dir := fmt.Sprintf("/proc/%d/fd/", c.cmd.Process.Pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Skip(err) // not ours to look at, since the child is not dumpable
	}
	for _, e := range entries {
		to, err := os.Readlink(dir + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Name()) > 1 || e.Name() > "4" {
			if !strings.HasPrefix(to, "anon_inode:[event") && !strings.HasPrefix(to, "/sys/fs/cgroup/") {
				t.Errorf("descriptor %s is %s", e.Name(), to)
			}
		}
	}
}

// TestReadOnly: a child cannot write to its content, whatever the descriptor
// that we have of it may do.
func TestReadOnly(t *testing.T) {
	p := open(t, Options{Size: 1})
	if _, err := inspect(t, p, []byte("WRITE\n"), Ask{}); err != nil {
		t.Error(err)
	}
}

func TestFrames(t *testing.T) {
	want := member{hit: true, size: 7, path: "a/b"}
	want.sums.Has = archive.MD5 | archive.SHA256
	want.sums.SHA256[3] = 9
	b := appendMember(nil, want)
	typ, p, err := readFrame(bytes.NewReader(b), nil)
	if err != nil || typ != frameMember {
		t.Fatal(typ, err)
	}
	if got, err := parseMember(p); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for n := range p[:len(p)-len(want.path)] {
		if _, err := parseMember(p[:n]); err == nil {
			t.Errorf("cut at %d: no error", n)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(appendMember(nil, member{hit: true, size: 7, path: "a/b"}))
	f.Add([]byte("\x02\x00\x00\x00d{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		typ, p, err := readFrame(bytes.NewReader(b), nil)
		if err != nil {
			return
		}
		if len(p) > maxFrame {
			t.Fatal("too long")
		}
		if typ == frameMember {
			if m, err := parseMember(p); err == nil && (m.size < 0 || len(m.path) > maxPath) {
				t.Fatalf("%+v", m)
			}
		}
	})
}

func BenchmarkInspect(b *testing.B) {
	p := open(b, Options{Size: 1})
	z := zipOf("a", needle)
	f := file(b, z)
	for b.Loop() {
		if _, err := p.Inspect(context.Background(), f, int64(len(z)), scan.Limits{}, Ask{Needle: []byte(needle)}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	p := open(b, Options{Size: 1})
	for b.Loop() {
		c, err := p.start(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		c.end()
	}
}
