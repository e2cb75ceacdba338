package box

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/archive"
)

// What passes between parent and child: a request is a frame with JSON, its
// first byte carries the descriptor of the content; the answer is any number
// of member frames and a done frame. A frame is a length (4 bytes, little
// endian, of what follows), a type byte and a payload. The child has read
// hostile content, so the parent takes nothing for granted.

type frameType byte

const (
	frameHello   frameType = 'h' // Status as JSON, once
	frameRequest frameType = 'r'
	frameMember  frameType = 'm'
	frameDone    frameType = 'd' // done as JSON
)

// maxFrame bounds a payload.
const maxFrame = 16 << 10

// request is what the parent wants to know of a content.
type request struct {
	Size     int64           `json:"size"`
	Limits   scan.Limits     `json:"limits"`
	Timeout  time.Duration   `json:"timeout"`
	Memory   int64           `json:"memory"`
	SpoolMax int64           `json:"spool_max"`
	Digests  archive.Digests `json:"digests,omitempty"`
	Needle   []byte          `json:"needle,omitempty"`
}

// done is the end of an answer.
type done struct {
	Facts scan.Facts    `json:"facts"`
	Error string        `json:"error,omitempty"` // the content could not be read
	CPU   time.Duration `json:"cpu"`             // of the process so far
}

// member is what a child saw of one member of an archive.
type member struct {
	hit  bool
	size int64
	sums archive.Sums
	path string
}

func appendFrame(dst []byte, t frameType, payload []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(1+len(payload)))
	dst = append(dst, byte(t))
	return append(dst, payload...)
}

func appendJSON(dst []byte, t frameType, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return dst, err
	}
	if len(b) > maxFrame {
		return dst, fmt.Errorf("frame of %d bytes", len(b))
	}
	return appendFrame(dst, t, b), nil
}

// readFrame reads one frame into buf, which it may replace.
func readFrame(r io.Reader, buf []byte) (frameType, []byte, error) {
	var h [5]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(h[:])
	if n == 0 || n > 1+maxFrame {
		return 0, nil, fmt.Errorf("frame of %d bytes", n)
	}
	if cap(buf) < int(n-1) {
		buf = make([]byte, maxFrame)
	}
	buf = buf[:n-1]
	if _, err := io.ReadFull(r, buf); err != nil {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return frameType(h[4]), buf, nil
}

func appendMember(dst []byte, m member) []byte {
	b := make([]byte, 0, 128+len(m.path))
	hit := byte(0)
	if m.hit {
		hit = 1
	}
	b = append(b, hit, byte(m.sums.Has))
	b = binary.LittleEndian.AppendUint64(b, uint64(m.size))
	if m.sums.Has&archive.MD5 != 0 {
		b = append(b, m.sums.MD5[:]...)
	}
	if m.sums.Has&archive.SHA1 != 0 {
		b = append(b, m.sums.SHA1[:]...)
	}
	if m.sums.Has&archive.SHA256 != 0 {
		b = append(b, m.sums.SHA256[:]...)
	}
	return appendFrame(dst, frameMember, append(b, m.path...))
}

var errFrame = errors.New("malformed frame")

func parseMember(b []byte) (member, error) {
	if len(b) < 10 || b[0] > 1 || b[1] > 7 {
		return member{}, errFrame
	}
	m := member{hit: b[0] == 1, size: int64(binary.LittleEndian.Uint64(b[2:]))}
	m.sums.Has = archive.Digests(b[1])
	b = b[10:]
	for _, d := range [...]struct {
		has archive.Digests
		to  []byte
	}{{archive.MD5, m.sums.MD5[:]}, {archive.SHA1, m.sums.SHA1[:]}, {archive.SHA256, m.sums.SHA256[:]}} {
		if m.sums.Has&d.has == 0 {
			continue
		}
		if len(b) < len(d.to) {
			return member{}, errFrame
		}
		b = b[copy(d.to, b):]
	}
	if m.size < 0 || len(b) > maxPath {
		return member{}, errFrame
	}
	m.path = string(b)
	return m, nil
}

const maxPath = 1024

// check reports whether facts are ones that an honest child could have sent.
func (d done) check() error {
	f := d.Facts
	known := f.Reason == ""
	for _, r := range [...]scan.Reason{scan.Encrypted, scan.Unsupported, scan.ArchiveDepth, scan.ArchiveFiles,
		scan.ArchiveSize, scan.Timeout} {
		known = known || f.Reason == r
	}
	if !known || f.Depth < 0 || f.Entries < 0 || f.Expanded < 0 || f.Largest < 0 || f.Ratio < 0 || f.Encrypted < 0 ||
		len(f.Kind) > 16 || len(f.Path) > 6*maxPath || d.CPU < 0 {
		return errFrame
	}
	return nil
}
