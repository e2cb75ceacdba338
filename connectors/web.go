package connectors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// NewTransport returns a transport for many small requests to one host. Calls
// have time limits of their own.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConns:          512,
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		ReadBufferSize:        8 << 10, // a small object with its headers; larger reads go past it
		// What is stored compressed is content: it must arrive as it is.
		DisableCompression: true,
	}
}

// NoRedirects keeps credentials and signatures with the host they are for; a
// redirect comes back as the reply it is.
func NoRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

type smallReply struct{}

// SmallReply marks the calls made with ctx as ones whose reply is not content.
func SmallReply(ctx context.Context) context.Context {
	return context.WithValue(ctx, smallReply{}, true)
}

// Bounded is a RoundTripper that bounds replies that are not content: those to
// calls marked by SmallReply, and refusals.
type Bounded struct {
	Next http.RoundTripper
	Most int64 // bytes
}

// RoundTrip makes one request.
func (b Bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.Next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 || req.Context().Value(smallReply{}) != nil {
		resp.Body = Bound(resp.Body, b.Most)
	}
	return resp, nil
}

// Bound returns body, which breaks off after most bytes.
func Bound(body io.ReadCloser, most int64) io.ReadCloser { return &limitedBody{body, most} }

type limitedBody struct {
	io.ReadCloser
	left int64
}

func (l *limitedBody) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := l.ReadCloser.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// A Reply is what a server said when it refused a call, in words that are safe
// to show.
type Reply struct {
	Status  int
	Code    string // the vendor's name of the error, "" if it gave none
	Message string
	Hint    string // words of ours for the operator, where we know some
}

// Error returns status, code and message, with the hint.
func (r *Reply) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP %d", r.Status)
	if r.Code != "" {
		b.WriteString(" " + r.Code)
	}
	if r.Message != "" && r.Message != r.Code {
		b.WriteString(": " + r.Message)
	}
	if r.Hint != "" {
		b.WriteString(" (" + r.Hint + ")")
	}
	return b.String()
}

// ByStatus returns kind and reason of a reply whose code says nothing. Only a
// vendor's own word makes an object count as gone: a bare 404 may come from a
// proxy.
func ByStatus(status int) (fault.Kind, string) {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault.Denied, "access_denied"
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return fault.Unsupported, ""
	case http.StatusPreconditionFailed:
		return fault.Changed, ""
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return fault.Throttled, ""
	case http.StatusNotFound, http.StatusConflict, http.StatusRequestTimeout:
		return fault.Unavailable, ""
	}
	if status >= 300 && status < 500 {
		return fault.Invalid, ""
	}
	return fault.Unavailable, ""
}

// RetryAfter reads the header Retry-After, in seconds or as a date, up to an hour.
func RetryAfter(h http.Header) time.Duration {
	s := h.Get("Retry-After")
	var after time.Duration
	if n, err := strconv.Atoi(s); err == nil {
		after = time.Duration(min(max(n, 0), 3600)) * time.Second
	} else if t, err := http.ParseTime(s); err == nil {
		after = time.Until(t)
	}
	return min(max(after, 0), time.Hour)
}

// Plain returns s without control characters, at most n bytes of it: it comes
// from a server.
func Plain(s string, n int) string {
	if len(s) > n {
		s = s[:n] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// Recast returns err with the kind to and its cause kept, if its kind is from.
func Recast(err error, from, to fault.Kind) error {
	if !fault.Is(err, from) {
		return err
	}
	var f *fault.Error
	errors.As(err, &f)
	g := *f
	g.Kind = to
	return &g
}
