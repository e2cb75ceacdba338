package gcs

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

// TestEmulatorVariable: STORAGE_EMULATOR_HOST, by which Google's library lets
// itself be led elsewhere, does not lead a unit away from its endpoint.
func TestEmulatorVariable(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s went to the variable's host", r.Method, r.URL)
	}))
	defer elsewhere.Close()
	for _, value := range []string{elsewhere.URL, strings.TrimPrefix(elsewhere.URL, "http://")} {
		t.Setenv("STORAGE_EMULATOR_HOST", value)
		p := newPlace(t, servers.CheckedGCS(t), false)
		lim := defaultLimits
		lim.chunk = 256 << 10
		d := p.openWith(t, lim)
		ctx, content := t.Context(), bytes.Repeat([]byte("0123456789"), 60_000)
		info, err := d.Put(ctx, "key", bytes.NewReader(content), connectors.PutOptions{Size: int64(len(content))})
		if err != nil {
			t.Fatal(err)
		}
		ref := object.Ref{Key: "key", Version: info.Version}
		if got, err := read(ctx, d, ref, 0); err != nil || !bytes.Equal(got, content) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		_, tag := d.Tag(ctx, ref, map[string]string{"lw": "clean"})
		_, cp := d.Copy(ctx, ref, "copy", connectors.PutOptions{})
		_, rm := d.Remove(ctx, ref, connectors.Fence{})
		listed := 0
		for _, err := range d.List(ctx, "", "") {
			if err != nil {
				t.Error(err)
			}
			listed++
		}
		if tag != nil || cp != nil || rm != nil || listed != 1 {
			t.Errorf("tag %v, copy %v, remove %v, %d listed", tag, cp, rm, listed)
		}
		found, err := Discover(ctx, connectors.Unit{URL: "gs://?project=test&anonymous=true&endpoint=" + p.srv.Endpoint})
		if err != nil || len(found) != 1 || found[0].Name != p.bucket {
			t.Errorf("found %v, %v", found, err)
		}
		_ = d.Close()
	}
}

// TestNothingIsTriedAgain: an error that passes is told at once, whatever was
// asked: connectors.Storage tries again, and nobody below it.
func TestNothingIsTriedAgain(t *testing.T) {
	var calls atomic.Int32
	d := standIn(t, nil, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Query().Get("uploadType") == "resumable" && !r.URL.Query().Has("upload_id") {
			w.Header().Set("Location", "http://"+r.Host+r.URL.Path+"?uploadType=resumable&upload_id=1")
			return
		}
		sayError(w, 503, "backendError", "Backend Error")
	})
	d.limits.chunk = 256 << 10
	ctx, ref := t.Context(), object.Ref{Key: "key", Version: "5"}
	put := func(size int) error {
		_, err := d.Put(ctx, "key", strings.NewReader(strings.Repeat("x", size)), connectors.PutOptions{Size: int64(size)})
		return err
	}
	f := found{describe("key", anAttrs(5)), anAttrs(5)}
	for name, c := range map[string]struct {
		act   func() error
		calls int32
	}{
		"stat":   {func() error { _, err := d.Stat(ctx, ref); return err }, 1},
		"open":   {func() error { _, err := d.Open(ctx, ref, 0); return err }, 1},
		"put":    {func() error { return put(1) }, 1},
		"chunks": {func() error { return put(300 << 10) }, 2}, // the session, and its first chunk
		"remove": {func() error { _, err := d.delete(ctx, "test", "key", "in/key", 5, 5); return err }, 1},
		"tag":    {func() error { return d.patch(ctx, "test", "key", f, 3, nil) }, 1},
		"copy": {func() error {
			_, err := d.rewrite(ctx, "test", "key", rewriting{from: "in/key", gen: 5, to: "in/copy"})
			return err
		}, 1},
		"list": {func() error { _, err := d.page(ctx, cursor{limit: 1}); return err }, 1},
	} {
		calls.Store(0)
		if err := c.act(); !fault.Is(err, fault.Unavailable) || calls.Load() != c.calls {
			t.Errorf("%s: %v after %d calls, want %d", name, err, calls.Load(), c.calls)
		}
	}
}

// TestRefusedSession: what the server says to the beginning of a larger put is
// told, and not that the library then stopped reading.
func TestRefusedSession(t *testing.T) {
	d := standIn(t, nil, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		sayError(w, 412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
	})
	d.limits.chunk = 256 << 10
	for range 200 {
		_, err := d.Put(t.Context(), "key", strings.NewReader(strings.Repeat("x", 1<<20)), connectors.PutOptions{Size: 1 << 20})
		if !fault.Is(err, fault.Exists) {
			t.Fatalf("got %v", err)
		}
	}
}

// TestNeverFinished: a larger put whose content turns out wrong never sends the
// server a last chunk, wherever it broke.
func TestNeverFinished(t *testing.T) {
	const chunk = 256 << 10
	var ends atomic.Int32
	d := standIn(t, nil, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch {
		case !r.URL.Query().Has("upload_id") && r.URL.Query().Get("uploadType") == "resumable":
			w.Header().Set("Location", "http://"+r.Host+r.URL.Path+"?uploadType=resumable&upload_id=1")
		case strings.HasSuffix(r.Header.Get("Content-Range"), "/*"):
			w.Header().Set("X-Http-Status-Code-Override", "308") // as asked for by X-GUploader-No-308
			w.Header().Set("Range", strings.Replace(strings.TrimSuffix(r.Header.Get("Content-Range"), "/*"), "bytes ", "bytes=", 1))
		case r.Method != http.MethodDelete:
			ends.Add(1)
			say(w, anObject(5))
		}
	})
	d.limits.chunk = chunk
	broken := errors.New("the source broke")
	for _, size := range []int{chunk, chunk + 1, 2 * chunk, 3*chunk - 1} {
		content := strings.Repeat("x", size)
		for name, c := range map[string]struct {
			r   io.Reader
			opt connectors.PutOptions
		}{
			"broken": {io.MultiReader(strings.NewReader(content), errReader{broken}), connectors.PutOptions{Size: -1}},
			"hash":   {strings.NewReader(content), connectors.PutOptions{Size: -1, SHA256: sum([]byte("other"))}},
			"short":  {strings.NewReader(content), connectors.PutOptions{Size: 4 * chunk}},
		} {
			for range 20 {
				if _, err := d.Put(t.Context(), "key", c.r, c.opt); !fault.Is(err, fault.Changed, fault.Unavailable) || ends.Load() != 0 {
					t.Fatalf("%s at %d: %v, %d ends", name, size, err, ends.Load())
				}
				if s, ok := c.r.(io.Seeker); ok {
					_, _ = s.Seek(0, io.SeekStart)
				} else {
					break // it can be read once
				}
			}
		}
	}
	if _, err := d.Put(t.Context(), "key", strings.NewReader(strings.Repeat("x", chunk)), connectors.PutOptions{Size: chunk}); ends.Load() != 1 {
		t.Errorf("a good one: %v, %d ends", err, ends.Load())
	}
}

// TestUnknownLength: a reply that does not say how long it is can be read, and
// Google's library does not log about it.
func TestUnknownLength(t *testing.T) {
	var logged bytes.Buffer
	log.SetOutput(&logged)
	defer log.SetOutput(os.Stderr)
	d := standIn(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Goog-Generation", "5")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "content")
	})
	got, err := read(t.Context(), d, object.Ref{Key: "key", Version: "5"}, 0)
	if err != nil || string(got) != "content" || logged.Len() > 0 {
		t.Errorf("read %q, %v; logged %q", got, err, logged.String())
	}
}

// TestChecksum: content that is not what the server says it stored is an error
// that is not resumed behind its end.
func TestChecksum(t *testing.T) {
	d := standIn(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		sayContent(w, 5, "content", "X-Goog-Hash", "crc32c=AAAAAA==,md5=1B2M2Y8AsgTpgAmY7PhCfg==")
	})
	if got, err := read(t.Context(), d, object.Ref{Key: "key", Version: "5"}, 0); !fault.Is(err, fault.Corrupt) {
		t.Errorf("read %q, %v", got, err)
	}
}
