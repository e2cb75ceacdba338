package store

import "encoding/hex"

// Versions are stored packed: an ETag is 32 digits of hex and most of an
// inventory row, half of which can be saved. A version that begins with so many
// becomes the byte packed and their 16 bytes, then the rest as it is. One that
// begins with packed or plain itself has the byte plain in front.
const (
	packed = 1
	plain  = 0
	digits = 32
)

func packVersion(version string) []byte {
	if len(version) >= digits {
		out := make([]byte, 1+digits/2, 1+digits/2+len(version)-digits)
		out[0] = packed
		if lowerHex(version[:digits]) {
			if _, err := hex.Decode(out[1:], []byte(version[:digits])); err == nil {
				return append(out, version[digits:]...)
			}
		}
	}
	if version != "" && version[0] <= packed {
		return append([]byte{plain}, version...)
	}
	return []byte(version)
}

func unpackVersion(b []byte) string {
	switch {
	case len(b) > digits/2 && b[0] == packed:
		return hex.EncodeToString(b[1:1+digits/2]) + string(b[1+digits/2:])
	case len(b) > 0 && b[0] == plain:
		return string(b[1:])
	}
	return string(b)
}

func lowerHex(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
