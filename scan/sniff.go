package scan

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/landwaiter/landwaiter/fault"
)

// watch looks at a sample while an engine reads it: the head, the last end of a
// zip's central directory, how far it got, and the error that its reader met.
type watch struct {
	mu     sync.Mutex
	size   int64
	opened bool
	read   int64 // most bytes that any one reader yielded
	err    error
	known  bool // looks is decided already
	is     looks
	head   []byte
	end    int64 // where the last "PK\5\6" was seen, -1 = nowhere
	tar    bool  // a tar begins behind something else
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

// looks is what content looks like by its ends.
type looks uint8

const (
	plain   looks = iota
	maybe         // a program or document: it may have an archive in it, or be encrypted
	behind        // it ends like a zip
	archive       // it begins like an archive
)

// looks says what the content that was read looks like.
func (w *watch) looks() looks {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known {
		return w.is
	}
	l := sniff(w.head)
	switch {
	case l == archive || w.tar:
		return archive
	case w.end >= 0 && w.size-w.end <= maxEOCD:
		return behind
	}
	return l
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
	block []byte // the beginning of a block of a tar
	tar   bool
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
		r.w.read, r.w.head, r.w.end, r.w.tar = r.n, r.head, r.end, r.tar
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
	r.lookForTar(p)
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

// lookForTar looks at the whole blocks among the first bytes.
func (r *watched) lookForTar(p []byte) {
	for at := r.n; !r.tar && len(p) > 0 && at < TarJunk; {
		n := min(TarBlock-len(r.block), len(p))
		block := p[:n]
		if n < TarBlock {
			r.block = append(r.block, block...)
			block = r.block
		}
		if len(block) == TarBlock {
			r.tar = at >= TarBlock && tarBehind(block)
			r.block = r.block[:0]
		}
		at += int64(n)
		p = p[n:]
	}
}

const (
	headLen = 0x9006 // up to the last mark of an ISO image

	// maxEOCD is how far from the end a zip's last record is looked for. With the
	// longest comment it is 22 + 1<<16 - 1 bytes long; unzip looks further.
	maxEOCD = 80 << 10
)

var eocd = []byte("PK\x05\x06")

// sniffFile looks at head and tail of a local file. What cannot be read is
// taken for an archive, so that the Walker's error is heard.
func sniffFile(s Sample) looks {
	buf := ends.Get().(*[maxEOCD]byte)
	defer ends.Put(buf)
	head := buf[:min(headLen, max(s.Size, 0))]
	n, err := s.File.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return archive
	}
	l := sniff(head[:n])
	if l == archive {
		return l
	}
	if is, err := tarInFile(s, buf); is || err != nil {
		return archive
	}
	if s.Size > 0 {
		tail := buf[:min(s.Size, maxEOCD)]
		if n, err = s.File.ReadAt(tail, s.Size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
			return archive
		}
	}
	if bytes.Contains(buf[:n], eocd) {
		return behind
	}
	return l
}

var ends = sync.Pool{New: func() any { return new([maxEOCD]byte) }}

// magics are how archives, and images with files in them, begin. Each is at a
// fixed place.
var magics = [...]struct {
	at  int
	sig string
}{
	{0, "PK\x03\x04"}, {0, "PK\x05\x06"}, {0, "PK\x07\x08"}, {0, "PK00PK"}, // zip; empty, in parts
	{0, "\x1f\x8b\x08"}, {0, "BZh"}, {0, "\xfd7zXZ\x00"}, {0, "7z\xbc\xaf\x27\x1c"}, {0, "LZIP"}, {0, "\x5d\x00\x00"}, // bzip2 to lzma
	{0, "\x28\xb5\x2f\xfd"}, {0, "\x04\x22\x4d\x18"}, {0, "\x02\x21\x4c\x18"}, // zstd, lz4
	{0, "\x89LZO"}, {0, "\xff\x06\x00\x00sNaPpY"},
	{0, "Rar!\x1a\x07"}, {0, "RE\x7e\x5e"}, {7, "**ACE**"}, {20, "\xdc\xa7\xc4\xfd"}, // rar, ace, zoo
	{0, "MSCF"}, {0, "ISc("}, {0, "SZDD\x88\xf0"}, {0, "KWAJ\x88\xf0"}, {0, "ITSF"}, {0, "MSWIM"}, // Microsoft's
	{0, "xar!"}, {0, "SIT!"}, {0, "StuffIt"}, {0, "ALZ\x01"}, {0, "EGGA"},
	{0, "!<arch>\n"}, {0, "070701"}, {0, "070702"}, {0, "070707"}, // ar, cpio
	{257, "ustar"}, {0, "\xed\xab\xee\xdb"}, // tar, rpm
	{0, "hsqs"}, {0, "sqsh"}, {0, "vhdxfile"}, {0, "conectix"}, {0, "KDMV"}, {0, "QFI\xfb"}, // disks
	{0x8001, "CD001"}, {0x8001, "BEA01"}, {0x8801, "CD001"}, {0x9001, "CD001"},
}

// hosts are what may have an archive behind it (programs), or be encrypted (OLE).
var hosts = [...]string{"MZ", "\x7fELF", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"}

// sniff says what content with that head looks like. It errs to archive: a
// Walker then says what it is.
func sniff(head []byte) looks {
	for i := range magics {
		m := &magics[i]
		if end := m.at + len(m.sig); len(head) >= end && head[m.at] == m.sig[0] && string(head[m.at:end]) == m.sig {
			return archive
		}
	}
	if isShort(head) || IsTar(head) {
		return archive
	}
	for _, sig := range hosts {
		if len(head) >= len(sig) && string(head[:len(sig)]) == sig {
			return maybe
		}
	}
	return plain
}

// isShort recognises formats whose magic is so short that random content would
// often have it, by what else must be right in their heads.
func isShort(p []byte) bool {
	if len(p) < 22 {
		return false
	}
	le := binary.LittleEndian
	switch {
	case p[0] == 0x1f && p[1] == 0x9d: // compress: flags and bits of a code
		return p[2]&0x60 == 0 && p[2]&0x1f >= 9 && p[2]&0x1f <= 16
	case p[0] == 0x60 && p[1] == 0xea: // arj: size of the head
		n := le.Uint16(p[2:])
		return n >= 30 && n <= 2600
	case p[2] == '-' && p[3] == 'l' && p[6] == '-': // lha
		return true
	case p[0]&0xf0 == 0x50 && p[1] == 0x2a && p[2] == 0x4d && p[3] == 0x18: // zstd and lz4: a frame to skip
		return true
	case p[0] == 0xc7 && p[1] == 0x71: // cpio of old: size of the name
		n := le.Uint16(p[20:])
		return n > 0 && n <= 4096
	case p[0] == 0x71 && p[1] == 0xc7:
		n := binary.BigEndian.Uint16(p[20:])
		return n > 0 && n <= 4096
	}
	return false
}
