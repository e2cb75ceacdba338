package azureblob

import (
	"fmt"
	"mime"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// escape writes s in the characters that allowed takes. Others become _xHHHH_
// with their UTF-16 code, as .NET's XmlConvert does it for names; so does an
// underscore before an x, which might read as the begin of such a sequence.
func escape(s string, allowed func(c byte, first bool) bool) string {
	var b strings.Builder
	for i, r := range s {
		if r < 0x80 && allowed(byte(r), i == 0) && !strings.HasPrefix(s[i:], "_x") {
			b.WriteByte(byte(r))
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, "_x%04X_", u)
		}
	}
	return b.String()
}

// unescape reads what escape writes.
func unescape(s string) string {
	if !strings.Contains(s, "_x") {
		return s
	}
	var units []uint16
	for s != "" {
		if u := sequence(s); u >= 0 {
			units, s = append(units, uint16(u)), s[len("_xHHHH_"):]
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		units, s = utf16.AppendRune(units, r), s[n:]
	}
	return string(utf16.Decode(units))
}

// sequence returns the code of an _xHHHH_ that s begins with, or -1.
func sequence(s string) int {
	if len(s) < 7 || s[0] != '_' || s[1] != 'x' || s[6] != '_' {
		return -1
	}
	u, err := strconv.ParseUint(s[2:6], 16, 16)
	if err != nil {
		return -1
	}
	return int(u)
}

func alnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// tagByte: what the service takes in keys and values of tags ("Set Blob Tags").
func tagByte(c byte, _ bool) bool { return alnum(c) || strings.IndexByte(" +-./:=_", c) >= 0 }

// nameByte: what a name of metadata may have, which is an identifier of C#.
func nameByte(c byte, first bool) bool {
	return c == '_' || alnum(c) && !(first && c >= '0' && c <= '9')
}

func escapeTag(s string) string  { return escape(s, tagByte) }
func escapeName(s string) string { return escape(s, nameByte) }

// writeMeta makes user metadata fit for headers: names are identifiers, and
// values RFC 2047 where they are not plain text.
func writeMeta(m map[string]string) map[string]*string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]*string, len(m))
	for name, v := range m {
		out[escapeName(name)] = ptr(mime.QEncoding.Encode("utf-8", v))
	}
	return out
}

// readMeta reads user metadata, with names in lower case.
func readMeta(m map[string]*string) map[string]string {
	out := make(map[string]string, len(m))
	for name, v := range m {
		out[strings.ToLower(unescape(name))] = readText(str(v))
	}
	return out
}

// readText reads a value that may be RFC 2047.
func readText(v string) string {
	if strings.HasPrefix(v, "=?") {
		if text, err := new(mime.WordDecoder).DecodeHeader(v); err == nil {
			return text
		}
	}
	return v
}
