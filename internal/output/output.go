// Package output writes the results of commands as a table, JSON, YAML or CSV.
// What strangers named (keys, threats) cannot steer a terminal or a
// spreadsheet: control characters are escaped, formulas are made text.
package output

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Format is how results are written.
type Format string

// The formats. Lines is JSON too, a line for each result, for streams.
const (
	Table Format = "table"
	JSON  Format = "json"
	Lines Format = "lines"
	YAML  Format = "yaml"
	CSV   Format = "csv"
)

// A Column is a column of a table and of CSV.
type Column[T any] struct {
	Name  string
	Value func(T) string
	Color func(T) Color // nil = none
	// CSV is the value in CSV, where it is not Value: a program wants its parts.
	CSV     func(T) string
	OnlyCSV bool // a table has it in another column
}

// A Printer writes results to W.
type Printer struct {
	W      io.Writer
	Format Format
	Color  bool // tables may be coloured
}

// List writes rows as they come: tables in blocks with columns of one width,
// JSON as one array. What came before an error is written; then the error is
// returned.
func List[T any](p Printer, columns []Column[T], rows iter.Seq2[T, error]) error {
	var sink sink[T]
	switch p.Format {
	case JSON:
		sink = &jsonList[T]{w: p.W}
	case Lines:
		sink = jsonLines[T]{p.W}
	case YAML:
		sink = &yamlList[T]{w: p.W}
	case CSV:
		sink = &csvList[T]{w: csv.NewWriter(p.W), columns: columns}
	default:
		sink = &table[T]{p: p, columns: slices.DeleteFunc(slices.Clone(columns), func(c Column[T]) bool { return c.OnlyCSV })}
	}
	var failed error
	n := 0
	for row, err := range rows {
		if err != nil {
			failed = err
			break
		}
		n++
		if err := sink.row(row); err != nil {
			return err
		}
	}
	if _, plain := sink.(*table[T]); plain && n == 0 && failed != nil {
		return failed // no head above nothing
	}
	if err := sink.end(); err != nil {
		return err
	}
	return failed
}

// A Stream writes rows one by one as CSV, with one head before the first, which
// List does only for rows that end.
type Stream[T any] struct {
	to      Printer
	columns []Column[T]
	begun   bool
}

// NewStream returns a stream to p.
func NewStream[T any](p Printer, columns []Column[T]) *Stream[T] {
	return &Stream[T]{to: p, columns: columns}
}

// Row writes v at once.
func (s *Stream[T]) Row(v T) error {
	l := &csvList[T]{w: csv.NewWriter(s.to.W), columns: s.columns, begun: s.begun}
	s.begun = true
	if err := l.row(v); err != nil {
		return err
	}
	return l.end()
}

// Of makes rows of a slice.
func Of[T any](rows []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// One writes one result: text is what a table shows.
func One(p Printer, v any, text string) error {
	var data []byte
	var err error
	switch p.Format {
	case JSON:
		data, err = encode(v, "  ")
	case Lines:
		data, err = encode(v, "")
	case YAML:
		data, err = Yaml(v)
	default:
		data = []byte(text)
	}
	if err != nil {
		return err
	}
	_, err = p.W.Write(data)
	return err
}

// A sink writes rows in one format.
type sink[T any] interface {
	row(T) error
	end() error
}

type jsonLines[T any] struct{ w io.Writer }

func (l jsonLines[T]) row(v T) error {
	data, err := encode(v, "")
	if err != nil {
		return err
	}
	_, err = l.w.Write(data)
	return err
}

func (jsonLines[T]) end() error { return nil }

type jsonList[T any] struct {
	w io.Writer
	n int
}

func (l *jsonList[T]) row(v T) error {
	data, err := encode(v, "  ")
	if err != nil {
		return err
	}
	lead := ",\n  "
	if l.n == 0 {
		lead = "[\n  "
	}
	l.n++
	data = bytes.ReplaceAll(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"), []byte("\n  "))
	_, err = fmt.Fprintf(l.w, "%s%s", lead, data)
	return err
}

func (l *jsonList[T]) end() error {
	closing := "\n]\n"
	if l.n == 0 {
		closing = "[]\n"
	}
	_, err := io.WriteString(l.w, closing)
	return err
}

// encode is json.Marshal with a newline, without HTML's escapes, and with every
// character that does not print as \uNNNN.
func encode(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	// What json leaves raw stands inside strings, so it can be escaped in place.
	if !bytes.ContainsFunc(b.Bytes(), hidden) {
		return b.Bytes(), nil
	}
	var out []byte
	for _, r := range b.String() {
		switch {
		case !hidden(r):
			out = utf8.AppendRune(out, r)
		case r <= 0xffff:
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	return out, nil
}

func hidden(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

// Escape shows s on one line: what does not print is written as \xNN, byte by
// byte; everything else as it is.
func Escape(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) {
			for j := range n {
				fmt.Fprintf(&b, `\x%02x`, s[i+j])
			}
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

type csvList[T any] struct {
	w       *csv.Writer
	columns []Column[T]
	begun   bool
}

func (l *csvList[T]) head() error {
	if l.begun {
		return nil
	}
	l.begun = true
	record := make([]string, len(l.columns))
	for i, c := range l.columns {
		record[i] = strings.ToLower(c.Name)
	}
	return l.w.Write(record)
}

func (l *csvList[T]) row(v T) error {
	if err := l.head(); err != nil {
		return err
	}
	record := make([]string, len(l.columns))
	for i, c := range l.columns {
		value := c.Value
		if c.CSV != nil {
			value = c.CSV
		}
		record[i] = neutral(Escape(value(v)))
	}
	return l.w.Write(record)
}

func (l *csvList[T]) end() error {
	if err := l.head(); err != nil {
		return err
	}
	l.w.Flush()
	return l.w.Error()
}

// neutral keeps a spreadsheet from running s as a formula: it gets a leading
// apostrophe (https://owasp.org/www-community/attacks/CSV_Injection). Numbers
// stay numbers.
func neutral(s string) string {
	if s == "" || !strings.ContainsRune("=+-@|%＝＋－＠", []rune(s)[0]) {
		return s
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return s
	}
	return "'" + s
}
