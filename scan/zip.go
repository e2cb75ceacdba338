package scan

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
)

// eicar is the test file that every engine knows (eicar.org). It is put
// together here, so that no file of ours, nor the program, contains it.
func eicar() []byte {
	return []byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$` + reverse(`!ELIF-TSET-SURIVITNA-DRADNATS-RACIE`) + `$H+H*`)
}

func reverse(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// zeros is a stretch of padding.
var zeros [1 << 20]byte

// nested writes EICAR within depth zips. Members are always deflated: a stored
// one would be found in the container's raw bytes.
func nested(w io.Writer, depth int) error {
	content, name := eicar(), "eicar.com"
	for range depth {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		if err := member(z, name, content); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		content, name = b.Bytes(), fmt.Sprintf("%x.zip", rand.Uint32())
	}
	_, err := w.Write(content)
	return err
}

// crowded writes a zip of n small members and EICAR as the last.
func crowded(w io.Writer, n int) error {
	z := zip.NewWriter(w)
	for i := range n - 1 {
		content := fmt.Appendf(nil, "%d %x", i, rand.Uint32())
		if err := stored(z, fmt.Sprintf("%d.txt", i), content); err != nil {
			return err
		}
	}
	if err := member(z, "eicar.com", eicar()); err != nil {
		return err
	}
	return z.Close()
}

// padded writes a zip of zeros, n bytes in members of at most part, and EICAR
// as the last. Packed, a MiB of zeros takes a KiB; stored, they make the zip as large.
func padded(w io.Writer, n, part int64, packed bool) error {
	z := zip.NewWriter(w)
	for i := 0; n > 0; i++ {
		size := min(n, part)
		if err := padding(z, fmt.Sprintf("%d.bin", i), size, packed); err != nil {
			return err
		}
		n -= size
	}
	if err := member(z, "eicar.com", eicar()); err != nil {
		return err
	}
	return z.Close()
}

// bulky writes a small zip whose only member is a zip of more than n bytes with
// EICAR in it.
func bulky(w io.Writer, n int64) error {
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	out, err := z.CreateHeader(&zip.FileHeader{Name: "large.zip", Method: zip.Deflate})
	if err != nil {
		return err
	}
	if err := padded(out, n, n, false); err != nil {
		return err
	}
	return z.Close()
}

// padding adds a member of size zeros. Deflated blocks of zeros may be repeated
// as they are, which is much faster than deflating them again.
func padding(z *zip.Writer, name string, size int64, packed bool) error {
	h := &zip.FileHeader{Name: name, Method: zip.Store, UncompressedSize64: uint64(size), CompressedSize64: uint64(size)}
	sum := crc32.NewIEEE()
	block, end := zeros[:], []byte(nil)
	if packed {
		var err error
		if block, end, err = deflatedZeros(); err != nil {
			return err
		}
	}
	blocks, rest := size/int64(len(zeros)), size%int64(len(zeros))
	for range blocks {
		sum.Write(zeros[:])
	}
	sum.Write(zeros[:rest])
	h.CRC32 = sum.Sum32()
	tail := zeros[:rest]
	if packed {
		var b bytes.Buffer
		f, err := flate.NewWriter(&b, flate.BestSpeed)
		if err != nil {
			return err
		}
		if _, err := f.Write(tail); err != nil {
			return err
		}
		if err := f.Flush(); err != nil {
			return err
		}
		tail = append(b.Bytes(), end...)
		h.Method, h.CompressedSize64 = zip.Deflate, uint64(blocks*int64(len(block))+int64(len(tail)))
	}
	out, err := z.CreateRaw(h)
	if err != nil {
		return err
	}
	if err := z.Flush(); err != nil { // so that whole blocks reach a sparse file as such
		return err
	}
	for range blocks {
		if _, err := out.Write(block); err != nil {
			return err
		}
	}
	_, err = out.Write(tail)
	return err
}

// deflatedZeros returns zeros as complete blocks of a deflate stream, and what
// ends such a stream.
func deflatedZeros() (block, end []byte, err error) {
	var b bytes.Buffer
	f, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		return nil, nil, err
	}
	if _, err := f.Write(zeros[:]); err != nil {
		return nil, nil, err
	}
	if err := f.Flush(); err != nil {
		return nil, nil, err
	}
	n := b.Len()
	if err := f.Close(); err != nil {
		return nil, nil, err
	}
	return b.Bytes()[:n:n], b.Bytes()[n:], nil
}

func member(z *zip.Writer, name string, content []byte) error {
	w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return err
}

// stored adds a member without the cost of a compressor for each.
func stored(z *zip.Writer, name string, content []byte) error {
	w, err := z.CreateRaw(&zip.FileHeader{
		Name: name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(content),
		UncompressedSize64: uint64(len(content)), CompressedSize64: uint64(len(content)),
	})
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return err
}

// encryptedZip writes EICAR in a zip with a random password, in the old cipher
// that every reader knows (APPNOTE 6.1), as the standard library has none.
func encryptedZip(w io.Writer) error {
	content := eicar()
	sum := crc32.ChecksumIEEE(content)
	plain := make([]byte, 12, 12+len(content))
	for i := range plain[:11] {
		plain[i] = byte(rand.Uint32())
	}
	plain[11] = byte(sum >> 24) // by which a reader checks its password
	plain = append(plain, content...)
	newZipCrypto(fmt.Appendf(nil, "%x", rand.Uint64())).encrypt(plain)

	z := zip.NewWriter(w)
	out, err := z.CreateRaw(&zip.FileHeader{
		Name: "eicar.com", Method: zip.Store, Flags: 1, CRC32: sum,
		UncompressedSize64: uint64(len(content)), CompressedSize64: uint64(len(plain)),
	})
	if err != nil {
		return err
	}
	if _, err := out.Write(plain); err != nil {
		return err
	}
	return z.Close()
}

// hiddenZip writes encryptedZip as programs that unpack themselves carry it.
func hiddenZip(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "MZ%0510x", rand.Uint64()); err != nil {
		return err
	}
	return encryptedZip(w)
}

// zipCrypto is the traditional cipher of PKWARE, APPNOTE 6.1.5.
type zipCrypto [3]uint32

func newZipCrypto(password []byte) *zipCrypto {
	k := &zipCrypto{0x12345678, 0x23456789, 0x34567890}
	for _, c := range password {
		k.update(c)
	}
	return k
}

func (k *zipCrypto) update(c byte) {
	k[0] = crc32.IEEETable[byte(k[0])^c] ^ k[0]>>8
	k[1] = (k[1]+k[0]&0xff)*134775813 + 1
	k[2] = crc32.IEEETable[byte(k[2])^byte(k[1]>>24)] ^ k[2]>>8
}

func (k *zipCrypto) encrypt(p []byte) {
	for i, c := range p {
		t := uint16(k[2] | 2)
		p[i] = c ^ byte(uint32(t)*uint32(t^1)>>8)
		k.update(c)
	}
}
