package webhook

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is now in these tests.
var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// A clock is moved by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: noon} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// A sink keeps what it is given, unless it has an error to return.
type sink struct {
	mu      sync.Mutex
	notices []events.Notice
	letters []events.Letter
	err     error
	hold    chan struct{} // if not nil, Deliver waits for it
	entered chan struct{} // if not nil, told when Deliver begins
}

func (s *sink) Deliver(ctx context.Context, source string, n []events.Notice) error {
	if s.entered != nil {
		s.entered <- struct{}{}
	}
	if s.hold != nil {
		select {
		case <-s.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if !strings.HasPrefix(source, "hooks/") {
		return fmt.Errorf("source %q", source)
	}
	s.notices = append(s.notices, n...)
	return nil
}

func (s *sink) Bury(_ context.Context, l events.Letter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.letters = append(s.letters, l)
	return nil
}

func (s *sink) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *sink) counts() (notices, letters int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.notices), len(s.letters)
}

// A web is a stand-in for what hooks fetch: certificates and key sets by URL.
type web struct {
	mu    sync.Mutex
	pages map[string][]byte
	other []byte // at every other address: what an attacker serves there
	err   error
	asked []string
}

func (w *web) fetch(_ context.Context, url string) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, url)
	if w.err != nil {
		return nil, w.err
	}
	page, ok := w.pages[url]
	if !ok && w.other != nil && !strings.Contains(url, "404") {
		return w.other, nil
	}
	if !ok {
		return nil, fault.New(fault.NotFound, "test", url, errors.New("404"))
	}
	return page, nil
}

func (w *web) put(url string, page []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pages == nil {
		w.pages = make(map[string][]byte)
	}
	w.pages[url] = page
}

func (w *web) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

func (w *web) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.asked)
}

// A bench is a handler with everything around it in the test's hands.
type bench struct {
	*Handler
	sink  *sink
	clock *clock
	web   *web
	log   *bytes.Buffer
}

func newBench(t testing.TB, hooks ...Hook) *bench {
	t.Helper()
	b := &bench{sink: new(sink), clock: newClock(), web: new(web), log: new(bytes.Buffer)}
	var mu sync.Mutex
	h, err := build(hooks, world{sink: b.sink, now: b.clock.now, fetch: b.web.fetch,
		log: slog.New(slog.NewTextHandler(&locked{w: b.log, mu: &mu}, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	b.Handler = h
	return b
}

type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// call serves a request and returns the reply.
func (b *bench) call(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w
}

// An outcome is what a call must lead to.
type outcome string

const (
	refused outcome = "refused" // not 2xx, and the sink was given nothing
	buried  outcome = "buried"  // 2xx, and one letter
	silent  outcome = "silent"  // 2xx, and nothing
	taken   outcome = "taken"   // 2xx, and notices
)

// A vector is one call and what must become of it.
type vector struct {
	name   string
	want   outcome
	status int // 0 = any that fits
	req    *http.Request
}

// run plays the vectors against fresh benches made by open, and prints the tally.
func run(t *testing.T, kind string, open func(testing.TB) *bench, vectors []vector) {
	t.Helper()
	violations, bad := 0, 0
	for _, v := range vectors {
		b := open(t)
		w := b.call(v.req)
		notices, letters := b.sink.counts()
		got := refused
		switch ok := w.Code >= 200 && w.Code <= 299; {
		case ok && notices > 0:
			got = taken
		case ok && letters > 0:
			got = buried
		case ok:
			got = silent
		case notices > 0 || letters > 0:
			got = "refused, yet the sink was given something"
		}
		if v.want == refused || v.want == buried {
			bad++
		}
		if got != v.want || v.status != 0 && w.Code != v.status {
			violations++
			t.Errorf("%s: %s: %s with status %d, want %s (%d): %s", kind, v.name, got, w.Code, v.want, v.status, b.log)
		}
		if w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
			violations++
			t.Errorf("%s: %s: 503 without Retry-After", kind, v.name)
		}
	}
	if bad < 40 {
		t.Errorf("%s: only %d forged or malformed calls, want 40", kind, bad)
	}
	t.Logf("%s: cases=%d bad=%d violations=%d", kind, len(vectors), bad, violations)
}

// post makes a call of the hook "in".
func post(body string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, Prefix+"in", strings.NewReader(body))
	return with(r, headers...)
}

// with sets headers, given as name and value in turn.
func with(r *http.Request, headers ...string) *http.Request {
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// twice adds a second value to a header.
func twice(r *http.Request, name, value string) *http.Request {
	r.Header.Add(name, value)
	return r
}

// without removes a header.
func without(r *http.Request, name string) *http.Request {
	r.Header.Del(name)
	return r
}

// anywhere are the calls that every kind refuses, made from a genuine one.
func anywhere(genuine func() *http.Request) []vector {
	method := func(m string) *http.Request { r := genuine(); r.Method = m; return r }
	path := func(p string) *http.Request { r := genuine(); r.URL.Path = p; return r }
	body := func(b io.Reader, n int64) *http.Request {
		r := genuine()
		r.Body, r.ContentLength = io.NopCloser(b), n
		return r
	}
	big := func() io.Reader { return io.LimitReader(zeros{}, 10<<20) }
	return []vector{
		{"GET", refused, 405, method(http.MethodGet)},
		{"HEAD", refused, 405, method(http.MethodHead)},
		{"PUT", refused, 405, method(http.MethodPut)},
		{"PATCH", refused, 405, method(http.MethodPatch)},
		{"DELETE", refused, 405, method(http.MethodDelete)},
		{"method in lower case", refused, 405, method("post")},
		{"an unknown hook", refused, 404, path(Prefix + "other")},
		{"no hook", refused, 404, path(Prefix)},
		{"below the hook", refused, 404, path(Prefix + "in/more")},
		{"beside the hooks", refused, 404, path("/hook/in")},
		{"name in upper case", refused, 404, path(Prefix + "IN")},
		{"10 MiB", refused, 413, body(big(), 10<<20)},
		{"10 MiB in chunks", refused, 413, body(big(), -1)},
		{"one byte too many", refused, 413, body(io.LimitReader(zeros{}, events.MaxBody+1), -1)},
		{"a body that breaks off", refused, 503, body(io.MultiReader(strings.NewReader("{"), broken{}), -1)},
		{"a form", refused, 415, with(genuine(), "Content-Type", "application/x-www-form-urlencoded")},
		{"a content type of nonsense", refused, 415, with(genuine(), "Content-Type", "application/;;")},
		{"XML", refused, 415, with(genuine(), "Content-Type", "text/xml")},
		{"compressed", refused, 415, with(genuine(), "Content-Encoding", "gzip")},
		{"two content types", refused, 0, twice(genuine(), "Content-Type", "application/json")},
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// rsaKey makes a key once per name: they are slow to make.
var rsaKeys sync.Map

func rsaKey(t testing.TB, name string, bits int) *rsa.PrivateKey {
	t.Helper()
	if k, ok := rsaKeys.Load(name); ok {
		return k.(*rsa.PrivateKey)
	}
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	rsaKeys.Store(name, k)
	return k
}

// Bodies as the vendors send them.
const (
	s3Body = `{"EventName":"s3:ObjectCreated:Put","Key":"inbox/a b.txt","Records":[{"eventVersion":"2.0","eventSource":"minio:s3","awsRegion":"","eventTime":"2026-11-28T11:59:59.123Z",` +
		`"eventName":"s3:ObjectCreated:Put","s3":{"s3SchemaVersion":"1.0","configurationId":"Config","bucket":{"name":"inbox","arn":"arn:aws:s3:::inbox"},` +
		`"object":{"key":"a+b.txt","size":3,"eTag":"900150983cd24fb0d6963f7d28e17f72","sequencer":"17F0A1B2C3D4E5F6"}}}]}`
	deletedBody = `{"Records":[{"eventVersion":"2.1","eventTime":"2026-11-28T11:59:59.123Z","eventName":"ObjectRemoved:Delete","s3":{"bucket":{"name":"inbox"},"object":{"key":"gone","sequencer":"00"}}}]}`
	gridBody    = `[{"id":"831e1650-001e-001b-66ab-eeb76e069631","topic":"/subscriptions/x/resourceGroups/r/providers/Microsoft.Storage/storageAccounts/acct",` +
		`"subject":"/blobServices/default/containers/in/blobs/a.txt","eventType":"Microsoft.Storage.BlobCreated","eventTime":"2026-11-28T11:59:59.1Z","dataVersion":"","metadataVersion":"1",` +
		`"data":{"api":"PutBlob","eTag":"\"0x8D4BCC2E4835CD0\"","contentType":"text/plain","contentLength":3,"blobType":"BlockBlob","url":"https://acct.blob.core.windows.net/in/a.txt","sequencer":"00000000000004420000000000028963"}}]`
	cloudBody = `{"specversion":"1.0","id":"9","source":"/subscriptions/x/resourceGroups/r/providers/Microsoft.Storage/storageAccounts/acct","subject":"/blobServices/default/containers/in/blobs/a.txt",` +
		`"type":"Microsoft.Storage.BlobCreated","time":"2026-11-28T11:59:59.1Z","data":{"api":"PutBlob","eTag":"0x8D4BCC2E4835CD0","contentLength":3,"blobType":"BlockBlob","url":"https://acct.blob.core.windows.net/in/a.txt","sequencer":"1"}}`
)

// deep is valid JSON, nested too deep, with the member before it.
func deep(member string) string {
	return `{` + member + `"deep":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`
}
