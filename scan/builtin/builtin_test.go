package builtin

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/archive/archivetest"
	"github.com/landwaiter/landwaiter/scan/box"
	"github.com/landwaiter/landwaiter/scan/scantest"
)

func TestMain(m *testing.M) {
	box.Main()
	goleak.VerifyTestMain(m)
}

// stream is a sample that can only be read in order, file one that a child can
// read by itself.
func stream(b []byte) scan.Sample {
	return scan.Sample{Name: "stream", Size: int64(len(b)), Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}}
}

func file(t testing.TB, b []byte) scan.Sample {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	s := stream(b)
	s.Name, s.File = "file", f
	return s
}

func open(t testing.TB, o Options) *Engine {
	t.Helper()
	e, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func pool(t testing.TB, o box.Options) *box.Pool {
	t.Helper()
	p, err := box.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestSuite(t *testing.T) {
	p := pool(t, box.Options{})
	scantest.Run(t, scantest.Harness{Open: func(t *testing.T) scan.Engine {
		e, err := Open(context.Background(), Options{Box: p})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}})
}

func TestScan(t *testing.T) {
	bad := []byte("the worst there is")
	list := filepath.Join(t.TempDir(), "list.hdb")
	if err := os.WriteFile(list, fmt.Appendf(nil, "%x:%d:Worst\n", md5.Sum(bad), len(bad)), 0o600); err != nil {
		t.Fatal(err)
	}
	e := open(t, Options{HashLists: []string{list}, Box: pool(t, box.Options{})})
	long := bytes.Repeat([]byte("nothing to see. "), 100_000)
	cases := []struct {
		name    string
		content []byte
		want    scan.Verdict
		reason  scan.Reason
		threat  string
	}{
		{"empty", nil, scan.Clean, "", ""},
		{"plain", []byte("hello"), scan.Clean, "", ""},
		{"eicar", eicar(), scan.Infected, "", Threat},
		{"eicar at the end of much", append(bytes.Clone(long), eicar()...), scan.Infected, "", Threat},
		{"eicar across chunks", append(bytes.Repeat([]byte("x"), chunk-30), eicar()...), scan.Infected, "", Threat},
		{"half of eicar", eicar()[:67], scan.Clean, "", ""},
		{"listed", bad, scan.Infected, "", "Worst"},
		{"listed and more", append(bytes.Clone(bad), '.'), scan.Clean, "", ""},
		{"zip", archivetest.Zip("a", string(long)), scan.Clean, "", ""},
		{"eicar in a zip", archivetest.Zip("a", string(long)+string(eicar())), scan.Infected, "", Threat},
		{"listed in a zip in a zip", archivetest.Zip("b", string(archivetest.Zip("a", string(bad)))), scan.Infected, "", "Worst"},
		{"zip behind a program", append([]byte("MZ"), archivetest.Zip("a", string(long)+string(eicar()))...), scan.Infected, "", Threat},
		{"zip behind text", append([]byte("text"), archivetest.Zip("a", string(long)+string(eicar()))...), scan.Infected, "", Threat},
		{"7z", []byte("7z\xbc\xaf\x27\x1c and so on"), scan.NotScanned, scan.Unsupported, ""},
	}
	for _, c := range cases {
		for _, s := range []scan.Sample{stream(c.content), file(t, c.content)} {
			t.Run(c.name+"/"+s.Name, func(t *testing.T) {
				got, err := e.Scan(context.Background(), s)
				if err != nil {
					t.Fatal(err)
				}
				if got.Verdict != c.want || got.Reason != c.reason || got.Threat != c.threat {
					t.Errorf("got %v %q %q, want %v %q %q", got.Verdict, got.Reason, got.Threat, c.want, c.reason, c.threat)
				}
			})
		}
	}
	t.Logf("%+v", e.opts.Box.Status())
}

// TestNotScanned: what was not seen in full has a reason, and what could not be
// read is an error.
func TestNotScanned(t *testing.T) {
	p := pool(t, box.Options{Budget: 20 << 20})
	lim := scan.Limits{Size: 32 << 20, Entries: 3, Depth: 2}
	e := open(t, Options{Box: p, Limits: lim})
	big := append([]byte("\x1f\x8b\x08\x00"), make([]byte, 21<<20)...)
	for _, c := range []struct {
		name    string
		e       *Engine
		content []byte
		want    scan.Reason
	}{
		{"too large", e, make([]byte, 33<<20), scan.TooLarge},
		{"too large to put aside", e, big, scan.TooLarge},
		{"entries", e, archivetest.ManyZip(4), scan.ArchiveFiles},
		{"depth", e, archivetest.Nested(3, []byte("x")), scan.ArchiveDepth},
		{"ratio", e, archivetest.Bombs()["gzip"], scan.ArchiveSize},
		{"damaged", e, archivetest.Xz([]byte("x"))[:40], scan.Unsupported},
		{"no box", open(t, Options{}), archivetest.Zip("a", "b"), scan.Unsupported},
	} {
		rep, err := c.e.Scan(context.Background(), stream(c.content))
		if err != nil || rep.Verdict != scan.NotScanned || rep.Reason != c.want || rep.Code != scan.Code(scan.NotScanned, c.want) {
			t.Errorf("%s: got %v %q code %d, %v", c.name, rep.Verdict, rep.Reason, rep.Code, err)
		}
	}
	// What is infected is, whatever else could not be seen.
	rep, err := e.Scan(context.Background(), stream(archivetest.Zip("a", "7z\xbc\xaf\x27\x1c......", "b", string(eicar()))))
	if err != nil || rep.Verdict != scan.Infected || len(rep.Members) != 1 || rep.Members[0].Path != "b" {
		t.Errorf("got %+v, %v", rep, err)
	}
	errBad := errors.New("bad sector")
	for name, r := range map[string]io.Reader{
		"short": strings.NewReader("abc"), "long": strings.NewReader("abcdefgh"), "failing": iotest.ErrReader(errBad),
		"failing late": io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(errBad)),
	} {
		s := scan.Sample{Size: 5, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(r), nil }}
		if rep, err := e.Scan(context.Background(), s); err == nil {
			t.Errorf("%s: got %+v", name, rep)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Scan(ctx, stream(make([]byte, 10<<20))); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if _, err := e.Scan(ctx, stream(archivetest.Zip("a", "b"))); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// TestMemory: a large object is a stream of few buffers.
func TestMemory(t *testing.T) {
	e := open(t, Options{})
	const size = 1 << 30
	s := scan.Sample{Size: size, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.LimitReader(zeros{}, size)), nil
	}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	rep, err := e.Scan(context.Background(), s)
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	if err != nil || rep.Verdict != scan.Clean {
		t.Fatal(rep, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("allocated %d KiB", n>>10)
	}
	t.Logf("%d MB/s", int64(size)/max(took.Milliseconds(), 1)/1000)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func BenchmarkSmall(b *testing.B) { bench(b, 4<<10) }
func BenchmarkLarge(b *testing.B) { bench(b, 64<<20) }

func bench(b *testing.B, size int) {
	content := make([]byte, size)
	for i := 0; i < len(content); i += 8 {
		binary.LittleEndian.PutUint64(content[i:], rand.Uint64())
	}
	content[0] = 'x'
	e := open(b, Options{})
	s := stream(content)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if rep, err := e.Scan(context.Background(), s); err != nil || rep.Verdict != scan.Clean {
			b.Fatal(rep, err)
		}
	}
}
