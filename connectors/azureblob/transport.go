package azureblob

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// maxSmallBody bounds, in bytes, a reply that is not content: a page of 1,000
// blobs with names of 1,024 characters, escaped, is below 10 MiB.
const maxSmallBody = 32 << 20

// newTransport returns a transport for many small requests to one host.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConns:        512,
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second,
		ReadBufferSize:      8 << 10, // a small blob with its headers; larger reads go past it
		// What is stored compressed is content: it must arrive as it is.
		DisableCompression: true,
	}
}

type smallBody struct{}

// withSmallBody marks the calls made with ctx as ones whose reply is not content.
func withSmallBody(ctx context.Context) context.Context {
	return context.WithValue(ctx, smallBody{}, true)
}

// bounded is a RoundTripper that bounds replies that are not content.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 || req.Context().Value(smallBody{}) != nil {
		resp.Body = &limitedBody{ReadCloser: resp.Body, left: maxSmallBody}
	}
	return resp, nil
}

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

// noRedirects keeps credentials and signatures with the host they are for; a
// redirect comes back as the reply it is.
func noRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

type versionID struct{}

// withVersion has the calls made with ctx speak of one version of the blob; ""
// is the current one.
func withVersion(ctx context.Context, id string) context.Context {
	if id == "" {
		return ctx
	}
	return context.WithValue(ctx, versionID{}, id)
}

// versioned is the policy behind withVersion. The SDK's own way takes the URL
// apart and puts it together anew, which not every name survives.
type versioned struct{}

func (versioned) Do(req *policy.Request) (*http.Response, error) {
	if id, ok := req.Raw().Context().Value(versionID{}).(string); ok {
		q := req.Raw().URL.Query()
		q.Set("versionid", id)
		req.Raw().URL.RawQuery = q.Encode()
	}
	return req.Next()
}
