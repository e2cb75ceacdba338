package clamd_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/clamd"
	"github.com/landwaiter/landwaiter/test/servers"
)

// eicar is the test file, put together at run time.
func eicar() []byte {
	return []byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!" + `$H+H*`)
}

// daemon is a clamd that the test may stop, kill and start again.
type daemon struct {
	conf, socket, tcp string
	cmd               *exec.Cmd
}

// startClamd starts clamd with its default limits and the lines of config.
func startClamd(t testing.TB, config ...string) *daemon {
	t.Helper()
	d := newClamd(t, config...)
	d.start(t)
	return d
}

// newClamd writes the configuration of a clamd and does not start it.
func newClamd(t testing.TB, config ...string) *daemon {
	t.Helper()
	servers.Binary(t, "clamd")
	dir, err := os.MkdirTemp("", "clamd-") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	db := filepath.Join(dir, "db")
	if err := os.Mkdir(db, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	body := "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!"
	write(filepath.Join(db, "eicar.hdb"), fmt.Sprintf("%x:68:Eicar-Test-File\n", md5.Sum(eicar())))
	write(filepath.Join(db, "eicar.ndb"), "Eicar-Body:0:*:"+hex.EncodeToString([]byte(body))+"\n")
	port := servers.FreePort(t)
	d := &daemon{conf: filepath.Join(dir, "clamd.conf"), socket: filepath.Join(dir, "s"), tcp: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	lines := append([]string{
		"Foreground yes", "DatabaseDirectory " + db, "LocalSocket " + d.socket, "FixStaleSocket yes",
		fmt.Sprintf("TCPSocket %d", port), "TCPAddr 127.0.0.1",
	}, config...)
	write(d.conf, strings.Join(lines, "\n")+"\n")
	return d
}

// start starts clamd and waits until it answers.
func (d *daemon) start(t testing.TB) {
	t.Helper()
	d.cmd = exec.Command(servers.Binary(t, "clamd"), "-c", d.conf)
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd := d.cmd
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGCONT)
		cmd.Process.Kill()
		<-ended
	})
	e, err := clamd.Open(context.Background(), clamd.Options{Network: "unix", Address: d.socket})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	eventually(t, "clamd answers", func() bool {
		_, err := e.Probe(context.Background())
		return err == nil
	})
}

// kill ends clamd at once and waits until it is gone.
func (d *daemon) kill(t testing.TB) {
	t.Helper()
	d.signal(t, syscall.SIGKILL)
	eventually(t, "clamd is gone", func() bool {
		_, err := net.Dial("unix", d.socket)
		return err != nil
	})
}

func (d *daemon) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// cpu returns the CPU time that clamd has used.
func (d *daemon) cpu(t testing.TB) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	u, _ := strconv.Atoi(f[11])
	s, _ := strconv.Atoi(f[12])
	return time.Duration(u+s) * 10 * time.Millisecond // USER_HZ is 100
}

func (d *daemon) open(t testing.TB, o clamd.Options) *clamd.Engine {
	t.Helper()
	if o.Network == "" {
		o.Network, o.Address = "unix", d.socket
	}
	e, err := clamd.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// eventually polls until ok, at most 30 s.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

var _ scan.Batcher = (*clamd.Engine)(nil)

// sockets counts clamd's open sockets.
func (d *daemon) sockets(t testing.TB) int {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", d.cmd.Process.Pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}
