package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// namesDepth is how deep members are compared with their siblings. The parsers
// read nothing below it; there, users' metadata may say what it likes.
const namesDepth = 5

// Check says what is wrong with a message before anybody reads meaning into it:
// more than MaxBody bytes, not one JSON object or array in valid UTF-8, nested
// deeper than MaxDepth, or, in the top levels, two members of one name, which
// two readers would understand in two ways. Names are compared without regard
// to case, as encoding/json reads them. fault.Invalid.
func Check(body []byte) error { return inspect(body, namesDepth) }

// inspect is Check with that many top levels.
func inspect(body []byte, levels int) error {
	switch {
	case len(body) > MaxBody:
		return invalid("", fmt.Errorf("%d bytes, more than %d", len(body), MaxBody))
	case !utf8.Valid(body):
		return invalid("", errors.New("not UTF-8"))
	case !json.Valid(body):
		return invalid("", errors.New("not JSON"))
	}
	if c := bytes.TrimLeft(body, " \t\r\n")[0]; c != '{' && c != '[' {
		return invalid("", errors.New("neither a JSON object nor an array"))
	}
	return walk(body, levels)
}

// A level is an object or array that walk is in.
type level struct {
	keyed bool            // an object
	name  bool            // the next string is a member's name
	told  bool            // names are compared
	from  int             // where its names begin in the list
	many  map[string]bool // its names, when they are too many for the list
}

// fewNames is how many names of one object are compared one by one.
const fewNames = 16

// walk looks at the structure of valid JSON without building it.
func walk(body []byte, levels int) error {
	in := make([]level, 0, 8)
	names := make([][]byte, 0, 2*fewNames) // of the objects that are open
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '{', '[':
			if len(in) == MaxDepth {
				return invalid("", fmt.Errorf("nested deeper than %d", MaxDepth))
			}
			keyed := body[i] == '{'
			in = append(in, level{keyed: keyed, name: keyed, told: keyed && len(in) < levels, from: len(names)})
		case '}', ']':
			names, in = names[:in[len(in)-1].from], in[:len(in)-1]
		case ':':
			in[len(in)-1].name = false
		case ',':
			in[len(in)-1].name = in[len(in)-1].keyed
		case '"':
			text := body[i : i+quoted(body[i:])]
			i += len(text) - 1
			if loneSurrogate(text) {
				return invalid("", errors.New("half a character: a surrogate without its other half"))
			}
			l := &in[len(in)-1]
			if !l.name || !l.told {
				continue
			}
			name, err := folded(text)
			if err != nil {
				return err
			}
			var twice bool
			if names, twice = l.add(names, name); twice {
				return invalid("", fmt.Errorf("the member %q is there twice", short(string(name))))
			}
		}
	}
	return nil
}

// add puts a name of the innermost object to the others and reports whether it
// is among them already.
func (l *level) add(names [][]byte, name []byte) (_ [][]byte, twice bool) {
	if l.many == nil && len(names)-l.from < fewNames {
		for _, n := range names[l.from:] {
			twice = twice || bytes.Equal(n, name)
		}
		return append(names, name), twice
	}
	if l.many == nil {
		l.many = make(map[string]bool, 4*fewNames)
		for _, n := range names[l.from:] {
			l.many[string(n)] = true
		}
	}
	twice = l.many[string(name)]
	l.many[string(name)] = true
	return names, twice
}

// folded returns the name that a JSON string holds, folded as far as
// encoding/json does. Most are plain and need no copy.
func folded(text []byte) ([]byte, error) {
	name := text[1 : len(text)-1]
	plain := true
	for _, c := range name {
		plain = plain && c != '\\' && c < utf8.RuneSelf && (c < 'A' || c > 'Z')
	}
	if plain {
		return name, nil
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, invalid("", errors.New("not JSON"))
	}
	return []byte(strings.ToLower(strings.ToUpper(s))), nil
}

// quoted returns the length of the JSON string that b begins with.
func quoted(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// loneSurrogate reports whether a JSON string escapes half of a UTF-16 pair,
// which no reader can decode: encoding/json puts another character in its place.
func loneSurrogate(text []byte) bool {
	if bytes.IndexByte(text, '\\') < 0 {
		return false
	}
	unit := func(i int) uint64 {
		if i+6 > len(text) || text[i] != '\\' || text[i+1] != 'u' {
			return 0
		}
		n, err := strconv.ParseUint(string(text[i+2:i+6]), 16, 16)
		if err != nil {
			return 0
		}
		return n
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		switch u := unit(i); {
		case u >= 0xD800 && u < 0xDC00:
			if low := unit(i + 6); low < 0xDC00 || low > 0xDFFF {
				return true
			}
			i += 11
		case u >= 0xDC00 && u <= 0xDFFF:
			return true
		default:
			i++ // what is escaped
		}
	}
	return false
}

// decode reads a message that Check has passed. A member of the wrong type is
// fault.Invalid.
func decode(what string, body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return invalid(what, errors.New(short(err.Error())))
	}
	return nil
}

// sizeOf reads a size, a number or a string of digits. What is neither is not
// told: a size is a hint.
func sizeOf(raw json.RawMessage) int64 {
	n, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// checkPlace says what is wrong with a container and key, decoded.
func checkPlace(what, container, key string) error {
	switch {
	case container == "" || len(container) > 255 || strings.ContainsAny(container, "/\\\x00"):
		return invalid(what, fmt.Errorf("the container %q is none", short(container)))
	case key == "":
		return invalid(what, errors.New("no key"))
	case len(key) > MaxKey:
		return invalid(what, fmt.Errorf("a key of %d bytes, more than %d", len(key), MaxKey))
	case strings.IndexByte(key, 0) >= 0:
		return invalid(what, fmt.Errorf("the key %s holds a zero byte", short(object.FormatKey(key))))
	}
	return nil
}

func invalid(what string, err error) error {
	return fault.New(fault.Invalid, "events.Parse", what, err)
}

// short cuts what a stranger wrote to what fits into a log line.
func short(s string) string { return cut(s, 200) }

// Plain returns what a server wrote as words for a log line: without control
// characters, and no more than 300 bytes of it.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, cut(strings.ToValidUTF8(s, "?"), 300))
}

func cut(s string, most int) string {
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
