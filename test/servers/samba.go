package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Samba is an smbd of Debian's packages samba and samba-vfs-modules, with two
// shares over private folders: "streams" keeps alternate data streams, "plain"
// does not.
type Samba struct {
	Host, Port     string // on loopback
	User, Password string
	Streams, Plain string // the folders of the shares, on this machine
	dir            string
	options        []string
	cmd            *exec.Cmd
}

// StartSamba starts an smbd that demands signing and encryption. Lines of options go
// into the global section of its configuration, after ours. Its user is that
// who runs the test, or a powerless one of the system's if that is root.
func StartSamba(t testing.TB, options ...string) *Samba {
	t.Helper()
	Binary(t, "smbd")
	if modules, err := filepath.Glob("/usr/lib/*/samba/vfs/streams_xattr.so"); err != nil || len(modules) == 0 {
		Missing(t, "samba-vfs-modules")
	}
	// Not the test's own folder: the user must be able to get there, and the path
	// of a Unix socket is short.
	dir, err := os.MkdirTemp("", "samba")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s := &Samba{Host: "127.0.0.1", Port: fmt.Sprint(FreePort(t)), User: "daemon", Password: "Secr3t!", dir: dir, options: options,
		Streams: filepath.Join(dir, "streams"), Plain: filepath.Join(dir, "plain")}
	if os.Geteuid() != 0 {
		u, err := user.Current()
		if err != nil {
			t.Fatal(err)
		}
		s.User = u.Username
	}
	for name, mode := range map[string]os.FileMode{"": 0o755, "streams": 0o777, "plain": 0o777,
		"private": 0o700, "lock": 0o755, "state": 0o755, "cache": 0o755, "pid": 0o755, "ncalrpc": 0o755} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	s.configure(t)
	add := exec.Command(Binary(t, "smbpasswd"), "-c", s.conf(), "-s", "-a", s.User)
	add.Stdin = strings.NewReader(s.Password + "\n" + s.Password + "\n")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("smbpasswd: %v\n%s", err, out)
	}
	s.Start(t)
	return s
}

func (s *Samba) conf() string { return filepath.Join(s.dir, "smb.conf") }

// configure writes smb.conf.
func (s *Samba) configure(t testing.TB) {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("[global]\nserver role = standalone server\ninterfaces = lo 127.0.0.1/8\nbind interfaces only = yes\ndisable netbios = yes\n" +
		"passdb backend = tdbsam\ndisable spoolss = yes\nload printers = no\nlog level = 1\nserver min protocol = SMB2_10\n" +
		"server signing = mandatory\nserver smb encrypt = required\n")
	fmt.Fprintf(&b, "smb ports = %s\nncalrpc dir = %s/ncalrpc\nprivate dir = %s/private\n", s.Port, s.dir, s.dir)
	for _, name := range []string{"lock", "state", "cache", "pid"} {
		fmt.Fprintf(&b, "%s directory = %s/%s\n", name, s.dir, name)
	}
	for _, line := range s.options {
		fmt.Fprintln(&b, line)
	}
	fmt.Fprintf(&b, "[streams]\npath = %s\nread only = no\nvfs objects = streams_xattr\n[plain]\npath = %s\nread only = no\n", s.Streams, s.Plain)
	if err := os.WriteFile(s.conf(), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Start starts the server again after Kill.
func (s *Samba) Start(t testing.TB) {
	t.Helper()
	// A process group of its own: smbd makes a process for each connection.
	s.cmd = exec.Command(Binary(t, "smbd"), "-F", "--no-process-group", "--debug-stdout", "-s", s.conf())
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	start(t, s.cmd, func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(s.Host, s.Port))
		if err != nil {
			return err
		}
		return c.Close()
	})
	t.Cleanup(func() { s.Kill(t) }) // before the parent is asked to end, which would leave its children
}

// Kill ends the server and its connections at once, as a crash would, and
// returns when nobody listens any more.
func (s *Samba) Kill(t testing.TB) {
	t.Helper()
	pid := s.cmd.Process.Pid
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Errorf("kill smbd: %v", err)
	}
	for end := time.Now().Add(endWithin); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if errors.Is(syscall.Kill(-pid, 0), syscall.ESRCH) {
			return
		}
	}
	t.Errorf("smbd did not end within %v", endWithin)
}
