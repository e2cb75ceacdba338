package daemon

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/outbound"
	"github.com/landwaiter/landwaiter/ledger"
	notices "github.com/landwaiter/landwaiter/notify"
	"github.com/landwaiter/landwaiter/notify/kafka"
	"github.com/landwaiter/landwaiter/notify/mail"
	"github.com/landwaiter/landwaiter/notify/syslog"
	"github.com/landwaiter/landwaiter/notify/webhook"
)

// openGuard makes the guard of what operators set.
func openGuard(c *config.Config) (g outbound.Guard, err error) {
	for _, s := range c.Server.AllowNetworks {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return g, fault.New(fault.Invalid, "daemon.Open", "server.allow_networks", fmt.Errorf("%q is no network: write it like 10.0.0.0/8", s))
		}
		g.Allow = append(g.Allow, p)
	}
	return g, nil
}

// openNotices makes the outbox. Its channels are opened when it runs.
func (d *Daemon) openNotices() {
	d.outbox = notices.New(notices.Options{Store: d.db, Lines: d.lines, Seal: d.seal, Log: d.log})
}

// Mail sends a text to one address, over the tenant's mail server.
// fault.Unsupported if it has none.
func (d *Daemon) Mail(ctx context.Context, tenant int64, to, subject, text string) error {
	return d.outbox.Mail(ctx, tenant, to, subject, text)
}

// lines are the channels that operators set, of all tenants.
func (d *Daemon) lines(ctx context.Context) (lines []notices.Line, err error) {
	settings, err := d.db.Nouns(ctx, 0, ledger.Setting)
	if err != nil {
		return nil, err
	}
	loggers, err := d.db.Nouns(ctx, 0, ledger.Logger)
	if err != nil {
		return nil, err
	}
	smtp, wanted := map[int64]ledger.Noun{}, map[int64]ledger.Noun{}
	for _, n := range settings {
		switch n.Name {
		case control.SettingSMTP:
			smtp[n.Tenant] = n
		case control.SettingNotifications:
			wanted[n.Tenant] = n
		}
	}
	for tenant, n := range smtp {
		lines = d.line(lines, n, notices.ChannelMail, func() (notices.Line, error) { return d.mailLine(n, wanted[tenant]) })
	}
	for _, n := range wanted {
		for _, channel := range []string{notices.ChannelFileWebhook, notices.ChannelScanWebhook} {
			lines = d.line(lines, n, channel, func() (notices.Line, error) { return d.webhookLine(n, channel) })
		}
	}
	for _, n := range loggers {
		if !n.Disabled {
			lines = d.line(lines, n, notices.ChannelLogger+n.ID.String(), func() (notices.Line, error) { return d.loggerLine(n) })
		}
	}
	return lines, nil
}

// line adds a line that is switched on. One that cannot be read is logged and has
// no way to be opened: it must not keep the rest from being served.
func (d *Daemon) line(lines []notices.Line, n ledger.Noun, channel string, read func() (notices.Line, error)) []notices.Line {
	l, err := read()
	if err != nil {
		d.log.Error("a channel of notices cannot be served", "tenant", n.Tenant, "name", n.Name, "err", err)
		l = notices.Line{}
	} else if l.Open == nil {
		return lines
	}
	l.Tenant, l.Channel = n.Tenant, channel
	return append(lines, l)
}

// markOf differs when a noun does.
func markOf(nouns ...ledger.Noun) (mark string) {
	for _, n := range nouns {
		mark += fmt.Sprintf("%s %d;", n.ID, n.Rev)
	}
	return mark
}

func bodyOf[T any](n ledger.Noun) (body T, err error) {
	if len(n.Body) == 0 {
		return body, nil
	}
	if err := json.Unmarshal(n.Body, &body); err != nil {
		return body, fault.New(fault.Corrupt, "daemon", n.Name, err)
	}
	return body, nil
}

func (d *Daemon) mailLine(smtp, wanted ledger.Noun) (l notices.Line, err error) {
	s, err := bodyOf[control.SMTP](smtp)
	if err != nil || !s.Enabled {
		return l, err
	}
	w, err := bodyOf[control.Notifications](wanted)
	if err != nil {
		return l, err
	}
	password, err := d.seal.Open(control.SealSetting, s.Password)
	if err != nil {
		return l, err
	}
	l.Mark = markOf(smtp, wanted)
	l.Blocked, l.Scans = w.Email.Enabled && w.Email.BlockedFiles, w.Email.Enabled && w.Email.CompletedScans
	l.Open = func() (notices.Channel, error) {
		return mail.New(mail.Options{Host: s.Host, Port: s.Port, Address: s.SenderAddress, Name: s.SenderName, Domain: s.Domain, User: s.Username, Password: password,
			Security: mail.Security(s.Secure), IgnoreCertWarnings: s.IgnoreCertWarnings, BaseURL: s.BaseURL, Recipients: w.Email.Recipients, Guard: d.control.Guard,
			Open: func(sealed string) (string, error) { return d.seal.Open(notices.SealMail, sealed) }}), nil
	}
	return l, nil
}

// webhooksAtOnce is how many calls of one webhook are under way together.
const webhooksAtOnce = 8

func (d *Daemon) webhookLine(n ledger.Noun, channel string) (l notices.Line, err error) {
	all, err := bodyOf[control.Notifications](n)
	if err != nil {
		return l, err
	}
	w := all.FileScanned
	if channel == notices.ChannelScanWebhook {
		w = all.ScanCompleted
	}
	if !w.Enabled {
		return l, nil
	}
	o := webhook.Options{URL: w.URL, Method: w.Method, Headers: map[string]string{}, Guard: d.control.Guard, Workflow: d.workflowWords}
	if o.Secret, err = d.seal.Open(control.SealSetting, w.Secret); err != nil {
		return l, err
	}
	for _, h := range w.Headers {
		if o.Headers[h.Name], err = d.seal.Open(control.SealSetting, h.Value); err != nil {
			return l, err
		}
	}
	l.Mark, l.Parallel = markOf(n), webhooksAtOnce
	if channel == notices.ChannelFileWebhook {
		l.Files, l.Blocked = !w.BlockedOnly, w.BlockedOnly
	} else {
		l.Scans = true
	}
	l.Open = func() (notices.Channel, error) { return webhook.New(o) }
	return l, nil
}

func (d *Daemon) loggerLine(n ledger.Noun) (l notices.Line, err error) {
	b, err := bodyOf[control.Logger](n)
	if err != nil {
		return l, err
	}
	password, err := d.seal.Open(control.SealLogger, b.Password)
	if err != nil {
		return l, err
	}
	l.Mark, l.Files, l.Scans, l.Audit = markOf(n), true, true, true
	l.Open = func() (notices.Channel, error) {
		return syslog.New(syslog.Options{Host: b.Host, Port: b.Port, Version: d.o.Version, Guard: d.control.Guard}), nil
	}
	if b.Type == control.Kafka {
		l.Parallel = 64
		l.Open = func() (notices.Channel, error) {
			return kafka.New(kafka.Options{Servers: b.Servers, Topic: b.Topic, SASL: b.SASL, User: b.Username, Password: password, TLS: b.TLS, Guard: d.control.Guard})
		}
	}
	return l, nil
}

// workflowWords are a workflow's name and the rules it asks engines for.
func (d *Daemon) workflowWords(ctx context.Context, hash string) (name string, rules []string, err error) {
	h, err := parseHash(hash)
	if err != nil {
		return "", nil, err
	}
	b, err := d.db.Workflow(ctx, h)
	if err != nil {
		return "", nil, err
	}
	var w struct {
		Name string `json:"name"`
		Rule string `json:"rule"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return "", nil, fault.New(fault.Corrupt, "daemon", "workflow "+hash, err)
	}
	if w.Rule != "" {
		rules = []string{w.Rule}
	}
	return w.Name, rules, nil
}

func parseHash(s string) (h ledger.Hash, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) {
		return h, fault.New(fault.NotFound, "daemon", "workflow "+s, nil)
	}
	return ledger.Hash(b), nil
}
