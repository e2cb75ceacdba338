package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/archive/archivetest"
)

func TestSniff(t *testing.T) {
	for kind, b := range archivetest.Formats() {
		if got := Sniff(b, b).Head; string(got) != kind {
			t.Errorf("%s: got %q", kind, got)
		}
	}
	iso := make([]byte, 0x8006)
	copy(iso[0x8001:], "CD001")
	dmg := make([]byte, 2048)
	copy(dmg[1536:], "koly")
	v7 := archivetest.Tar(tar.FormatUSTAR, "a", "b")
	copy(v7[257:265], make([]byte, 8))
	sum := 0
	for i := range v7[:512] {
		if i >= 148 && i < 156 {
			v7[i] = ' '
		}
		sum += int(v7[i])
	}
	copy(v7[148:], fmt.Sprintf("%06o\x00 ", sum))
	for _, c := range []struct {
		content    string
		head, tail Kind
	}{
		{"", "", ""},
		{"PK", "", ""},
		{"7z\xbc\xaf\x27\x1c\x00\x04", "7z", ""},
		{"Rar!\x1a\x07\x00....", "rar", ""},
		{"Rar!\x1a\x07\x01\x00....", "rar", ""},
		{"MSCF\x00\x00\x00\x00....", "cab", ""},
		{"....  -lh5-....", "", ""},
		{"\x20\x10-lh5-....", "lha", ""},
		{"1234567**ACE**", "ace", ""},
		{"070701........", "cpio", ""},
		{string(iso), "iso", ""},
		{string(dmg), "", "dmg"},
		{string(v7), Tar, ""},
		{"\x1f\x9d\x90aaaaaaaaa", "compress", ""},
		{"\x60\xea only two bytes of it", "", ""},
		{"\x1f\x8b\x08\xff reserved flags", Gzip, ""},
		{"text" + string(archivetest.Zip("a", "b")), "", Zip},
		{"text" + string(archivetest.Zip("a", "b")) + "trailing", "", Zip},
		{"PK\x05\x06 somewhere in a text is no zip of its own", Zip, ""},
		{"a PK\x05\x06 somewhere in a text is no zip", "", ""},
		{string(archivetest.Gzip([]byte("x"))) + string(archivetest.Zip("a", "b")), Gzip, Zip},
	} {
		b := []byte(c.content)
		got := Sniff(b, b)
		if got.Head != c.head || got.Tail != c.tail {
			t.Errorf("%.20q: got %q %q, want %q %q", c.content, got.Head, got.Tail, c.head, c.tail)
		}
	}
}

func TestEmbedded(t *testing.T) {
	const start = "7z\xbc\xaf\x27\x1c\x00\x04\x00\x00\x00\x0012345678901234567890"
	real7z := []byte(start)
	binary.LittleEndian.PutUint32(real7z[8:], crcOf(real7z[12:32]))
	rar5 := []byte("Rar!\x1a\x07\x01\x00....\x05\x01\x02\x03\x04\x05......")
	binary.LittleEndian.PutUint32(rar5[8:], crcOf(rar5[12:18]))
	for _, c := range []struct {
		content string
		want    Kind
	}{
		{"MZ a program that knows " + sig7z + " and " + sigRar + "\x00 by name only............................", Plain},
		{"MZ " + start, Plain},
		{"MZ " + string(real7z), "7z"},
		{"MZ " + string(rar5), "rar"},
	} {
		if got := Embedded([]byte(c.content)); got != c.want {
			t.Errorf("%.40q: got %q, want %q", c.content, got, c.want)
		}
	}
}

// TestOpens: every format is opened, alone and in every other.
func TestOpens(t *testing.T) {
	wrap := map[Kind]func(string) []byte{
		Zip:  func(s string) []byte { return archivetest.Zip("in", s) },
		Tar:  func(s string) []byte { return archivetest.Tar(tar.FormatGNU, "in", s) },
		Gzip: func(s string) []byte { return archivetest.Gzip([]byte(s)) },
		Xz:   func(s string) []byte { return archivetest.Xz([]byte(s)) },
		Zstd: func(s string) []byte { return archivetest.Zstd([]byte(s)) },
		Ar:   func(s string) []byte { return archivetest.Ar("in", s) },
	}
	for kind, b := range archivetest.Formats() {
		if s := walk(t, b, Options{}); !s.hit || s.Reason != "" || s.Depth != 1 || s.Entries != 1 || s.Kind != kind ||
			s.Largest != int64(len(archivetest.Text())) {
			t.Errorf("%s: %v", kind, s)
		}
		for outer, w := range wrap {
			if s := walk(t, w(string(b)), Options{}); !s.hit || s.Reason != "" || s.Depth != 2 || s.Entries != 2 || s.Kind != string(outer) {
				t.Errorf("%s in %s: %v", kind, outer, s)
			}
			// Large, so that it does not fit a buffer.
			pad := make([]byte, 300<<10)
			for i := range pad {
				pad[i] = byte(rand.Uint32())
			}
			big := archivetest.Tar(tar.FormatPAX, "pad", string(pad), "b", string(b))
			if kind == "zip" {
				big = archivetest.Zip("pad", string(pad), "b", string(b))
			}
			if s := walk(t, w(string(big)), Options{}); !s.hit || s.Reason != "" || s.Depth != 3 || s.Entries != 4 {
				t.Errorf("large %s in %s: %v", kind, outer, s)
			}
		}
	}
}

func crcOf(b []byte) uint32 {
	var c checked
	c.r, c.left = bytes.NewReader(b), int64(len(b))
	buf := make([]byte, len(b))
	_, _ = c.Read(buf)
	return c.crc
}

// TestBounds: each bound ends the walk under its own name, and nothing that was
// left out is silent.
func TestBounds(t *testing.T) {
	gzipped := func(depth int, b []byte) []byte {
		for range depth {
			b = archivetest.Gzip(b)
		}
		return b
	}
	many := func(n int) []byte {
		parts := make([]string, 0, 2*n)
		for i := range n {
			parts = append(parts, fmt.Sprint(i), "")
		}
		return archivetest.StoredZip(append(parts, "last", archivetest.Marker)...)
	}
	for _, c := range []struct {
		name    string
		content []byte
		lim     scan.Limits
		want    scan.Reason
		hit     bool
	}{
		{"depth 16", archivetest.Nested(15, archivetest.Zip("a", string(archivetest.Text()))), scan.Limits{}, "", true},
		{"depth 17", archivetest.Nested(16, archivetest.Zip("a", string(archivetest.Text()))), scan.Limits{}, scan.ArchiveDepth, false},
		{"depth 200", archivetest.Nested(199, archivetest.Zip("a", string(archivetest.Text()))), scan.Limits{}, scan.ArchiveDepth, false},
		{"depth 200, gzip", gzipped(200, archivetest.Text()), scan.Limits{}, scan.ArchiveDepth, false},
		{"depth 1", archivetest.Tar(tar.FormatPAX, "z", string(archivetest.Zip("b", archivetest.Marker)), "a", archivetest.Marker), scan.Limits{Depth: 1}, scan.ArchiveDepth, true},
		{"entries", many(99), scan.Limits{Entries: 100}, "", true},
		{"too many entries", many(100), scan.Limits{Entries: 100}, scan.ArchiveFiles, false},
		{"too many in a tar", archivetest.Tar(tar.FormatPAX, "1", "", "2", "", "3", "x"), scan.Limits{Entries: 2}, scan.ArchiveFiles, false},
		{"expanded", archivetest.Gzip(make([]byte, 1<<20)), scan.Limits{Expanded: 1 << 20}, "", false},
		{"too much expanded", archivetest.Gzip(make([]byte, 1<<20+1)), scan.Limits{Expanded: 1 << 20}, scan.ArchiveSize, false},
		{"ratio", archivetest.Gzip(make([]byte, 17<<20)), scan.Limits{}, scan.ArchiveSize, false},
		{"ratio below the floor", archivetest.Gzip(make([]byte, 15<<20)), scan.Limits{}, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := walk(t, c.content, Options{Limits: c.lim})
			if s.Reason != c.want || s.hit != c.hit {
				t.Errorf("got %v, want %q hit=%v", s, c.want, c.hit)
			}
		})
	}
}

// TestBombs: each ends early, whatever its format.
func TestBombs(t *testing.T) {
	for name, b := range archivetest.Bombs() {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			lim := scan.Limits{Expanded: 1 << 30}
			if testing.Short() {
				lim.Expanded = 64 << 20
			}
			s := walk(t, b, Options{Limits: lim})
			if s.Reason != scan.ArchiveSize {
				t.Errorf("got %v", s)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			t.Logf("%d bytes: %v in %v", len(b), s, time.Since(began))
		})
	}
}

// TestMillion: 10^6 entries cost no more than the bound allows.
func TestMillion(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n /= 5
	}
	b := archivetest.ManyZip(n)
	began := time.Now()
	s := walk(t, b, Options{})
	if s.Reason != scan.ArchiveFiles || s.Entries != 100_000 {
		t.Errorf("got %v", s)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if s = walk(t, b, Options{Limits: scan.Limits{Entries: n}}); s.Reason != "" || s.Entries != n {
		t.Errorf("with the bound up: %v", s)
	}
}

// TestZipTricks: a zip that another reader would read otherwise is never
// complete.
func TestZipTricks(t *testing.T) {
	base := archivetest.StoredZip("a", "harmless", "b", archivetest.Marker)
	edit := func(f func(z []byte, cd, eocd int) []byte) []byte {
		z := slices.Clone(base)
		i := bytes.LastIndex(z, []byte("PK\x05\x06"))
		return f(z, int(le.Uint32(z[i+16:])), i)
	}
	second := centralLen + 1 // the second directory row
	for _, c := range []struct {
		name string
		b    []byte
		want scan.Reason
		hit  bool
	}{
		{"as it was", base, "", true},
		{"prefix", append([]byte("MZ a program"), base...), "", true},
		{"comment and garbage", append(slices.Clone(base), "garbage"...), "", true},
		{"duplicate names", archivetest.StoredZip("a", "x", "a", archivetest.Marker), "", true},
		{"two zips", append(archivetest.StoredZip("hidden", archivetest.Marker), archivetest.StoredZip("a", "b")...), scan.Unsupported, false},
		{"not in the directory", edit(func(z []byte, cd, i int) []byte {
			row := slices.Clone(z[cd : cd+centralLen+1])
			end := slices.Clone(z[i:])
			le.PutUint16(end[8:], 1)
			le.PutUint16(end[10:], 1)
			le.PutUint32(end[12:], uint32(len(row)))
			return slices.Concat(z[:cd], row, end)
		}), scan.Unsupported, false},
		{"only in the directory", edit(func(z []byte, cd, i int) []byte {
			copy(z[le.Uint32(z[cd+len(z[cd:i])/2+42:]):], "XXXX")
			return z
		}), scan.Unsupported, false},
		{"another method", edit(func(z []byte, cd, _ int) []byte { le.PutUint16(z[cd+10:], 8); return z }), scan.Unsupported, true},
		{"another size", edit(func(z []byte, cd, _ int) []byte { le.PutUint32(z[22:], 1); return z }), scan.Unsupported, true},
		{"encrypted", edit(func(z []byte, cd, _ int) []byte { z[6] |= 1; z[cd+8] |= 1; return z }), scan.Encrypted, true},
		{"encrypted in one place", edit(func(z []byte, cd, _ int) []byte { z[cd+8] |= 1; return z }), scan.Unsupported, true},
		{"unknown method", edit(func(z []byte, cd, _ int) []byte { z[8], z[cd+10] = 9, 9; return z }), scan.Unsupported, true},
		{"wrong sum", edit(func(z []byte, cd, _ int) []byte { z[cd+second+16]++; return z }), scan.Unsupported, true},
		{"count too low", edit(func(z []byte, _, i int) []byte { z[i+8], z[i+10] = 1, 1; return z }), scan.Unsupported, true},
		{"count too high", edit(func(z []byte, _, i int) []byte { z[i+8], z[i+10] = 3, 3; return z }), scan.Unsupported, true},
		{"several volumes", edit(func(z []byte, _, i int) []byte { z[i+4], z[i+8] = 1, 1; return z }), scan.Unsupported, true},
		{"an end in the comment", edit(func(z []byte, cd, i int) []byte {
			end := slices.Clone(z[i:])
			le.PutUint16(z[i+20:], uint16(len(end)))
			return append(z, end...)
		}), scan.Unsupported, true},
		{"no end", edit(func(z []byte, _, i int) []byte { return z[:i] }), scan.Unsupported, true},
		{"7z in zip", archivetest.StoredZip("a", sig7z+"......"), scan.Unsupported, false},
		{"zip on the end of a long member in a tar", archivetest.Tar(tar.FormatPAX, "a",
			strings.Repeat("no program. ", 100_000)+string(archivetest.Zip("a", string(archivetest.Text())))), scan.Unsupported, true},
		{"zip on the end of a program in a tar", archivetest.Tar(tar.FormatPAX, "a",
			"MZ"+strings.Repeat("a program. ", 100_000)+string(archivetest.Zip("a", string(archivetest.Text())))), "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if s := walk(t, c.b, Options{}); s.Reason != c.want || s.hit != c.hit {
				t.Errorf("got %v, want %q hit=%v", s, c.want, c.hit)
			}
		})
	}
}

// TestTrailing: what follows a stream is looked at too.
func TestTrailing(t *testing.T) {
	tail := string(archivetest.Zip("a", string(archivetest.Text())))
	for _, c := range []struct {
		name string
		b    []byte
		want scan.Reason
		hit  bool
	}{
		{"gzip and zeros", append(archivetest.Gzip([]byte("x")), make([]byte, 1000)...), "", false},
		{"gzip twice", append(archivetest.Gzip([]byte("x")), archivetest.Gzip(archivetest.Text())...), "", true},
		{"marker across two gzips", append(archivetest.Gzip([]byte(archivetest.Marker[:9])), archivetest.Gzip([]byte(archivetest.Marker[9:]))...), "", true},
		{"gzip and garbage", append(archivetest.Gzip([]byte("x")), "garbage"...), "", false},
		{"gzip and tar", append(archivetest.Gzip([]byte("x")), archivetest.Tar(tar.FormatPAX, "a", string(archivetest.Gzip(archivetest.Text())))...), "", true},
		{"gzip and 7z", append(archivetest.Gzip([]byte("x")), sig7z+"......"...), scan.Unsupported, false},
		{"tar and tar", append(archivetest.Tar(tar.FormatPAX, "a", "b"), archivetest.Tar(tar.FormatPAX, "a", string(archivetest.Gzip(archivetest.Text())))...), "", true},
		{"tar and zip", append(archivetest.Tar(tar.FormatPAX, "a", "b"), tail...), "", true},
		{"xz twice", append(append(archivetest.Xz([]byte("x")), 0, 0, 0, 0), archivetest.Xz(archivetest.Text())...), "", true},
		{"xz and zip", append(archivetest.Xz([]byte("x")), tail...), "", true},
		{"bzip2 and zip", append(archivetest.Bzip2Text(), tail...), scan.Unsupported, true},
		{"zstd and zip", append(archivetest.Zstd([]byte("x")), tail...), "", true},
		{"zstd, something and zstd", slices.Concat(archivetest.Zstd([]byte("x")), skippable("seek table"), archivetest.Zstd(archivetest.Text())), "", true},
		{"zip in a frame to skip", slices.Concat(archivetest.Zstd([]byte("x")), skippable(tail), archivetest.Zstd([]byte("x"))), scan.Unsupported, true},
		{"zip in a gzip header", gzipExtra(tail), scan.Unsupported, true},
		{"an end record in a text", []byte("PK\x05\x06" + strings.Repeat("\x00", 30))[1:], "", false},
		{"an end record in a program", []byte("MZ PK\x05\x06" + strings.Repeat("\x00", 30)), "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if s := walk(t, c.b, Options{}); s.Reason != c.want || s.hit != c.hit {
				t.Errorf("got %v, want %q hit=%v", s, c.want, c.hit)
			}
		})
	}
}

// skippable is a frame that zstd readers skip.
func skippable(s string) []byte {
	return append(binary.LittleEndian.AppendUint32([]byte("\x50\x2a\x4d\x18"), uint32(len(s))), s...)
}

func gzipExtra(extra string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Extra = []byte(extra)
	_, _ = w.Write([]byte("x"))
	_ = w.Close()
	return b.Bytes()
}

func TestEncryptedOffice(t *testing.T) {
	row := make([]byte, 128)
	copy(row, encryptedPackage)
	row[64], row[66] = 34, 2
	head := append([]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), make([]byte, 504)...)
	for _, n := range []int{0, 1 << 20} {
		plain := append(slices.Clone(head), make([]byte, n)...)
		if s := walk(t, plain, Options{}); s.Reason != "" || s.Depth != 0 {
			t.Errorf("plain: %v", s)
		}
		if s := walk(t, append(plain, row...), Options{}); s.Reason != scan.Encrypted || s.Encrypted != 1 {
			t.Errorf("encrypted: %v", s)
		}
	}
}

// TestSpool: what is larger than memory goes to the file, nested too, and what
// is larger than both is said to be.
func TestSpool(t *testing.T) {
	noise := make([]byte, 20<<20)
	for i := 0; i < len(noise); i += 8 {
		binary.LittleEndian.PutUint64(noise[i:], rand.Uint64())
	}
	inner := archivetest.StoredZip("noise", string(noise), "m", archivetest.Marker)
	b := archivetest.Gzip(archivetest.StoredZip("inner", string(inner)))
	f := archivetest.Must(os.CreateTemp(t.TempDir(), ""))
	defer f.Close()
	if s := walk(t, b, Options{Spool: f, SpoolMax: 64 << 20}); s.Reason != "" || !s.hit {
		t.Errorf("got %v", s)
	}
	if s := walk(t, b, Options{Spool: f, SpoolMax: 30 << 20}); s.Reason != scan.ArchiveSize {
		t.Errorf("small spool: %v", s)
	}
	if s := walk(t, b, Options{}); s.Reason != scan.ArchiveSize {
		t.Errorf("no spool: %v", s)
	}
}

func TestErrors(t *testing.T) {
	b := archivetest.Zip("a", string(archivetest.Text()))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Walk(ctx, bytes.NewReader(archivetest.Gzip(archivetest.Text())), int64(len(archivetest.Gzip(archivetest.Text()))), Options{}); !fault.Canceled(err) {
		t.Errorf("canceled: %v", err)
	}
	if _, err := Walk(context.Background(), bytes.NewReader(b[:len(b)-1]), int64(len(b)), Options{}); err == nil {
		t.Error("a file shorter than it said is no error")
	}
	if _, err := Walk(context.Background(), badReader{}, 1000, Options{}); !errors.Is(err, errBad) {
		t.Errorf("read error: %v", err)
	}
}

var errBad = errors.New("bad sector")

type badReader struct{}

func (badReader) ReadAt([]byte, int64) (int, error) { return 0, errBad }

// TestTruncated: an archive that was cut off anywhere is never complete.
func TestTruncated(t *testing.T) {
	cases, violations := 0, 0
	for kind, b := range archivetest.Formats() {
		for n := 0; n < len(b); n++ {
			if testing.Short() && n%10 > 0 && n > 50 && len(b)-n > 50 {
				continue
			}
			s := walk(t, b[:n], Options{})
			cases++
			if s.Kind == kind && s.Reason == "" && !s.hit && !endsEarly(kind, b, n) {
				violations++
				t.Errorf("%s cut at %d of %d: %v", kind, n, len(b), s)
			}
		}
	}
	t.Logf("cases=%d violations=%d", cases, violations)
}

// endsEarly says where a shorter file is a good one.
func endsEarly(kind string, b []byte, n int) bool {
	return kind == "ar" && n == 8 // an archive without members
}
