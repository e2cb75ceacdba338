package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"compress/bzip2"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/landwaiter/landwaiter/scan"
)

// single walks a container of one nameless member.
func (w *walker) single(r io.Reader, path, name string, depth int) error {
	path = join(path, []byte(name))
	if !w.enter(path) {
		return errStop
	}
	_, err := w.member(r, path, depth)
	return err
}

// rest looks at what follows a container that has ended: zeros are padding,
// and everything else is taken as a member of its own, so that it hides
// nothing.
func (w *walker) rest(br *bufio.Reader, path string, depth int) error {
	for {
		p, err := br.Peek(1)
		if len(p) == 0 {
			if err == io.EOF {
				return nil
			}
			return err
		}
		p, _ = br.Peek(br.Buffered())
		n := len(p) - len(bytes.TrimLeft(p, "\x00"))
		_, _ = br.Discard(n)
		if n < len(p) {
			return w.single(br, path, "(trailing)", depth)
		}
	}
}

func (w *walker) gzip(r io.Reader, path string, depth int) error {
	br := bufio.NewReaderSize(r, 32<<10)
	zr, err := gzip.NewReader(br)
	if err != nil {
		return err
	}
	var bad error
	if h := zr.Header; bytes.Contains(h.Extra, []byte("PK\x05\x06")) || strings.Contains(h.Name+h.Comment, "PK\x05\x06") {
		bad = errDamaged // nobody's header holds an archive
	}
	name := "content"
	if zr.Name != "" {
		name = zr.Name
	}
	// All streams together are the content, as gunzip has it.
	if err := w.single(&gzipReader{zr: zr, br: br}, path, name, depth); err != nil {
		return err
	}
	if err := w.rest(br, path, depth); err != nil {
		return err
	}
	return bad
}

// gzipReader goes from one stream to the next, up to what is not a stream.
type gzipReader struct {
	zr  *gzip.Reader
	br  *bufio.Reader
	mid bool
}

func (g *gzipReader) Read(p []byte) (int, error) {
	if !g.mid {
		g.zr.Multistream(false)
		g.mid = true
	}
	for {
		n, err := g.zr.Read(p)
		if err == io.EOF {
			if h, _ := g.br.Peek(3); len(h) < 3 || h[0] != 0x1f || h[1] != 0x8b || h[2] != 8 {
				return n, io.EOF
			}
			if err = g.zr.Reset(g.br); err == nil {
				g.zr.Multistream(false)
			} else if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (w *walker) bzip2(r io.Reader, path string, depth int) error {
	return w.single(bzip2.NewReader(bufio.NewReaderSize(r, 32<<10)), path, "content", depth)
}

func (w *walker) zstd(r io.Reader, path string, depth int) error {
	br := bufio.NewReaderSize(r, 32<<10)
	f := &zstdFrames{w: w, r: br}
	defer f.release()
	d, err := f.decoder()
	if err != nil {
		return err
	}
	defer d.Close()
	if err := w.single(d, path, "content", depth); err != nil {
		return err
	}
	return w.rest(br, path, depth)
}

func (w *walker) xz(r io.Reader, path string, depth int) error {
	x := &xzReader{w: w, r: bufio.NewReaderSize(r, 32<<10)}
	defer x.release()
	if err := w.single(x, path, "content", depth); err != nil {
		return err
	}
	return w.rest(x.r, path, depth)
}

func (w *walker) tar(r io.Reader, path string, depth int) error {
	err := w.tarFrom(&tarBlocks{r: r}, path, depth)
	if w.stop != nil || isEnd(err) {
		return err
	}
	// The reader stops at the end mark; what other tools read on is a member.
	return cmp.Or(w.rest(bufio.NewReaderSize(r, 32<<10), path, depth), err)
}

// tarFrom walks the tar that r stands before, up to its end mark. Behind a bad
// header it goes on with the next good one, as GNU tar does.
func (w *walker) tarFrom(r *tarBlocks, path string, depth int) error {
	tr := tar.NewReader(r)
	var bad error
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			bad = err
			if isEnd(err) || !r.next(w, math.MaxInt64) {
				return err
			}
			tr = tar.NewReader(r)
			continue
		}
		name := join(path, []byte(h.Name))
		if !w.enter(name) {
			return errStop
		}
		switch h.Typeflag {
		case tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
			continue
		}
		if strings.HasPrefix(h.Name, "./GNUFileParts") || h.Typeflag == 'M' { // the rest of a file from another volume
			bad = errors.ErrUnsupported
		}
		if h.Size == 0 {
			continue
		}
		if _, err := w.member(tr, name, depth); err != nil {
			return err
		}
	}
	return bad
}

// ar walks the archives of Unix and Debian.
func (w *walker) ar(r io.Reader, path string, depth int) error {
	br := bufio.NewReaderSize(r, 32<<10)
	if _, err := br.Discard(8); err != nil {
		return err
	}
	for {
		var h [60]byte
		if _, err := io.ReadFull(br, h[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(h[48:58])), 10, 64)
		if err != nil || size < 0 || string(h[58:]) != "`\n" {
			return errDamaged
		}
		name := join(path, bytes.TrimRight(h[:16], " /"))
		if !w.enter(name) {
			return errStop
		}
		n, err := w.member(io.LimitReader(br, size), name, depth)
		if err != nil {
			return err
		}
		if n != size {
			return io.ErrUnexpectedEOF
		}
		if size%2 == 1 {
			if c, err := br.ReadByte(); err != nil && err != io.EOF || err == nil && c != '\n' {
				return errDamaged
			}
		}
	}
}

// encryptedPackage is the row of an OLE directory that holds an encrypted
// Office document: 64 bytes of name in UTF-16, its length, type 2 (stream).
// [MS-OFFCRYPTO] 2.3.4.4.
const encryptedPackage = "E\x00n\x00c\x00r\x00y\x00p\x00t\x00e\x00d\x00P\x00a\x00c\x00k\x00a\x00g\x00e\x00"

// ole looks through a compound file for an encrypted document. Rows are 128
// bytes long and begin at multiples of that.
func (w *walker) ole(r io.Reader, path string) error {
	buf := w.buffer()
	defer w.recycle(buf)
	buf = buf[:len(buf)/128*128]
	for {
		n, err := io.ReadFull(r, buf)
		for i := 0; i+128 <= n; i += 128 {
			if row := buf[i : i+128]; row[0] == 'E' && row[64] == 34 && row[66] == 2 && string(row[:32]) == encryptedPackage {
				w.facts.Encrypted++
				w.note(scan.Encrypted, path)
				return nil
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
