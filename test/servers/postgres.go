package servers

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Postgres starts PostgreSQL with fsync on, and returns the address of its
// database "postgres", whose one user is the superuser postgres. Keywords of
// initdb (--locale=…, --encoding=…) may be given.
func Postgres(t testing.TB, initdb ...string) (dsn string) {
	t.Helper()
	bin := postgresDir(t)
	dir, err := os.MkdirTemp("", "postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	// PostgreSQL refuses to run as root.
	attr := new(syscall.SysProcAttr)
	if os.Getuid() == 0 {
		id := lookupUser(t, "postgres")
		attr.Credential = id
		if err := os.Chown(dir, int(id.Uid), int(id.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	init := exec.Command(filepath.Join(bin, "initdb"), append([]string{"-D", data, "-A", "trust", "-U", "postgres", "--no-sync"}, initdb...)...)
	init.Dir, init.SysProcAttr, init.Env = dir, attr, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8"}
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	port := FreePort(t)
	cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+dir, "-c", "fsync=on", "-c", "max_connections=50")
	runAs := *attr
	cmd.Dir, cmd.SysProcAttr, cmd.Env = dir, &runAs, init.Env
	start(t, cmd, func(ctx context.Context) error { return answersPostgres(ctx, port) })
	// SIGTERM alone would wait for every client to leave.
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGINT) })
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port)
}

// postgresDir is where the newest PostgreSQL's programs are.
func postgresDir(t testing.TB) string {
	t.Helper()
	list, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	best, version := "", -1
	for _, path := range list {
		dir := filepath.Dir(path)
		if v, err := strconv.Atoi(filepath.Base(filepath.Dir(dir))); err == nil && v > version {
			best, version = dir, v
		}
	}
	if best != "" {
		return best
	}
	return filepath.Dir(Binary(t, "initdb"))
}

func lookupUser(t testing.TB, name string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		Missing(t, "the user "+name)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// answersPostgres is a readiness check: the server takes a start-up message. It
// sends a password request, an error or, where all are trusted, that we are in.
// https://www.postgresql.org/docs/current/protocol-message-formats.html
func answersPostgres(ctx context.Context, port int) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", loopback(port))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	body := "\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"
	if _, err := c.Write([]byte("\x00\x00\x00" + string(rune(len(body)+4)) + body)); err != nil {
		return err
	}
	reply := make([]byte, 256)
	n, err := c.Read(reply)
	if err != nil {
		return err
	}
	if reply[0] != 'R' {
		return fmt.Errorf("not ready: %s", strings.ToValidUTF8(string(reply[:n]), "?"))
	}
	return nil
}
