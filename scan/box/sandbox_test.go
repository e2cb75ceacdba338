package box

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/test/servers"
	"golang.org/x/sys/unix"
)

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
		refused := code == fmt.Sprint(int(unix.EPERM)) || code == fmt.Sprint(int(unix.EACCES))
		if !refused && !(name == "clone3" && code == fmt.Sprint(int(unix.ENOSYS))) {
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
		servers.Unable(t, err.Error()) // not ours to look at, since the child is not dumpable
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
