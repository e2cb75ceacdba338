package control

import (
	"context"
	"net"
	"net/mail"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

// SMTP is a tenant's way to send mail. Password is sealed for SealSetting.
type SMTP struct {
	Host               string `json:"host"`
	Port               int    `json:"port"`
	BaseURL            string `json:"base_url"` // of this API, for links in mails
	SenderAddress      string `json:"sender_address"`
	SenderName         string `json:"sender_name"`
	Domain             string `json:"domain"` // said in HELO
	Username           string `json:"username"`
	Password           string `json:"password,omitempty"`
	Secure             int    `json:"secure"`
	IgnoreCertWarnings bool   `json:"ignore_cert_warnings"`
	Enabled            bool   `json:"enabled"`
}

// How a connection to a mail server is secured, with the product's numbers.
const (
	SecureNone = iota
	SecureAuto // TLS at once on port 465, else StartTLS, which must be there
	SecureOnConnect
	SecureStartTLS
	SecureStartTLSWhenAvailable
)

// SMTPChange is what is to be changed; nil leaves it.
type SMTPChange struct {
	Host, BaseURL, SenderAddress, SenderName, Domain, Username, Password *string
	Port, Secure                                                         *int
	IgnoreCertWarnings, Enabled                                          *bool
}

var startSMTP = SMTP{Port: 587, Secure: SecureAuto}

// SMTP tells how the caller's tenant sends mail; the password is sealed.
func (c *Control) SMTP(ctx context.Context) (SMTP, error) {
	return getSetting(ctx, c, "smtp.read", SettingSMTP, startSMTP)
}

// SetSMTP changes it. fault.Invalid if the server may not be reached.
func (c *Control) SetSMTP(ctx context.Context, ch SMTPChange) error {
	return enforceSetting(ctx, c, "smtp.set", SettingSMTP, startSMTP, func(ctx context.Context, s *SMTP) error {
		host := s.Host
		set(&s.Host, ch.Host)
		set(&s.Port, ch.Port)
		set(&s.BaseURL, ch.BaseURL)
		set(&s.SenderAddress, ch.SenderAddress)
		set(&s.SenderName, ch.SenderName)
		set(&s.Domain, ch.Domain)
		set(&s.Username, ch.Username)
		set(&s.Secure, ch.Secure)
		set(&s.IgnoreCertWarnings, ch.IgnoreCertWarnings)
		set(&s.Enabled, ch.Enabled)
		if s.Host != host {
			s.Password = "" // a password does not go to another server than it was given for
		}
		if ch.Password != nil {
			s.Password = c.Seal.Seal(SealSetting, *ch.Password)
		}
		return c.smtpFit(ctx, s)
	})
}

func (c *Control) smtpFit(ctx context.Context, s *SMTP) error {
	if s.Enabled && (s.Host == "" || s.SenderAddress == "") {
		return invalid("smtp", "name host and senderAddress")
	}
	if s.SenderAddress != "" {
		if !addressFit(s.SenderAddress) {
			return invalid("senderAddress", "not a mail address")
		}
	}
	if u, err := url.Parse(s.BaseURL); s.BaseURL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return invalid("baseUrl", "it starts with http:// or https://")
	}
	for what, word := range map[string]string{"senderName": s.SenderName, "domain": s.Domain, "username": s.Username} {
		if strings.ContainsFunc(word, unicode.IsControl) || what == "domain" && strings.ContainsAny(word, " <>") {
			return invalid(what, "no control characters, and no spaces in a domain")
		}
	}
	if s.Secure < SecureNone || s.Secure > SecureStartTLSWhenAvailable {
		return invalid("secureSocketOption", "0 to 4")
	}
	if s.Host == "" {
		return nil
	}
	return c.Guard.CheckAddr(ctx, net.JoinHostPort(s.Host, strconv.Itoa(s.Port)))
}

// addressFit reports whether s is a bare mail address.
func addressFit(s string) bool {
	const most = 320 // RFC 5321: 64 + @ + 255
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s && len(s) <= most
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}
