// Package mdcore asks MetaDefender Core (v4, v5) and the API Gateway of
// MetaDefender Cluster about content, over their REST API: a file is submitted,
// its report is polled until it is complete, and nothing less than a complete
// report about exactly the bytes that were sent becomes a verdict.
package mdcore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

// Options say where an instance is and how to talk to it. Zero values mean the
// defaults that are named here.
type Options struct {
	// URL is mdcore://host[:port][/path] or, for TLS, mdcores://…; the port
	// defaults to 8008. It may carry ?rule= and ?user_agent=, never a secret.
	URL string `json:"url" yaml:"url"`

	// APIKey is a user's fixed key. Without it, User and Password log in for a
	// session, again whenever it ended. Without any, requests are anonymous.
	APIKey   string `json:"-" yaml:"api_key,omitempty"`
	User     string `json:"user,omitempty" yaml:"user,omitempty"`
	Password string `json:"-" yaml:"password,omitempty"`

	Rule      string            `json:"rule,omitempty" yaml:"rule,omitempty"`             // where the sample names none; "" = the instance's default
	UserAgent string            `json:"user_agent,omitempty" yaml:"user_agent,omitempty"` // as Rule
	Metadata  map[string]string `json:"metadata,omitempty" yaml:"metadata,omitempty"`     // for the instance's post actions; at most 2 KiB as JSON

	// CAFile holds the PEM certificates that may have signed the instance's; ""
	// = those of the system. There is no way to skip the check.
	CAFile string `json:"ca_file,omitempty" yaml:"ca_file,omitempty"`

	// HashLookup asks for an earlier result of the same rule before submitting,
	// where the sample's SHA-256 and the rule are known.
	HashLookup bool `json:"hash_lookup,omitempty" yaml:"hash_lookup,omitempty"`
	// MinEngines is how many engines must have looked before "No Threat
	// Detected" is clean (1).
	MinEngines int `json:"min_engines,omitempty" yaml:"min_engines,omitempty"`

	PollMin  time.Duration `json:"poll_min,omitempty" yaml:"poll_min,omitempty"`   // first pause between polls (20 ms), growing by half
	PollMax  time.Duration `json:"poll_max,omitempty" yaml:"poll_max,omitempty"`   // to this (1 s)
	Timeout  time.Duration `json:"timeout,omitempty" yaml:"timeout,omitempty"`     // of one scan, upload and all (15 min)
	Stall    time.Duration `json:"stall,omitempty" yaml:"stall,omitempty"`         // how long the instance may let nothing move (60 s)
	MaxReply int64         `json:"max_reply,omitempty" yaml:"max_reply,omitempty"` // bytes of one reply (8 MiB)

	// Dial connects, for a caller that guards which addresses may be reached; nil
	// = a plain dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error) `json:"-" yaml:"-"`
}

const (
	defaultPort = "8008"
	connections = 128              // at most, to one instance
	cancelFor   = 3 * time.Second  // a job's cancellation, a logout
	definedFor  = 30 * time.Second // how long the definitions' identity is taken from memory
)

// Engine is one instance. It implements scan.Engine and scan.Sanitizer.
type Engine struct {
	o      Options
	name   string // "mdcore@host:port"
	base   string // "https://host:port/path", no slash at the end
	client *http.Client
	closed atomic.Bool

	session session
	defs    defined
}

var (
	_ scan.Engine    = (*Engine)(nil)
	_ scan.Sanitizer = (*Engine)(nil)
)

// Open prepares an engine for the instance at o.URL. It does not talk to it:
// Probe does. Errors are fault.Invalid.
func Open(_ context.Context, o Options) (*Engine, error) {
	e := &Engine{o: o, session: session{turn: make(gate, 1)}, defs: defined{turn: make(gate, 1)}}
	if err := e.setup(); err != nil {
		return nil, fault.New(fault.Invalid, "mdcore.Open", e.name, err)
	}
	return e, nil
}

func (e *Engine) setup() error {
	if err := e.parse(); err != nil {
		return err
	}
	o := &e.o
	for _, d := range []struct {
		at *time.Duration
		to time.Duration
	}{{&o.PollMin, 20 * time.Millisecond}, {&o.PollMax, time.Second}, {&o.Timeout, 15 * time.Minute}, {&o.Stall, time.Minute}} {
		if *d.at < 0 {
			return errors.New("a duration is negative")
		}
		if *d.at == 0 {
			*d.at = d.to
		}
	}
	o.PollMax = max(o.PollMax, o.PollMin)
	if o.MaxReply <= 0 {
		o.MaxReply = 8 << 20
	}
	o.MinEngines = max(o.MinEngines, 1)
	if o.APIKey != "" && o.User != "" {
		return errors.New("both an API key and a user are given")
	}
	for name, v := range map[string]string{"the API key": o.APIKey, "user_agent": o.UserAgent} {
		if !printable(v) {
			return fmt.Errorf("%s holds characters that no header may", name)
		}
	}
	if b, err := json.Marshal(o.Metadata); err != nil || len(b) > 2<<10 {
		return errors.New("metadata is over 2 KiB")
	}
	transport, err := e.transport()
	if err != nil {
		return err
	}
	e.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return nil
}

// parse reads o.URL into base and name.
func (e *Engine) parse() error {
	u, err := url.Parse(e.o.URL)
	if err != nil {
		return errors.New("the URL cannot be parsed") // the parser's words would repeat it, with what secret it may hold
	}
	scheme, ok := map[string]string{"mdcore": "http", "mdcores": "https"}[u.Scheme]
	switch {
	case !ok:
		return errors.New("the URL's scheme is neither mdcore nor mdcores")
	case u.User != nil:
		return errors.New("the URL holds credentials: give an API key, or a user and a password, beside it")
	case u.Hostname() == "" || u.Opaque != "" || u.Fragment != "":
		return errors.New("the URL is not mdcore://host[:port][/path]")
	}
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("the URL's port is none")
	}
	for k, v := range u.Query() {
		switch k {
		case "rule":
			e.o.Rule = v[0]
		case "user_agent":
			e.o.UserAgent = v[0]
		default:
			return fmt.Errorf("the URL has a parameter %q; there are rule and user_agent", k)
		}
	}
	host := net.JoinHostPort(u.Hostname(), port)
	e.name = "mdcore@" + host
	e.base = scheme + "://" + host + strings.TrimRight(u.EscapedPath(), "/")
	return nil
}

// transport is the engine's own: no proxy from the environment, no HTTP/2, no
// compression that a reply could be blown up with.
func (e *Engine) transport() (*http.Transport, error) {
	dial := e.o.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	t := &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		DisableCompression:     true,
		MaxConnsPerHost:        connections,
		MaxIdleConnsPerHost:    connections,
		IdleConnTimeout:        30 * time.Second, // shorter than the instance's own web server keeps them
		MaxResponseHeaderBytes: 64 << 10,
	}
	if e.o.CAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(e.o.CAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", e.o.CAFile)
	}
	t.TLSClientConfig.RootCAs = pool
	return t, nil
}

// Close ends a session that was opened, and idle connections. New scans are
// refused; those that still run go on, as far as they need no session.
func (e *Engine) Close() error {
	if e.closed.Swap(true) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), cancelFor)
	defer cancel()
	e.logout(ctx)
	e.client.CloseIdleConnections()
	return nil
}

// Secrets of an Engine or its Options never print.
func (e *Engine) String() string { return e.name }

// String shows where the options point to, without their secrets.
func (o Options) String() string {
	if u, err := url.Parse(o.URL); err == nil {
		return u.Redacted()
	}
	return "mdcore"
}

// GoString is String, for %#v.
func (o Options) GoString() string { return o.String() }

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e })
}
