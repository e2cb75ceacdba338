package archive

import (
	"bytes"
	"io"

	"github.com/landwaiter/landwaiter/scan"
)

// rootReader reads the outermost content. Its failures are the sample's, not
// the format's: they end the walk.
type rootReader struct {
	w *walker
	r io.ReaderAt
}

func (r *rootReader) ReadAt(p []byte, off int64) (int, error) {
	if r.w.stop != nil {
		return 0, r.w.stop
	}
	if off >= r.w.size {
		return 0, io.EOF
	}
	want := p[:min(int64(len(p)), r.w.size-off)]
	n, err := r.r.ReadAt(want, off)
	switch {
	case n == len(want) && n == len(p):
		return n, nil
	case n == len(want):
		return n, io.EOF
	case err == nil || err == io.EOF:
		err = io.ErrUnexpectedEOF // shorter than it said
	}
	r.w.stop = err
	return n, err
}

func readFullAt(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// memberReader is where every unpacked byte passes: it is counted against the
// bounds and shown to the visitor.
type memberReader struct {
	w    *walker
	r    io.Reader
	sink io.Writer
	path string
	n    int64
	err  error  // what ended it; io.EOF = complete
	tail []byte // at least the last TailSize bytes, if not nil
}

func (m *memberReader) Read(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	w := m.w
	if w.stop == nil && w.ctx.Err() != nil {
		w.stop = w.ctx.Err()
	}
	if w.stop != nil {
		m.err = w.stop
		return 0, m.err
	}
	n, err := m.r.Read(p)
	m.n += int64(n)
	w.facts.Expanded += int64(n)
	if n > 0 && m.sink != nil {
		if _, werr := m.sink.Write(p[:n]); werr != nil {
			w.stop = werr
			err = werr
		}
	}
	if m.tail != nil {
		m.remember(p[:n])
	}
	if x := w.facts.Expanded; x > w.lim.Expanded || x > ratioFloor && x/max(w.size, 1) > w.lim.Ratio {
		w.halt(scan.ArchiveSize, m.path)
		err = errStop
	}
	m.err = err
	return n, err
}

func (m *memberReader) remember(p []byte) {
	if len(p) >= TailSize {
		m.tail = append(m.tail[:0], p[len(p)-TailSize:]...)
		return
	}
	if len(m.tail)+len(p) > cap(m.tail) {
		keep := min(len(m.tail), TailSize)
		m.tail = m.tail[:copy(m.tail[:keep], m.tail[len(m.tail)-keep:])]
	}
	m.tail = append(m.tail, p...)
}

func (m *memberReader) lastBytes() []byte { return m.tail[max(0, len(m.tail)-TailSize):] }

// drain reads m to its end, so that the visitor sees what a parser left.
func (w *walker) drain(m *memberReader) {
	if m.err != nil {
		return
	}
	buf := w.buffer()
	defer w.recycle(buf)
	for m.err == nil {
		_, _ = m.Read(buf)
	}
}

// bufSize is large enough for a tail and as much again, see memberReader.tail.
const bufSize = 160 << 10

func (w *walker) buffer() []byte {
	if n := len(w.free); n > 0 {
		b := w.free[n-1]
		w.free = w.free[:n-1]
		return b
	}
	return make([]byte, bufSize)
}

func (w *walker) recycle(b []byte) {
	if cap(b) == bufSize {
		w.free = append(w.free, b[:bufSize])
	}
}

// reserve takes n bytes of the walk's memory; the caller gives them back.
func (w *walker) reserve(n int64) bool {
	if n < 0 || w.mem+n > w.opts.Memory {
		return false
	}
	w.mem += n
	return true
}

// keepMemory is how much of one member is kept in memory before the spool.
const keepMemory = 16 << 20

// keep makes a stream, whose first bytes are head, readable at random: in
// memory if it is short, else in the spool. release ends that. The error is
// m's, or errMemory where there is no room.
func (w *walker) keep(head []byte, m *memberReader) (src source, release func(), err error) {
	start, held := w.end, int64(0)
	release = func() {
		w.end = start
		w.mem -= held
	}
	mem := head
	for size := 2 * int64(len(head)); size <= keepMemory && w.reserve(size); size *= 2 {
		grown := make([]byte, size)
		n := copy(grown, mem)
		w.mem -= held
		held = size
		k, _ := io.ReadFull(m, grown[n:])
		mem = grown[:n+k]
		if m.err == io.EOF {
			return source{r: bytes.NewReader(mem), at: bytes.NewReader(mem), size: int64(len(mem))}, release, nil
		}
		if m.err != nil {
			return source{}, release, m.err
		}
	}
	if w.opts.Spool == nil {
		return source{}, release, errMemory
	}
	buf := w.buffer()
	defer w.recycle(buf)
	for p := mem; ; {
		if w.end+int64(len(p)) > w.opts.SpoolMax {
			return source{}, release, errMemory
		}
		if _, err := w.opts.Spool.WriteAt(p, w.end); err != nil {
			w.stop = err
			return source{}, release, err
		}
		w.end += int64(len(p))
		if m.err != nil {
			break
		}
		n, _ := m.Read(buf)
		p = buf[:n]
	}
	if m.err != io.EOF {
		return source{}, release, m.err
	}
	size := w.end - start
	at := io.NewSectionReader(w.opts.Spool, start, size)
	return source{r: io.NewSectionReader(at, 0, size), at: at, size: size}, release, nil
}
