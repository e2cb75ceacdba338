// Package mail sends notices over a tenant's mail server.
package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/outbound"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/notify"
)

// A Security is how the connection is secured, with the product's numbers.
type Security int

// The securities.
const (
	None Security = iota
	Auto          // TLS at once on port 465, else StartTLS, which must be there
	OnConnect
	StartTLS
	StartTLSWhenAvailable
)

// Options say over which server to send, and as whom.
type Options struct {
	Host               string
	Port               int
	Address, Name      string // the sender's
	Domain             string // said in HELO; "" = the host's name
	User, Password     string
	Security           Security
	IgnoreCertWarnings bool
	BaseURL            string   // for a link in messages; "" = none
	Recipients         []string // of files and scans
	Guard              outbound.Guard
	Open               func(sealed string) (string, error) // of the texts of mails
}

// A Mail sends over one server.
type Mail struct{ o Options }

// New returns the channel; nothing is sent before Deliver.
func New(o Options) *Mail { return &Mail{o} }

// Close has nothing to give back: a connection lasts for one message.
func (m *Mail) Close() error { return nil }

// Deliver sends one notice as one message.
func (m *Mail) Deliver(ctx context.Context, n ledger.Notice) error {
	const op = "mail.Deliver"
	msg, err := m.message(n)
	if err != nil {
		return err
	}
	c, err := gomail.NewClient(m.o.Host, m.clientOptions()...)
	if err != nil {
		return fault.New(fault.Invalid, op, m.o.Host, err)
	}
	if err := c.DialAndSendWithContext(ctx, msg); err != nil {
		return sendError(op, m.o.Host, err)
	}
	return nil
}

func (m *Mail) clientOptions() []gomail.Option {
	conf := &tls.Config{ServerName: m.o.Host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: m.o.IgnoreCertWarnings} //nolint:gosec // the operator asked for it
	o := []gomail.Option{gomail.WithPort(m.o.Port), gomail.WithTimeout(15 * time.Second), gomail.WithTLSConfig(conf)}
	if m.o.Domain != "" {
		o = append(o, gomail.WithHELO(m.o.Domain))
	}
	security := m.o.Security
	if security == Auto {
		security = StartTLS
		if m.o.Port == 465 {
			security = OnConnect
		}
	}
	dial := m.o.Guard.DialContext
	policy := gomail.TLSMandatory
	switch security {
	case None, OnConnect:
		policy = gomail.NoTLS
	case StartTLSWhenAvailable:
		policy = gomail.TLSOpportunistic
	}
	o = append(o, gomail.WithTLSPolicy(policy))
	if security == OnConnect {
		dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			return dialTLS(ctx, m.o.Guard, conf, network, addr)
		}
		o = append(o, gomail.WithSSL())
	}
	o = append(o, gomail.WithDialContextFunc(dial))
	if m.o.User != "" {
		o = append(o, gomail.WithUsername(m.o.User), gomail.WithPassword(m.o.Password), gomail.WithSMTPAuth(authOver(security)))
	}
	return o
}

// dialTLS dials through the guard and speaks TLS at once: the library leaves that
// to whoever dials for it.
func dialTLS(ctx context.Context, g outbound.Guard, conf *tls.Config, network, addr string) (net.Conn, error) {
	conn, err := g.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := tls.Client(conn, conf)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

// authOver is how to log in: over a line that is not secured only in a way that
// does not show the password.
func authOver(s Security) gomail.SMTPAuthType {
	if s == None {
		return gomail.SMTPAuthCramMD5
	}
	return gomail.SMTPAuthAutoDiscover
}

// sendError tells what the server refuses for good (5xx) from what may work later.
func sendError(op, host string, err error) error {
	var s *gomail.SendError
	kind := fault.Unavailable
	if fault.Is(err, fault.Invalid) || errors.As(err, &s) && s.ErrorCode() >= 500 && s.Reason == gomail.ErrSMTPRcptTo {
		kind = fault.Invalid
	}
	return fault.New(kind, op, host, err)
}

// message makes the message of a notice. Its id is the notice's, so that one
// that is sent twice can be told.
func (m *Mail) message(n ledger.Notice) (*gomail.Msg, error) {
	const op = "mail"
	subject, text, to, err := m.words(n)
	if err != nil {
		return nil, err
	}
	msg := gomail.NewMsg()
	_, domain, _ := strings.Cut(m.o.Address, "@")
	msg.SetMessageIDWithValue(n.ID.String() + "@" + domain)
	msg.SetDateWithValue(n.Created)
	if err := errors.Join(msg.FromFormat(m.o.Name, m.o.Address), msg.To(to...)); err != nil {
		return nil, fault.New(fault.Invalid, op, "", err)
	}
	msg.Subject(oneLine(subject))
	msg.SetBodyString(gomail.TypeTextPlain, text)
	return msg, nil
}

func (m *Mail) words(n ledger.Notice) (subject, text string, to []string, err error) {
	switch n.Kind {
	case ledger.NoticeMail:
		b, err := notify.Body[notify.MailNotice](n)
		if err != nil {
			return "", "", nil, err
		}
		if text, err = m.o.Open(b.Text); err != nil {
			return "", "", nil, fault.New(fault.Corrupt, "mail", n.ID.String(), err)
		}
		return b.Subject, text, []string{b.To}, nil
	case ledger.NoticeFile:
		f, err := notify.Body[ledger.FileNotice](n)
		return fmt.Sprintf("%s: %s in %s", notify.FileStatus(f), f.Key, f.Unit), m.fileText(f), m.o.Recipients, err
	case ledger.NoticeScan:
		s, err := notify.Body[ledger.ScanNotice](n)
		return fmt.Sprintf("Scan of %s: %s", s.Unit, notify.ScanStatus(s.State)), fmt.Sprintf("Storage: %s\nStarted: %s\nEnded: %s\nStatus: %s\n",
			s.Unit, s.Started.Format(time.RFC3339), s.Ended.Format(time.RFC3339), notify.ScanStatus(s.State)), m.o.Recipients, err
	}
	return "", "", nil, fault.New(fault.Corrupt, "mail", n.ID.String(), fmt.Errorf("no message for a notice of %q", n.Kind))
}

func (m *Mail) fileText(f ledger.FileNotice) string {
	var b strings.Builder
	for _, line := range [][2]string{{"File", f.Key}, {"Storage", f.Unit}, {"Result", f.Result}, {"Threat", f.Threat}, {"Status", notify.FileStatus(f)},
		{"SHA-256", f.SHA256}, {"Scanned", f.Time.Format(time.RFC3339)}, {"Error", f.Error}} {
		if line[1] != "" {
			fmt.Fprintf(&b, "%s: %s\n", line[0], oneLine(line[1]))
		}
	}
	for _, a := range f.Actions {
		fmt.Fprintf(&b, "Action: %s %s %s\n", oneLine(a.Type), oneLine(a.Target), oneLine(a.State))
	}
	if m.o.BaseURL != "" {
		fmt.Fprintf(&b, "\n%s/api/file/%s\n", strings.TrimSuffix(m.o.BaseURL, "/"), f.ID)
	}
	return b.String()
}

// oneLine keeps strangers' words from making lines or headers of their own.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, s)
}
