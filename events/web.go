package events

import (
	"net"
	"net/http"
	"strconv"
	"time"
)

// NewTransport returns a transport for up to conns calls at a time to one host.
func NewTransport(conns int) *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConnsPerHost: conns,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second,
	}
}

// NewClient returns a client whose replies break off after most bytes. It
// follows no redirect, which would take credentials to another host.
func NewClient(transport *http.Transport, most int64) *http.Client {
	return &http.Client{Transport: bounded{transport, most}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// bounded is a RoundTripper that bounds replies.
type bounded struct {
	next http.RoundTripper
	most int64
}

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, b.most)
	}
	return resp, err
}

// RetryAfter reads the header Retry-After, in seconds, up to an hour.
func RetryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil {
		return 0
	}
	return time.Duration(min(max(n, 0), 3600)) * time.Second
}
