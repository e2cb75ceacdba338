package report

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// sans is DejaVu Sans Condensed 2.37 (font/LICENSE): it has Latin, Greek,
// Cyrillic, Armenian, Georgian, Arabic, Hebrew and more, some 5,900 characters,
// in less than 700 KiB.
//
//go:embed font/DejaVuSansCondensed.ttf
var sans []byte

// A charset is the characters that a font has, of the basic plane: others cannot
// be named in a document's text.
type charset [1 << 16 / 64]uint64

func (c *charset) has(r rune) bool { return r >= 0 && r <= 0xffff && c[r/64]>>(r%64)&1 == 1 }

// charsetOf reads the characters of a TrueType font: its cmap of platform 3,
// encoding 1, format 4
// (https://learn.microsoft.com/typography/opentype/spec/cmap).
func charsetOf(font []byte) (*charset, error) {
	u16 := func(at int) int {
		if at < 0 || at+2 > len(font) {
			return 0
		}
		return int(binary.BigEndian.Uint16(font[at:]))
	}
	u32 := func(at int) int { return u16(at)<<16 | u16(at+2) }
	for i := range u16(4) {
		table := 12 + 16*i
		if table+16 > len(font) || string(font[table:table+4]) != "cmap" {
			continue
		}
		cmap := u32(table + 8)
		for j := range u16(cmap + 2) {
			record := cmap + 4 + 8*j
			at := cmap + u32(record+4)
			if u16(record) != 3 || u16(record+2) != 1 || u16(at) != 4 {
				continue
			}
			c := &charset{}
			segments := u16(at+6) / 2
			ends, starts := at+14, at+16+2*segments
			deltas, offsets := starts+2*segments, starts+4*segments
			for s := range segments {
				offset := offsets + 2*s
				for r := u16(starts + 2*s); r <= u16(ends+2*s) && r < 0xffff; r++ {
					glyph := r
					if u16(offset) != 0 {
						glyph = u16(offset + u16(offset) + 2*(r-u16(starts+2*s)))
					}
					if glyph != 0 && (glyph+u16(deltas+2*s))&0xffff != 0 {
						c[r/64] |= 1 << (r % 64)
					}
				}
			}
			return c, nil
		}
	}
	return nil, errors.New("report: the font has no table of characters")
}

// maxMarks is how many marks may stand on one character: more would reach into
// other lines.
const maxMarks = 2

// shown is s as it may be printed: on one line, every character visible.
func (c *charset) shown(s string) string {
	plain := func(r rune) bool { return r >= ' ' && r < 0x7f }
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	var b strings.Builder
	marks := 0
	for i, r := range s {
		if r >= 0x300 && unicode.In(r, unicode.Mn, unicode.Me) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case plain(r) || unicode.IsPrint(r) && c.has(r) && marks <= maxMarks:
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\u{%X}`, r)
		}
	}
	return b.String()
}
