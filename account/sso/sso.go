// Package sso learns from an identity provider who somebody is: by OpenID
// Connect, with the authorization code and PKCE, or by SAML 2.0. It keeps
// nothing; whoever calls it keeps state, nonce and request from the beginning of
// a login to its end, and makes sure that each ends once.
package sso

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// A Provider is a maker of identity providers, with MetaDefender's numbers. It
// says where to look for roles.
type Provider int

// The providers.
const (
	Azure Provider = iota
	Okta
	Auth0
	ADFS
	PingFederate
	OPSWAT
)

// Known reports whether there is such a provider.
func (p Provider) Known() bool { return p >= Azure && p <= OPSWAT }

// A Person is whom a provider speaks of.
type Person struct {
	Subject string // what the provider calls them, always the same
	Login   string // a name to log in with, if it says one
	Name    string
	Email   string
	Roles   []string
	// Assertion names the provider's statement, which must not be taken again
	// before Until; "" where the protocol sees to that.
	Assertion string
	Until     time.Time
}

// The paths that a provider's browser comes back to, below our base URL.
const (
	CallbackPath = "/api/landwaiter/sso/callback"
	ACSPath      = "/api/landwaiter/sso/acs"
	MetadataPath = "/api/landwaiter/sso/metadata"
)

// maxAnswer bounds what a provider answers, in bytes.
const maxAnswer = 1 << 20

// NewClient returns a client for calls of a provider, bounded in time and size,
// that follows no redirect. through makes the connections; nil = directly.
func NewClient(through http.RoundTripper) *http.Client {
	if through == nil {
		through = &http.Transport{DisableKeepAlives: true, ForceAttemptHTTP2: true}
	}
	return &http.Client{Transport: bounded{through}, Timeout: 15 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

type bounded struct{ http.RoundTripper }

// RoundTrip is http.RoundTripper's, with an answer that ends.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = &short{resp.Body, maxAnswer}
	}
	return resp, err
}

// A short body fails where it is longer than it may be.
type short struct {
	io.ReadCloser
	left int
}

var errLong = errors.New("the provider's answer is too long")

// Read is io.Reader's.
func (s *short) Read(p []byte) (int, error) {
	if s.left <= 0 {
		return 0, errLong
	}
	n, err := s.ReadCloser.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}

// CheckURL says what is wrong with a URL of ours or of a provider: it is absolute
// and without a login or fragment, and without TLS on this machine only.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return errors.New("not an absolute URL")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return errors.New("not an https URL")
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
