package archive

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

// zstdFrames yields the frames of RFC 8878 that stand in r, one after another,
// up to what is not a frame. It goes by the headers of frames and blocks. The
// decoder behind it would not say where its last frame ends, nor what is in the
// frames that are to be skipped.
type zstdFrames struct {
	w     *walker
	r     *bufio.Reader
	n     int  // bytes that may pass before the next header
	last  bool // and with them the blocks end
	sum   bool // the frame has a checksum
	open  bool // inside of a frame
	began bool
	held  int64
}

const zstdMagic = 0xfd2fb528

// decoder returns a decoder of all frames; the caller closes it before release.
func (f *zstdFrames) decoder() (io.ReadCloser, error) {
	d, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxDict), zstd.WithDecoderMaxMemory(1<<62))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

func (f *zstdFrames) release() {
	f.w.mem -= f.held
	f.held = 0
}

func (f *zstdFrames) Read(p []byte) (int, error) {
	for f.n == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	n, err := f.r.Read(p[:min(len(p), f.n)])
	f.n -= n
	return n, unexpected(err)
}

// next looks at the header that comes now and lets it pass.
func (f *zstdFrames) next() error {
	switch {
	case !f.open:
		return f.frame()
	case f.last && f.sum:
		f.n, f.sum = 4, false
	case f.last:
		f.open = false
	default:
		h, err := f.r.Peek(3)
		if err != nil {
			return unexpected(err)
		}
		v := uint32(h[0]) | uint32(h[1])<<8 | uint32(h[2])<<16
		f.last = v&1 != 0
		if f.n = 3 + int(v>>3); v>>1&3 == 1 { // one byte, repeated
			f.n = 4
		}
	}
	return nil
}

// frame begins a frame, or ends with io.EOF in front of something else.
func (f *zstdFrames) frame() error {
	for {
		p, err := f.r.Peek(8)
		if len(p) < 4 {
			if f.began || len(p) == 0 && err != io.EOF {
				return err
			}
			return unexpected(err)
		}
		magic := le.Uint32(p)
		if magic&^0xf == 0x184d2a50 {
			if len(p) < 8 {
				return io.ErrUnexpectedEOF
			}
			f.began = true
			if err := f.skip(int64(le.Uint32(p[4:]))); err != nil {
				return err
			}
			continue
		}
		if magic != zstdMagic {
			if !f.began {
				return errDamaged
			}
			return io.EOF
		}
		break
	}
	p, _ := f.r.Peek(zstd.HeaderMaxSize)
	var h zstd.Header
	if err := h.Decode(p); err != nil {
		return unexpected(err)
	}
	f.release()
	window := int64(min(max(h.WindowSize, 64<<10), 1<<40))
	if h.SingleSegment {
		window = int64(min(max(h.FrameContentSize, 64<<10), 1<<40))
	}
	if window > maxDict || !f.w.reserve(2*window) { // history and output
		return errMemory
	}
	f.held = 2 * window
	f.began, f.open, f.last, f.sum, f.n = true, true, false, h.HasCheckSum, h.HeaderSize
	return nil
}

// maxSkip bounds a frame to be skipped. Those in use hold lengths and tables.
const maxSkip = 1 << 20

// skip discards a frame, in which there must be no archive.
func (f *zstdFrames) skip(n int64) error {
	if n > maxSkip {
		return errors.ErrUnsupported
	}
	b := make([]byte, n)
	if _, err := f.r.Discard(8); err != nil {
		return unexpected(err)
	}
	if _, err := io.ReadFull(f.r, b); err != nil {
		return unexpected(err)
	}
	if f.w.sniff(b, b).Any() {
		return errors.ErrUnsupported
	}
	return nil
}
