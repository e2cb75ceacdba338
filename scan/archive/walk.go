// Package archive recognises packed content and walks what it can open, member
// by member and archive in archive, within bounds of depth, entries, unpacked
// bytes, ratio, memory and time. It is written to be run on hostile content,
// in a process of its own (package box). What it could not see it says, and
// never leaves out: see scan.Facts.Reason.
package archive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

// Options say how far a walk goes and who watches it.
type Options struct {
	Limits   scan.Limits // zero fields: scan.DefaultLimits; Timeout and Size are the caller's
	Memory   int64       // bytes for dictionaries and small spools; 0 = 192 MiB
	Spool    *os.File    // for what needs random access and is large; nil = memory only
	SpoolMax int64       // bytes in Spool
	Visit    Visit       // sees each member; may be nil
}

// Visit is called before the content of each member. All of that content which
// can be unpacked is written to the writer, which is then closed; a member's
// own members are visited before that. A nil writer is allowed. An error of
// the writer ends the walk. path is at most maxPath bytes.
type Visit func(path string) io.WriteCloser

const (
	maxPath       = 1024
	defaultMemory = 192 << 20
	ratioFloor    = 16 << 20 // unpacked bytes below which the ratio is nobody's business
)

var (
	errStop    = errors.New("a bound was reached")
	errDamaged = errors.New("damaged")
	errMemory  = errors.New("wants too much memory")
)

type walker struct {
	ctx   context.Context
	opts  Options
	lim   scan.Limits
	size  int64 // of the outermost content
	facts scan.Facts
	stop  error // set once: no further reading
	mem   int64 // bytes of Options.Memory in use
	end   int64 // bytes of Options.Spool in use, a stack
	free  [][]byte
	tools tools
}

// Walk looks into the size bytes of r. Its error is the end of ctx, a failure
// to read r or to write to a visitor or the spool; anything about the content
// is in the facts, which are also good, as far as they go, with an error.
func Walk(ctx context.Context, r io.ReaderAt, size int64, o Options) (scan.Facts, error) {
	d := scan.DefaultLimits
	w := &walker{ctx: ctx, opts: o, size: size, lim: scan.Limits{
		Depth:    cmp.Or(o.Limits.Depth, d.Depth),
		Entries:  cmp.Or(o.Limits.Entries, d.Entries),
		Expanded: cmp.Or(o.Limits.Expanded, d.Expanded),
		Ratio:    cmp.Or(o.Limits.Ratio, d.Ratio),
	}}
	w.opts.Memory = cmp.Or(o.Memory, defaultMemory)
	root := &rootReader{w: w, r: r}
	head := make([]byte, min(size, HeadSize))
	tail := make([]byte, min(size, TailSize))
	if err := readFullAt(root, head, 0); err != nil {
		return w.facts, w.result()
	}
	if err := readFullAt(root, tail, size-int64(len(tail))); err != nil {
		return w.facts, w.result()
	}
	src := source{r: io.NewSectionReader(root, 0, size), at: root, size: size}
	found := w.settle(src, w.findTar(src, Sniff(head, tail)))
	w.facts.Kind = string(found.Kind())
	w.open(src, found, "", 1)
	w.facts.Ratio = w.facts.Expanded / max(size, 1)
	return w.facts, w.result()
}

// result turns what ended the walk into its error.
func (w *walker) result() error {
	if w.stop == nil || errors.Is(w.stop, errStop) {
		return nil
	}
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	return fault.New(fault.Other, "archive.Walk", "", w.stop)
}

// A source is a content: in order, and at random where at is not nil.
type source struct {
	r    io.Reader
	at   io.ReaderAt
	size int64 // with at
}

// open looks into src at the given depth, 1 being the outermost archive.
func (w *walker) open(src source, found Found, path string, depth int) {
	if !found.Any() || w.stop != nil {
		return
	}
	if depth > w.lim.Depth {
		w.note(scan.ArchiveDepth, path)
		return
	}
	if found.Head != Plain {
		w.into(src, found.Head, path, depth)
	}
	if found.Tar > 0 && w.stop == nil {
		src.r = io.NewSectionReader(src.at, found.Tar, src.size-found.Tar)
		w.behind(src.r, found.Head, path, depth)
	}
	if found.Tail == Plain || found.Tail == found.Head || w.stop != nil || w.covered(found) {
		return
	}
	if src.at != nil {
		src.r = io.NewSectionReader(src.at, 0, src.size)
	}
	w.into(src, found.Tail, path, depth)
}

// covered reports whether what the tail claims lies in a container that the
// head began and that was seen in full: a tar's last member may be a zip.
func (w *walker) covered(found Found) bool {
	if w.facts.Reason != "" {
		return false
	}
	switch found.Head {
	case Ar, Zstd:
		return true
	case Tar, Gzip, Bzip2, Xz:
		return found.loose
	}
	return false
}

func (w *walker) into(src source, kind Kind, path string, depth int) {
	if kind != OLE {
		w.facts.Depth = max(w.facts.Depth, depth)
	}
	if err := w.openKind(src, kind, path, depth); err != nil {
		w.note(scan.Unsupported, path) // damaged, or packed in a way we cannot undo
	}
}

// openKind walks one container. An error says that not all of it was seen.
func (w *walker) openKind(src source, kind Kind, path string, depth int) error {
	switch kind {
	case Zip:
		return w.zip(src, path, depth)
	case Tar:
		return w.tar(src.r, path, depth)
	case Gzip:
		return w.gzip(src.r, path, depth)
	case Bzip2:
		return w.bzip2(src.r, path, depth)
	case Xz:
		return w.xz(src.r, path, depth)
	case Zstd:
		return w.zstd(src.r, path, depth)
	case Ar:
		return w.ar(src.r, path, depth)
	case OLE:
		return w.ole(src.r, path)
	}
	return errors.ErrUnsupported
}

// enter counts a member and reports whether the walk goes on.
func (w *walker) enter(path string) bool {
	if w.stop != nil {
		return false
	}
	if w.facts.Entries >= w.lim.Entries {
		w.halt(scan.ArchiveFiles, path)
		return false
	}
	w.facts.Entries++
	if w.facts.Entries&0xff == 0 && w.ctx.Err() != nil {
		w.stop = w.ctx.Err()
		return false
	}
	return true
}

// member takes the content of one member, which enter has counted, to the
// visitor and looks into it, being inside a container at the given depth. It
// returns the member's size and the error that cut it short.
func (w *walker) member(r io.Reader, path string, depth int) (int64, error) {
	if len(path) > maxPath {
		path = path[:maxPath]
	}
	var sink io.WriteCloser
	if w.opts.Visit != nil {
		sink = w.opts.Visit(path)
	}
	m := &memberReader{w: w, r: r, sink: sink, path: path}
	w.content(m, path, depth)
	w.drain(m)
	w.facts.Largest = max(w.facts.Largest, m.n)
	if sink != nil {
		if err := sink.Close(); err != nil && w.stop == nil {
			w.stop = err
		}
	}
	if m.err == io.EOF {
		return m.n, nil
	}
	if w.stop == nil {
		w.note(scan.Unsupported, path)
	}
	return m.n, m.err
}

// content reads enough of m to know what it is, and opens that.
func (w *walker) content(m *memberReader, path string, depth int) {
	buf := w.buffer()
	defer w.recycle(buf)
	n, err := io.ReadFull(m, buf)
	head := buf[:n]
	switch {
	case n == 0:
		return
	case err != nil: // all there is, or all that could be unpacked
		if m.err == io.EOF {
			w.open(source{r: bytes.NewReader(head), at: bytes.NewReader(head), size: int64(n)},
				w.sniff(head, head), path, depth+1)
		}
		return
	case sniffHead(head) == Zip || IsProgram(head):
		src, release, err := w.keep(head, m)
		defer release()
		if err != nil {
			if errors.Is(err, errMemory) {
				w.note(scan.ArchiveSize, path)
			}
			return
		}
		tail := make([]byte, min(src.size, TailSize))
		if err := readFullAt(src.at, tail, src.size-int64(len(tail))); err != nil {
			w.stop = cmp.Or(w.stop, err)
			return
		}
		found := w.settle(src, w.findTar(src, Sniff(head, tail)))
		if IsProgram(head) && found.Tail == Plain {
			found.Tail = w.embedded(src)
		}
		w.open(src, found, path, depth+1)
		return
	}
	// A stream. What its end claims is only seen when it is too late to look.
	m.tail = append(w.buffer()[:0], head[max(0, n-TailSize):]...)
	defer func() { w.recycle(m.tail); m.tail = nil }()
	found := Found{Head: sniffHead(head)}
	r := io.MultiReader(bytes.NewReader(head), m)
	w.open(source{r: r}, found, path, depth+1)
	if found.Head == Plain {
		w.behind(r, Plain, path, depth+1)
	} else if found.MayBehind() && scan.TarBehind(head, scan.TarBlock) > 0 && w.facts.Reason == "" {
		w.note(scan.Unsupported, path)
	}
	w.drain(m)
	end := sniffTail(m.lastBytes())
	end.Head = found.Head
	if end.Tail != Plain && m.err == io.EOF && (!end.doubt || mayEnd(m.lastBytes(), m.n)) && !w.covered(end) {
		w.note(scan.Unsupported, path)
	}
}

// findTar completes what is found at src's ends.
func (w *walker) findTar(src source, found Found) Found {
	if !found.MayBehind() || w.stop != nil {
		return found
	}
	buf := w.buffer()
	defer w.recycle(buf)
	at, err := scan.FindTar(src.at, src.size, buf)
	if err != nil {
		w.stop = cmp.Or(w.stop, err)
	}
	found.Tar = at
	return found
}

func (w *walker) sniff(head, all []byte) Found {
	found := Sniff(head, all[max(0, len(all)-TailSize):])
	if at := scan.TarBehind(all[:min(len(all), scan.TarJunk)], scan.TarBlock); at > 0 && found.MayBehind() {
		found.Tar = int64(at)
	}
	if found.Tail == Plain && IsProgram(head) {
		found.Tail = Embedded(all)
	}
	return found
}

// embedded looks through all of a program for an archive behind it.
func (w *walker) embedded(src source) Kind {
	buf := w.buffer()
	defer w.recycle(buf)
	for off := int64(0); off < src.size && w.stop == nil; off += int64(len(buf) - EmbedOverlap) {
		p := buf[:min(int64(len(buf)), src.size-off)]
		if err := readFullAt(src.at, p, off); err != nil {
			w.stop = cmp.Or(w.stop, err)
			return Plain
		}
		if k := Embedded(p); k != Plain {
			return k
		}
	}
	return Plain
}

// note remembers the first reason why not everything was seen.
func (w *walker) note(r scan.Reason, path string) {
	if w.facts.Reason == "" && w.stop == nil {
		w.facts.Reason, w.facts.Path = r, path[:min(len(path), maxPath)]
	}
}

// halt is note for what ends the walk.
func (w *walker) halt(r scan.Reason, path string) {
	w.note(r, path)
	w.stop = cmp.Or(w.stop, errStop)
}
