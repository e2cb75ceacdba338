package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Yaml writes v as YAML: what encoding/json makes of it, keys in the same order.
func Yaml(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	e := &emitter{dec: dec}
	if err := e.value(0, false); err != nil {
		return nil, err
	}
	return e.out.Bytes(), nil
}

type yamlList[T any] struct {
	w io.Writer
	n int
}

func (l *yamlList[T]) row(v T) error {
	l.n++
	data, err := Yaml([]T{v})
	if err != nil {
		return err
	}
	_, err = l.w.Write(data)
	return err
}

func (l *yamlList[T]) end() error {
	if l.n > 0 {
		return nil
	}
	_, err := io.WriteString(l.w, "[]\n")
	return err
}

// An emitter turns JSON tokens into block style YAML.
type emitter struct {
	dec *json.Decoder
	out bytes.Buffer
}

// value writes the next value. after says that a key or a dash stands on the line.
func (e *emitter) value(depth int, after bool) error {
	tok, err := e.dec.Token()
	if err != nil {
		return err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		if after {
			e.out.WriteByte(' ')
		}
		e.out.WriteString(scalar(tok) + "\n")
		return nil
	}
	if !e.dec.More() {
		if _, err := e.dec.Token(); err != nil {
			return err
		}
		if after {
			e.out.WriteByte(' ')
		}
		e.out.WriteString(map[json.Delim]string{'{': "{}\n", '[': "[]\n"}[delim])
		return nil
	}
	indent := strings.Repeat("  ", depth)
	// After a dash the first key stands on the same line.
	first := after && bytes.HasSuffix(e.out.Bytes(), []byte("-"))
	if after && !first {
		e.out.WriteByte('\n')
	}
	for e.dec.More() {
		switch {
		case first:
			e.out.WriteByte(' ')
		default:
			e.out.WriteString(indent)
		}
		first = false
		if delim == '[' {
			e.out.WriteByte('-')
			if err := e.value(depth+1, true); err != nil {
				return err
			}
			continue
		}
		key, err := e.dec.Token()
		if err != nil {
			return err
		}
		e.out.WriteString(scalar(key) + ":")
		if err := e.value(depth+1, true); err != nil {
			return err
		}
	}
	_, err = e.dec.Token()
	return err
}

var (
	plainText = regexp.MustCompile(`^[A-Za-z_/.][A-Za-z0-9_/. -]*$`)
	reserved  = regexp.MustCompile(`(?i)^(true|false|yes|no|on|off|y|n|null|\.inf|\.nan|\.+|.* )$`)
)

// scalar writes one value; texts that YAML could read as something else, or
// that do not print, in double quotes (YAML 1.2, 7.3.1).
func scalar(tok json.Token) string {
	switch v := tok.(type) {
	case nil:
		return "null"
	case string:
		if plainText.MatchString(v) && !reserved.MatchString(v) && !strings.HasPrefix(v, "---") && !strings.HasPrefix(v, "...") {
			return v
		}
		var b strings.Builder
		b.WriteByte('"')
		for _, r := range v {
			switch {
			case r == '"' || r == '\\':
				b.WriteByte('\\')
				b.WriteRune(r)
			case r == '\n':
				b.WriteString(`\n`)
			case r == '\t':
				b.WriteString(`\t`)
			case unicode.IsPrint(r) || r == utf8.RuneError:
				b.WriteRune(r)
			case r <= 0xffff:
				fmt.Fprintf(&b, `\u%04x`, r)
			default:
				fmt.Fprintf(&b, `\U%08x`, r)
			}
		}
		b.WriteByte('"')
		return b.String()
	default:
		return fmt.Sprint(v)
	}
}
