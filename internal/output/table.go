package output

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Color is how a cell of a table stands out on a terminal.
type Color string

// The colours, as SGR parameters (ECMA-48 8.3.117).
const (
	Plain  Color = ""
	Good   Color = "32"
	Bad    Color = "31"
	Unsure Color = "33"
)

// block is how many rows share one set of column widths, so that long lists
// need no more memory than this.
const block = 500

type table[T any] struct {
	p       Printer
	columns []Column[T]
	rows    [][]string
	colors  [][]Color
	begun   bool
}

func (t *table[T]) row(v T) error {
	cells, colors := make([]string, len(t.columns)), make([]Color, len(t.columns))
	for i, c := range t.columns {
		cells[i] = Escape(c.Value(v))
		if cells[i] == "" {
			cells[i] = "-"
		}
		if c.Color != nil {
			colors[i] = c.Color(v)
		}
	}
	t.rows, t.colors = append(t.rows, cells), append(t.colors, colors)
	if len(t.rows) >= block {
		return t.flush()
	}
	return nil
}

func (t *table[T]) end() error { return t.flush() }

func (t *table[T]) flush() error {
	if !t.begun {
		t.begun = true
		head := make([]string, len(t.columns))
		for i, c := range t.columns {
			head[i] = c.Name
		}
		t.rows = append([][]string{head}, t.rows...)
		t.colors = append([][]Color{make([]Color, len(head))}, t.colors...)
	}
	widths := make([]int, len(t.columns))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], Width(cell))
		}
	}
	var b strings.Builder
	for n, row := range t.rows {
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-Width(cell)+2)
			if i == len(row)-1 {
				pad = ""
			}
			b.WriteString(t.p.Paint(cell, t.colors[n][i]) + pad)
		}
		b.WriteByte('\n')
	}
	t.rows, t.colors = t.rows[:0], t.colors[:0]
	_, err := io.WriteString(t.p.W, b.String())
	return err
}

// Paint returns s in a colour, if the printer may use colours.
func (p Printer) Paint(s string, c Color) string {
	if !p.Color || c == Plain {
		return s
	}
	return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
}

// Width is the number of columns that s takes on a terminal: marks take none,
// East Asian wide characters two.
func Width(s string) int {
	n := utf8.RuneCountInString(s)
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me):
			n--
		case r >= 0x1100 && (unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana) || r >= 0xff01 && r <= 0xff60 || r >= 0x1f300 && r <= 0x1faff):
			n++
		}
	}
	return n
}
