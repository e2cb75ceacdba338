package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/archive/archivetest"
)

// fuzzLimits keep a case short; the bounds themselves are among what is tested.
var fuzzLimits = scan.Limits{Depth: 4, Entries: 200, Expanded: 4 << 20, Ratio: 1000}

// fuzzKind fuzzes the parser of one kind, or of what Sniff says.
func fuzzKind(f *testing.F, kind Kind, more ...[]byte) {
	for name, b := range archivetest.Formats() {
		if kind == Plain || name == string(kind) {
			f.Add(b)
		}
	}
	for _, b := range more {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &walker{ctx: context.Background(), size: int64(len(b)), lim: fuzzLimits, opts: Options{Memory: 64 << 20}}
		var bytesSeen, open int64
		w.opts.Visit = func(path string) io.WriteCloser {
			if len(path) > maxPath {
				t.Errorf("path of %d bytes", len(path))
			}
			open++
			return &tally{&bytesSeen, &open}
		}
		root := &rootReader{w: w, r: bytes.NewReader(b)}
		src := source{r: io.NewSectionReader(root, 0, w.size), at: root, size: w.size}
		if kind == Plain {
			w.open(src, w.sniff(b[:min(len(b), HeadSize)], b), "", 1)
		} else {
			w.into(src, kind, "", 1)
		}
		if w.stop != nil && !errors.Is(w.stop, errStop) {
			t.Errorf("stopped by %v", w.stop)
		}
		x := w.facts
		if x.Entries > fuzzLimits.Entries || x.Depth > fuzzLimits.Depth || x.Expanded > fuzzLimits.Expanded+bufSize ||
			x.Expanded != bytesSeen || open != 0 {
			t.Errorf("%+v, %d bytes seen, %d open", x, bytesSeen, open)
		}
		if w.mem != 0 || w.end != 0 {
			t.Errorf("%d bytes of memory and %d of the spool not given back", w.mem, w.end)
		}
		if w.stop != nil && x.Reason == "" {
			t.Error("stopped without a reason")
		}
	})
}

type tally struct{ n, open *int64 }

func (c *tally) Write(p []byte) (int, error) { *c.n += int64(len(p)); return len(p), nil }
func (c *tally) Close() error                { *c.open--; return nil }

func FuzzWalk(f *testing.F) {
	fuzzKind(f, Plain, archivetest.OverlapZip(3, 10), archivetest.SparseTar(1<<20), archivetest.Nested(5, []byte("x")))
}

func FuzzWalkZip(f *testing.F) {
	fuzzKind(f, Zip, archivetest.OverlapZip(3, 10), archivetest.ManyZip(3), archivetest.StoredZip("a", "b", "c", "d"))
}

func FuzzWalkTar(f *testing.F) {
	fuzzKind(f, Tar, archivetest.SparseTar(1<<20), archivetest.Tar(tar.FormatGNU, "a", "b"), archivetest.Tar(tar.FormatUSTAR, "a", "b"))
}

func FuzzWalkGzip(f *testing.F)  { fuzzKind(f, Gzip) }
func FuzzWalkBzip2(f *testing.F) { fuzzKind(f, Bzip2) }
func FuzzWalkXz(f *testing.F)    { fuzzKind(f, Xz) }
func FuzzWalkZstd(f *testing.F)  { fuzzKind(f, Zstd, skippable("table")) }
func FuzzWalkAr(f *testing.F)    { fuzzKind(f, Ar) }
func FuzzWalkOLE(f *testing.F)   { fuzzKind(f, OLE, []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")) }

// FuzzSniff: what tells kinds apart runs in the daemon itself.
func FuzzSniff(f *testing.F) {
	for _, b := range archivetest.Formats() {
		f.Add(b)
	}
	f.Add([]byte("MZ" + sig7z + "...................................."))
	f.Fuzz(func(t *testing.T, b []byte) {
		Sniff(b, b)
		Sniff(b[:min(len(b), HeadSize)], b[max(0, len(b)-TailSize):])
		Embedded(b)
		l := NewLook(0, []byte(archivetest.Marker))
		half := len(b) / 2
		_, _ = l.Write(b[:half])
		_, _ = l.Write(b[half:])
		if got, want := l.Hit(), bytes.Contains(b, []byte(archivetest.Marker)); got != want {
			t.Errorf("hit %v, want %v", got, want)
		}
	})
}

// TestLook: the needle is found wherever writes cut it.
func TestLook(t *testing.T) {
	needle := []byte("0123456789012345678901234567$0123456789012345678901234567890123456789")
	content := append(bytes.Repeat([]byte("0123456789$"), 50), needle...)
	for n := 1; n < len(needle)+5; n++ {
		l := NewLook(0, needle)
		for p := content; len(p) > 0; p = p[min(n, len(p)):] {
			_, _ = l.Write(p[:min(n, len(p))])
		}
		if !l.Hit() {
			t.Errorf("not found in pieces of %d", n)
		}
		l.Reset()
		_, _ = bufio.NewReader(bytes.NewReader(content[:len(content)-1])).WriteTo(l)
		if l.Hit() {
			t.Errorf("found without its end")
		}
	}
}
