package connectortest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// patience is how long the suite waits for what must happen.
const patience = 20 * time.Second

func (s suite) open(t *testing.T) connectors.Driver {
	t.Helper()
	d := s.Open(t)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return d
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	t.Cleanup(cancel)
	return ctx
}

func wantKind(t *testing.T, what string, err error, kinds ...fault.Kind) {
	t.Helper()
	if !fault.Is(err, kinds...) {
		t.Errorf("%s: got %v, want a fault of kind %v", what, err, kinds)
	}
}

func must[T any](t *testing.T, what string) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return v
	}
}

// content reads an object whole.
func content(ctx context.Context, d connectors.Driver, ref object.Ref, offset int64) ([]byte, object.Info, error) {
	r, err := d.Open(ctx, ref, offset)
	if err != nil {
		return nil, object.Info{}, err
	}
	b, err := io.ReadAll(r)
	info := r.Info()
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return b, info, err
}

// list returns the keys of a listing; an error or a gap fails the test.
func list(t *testing.T, d connectors.Driver, prefix, start string) []string {
	t.Helper()
	var keys []string
	for info, err := range d.List(deadline(t), prefix, start) {
		if err != nil {
			t.Fatalf("List(%q, %q): %v", prefix, start, err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

func (s suite) caps(t *testing.T) {
	d := s.open(t)
	p, err := connectors.Probe(deadline(t), connectors.Unit{Name: "probed"}, d)
	if err != nil {
		t.Fatalf("Probe: %v", err)
	}
	st := connectors.NewStorage(connectors.Unit{Name: "probed"}, d, connectors.Options{Probed: &p})
	if diff := cmp.Diff(s.Wants, st.Caps()); diff != "" {
		t.Errorf("capabilities (-want +got):\n%s", diff)
	}
	if keys := list(t, d, "", ""); len(keys) != 0 {
		t.Errorf("the probe left %q behind", keys)
	}
}

func (s suite) missing(t *testing.T) {
	d, ctx := s.open(t), deadline(t)
	ref := object.Ref{Key: "nothing/here"}
	_, err := d.Stat(ctx, ref)
	wantKind(t, "Stat of nothing", err, fault.NotFound)
	_, _, err = content(ctx, d, ref, 0)
	wantKind(t, "Open of nothing", err, fault.NotFound)
	if keys := list(t, d, "", ""); len(keys) != 0 {
		t.Errorf("an empty place lists %q", keys)
	}
	if keys := list(t, d, "no/such/prefix", ""); len(keys) != 0 {
		t.Errorf("a prefix of nothing lists %q", keys)
	}
}

// oddKeys are names that strangers choose.
var oddKeys = []string{
	"plain.txt", "a b/c d.txt", "semi;colon&amp.txt", "per%20cent%2Fslash", "plus+plus", "quest?ion#hash", "quote'\"quote`",
	"new\nline", "tab\tcarriage\rreturn", "back\\slash", "ünï/cödé/日本語.txt", "e\u0301 composed", "\u00e9 precomposed",
	"not-utf8-\xff\xfe/\x80", "trailing space ", " leading space", "trailing.dot.", ".hidden", "..dots", "dots..", "a/...", "-rf", "--",
	"~home", "$HOME", "*?[glob]", "<xml>&</xml>", "CON", "aux.txt", "C:colon", "UPPER", "upper", "emoji-😀", "bidi-\u202egnp.exe",
	"control-\x01-\x7f", "long/" + strings.Repeat("n", 255), "deep/" + strings.Repeat("d/", 60) + "leaf", "=", ",", "@version", "a=b&c=d",
}

func (s suite) keys(t *testing.T) {
	d, ctx := s.open(t), deadline(t)
	written := map[string][]byte{}
	for i, key := range oddKeys {
		if s.Refuses != nil && s.Refuses(key) {
			_, err := d.Stat(ctx, object.Ref{Key: key})
			wantKind(t, fmt.Sprintf("Stat of %q", key), err, fault.Invalid, fault.NotFound)
			continue
		}
		written[key] = fmt.Appendf(nil, "content %d of %q", i, key)
		s.Write(t, key, written[key])
	}
	listed := map[string]object.Info{}
	for info, err := range d.List(ctx, "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := listed[info.Key]; twice {
			t.Errorf("%q is listed twice", info.Key)
		}
		listed[info.Key] = info
	}
	for key, want := range written {
		in, ok := listed[key]
		if !ok {
			t.Errorf("%q is not listed", key)
			continue
		}
		delete(listed, key)
		st, err := d.Stat(ctx, object.Ref{Key: key})
		if err != nil {
			t.Errorf("Stat(%q): %v", key, err)
			continue
		}
		if in.Version == "" || in.Version != st.Version || in.Size != int64(len(want)) || st.Size != in.Size || !in.ModTime.Equal(st.ModTime) {
			t.Errorf("%q: List says %+v, Stat %+v, want %d bytes", key, in, st, len(want))
		}
		got, opened, err := content(ctx, d, object.Ref{Key: key, Version: st.Version}, 0)
		if err != nil || !bytes.Equal(got, want) || opened.Version != st.Version {
			t.Errorf("Open(%q) = %q as %+v, %v; want %q as version %s", key, got, opened, err, want, st.Version)
		}
	}
	for key := range listed {
		t.Errorf("%q is listed and was never written", key)
	}
}

func (s suite) order(t *testing.T) {
	d := s.open(t)
	keys := []string{"a", "a.b/x", "a/", "a/b", "a/b/c", "a!", "a-b", "a0", "a/b.txt", "a/b0", "aa", "b/a", "b/a.", "b/a/z", "b/aa", "é", "z/z/z"}
	keys = slices.DeleteFunc(keys, func(k string) bool {
		// Where there are folders, a name cannot be both an object and a folder.
		return strings.HasSuffix(k, "/") || !s.Bucketlike && slices.ContainsFunc(keys, func(o string) bool { return strings.HasPrefix(o, k+"/") && o != k+"/" })
	})
	for i := range 30 {
		keys = append(keys, fmt.Sprintf("many/%02d", i))
	}
	for _, k := range keys {
		s.Write(t, k, []byte(k))
	}
	slices.Sort(keys)
	if diff := cmp.Diff(keys, list(t, d, "", "")); diff != "" {
		t.Fatalf("List (-want +got):\n%s", diff)
	}
	starts := append([]string{"0", "a/zzz", "a/b/", "many/", "many/05x", "b", "zzzz", "\xff"}, keys...)
	for _, prefix := range []string{"", "a", "a/", "a/b", "a/b/", "b/a", "many/0", "many/1", "z/z", "zz"} {
		for _, start := range starts {
			var want []string
			for _, k := range keys {
				if strings.HasPrefix(k, prefix) && k > start {
					want = append(want, k)
				}
			}
			if diff := cmp.Diff(want, list(t, d, prefix, start)); diff != "" {
				t.Errorf("List(%q, %q) (-want +got):\n%s", prefix, start, diff)
			}
		}
	}
	n := 0
	for range d.List(deadline(t), "", "") { // a consumer that has had enough
		if n++; n == 3 {
			break
		}
	}
}

// hostile keys must neither escape the place nor be taken for another key.
func (s suite) hostile(t *testing.T) {
	d, ctx := s.open(t), deadline(t)
	s.Write(t, "in/side", []byte("inside"))
	for _, key := range []string{"", "/", "..", "../x", "../../etc/passwd", "/etc/passwd", "in/../in/side", "./in/side", "in/./side", "in//side",
		"in/side/", "in/side/..", "in/side/x", "in", "in/", "in\x00/side", "in/side\x00", strings.Repeat("x", 5000), strings.Repeat("../", 50) + "etc/passwd"} {
		if _, err := d.Stat(ctx, object.Ref{Key: key}); !fault.Is(err, fault.Invalid, fault.NotFound) {
			t.Errorf("Stat(%q): got %v, want invalid or not found", key, err)
		}
		if b, _, err := content(ctx, d, object.Ref{Key: key}, 0); !fault.Is(err, fault.Invalid, fault.NotFound) {
			t.Errorf("Open(%q) = %q, %v; want invalid or not found", key, b, err)
		}
	}
	if r, ok := d.(connectors.Remover); ok {
		for _, aside := range []string{"", ".", "..", "../x", "a/b", "/x", "nul\x00"} {
			info := must[object.Info](t, "Stat")(d.Stat(ctx, object.Ref{Key: "in/side"}))
			if _, err := r.Remove(ctx, object.Ref{Key: "../in/side", Version: info.Version}, connectors.Fence{Aside: aside, SHA256: hash("inside")}); err == nil {
				t.Errorf("Remove of a key outside, aside %q, succeeded", aside)
			}
		}
	}
	if got, _, err := content(ctx, d, object.Ref{Key: "in/side"}, 0); err != nil || string(got) != "inside" {
		t.Errorf("the object itself is now %q, %v", got, err)
	}
}

func (s suite) read(t *testing.T) {
	d, ctx := s.open(t), deadline(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	s.Write(t, "big", want)
	s.Write(t, "empty", nil)
	info := must[object.Info](t, "Stat")(d.Stat(ctx, object.Ref{Key: "big"}))
	for _, offset := range []int64{0, 1, 4096, 100_001, int64(len(want)) - 1, int64(len(want))} {
		got, _, err := content(ctx, d, object.Ref{Key: "big", Version: info.Version}, offset)
		if err != nil || !bytes.Equal(got, want[offset:]) {
			t.Errorf("Open at %d: %d bytes, %v; want the last %d", offset, len(got), err, len(want)-int(offset))
		}
	}
	if got, _, err := content(ctx, d, object.Ref{Key: "empty"}, 0); err != nil || len(got) != 0 {
		t.Errorf("Open of an empty object: %q, %v", got, err)
	}
	r := must[connectors.Reader](t, "Open")(d.Open(ctx, object.Ref{Key: "big"}, 0))
	if f, ok := r.(connectors.FileReader); ok {
		if again, err := f.Restat(); err != nil || again.Version != info.Version {
			t.Errorf("Restat = %+v, %v; want version %s", again, err, info.Version)
		}
		b := make([]byte, 16)
		if _, err := f.File().ReadAt(b, 16); err != nil || string(b) != "0123456789abcdef" {
			t.Errorf("ReadAt of the file: %q, %v", b, err)
		}
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close before the end: %v", err)
	}
}

func (s suite) cancelled(t *testing.T) {
	d := s.open(t)
	s.Write(t, "key", bytes.Repeat([]byte("x"), 1<<20))
	done, cancel := context.WithCancel(t.Context())
	r := must[connectors.Reader](t, "Open")(d.Open(done, object.Ref{Key: "key"}, 0))
	cancel()
	ended := make(chan error, 1)
	go func() {
		// What was received before may still be read; then the reading must end.
		_, err := io.Copy(io.Discard, struct{ io.Reader }{r})
		ended <- err
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("a read goes on after its context has ended")
	}
	_ = r.Close()
	if _, err := d.Stat(done, object.Ref{Key: "key"}); !fault.Canceled(err) {
		t.Errorf("Stat after the end: got %v, want the context's error", err)
	}
	if _, err := d.Open(done, object.Ref{Key: "key"}, 0); !fault.Canceled(err) {
		t.Errorf("Open after the end: got %v, want the context's error", err)
	}
	for _, err := range d.List(done, "", "") {
		if !fault.Canceled(err) {
			t.Errorf("List after the end: got %v, want the context's error", err)
		}
	}
}
