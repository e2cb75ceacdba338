package azureblob

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

// A between is a proxy in front of Azurite that lets a stranger act once, right
// before a request of ours that it waits for.
type between struct {
	proxy *httputil.ReverseProxy
	mu    sync.Mutex
	is    func(*http.Request) bool
	act   func()
}

// openBetween opens a driver through a between.
func (p place) openBetween(t *testing.T) (*Driver, *between) {
	t.Helper()
	at, err := url.Parse(p.srv.Blob)
	if err != nil {
		t.Fatal(err)
	}
	b := &between{proxy: &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = at.Scheme, at.Host },
		Transport: &http.Transport{DisableKeepAlives: true},
	}}
	srv := httptest.NewServer(b)
	t.Cleanup(srv.Close)
	u := p.unit()
	u.URL = strings.Replace(u.URL, "http://"+at.Host, srv.URL, 1)
	d, err := open(t.Context(), u, defaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d, b
}

// before sets what happens before the next request that is is true for.
func (b *between) before(is func(*http.Request) bool, act func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.is, b.act = is, act
}

func (b *between) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	if b.act != nil && b.is(r) {
		act := b.act
		b.act = nil
		act()
	}
	b.mu.Unlock()
	b.proxy.ServeHTTP(w, r)
}

func isComp(method, comp string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method && r.URL.Query().Get("comp") == comp }
}

// TestBetween: whatever a stranger writes between two requests of one act of
// ours stays as he wrote it, and the act says that it came too late.
func TestBetween(t *testing.T) {
	t.Parallel()
	srv := servers.Azurite(t)
	ctx := context.Background()
	remove := func(d *Driver, ref object.Ref) error { _, err := d.Remove(ctx, ref, connectors.Fence{}); return err }
	tag := func(d *Driver, ref object.Ref) error {
		_, err := d.Tag(ctx, ref, map[string]string{"lw": "x"})
		return err
	}
	for name, c := range map[string]struct {
		is      func(*http.Request) bool
		act     func(*Driver, object.Ref) error
		kinds   []fault.Kind // of the act; none: it succeeds
		gone    bool         // the stranger removes instead of replacing
		refused bool         // the stranger is
	}{
		"remove: before the lease":         {isComp("PUT", "lease"), remove, []fault.Kind{fault.Changed}, false, false},
		"remove: removed before the lease": {isComp("PUT", "lease"), remove, []fault.Kind{fault.NotFound, fault.Changed}, true, false},
		"remove: under the lease":          {isComp("DELETE", ""), remove, nil, false, true},
		"tag: before they are read":        {isComp("GET", "tags"), tag, []fault.Kind{fault.Changed}, false, false},
		"tag: before they are written":     {isComp("PUT", "tags"), tag, []fault.Kind{fault.Changed}, false, false},
		"tag: removed before":              {isComp("PUT", "tags"), tag, []fault.Kind{fault.Changed}, true, false},
		"metadata as tags: before they are read": {isComp("GET", "list"), func(d *Driver, ref object.Ref) error {
			d.tagless.Store(true)
			return tag(d, ref)
		}, []fault.Kind{fault.Changed}, false, false},
		"metadata as tags: before they are written": {isComp("PUT", "metadata"), func(d *Driver, ref object.Ref) error {
			d.tagless.Store(true)
			return tag(d, ref)
		}, []fault.Kind{fault.Changed}, false, false},
		"copy: the source": {isComp("PUT", ""), func(d *Driver, ref object.Ref) error {
			_, err := d.Copy(ctx, ref, "copy", connectors.PutOptions{})
			return err
		}, []fault.Kind{fault.Changed}, false, false},
		"copy: the destination": {isComp("PUT", ""), func(d *Driver, ref object.Ref) error {
			_, err := d.Put(ctx, "other", strings.NewReader("other"), connectors.PutOptions{Size: 5})
			if err == nil {
				_, err = d.Copy(ctx, object.Ref{Key: "other"}, ref.Key, connectors.PutOptions{IfVersion: ref.Version})
			}
			return err
		}, []fault.Kind{fault.Changed}, false, false},
		"put in its place": {isComp("PUT", ""), func(d *Driver, ref object.Ref) error {
			_, err := d.Put(ctx, ref.Key, strings.NewReader("ours"), connectors.PutOptions{Size: 4, IfVersion: ref.Version})
			return err
		}, []fault.Kind{fault.Changed}, false, false},
		"put in blocks": {isComp("PUT", "blocklist"), func(d *Driver, ref object.Ref) error {
			d.limits.block = 1 << 10
			_, err := d.Put(ctx, ref.Key, bytes.NewReader(make([]byte, 5000)), connectors.PutOptions{Size: -1, IfVersion: ref.Version})
			return err
		}, []fault.Kind{fault.Changed, fault.Unavailable}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, srv)
			d, b := p.openBetween(t)
			tags := map[string]string{"their": "own"}
			p.put(t, "key", []byte("seen"))
			ref := object.Ref{Key: "key", Version: stat(t, d, "key").Version}
			var stranger error
			b.before(c.is, func() {
				if c.gone {
					p.remove(t, "key")
					return
				}
				if stranger = p.tryPut("key", []byte("the stranger's")); stranger == nil {
					if _, err := p.blob("key").SetTags(ctx, tags, nil); err != nil {
						t.Error(err)
					}
				}
			})
			err := c.act(d, ref)
			b.mu.Lock()
			waiting, refusal := b.act != nil, stranger
			b.mu.Unlock()
			if waiting {
				t.Fatal("the request that was waited for did not come")
			}
			if len(c.kinds) == 0 && err != nil || len(c.kinds) > 0 && !fault.Is(err, c.kinds...) {
				t.Errorf("the act: %v, want %v", err, c.kinds)
			}
			if (refusal != nil) != c.refused {
				t.Errorf("the stranger: %v", refusal)
			}
			if c.gone || c.refused {
				if _, err := d.Stat(ctx, object.Ref{Key: "key"}); !fault.Is(err, fault.NotFound) {
					t.Errorf("it is still there: %v", err)
				}
				if err := p.tryPut("key", []byte("later")); err != nil {
					t.Errorf("a writer afterwards: %v", err)
				}
				return
			}
			want(t, d, "key", "the stranger's")
			d.tagless.Store(false)
			if name == "tag: before they are written" {
				tags = nil // Azurite ignores the condition, and ours took their place
			}
			if got, err := d.Tags(ctx, object.Ref{Key: "key"}); err != nil || !maps.Equal(got, tags) {
				t.Errorf("its tags are %v, %v", got, err)
			}
			if _, err := d.Stat(ctx, object.Ref{Key: "copy"}); !fault.Is(err, fault.NotFound) {
				t.Errorf("a copy was made: %v", err)
			}
		})
	}
}

// TestOthersTags: someone who replaces all tags between our reading and our
// verifying does not make ours vanish, nor we his.
func TestOthersTags(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.Azurite(t))
	d, b := p.openBetween(t)
	p.put(t, "key", []byte("x"))
	ref := object.Ref{Key: "key", Version: stat(t, d, "key").Version}
	d.minds.Set(false) // it has been asked
	reads := 0
	b.before(func(r *http.Request) bool {
		if isComp("GET", "tags")(r) {
			reads++
		}
		return reads == 2 // the verification
	}, func() {
		if _, err := p.blob("key").SetTags(t.Context(), map[string]string{"theirs": "2"}, nil); err != nil {
			t.Error(err)
		}
	})
	if _, err := d.Tag(t.Context(), ref, map[string]string{"lw": "x"}); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Tags(t.Context(), ref); err != nil || !maps.Equal(got, map[string]string{"theirs": "2", "lw": "x"}) {
		t.Errorf("tags %v, %v", got, err)
	}
}

// TestTagsUnderCondition, on a stand-in without versions that minds the condition
// on tags: the stranger's stay as they are.
func TestTagsUnderCondition(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	s.versionless = true
	d := s.open(defaultLimits)
	s.stranger(t, "PUT", "in/key", []byte("seen"))
	ref := object.Ref{Key: "key", Version: stat(t, d, "key").Version}
	if info, err := d.Tag(t.Context(), ref, map[string]string{"lw": "1"}); err != nil || info.Version != ref.Version || !d.minds.Yes() {
		t.Fatalf("%+v, %v", info, err)
	}
	s.mu.Lock()
	s.is, s.before = isComp("PUT", "tags"), func() {
		s.stranger(t, "PUT", "in/key", []byte("the stranger's"))
		s.mu.Lock()
		s.blobs["in/key"].current.tags["their"] = "own"
		s.mu.Unlock()
	}
	s.mu.Unlock()
	if _, err := d.Tag(t.Context(), ref, map[string]string{"lw": "2"}); !fault.Is(err, fault.Changed) {
		t.Errorf("Tag: %v", err)
	}
	if got, err := d.Tags(t.Context(), object.Ref{Key: "key"}); err != nil || !maps.Equal(got, map[string]string{"their": "own"}) {
		t.Errorf("tags %v, %v", got, err)
	}
}

// TestPendingCopy, on the stand-in that keeps versions: Azurite copies at once.
// A copy in the background is waited for; one that takes too long, or whose
// context ends, is aborted and leaves nothing.
func TestPendingCopy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		polls  int
		long   time.Duration
		cancel bool
		kind   fault.Kind
	}{
		"ends":      {2, time.Minute, false, fault.Other},
		"too long":  {1 << 30, 100 * time.Millisecond, false, fault.Unavailable},
		"cancelled": {1 << 30, time.Minute, true, fault.Other},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t)
			s.pending = c.polls
			lim := defaultLimits
			lim.long = c.long
			d := s.open(lim)
			s.stranger(t, "PUT", "in/src", []byte("content"))
			src := stat(t, d, "src")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.cancel {
				stop := time.AfterFunc(50*time.Millisecond, cancel)
				defer stop.Stop()
			}
			info, err := d.Copy(ctx, object.Ref{Key: "src", Version: src.Version}, "dst", connectors.PutOptions{Size: 7})
			if c.cancel != fault.Canceled(err) || fault.KindOf(err) != c.kind {
				t.Fatalf("%+v, %v", info, err)
			}
			if err == nil {
				want(t, d, "dst", "content")
				return
			}
			left := versionsOf(t, d, "dst")
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.abort != 1 || len(left) != 0 {
				t.Errorf("%d aborts; left: %q", s.abort, left)
			}
		})
	}
}

// TestStall: content that makes no progress ends the call, and a body that ends
// early is no end.
func TestStall(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Has("comp"):
			_, _ = io.WriteString(w, "<EnumerationResults/>")
		case r.Method == http.MethodGet:
			w.Header().Set("ETag", `"0x1"`)
			w.Header().Set("Content-Length", "7")
			_, _ = io.WriteString(w, "con")
			_ = http.NewResponseController(w).Flush()
			if strings.HasSuffix(r.URL.Path, "early") {
				panic(http.ErrAbortHandler)
			}
			<-stop
		}
	}))
	defer srv.Close()
	defer close(stop)
	lim := defaultLimits
	lim.stall = 100 * time.Millisecond
	d, err := open(t.Context(), connectors.Unit{URL: "azblob://account/c?endpoint=" + srv.URL, Options: map[string]string{"key": "c2VjcmV0"}}, lim)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for key, words := range map[string]string{"early": "unexpected EOF", "stalled": "no byte came"} {
		b, err := read(t.Context(), d, object.Ref{Key: key}, 0)
		if string(b) != "con" || !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %q, %v", key, b, err)
		}
	}
}
