package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

// onServers runs f on each real server, with a bucket that keeps versions and
// one that does not.
func onServers(t *testing.T, f func(t *testing.T, p place)) {
	for name, start := range map[string]func(testing.TB) servers.S3{"versitygw": servers.Versitygw, "minio": servers.MinIO} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			for _, versioned := range []bool{false, true} {
				t.Run(fmt.Sprintf("versioned=%v", versioned), func(t *testing.T) { f(t, newPlace(t, srv, versioned)) })
			}
		})
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
	onServers(t, func(t *testing.T, p place) {
		for name, c := range map[string]struct {
			change func(*connectors.Unit)
			kind   fault.Kind
			words  string
		}{
			"key id":   {func(u *connectors.Unit) { u.Options["access_key"] = "nobody" }, fault.Denied, "access key is unknown"},
			"secret":   {func(u *connectors.Unit) { u.Options["secret_key"] = "wrong-secret" }, fault.Denied, "secret key is wrong"},
			"bucket":   {func(u *connectors.Unit) { u.URL = strings.Replace(u.URL, p.bucket, "no-such-bucket", 1) }, fault.NotFound, "bucket does not exist"},
			"region":   {func(u *connectors.Unit) { u.URL = strings.Replace(u.URL, p.srv.Region, "eu-west-9", 1) }, fault.Invalid, "us-east-1"},
			"endpoint": {func(u *connectors.Unit) { u.URL = strings.Replace(u.URL, p.srv.Endpoint, "http://127.0.0.1:1", 1) }, fault.Unavailable, "refused"},
		} {
			u := p.unit()
			c.change(&u)
			d, err := Open(t.Context(), u)
			if d != nil || !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%s: got %v, %v; want %v with %q", name, d, err, c.kind, c.words)
			}
			if err != nil && strings.Contains(err.Error(), p.srv.SecretKey) {
				t.Errorf("%s: the error tells the secret: %v", name, err)
			}
		}
	})
}

func TestLongestKeyAndPages(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, p place) {
		lim := defaultLimits
		lim.list = 3
		d := p.openWith(t, lim)
		long := strings.Repeat(strings.Repeat("k", 99)+"/", 11)
		long = long[:maxKey-len(p.prefix)]
		want := []string{"a+b %2F", "a b", "folder/", "folder/ü", long, "z1", "z2", "z3", "z4"}
		for _, k := range want {
			var content []byte
			if !strings.HasSuffix(k, "/") { // a folder marker is empty
				content = []byte(k)
			}
			p.put(t, k, content)
			p.put(t, k, content)
		}
		p.remove(t, "z2")
		seen := map[string]object.Info{}
		for info, err := range d.List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			seen[info.Key] = info
			got, err := read(t.Context(), d, object.Ref{Key: info.Key, Version: info.Version}, 0)
			if err != nil || int64(len(got)) != info.Size || info.Size > 0 && string(got) != info.Key {
				t.Errorf("%q reads %q, %v", info.Key, got, err)
			}
		}
		if len(seen) != len(want)-1 {
			t.Errorf("listed %d keys, want %d: %v", len(seen), len(want)-1, seen)
		}
		if _, ok := seen["folder/"]; !ok {
			t.Error("the folder marker is not listed")
		}
		if _, err := d.Stat(t.Context(), object.Ref{Key: long + "x"}); !fault.Is(err, fault.Invalid) {
			t.Errorf("a key too long: %v", err)
		}
	})
}

// TestReplacedDuringRead: what was opened is read whole, or the resumed read
// says that it changed. It never continues with another content.
func TestReplacedDuringRead(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, p place) {
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
		switch {
		case d.keeps.Load():
			if err != nil || !bytes.Equal(rest, old[1<<20:]) {
				t.Errorf("the old version's rest: %d bytes, %v", len(rest), err)
			}
		case !fault.Is(err, fault.Changed):
			t.Errorf("the rest of a replaced object: %d bytes, %v; want changed", len(rest), err)
		}
	})
}

func TestPutInParts(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, p place) {
		lim := defaultLimits
		lim.whole, lim.part = 1<<20, minPart
		d := p.openWith(t, lim)
		big := bytes.Repeat([]byte("0123456789abcdef"), (12<<20)/16)
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
		opt.Tags = nil
		for name, c := range map[string]struct {
			r    io.Reader
			opt  connectors.PutOptions
			kind fault.Kind
		}{
			"hash":       {bytes.NewReader(big), connectors.PutOptions{Size: int64(len(big)), SHA256: sum([]byte("other"))}, fault.Changed},
			"short":      {bytes.NewReader(big[:11<<20]), opt, fault.Changed},
			"long":       {io.MultiReader(bytes.NewReader(big), strings.NewReader("x")), opt, fault.Changed},
			"broken":     {io.MultiReader(bytes.NewReader(big[:11<<20]), errReader{broken}), opt, fault.Unavailable},
			"unexpected": {io.MultiReader(bytes.NewReader(big[:11<<20]), errReader{io.ErrUnexpectedEOF}), connectors.PutOptions{Size: -1}, fault.Unavailable},
		} {
			if _, err := d.Put(t.Context(), "failed", c.r, c.opt); !fault.Is(err, c.kind) {
				t.Errorf("%s: got %v, want %v", name, err, c.kind)
			}
			if _, err := d.Stat(t.Context(), object.Ref{Key: "failed"}); !fault.Is(err, fault.NotFound) {
				t.Errorf("%s: something is there: %v", name, err)
			}
		}
		left, err := p.srv.Client().ListMultipartUploads(t.Context(), &awss3.ListMultipartUploadsInput{Bucket: &p.bucket})
		if err != nil || len(left.Uploads) != 0 {
			t.Errorf("%d uploads are left, %v", len(left.Uploads), err)
		}
		unsized, err := d.Put(t.Context(), "big", io.MultiReader(bytes.NewReader(big)), connectors.PutOptions{Size: -1, IfVersion: info.Version})
		if err != nil || unsized.Size != int64(len(big)) || unsized.Version == info.Version && d.keeps.Load() {
			t.Errorf("replace with unknown size: %+v, %v", unsized, err)
		}
	})
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

func TestCopyKeepsEverything(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, p place) {
		for _, how := range []string{"unknown", "probed", "whole"} {
			d := p.open(t)
			switch how {
			case "probed":
				if _, err := d.Probe(t.Context(), "probe/"); err != nil {
					t.Fatal(err)
				}
			case "whole": // as on a server that honours nothing better
				d.honours.complete.Set(false)
			}
			d.limits.copy = 6 << 20
			for _, size := range []int{0, 1000, 11 << 20} {
				key := fmt.Sprintf("src + %% é %d", size)
				content := bytes.Repeat([]byte("x"), size)
				_, err := p.srv.Client().PutObject(t.Context(), &awss3.PutObjectInput{
					Bucket: &p.bucket, Key: aws.String(p.prefix + key), Body: bytes.NewReader(content), ContentType: aws.String("a/b"), CacheControl: aws.String("no-store"),
					ContentDisposition: aws.String("attachment"), Metadata: map[string]string{"who": "them"}, Tagging: aws.String("t%201=v%2B"),
				})
				if err != nil {
					t.Fatal(err)
				}
				src, err := d.Stat(t.Context(), object.Ref{Key: key})
				if err != nil {
					t.Fatal(err)
				}
				dst := how + "/" + key
				opt := connectors.PutOptions{Size: int64(size), Meta: map[string]string{"entry": "é"}, Tags: map[string]string{"ours": "1"}}
				info, err := d.Copy(t.Context(), object.Ref{Key: key, Version: src.Version}, dst, opt)
				if err != nil {
					t.Fatalf("%s %d: %v", how, size, err)
				}
				f, err := d.find(t.Context(), "test", dst, version{})
				if err != nil || f.info.Version != info.Version || f.info.ContentType != "a/b" || aws.ToString(f.head.CacheControl) != "no-store" ||
					aws.ToString(f.head.ContentDisposition) != "attachment" || f.info.Meta["who"] != "them" || f.info.Meta["entry"] != "é" {
					t.Errorf("%s %d: the copy is %+v, %v", how, size, f.info, err)
				}
				tags, err := d.Tags(t.Context(), object.Ref{Key: dst})
				if want := map[string]string{"t 1": "v+", "ours": "1"}; err != nil || !maps.Equal(tags, want) {
					t.Errorf("%s %d: tags %v, %v", how, size, tags, err)
				}
				if got, err := read(t.Context(), d, object.Ref{Key: dst, Version: info.Version}, 0); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s %d: reads %d bytes, %v", how, size, len(got), err)
				}
				if _, err := d.Copy(t.Context(), object.Ref{Key: key, Version: src.Version}, dst, opt); !fault.Is(err, fault.Exists) {
					t.Errorf("%s %d: copy over it: %v", how, size, err)
				}
				opt.IfVersion = info.Version
				if _, err := d.Copy(t.Context(), object.Ref{Key: key, Version: src.Version}, dst, opt); err != nil {
					t.Errorf("%s %d: replace it: %v", how, size, err)
				}
			}
		}
	})
}

func TestForeignTagsAreKept(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, p place) {
		d := p.open(t)
		p.put(t, "key", []byte("content"))
		info, err := d.Stat(t.Context(), object.Ref{Key: "key"})
		if err != nil {
			t.Fatal(err)
		}
		ref := object.Ref{Key: "key", Version: info.Version}
		foreign := map[string]string{}
		for i := range 9 {
			foreign[fmt.Sprint("f", i)] = "theirs"
		}
		if err := d.putTags(t.Context(), "test", "key", nil, foreign); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Tag(t.Context(), ref, map[string]string{"lw": "1"}); err != nil {
			t.Fatal(err)
		}
		for _, bad := range []map[string]string{{"more": "1"}, {"lw": strings.Repeat("x", 257)}, {strings.Repeat("k", 129): "v"}, {"lw": "a\nb"}, {"aws:x": "1"}, {"": "1"}} {
			if _, err := d.Tag(t.Context(), ref, bad); !fault.Is(err, fault.Invalid) {
				t.Errorf("Tag(%v): %v", bad, err)
			}
		}
		tags, err := d.Tags(t.Context(), ref)
		foreign["lw"] = "1"
		if err != nil || !maps.Equal(tags, foreign) {
			t.Errorf("tags %v, %v; want %v", tags, err, foreign)
		}
	})
}

// TestIgnoredFence: a server that ignores If-Match on DELETE is found out, and
// removals are refused, unless the unit allows them.
func TestIgnoredFence(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.MinIO(t), false)
	u := p.unit()
	d, err := Open(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	probed, err := connectors.Probe(t.Context(), u, d)
	if err != nil || probed.Caps.FencedRemove || !probed.Caps.Remove {
		t.Fatalf("%+v, %v", probed, err)
	}
	p.put(t, "key", []byte("content"))
	info, err := d.Stat(t.Context(), object.Ref{Key: "key"})
	if err != nil {
		t.Fatal(err)
	}
	ref := object.Ref{Key: "key", Version: info.Version}
	if _, err := d.(*Driver).Remove(t.Context(), ref, connectors.Fence{}); !fault.Is(err, fault.Unsupported) {
		t.Errorf("the driver: %v", err)
	}
	st := connectors.NewStorage(u, d, connectors.Options{Probed: &probed})
	if _, err := st.Remove(t.Context(), ref, connectors.Fence{}); !fault.Is(err, fault.Unsupported) {
		t.Errorf("the storage: %v", err)
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

// TestVersionsComeAndGo covers buckets whose versioning is turned on late and
// suspended again, so that objects without a version id lie among others.
func TestVersionsComeAndGo(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) servers.S3{"versitygw": servers.Versitygw, "minio": servers.MinIO} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, start(t), false)
			p.put(t, "key", []byte("before"))
			d := p.open(t)
			before, err := d.Stat(t.Context(), object.Ref{Key: "key"})
			if err != nil {
				t.Fatal(err)
			}
			p.versioning(t, types.BucketVersioningStatusEnabled)
			p.put(t, "key", []byte("versioned"))
			now, err := d.Stat(t.Context(), object.Ref{Key: "key"})
			if err != nil || strings.Contains(now.Version, "/") || !d.keeps.Load() {
				t.Fatalf("the driver did not notice versioning: %+v, %v", now, err)
			}
			var all []string
			for info, err := range d.ListVersions(t.Context(), "", "") {
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, info.Version)
			}
			if len(all) != 2 || all[0] != now.Version || all[1] != before.Version {
				t.Errorf("versions %q, want %q and %q", all, now.Version, before.Version)
			}
			// The object from before is the "null" version now, below the new one.
			old := object.Ref{Key: "key", Version: before.Version}
			if got, err := read(t.Context(), d, old, 0); err != nil || string(got) != "before" {
				t.Errorf("the old object reads %q, %v", got, err)
			}
			if _, err := d.Tag(t.Context(), old, map[string]string{"lw": "1"}); err != nil {
				t.Errorf("tag the old object: %v", err)
			}
			if tags, err := d.Tags(t.Context(), object.Ref{Key: "key"}); err != nil || len(tags) != 0 {
				t.Errorf("the new object has the tags %v, %v", tags, err)
			}
			if _, err := d.Remove(t.Context(), old, connectors.Fence{}); err != nil {
				t.Errorf("remove the old object: %v", err)
			}
			if _, err := d.Stat(t.Context(), old); !fault.Is(err, fault.Changed) {
				t.Errorf("the old object after its removal: %v", err)
			}
			p.versioning(t, types.BucketVersioningStatusSuspended)
			p.put(t, "key", []byte("suspended"))
			null, err := d.Stat(t.Context(), object.Ref{Key: "key"})
			if err != nil || !strings.Contains(null.Version, "/") {
				t.Fatalf("%+v, %v", null, err)
			}
			if _, err := d.Probe(t.Context(), ".probe/"); err != nil {
				t.Fatal(err)
			}
			p.put(t, "key", []byte("suspended, replaced"))
			_, err = d.Remove(t.Context(), object.Ref{Key: "key", Version: null.Version}, connectors.Fence{})
			if !fault.Is(err, fault.Changed) {
				t.Errorf("remove a replaced null version: %v", err)
			}
			null, err = d.Stat(t.Context(), object.Ref{Key: "key"})
			if err != nil {
				t.Fatal(err)
			}
			rem, err := d.Remove(t.Context(), object.Ref{Key: "key", Version: null.Version}, connectors.Fence{})
			if err != nil {
				t.Errorf("remove a null version: %+v, %v", rem, err)
			}
			if got, err := read(t.Context(), d, object.Ref{Key: "key"}, 0); err != nil || string(got) != "versioned" {
				t.Errorf("after the removal the key reads %q, %v; want the version below", got, err)
			}
		})
	}
}

func (p place) versioning(t *testing.T, s types.BucketVersioningStatus) {
	t.Helper()
	_, err := p.srv.Client().PutBucketVersioning(t.Context(), &awss3.PutBucketVersioningInput{Bucket: &p.bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: s}})
	if err != nil {
		t.Fatal(err)
	}
}

// TestObjectLock: what a lock holds is hidden by a marker, and the outcome says
// that its bytes remain.
func TestObjectLock(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) servers.S3{"versitygw": servers.Versitygw, "minio": servers.MinIO} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			p := place{srv: srv, bucket: "locked", prefix: "in box/"}
			if _, err := srv.Client().CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &p.bucket, ObjectLockEnabledForBucket: aws.Bool(true)}); err != nil {
				t.Fatal(err)
			}
			d := p.open(t)
			if _, err := srv.Client().PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &p.bucket, Key: aws.String(p.prefix + "key"), Body: strings.NewReader("held"),
				ObjectLockMode: types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: aws.Time(time.Now().Add(time.Hour))}); err != nil {
				t.Fatal(err)
			}
			info, err := d.Stat(t.Context(), object.Ref{Key: "key"})
			if err != nil {
				t.Fatal(err)
			}
			ref := object.Ref{Key: "key", Version: info.Version}
			for range 2 {
				rem, err := d.Remove(t.Context(), ref, connectors.Fence{})
				if err != nil || !rem.Marker {
					t.Fatalf("%+v, %v", rem, err)
				}
			}
			if _, err := d.Stat(t.Context(), object.Ref{Key: "key"}); !fault.Is(err, fault.NotFound) {
				t.Errorf("the key: %v", err)
			}
			if got, err := read(t.Context(), d, ref, 0); err != nil || string(got) != "held" {
				t.Errorf("the bytes: %q, %v", got, err)
			}
			// Below a newer version there is nothing to hide.
			p.put(t, "key", []byte("newer"))
			if _, err := d.Remove(t.Context(), ref, connectors.Fence{}); !fault.Is(err, fault.Denied) {
				t.Errorf("a held version below another: %v", err)
			}
			if got, err := read(t.Context(), d, object.Ref{Key: "key"}, 0); err != nil || string(got) != "newer" {
				t.Errorf("the newer version reads %q, %v", got, err)
			}
		})
	}
}
