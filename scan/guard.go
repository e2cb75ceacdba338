package scan

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// A guard holds our own limits where an engine is silent: it would answer
// clean, though it did not look. It is made from the engine's proof.
type guard struct {
	size    int64         // objects above are not asked about; 0 = the engine says so itself
	timeout time.Duration // a clean that took so long is none; 0 = the engine says so itself
	stale   bool

	walk    bool   // archives must be looked into
	blind   bool   // the engine looks into no archive at all
	secret  bool   // it is silent about encrypted members
	bounds  Limits // for the Walker
	walker  Walker
	maximum int64 // of Expanded, with the object itself counted; 0 = none of its own
}

// newGuard returns the guard for an engine with that proof and those settings.
func newGuard(p *Proof, lim Limits, w Walker, stale bool) guard {
	g := guard{stale: stale, walker: w, bounds: Limits{Ratio: 1 << 40}} // what counts is what comes out
	if !lim.Exceeded {
		g.timeout = lim.Timeout
	}
	if p.Result(CaseArchive).Outcome == Silent {
		g.blind, g.size = true, lim.Size
		return g
	}
	bound := func(c Case) int64 {
		if r := p.Result(c); r.Outcome != Alerted {
			return max(1, r.Bound)
		}
		return 0
	}
	g.size = bound(CaseSize)
	g.bounds.Size = g.size
	g.bounds.Depth = int(bound(CaseDepth))
	g.bounds.Entries = int(bound(CaseEntries))
	g.maximum = bound(CaseExpanded)
	g.secret = p.Result(CaseEncrypted).Outcome == Silent
	g.walk = g.secret || g.size > 0 || g.bounds.Depth > 0 || g.bounds.Entries > 0 || g.maximum > 0
	return g
}

// walks says whether an archive needs a second look after a clean.
func (g guard) walks() bool { return g.walk || g.blind }

// walk decides about an archive that the engine called clean: it stays so only
// if nothing in it was beyond what the engine sees.
func (in *Instance) walk(ctx context.Context, g guard, s Sample, rep Report) (Report, error) {
	if g.blind || g.walker == nil {
		return in.notScanned(rep, Unsupported, ""), nil
	}
	began := time.Now()
	bounds := g.bounds
	if g.maximum > 0 {
		bounds.Expanded = g.maximum - s.Size // the engine counts the archive too
		if bounds.Expanded <= 0 {
			return in.notScanned(rep, ArchiveSize, ""), nil
		}
	}
	f, err := g.walker.Walk(ctx, s, bounds)
	rep.Took += time.Since(began)
	switch {
	case err != nil && ctx.Err() != nil:
		return Report{}, ctx.Err()
	case err != nil && fault.ReasonOf(err) != "":
		return in.notScanned(rep, Reason(fault.ReasonOf(err)), ""), nil
	case err != nil:
		return Report{}, &readError{err}
	case f.Reason != "" && (f.Reason != Encrypted || g.secret):
		return in.notScanned(rep, f.Reason, f.Path), nil
	case f.Encrypted > 0 && g.secret:
		return in.notScanned(rep, Encrypted, f.Path), nil
	}
	return rep, nil
}

// watch looks at a sample while an engine reads it: the head, the last end of a
// zip's central directory, how far it got, and the error that its reader met.
type watch struct {
	mu     sync.Mutex
	size   int64
	opened bool
	read   int64 // most bytes that any one reader yielded
	err    error
	known  bool // container is decided already
	is     bool
	head   []byte
	end    int64 // where the last "PK\5\6" was seen, -1 = nowhere
}

// over returns s as the engine is to see it. sniff says whether archive will
// be asked for.
func (w *watch) over(s Sample, sniff bool) Sample {
	w.size = s.Size
	if sniff && s.File != nil {
		w.known, w.is = true, sniffFile(s)
	}
	if open := s.Open; open != nil {
		s.Open = func(ctx context.Context) (io.ReadCloser, error) {
			r, err := open(ctx)
			w.mu.Lock()
			defer w.mu.Unlock()
			w.opened, w.err = true, nil
			if err != nil {
				if !fault.Canceled(err) {
					w.err = err
				}
				return nil, err
			}
			return &watched{ReadCloser: r, w: w, sniff: sniff && !w.known, end: -1}, nil
		}
	}
	return s
}

// failed returns what the sample's own reader failed with, last.
func (w *watch) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// unread returns how many bytes an engine that reads the stream left in it.
func (w *watch) unread() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.opened {
		return 0
	}
	return w.size - w.read
}

// archive reports whether what was read looks like an archive.
func (w *watch) archive() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known {
		return w.is
	}
	return isArchive(w.head) || w.end >= 0 && w.size-w.end <= maxEOCD
}

// watched is one reader of a sample.
type watched struct {
	io.ReadCloser
	w     *watch
	sniff bool
	n     int64
	head  []byte
	last  [3]byte // the bytes before the next read
	end   int64
}

func (r *watched) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if n > 0 && r.sniff {
		r.look(p[:n])
	}
	r.n += int64(n)
	if n == 0 && err == nil {
		return n, err
	}
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if r.n >= r.w.read {
		r.w.read, r.w.head, r.w.end = r.n, r.head, r.end
	}
	if err != nil && !errors.Is(err, io.EOF) && !fault.Canceled(err) {
		r.w.err = err
	}
	return n, err
}

func (r *watched) look(p []byte) {
	if want := headLen - len(r.head); want > 0 {
		r.head = append(r.head, p[:min(want, len(p))]...)
	}
	var joint [6]byte // a signature may lie across two reads
	n := copy(joint[:], r.last[:])
	n += copy(joint[n:], p)
	if i := bytes.LastIndex(joint[:n], eocd); i >= 0 {
		r.end = r.n - 3 + int64(i)
	}
	if i := bytes.LastIndex(p, eocd); i >= 0 {
		r.end = r.n + int64(i)
	}
	if len(p) >= 3 {
		r.last = [3]byte(p[len(p)-3:])
	} else {
		r.last = [3]byte(joint[len(p):])
	}
}

const (
	headLen = 512
	maxEOCD = 22 + 1<<16 - 1 // the record and the longest comment
)

var eocd = []byte("PK\x05\x06")

// sniffFile looks at head and tail of a local file. What cannot be read is
// taken for an archive, so that the Walker's error is heard.
func sniffFile(s Sample) bool {
	var head [headLen]byte
	n, err := s.File.ReadAt(head[:min(headLen, max(s.Size, 0))], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return true
	}
	if isArchive(head[:n]) {
		return true
	}
	if s.Size <= headLen {
		return bytes.Contains(head[:n], eocd)
	}
	buf := tails.Get().(*[maxEOCD]byte)
	defer tails.Put(buf)
	size := min(s.Size, maxEOCD)
	n, err = s.File.ReadAt(buf[:size], s.Size-size)
	if err != nil && !errors.Is(err, io.EOF) {
		return true
	}
	return bytes.Contains(buf[:n], eocd)
}

var tails = sync.Pool{New: func() any { return new([maxEOCD]byte) }}

// magics are how archives begin, at offset 0.
var magics = [][]byte{
	[]byte("PK\x03\x04"), []byte("PK\x05\x06"), []byte("PK\x07\x08"), // zip; empty; spanned
	{0x1f, 0x8b}, {0x1f, 0x9d}, {0x1f, 0xa0}, // gzip, compress
	[]byte("BZh"), []byte("\xfd7zXZ\x00"), []byte("7z\xbc\xaf\x27\x1c"),
	[]byte("Rar!\x1a\x07"), {0x28, 0xb5, 0x2f, 0xfd}, {0x04, 0x22, 0x4d, 0x18}, // rar, zstd, lz4
	{0x5d, 0, 0}, []byte("LZIP"), []byte("MSCF"), []byte("ISc("), []byte("xar!"), []byte("!<arch>\n"),
	[]byte("070701"), []byte("070702"), []byte("070707"), {0xc7, 0x71}, {0x71, 0xc7}, // cpio
	{0x60, 0xea}, []byte("zPQ"), []byte("EGGA"), []byte("ALZ\x01"), []byte("WIM"), []byte("MSWIM"),
}

// isArchive reports whether head begins like an archive. It errs to yes: a
// Walker then says what it is.
func isArchive(head []byte) bool {
	for _, m := range magics {
		if bytes.HasPrefix(head, m) {
			return true
		}
	}
	switch {
	case len(head) > 262 && bytes.Equal(head[257:262], []byte("ustar")):
		return true
	case len(head) > 6 && head[2] == '-' && head[3] == 'l' && head[6] == '-': // lha
		return true
	}
	return isOldTar(head)
}

// isOldTar recognises a tar header without a magic by its checksum.
func isOldTar(head []byte) bool {
	if len(head) < 512 || head[0] == 0 {
		return false
	}
	var want, sum int64
	for _, c := range bytes.Trim(head[148:156], " \x00") {
		if c < '0' || c > '7' {
			return false
		}
		want = want<<3 | int64(c-'0')
	}
	for i, c := range head[:512] {
		if i >= 148 && i < 156 {
			c = ' ' // the checksum itself counts as blanks
		}
		sum += int64(c)
	}
	return want > 0 && want == sum
}
