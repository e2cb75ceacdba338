package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// The bounds of fetching a certificate or a key set.
const (
	fetchWithin = 4 * time.Second
	fetchMax    = 256 << 10 // bytes
)

// fetch gets a document of keys. fault.NotFound: the server says that there is
// none; anything else is Unavailable.
type fetch func(ctx context.Context, url string) ([]byte, error)

// A gate lets one in at a time, and those who wait give up when their time is over.
type gate chan struct{}

func newGate() gate { return make(gate, 1) }

func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return refuse(ours, "waited too long for a key that another call fetches")
	}
}

func (g gate) leave() { <-g }

// fetchHTTPS fetches over TLS, follows no redirects, and leaves no connection
// behind.
func fetchHTTPS() fetch {
	client := &http.Client{
		Timeout: fetchWithin,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DisableKeepAlives:      true,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, url string) ([]byte, error) { return get(ctx, client, url) }
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	const op = "webhook.fetch"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fault.New(fault.NotFound, op, url, err)
	}
	if req.URL.Scheme != "https" {
		return nil, fault.New(fault.NotFound, op, url, errors.New("want https"))
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fault.New(fault.Unavailable, op, url, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone, http.StatusForbidden: // a store of public files says 403 for what it has not
		return nil, fault.New(fault.NotFound, op, url, errors.New(resp.Status))
	default:
		return nil, fault.New(fault.Unavailable, op, url, errors.New(resp.Status))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, fetchMax+1))
	if err != nil {
		return nil, fault.New(fault.Unavailable, op, url, err)
	}
	if len(body) > fetchMax {
		return nil, fault.New(fault.Unavailable, op, url, fmt.Errorf("more than %d bytes", fetchMax))
	}
	return body, nil
}
