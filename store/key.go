package store

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/fnv"

	"github.com/landwaiter/landwaiter/ledger"
)

// maxIndexed is how much of a key goes into indexes. PostgreSQL refuses index
// rows above a third of a page.
const maxIndexed = 1024

// indexKey returns the form of key that indexes hold: the key itself, or for a
// key longer than maxIndexed its beginning and the SHA-256 of the whole. tail is
// then the whole key, else nil. No two keys have the same form, as only those of
// long keys are longer than maxIndexed.
func indexKey(key string) (ikey, tail []byte) {
	if len(key) <= maxIndexed {
		return []byte(key), nil
	}
	tail = []byte(key)
	sum := sha256.Sum256(tail)
	return append(append(make([]byte, 0, maxIndexed+len(sum)), tail[:maxIndexed]...), sum[:]...), tail
}

// wholeKey undoes indexKey.
func wholeKey(ikey, tail []byte) string {
	if tail != nil {
		return string(tail)
	}
	return string(ikey)
}

// versionKey is the part of the pending index that tells versions apart, where a
// unit says `versions: all`: the version, or the SHA-256 of a long one.
func versionKey(version string) []byte {
	if len(version) <= 64 {
		return []byte(version)
	}
	sum := sha256.Sum256([]byte(version))
	return append([]byte{0}, sum[:]...)
}

// slots is how many parts the work is cut into.
const slots = 256

// slotOf returns the slot of a key: one node works on it at a time.
func slotOf(unit int64, key string) uint8 {
	h := fnv.New64a()
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(unit))
	_, _ = h.Write(b[:])
	_, _ = h.Write([]byte(key))
	return uint8(h.Sum64())
}

func toID(b []byte) (id ledger.ID) {
	if len(b) == len(id) {
		copy(id[:], b)
	}
	return id
}
