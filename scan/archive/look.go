package archive

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"hash"
)

// Digests is a set of digests.
type Digests uint8

// The digests.
const (
	MD5 Digests = 1 << iota
	SHA1
	SHA256
)

// Sums are the digests of one content; those in Has are set.
type Sums struct {
	Has    Digests
	MD5    [md5.Size]byte
	SHA1   [sha1.Size]byte
	SHA256 [sha256.Size]byte
}

// A Look looks at one content as it passes: its digests, and whether it holds
// the needle. It may be used again after Reset.
type Look struct {
	want              Digests
	md5, sha1, sha256 hash.Hash
	needle, anchor    []byte
	carry             []byte // the last len(needle)-1 bytes
	size              int64
	hit               bool
}

// anchorAt and anchorLen are the part of a needle that is searched for: short
// enough for the processor's own search, and in the EICAR string the part that
// does not begin with a common byte.
const anchorAt, anchorLen = 28, 31

// NewLook returns a Look for the digests in want and for needle, which may be
// empty.
func NewLook(want Digests, needle []byte) *Look {
	l := &Look{want: want, needle: needle, anchor: needle}
	if len(needle) >= anchorAt+anchorLen {
		l.anchor = needle[anchorAt : anchorAt+anchorLen]
	}
	if want&MD5 != 0 {
		l.md5 = md5.New()
	}
	if want&SHA1 != 0 {
		l.sha1 = sha1.New()
	}
	if want&SHA256 != 0 {
		l.sha256 = sha256.New()
	}
	return l
}

// Reset forgets the content.
func (l *Look) Reset() {
	for _, h := range [...]hash.Hash{l.md5, l.sha1, l.sha256} {
		if h != nil {
			h.Reset()
		}
	}
	l.carry, l.size, l.hit = l.carry[:0], 0, false
}

// Write looks at the next bytes. It does not fail.
func (l *Look) Write(p []byte) (int, error) {
	l.size += int64(len(p))
	for _, h := range [...]hash.Hash{l.md5, l.sha1, l.sha256} {
		if h != nil {
			h.Write(p)
		}
	}
	if len(l.needle) > 0 && !l.hit {
		l.search(p)
	}
	return len(p), nil
}

func (l *Look) search(p []byte) {
	most := len(l.needle) - 1
	if len(l.carry) > 0 { // across the border
		l.hit = l.in(append(l.carry, p[:min(most, len(p))]...))
	}
	l.hit = l.hit || l.in(p)
	if len(p) >= most {
		l.carry = append(l.carry[:0], p[len(p)-most:]...)
		return
	}
	l.carry = append(l.carry, p...)
	if over := len(l.carry) - most; over > 0 {
		l.carry = l.carry[:copy(l.carry, l.carry[over:])]
	}
}

func (l *Look) in(p []byte) bool {
	at := 0
	if len(l.anchor) < len(l.needle) {
		at = anchorAt
	}
	for off := 0; ; off++ {
		i := bytes.Index(p[off:], l.anchor)
		if i < 0 {
			return false
		}
		if off += i; off >= at && bytes.HasPrefix(p[off-at:], l.needle) {
			return true
		}
	}
}

// Hit reports whether the needle was in the content.
func (l *Look) Hit() bool { return l.hit }

// Size returns how many bytes were written.
func (l *Look) Size() int64 { return l.size }

// Sums returns the digests of what was written.
func (l *Look) Sums() Sums {
	s := Sums{Has: l.want}
	if l.md5 != nil {
		l.md5.Sum(s.MD5[:0])
	}
	if l.sha1 != nil {
		l.sha1.Sum(s.SHA1[:0])
	}
	if l.sha256 != nil {
		l.sha256.Sum(s.SHA256[:0])
	}
	return s
}
