package gcs

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"cloud.google.com/go/storage"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

// onServers runs f on fake-gcs-server behind the checking proxy, with a bucket
// that keeps versions and one that does not.
func onServers(t *testing.T, f func(t *testing.T, p place)) {
	t.Parallel()
	srv := servers.CheckedGCS(t)
	for _, versioned := range []bool{false, true} {
		t.Run(fmt.Sprintf("versioned=%v", versioned), func(t *testing.T) { f(t, newPlace(t, srv, versioned)) })
	}
}

func sum(b []byte) []byte {
	h := sha256.Sum256(b)
	return h[:]
}

func read(ctx context.Context, d connectors.Driver, ref object.Ref, offset int64) ([]byte, error) {
	r, err := d.Open(ctx, ref, offset)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.FakeGCS(t), false)
	for name, c := range map[string]struct {
		change func(*connectors.Unit)
		kind   fault.Kind
		words  string
	}{
		"bucket":   {func(u *connectors.Unit) { u.URL = strings.Replace(u.URL, p.bucket, "no-such-bucket", 1) }, fault.NotFound, "no-such-bucket"},
		"endpoint": {func(u *connectors.Unit) { u.URL = strings.Replace(u.URL, p.srv.Endpoint, "http://127.0.0.1:1", 1) }, fault.Unavailable, "refused"},
	} {
		u := p.unit()
		c.change(&u)
		d, err := Open(t.Context(), u)
		if d != nil || !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: got %v, %v; want %v with %q", name, d, err, c.kind, c.words)
		}
	}
}

// TestLongestKeyAndPages lists through pages of three, and in the order of bytes
// where that is not the order of UTF-16.
func TestLongestKeyAndPages(t *testing.T) {
	onServers(t, func(t *testing.T, p place) {
		lim := defaultLimits
		lim.list = 3
		d := p.openWith(t, lim)
		long := strings.Repeat(strings.Repeat("k", 99)+"/", 11)
		long = long[:maxName-len(p.prefix)]
		want := []string{"a+b %2F", "a b", "a//b", "a/./b", "a/../b", "folder/", "folder/ü", long, "z1", "z2", "z3", "z\uffee", "z\U0001f600"}
		slices.Sort(want)
		for _, k := range want {
			p.put(t, k, []byte(k))
			p.put(t, k, []byte(k+", now"))
		}
		p.put(t, "gone", []byte("gone"))
		p.remove(t, "gone")
		var got []string
		for info, err := range d.List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, info.Key)
			b, err := read(t.Context(), d, object.Ref{Key: info.Key, Version: info.Version}, 0)
			if err != nil || string(b) != info.Key+", now" || !info.Latest {
				t.Errorf("%q reads %q, %v; %+v", info.Key, b, err, info)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("listed %q\nwant %q", got, want)
		}
		versions := map[string][]bool{}
		for info, err := range d.ListVersions(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			versions[info.Key] = append(versions[info.Key], info.Latest)
		}
		kept := len(versions["gone"]) == 1 && !versions["gone"][0]
		for _, k := range want {
			if l := versions[k]; kept && !slices.Equal(l, []bool{true, false}) || !kept && !slices.Equal(l, []bool{true}) {
				t.Errorf("versions of %q: latest %v", k, l)
			}
		}
		if _, err := d.Stat(t.Context(), object.Ref{Key: long + "x"}); !fault.Is(err, fault.Invalid) {
			t.Errorf("a key too long: %v", err)
		}
	})
}

// TestReplacedDuringRead: what was opened is read whole, or the resumed read
// says that it changed. It never continues with another content.
func TestReplacedDuringRead(t *testing.T) {
	onServers(t, func(t *testing.T, p place) {
		d := p.open(t)
		old, now := bytes.Repeat([]byte("o"), 4<<20), bytes.Repeat([]byte("n"), 4<<20)
		p.put(t, "key", old)
		r, err := d.Open(t.Context(), object.Ref{Key: "key"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 1<<20)
		if _, err := io.ReadFull(r, got); err != nil {
			t.Fatal(err)
		}
		p.put(t, "key", now)
		rest, err := io.ReadAll(r)
		if err == nil && !bytes.Equal(append(got, rest...), old) {
			t.Error("one read mixes two contents")
		}
		_ = r.Close()
		rest, err = read(t.Context(), d, object.Ref{Key: "key", Version: r.Info().Version}, 1<<20)
		if strings.HasSuffix(t.Name(), "true") {
			if err != nil || !bytes.Equal(rest, old[1<<20:]) {
				t.Errorf("the old generation's rest: %d bytes, %v", len(rest), err)
			}
		} else if !fault.Is(err, fault.Changed) {
			t.Errorf("the rest of a replaced object: %d bytes, %v; want changed", len(rest), err)
		}
	})
}

// TestGzipIsNotUnpacked: what is stored packed arrives packed, with its size.
func TestGzipIsNotUnpacked(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.FakeGCS(t), false)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(bytes.Repeat([]byte("unpacked "), 1000))
	_ = z.Close()
	w := p.object(t, "key").NewWriter(t.Context())
	w.ContentEncoding, w.ContentType = "gzip", "text/plain"
	_, _ = w.Write(packed.Bytes())
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	d := p.open(t)
	for _, offset := range []int64{0, 10} {
		r, err := d.Open(t.Context(), object.Ref{Key: "key"}, offset)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if cerr := r.Close(); err != nil || cerr != nil || !bytes.Equal(got, packed.Bytes()[offset:]) || r.Info().Size != int64(packed.Len()) {
			t.Errorf("from %d: %d of %d bytes, %v, %v; %+v", offset, len(got), packed.Len(), err, cerr, r.Info())
		}
	}
}

func TestPutInChunks(t *testing.T) {
	onServers(t, func(t *testing.T, p place) {
		lim := defaultLimits
		lim.chunk = 256 << 10
		d := p.openWith(t, lim)
		big := bytes.Repeat([]byte("0123456789abcdef"), (1<<20+16)/16)
		opt := connectors.PutOptions{Size: int64(len(big)), SHA256: sum(big), Meta: map[string]string{"entry": "1"}, Tags: map[string]string{"a": "b c"}, ContentType: "x/y"}
		info, err := d.Put(t.Context(), "big", bytes.NewReader(big), opt)
		if err != nil {
			t.Fatal(err)
		}
		got, err := read(t.Context(), d, object.Ref{Key: "big", Version: info.Version}, 0)
		if err != nil || !bytes.Equal(got, big) || info.Meta["entry"] != "1" || info.ContentType != "x/y" {
			t.Errorf("read back %d bytes, %v; info %+v", len(got), err, info)
		}
		if tags, err := d.Tags(t.Context(), object.Ref{Key: "big"}); err != nil || tags["a"] != "b c" {
			t.Errorf("tags %v, %v", tags, err)
		}
		if _, err := d.Put(t.Context(), "big", bytes.NewReader(big), opt); !fault.Is(err, fault.Exists) {
			t.Errorf("create over it: %v", err)
		}
		broken := errors.New("the source broke")
		for name, c := range map[string]struct {
			r    io.Reader
			opt  connectors.PutOptions
			kind fault.Kind
		}{
			"hash":       {bytes.NewReader(big), connectors.PutOptions{Size: int64(len(big)), SHA256: sum([]byte("other"))}, fault.Changed},
			"whole hash": {strings.NewReader("small"), connectors.PutOptions{Size: 5, SHA256: sum([]byte("other"))}, fault.Changed},
			"short":      {bytes.NewReader(big[:1<<20-1]), opt, fault.Changed},
			"even":       {bytes.NewReader(big[:1<<20]), opt, fault.Changed}, // ends with a chunk
			"long":       {io.MultiReader(bytes.NewReader(big), strings.NewReader("x")), opt, fault.Changed},
			"broken":     {io.MultiReader(bytes.NewReader(big[:1<<20]), errReader{broken}), opt, fault.Unavailable},
			"unexpected": {io.MultiReader(bytes.NewReader(big[:1<<20]), errReader{io.ErrUnexpectedEOF}), connectors.PutOptions{Size: -1}, fault.Unavailable},
			"metadata":   {strings.NewReader("x"), connectors.PutOptions{Size: 1, Meta: map[string]string{"a b": "1"}}, fault.Invalid},
			"too much":   {strings.NewReader("x"), connectors.PutOptions{Size: 1, Meta: map[string]string{"a": strings.Repeat("x", maxMeta)}}, fault.Invalid},
		} {
			if _, err := d.Put(t.Context(), "failed", c.r, c.opt); !fault.Is(err, c.kind) {
				t.Errorf("%s: got %v, want %v", name, err, c.kind)
			}
			if _, err := d.Stat(t.Context(), object.Ref{Key: "failed"}); !fault.Is(err, fault.NotFound) {
				t.Errorf("%s: something is there: %v", name, err)
			}
		}
		for _, content := range [][]byte{big, big[:lim.chunk], big[:2*lim.chunk], nil} {
			next, err := d.Put(t.Context(), "big", io.MultiReader(bytes.NewReader(content)), connectors.PutOptions{Size: -1, IfVersion: info.Version})
			if err != nil || next.Size != int64(len(content)) || next.Version == info.Version {
				t.Fatalf("replace with %d bytes of unknown size: %+v, %v", len(content), next, err)
			}
			if got, err := read(t.Context(), d, object.Ref{Key: "big", Version: next.Version}, 0); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes read back as %d, %v", len(content), len(got), err)
			}
			info = next
		}
	})
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

func TestCopyKeepsEverything(t *testing.T) {
	onServers(t, func(t *testing.T, p place) {
		d := p.open(t)
		for _, size := range []int{0, 1000, 1 << 20} {
			key := fmt.Sprintf("src + %% é %d", size)
			content := bytes.Repeat([]byte("x"), size)
			w := p.object(t, key).NewWriter(t.Context())
			w.ContentType, w.CacheControl, w.ContentDisposition, w.ContentLanguage = "a/b", "no-store", "attachment", "de"
			w.Metadata = map[string]string{"Who": "them", "empty": ""}
			_, _ = w.Write(content)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			src, err := d.Stat(t.Context(), object.Ref{Key: key})
			if err != nil {
				t.Fatal(err)
			}
			dst := "copies/" + key
			opt := connectors.PutOptions{Size: int64(size), Meta: map[string]string{"entry": "é"}, Tags: map[string]string{"ours": "1"}}
			info, err := d.Copy(t.Context(), object.Ref{Key: key, Version: src.Version}, dst, opt)
			if err != nil {
				t.Fatalf("%d: %v", size, err)
			}
			f, err := d.find(t.Context(), "test", dst, 0)
			want := map[string]string{"Who": "them", "empty": "", "entry": "é", "ours": "1"}
			if err != nil || f.info.Version != info.Version || f.ContentType != "a/b" || f.CacheControl != "no-store" ||
				f.ContentDisposition != "attachment" || f.ContentLanguage != "de" || !maps.Equal(f.Metadata, want) {
				t.Errorf("%d: the copy is %+v, %v", size, f.ObjectAttrs, err)
			}
			if got, err := read(t.Context(), d, object.Ref{Key: dst, Version: info.Version}, 0); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d: reads %d bytes, %v", size, len(got), err)
			}
			if _, err := d.Copy(t.Context(), object.Ref{Key: key, Version: src.Version}, dst, opt); !fault.Is(err, fault.Exists) {
				t.Errorf("%d: copy over it: %v", size, err)
			}
			opt.IfVersion = info.Version
			if _, err := d.Copy(t.Context(), object.Ref{Key: key, Version: src.Version}, dst, opt); err != nil {
				t.Errorf("%d: replace it: %v", size, err)
			}
			if _, err := d.Copy(t.Context(), object.Ref{Key: key, Version: src.Version}, dst, opt); !fault.Is(err, fault.Changed) {
				t.Errorf("%d: replace what was replaced: %v", size, err)
			}
		}
	})
}

func TestTagsLeaveMetadataAlone(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.CheckedGCS(t), false)
	d := p.open(t)
	p.put(t, "key", []byte("content"))
	foreign := map[string]string{"Their-Own": "ünï", "empty": "", "goog-reserved-file-mtime": "1"}
	if _, err := p.object(t, "key").Update(t.Context(), storage.ObjectAttrsToUpdate{Metadata: foreign, ContentType: "a/b"}); err != nil {
		t.Fatal(err)
	}
	info, err := d.Stat(t.Context(), object.Ref{Key: "key"})
	if err != nil {
		t.Fatal(err)
	}
	ref := object.Ref{Key: "key", Version: info.Version}
	meta := func() (map[string]string, int64) {
		f, err := d.find(t.Context(), "test", "key", 0)
		if err != nil || f.info.Version != info.Version {
			t.Errorf("%+v, %v", f.info, err)
		}
		return f.Metadata, f.Metageneration
	}
	want := maps.Clone(foreign)
	want["lw"] = "infected: Win.Test!(1)"
	if _, err := d.Tag(t.Context(), ref, map[string]string{"lw": "infected: Win.Test!(1)", "not-there": ""}); err != nil {
		t.Fatal(err)
	}
	got, before := meta()
	if !maps.Equal(got, want) {
		t.Errorf("metadata %v, want %v", got, want)
	}
	if _, err := d.Tag(t.Context(), ref, map[string]string{"lw": "infected: Win.Test!(1)"}); err != nil {
		t.Fatal(err)
	}
	if _, after := meta(); after != before {
		t.Errorf("a tag that was there moved the metageneration from %d to %d", before, after)
	}
	if _, err := d.Tag(t.Context(), ref, map[string]string{"lw": ""}); err != nil {
		t.Fatal(err)
	}
	if got, _ := meta(); !maps.Equal(got, foreign) {
		t.Errorf("metadata %v, want %v", got, foreign)
	}
	for _, bad := range []map[string]string{{"a b": "1"}, {"": "1"}, {"lw": "a\nb"}, {"lw": "\xff"}, {"é": "1"}, {"goog-x": "1"}, {"lw": strings.Repeat("x", maxMeta-10)}} {
		if _, err := d.Tag(t.Context(), ref, bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("Tag(%.40v): %v", bad, err)
		}
	}
}

// TestIgnoredPreconditions: fake-gcs-server, which ignores preconditions, is
// found out, and what depends on them is refused, unless the unit allows it.
func TestIgnoredPreconditions(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.FakeGCS(t), false)
	u := p.unit()
	fresh := p.open(t) // not probed: it finds out by itself
	p.put(t, "key", []byte("content"))
	info, err := fresh.Stat(t.Context(), object.Ref{Key: "key"})
	if err != nil {
		t.Fatal(err)
	}
	ref := object.Ref{Key: "key", Version: info.Version}
	if _, err := fresh.Tag(t.Context(), ref, map[string]string{"lw": "1"}); !fault.Is(err, fault.Unsupported) {
		t.Errorf("tag, not probed: %v", err)
	}
	d, err := Open(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	probed, err := connectors.Probe(t.Context(), u, d)
	if c := probed.Caps; err != nil || c.FencedRemove || c.Tag || c.Copy || !c.Remove || !c.FencedPut {
		t.Fatalf("%+v, %v", probed, err)
	}
	if _, err := d.(*Driver).Remove(t.Context(), ref, connectors.Fence{}); !fault.Is(err, fault.Unsupported) {
		t.Errorf("remove by the driver: %v", err)
	}
	if _, err := d.(*Driver).Copy(t.Context(), ref, "copy", connectors.PutOptions{}); !fault.Is(err, fault.Unsupported) {
		t.Errorf("copy by the driver: %v", err)
	}
	st := connectors.NewStorage(u, d, connectors.Options{Probed: &probed})
	if _, err := st.Remove(t.Context(), ref, connectors.Fence{}); !fault.Is(err, fault.Unsupported) {
		t.Errorf("remove by the storage: %v", err)
	}
	if tags, err := d.(*Driver).Tags(t.Context(), ref); err != nil || len(tags) != 0 {
		t.Errorf("tags %v, %v", tags, err)
	}
	u.Unfenced = true
	free, err := Open(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	rem, err := connectors.NewStorage(u, free, connectors.Options{Probed: &probed}).Remove(t.Context(), ref, connectors.Fence{})
	if err != nil || !rem.Unfenced {
		t.Errorf("unfenced: %+v, %v", rem, err)
	}
}

// TestRemoveOneGeneration: the generation named goes, current or not, and no
// other one does.
func TestRemoveOneGeneration(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.CheckedGCS(t), true)
	d := p.open(t)
	var gens []string
	for i := range 3 {
		gens = append(gens, token(p.put(t, "key", fmt.Appendf(nil, "content %d", i))))
	}
	for _, i := range []int{1, 2} {
		ref := object.Ref{Key: "key", Version: gens[i]}
		if rem, err := d.Remove(t.Context(), ref, connectors.Fence{}); err != nil || rem != (connectors.Removed{}) {
			t.Errorf("remove generation %d: %+v, %v", i, rem, err)
		}
		if _, err := d.Stat(t.Context(), ref); !fault.Is(err, fault.NotFound, fault.Changed) {
			t.Errorf("generation %d after its removal: %v", i, err)
		}
	}
	if got, err := read(t.Context(), d, object.Ref{Key: "key", Version: gens[0]}, 0); err != nil || string(got) != "content 0" {
		t.Errorf("the first generation reads %q, %v", got, err)
	}
	if _, err := d.Remove(t.Context(), object.Ref{Key: "key"}, connectors.Fence{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("remove without a version: %v", err)
	}
}
