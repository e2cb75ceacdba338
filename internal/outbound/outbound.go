// Package outbound keeps the daemon from being sent where it must not go. Users
// set URLs of webhooks, scan instances and mail servers; whoever may do that
// must not reach by it what only this machine can reach: itself, the network it
// stands in, the cloud's metadata service.
//
// A Guard refuses by the address that is really dialled, so that a name which
// resolves to something else the second time gains nothing. What is to be
// reached in a private network stands in an explicit list.
package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// A Guard says what may be reached. The zero Guard lets through what is public.
// It is safe for concurrent use.
type Guard struct {
	Allow    []netip.Prefix // networks that may be reached although they are not public
	Loopback bool           // this machine may be reached too

	// Lookup resolves a name; nil asks the system.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Check refuses a URL that may not be reached, or whose name cannot be resolved,
// with fault.Invalid. The error does not show the URL, which may hold a secret.
func (g Guard) Check(ctx context.Context, rawURL string) error {
	const op = "outbound.Check"
	if strings.ContainsFunc(rawURL, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }) {
		return refuse(op, "", "a URL has no spaces, control characters or backslashes")
	}
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return refuse(op, "", "not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return refuse(op, "", "a URL starts with http:// or https://")
	case u.User != nil || strings.Contains(authority(rawURL), "@"):
		return refuse(op, "", "a URL holds no user or password here")
	case u.Opaque != "" || u.Host == "":
		return refuse(op, "", "a URL names a host")
	case strings.Contains(authority(rawURL), "%"):
		return refuse(op, "", "a host is written without percent signs")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		if strings.HasSuffix(u.Host, ":") {
			return refuse(op, "", "a port is a number from 1 to 65535")
		}
	}
	return g.check(ctx, op, u.Hostname(), port)
}

// check is Check of a host. To who sets a name that is nowhere, it is wrong; who
// dials it later may try again.
func (g Guard) check(ctx context.Context, op, host, port string) error {
	_, err := g.addresses(ctx, op, host, port)
	if fault.Is(err, fault.Unavailable) && ctx.Err() == nil {
		return refuse(op, host, "the name cannot be resolved")
	}
	return err
}

// CheckAddr is Check for host:port.
func (g Guard) CheckAddr(ctx context.Context, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return refuse("outbound.CheckAddr", "", "not host:port")
	}
	return g.check(ctx, "outbound.CheckAddr", host, port)
}

// authority is what stands between // and the next slash of a URL.
func authority(rawURL string) string {
	_, rest, _ := strings.Cut(rawURL, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

// DialContext connects to an address that may be reached: for http.Transport,
// and for whatever else can be told how to dial.
func (g Guard) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	const op = "outbound.Dial"
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, refuse(op, "", "not host:port")
	}
	addrs, err := g.addresses(ctx, op, host, port)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: 10 * time.Second}
	var failed []error
	for _, a := range addrs {
		conn, err := d.DialContext(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return conn, nil
		}
		failed = append(failed, err)
	}
	return nil, fault.New(fault.Unavailable, op, host, errors.Join(failed...))
}

// Transport is a transport that dials through the guard and no proxy: a proxy
// would dial for us, unguarded.
func (g Guard) Transport() *http.Transport {
	return &http.Transport{DialContext: g.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 4, MaxIdleConns: 64, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10}
}

// Client is a client of Transport that follows no redirect: the answer that asks
// for one is what the caller gets.
func (g Guard) Client(timeout time.Duration) *http.Client {
	return &http.Client{Transport: g.Transport(), Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// most bounds the addresses of a name that are looked at.
const most = 16

// addresses are those of a host, all of which may be reached.
func (g Guard) addresses(ctx context.Context, op, host, port string) ([]netip.Addr, error) {
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return nil, refuse(op, "", "a port is a number from 1 to 65535")
	}
	literal, err := spelling(host)
	if err != nil {
		return nil, refuse(op, "", err.Error())
	}
	addrs := []netip.Addr{literal}
	if !literal.IsValid() {
		if addrs, err = g.lookup(ctx, host); err != nil || len(addrs) == 0 {
			return nil, fault.New(fault.Unavailable, op, host, errors.Join(errors.New("the name cannot be resolved"), err))
		}
	}
	addrs = addrs[:min(len(addrs), most)]
	for i, a := range addrs {
		addrs[i] = a.Unmap().WithZone("")
		if a.Zone() != "" || !g.permits(addrs[i]) {
			return nil, refuse(op, host, "it is not public, and the networks that may be reached (server.allow_networks) do not have it")
		}
	}
	return addrs, nil
}

func (g Guard) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if g.Lookup != nil {
		addrs, err := g.Lookup(ctx, host)
		return slices.Clone(addrs), err
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

func refuse(op, host, why string) error {
	return fault.New(fault.Invalid, op, host, fmt.Errorf("this address may not be reached: %s", why))
}
