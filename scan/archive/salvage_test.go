package archive

import (
	"archive/tar"
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/archive/archivetest"
)

// TestOddEnds: a zip whose end record has a field that some reader does not
// mind is never plain content, whatever stands in front of it or behind.
func TestOddEnds(t *testing.T) {
	base := archivetest.Zip("a", "harmless", "b", string(archivetest.Text()))
	end := bytes.LastIndex(base, []byte("PK\x05\x06"))
	for _, prefix := range []string{"", "x", "MZ prefix", strings.Repeat("text ", 100_000)} {
		for _, behind := range []int{0, 1, 65_535, 66_000} {
			for at := 4; at < eocdSize; at++ {
				for _, v := range []byte{0, 1, 0x80, 0xff} {
					z := append([]byte(prefix), base...)
					z[len(prefix)+end+at] = v
					z = append(z, make([]byte, behind)...)
					if s := walk(t, z, Options{}); !s.hit && s.Reason == "" {
						t.Errorf("%d in front, %d behind, byte %d is %#x: %v", len(prefix), behind, at, v, s)
					}
				}
			}
		}
	}
}

// TestLongDirectory: the directory may end before the tail begins.
func TestLongDirectory(t *testing.T) {
	name := strings.Repeat("n", 65_000)
	z := archivetest.Zip(name, string(archivetest.Text()))
	end := bytes.LastIndex(z, []byte("PK\x05\x06"))
	z[end+11] = 0xff // entries
	z = slices.Concat([]byte("prefix"), z, make([]byte, 60_000))
	if s := walk(t, z, Options{}); s.Reason != scan.Unsupported {
		t.Errorf("got %v", s)
	}
	if s := walk(t, archivetest.Tar(tar.FormatPAX, "a", strings.Repeat("text ", 100_000)+string(z)), Options{}); s.Reason != scan.Unsupported {
		t.Errorf("in a tar: %v", s)
	}
	text := strings.Repeat("The PK\x05\x06 of a zip, and other signatures: PK\x01\x02, PK\x03\x04. ", 10_000)
	for _, b := range [][]byte{[]byte("# " + text), archivetest.Tar(tar.FormatPAX, "a", text), archivetest.Gzip([]byte(text))} {
		if s := walk(t, b, Options{}); s.Reason != "" {
			t.Errorf("text: %v", s)
		}
	}
}

// TestJunkTar: readers skip to the next good header, so we do.
func TestJunkTar(t *testing.T) {
	good := archivetest.Tar(tar.FormatGNU, "a", "harmless", "b", string(archivetest.Gzip(archivetest.Text())))
	bad := func(at int) []byte { b := slices.Clone(good); b[at] = 'X'; return b }
	v7 := oldTar("a", string(archivetest.Gzip(archivetest.Text())))
	junk := func(n int) []byte { return bytes.Repeat([]byte("J"), n) }
	for _, c := range []struct {
		name string
		b    []byte
		want scan.Reason
		hit  bool
	}{
		{"mode of the first header", bad(100), scan.Unsupported, true},
		{"sum of the first header", bad(150), scan.Unsupported, true},
		{"size of the first header", bad(130), scan.Unsupported, true},
		{"magic of the first header", bad(257), scan.Unsupported, true},
		{"second header", bad(1024 + 100), scan.Unsupported, false},
		{"a block of junk", append(junk(512), good...), scan.Unsupported, true},
		{"the most junk", append(junk(scan.TarJunk-512), good...), scan.Unsupported, true},
		{"too much junk", append(junk(scan.TarJunk), good...), "", false},
		{"junk between blocks", append(junk(500), good...), "", false},
		{"zeros", append(make([]byte, 512), good...), scan.Unsupported, true},
		{"an old tar behind junk", append(junk(1024), v7...), scan.Unsupported, true},
		{"behind a program", append(append([]byte("MZ"), junk(510)...), good...), scan.Unsupported, true},
		{"behind a document", append(append([]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), junk(504)...), good...), scan.Unsupported, true},
		{"in a frame that zstd skips", append(skippable(string(junk(504))+string(good)), archivetest.Zstd([]byte("x"))...), "", true},
		{"no members", append(junk(512), make([]byte, 10240)...), "", false},
		{"a table of digits", []byte(strings.Repeat("00061440 ", 20_000)), "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if s := walk(t, c.b, Options{}); s.Reason != c.want || s.hit != c.hit {
				t.Errorf("got %v, want %q hit=%v", s, c.want, c.hit)
			}
			// Packed, it is a stream.
			if c.name == "behind a document" || c.name == "in a frame that zstd skips" {
				return
			}
			if s := walk(t, archivetest.Gzip(c.b), Options{}); s.Reason != c.want || s.hit != c.hit {
				t.Errorf("packed: got %v, want %q hit=%v", s, c.want, c.hit)
			}
		})
	}
	// A tar that lies on a zip's blocks by chance is no reason for anything.
	inner := archivetest.Tar(tar.FormatGNU, "a", "b")
	z := archivetest.StoredZip("pad", strings.Repeat("x", 512), "in.tar", string(inner))
	pad := 512 - bytes.Index(z, inner)%512
	z = archivetest.StoredZip("pad", strings.Repeat("x", 512+pad), "in.tar", string(inner))
	if i := bytes.Index(z, inner); i%512 != 0 {
		t.Fatalf("at %d", i)
	}
	if s := walk(t, z, Options{}); s.Reason != "" {
		t.Errorf("a zip with a tar: %v", s)
	}
}

// oldTar is a tar of one file, without magic.
func oldTar(name, content string) []byte {
	b := archivetest.Tar(tar.FormatUSTAR, name, content)
	clear(b[257:512])
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// TestGzipFlags: Java and Python pass over the reserved ones.
func TestGzipFlags(t *testing.T) {
	for _, flags := range []byte{0x20, 0x40, 0x80, 0xe0} {
		z := archivetest.Gzip(archivetest.Text())
		z[3] |= flags
		if s := walk(t, z, Options{}); !s.hit && s.Reason != scan.Unsupported {
			t.Errorf("%#x: %v", flags, s)
		}
		if s := walk(t, append(archivetest.Gzip([]byte("x")), z...), Options{}); !s.hit && s.Reason != scan.Unsupported {
			t.Errorf("%#x, second: %v", flags, s)
		}
	}
}
