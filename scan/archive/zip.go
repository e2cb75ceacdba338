package archive

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"iter"
	"slices"

	"github.com/landwaiter/landwaiter/scan"
)

// This file reads zip as PKWARE's APPNOTE 6.3.10 has it. The standard library's
// reader holds the whole directory and believes it; here the directory is read
// in passing, held against the local headers, and nothing of the file may lie
// outside of both: readers differ in which of them they follow.

const (
	eocdSize   = 22
	eocd64Size = 56
	locSize    = 20
	centralLen = 46
	localLen   = 30

	flagEncrypted = 1 << 0
	flagDeferred  = 1 << 3 // sizes follow the data
	flagStrong    = 1 << 13
)

var le = binary.LittleEndian

// endRecords yields the places in tail where an end of central directory record
// may be, from the last one, which readers take, to the first.
func endRecords(tail []byte) iter.Seq[int] {
	return func(yield func(int) bool) {
		var places []int // forwards, which the processor does itself; most contents have none
		for off := 0; ; off += 4 {
			i := bytes.Index(tail[off:], []byte("PK\x05\x06"))
			if i < 0 {
				break
			}
			off += i
			places = append(places, off)
		}
		for _, i := range slices.Backward(places) {
			if plausibleEOCD(tail, i) && !yield(i) {
				return
			}
		}
	}
}

// plausibleEOCD reports whether the record at i has a comment that fits, and a
// directory that is neither larger than the file up to there nor too small for
// its entries.
func plausibleEOCD(tail []byte, i int) bool {
	p := tail[i:]
	if len(p) < eocdSize || eocdSize+int(le.Uint16(p[20:])) > len(p) {
		return false
	}
	disk, here, entries, size := le.Uint16(p[4:]), le.Uint16(p[8:]), le.Uint16(p[10:]), le.Uint32(p[12:])
	return (disk < 1000 || disk == 1<<16-1) && here <= entries &&
		(size == 1<<32-1 || entries == 1<<16-1 || int64(entries)*centralLen <= int64(size))
}

// directory is where a zip's list of members lies.
type directory struct {
	start, end int64 // of the central directory
	base       int64 // what precedes the zip
	entries    uint64
	eof        int64 // where the end record ends
}

// zipEntry is a row of the directory. Offsets are in the file.
type zipEntry struct {
	name         []byte
	off          int64 // of the local header
	packed, size int64
	crc          uint32
	flags        uint16
	method       uint16
	aes          bool
}

// extent is what a member takes in the file.
type extent struct{ off, end int64 }

func (w *walker) zip(src source, path string, depth int) error {
	if src.at == nil {
		return errors.ErrUnsupported
	}
	dir, odd, err := readDirectory(src.at, src.size)
	if err != nil {
		w.note(scan.Unsupported, path)
		w.salvage(src, path, depth)
		return err
	}
	if dir.entries > uint64(w.lim.Entries-w.facts.Entries) {
		w.note(scan.ArchiveFiles, path) // known beforehand; what fits is looked at all the same
	}
	extents, err := w.layout(src.at, dir)
	if err != nil {
		w.note(scan.Unsupported, path)
		w.salvage(src, path, depth)
		return err
	}
	if overlap(extents) {
		w.note(scan.ArchiveSize, path) // only bombs do that
		return nil
	}
	var bad error
	if odd {
		bad = errDamaged
	}
	i := 0
	err = eachEntry(src.at, dir, func(e zipEntry) error {
		name := join(path, e.name)
		if !w.enter(name) {
			return errStop
		}
		end, err := w.zipMember(src, dir, e, name, depth)
		if err != nil {
			w.note(scan.Unsupported, name)
		}
		if i < len(extents) {
			extents[i].end = max(extents[i].end, end)
		}
		i++
		return nil
	})
	if w.stop != nil {
		return errStop
	}
	if err == nil {
		err = w.gaps(src, dir, extents)
	}
	return cmp.Or(err, bad)
}

// readDirectory finds the central directory. odd says that the file can be
// read in another way too.
func readDirectory(r io.ReaderAt, size int64) (d directory, odd bool, err error) {
	tail := make([]byte, min(size, TailSize))
	at := size - int64(len(tail))
	if err := readFullAt(r, tail, at); err != nil {
		return d, false, err
	}
	i := -1
	for k := range endRecords(tail) {
		if i < 0 {
			i = k
		} else if k+eocdSize+int(le.Uint16(tail[k+20:])) == len(tail) {
			odd = true // an earlier one whose comment reaches the end just as well
		}
	}
	if i < 0 {
		return d, odd, errDamaged
	}
	rec := tail[i:]
	comment := rec[eocdSize : eocdSize+int(le.Uint16(rec[20:]))]
	end := at + int64(i)
	d.eof = end + eocdSize + int64(len(comment))
	if le.Uint16(rec[4:]) != 0 && le.Uint16(rec[4:]) != 1<<16-1 || le.Uint16(rec[8:]) != le.Uint16(rec[10:]) {
		return d, odd, errors.ErrUnsupported // a volume of several
	}
	d.entries = uint64(le.Uint16(rec[10:]))
	cdSize, cdOff := uint64(le.Uint32(rec[12:])), uint64(le.Uint32(rec[16:]))
	if i >= locSize && string(tail[i-locSize:i-locSize+4]) == "PK\x06\x07" {
		n, s, o, at64, err := readEOCD64(r, tail[i-locSize:i], end-locSize)
		if err != nil {
			return d, odd, err
		}
		if d.entries != 1<<16-1 && d.entries != n || cdSize != 1<<32-1 && cdSize != s || cdOff != 1<<32-1 && cdOff != o {
			odd = true
		}
		d.entries, cdSize, cdOff, end = n, s, o, at64
	}
	if cdSize > uint64(end) || cdOff > uint64(end) {
		return d, odd, errDamaged
	}
	d.end, d.start = end, end-int64(cdSize)
	d.base = d.start - int64(cdOff)
	if d.base < 0 {
		return d, odd, errDamaged
	}
	if d.base > 0 && cdSize > 0 {
		var sig [4]byte
		if err := readFullAt(r, sig[:], int64(cdOff)); err == nil && string(sig[:]) == "PK\x01\x02" {
			odd = true // two directories, by two ways of counting
		}
	}
	return d, odd, nil
}

func readEOCD64(r io.ReaderAt, loc []byte, locAt int64) (entries, size, off uint64, at int64, err error) {
	var p [eocd64Size]byte
	for _, at := range [...]int64{int64(le.Uint64(loc[8:])), locAt - eocd64Size} { // the second where the zip has a prefix
		if at < 0 || at > locAt-eocd64Size || readFullAt(r, p[:], at) != nil || string(p[:4]) != "PK\x06\x06" {
			continue
		}
		if le.Uint32(p[16:]) != 0 || le.Uint64(p[24:]) != le.Uint64(p[32:]) {
			return 0, 0, 0, 0, errors.ErrUnsupported
		}
		return le.Uint64(p[32:]), le.Uint64(p[40:]), le.Uint64(p[48:]), at, nil
	}
	return 0, 0, 0, 0, errDamaged
}

// eachEntry reads the directory in order. It is an error if the directory's
// size and its number of entries do not agree.
func eachEntry(r io.ReaderAt, d directory, do func(zipEntry) error) error {
	br := bufio.NewReaderSize(io.NewSectionReader(r, d.start, d.end-d.start), 64<<10)
	var buf []byte
	for left, n := d.end-d.start, uint64(0); ; n++ {
		if left == 0 {
			if n != d.entries {
				return errDamaged
			}
			return nil
		}
		var h [centralLen]byte
		if _, err := io.ReadFull(br, h[:]); err != nil {
			return errDamaged
		}
		if string(h[:4]) == "PK\x05\x05" && n == d.entries {
			return nil // a digital signature
		}
		if string(h[:4]) != "PK\x01\x02" || n >= d.entries {
			return errDamaged
		}
		nameLen, extraLen, commentLen := int(le.Uint16(h[28:])), int(le.Uint16(h[30:])), int(le.Uint16(h[32:]))
		total := nameLen + extraLen + commentLen
		buf = slices.Grow(buf[:0], total)[:total]
		if _, err := io.ReadFull(br, buf); err != nil {
			return errDamaged
		}
		left -= int64(centralLen + total)
		e := zipEntry{
			name: buf[:nameLen], flags: le.Uint16(h[8:]), method: le.Uint16(h[10:]), crc: le.Uint32(h[16:]),
			packed: int64(le.Uint32(h[20:])), size: int64(le.Uint32(h[24:])), off: int64(le.Uint32(h[42:])),
		}
		if !e.extra(buf[nameLen:nameLen+extraLen], le.Uint16(h[34:])) {
			return errDamaged
		}
		e.off += d.base
		if e.off < 0 || e.off+localLen > d.start || e.packed < 0 || e.packed > d.start || e.size < 0 {
			return errDamaged
		}
		if err := do(e); err != nil {
			return err
		}
	}
}

// extra applies the fields of a directory row's extra data.
func (e *zipEntry) extra(p []byte, disk uint16) bool {
	want := [...]*int64{&e.size, &e.packed, &e.off}
	for len(p) >= 4 {
		tag, n := le.Uint16(p), int(le.Uint16(p[2:]))
		if len(p) < 4+n {
			break // padding, as some writers leave it
		}
		body := p[4 : 4+n]
		p = p[4+n:]
		switch tag {
		case 1: // zip64
			for _, v := range want {
				if *v == 1<<32-1 {
					if len(body) < 8 {
						return false
					}
					*v, body = int64(le.Uint64(body)), body[8:]
				}
			}
		case 0x9901:
			e.aes = true
		}
	}
	return disk == 0 || disk == 1<<16-1
}

// layout returns what the members take at least, in the directory's order.
func (w *walker) layout(r io.ReaderAt, d directory) ([]extent, error) {
	var extents []extent
	err := eachEntry(r, d, func(e zipEntry) error {
		if len(extents) >= w.lim.Entries {
			return errStop
		}
		extents = append(extents, extent{e.off, e.off + localLen + int64(len(e.name)) + e.packed})
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return extents, err
}

func overlap(extents []extent) bool {
	s := slices.Clone(extents)
	slices.SortFunc(s, func(a, b extent) int { return cmp.Compare(a.off, b.off) })
	for i := 1; i < len(s); i++ {
		if s[i].off < s[i-1].end {
			return true
		}
	}
	return false
}

// gaps looks at what no member covers: before, between and behind them. A
// local header there is a member that only some readers see.
func (w *walker) gaps(src source, d directory, extents []extent) error {
	slices.SortFunc(extents, func(a, b extent) int { return cmp.Compare(a.off, b.off) })
	at := int64(0)
	for _, x := range append(extents, extent{d.start, d.eof}, extent{src.size, src.size}) {
		if x.off > at {
			if err := w.gap(src.at, at, x.off); err != nil {
				return err
			}
		}
		at = max(at, x.end)
	}
	return nil
}

func (w *walker) gap(r io.ReaderAt, from, to int64) error {
	hidden := false
	if err := w.search(r, from, to, sigLocal, func(int64) bool { hidden = true; return false }); err != nil {
		return err
	}
	if hidden {
		return errDamaged
	}
	return nil
}

// isLocal judges whether p begins with a local header that a reader would
// take, and not with four bytes that merely look so.
func isLocal(p []byte) bool {
	if len(p) < localLen {
		return false
	}
	switch le.Uint16(p[8:]) {
	case 0, 1, 2, 3, 4, 5, 6, 8, 9, 12, 14, 93, 95, 98, 99:
		n := le.Uint16(p[26:])
		return p[4] <= 63 && n > 0 && n <= 4096
	}
	return false
}

// zipMember takes one member to the visitor. It returns where the member's
// data ends, as far as is known.
func (w *walker) zipMember(src source, d directory, e zipEntry, path string, depth int) (int64, error) {
	var h [localLen]byte
	if err := readFullAt(src.at, h[:], e.off); err != nil {
		return 0, err
	}
	data := e.off + localLen + int64(le.Uint16(h[26:])) + int64(le.Uint16(h[28:]))
	end := data + e.packed
	flags := le.Uint16(h[6:])
	if string(h[:4]) != "PK\x03\x04" || end > d.start || le.Uint16(h[8:]) != e.method ||
		(flags^e.flags)&(flagEncrypted|flagStrong) != 0 {
		return 0, errDamaged
	}
	for _, v := range [...]struct {
		here  uint32
		there int64
	}{{le.Uint32(h[18:]), e.packed}, {le.Uint32(h[22:]), e.size}} {
		if v.here != 1<<32-1 && int64(v.here) != v.there && (v.here != 0 || flags&flagDeferred == 0) {
			return end, errDamaged
		}
	}
	if e.flags&(flagEncrypted|flagStrong) != 0 || e.method == 99 || e.aes {
		if e.packed > 0 {
			w.facts.Encrypted++
			w.note(scan.Encrypted, path)
		}
		return end, nil
	}
	if e.size == 0 && e.packed == 0 {
		return end, nil // a directory, or an empty file
	}
	packed := w.tools.section(src.at, data, e.packed)
	body, release, err := w.unpack(packed, e)
	if err != nil {
		return end, err
	}
	defer release()
	sum := &checked{r: body, left: e.size}
	if _, err := w.member(sum, path, depth); err != nil {
		return end, err
	}
	if sum.left != 0 || sum.crc != e.crc || packed.left() != 0 {
		return end, errDamaged
	}
	return end, nil
}

// checked is a member's content, which ends one byte behind the size that the
// directory gives: another reader might go on.
type checked struct {
	r    io.Reader
	left int64
	crc  uint32
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.crc = crc32.Update(c.crc, crc32.IEEETable, p[:n])
	if c.left -= int64(n); c.left < 0 {
		return n, errDamaged
	}
	return n, err
}

// join returns the path of a member of the container at path.
func join(path string, name []byte) string {
	if len(name) > maxPath {
		name = name[:maxPath]
	}
	if path == "" {
		return string(name)
	}
	return path + "/" + string(name)
}
