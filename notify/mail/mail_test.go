package mail

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"net/mail"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/outbound"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/notify"
	"github.com/landwaiter/landwaiter/test/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options(port int) Options {
	return Options{Host: "127.0.0.1", Port: port, Address: "landwaiter@example.org", Name: "Landwaiter", Domain: "lw.example.org", Recipients: []string{"soc@example.org", "ops@example.org"},
		BaseURL: "https://lw.example.org/", Guard: outbound.Guard{Loopback: true}, Open: func(s string) (string, error) {
			if s == "damaged" {
				return "", errors.New("sealed with another key")
			}
			return strings.TrimPrefix(s, "sealed "), nil
		}}
}

func notice(t *testing.T, kind ledger.NoticeKind, body any) ledger.Notice {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.Notice{ID: ledger.NewID(), Kind: kind, Body: b, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

// received waits for n messages.
func received(t *testing.T, s *servers.SMTP, n int) []*mail.Message {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		list := s.Messages(t)
		if len(list) < n && time.Now().Before(end) {
			continue
		}
		if len(list) != n {
			t.Fatalf("%d messages, want %d", len(list), n)
		}
		var out []*mail.Message
		for _, text := range list {
			m, err := mail.ReadMessage(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, m)
		}
		return out
	}
}

func TestMessages(t *testing.T) {
	s := servers.StartSMTP(t, servers.SMTPOptions{})
	m := New(options(s.Port))
	reset := notice(t, ledger.NoticeMail, notify.MailNotice{To: "ann@example.org", Subject: "Your password", Text: "sealed open https://x/?t=1"})
	if err := m.Deliver(t.Context(), reset); err != nil {
		t.Fatal(err)
	}
	got := received(t, s, 1)[0]
	body := new(strings.Builder)
	if _, err := bufio.NewReader(got.Body).WriteTo(body); err != nil {
		t.Fatal(err)
	}
	h := got.Header
	if h.Get("To") != "<ann@example.org>" || h.Get("From") != `"Landwaiter" <landwaiter@example.org>` || h.Get("Subject") != "Your password" ||
		h.Get("Message-Id") != "<"+reset.ID.String()+"@example.org>" || !strings.Contains(body.String(), "open https://x/") {
		t.Errorf("%v\n%s", h, body)
	}
}

// A name of a file cannot make headers or lines of its own.
func TestStrangersWords(t *testing.T) {
	s := servers.StartSMTP(t, servers.SMTPOptions{})
	m := New(options(s.Port))
	f := ledger.FileNotice{Record: ledger.Record{ID: "1", Unit: "inbox", Key: "a\r\nBcc: x@example.org\r\n\r\n.\r\nQUIT", Decision: "blocked", Threat: "T\nStatus: Allowed"}, Result: "Infected"}
	if err := m.Deliver(t.Context(), notice(t, ledger.NoticeFile, f)); err != nil {
		t.Fatal(err)
	}
	got := received(t, s, 1)[0]
	if got.Header.Get("Bcc") != "" || got.Header.Get("To") != "<soc@example.org>, <ops@example.org>" {
		t.Errorf("%v", got.Header)
	}
	body := new(strings.Builder)
	if _, err := bufio.NewReader(got.Body).WriteTo(body); err != nil {
		t.Fatal(err)
	}
	if strings.Count(body.String(), "\nStatus: ") != 1 || !strings.Contains(body.String(), "Status: Blocked") || !strings.Contains(body.String(), "https://lw.example.org/api/file/1") {
		t.Errorf("%s", body)
	}
}

func TestSecurity(t *testing.T) {
	cert, key := servers.Certificate(t)
	plain, start, tls := servers.StartSMTP(t, servers.SMTPOptions{}), servers.StartSMTP(t, servers.SMTPOptions{CertFile: cert, KeyFile: key}),
		servers.StartSMTP(t, servers.SMTPOptions{CertFile: cert, KeyFile: key, OnConnect: true})
	for _, c := range []struct {
		name     string
		server   *servers.SMTP
		security Security
		ignore   bool
		ok       bool
	}{
		{"none", plain, None, false, true},
		{"none of a server that offers more", start, None, false, true},
		{"auto, no TLS", plain, Auto, true, false},
		{"auto", start, Auto, true, true},
		{"auto, a certificate of nobody", start, Auto, false, false},
		{"on connect", tls, OnConnect, true, true},
		{"on connect, a certificate of nobody", tls, OnConnect, false, false},
		{"StartTLS, no TLS", plain, StartTLS, true, false},
		{"StartTLS", start, StartTLS, true, true},
		{"when available, no TLS", plain, StartTLSWhenAvailable, false, true},
		{"when available", start, StartTLSWhenAvailable, true, true},
	} {
		o := options(c.server.Port)
		o.Security, o.IgnoreCertWarnings = c.security, c.ignore
		before := len(c.server.Messages(t))
		err := New(o).Deliver(t.Context(), notice(t, ledger.NoticeScan, ledger.ScanNotice{Unit: "inbox", State: "completed"}))
		if (err == nil) != c.ok || err != nil && !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", c.name, err)
		}
		want := before
		if c.ok {
			want++
		}
		received(t, c.server, want)
	}
}

func TestRefusals(t *testing.T) {
	s := servers.StartSMTP(t, servers.SMTPOptions{})
	to := notify.MailNotice{To: "ann@example.org", Text: "x"}
	guarded := options(s.Port)
	guarded.Guard = outbound.Guard{}
	nobody := options(servers.FreePort(t))
	login := options(s.Port)
	login.User, login.Password = "u", "s3cret"
	for _, c := range []struct {
		name string
		o    Options
		n    ledger.Notice
		kind fault.Kind
	}{
		{"guarded", guarded, notice(t, ledger.NoticeMail, to), fault.Invalid},
		{"nobody there", nobody, notice(t, ledger.NoticeMail, to), fault.Unavailable},
		{"a login that the server has not", login, notice(t, ledger.NoticeMail, to), fault.Unavailable},
		{"no address", options(s.Port), notice(t, ledger.NoticeMail, notify.MailNotice{To: "x", Text: "x"}), fault.Invalid},
		{"damaged text", options(s.Port), notice(t, ledger.NoticeMail, notify.MailNotice{To: "ann@example.org", Text: "damaged"}), fault.Corrupt},
		{"another kind", options(s.Port), notice(t, ledger.NoticeAudit, ledger.AuditRow{}), fault.Corrupt},
	} {
		if err := New(c.o).Deliver(t.Context(), c.n); !fault.Is(err, c.kind) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %v", c.name, err, c.kind)
		}
	}
	if n := len(s.Messages(t)); n != 0 {
		t.Errorf("%d messages came", n)
	}
}

// A server that refuses an address for good is a stand-in: aiosmtpd refuses none.
func TestRefusedRecipient(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Write([]byte("220 stand-in\r\n"))
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			answer := "250 ok\r\n"
			switch word := strings.ToUpper(lines.Text()); {
			case strings.HasPrefix(word, "RCPT"):
				answer = "550 no such user\r\n"
			case strings.HasPrefix(word, "QUIT"):
				answer = "221 bye\r\n"
			}
			if _, err := conn.Write([]byte(answer)); err != nil {
				return
			}
		}
	}()
	err = New(options(l.Addr().(*net.TCPAddr).Port)).Deliver(t.Context(), notice(t, ledger.NoticeMail, notify.MailNotice{To: "gone@example.org", Text: "x"}))
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v, want Invalid: trying again changes nothing", err)
	}
	_ = l.Close()
	<-done
}
