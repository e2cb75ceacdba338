package servers

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ClamdOptions qualify a clamd.
type ClamdOptions struct {
	// Config is appended to clamd.conf, a directive a line; one that is there
	// already is replaced.
	Config []string
	// Signatures are further files of the signature folder: name → content.
	Signatures map[string]string
}

// Clamd starts clamd with a signature folder that knows EICAR and nothing else:
// the whole file by hash (Eicar-Test-File) and its text within any content
// (Eicar-Body). A reply names either, with .UNOFFICIAL behind.
func Clamd(t testing.TB, opt ClamdOptions) (socket, tcpAddr string) {
	t.Helper()
	path := Binary(t, "clamd")
	// Not t.TempDir: its names can exceed the 108 bytes of a socket's address.
	dir, err := os.MkdirTemp("", "clamd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	// Assembled here, so that no file of ours is a detection.
	body := "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!"
	eicar := `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + body + `$H+H*`
	files := map[string]string{
		"eicar.hdb": fmt.Sprintf("%x:%d:Eicar-Test-File\n", md5.Sum([]byte(eicar)), len(eicar)),
		"eicar.ndb": "Eicar-Body:0:*:" + hex.EncodeToString([]byte(body)) + "\n",
	}
	for name, content := range opt.Signatures {
		files[name] = content
	}
	db := filepath.Join(dir, "db")
	if err := os.Mkdir(db, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(db, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	port := FreePort(t)
	socket, tcpAddr = filepath.Join(dir, "s"), loopback(port)
	conf := clamdConf([]string{
		"Foreground yes", "DatabaseDirectory " + db, "LocalSocket " + socket, fmt.Sprintf("TCPSocket %d", port),
		"TCPAddr 127.0.0.1", "MaxThreads 4", "StreamMaxLength 200M", "MaxFileSize 200M", "MaxScanSize 400M",
	}, opt.Config)
	confPath := filepath.Join(dir, "clamd.conf")
	if err := os.WriteFile(confPath, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	start(t, exec.Command(path, "-c", confPath), func(ctx context.Context) error {
		return errors.Join(pingClamd(ctx, "unix", socket), pingClamd(ctx, "tcp", tcpAddr))
	})
	return socket, tcpAddr
}

// clamdConf returns lines with those of more added, replacing equal directives.
func clamdConf(lines, more []string) string {
	replaced := make(map[string]bool)
	for _, l := range more {
		name, _, _ := strings.Cut(l, " ")
		replaced[name] = true
	}
	var b strings.Builder
	for _, l := range lines {
		if name, _, _ := strings.Cut(l, " "); !replaced[name] {
			b.WriteString(l + "\n")
		}
	}
	for _, l := range more {
		b.WriteString(l + "\n")
	}
	return b.String()
}

func pingClamd(ctx context.Context, network, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "zPING\x00"); err != nil {
		return err
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "PONG\x00" {
		return fmt.Errorf("clamd answered %q to PING: %w", got, err)
	}
	return nil
}
