package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/notify"
)

// Notifications are what a tenant wants to be told of.
type Notifications struct {
	Email         EmailNotices `json:"email"`
	FileScanned   Webhook      `json:"file_scanned"`
	ScanCompleted Webhook      `json:"scan_completed"`
}

// EmailNotices are what is told by mail.
type EmailNotices struct {
	Enabled        bool     `json:"enabled"`
	Recipients     []string `json:"recipients,omitempty"`
	BlockedFiles   bool     `json:"blocked_files"`
	CompletedScans bool     `json:"completed_scans"`
}

// A Webhook is a receiver of notices. Its secrets are sealed for SealSetting.
type Webhook struct {
	Enabled     bool     `json:"enabled"`
	URL         string   `json:"url,omitempty"`
	Method      string   `json:"method,omitempty"` // POST or PUT
	Headers     []Header `json:"headers,omitempty"`
	BlockedOnly bool     `json:"blocked_only,omitempty"`
	Secret      string   `json:"secret,omitempty"` // sealed: whsec_ and a key in base64
}

// A Header goes with a webhook. Its value may be a secret, and is sealed.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Notifications tells what the caller's tenant wants to be told of; secrets are sealed.
func (c *Control) Notifications(ctx context.Context) (Notifications, error) {
	return getSetting(ctx, c, "notification.read", SettingNotifications, Notifications{})
}

// SetNotifications sets it. Secrets are given in the clear; an empty one keeps
// what was set before. fault.Invalid if a receiver may not be reached.
func (c *Control) SetNotifications(ctx context.Context, to Notifications) error {
	return enforceSetting(ctx, c, "notification.set", SettingNotifications, Notifications{}, func(ctx context.Context, n *Notifications) error {
		for _, r := range to.Email.Recipients {
			if !addressFit(r) {
				return invalid("recipients", "not a mail address")
			}
		}
		if to.Email.Enabled && len(to.Email.Recipients) == 0 {
			return invalid("recipients", "name at least one")
		}
		if err := c.webhook(ctx, &to.FileScanned, n.FileScanned); err != nil {
			return err
		}
		if err := c.webhook(ctx, &to.ScanCompleted, n.ScanCompleted); err != nil {
			return err
		}
		*n = to
		return nil
	})
}

// webhook checks a receiver and seals its secrets. What secrets were set before
// stay only with the URL that they were set for.
func (c *Control) webhook(ctx context.Context, w *Webhook, before Webhook) error {
	if w.URL == "" {
		if w.Enabled {
			return invalid("url", "a webhook needs one")
		}
		*w = Webhook{}
		return nil
	}
	if err := c.Guard.Check(ctx, w.URL); err != nil {
		return err
	}
	if before.URL != w.URL {
		before = Webhook{}
	}
	if w.Method = strings.ToUpper(w.Method); w.Method == "" {
		w.Method = http.MethodPost
	}
	if w.Method != http.MethodPost && w.Method != http.MethodPut {
		return invalid("method", "POST or PUT")
	}
	if w.Secret != "" {
		if _, err := notify.ParseSecret(w.Secret); err != nil {
			return fault.New(fault.Invalid, "control", "secret", err)
		}
	}
	w.Secret = c.reseal(SealSetting, w.Secret, before.Secret)
	seen := map[string]bool{}
	for i, h := range w.Headers {
		name := textproto.CanonicalMIMEHeaderKey(h.Name)
		if err := headerFit(name, h.Value); err != nil {
			return err
		}
		if seen[name] {
			return invalid("headers", name+" is there twice")
		}
		seen[name] = true
		old := slices.IndexFunc(before.Headers, func(b Header) bool { return b.Name == name })
		was := ""
		if old >= 0 {
			was = before.Headers[old].Value
		}
		w.Headers[i] = Header{Name: name, Value: c.reseal(SealSetting, h.Value, was)}
	}
	return nil
}

// ours are headers that a user cannot set: they frame or prove the message.
var ours = []string{"Host", "Content-Length", "Content-Type", "Transfer-Encoding", "Connection", "Te", "Trailer", "Upgrade", "Expect", "Keep-Alive", "Proxy-Connection",
	"Proxy-Authorization", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"}

func headerFit(name, value string) error {
	switch {
	case !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value):
		return invalid("headers", "not a header of HTTP")
	case slices.Contains(ours, name):
		return invalid("headers", name+" cannot be set")
	}
	return nil
}

func invalid(what, why string) error {
	return fault.New(fault.Invalid, "control", what, fmt.Errorf("%w: %s", errUnfit, why))
}

var errUnfit = errors.New("it cannot be so")
