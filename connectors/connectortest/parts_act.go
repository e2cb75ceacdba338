package connectortest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

func hash(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

// stale: nothing is done to, or read from, a version that was replaced, unless
// the vendor still has it.
func (s suite) stale(t *testing.T) {
	d, ctx := s.open(t), deadline(t)
	s.Write(t, "key", []byte("first"))
	old := must[object.Info](t, "Stat")(d.Stat(ctx, object.Ref{Key: "key"}))
	s.Write(t, "key", []byte("second, longer"))
	ref := object.Ref{Key: "key", Version: old.Version}
	now := must[object.Info](t, "Stat")(d.Stat(ctx, object.Ref{Key: "key"}))
	if now.Version == old.Version {
		t.Fatalf("both contents have the version %s", now.Version)
	}
	if got, _, err := content(ctx, d, ref, 0); err == nil && string(got) != "first" {
		t.Errorf("Open of the old version reads %q", got)
	} else if err != nil {
		wantKind(t, "Open of the old version", err, fault.Changed)
		_, err = d.Stat(ctx, ref)
		wantKind(t, "Stat of the old version", err, fault.Changed)
	} else {
		return // a versioned place: the old one is an object of its own
	}
	if p, ok := d.(connectors.Putter); ok && s.Wants.FencedPut {
		_, err := p.Put(ctx, "key", strings.NewReader("third"), connectors.PutOptions{IfVersion: old.Version, Size: 5, TempName: "stale-put"})
		wantKind(t, "Put over the old version", err, fault.Changed)
	}
	if r, ok := d.(connectors.Remover); ok && s.Wants.FencedRemove {
		_, err := r.Remove(ctx, ref, connectors.Fence{Aside: "stale-remove", SHA256: hash("first")})
		wantKind(t, "Remove of the old version", err, fault.Changed)
	}
	if g, ok := d.(connectors.Tagger); ok && s.Wants.Tag {
		_, err := g.Tag(ctx, ref, map[string]string{"lw": "no"})
		wantKind(t, "Tag of the old version", err, fault.Changed)
		if tags := must[map[string]string](t, "Tags")(g.Tags(ctx, object.Ref{Key: "key"})); len(tags) != 0 {
			t.Errorf("the new version has the tags %v", tags)
		}
	}
	if got, _, err := content(ctx, d, object.Ref{Key: "key"}, 0); err != nil || string(got) != "second, longer" {
		t.Errorf("the object is now %q, %v", got, err)
	}
}

// overwritten: while the key is written, a reader sees one version whole, or is
// told that it changed.
func (s suite) overwritten(t *testing.T) {
	d, ctx := s.open(t), deadline(t)
	block := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i%26)}, 64<<10) }
	s.Write(t, "key", block(0))
	stop, wg := make(chan struct{}), sync.WaitGroup{}
	wg.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
				s.Write(t, "key", block(i))
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	for range 50 {
		r, err := d.Open(ctx, object.Ref{Key: "key"}, 0)
		if fault.Is(err, fault.Changed, fault.NotFound) {
			continue // caught in the middle of a replacement
		}
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		got, err := io.ReadAll(r)
		after, same := r.Info(), err == nil
		if f, ok := r.(connectors.FileReader); ok && same {
			after, err = f.Restat()
			same = err == nil && after.Version == r.Info().Version
		}
		_ = r.Close()
		if same && int64(len(got)) != r.Info().Size {
			t.Errorf("read %d bytes of a version of %d", len(got), r.Info().Size)
		}
		if same && len(got) > 0 && !bytes.Equal(got, bytes.Repeat(got[:1], len(got))) {
			t.Error("one read mixes two versions, and the version says that it did not change")
		}
	}
}

func (s suite) put(t *testing.T) {
	d, ctx := s.open(t), deadline(t)
	p := d.(connectors.Putter)
	body := "the content of it"
	opt := connectors.PutOptions{Size: int64(len(body)), SHA256: hash(body), TempName: "put-1", ContentType: "text/plain",
		Meta: map[string]string{"landwaiter-entry": "0190-abc", "why": "because é"}}
	if s.Wants.Tag {
		opt.Tags = map[string]string{"lw-verdict": "clean"}
	}
	info := must[object.Info](t, "Put")(p.Put(ctx, "new/folder/key", strings.NewReader(body), opt))
	st := must[object.Info](t, "Stat")(d.Stat(ctx, object.Ref{Key: "new/folder/key"}))
	if info.Key != "new/folder/key" || info.Version == "" || info.Version != st.Version || info.Size != st.Size || st.Size != int64(len(body)) {
		t.Errorf("Put says %+v, Stat %+v", info, st)
	}
	for name, want := range opt.Meta {
		if st.Meta[name] != want {
			t.Errorf("metadata %s = %q, want %q", name, st.Meta[name], want)
		}
	}
	if g, ok := d.(connectors.Tagger); ok && s.Wants.Tag {
		if tags := must[map[string]string](t, "Tags")(g.Tags(ctx, object.Ref{Key: "new/folder/key"})); tags["lw-verdict"] != "clean" {
			t.Errorf("tags of a put = %v", tags)
		}
	}
	if got, _, err := content(ctx, d, object.Ref{Key: "new/folder/key", Version: info.Version}, 0); err != nil || string(got) != body {
		t.Errorf("read back %q, %v", got, err)
	}
	if s.Wants.FencedPut {
		_, err := p.Put(ctx, "new/folder/key", strings.NewReader("other"), connectors.PutOptions{Size: 5, TempName: "put-2"})
		wantKind(t, "Put of an object that exists", err, fault.Exists)
		_, err = p.Put(ctx, "new/other", strings.NewReader("other"), connectors.PutOptions{Size: 5, IfVersion: info.Version, TempName: "put-3"})
		wantKind(t, "Put over nothing", err, fault.Changed, fault.NotFound)
	}
	next := must[object.Info](t, "Put over")(p.Put(ctx, "new/folder/key", strings.NewReader("other"), connectors.PutOptions{Size: 5, IfVersion: info.Version, TempName: "put-4"}))
	if got, _, err := content(ctx, d, object.Ref{Key: "new/folder/key", Version: next.Version}, 0); err != nil || string(got) != "other" || next.Version == info.Version {
		t.Errorf("after replacing: %q version %s, %v", got, next.Version, err)
	}
	unsized := must[object.Info](t, "Put of unknown size")(p.Put(ctx, "unsized", iotest.OneByteReader(strings.NewReader("abc")), connectors.PutOptions{Size: -1, TempName: "put-5"}))
	if unsized.Size != 3 {
		t.Errorf("size of an unsized put = %d", unsized.Size)
	}
	must[object.Info](t, "Put of nothing")(p.Put(ctx, "empty", strings.NewReader(""), connectors.PutOptions{Size: 0, TempName: "put-6"}))
	for i, key := range oddKeys {
		if s.Refuses != nil && s.Refuses(key) {
			continue
		}
		if _, err := p.Put(ctx, "odd/"+key, strings.NewReader(key), connectors.PutOptions{Size: int64(len(key)), SHA256: hash(key), TempName: fmt.Sprint("odd-", i)}); err != nil {
			t.Errorf("Put(%q): %v", "odd/"+key, err)
		} else if got, _, err := content(ctx, d, object.Ref{Key: "odd/" + key}, 0); err != nil || string(got) != key {
			t.Errorf("%q reads back as %q, %v", key, got, err)
		}
	}
}

// putFails: what cannot be written whole is not written at all.
func (s suite) putFails(t *testing.T) {
	d, ctx := s.open(t), deadline(t)
	p := d.(connectors.Putter)
	broken := errors.New("the source broke")
	long := strings.Repeat("x", 200_000)
	for name, c := range map[string]struct {
		r   io.Reader
		opt connectors.PutOptions
	}{
		"failing": {io.MultiReader(strings.NewReader(long), iotest.ErrReader(broken)), connectors.PutOptions{Size: 400_000}},
		"short":   {strings.NewReader(long), connectors.PutOptions{Size: 400_000}},
		"longer":  {strings.NewReader(long), connectors.PutOptions{Size: 100_000}},
		"hash":    {strings.NewReader(long), connectors.PutOptions{Size: 200_000, SHA256: hash("something else")}},
		"unsized": {io.MultiReader(strings.NewReader(long), iotest.ErrReader(broken)), connectors.PutOptions{Size: -1}},
	} {
		c.opt.TempName = "fails-" + name
		_, err := p.Put(ctx, "fails/"+name, c.r, c.opt)
		switch {
		case err == nil:
			t.Errorf("%s: Put succeeded", name)
		case name == "hash":
			wantKind(t, name, err, fault.Changed)
		case name == "failing" && !errors.Is(err, broken):
			t.Errorf("%s: got %v, want the reader's error", name, err)
		}
	}
	stopped, cancel := context.WithCancel(ctx)
	r := iotest.DataErrReader(io.MultiReader(strings.NewReader(long), readerFunc(func([]byte) (int, error) { cancel(); return 0, nil }), strings.NewReader(long)))
	if _, err := p.Put(stopped, "fails/cancelled", r, connectors.PutOptions{Size: 400_000, TempName: "fails-cancelled"}); err == nil {
		t.Error("a cancelled Put succeeded")
	}
	cancel()
	if keys := list(t, d, "", ""); len(keys) != 0 {
		t.Errorf("failed puts left %q", keys)
	}
	// The same temporary name serves the next try.
	must[object.Info](t, "Put again")(p.Put(ctx, "fails/failing", strings.NewReader("whole"), connectors.PutOptions{Size: 5, TempName: "fails-failing"}))
}

func (s suite) copy(t *testing.T) {
	d, ctx := s.open(t), deadline(t)
	p, c := d.(connectors.Putter), d.(connectors.Copier)
	src := must[object.Info](t, "Put")(p.Put(ctx, "src", strings.NewReader("content"), connectors.PutOptions{Size: 7, ContentType: "text/x-odd",
		Meta: map[string]string{"kept": "yes"}, TempName: "copy-0"}))
	if g, ok := d.(connectors.Tagger); ok && s.Wants.Tag {
		src = must[object.Info](t, "Tag")(g.Tag(ctx, object.Ref{Key: "src", Version: src.Version}, map[string]string{"kept-tag": "too"}))
	}
	ref := object.Ref{Key: "src", Version: src.Version}
	info := must[object.Info](t, "Copy")(c.Copy(ctx, ref, "dst/copy", connectors.PutOptions{Size: 7, SHA256: hash("content"), TempName: "copy-1"}))
	st := must[object.Info](t, "Stat")(d.Stat(ctx, object.Ref{Key: "dst/copy"}))
	if st.Version != info.Version || st.Meta["kept"] != "yes" || st.ContentType != "text/x-odd" {
		t.Errorf("the copy is %+v, Copy said %+v", st, info)
	}
	if g, ok := d.(connectors.Tagger); ok && s.Wants.Tag {
		if tags := must[map[string]string](t, "Tags")(g.Tags(ctx, object.Ref{Key: "dst/copy"})); tags["kept-tag"] != "too" {
			t.Errorf("the copy's tags are %v", tags)
		}
	}
	if got, _, err := content(ctx, d, object.Ref{Key: "dst/copy"}, 0); err != nil || string(got) != "content" {
		t.Errorf("the copy reads %q, %v", got, err)
	}
	if s.Wants.FencedPut {
		_, err := c.Copy(ctx, ref, "dst/copy", connectors.PutOptions{Size: 7, TempName: "copy-2"})
		wantKind(t, "Copy to an object that exists", err, fault.Exists)
	}
	if s.Wants.FencedCopy {
		s.Write(t, "src", []byte("replaced!"))
		_, err := c.Copy(ctx, ref, "dst/late", connectors.PutOptions{Size: 7, TempName: "copy-3"})
		if err == nil { // versioned: the old version is still there
			got, _, err := content(ctx, d, object.Ref{Key: "dst/late"}, 0)
			if err != nil || string(got) != "content" {
				t.Errorf("the copy of an old version reads %q, %v", got, err)
			}
			return
		}
		wantKind(t, "Copy of a replaced version", err, fault.Changed)
	}
}

func (s suite) remove(t *testing.T) {
	d, ctx := s.open(t), deadline(t)
	r := d.(connectors.Remover)
	beside := func(i int) string { return fmt.Sprint("x/beside/", i) }
	for i, key := range append([]string{"one", "folder/two"}, oddKeys...) {
		if s.Refuses != nil && s.Refuses(key) {
			continue
		}
		key = "x/" + key
		s.Write(t, key, []byte(key))
		s.Write(t, beside(i), []byte("stays"))
		info := must[object.Info](t, "Stat")(d.Stat(ctx, object.Ref{Key: key}))
		ref, fence := object.Ref{Key: key, Version: info.Version}, connectors.Fence{Aside: fmt.Sprint("fence-", i), SHA256: hash(key)}
		if _, err := r.Remove(ctx, ref, fence); err != nil {
			t.Errorf("Remove(%q): %v", key, err)
			continue
		}
		_, err := d.Stat(ctx, object.Ref{Key: key})
		wantKind(t, "Stat after Remove", err, fault.NotFound)
		if rem, err := r.Remove(ctx, ref, fence); err == nil && !rem.Already {
			t.Errorf("Remove(%q) twice says that it removed again", key)
		} else if err != nil {
			wantKind(t, "Remove twice", err, fault.NotFound)
		}
		if got, _, err := content(ctx, d, object.Ref{Key: beside(i)}, 0); err != nil || string(got) != "stays" {
			t.Errorf("the neighbour of %q: %q, %v", key, got, err)
		}
	}
	for _, key := range list(t, d, "", "") {
		if !strings.HasPrefix(key, "x/beside/") {
			t.Errorf("%q is left", key)
		}
	}
}

func (s suite) tag(t *testing.T) {
	d, ctx := s.open(t), deadline(t)
	g := d.(connectors.Tagger)
	s.Write(t, "key", []byte("content"))
	info := must[object.Info](t, "Stat")(d.Stat(ctx, object.Ref{Key: "key"}))
	if tags := must[map[string]string](t, "Tags")(g.Tags(ctx, object.Ref{Key: "key", Version: info.Version})); len(tags) != 0 {
		t.Errorf("a new object has the tags %v", tags)
	}
	want := map[string]string{}
	for i, set := range []map[string]string{
		{"foreign": "someone"}, // stands for another's tag
		{"lw-verdict": "infected", "lw-version": "v é + / = . _ : @ -"},
		{"lw-verdict": "clean"},
		{"lw-verdict": "clean", "lw-version": "v é + / = . _ : @ -"}, // already so
		{"lw-version": ""},
	} {
		before := info.Version
		for k, v := range set {
			if strings.ContainsRune(v, 'é') {
				v = strings.ReplaceAll(v, "é", "e") // not every vendor takes letters beyond ASCII in tags
				set[k] = v
			}
		}
		info = must[object.Info](t, "Tag")(g.Tag(ctx, object.Ref{Key: "key", Version: info.Version}, set))
		maps.Copy(want, set)
		maps.DeleteFunc(want, func(_, v string) bool { return v == "" })
		if got := must[map[string]string](t, "Tags")(g.Tags(ctx, object.Ref{Key: "key"})); !maps.Equal(got, want) {
			t.Errorf("after step %d the tags are %v, want %v", i, got, want)
		}
		if (s.Wants.TagsKeepVersion || i == 3) && info.Version != before {
			t.Errorf("step %d moved the version from %s to %s", i, before, info.Version)
		}
		if st := must[object.Info](t, "Stat")(d.Stat(ctx, object.Ref{Key: "key"})); st.Version != info.Version {
			t.Errorf("step %d: Tag says version %s, Stat %s", i, info.Version, st.Version)
		}
		if c, ok := d.(connectors.Comparer); ok && before != info.Version && !c.MetadataOnly(before, info.Version) {
			t.Errorf("step %d: from %s to %s is not told as a change of metadata only", i, before, info.Version)
		}
	}
	if got, _, err := content(ctx, d, object.Ref{Key: "key"}, 0); err != nil || string(got) != "content" {
		t.Errorf("after tagging the object reads %q, %v", got, err)
	}
	_, err := g.Tag(ctx, object.Ref{Key: "nothing"}, map[string]string{"a": "b"})
	wantKind(t, "Tag of nothing", err, fault.NotFound)
}

func (s suite) versions(t *testing.T) {
	d, ctx := s.open(t), deadline(t)
	l := d.(connectors.VersionLister)
	s.Write(t, "b", []byte("b1"))
	s.Write(t, "a", []byte("a1"))
	s.Write(t, "a", []byte("a22"))
	var keys []string
	sizes := map[string][]int64{}
	for info, err := range l.ListVersions(ctx, "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if info.Kind == object.Marker {
			continue
		}
		if info.Version == "" {
			t.Errorf("a version of %q without a name", info.Key)
		}
		keys = append(keys, info.Key)
		sizes[info.Key] = append(sizes[info.Key], info.Size)
		if newest := len(sizes[info.Key]) == 1; info.Latest != newest {
			t.Errorf("version %d of %q: Latest = %v", len(sizes[info.Key]), info.Key, info.Latest)
		}
	}
	if !slices.IsSorted(keys) || sizes["a"][0] != 3 || len(sizes["b"]) != 1 {
		t.Errorf("versions: keys %v sizes %v", keys, sizes)
	}
	if diff := cmp.Diff([]string{"b"}, func() (out []string) {
		for info, err := range l.ListVersions(ctx, "", "a") {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, info.Key)
		}
		return out
	}()); diff != "" {
		t.Errorf("after a (-want +got):\n%s", diff)
	}
}

func (s suite) prune(t *testing.T) {
	d, ctx := s.open(t), deadline(t)
	p, r := d.(connectors.Pruner), d.(connectors.Remover)
	s.Write(t, "kept/neighbour", []byte("n"))
	s.Write(t, "kept/a/b/c/leaf", []byte("l"))
	info := must[object.Info](t, "Stat")(d.Stat(ctx, object.Ref{Key: "kept/a/b/c/leaf"}))
	if n, err := p.Prune(ctx, "kept/a/b/c/leaf"); err != nil || n != 0 {
		t.Errorf("Prune of a folder that is not empty: %d, %v", n, err)
	}
	must[connectors.Removed](t, "Remove")(r.Remove(ctx, object.Ref{Key: "kept/a/b/c/leaf", Version: info.Version}, connectors.Fence{Aside: "prune", SHA256: hash("l")}))
	for range 2 {
		if _, err := p.Prune(ctx, "kept/a/b/c/leaf"); err != nil {
			t.Errorf("Prune: %v", err)
		}
	}
	if diff := cmp.Diff([]string{"kept/neighbour"}, list(t, d, "", "")); diff != "" {
		t.Errorf("after Prune (-want +got):\n%s", diff)
	}
	s.Write(t, "kept/a/b/again", []byte("x")) // the folders can come back
}

func (s suite) settle(t *testing.T) {
	d, ctx := s.open(t), deadline(t)
	s.Write(t, "whole", []byte("content"))
	for info, err := range d.List(ctx, "", "") {
		if err != nil {
			t.Fatal(err)
		}
		s.until(t, "an object nobody writes to settles", func() bool {
			return must[bool](t, "Settled")(func() (bool, error) {
				wait, err := d.(connectors.Settler).Settled(ctx, info)
				return wait == 0, err
			}())
		})
	}
}
