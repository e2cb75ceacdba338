// Package object is the vocabulary of what is watched: a Ref names one version
// of one object, an Info describes it, an Event hints that it may have changed.
package object

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// A Ref names one version of one object in one unit. Key is bytes: it need not
// be UTF-8. Version is the vendor's identity of content, opaque to all but its
// connector; "" means whichever is current.
type Ref struct {
	Unit    string
	Key     string
	Version string
}

// String returns unit, key and version in a form for logs.
func (r Ref) String() string {
	if r.Version == "" {
		return r.Unit + ":" + FormatKey(r.Key)
	}
	return r.Unit + ":" + FormatKey(r.Key) + "@" + r.Version
}

// A Kind is what sort of thing a key names.
type Kind uint8

// The kinds of object.
const (
	Regular Kind = iota
	Marker       // a delete marker: the key has no current content
	Symlink      // named and counted, never followed
	Special      // a device, socket or pipe: never opened
)

// Info describes one version of an object as its storage told it.
type Info struct {
	Key          string
	Version      string
	Size         int64 // bytes; -1 if unknown
	ModTime      time.Time
	Kind         Kind
	ContentType  string
	StorageClass string
	Cold         bool              // must be restored by its vendor before it can be read
	Latest       bool              // current version, in a listing of versions
	Links        int               // hard links of a local file, else 0
	Meta         map[string]string // user metadata, names in lower case; nil in listings
}

// An Op is what an event says happened.
type Op uint8

// The operations an event may hint at. Look is the safe default.
const (
	Look   Op = iota // something about the key may have changed
	Delete           // the key, or the version named, is gone
)

// An Event is a hint that something about a ref may have changed. It is never
// trusted for more than that.
type Event struct {
	Ref
	Op       Op
	Size     int64     // a hint; -1 if unknown
	Time     time.Time // when the vendor says it happened; zero if unknown
	Cause    string    // watch, sweep, scan, hook, queue, rescan, restore
	Force    bool      // process even if the inventory holds this version
	Priority int       // higher first; 0 is normal
	Baseline bool      // from a sweep: older than the scan's start date, record only
}

// FormatKey shows a key as UTF-8: bytes that are not, and control characters,
// as \xNN, a backslash as \\. ParseKey reads the same form.
func FormatKey(key string) string {
	clean := true
	for i := 0; i < len(key); i++ {
		if c := key[i]; c < 0x20 || c == 0x7f || c == '\\' || c >= 0x80 {
			clean = false
			break
		}
	}
	if clean {
		return key
	}
	var b strings.Builder
	for i := 0; i < len(key); {
		r, n := utf8.DecodeRuneInString(key[i:])
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r == utf8.RuneError && n == 1, r < 0x20, r >= 0x7f && r < 0xa0, r == 0x2028, r == 0x2029,
			r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			for j := range n {
				fmt.Fprintf(&b, `\x%02x`, key[i+j])
			}
		default:
			b.WriteString(key[i : i+n])
		}
		i += n
	}
	return b.String()
}

// ParseKey reads what FormatKey writes. A backslash that begins neither \\ nor
// \xNN is an error.
func ParseKey(s string) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, nil
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b = append(b, s[i])
			continue
		}
		rest := s[i+1:]
		switch {
		case strings.HasPrefix(rest, `\`):
			b = append(b, '\\')
			i++
		case len(rest) >= 3 && rest[0] == 'x' && unhex(rest[1]) >= 0 && unhex(rest[2]) >= 0:
			b = append(b, byte(unhex(rest[1])<<4|unhex(rest[2])))
			i += 3
		default:
			return "", fmt.Errorf("key %q: a backslash at byte %d must be written \\\\ or begin \\xNN", s, i)
		}
	}
	return string(b), nil
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// Base returns the last element of a key with '/' as separator.
func Base(key string) string {
	if i := strings.LastIndexByte(key, '/'); i >= 0 {
		return key[i+1:]
	}
	return key
}
