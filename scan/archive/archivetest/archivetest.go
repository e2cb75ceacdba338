// Package archivetest builds archives for tests, honest and hostile ones. What
// cannot fail in memory panics.
package archivetest

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Marker stands for what an engine looks for.
const Marker = "a marker that stands for something bad"

// Text is a content that ends in Marker.
func Text() []byte { return append(bytes.Repeat([]byte("0123456789"), 400), Marker...) }

// Must returns v, or panics.
func Must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// Zip packs names and contents, in turn.
func Zip(parts ...string) []byte { return zipOf(zip.Deflate, parts) }

// StoredZip is Zip without compression.
func StoredZip(parts ...string) []byte { return zipOf(zip.Store, parts) }

func zipOf(method uint16, parts []string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(parts); i += 2 {
		Must(Must(w.CreateHeader(&zip.FileHeader{Name: parts[i], Method: method})).Write([]byte(parts[i+1])))
	}
	check(w.Close())
	return b.Bytes()
}

// Tar packs names and contents, in turn.
func Tar(format tar.Format, parts ...string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(parts); i += 2 {
		check(w.WriteHeader(&tar.Header{Name: parts[i], Mode: 0o600, Size: int64(len(parts[i+1])), Format: format}))
		Must(w.Write([]byte(parts[i+1])))
	}
	check(w.Close())
	return b.Bytes()
}

// Gzip packs content.
func Gzip(content []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	Must(w.Write(content))
	check(w.Close())
	return b.Bytes()
}

// Xz packs content.
func Xz(content []byte) []byte {
	var b bytes.Buffer
	w := Must(xz.WriterConfig{DictCap: 1 << 16}.NewWriter(&b))
	Must(w.Write(content))
	check(w.Close())
	return b.Bytes()
}

// Zstd packs content.
func Zstd(content []byte) []byte {
	w := Must(zstd.NewWriter(nil, zstd.WithEncoderCRC(true), zstd.WithEncoderConcurrency(1)))
	defer w.Close()
	return w.EncodeAll(content, nil)
}

// Bzip2Text is Text as bzip2 packs it, for which Go has no encoder.
func Bzip2Text() []byte { return Must(base64.StdEncoding.DecodeString(bzip2Text)) }

// Bzip2Zeros is 40 MiB of zeros as bzip2 packs them.
func Bzip2Zeros() []byte { return Must(base64.StdEncoding.DecodeString(bzip2Zeros)) }

const (
	bzip2Text = "QlpoOTFBWSZTWXiANd4AAAMZgEAAf+A365wAIAByKDTQAAMgUqoA0ZGQGjPXLX9s0zqhcwiwCLoEXUIsQiyCLsEXcIswiw0y9zWC" +
		"JoMFA6A3n0wNpOQsVh8XckU4UJB4gDXe"
	bzip2Zeros = "QlpoOTFBWSZTWVfG138BQUFAgMAAAAEACCAAMMwFKaZAkCbFAkCeLuSKcKEgr42u/g=="
)

// Ar packs names and contents, in turn.
func Ar(parts ...string) []byte {
	b := []byte("!<arch>\n")
	for i := 0; i < len(parts); i += 2 {
		b = fmt.Appendf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", parts[i]+"/", 0, 0, 0, "100644", len(parts[i+1]), parts[i+1])
		if len(parts[i+1])%2 == 1 {
			b = append(b, '\n')
		}
	}
	return b
}

// Formats are Text in every format that can be opened, as the only member, by
// the format's name.
func Formats() map[string][]byte {
	t := string(Text())
	return map[string][]byte{
		"zip": Zip("a", t), "tar": Tar(tar.FormatPAX, "a", t), "gzip": Gzip(Text()), "bzip2": Bzip2Text(),
		"xz": Xz(Text()), "zstd": Zstd(Text()), "ar": Ar("a", t),
	}
}

// SparseTar is a tar of one file of n bytes of which none is stored (GNU 1.0
// in PAX).
func SparseTar(n int64) []byte {
	data := []byte("1\n0\n0\n") // one piece: at 0, of 0 bytes
	data = append(data, make([]byte, 512-len(data))...)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	pax := func(k, v string) string {
		rec := fmt.Sprintf(" %s=%s\n", k, v)
		n := len(rec) + 1
		for len(fmt.Sprint(n))+len(rec) != n {
			n++
		}
		return fmt.Sprint(n) + rec
	}
	ext := pax("GNU.sparse.major", "1") + pax("GNU.sparse.minor", "0") + pax("GNU.sparse.name", "hole") +
		pax("GNU.sparse.realsize", fmt.Sprint(n))
	check(w.WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeReg, Size: int64(len(ext)), Mode: 0o600, Format: tar.FormatUSTAR}))
	Must(w.Write([]byte(ext)))
	check(w.WriteHeader(&tar.Header{Name: "hole", Size: int64(len(data)), Mode: 0o600, Format: tar.FormatUSTAR}))
	Must(w.Write(data))
	check(w.Close())
	out := b.Bytes()
	out[156] = 'x' // the writer makes no such header itself
	sum := 0
	for i := range 512 {
		if i >= 148 && i < 156 {
			out[i] = ' '
		}
		sum += int(out[i])
	}
	copy(out[148:], fmt.Sprintf("%06o\x00 ", sum))
	return out
}

// OverlapZip has n directory rows for one deflated member of size zeros.
func OverlapZip(n, size int) []byte {
	le := binary.LittleEndian
	z := Zip("a", string(make([]byte, size)))
	i := bytes.LastIndex(z, []byte("PK\x05\x06"))
	cd := int(le.Uint32(z[i+16:]))
	row := z[cd:i]
	out := slices.Clone(z[:cd])
	for range n {
		out = append(out, row...)
	}
	end := slices.Clone(z[i:])
	le.PutUint16(end[8:], uint16(n))
	le.PutUint16(end[10:], uint16(n))
	le.PutUint32(end[12:], uint32(n*len(row)))
	return append(out, end...)
}

// ManyZip is a zip64 of n empty members.
func ManyZip(n int) []byte {
	const centralLen, localLen, nameLen, eocd64, locator = 46, 30, 7, 56, 20
	le := binary.LittleEndian
	row := make([]byte, centralLen+nameLen)
	copy(row, "PK\x01\x02")
	le.PutUint16(row[28:], nameLen)
	local := make([]byte, localLen+nameLen)
	copy(local, "PK\x03\x04")
	le.PutUint16(local[26:], nameLen)
	var b bytes.Buffer
	for i := range n {
		copy(local[localLen:], fmt.Sprintf("%07d", i))
		b.Write(local)
	}
	start := b.Len()
	for i := range n {
		le.PutUint32(row[42:], uint32(i*len(local)))
		copy(row[centralLen:], fmt.Sprintf("%07d", i))
		b.Write(row)
	}
	end := make([]byte, eocd64+locator)
	copy(end, "PK\x06\x06")
	le.PutUint64(end[4:], eocd64-12)
	le.PutUint64(end[24:], uint64(n))
	le.PutUint64(end[32:], uint64(n))
	le.PutUint64(end[40:], uint64(b.Len()-start))
	le.PutUint64(end[48:], uint64(start))
	copy(end[eocd64:], "PK\x06\x07")
	le.PutUint64(end[eocd64+8:], uint64(b.Len()))
	b.Write(end)
	b.WriteString("PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00")
	return b.Bytes()
}

// Nested packs content in depth zips.
func Nested(depth int, content []byte) []byte {
	for range depth {
		content = StoredZip("z", string(content))
	}
	return content
}

// Bombs expand to far more than their size in every format; with the default
// ratio each is over it.
func Bombs() map[string][]byte {
	zeros := make([]byte, 8<<20)
	return map[string][]byte{
		"overlap":    OverlapZip(2000, 1<<20),
		"bzip2":      bytes.Repeat(Bzip2Zeros(), 400),
		"zstd":       bytes.Repeat(Zstd(zeros), 400),
		"xz":         bytes.Repeat(Xz(zeros), 8),
		"gzip":       bytes.Repeat(Gzip(zeros), 100),
		"tar":        SparseTar(1 << 40),
		"tar in zip": Zip("a", string(SparseTar(1<<40))),
		"many":       StoredZip(slices.Repeat([]string{"z", string(Zstd(zeros))}, 100)...),
		"tar in xz":  Xz(Tar(tar.FormatPAX, "a", string(make([]byte, 40<<20)))),
		"bz2 in zip": StoredZip("bz", string(bytes.Repeat(Bzip2Zeros(), 400))),
	}
}
