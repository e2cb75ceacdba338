package archive

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/landwaiter/landwaiter/scan"
)

// This file is about zips whose end record or directory is not as it should
// be. Some reader opens nearly each of them, so they are never plain content;
// what stands behind their local headers is looked at as far as it goes.

const (
	sigLocal   = "PK\x03\x04"
	sigCentral = "PK\x01\x02"
)

// lastEnd returns where the last whole end record of p is, whatever its
// fields, or -1.
func lastEnd(p []byte) int {
	return bytes.LastIndex(p[:max(0, len(p)-eocdSize+4)], []byte("PK\x05\x06"))
}

// hasHeader reports whether p holds a header of a zip's member.
func hasHeader(p []byte) bool {
	for _, sig := range [...]string{sigCentral, sigLocal} {
		if !eachHeader(p, sig, func(int) bool { return false }) {
			return true
		}
	}
	return false
}

// eachHeader calls do with where headers with that signature begin that are
// whole and look real, and reports whether it always said true.
func eachHeader(p []byte, sig string, do func(at int) bool) bool {
	for i := 0; ; i += len(sig) {
		k := bytes.Index(p[i:], []byte(sig))
		if k < 0 {
			return true
		}
		i += k
		if sig == sigLocal && isLocal(p[i:]) || sig == sigCentral && isCentral(p[i:]) {
			if !do(i) {
				return false
			}
		}
	}
}

// isCentral judges whether p begins with a row of a directory that a reader
// would take: Java minds the method and little else.
func isCentral(p []byte) bool {
	if len(p) < centralLen || le.Uint16(p[10:]) > 99 {
		return false
	}
	return le.Uint16(p[28:]) > 0 || le.Uint32(p[20:]) > 0 // a name, or content
}

// search is eachHeader for from..to of r. Its error is r's.
func (w *walker) search(r io.ReaderAt, from, to int64, sig string, do func(at int64) bool) error {
	buf := w.buffer()
	defer w.recycle(buf)
	const seam = 64 // what the next piece shows again: more than a header
	for next := from; ; {
		p := buf[:min(int64(len(buf)), to-from)]
		if err := readFullAt(r, p, from); err != nil {
			return err
		}
		last := from+int64(len(p)) >= to
		if !eachHeader(p, sig, func(i int) bool {
			at := from + int64(i)
			if at < next {
				return true
			}
			next = at + 1
			return do(at)
		}) || last {
			return nil
		}
		if w.stop == nil && w.ctx.Err() != nil {
			w.stop = w.ctx.Err()
		}
		if w.stop != nil {
			return w.stop
		}
		from += int64(len(p) - seam)
	}
}

// settle resolves found's doubt by looking through all of src.
func (w *walker) settle(src source, found Found) Found {
	if !found.doubt || src.at == nil {
		return found
	}
	found.doubt = false
	seen := false
	for _, sig := range [...]string{sigCentral, sigLocal} {
		if err := w.search(src.at, 0, src.size, sig, func(int64) bool { seen = true; return false }); seen || err != nil {
			return found
		}
	}
	found.Tail = Plain
	return found
}

// mayEnd reports whether the last end record in the tail of a stream of that
// size gives a directory that could be in it.
func mayEnd(tail []byte, size int64) bool {
	i := lastEnd(tail)
	if i < 0 {
		return false
	}
	at := size - int64(len(tail)) + int64(i)
	return int64(le.Uint32(tail[i+12:])) <= at || int64(le.Uint32(tail[i+16:])) <= at || bytes.HasSuffix(tail[:max(0, i-16)], []byte("PK\x06\x07"))
}

// salvage takes what stands behind the local headers of a zip without a usable
// directory to the visitor. The caller has noted that there is none.
func (w *walker) salvage(src source, path string, depth int) {
	var places []int64
	if err := w.search(src.at, 0, src.size, sigLocal, func(at int64) bool {
		places = append(places, at)
		return len(places) <= w.lim.Entries
	}); err != nil {
		return
	}
	for i, at := range places {
		next := src.size
		if i+1 < len(places) {
			next = places[i+1]
		}
		var h [localLen]byte
		if err := readFullAt(src.at, h[:], at); err != nil {
			return
		}
		name := make([]byte, min(int64(le.Uint16(h[26:])), src.size-at-localLen))
		if err := readFullAt(src.at, name, at+localLen); err != nil {
			return
		}
		member := join(path, name)
		if !w.enter(member) {
			return
		}
		data := at + localLen + int64(le.Uint16(h[26:])) + int64(le.Uint16(h[28:]))
		if data < src.size && le.Uint16(h[6:])&(flagEncrypted|flagStrong) == 0 {
			w.salvageMember(src, h[:], data, next, member, depth)
		}
	}
}

// salvageMember takes the member whose data begin at data to the visitor. next
// is where the next local header stands.
func (w *walker) salvageMember(src source, h []byte, data, next int64, path string, depth int) {
	e := zipEntry{method: le.Uint16(h[8:]), flags: le.Uint16(h[6:]) | 2, packed: int64(le.Uint32(h[18:]))} // 2: LZMA ends itself
	switch {
	case e.packed > 0 && e.packed <= src.size-data:
	case e.method > 0:
		e.packed = src.size - data // packed content knows where it ends
	default:
		e.packed = max(0, next-data)
	}
	if e.packed == 0 {
		return
	}
	e.size = e.packed
	body, release, err := w.unpack(w.tools.section(src.at, data, e.packed), e)
	if err != nil {
		return
	}
	defer release()
	_, _ = w.member(body, path, depth)
}

// behind walks the tar that r turns out to hold, if it does, behind at most
// scan.TarJunk bytes of content that begins with head.
func (w *walker) behind(r io.Reader, head Kind, path string, depth int) {
	t := &tarBlocks{r: r}
	if !t.next(w, scan.TarJunk) {
		return
	}
	if depth > w.lim.Depth {
		w.note(scan.ArchiveDepth, path)
		return
	}
	w.facts.Depth = max(w.facts.Depth, depth)
	seen := w.facts.Reason == ""
	err := w.tarFrom(t, path, depth)
	switch head {
	case Zip, Ar, Zstd:
		if seen && err == nil {
			return // a member that happens to lie on a tar's blocks, and all of both was seen
		}
	default:
		if err == nil {
			_ = w.rest(bufio.NewReaderSize(t, 32<<10), path, depth)
		}
	}
	w.note(scan.Unsupported, path) // what is in front may hide something from us
}

// tarBlocks counts what is read of a tar, to find its blocks again where a
// header is bad.
type tarBlocks struct {
	r    io.Reader
	n    int64
	back []byte // is read again
	buf  [scan.TarBlock]byte
}

func (t *tarBlocks) Read(p []byte) (int, error) {
	if len(t.back) > 0 {
		n := copy(p, t.back)
		t.back = t.back[n:]
		return n, nil
	}
	n, err := t.r.Read(p)
	t.n += int64(n)
	return n, err
}

// next goes to the next good header, at most limit bytes into the content.
func (t *tarBlocks) next(w *walker, limit int64) bool {
	if _, err := io.CopyN(io.Discard, t.r, -t.n&(scan.TarBlock-1)); err != nil {
		return false
	}
	t.n += -t.n & (scan.TarBlock - 1)
	for t.back = nil; t.n < limit; {
		if t.n&(1<<20-1) == 0 && w.stop == nil && w.ctx.Err() != nil {
			w.stop = w.ctx.Err()
		}
		if w.stop != nil {
			return false
		}
		if _, err := io.ReadFull(t.r, t.buf[:]); err != nil {
			return false
		}
		t.n += scan.TarBlock
		if scan.TarBehind(t.buf[:], 0) == 0 {
			t.back = t.buf[:]
			return true
		}
	}
	return false
}

// isEnd says whether a tar's reader ended where its content did.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
