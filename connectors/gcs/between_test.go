package gcs

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

	"cloud.google.com/go/storage"

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
	transport := &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}
	srv := httptest.NewServer(&httputil.ReverseProxy{
		Transport:      transport,
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: after,
		ErrorLog:       log.New(io.Discard, "", 0),
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	t.Cleanup(func() { srv.Close(); transport.CloseIdleConnections() })
	p.srv.Endpoint = srv.URL
	return p
}

// looked runs f once, at the first reply to a look at the object key.
func looked(p place, key string, f func()) func(*http.Response) error {
	var done atomic.Bool
	return func(r *http.Response) error {
		path := "/storage/v1/b/" + p.bucket + "/o/" + p.prefix + key
		if r.Request.Method == http.MethodGet && r.Request.URL.Path == path && done.CompareAndSwap(false, true) {
			f()
		}
		return nil
	}
}

// TestReplacedAfterTheLook: the object is replaced after the look that each act
// begins with, so that the precondition alone must save it.
func TestReplacedAfterTheLook(t *testing.T) {
	t.Parallel()
	srv := servers.CheckedGCS(t)
	for name, c := range map[string]struct {
		act  func(d *Driver, ref object.Ref) error
		kind fault.Kind
	}{
		"remove": {func(d *Driver, ref object.Ref) error {
			_, err := d.Remove(t.Context(), ref, connectors.Fence{})
			return err
		}, fault.NotFound},
		"copy": {func(d *Driver, ref object.Ref) error {
			_, err := d.Copy(t.Context(), ref, "copy", connectors.PutOptions{})
			return err
		}, fault.Changed},
		"tag": {func(d *Driver, ref object.Ref) error {
			_, err := d.Tag(t.Context(), ref, map[string]string{"lw": "infected"})
			return err
		}, fault.Changed},
		"put": {func(d *Driver, ref object.Ref) error {
			_, err := d.Stat(t.Context(), ref)
			if err != nil {
				return err
			}
			_, err = d.Put(t.Context(), "key", strings.NewReader("ours"), connectors.PutOptions{Size: 4, IfVersion: ref.Version})
			return err
		}, fault.Changed},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, srv, false)
			ref := object.Ref{Key: "key", Version: token(p.put(t, "key", []byte("old")))}
			d := between(t, p, looked(p, "key", func() { p.put(t, "key", []byte("new, longer")) })).open(t)
			d.honours.put.Set(true)
			if err := c.act(d, ref); !fault.Is(err, c.kind, fault.Changed) {
				t.Errorf("got %v, want %v", err, c.kind)
			}
			got, err := read(t.Context(), d, object.Ref{Key: "key"}, 0)
			if err != nil || string(got) != "new, longer" {
				t.Errorf("the key reads %q, %v", got, err)
			}
			if tags, err := d.Tags(t.Context(), object.Ref{Key: "key"}); err != nil || len(tags) != 0 {
				t.Errorf("the new object has the tags %v, %v", tags, err)
			}
			if _, err := d.Stat(t.Context(), object.Ref{Key: "copy"}); !fault.Is(err, fault.NotFound) {
				t.Errorf("the copy: %v", err)
			}
		})
	}
}

// TestMetadataChangedWhileTagging: what another writes into the metadata at the
// same time is kept, and ours comes beside it.
func TestMetadataChangedWhileTagging(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.CheckedGCS(t), false)
	ref := object.Ref{Key: "key", Version: token(p.put(t, "key", []byte("content")))}
	d := between(t, p, looked(p, "key", func() {
		late := storage.ObjectAttrsToUpdate{Metadata: map[string]string{"foreign": "late"}}
		if _, err := p.object(t, "key").Update(t.Context(), late); err != nil {
			t.Error(err)
		}
	})).open(t)
	d.honours.patch.Set(true)
	if _, err := d.Tag(t.Context(), ref, map[string]string{"lw": "clean"}); err != nil {
		t.Fatal(err)
	}
	tags, err := d.Tags(t.Context(), ref)
	if want := map[string]string{"foreign": "late", "lw": "clean"}; err != nil || !maps.Equal(tags, want) {
		t.Errorf("tags %v, %v; want %v", tags, err, want)
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
	p := newPlace(t, servers.FakeGCS(t), false)
	content := bytes.Repeat([]byte("0123456789"), 50_000)
	p.put(t, "key", content)
	var cuts atomic.Int32
	u := between(t, p, func(r *http.Response) error {
		if r.Request.URL.Query().Get("alt") == "media" && strings.HasSuffix(r.Request.URL.Path, "/key") && cuts.Add(1) <= 2 {
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
}
