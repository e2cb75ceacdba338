package servers

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// SMTPOptions qualify a mail server.
type SMTPOptions struct {
	// CertFile and KeyFile are PEM; with them the server has StartTLS, or, with
	// OnConnect, speaks TLS from the first byte.
	CertFile, KeyFile string
	OnConnect         bool
}

// An SMTP is a running aiosmtpd, which puts what it gets into a maildir.
type SMTP struct {
	Port int
	dir  string
}

// StartSMTP starts aiosmtpd.
func StartSMTP(t testing.TB, o SMTPOptions) *SMTP {
	t.Helper()
	const python = "/usr/bin/python3" // the distribution's, which has the package
	if err := exec.Command(python, "-c", "import aiosmtpd").Run(); err != nil {
		Missing(t, "python3-aiosmtpd")
	}
	s := &SMTP{Port: FreePort(t), dir: filepath.Join(t.TempDir(), "mail")}
	args := []string{"-m", "aiosmtpd", "-n", "-l", loopback(s.Port)}
	if o.CertFile != "" {
		cert, key := "--tlscert", "--tlskey"
		if o.OnConnect {
			cert, key = "--smtpscert", "--smtpskey"
		}
		args = append(args, cert, o.CertFile, key, o.KeyFile)
		if !o.OnConnect {
			args = append(args, "--no-requiretls")
		}
	}
	args = append(args, "-c", "aiosmtpd.handlers.Mailbox", s.dir)
	start(t, exec.Command(python, args...), func(ctx context.Context) error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", loopback(s.Port))
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
			return err
		}
		if o.OnConnect {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // only whether it is there
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err == nil && !strings.HasPrefix(line, "220") {
			err = fmt.Errorf("it greets with %q", line)
		}
		return err
	})
	return s
}

// Messages are the messages that came so far.
func (s *SMTP) Messages(t testing.TB) (list []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(b))
	}
	return list
}
