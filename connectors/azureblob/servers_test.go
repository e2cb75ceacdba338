package azureblob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

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

// want fails the test unless key reads as content.
func want(t *testing.T, d *Driver, key, content string) {
	t.Helper()
	if got, err := read(t.Context(), d, object.Ref{Key: key}, 0); err != nil || string(got) != content {
		t.Errorf("%q reads %.40q, %v; want %.40q", key, got, err, content)
	}
}

// keysOf lists keys; an error fails the test.
func keysOf(t *testing.T, d *Driver, prefix, start string) (keys []string) {
	t.Helper()
	for info, err := range d.List(t.Context(), prefix, start) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

func stat(t *testing.T, d *Driver, key string) object.Info {
	t.Helper()
	info, err := d.Stat(t.Context(), object.Ref{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestOnAzurite(t *testing.T) {
	t.Parallel()
	srv := servers.Azurite(t)
	for name, f := range map[string]func(*testing.T, place){
		"Open": testOpen, "Credentials": testCredentials, "Pages": testPages, "Order": testOrder, "ReplacedDuringRead": testReplaced,
		"PutInBlocks": testBlocks, "Copy": testCopy, "Remove": testRemove, "Tags": testTags, "MetadataAsTags": testMetaTags, "Cold": testCold,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, newPlace(t, srv))
		})
	}
}

func testOpen(t *testing.T, p place) {
	for name, c := range map[string]struct {
		change func(*connectors.Unit)
		kind   fault.Kind
		words  string
	}{
		"key":       {func(u *connectors.Unit) { u.Options["key"] = "d3Jvbmc=" }, fault.Denied, "key or signature that is wrong"},
		"container": {func(u *connectors.Unit) { u.URL = strings.Replace(u.URL, p.name, "no-such", 1) }, fault.NotFound, "container does not exist"},
		"endpoint":  {func(u *connectors.Unit) { u.URL = strings.Replace(u.URL, p.srv.Blob, "http://127.0.0.1:1", 1) }, fault.Unavailable, "refused"},
		"signature": {func(u *connectors.Unit) {
			u.Options = map[string]string{"sas": "sv=2024-11-04&ss=b&srt=sco&sp=rl&se=2020-01-01T00:00:00Z&sig=c2VjcmV0LXNpZ25hdHVyZQ%3D%3D"}
		}, fault.Denied, "signature"},
		"refused signature": {func(u *connectors.Unit) {
			u.URL = strings.Replace(u.URL, p.srv.Blob, "http://127.0.0.1:1", 1)
			u.Options = map[string]string{"sas": "sv=2024-11-04&sig=c2VjcmV0LXNpZ25hdHVyZQ%3D%3D"}
		}, fault.Unavailable, "refused"},
		"option": {func(u *connectors.Unit) { u.Options["kye"] = "x" }, fault.Invalid, "unknown option"},
	} {
		u := p.unit()
		c.change(&u)
		d, err := Open(t.Context(), u)
		if d != nil || !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: got %v, %v; want %v with %q", name, d, err, c.kind, c.words)
		}
		for _, secret := range []string{p.srv.Key, "d3Jvbmc", "c2VjcmV0LXNpZ25hdHVyZQ"} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error tells a secret: %v", name, err)
			}
		}
	}
}

// testCredentials: a shared access signature does all that the key does, copies
// too; so does a connection string.
func testCredentials(t *testing.T, p place) {
	perm := sas.ContainerPermissions{Read: true, Add: true, Create: true, Write: true, Delete: true, List: true, Tag: true, DeletePreviousVersion: true}
	signed, err := p.client.GetSASURL(perm, time.Now().Add(time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, query, _ := strings.Cut(signed, "?")
	for name, options := range map[string]map[string]string{
		"sas":                       {"sas": "?" + query},
		"connection string":         {"connection_string": p.srv.ConnectionString()},
		"connection string, signed": {"connection_string": "BlobEndpoint=" + p.srv.Blob + ";SharedAccessSignature=" + query},
	} {
		u := p.unit()
		u.Options = options
		u.URL, _, _ = strings.Cut(u.URL, "?")
		if name == "sas" {
			u.URL += "?endpoint=" + url.QueryEscape(p.srv.Blob)
		}
		d, err := open(t.Context(), u, defaultLimits)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		caps, err := d.Probe(t.Context(), ".probe/")
		want := connectors.Caps{Put: true, Copy: true, Remove: true, Tag: true, ReadIsVersion: true, FencedRemove: true,
			FencedPut: true, FencedCopy: true, Ordered: true, TagsKeepVersion: true}
		if err != nil || caps != want {
			t.Errorf("%s: %+v, %v", name, caps, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// testPages lists over small pages, flat and folder by folder, from everywhere.
func testPages(t *testing.T, p place) {
	lim := defaultLimits
	lim.list, lim.names = 3, 4
	long := strings.Repeat(strings.Repeat("k", 99)+"/", 11)[:maxKey-len(p.prefix)]
	all := []string{"a+b %2F", "a b", "folder/", "folder/ü", "folder/in/x", "folder/in/y", "folder!", "folder0", long, "z/1/1", "z/1/2", "z/2"}
	for i := range 20 {
		all = append(all, fmt.Sprintf("many/%02d", i))
	}
	for _, k := range all {
		p.put(t, k, []byte(k))
	}
	if _, err := p.client.NewBlockBlobClient("in bow/beside").UploadBuffer(t.Context(), []byte("x"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := p.blob("a b").CreateSnapshot(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	for name, tree := range map[string]bool{"flat": false, "folder by folder": true} {
		d := p.openWith(t, lim)
		d.tree.Store(tree)
		for _, prefix := range []string{"", "f", "folder/", "many/", "many/1", "z/1", "none"} {
			for _, start := range append([]string{"", "a", "folder/in", "many/zz", "zz"}, all...) {
				var wants []string
				for _, k := range all {
					if strings.HasPrefix(k, prefix) && k > start {
						wants = append(wants, k)
					}
				}
				if (len(prefix)+len(start))%3 == 0 {
					continue // a sample is enough
				}
				if diff := cmp.Diff(wants, keysOf(t, d, prefix, start)); diff != "" {
					t.Errorf("%s: List(%q, %q) (-want +got):\n%s", name, prefix, start, diff)
				}
			}
		}
		if !tree && !d.fromZero.Load() {
			t.Error("Azurite knows startFrom now: the comment on it is out of date")
		}
		if _, err := d.Stat(t.Context(), object.Ref{Key: long + "x"}); !fault.Is(err, fault.Invalid) {
			t.Errorf("a key too long: %v", err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// testOrder: Azurite lists in the order of UTF-16. That is noticed, and the next
// listing goes folder by folder.
func testOrder(t *testing.T, p place) {
	d := p.open(t)
	all := []string{"a/\uff21", "a/\U0001f600", "b"}
	for _, k := range all {
		p.put(t, k, []byte(k))
	}
	var failed error
	for _, err := range d.List(t.Context(), "", "") {
		if err != nil {
			failed = err
		}
	}
	if !fault.Is(failed, fault.Unsupported) {
		t.Errorf("the first listing ended with %v", failed)
	}
	if diff := cmp.Diff(all, keysOf(t, d, "", "")); diff != "" {
		t.Errorf("the second listing (-want +got):\n%s", diff)
	}
	var keys []string
	for info, err := range d.ListVersions(t.Context(), "", "a/\uff21") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	if diff := cmp.Diff(all[1:], keys); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
}

// testReplaced: what was opened is read whole, or the rest says that it changed.
// It never continues with another content.
func testReplaced(t *testing.T, p place) {
	d := p.open(t)
	old, now := bytes.Repeat([]byte("o"), 8<<20), bytes.Repeat([]byte("n"), 8<<20)
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
	if !fault.Is(err, fault.Changed) {
		t.Errorf("the rest of a replaced blob: %d bytes, %v; want changed", len(rest), err)
	}
	if _, err := d.Open(t.Context(), object.Ref{Key: "key"}, 9<<20); !fault.Is(err, fault.Invalid) {
		t.Errorf("behind the end: %v", err)
	}
}

func testBlocks(t *testing.T, p place) {
	lim := defaultLimits
	lim.block = 64 << 10
	d := p.openWith(t, lim)
	big := bytes.Repeat([]byte("0123456789abcdef"), 300_000/16)
	opt := connectors.PutOptions{Size: int64(len(big)), SHA256: sum(big), Meta: map[string]string{"landwaiter-entry": "1", "why": "because é"},
		Tags: map[string]string{"a": "b (c)!"}, ContentType: "x/y"}
	info, err := d.Put(t.Context(), "big", bytes.NewReader(big), opt)
	if err != nil {
		t.Fatal(err)
	}
	st := stat(t, d, "big")
	if st.Version != info.Version || !st.ModTime.Equal(info.ModTime) || !maps.Equal(st.Meta, opt.Meta) || st.ContentType != "x/y" || st.Size != info.Size {
		t.Errorf("Put says %+v, Stat %+v", info, st)
	}
	want(t, d, "big", string(big))
	if tags, err := d.Tags(t.Context(), object.Ref{Key: "big"}); err != nil || tags["a"] != "b (c)!" {
		t.Errorf("tags %v, %v", tags, err)
	}
	if _, err := d.Put(t.Context(), "big", bytes.NewReader(big), opt); !fault.Is(err, fault.Exists) {
		t.Errorf("create over it: %v", err)
	}
	for name, c := range map[string]struct {
		r   io.Reader
		opt connectors.PutOptions
	}{
		"hash":        {bytes.NewReader(big), connectors.PutOptions{Size: int64(len(big)), SHA256: sum([]byte("other"))}},
		"short":       {bytes.NewReader(big[:200_000]), opt},
		"long":        {io.MultiReader(bytes.NewReader(big), strings.NewReader("x")), opt},
		"hash, small": {strings.NewReader("small"), connectors.PutOptions{Size: -1, SHA256: sum([]byte("other"))}},
	} {
		if _, err := d.Put(t.Context(), "bad/"+name, c.r, c.opt); !fault.Is(err, fault.Changed) {
			t.Errorf("%s: %v", name, err)
		}
		c.opt.IfVersion = info.Version
		if _, err := d.Put(t.Context(), "big", c.r, c.opt); err == nil {
			t.Errorf("%s over another: it succeeded", name)
		}
	}
	want(t, d, "big", string(big))
	next, err := d.Put(t.Context(), "big", bytes.NewReader(big[1:]), connectors.PutOptions{Size: -1, IfVersion: info.Version})
	if err != nil || next.Size != int64(len(big)-1) {
		t.Fatalf("replace: %+v, %v", next, err)
	}
	if got := keysOf(t, d, "", ""); !slices.Equal(got, []string{"big"}) {
		t.Errorf("listed %q", got)
	}
}

func testCopy(t *testing.T, p place) {
	d := p.open(t)
	_, err := p.blob("src").UploadBuffer(t.Context(), []byte("content"), &blockblob.UploadBufferOptions{
		HTTPHeaders: &blob.HTTPHeaders{BlobContentType: ptr("x/y"), BlobContentLanguage: ptr("de"), BlobCacheControl: ptr("no-store")},
		Metadata:    map[string]*string{"Theirs": ptr("kept")}, Tags: map[string]string{"team": "red"}, AccessTier: ptr(blob.AccessTierCool),
	})
	if err != nil {
		t.Fatal(err)
	}
	src := stat(t, d, "src")
	ref := object.Ref{Key: "src", Version: src.Version}
	opt := connectors.PutOptions{Size: 7, Meta: map[string]string{"landwaiter-entry": "1"}, Tags: map[string]string{"lw": "x"}}
	info, err := d.Copy(t.Context(), ref, "dst", opt)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"theirs": "kept", "landwaiter-entry": "1"}, info.Meta); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	props, err := p.blob("dst").GetProperties(t.Context(), nil)
	if err != nil || str(props.ContentLanguage) != "de" || str(props.CacheControl) != "no-store" || str(props.AccessTier) != "Cool" || info.ContentType != "x/y" {
		t.Errorf("%+v, %v", props, err)
	}
	if tags, err := d.Tags(t.Context(), object.Ref{Key: "dst"}); err != nil || !maps.Equal(tags, map[string]string{"team": "red", "lw": "x"}) {
		t.Errorf("tags %v, %v", tags, err)
	}
	if _, err := d.Copy(t.Context(), ref, "dst", opt); !fault.Is(err, fault.Exists) {
		t.Errorf("over what exists: %v", err)
	}
	again := opt
	again.IfVersion = info.Version
	if _, err := d.Copy(t.Context(), ref, "dst", again); err != nil {
		t.Errorf("in its place: %v", err)
	}
	if _, err := d.Copy(t.Context(), ref, "dst", again); !fault.Is(err, fault.Changed) {
		t.Errorf("in the place of what was replaced: %v", err)
	}
	again = opt
	again.Size = 8
	if _, err := d.Copy(t.Context(), ref, "other", again); !fault.Is(err, fault.Changed) {
		t.Errorf("of another size: %v", err)
	}
	if _, err := d.Copy(t.Context(), object.Ref{Key: "nothing", Version: src.Version}, "other", opt); !fault.Is(err, fault.NotFound) {
		t.Errorf("of nothing: %v", err)
	}
}

func testRemove(t *testing.T, p place) {
	d := p.open(t)
	remove := func(d *Driver, key string) error {
		_, err := d.Remove(t.Context(), object.Ref{Key: key, Version: stat(t, d, key).Version}, connectors.Fence{})
		return err
	}
	// Someone else's lease is respected, and named.
	p.put(t, "leased", []byte("x"))
	l, err := lease.NewBlobClient(p.blob("leased"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.AcquireLease(t.Context(), -1, nil); err != nil {
		t.Fatal(err)
	}
	if err := remove(d, "leased"); !fault.Is(err, fault.Unavailable) || fault.ReasonOf(err) != "locked" {
		t.Errorf("under a lease: %v", err)
	}
	if _, err := d.Put(t.Context(), "leased", strings.NewReader("y"), connectors.PutOptions{Size: 1, IfVersion: stat(t, d, "leased").Version}); fault.ReasonOf(err) != "locked" {
		t.Errorf("Put under a lease: %v", err)
	}
	want(t, d, "leased", "x")
	if _, err := l.ReleaseLease(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := remove(d, "leased"); err != nil {
		t.Errorf("after the lease: %v", err)
	}
	// Snapshots go only where the unit says so, and our own lease is given back.
	p.put(t, "snapped", []byte("x"))
	if _, err := p.blob("snapped").CreateSnapshot(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := remove(d, "snapped"); !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "delete_snapshots") {
		t.Errorf("with snapshots: %v", err)
	}
	if err := p.tryPut("snapped", []byte("y")); err != nil {
		t.Errorf("a writer after a removal that failed: %v", err)
	}
	u := p.unit()
	u.Options["delete_snapshots"] = "include"
	all, err := open(t.Context(), u, defaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	if err := remove(all, "snapped"); err != nil {
		t.Errorf("with snapshots, which go along: %v", err)
	}
	if _, err := d.Remove(t.Context(), object.Ref{Key: "snapped"}, connectors.Fence{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("of no version: %v", err)
	}
}

func testTags(t *testing.T, p place) {
	d := p.open(t)
	p.put(t, "key", []byte("x"))
	// Another's tag that reads like an escape of ours stays as it is written.
	theirs := map[string]string{"theirs": "_x0041_ _x0021_", "t2": "2", "t3": "3", "t4": "4", "t5": "5", "t6": "6", "t7": "7", "t8": "8"}
	if _, err := p.blob("key").SetTags(t.Context(), theirs, nil); err != nil {
		t.Fatal(err)
	}
	before := stat(t, d, "key")
	ref := object.Ref{Key: "key", Version: before.Version}
	set := map[string]string{"lw threat": "Eicar (Test)!_x0041_ ünï 😀"}
	info, err := d.Tag(t.Context(), ref, set)
	if err != nil || info.Version != before.Version {
		t.Fatalf("%+v, %v", info, err)
	}
	out, err := p.blob("key").GetTags(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]string{}
	for _, tag := range out.BlobTagSet {
		written[*tag.Key] = *tag.Value
	}
	wants := maps.Clone(theirs)
	wants["lw threat"] = "Eicar _x0028_Test_x0029__x0021__x005F_x0041_ _x00FC_n_x00EF_ _xD83D__xDE00_"
	if diff := cmp.Diff(wants, written); diff != "" {
		t.Errorf("as written (-want +got):\n%s", diff)
	}
	if got, err := d.Tags(t.Context(), ref); err != nil || got["lw threat"] != set["lw threat"] {
		t.Errorf("read back %q, %v", got, err)
	}
	for name, set := range map[string]map[string]string{
		"too many":        {"a": "1", "b": "2"},
		"empty key":       {"": "x"},
		"long key":        {strings.Repeat("k", 129): "x"},
		"long value":      {"a": strings.Repeat("v", 257)},
		"long if written": {"a": strings.Repeat("!", 37)},
	} {
		if _, err := d.Tag(t.Context(), ref, set); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.Tag(t.Context(), ref, map[string]string{"lw threat": "", "a": "1", "b": "2"}); err != nil {
		t.Errorf("two in the place of one: %v", err)
	}
}

// testMetaTags: where there are no index tags, metadata serves, with names as
// they are and the rest of the metadata left alone. Azurite has index tags: the
// driver is told that it has none.
func testMetaTags(t *testing.T, p place) {
	d := p.open(t)
	d.tagless.Store(true)
	_, err := p.blob("key").UploadBuffer(t.Context(), []byte("x"), &blockblob.UploadBufferOptions{Metadata: map[string]*string{"TheirName": ptr("kept")}})
	if err != nil {
		t.Fatal(err)
	}
	before := stat(t, d, "key")
	ref := object.Ref{Key: "key", Version: before.Version}
	set := map[string]string{"MetaDefenderResult": "Infected", "lw threat": "ü!"}
	info, err := d.Tag(t.Context(), ref, set)
	if err != nil || info.Version == before.Version || stat(t, d, "key").Version != info.Version {
		t.Fatalf("%+v, %v", info, err)
	}
	if got, err := d.Tags(t.Context(), object.Ref{Key: "key"}); err != nil || !maps.Equal(got, set) {
		t.Errorf("tags %q, %v", got, err)
	}
	if meta := stat(t, d, "key").Meta; meta["theirname"] != "kept" {
		t.Errorf("metadata %q", meta)
	}
	if _, err := d.Tag(t.Context(), ref, map[string]string{"a": "b"}); !fault.Is(err, fault.Changed) {
		t.Errorf("of the version before: %v", err)
	}
	ref.Version = info.Version
	copied, err := d.Copy(t.Context(), ref, "copy", connectors.PutOptions{Meta: map[string]string{"landwaiter-entry": "1"}, Tags: map[string]string{"Another": "one"}})
	if err != nil {
		t.Fatal(err)
	}
	set["Another"] = "one"
	if got, err := d.Tags(t.Context(), object.Ref{Key: "copy", Version: copied.Version}); err != nil || !maps.Equal(got, set) {
		t.Errorf("tags of the copy %q, %v", got, err)
	}
	if _, err := d.Put(t.Context(), "put", strings.NewReader("x"), connectors.PutOptions{Size: 1, Tags: set}); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Tags(t.Context(), object.Ref{Key: "put"}); err != nil || !maps.Equal(got, set) {
		t.Errorf("tags of the put %q, %v", got, err)
	}
}

func testCold(t *testing.T, p place) {
	d := p.open(t)
	p.put(t, "key", []byte("x"))
	if _, err := p.blob("key").SetTier(t.Context(), blob.AccessTierArchive, nil); err != nil {
		t.Fatal(err)
	}
	info := stat(t, d, "key")
	for listed, err := range d.List(t.Context(), "", "") {
		if err != nil || !listed.Cold || listed.Version != info.Version {
			t.Errorf("listed %+v, %v", listed, err)
		}
	}
	if !info.Cold || info.StorageClass != "Archive" {
		t.Errorf("%+v", info)
	}
	ref := object.Ref{Key: "key", Version: info.Version}
	if _, err := d.Open(t.Context(), ref, 0); !fault.Is(err, fault.Denied) || fault.ReasonOf(err) != "cold_tier" {
		t.Errorf("Open: %v", err)
	}
	if _, err := d.Copy(t.Context(), ref, "copy", connectors.PutOptions{}); fault.ReasonOf(err) != "cold_tier" {
		t.Errorf("Copy: %v", err)
	}
	if _, err := d.Remove(t.Context(), ref, connectors.Fence{}); err != nil {
		t.Errorf("Remove: %v", err)
	}
}
