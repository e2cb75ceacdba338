package connectors

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Content ends well only if it is what was announced, and its last bytes are
// held back until that is known.
func TestContent(t *testing.T) {
	sum := sha256.Sum256([]byte("hello"))
	broken, denied := errors.New("broken"), fault.New(fault.Denied, "source", "", nil)
	for name, c := range map[string]struct {
		r    io.Reader
		size int64
		hash []byte
		kind fault.Kind // Other: well
	}{
		"as announced":           {strings.NewReader("hello"), 5, sum[:], fault.Other},
		"byte by byte":           {iotest.OneByteReader(strings.NewReader("hello")), 5, sum[:], fault.Other},
		"end with data":          {iotest.DataErrReader(strings.NewReader("hello")), 5, sum[:], fault.Other},
		"size unknown":           {strings.NewReader("hello"), -1, sum[:], fault.Other},
		"hash unknown":           {strings.NewReader("hello"), 5, nil, fault.Other},
		"nothing":                {strings.NewReader(""), 0, nil, fault.Other},
		"short":                  {strings.NewReader("hell"), 5, nil, fault.Changed},
		"long":                   {strings.NewReader("hello!"), 5, sum[:], fault.Changed},
		"long, byte by byte":     {iotest.OneByteReader(strings.NewReader("hello!")), 5, sum[:], fault.Changed},
		"other bytes":            {strings.NewReader("hallo"), 5, sum[:], fault.Changed},
		"other, size unknown":    {strings.NewReader("hallo"), -1, sum[:], fault.Changed},
		"broken":                 {io.MultiReader(strings.NewReader("hel"), iotest.ErrReader(broken)), 5, nil, fault.Unavailable},
		"with a kind":            {iotest.ErrReader(denied), 5, nil, fault.Denied},
		"no progress at the end": {io.MultiReader(strings.NewReader("hello"), stuck{}), 5, nil, fault.Unavailable},
	} {
		in := NewContent(t.Context(), c.r, PutOptions{Size: c.size, SHA256: c.hash})
		var got bytes.Buffer
		_, err := io.Copy(&got, in)
		failed := in.Failure("test.Put", "k")
		if well := c.kind == fault.Other; well != (err == nil) || well != (failed == nil) || well != (in.Err() == nil) || fault.KindOf(failed) != c.kind {
			t.Errorf("%s: %v, %v", name, err, failed)
		}
		if whole := got.String() == "hello"; c.kind == fault.Other && (int64(got.Len()) != in.Size()) || c.kind != fault.Other && c.size >= 0 && whole {
			t.Errorf("%s: %q came", name, got.String())
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in := NewContent(ctx, strings.NewReader("hello"), PutOptions{Size: 5})
	if _, err := io.ReadAll(in); !errors.Is(err, context.Canceled) || in.Failure("test.Put", "k") != nil {
		t.Errorf("after the end: %v, %v", err, in.Failure("test.Put", "k"))
	}
}

// stuck is a reader that never brings anything.
type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// A body ends well only after all that was announced, and tells a break, a stall
// and the end of the caller's context apart.
func TestBody(t *testing.T) {
	corrupt := fault.New(fault.Corrupt, "test.Read", "", nil)
	for name, c := range map[string]struct {
		r    io.Reader
		size int64
		kind fault.Kind // Other: well
		says string
	}{
		"whole":        {strings.NewReader("hello"), 5, fault.Other, ""},
		"size unknown": {strings.NewReader("hello"), -1, fault.Other, ""},
		"short":        {strings.NewReader("hell"), 5, fault.Unavailable, "ended early"},
		"long":         {strings.NewReader("hello!"), 5, fault.Unavailable, ""},
		"broken":       {io.MultiReader(strings.NewReader("hel"), iotest.ErrReader(errors.New("reset"))), 5, fault.Unavailable, "reset"},
		"with a kind":  {iotest.ErrReader(corrupt), 5, fault.Corrupt, ""},
	} {
		_, b := NewBody(t.Context(), "test.Read", "k", 0, time.Minute, time.Minute)
		b.Came(io.NopCloser(c.r))
		b.Is(object.Info{Key: "k", Size: c.size})
		_, err := io.ReadAll(b)
		if fault.KindOf(err) != c.kind || (err == nil) != (c.kind == fault.Other) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if err := errors.Join(b.Close(), b.Close()); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		under, b := NewBody(t.Context(), "test.Read", "k", 0, time.Minute, time.Second)
		b.Came(until{under})
		if _, err := b.Read(make([]byte, 1)); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "no byte came for 1s") {
			t.Errorf("stalled: %v", err)
		}
		_ = b.Close()

		under, b = NewBody(t.Context(), "test.Read", "k", 0, time.Second, time.Minute)
		<-under.Done() // no reply
		_ = b.Close()

		ended := errors.New("the unit was closed")
		ctx, cancel := context.WithCancelCause(t.Context())
		under, b = NewBody(ctx, "test.Read", "k", 0, time.Minute, time.Minute)
		b.Came(until{under})
		cancel(ended)
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, ended) {
			t.Errorf("at the caller's end: %v", err)
		}
		_ = b.Close()
	})
}

// until is a body that brings nothing until its call is ended.
type until struct{ ctx context.Context }

func (u until) Read([]byte) (int, error) {
	<-u.ctx.Done()
	return 0, u.ctx.Err()
}

func (until) Close() error { return nil }

// Beyond the end is Invalid, at the end is nothing.
func TestAtEnd(t *testing.T) {
	info := object.Info{Key: "k", Size: 5}
	r, err := AtEnd(t.Context(), "test.Open", info, 5)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || len(b) != 0 || r.Info().Size != 5 {
		t.Errorf("%q, %v, %+v", b, err, r.Info())
	}
	_ = r.Close()
	if _, err := AtEnd(t.Context(), "test.Open", info, 6); !fault.Is(err, fault.Invalid) {
		t.Errorf("beyond: %v", err)
	}
	for header, ok := range map[string]bool{"bytes 2-4/5": true, "bytes 1-4/5": false, "bytes 2-4/*": false, "": false} {
		if size, err := RangeSize(header, 2); (err == nil) != ok || ok && size != 5 {
			t.Errorf("%q: %d, %v", header, size, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for s, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "-7": 0, "99999999999999": time.Hour, "86400": time.Hour, "soon": 0,
		"Sun, 06 Nov 1994 08:49:37 GMT": 0, time.Now().Add(48 * time.Hour).UTC().Format(http.TimeFormat): time.Hour} {
		if got := RetryAfter(http.Header{"Retry-After": {s}}); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}
