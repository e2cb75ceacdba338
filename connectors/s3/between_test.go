package s3

import (
	"bytes"
	"errors"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

// between puts a proxy before p's server that runs after on each reply before
// the driver gets it. What after does comes at exactly that moment. It returns
// p as the driver shall see it.
func between(t *testing.T, p place, after func(*http.Response) error) place {
	t.Helper()
	target, err := url.Parse(p.srv.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
		ModifyResponse: after,
		ErrorLog:       log.New(io.Discard, "", 0),
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	srv := httptest.NewServer(proxy)
	t.Cleanup(func() { srv.Close(); transport.CloseIdleConnections() })
	p.srv.Endpoint = srv.URL
	return p
}

// once runs f at the first reply to a request with the method and the query key.
func once(method, query string, f func()) func(*http.Response) error {
	var done atomic.Bool
	return func(r *http.Response) error {
		if r.Request.Method == method && r.Request.URL.Query().Has(query) && done.CompareAndSwap(false, true) {
			f()
		}
		return nil
	}
}

// TestReplacedWhileTagging: the object is replaced between what Tag read and
// what it wrote; the new object must not keep what speaks of the old one.
func TestReplacedWhileTagging(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, p place) {
		real := p.open(t)
		p.put(t, "key", []byte("old"))
		if err := real.putTags(t.Context(), "test", "key", nil, map[string]string{"foreign": "of the old"}); err != nil {
			t.Fatal(err)
		}
		d := between(t, p, once(http.MethodGet, "tagging", func() { p.put(t, "key", []byte("new, longer")) })).open(t)
		info, err := d.Stat(t.Context(), object.Ref{Key: "key"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Tag(t.Context(), object.Ref{Key: "key", Version: info.Version}, map[string]string{"lw": "clean"})
		if d.keeps.Load() && err != nil || !d.keeps.Load() && !fault.Is(err, fault.Changed) {
			t.Errorf("Tag: %v", err)
		}
		tags, err := real.Tags(t.Context(), object.Ref{Key: "key"})
		if err != nil || len(tags) != 0 {
			t.Errorf("the new object has the tags %v, %v", tags, err)
		}
	})
}

// TestTagsOverwritten: someone else replaces the tags just after we wrote ours.
func TestTagsOverwritten(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, p place) {
		real := p.open(t)
		p.put(t, "key", []byte("content"))
		d := between(t, p, once(http.MethodPut, "tagging", func() {
			if err := real.putTags(t.Context(), "test", "key", nil, map[string]string{"foreign": "late"}); err != nil {
				t.Error(err)
			}
		})).open(t)
		info, err := d.Stat(t.Context(), object.Ref{Key: "key"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Tag(t.Context(), object.Ref{Key: "key", Version: info.Version}, map[string]string{"lw": "clean"}); err != nil {
			t.Fatal(err)
		}
		tags, err := real.Tags(t.Context(), object.Ref{Key: "key"})
		if want := map[string]string{"foreign": "late", "lw": "clean"}; err != nil || !maps.Equal(tags, want) {
			t.Errorf("tags %v, %v; want %v", tags, err, want)
		}
	})
}

// TestReplacedBeforeDelete: the object is replaced after the HEAD of a removal.
func TestReplacedBeforeDelete(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.Versitygw(t), false)
	p.put(t, "key", []byte("old"))
	info, err := p.open(t).Stat(t.Context(), object.Ref{Key: "key"})
	if err != nil {
		t.Fatal(err)
	}
	var replaced atomic.Bool
	d := between(t, p, func(r *http.Response) error {
		if r.Request.Method == http.MethodHead && replaced.CompareAndSwap(false, true) {
			p.put(t, "key", []byte("new"))
		}
		return nil
	}).open(t)
	if _, err := d.Remove(t.Context(), object.Ref{Key: "key", Version: info.Version}, connectors.Fence{}); !fault.Is(err, fault.Changed) {
		t.Errorf("Remove: %v", err)
	}
	if got, err := read(t.Context(), d, object.Ref{Key: "key"}, 0); err != nil || string(got) != "new" {
		t.Errorf("the key reads %q, %v", got, err)
	}
}

// A cut body ends after n bytes, as a broken connection does.
type cut struct {
	io.ReadCloser
	left int
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, errors.New("the connection broke")
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// TestBrokenReadIsResumed: a body that breaks off is Unavailable, never an end;
// the storage reads on where it broke, and only the same content.
func TestBrokenReadIsResumed(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, p place) {
		content := bytes.Repeat([]byte("0123456789"), 50_000)
		p.put(t, "key", content)
		var cuts atomic.Int32
		u := between(t, p, func(r *http.Response) error {
			if r.Request.Method == http.MethodGet && strings.HasSuffix(r.Request.URL.Path, "/key") && cuts.Add(1) <= 2 {
				r.Body = &cut{r.Body, 100_001}
			}
			return nil
		}).unit()
		d, err := Open(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		got, err := read(t.Context(), d, object.Ref{Key: "key"}, 0)
		if !fault.Is(err, fault.Unavailable) || len(got) > 100_001 {
			t.Errorf("a broken read: %d bytes, %v", len(got), err)
		}
		probed, err := connectors.Probe(t.Context(), u, d)
		if err != nil {
			t.Fatal(err)
		}
		st := connectors.NewStorage(u, d, connectors.Options{Probed: &probed})
		defer func() { _ = st.Close() }()
		r, err := st.Open(t.Context(), object.Ref{Key: "key"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err = io.ReadAll(r)
		if cerr := r.Close(); err != nil || cerr != nil || !bytes.Equal(got, content) || cuts.Load() != 3 {
			t.Errorf("resumed: %d of %d bytes, %v, %v, %d GETs", len(got), len(content), err, cerr, cuts.Load())
		}
	})
}

// stuck is a body that never comes.
type stuck struct {
	io.ReadCloser
	until <-chan struct{}
}

func (s stuck) Read([]byte) (int, error) {
	<-s.until
	return 0, io.ErrUnexpectedEOF
}

// TestStalledReadEnds: a server that goes silent holds nobody for ever.
func TestStalledReadEnds(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.Versitygw(t), false)
	p.put(t, "key", bytes.Repeat([]byte("x"), 1<<20))
	end := make(chan struct{})
	seen := between(t, p, func(r *http.Response) error {
		if strings.HasSuffix(r.Request.URL.Path, "/key") {
			r.Body = stuck{r.Body, end}
		}
		return nil
	})
	defer close(end)
	lim := defaultLimits
	lim.stall, lim.call = 100*time.Millisecond, 100*time.Millisecond
	d := seen.openWith(t, lim)
	started := time.Now()
	_, err := read(t.Context(), d, object.Ref{Key: "key"}, 0)
	if !fault.Is(err, fault.Unavailable) || time.Since(started) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(started), err)
	}
}

// TestKeysTheServerCannotSpell: what the server cannot spell is a gap, not a loss.
func TestKeysTheServerCannotSpell(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.Versitygw(t), false)
	p.put(t, "a", nil)
	p.put(t, "bad/x\x01y", []byte("hidden"))
	p.put(t, "bad/\uFFFD", []byte("really so"))
	p.put(t, "z", nil)
	var keys []string
	var gaps []string
	for info, err := range p.open(t).List(t.Context(), "", "") {
		var gap *connectors.Gap
		switch {
		case errors.As(err, &gap):
			gaps = append(gaps, gap.Prefix)
		case err != nil:
			t.Fatal(err)
		default:
			keys = append(keys, info.Key)
		}
	}
	if strings.Join(keys, " ") != "a bad/\uFFFD z" || strings.Join(gaps, " ") != "bad/x" {
		t.Errorf("keys %q gaps %q", keys, gaps)
	}
}
