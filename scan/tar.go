package scan

import (
	"errors"
	"io"
)

// What tells a tar is here, and not in package archive, because a guard must
// send to the Walker whatever the Walker would take for a tar.

const (
	// TarBlock is the size of a tar's blocks.
	TarBlock = 512
	// TarJunk is how many bytes may stand in front of a tar's first header for it
	// to be found still. GNU tar skips any number of blocks.
	TarJunk = 1 << 20
)

// IsTar reports whether p begins with a tar header. What has the magic may have
// a wrong sum, for readers skip to the next header; old tars have the sum alone.
func IsTar(p []byte) bool {
	if len(p) < TarBlock {
		return false
	}
	return isUstar(p) || p[0] != 0 && tarSum(p)
}

// TarBehind returns where in p, behind the first skip bytes and in whole
// blocks, a tar header with the right sum stands, or -1.
func TarBehind(p []byte, skip int) int {
	for i := skip; i+TarBlock <= len(p); i += TarBlock {
		if tarBehind(p[i : i+TarBlock]) {
			return i
		}
	}
	return -1
}

// tarBehind is for blocks in the midst of anything, tables of digits included:
// beside the sum it wants the magic, or numbers written as tars have them.
func tarBehind(p []byte) bool {
	return tarSum(p) && (isUstar(p) || p[0] != 0 && isOctal(p[148:156]) && (p[124]&0x80 != 0 || isOctal(p[124:136])))
}

func isUstar(p []byte) bool { return string(p[257:262]) == "ustar" }

// tarSum holds the header's sum against its bytes, taken as unsigned or, as
// some writers of old did, as signed.
func tarSum(p []byte) bool {
	want, digits := int64(0), 0
	for _, c := range p[148:156] {
		switch {
		case c >= '0' && c <= '7':
			want, digits = want<<3|int64(c-'0'), digits+1
		case c != ' ' && c != 0:
			return false
		}
	}
	if digits == 0 {
		return false
	}
	unsigned, signed := int64(8*' '), int64(8*' ') // the sum itself counts as blanks
	for i, c := range p[:TarBlock] {
		if i < 148 || i >= 156 {
			unsigned, signed = unsigned+int64(c), signed+int64(int8(c))
		}
	}
	return want == unsigned || want == signed
}

// isOctal reports whether p is one octal number, with blanks before it, and
// blanks and zeros behind.
func isOctal(p []byte) bool {
	i := 0
	for i < len(p) && p[i] == ' ' {
		i++
	}
	from := i
	for i < len(p) && p[i] >= '0' && p[i] <= '7' {
		i++
	}
	digits := i - from
	for i < len(p) && (p[i] == ' ' || p[i] == 0) {
		i++
	}
	return digits > 0 && i == len(p)
}

// FindTar looks for a tar behind something else in the size bytes of r. It
// returns where its first header stands, or 0. buf is what it reads into, at
// least a block.
func FindTar(r io.ReaderAt, size int64, buf []byte) (int64, error) {
	buf = buf[:len(buf)/TarBlock*TarBlock]
	size = min(size, TarJunk)
	for off, skip := int64(0), TarBlock; off+TarBlock <= size; off, skip = off+int64(len(buf)), 0 {
		p := buf[:min(int64(len(buf)), size-off)]
		n, err := r.ReadAt(p, off)
		if n < len(p) && err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if i := TarBehind(p[:n], skip); i >= 0 {
			return off + int64(i), nil
		}
	}
	return 0, nil
}

func tarInFile(s Sample, buf *[maxEOCD]byte) (bool, error) {
	at, err := FindTar(s.File, s.Size, buf[:])
	return at > 0, err
}
