package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// xzReader reads the .xz format 1.2.1: streams of blocks of LZMA2. The xz
// package above the decoder it uses takes any dictionary that a block asks
// for; this one asks the walk for the memory first.
type xzReader struct {
	w       *walker
	r       *bufio.Reader
	started bool
	check   byte
	sum     hash.Hash // of the block being read; nil = none
	dec     *lzma.Reader2
	in      *countReader
	size    int64 // as the block's header says, -1 = it does not
	packed  int64
	out     int64 // unpacked bytes of the block
	blocks  uint64
	held    int64
	err     error
}

// countReader counts what the decoder takes; LZMA2 takes exactly its own bytes.
type countReader struct {
	r *bufio.Reader
	n int64
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *countReader) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

func (x *xzReader) release() {
	x.w.mem -= x.held
	x.held = 0
}

// Read ends with io.EOF in front of what is not a stream.
func (x *xzReader) Read(p []byte) (int, error) {
	for x.err == nil {
		if x.dec == nil {
			x.err = x.next()
			continue
		}
		n, err := x.dec.Read(p)
		x.out += int64(n)
		if x.sum != nil {
			x.sum.Write(p[:n])
		}
		switch {
		case err == io.EOF:
			x.err = x.endBlock()
		case err != nil:
			x.err = err
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, x.err
}

const xzMagic = "\xfd7zXZ\x00"

// next gets to the next block, or to the end.
func (x *xzReader) next() error {
	if !x.started {
		if err := x.header(); err != nil {
			return err
		}
	}
	first, err := x.r.Peek(1)
	if err != nil {
		return unexpected(err)
	}
	if first[0] != 0 {
		return x.block((int(first[0]) + 1) * 4)
	}
	if err := x.tail(); err != nil {
		return err
	}
	x.started, x.blocks = false, 0
	// Between streams there may be zeros, in fours.
	for {
		p, _ := x.r.Peek(len(xzMagic))
		if string(p) == xzMagic {
			return nil
		}
		if len(p) < 4 || string(p[:4]) != "\x00\x00\x00\x00" {
			return io.EOF
		}
		_, _ = x.r.Discard(4)
	}
}

func (x *xzReader) header() error {
	var h [12]byte
	if _, err := io.ReadFull(x.r, h[:]); err != nil {
		return unexpected(err)
	}
	if string(h[:6]) != xzMagic || crc32.ChecksumIEEE(h[6:8]) != le.Uint32(h[8:]) || h[6] != 0 || h[7] > 15 {
		return errDamaged
	}
	x.started, x.check = true, h[7]
	return nil
}

// block reads a block's header of n bytes and starts its decoder.
func (x *xzReader) block(n int) error {
	h := make([]byte, n)
	if _, err := io.ReadFull(x.r, h); err != nil {
		return unexpected(err)
	}
	if crc32.ChecksumIEEE(h[:n-4]) != le.Uint32(h[n-4:]) || h[1]&0x3c != 0 {
		return errDamaged
	}
	br := bytes.NewReader(h[2 : n-4])
	x.packed, x.size = -1, -1
	for _, f := range [...]struct {
		bit byte
		v   *int64
	}{{0x40, &x.packed}, {0x80, &x.size}} {
		if h[1]&f.bit == 0 {
			continue
		}
		u, err := binary.ReadUvarint(br)
		if err != nil || u > 1<<62 {
			return errDamaged
		}
		*f.v = int64(u)
	}
	id, err1 := br.ReadByte()
	props, err2 := br.ReadByte()
	bits, err3 := br.ReadByte()
	if err1 != nil || err2 != nil || err3 != nil {
		return errDamaged
	}
	if h[1]&3 != 0 || id != 0x21 || props != 1 {
		return errors.ErrUnsupported // a filter in front: x86, ARM, delta
	}
	dict, err := lzma.DecodeDictCap(bits)
	if err != nil {
		return errDamaged
	}
	x.release()
	if dict > maxDict || !x.w.reserve(dict) {
		return errMemory
	}
	x.held = dict
	switch x.check {
	case 0:
		x.sum = nil
	case 1:
		x.sum = crc32.NewIEEE()
	case 4:
		x.sum = crc64.New(crc64.MakeTable(crc64.ECMA))
	case 10:
		x.sum = sha256.New()
	default:
		return errors.ErrUnsupported
	}
	x.in, x.out = &countReader{r: x.r}, 0
	x.dec, err = lzma.Reader2Config{DictCap: max(int(dict), lzma.MinDictCap)}.NewReader2(x.in)
	return err
}

// endBlock checks what the block's header and its check field say of it.
func (x *xzReader) endBlock() error {
	x.dec = nil
	x.blocks++
	if x.packed >= 0 && x.packed != x.in.n || x.size >= 0 && x.size != x.out {
		return errDamaged
	}
	pad := make([]byte, (4-x.in.n%4)%4)
	if _, err := io.ReadFull(x.r, pad); err != nil {
		return unexpected(err)
	}
	if len(bytes.Trim(pad, "\x00")) > 0 {
		return errDamaged
	}
	if x.sum == nil {
		return nil
	}
	got := x.sum.Sum(nil)
	want := make([]byte, len(got))
	if _, err := io.ReadFull(x.r, want); err != nil {
		return unexpected(err)
	}
	if x.check != 10 { // the CRCs are little endian
		for i, j := 0, len(got)-1; i < j; i, j = i+1, j-1 {
			got[i], got[j] = got[j], got[i]
		}
	}
	if !bytes.Equal(got, want) {
		return errDamaged
	}
	return nil
}

// tail reads the index, which must have as many records as there were blocks,
// and the footer.
func (x *xzReader) tail() error {
	c := &countReader{r: x.r}
	_, _ = c.ReadByte()
	n, err := binary.ReadUvarint(c)
	if err != nil {
		return unexpected(err)
	}
	if n != x.blocks {
		return errDamaged
	}
	for range 2 * n {
		if _, err := binary.ReadUvarint(c); err != nil {
			return unexpected(err)
		}
	}
	var foot [12 + 4 + 3]byte
	p := foot[:int((4-c.n%4)%4)+4+12] // padding, CRC, footer
	if _, err := io.ReadFull(x.r, p); err != nil {
		return unexpected(err)
	}
	if f := p[len(p)-12:]; string(f[10:]) != "YZ" || crc32.ChecksumIEEE(f[4:10]) != le.Uint32(f) || f[9] != x.check {
		return errDamaged
	}
	return nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
