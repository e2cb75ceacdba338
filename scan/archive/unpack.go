package archive

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/ulikunitz/xz/lzma"
)

// tools are decoders kept from one member to the next: most archives hold many
// small ones. A decoder in use is taken out, for archives nest.
type tools struct {
	flate []io.ReadCloser
	packs []*packed
}

// packed is the packed form of one zip member; left says what its decoder did
// not want.
type packed struct {
	*bufio.Reader
	section *io.SectionReader
}

func (t *tools) section(r io.ReaderAt, off, n int64) *packed {
	s := io.NewSectionReader(r, off, n)
	if k := len(t.packs); k > 0 {
		p := t.packs[k-1]
		t.packs = t.packs[:k-1]
		p.section = s
		p.Reset(s)
		return p
	}
	return &packed{bufio.NewReaderSize(s, 16<<10), s}
}

func (p *packed) left() int64 {
	at, _ := p.section.Seek(0, io.SeekCurrent)
	return p.section.Size() - at + int64(p.Buffered())
}

// unpack returns a decoder of e's method. release gives it and p back.
func (w *walker) unpack(p *packed, e zipEntry) (r io.Reader, release func(), err error) {
	keep := func() { w.tools.packs = append(w.tools.packs, p) }
	switch e.method {
	case 0:
		if e.size != e.packed {
			return nil, nil, errDamaged
		}
		return p, keep, nil
	case 8:
		f := w.tools.inflate(p)
		return f, func() { w.tools.flate = append(w.tools.flate, f); keep() }, nil
	case 12:
		return bzip2.NewReader(p), keep, nil
	case 14:
		return w.zipLZMA(p, e, keep)
	case 93, 20:
		f := &zstdFrames{w: w, r: p.Reader}
		d, err := f.decoder()
		return d, func() { d.Close(); f.release(); keep() }, err
	case 95:
		x := &xzReader{w: w, r: p.Reader}
		return x, func() { x.release(); keep() }, nil
	}
	return nil, nil, errors.ErrUnsupported
}

func (t *tools) inflate(r io.Reader) io.ReadCloser {
	if n := len(t.flate); n > 0 {
		f := t.flate[n-1]
		t.flate = t.flate[:n-1]
		_ = f.(flate.Resetter).Reset(r, nil)
		return f
	}
	return flate.NewReader(r)
}

// maxDict is the largest dictionary or window that a member may ask for: what
// the formats' own tools take without being told to (xz -9, zstd --long).
const maxDict = 128 << 20

// zipLZMA makes the header of a .lzma file from that of APPNOTE 5.8.8.
func (w *walker) zipLZMA(p *packed, e zipEntry, keep func()) (io.Reader, func(), error) {
	var h [9]byte
	if _, err := io.ReadFull(p, h[:]); err != nil || le.Uint16(h[2:]) != 5 {
		return nil, nil, errDamaged
	}
	dict := int64(le.Uint32(h[5:]))
	if dict > maxDict || !w.reserve(dict) {
		return nil, nil, errMemory
	}
	head := make([]byte, lzma.HeaderLen)
	copy(head, h[4:9])
	size := uint64(e.size)
	if e.flags&2 != 0 {
		size = 1<<64 - 1
	}
	le.PutUint64(head[5:], size)
	r, err := lzma.NewReader(io.MultiReader(bytes.NewReader(head), p))
	if err != nil {
		w.mem -= dict
		return nil, nil, err
	}
	return r, func() { w.mem -= dict; keep() }, nil
}
