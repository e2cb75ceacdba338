package gcs

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	raw "google.golang.org/api/storage/v1"
	htransport "google.golang.org/api/transport/http"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
)

// newDriver makes the client; it calls nobody yet but the sources of credentials.
func newDriver(ctx context.Context, o options, u connectors.Unit, lim limits) (*Driver, error) {
	login, err := o.login(u.ReadOnly)
	if err != nil {
		return nil, err
	}
	d := &Driver{transport: connectors.NewTransport(), bucket: o.bucket, root: o.root, unfenced: u.Unfenced, limits: lim}
	authorized, err := htransport.NewTransport(ctx, d.transport, append(login, option.WithUserAgent("landwaiter"))...)
	if err != nil {
		return nil, &fault.Error{Op: "gcs.Open", On: o.bucket, Kind: fault.Denied, Reason: "access_denied", Err: errors.New(connectors.Plain(err.Error(), 300))}
	}
	endpoint := o.endpoint
	if endpoint == "" {
		endpoint = "https://storage.googleapis.com"
	}
	base, err := url.Parse(endpoint)
	if err != nil {
		return nil, fault.New(fault.Invalid, "gcs.Open", o.bucket, err)
	}
	web := option.WithHTTPClient(&http.Client{Transport: shaped{next: authorized, scheme: base.Scheme, host: base.Host, payer: o.userProject}})
	at := option.WithEndpoint(endpoint + "/storage/v1/")
	// Our transport brings the credentials along: without WithoutAuthentication,
	// the library would look for some of its own.
	d.client, err = storage.NewClient(ctx, web, at, option.WithoutAuthentication(), storage.WithJSONReads(), storage.WithDisabledClientMetrics())
	if err != nil {
		return nil, fault.New(fault.Internal, "gcs.Open", o.bucket, err)
	}
	// connectors.Storage retries, nobody else. RetryNever would not do: it leaves
	// on what the generated client does with a chunk of an upload.
	d.client.SetRetry(storage.WithPolicy(storage.RetryAlways), storage.WithErrorFunc(func(error) bool { return false }))
	if d.service, err = raw.NewService(ctx, web, at); err != nil {
		return nil, fault.New(fault.Internal, "gcs.Open", o.bucket, err)
	}
	if o.google() {
		// Google honours them (https://cloud.google.com/storage/docs/request-preconditions).
		for _, a := range []*connectors.Answer{&d.honours.remove, &d.honours.put, &d.honours.copy, &d.honours.patch} {
			a.Set(true)
		}
	}
	return d, nil
}

// maxSmallReply bounds, in bytes, a reply that is not content: a page of 1,000
// objects is below 4 MiB.
const maxSmallReply = 16 << 20

// shaped is a RoundTripper that says in every request who pays for it and that
// nobody wants access lists, asks for content as it is stored and notes what the
// reply says, and bounds replies that are not content. It keeps credentials with
// the host they are for: a redirect, or an upload's session, must not lead
// elsewhere.
type shaped struct {
	next         http.RoundTripper
	scheme, host string
	payer        string
}

var errElsewhere = errors.New("the server sends us to another host")

func (s shaped) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != s.host || req.URL.Scheme != s.scheme {
		return nil, errElsewhere
	}
	query := req.URL.Query()
	content := req.Method == http.MethodGet && query.Get("alt") == "media"
	down, _ := req.Context().Value(downloading{}).(*download)
	if down != nil && down.header != nil {
		return nil, errReopened
	}
	req = req.Clone(req.Context())
	if content {
		// Without it, Google unpacks what is stored with Content-Encoding gzip
		// (https://cloud.google.com/storage/docs/transcoding). ReadCompressed says it
		// too, but the generated client below refuses that header.
		req.Header.Set("Accept-Encoding", "gzip")
	}
	if s.payer != "" {
		query.Set("userProject", s.payer)
	}
	lists := query.Has("projection")
	if lists {
		query.Set("projection", "noAcl") // the library asks for access lists, which nobody reads
	}
	if lists || s.payer != "" { // else an upload's session stays as the server wrote it
		req.URL.RawQuery = query.Encode()
	}
	if moving, ok := req.Context().Value(sending{}).(*connectors.Moving); ok && req.Body != nil {
		req.Body = struct {
			io.Reader
			io.Closer
		}{moving.Reader(req.Body), req.Body}
	}
	resp, err := s.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 || !content {
		resp.Body = connectors.Bound(resp.Body, maxSmallReply)
	} else if down != nil {
		down.header, down.length = resp.Header, resp.ContentLength
		down.body = &watchedBody{resp.Body, down}
		resp.Body = down.body
	}
	return resp, nil
}

// downloading is the name of a *download in a context.
type downloading struct{}

// A download is one request for content, and what the reply to it said.
type download struct {
	header http.Header // nil until content comes
	length int64       // of the body; -1 if unknown
	body   io.ReadCloser
	broken error // how the body broke off
}

// errReopened ends the library's attempt to go on after a body broke off: what
// is resumed, and how often, is up to connectors.Storage.
var errReopened = errors.New("a download is one request")

// A watchedBody is the body of a download.
type watchedBody struct {
	io.ReadCloser
	down *download
}

func (w *watchedBody) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		w.down.broken = err
	}
	return n, err
}

// sending is the name in a context of the *connectors.Moving of what is sent.
type sending struct{}

// fetched is what one call of a listing brought.
type fetched[T any] struct {
	items []T
	next  string // the server's continuation; "" at the end
}

// fetch takes one page, of at most size, from a fresh iterator. An
// iterator.Pager would ask again and again until its page is full.
func fetch[T any](it interface {
	iterator.Pageable
	Next() (T, error)
}, size int, token string) (fetched[T], error) {
	info := it.PageInfo()
	info.MaxSize, info.Token = size, token
	var out fetched[T]
	for len(out.items) == 0 || info.Remaining() > 0 {
		item, err := it.Next()
		if err == iterator.Done { //nolint:errorlint // an iterator gives it unwrapped
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out.items = append(out.items, item)
	}
	out.next = info.Token
	return out, nil
}
