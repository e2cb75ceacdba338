package report

import "strings"

// A column of the table of files.
type column struct {
	name  string
	width float64
	right bool // aligned
	value func(*File) string
	color func(*File) color // nil = ink
	lines int
}

var fileColumns = []column{
	{name: "Name", width: 57, lines: 2, value: func(f *File) string { _, name := split(f.Key); return name }},
	{name: "Path", width: 60, lines: 2, value: func(f *File) string { path, _ := split(f.Key); return path }, color: always(muted)},
	{name: "Size", width: 16, lines: 1, right: true, value: func(f *File) string { return bytesOf(f.Size) }},
	{name: "Verdict", width: 22, lines: 1, value: func(f *File) string { return spaced(class(f)) }, color: func(f *File) color { return colorOf(class(f)) }},
	{name: "Threat or reason", width: 40, lines: 2, value: because},
	{name: "Decision", width: 17, lines: 1, value: func(f *File) string { return string(f.Decision) }, color: func(f *File) color { return colorOf(string(f.Decision)) }},
	{name: "Actions", width: 32, lines: 2, value: func(f *File) string { return actions(f, false) }},
	{name: "Time (UTC)", width: 29, lines: 1, right: true, value: func(f *File) string { return stamp(f.Time) }, color: always(muted)},
}

// split parts a key at its last slash, but for one at its end.
func split(key string) (path, name string) {
	i := strings.LastIndexByte(key[:max(len(key)-1, 0)], '/')
	return key[:max(i, 0)], key[i+1:]
}

func always(c color) func(*File) color { return func(*File) color { return c } }

// because is why a file has its verdict.
func because(f *File) string {
	switch {
	case f.Threat != "":
		return f.Threat
	case f.Reason != "":
		return spaced(string(f.Reason))
	}
	return f.Error
}

// spaced is a word of ours as people write it.
func spaced(word string) string { return strings.ReplaceAll(word, "_", " ") }

// colors of verdicts, outcomes and decisions.
var colors = map[string]color{
	"clean": green, "suspicious": amber, "infected": red, "not_scanned": slate, "pending": blue, "failed": plum,
	"allowed": green, "blocked": red, "held": amber,
}

func colorOf(word string) color {
	if c, ok := colors[word]; ok {
		return c
	}
	return silver
}

// The table, in mm.
const (
	tableTop    = 29.0
	tableBottom = pageHeight - 15
	cellPad     = 1.5
	linePitch   = 3.3
	rowPad      = 1.0
	cellPoints  = 7
)

// A table is the files, page after page.
type table struct {
	*pen
	title string
	y     float64 // where the next row begins; 0 = there is no page yet
	n     int     // rows
}

// row adds a file, on a new page if need be.
func (t *table) row(f *File) {
	cells := make([][]string, len(fileColumns))
	most := 1
	t.size = cellPoints * 25.4 / 72
	for i, c := range fileColumns {
		cells[i] = t.fold(c.value(f), c.width-2*cellPad, c.lines)
		most = max(most, len(cells[i]))
	}
	height := float64(most)*linePitch + 2*rowPad
	if t.y == 0 || t.y+height > tableBottom {
		t.page()
	}
	if t.n++; t.n%2 == 0 {
		t.box(margin, t.y, inner, height, paper)
	}
	x := margin
	for i, c := range fileColumns {
		shade := ink
		if c.color != nil {
			shade = c.color(f)
		}
		t.SetTextColor(shade[0], shade[1], shade[2])
		for j, line := range cells[i] {
			y := t.y + rowPad + linePitch*float64(j) + 2.55
			if c.right {
				t.writeRight(x+c.width-cellPad, y, line)
			} else {
				t.write(x+cellPad, y, line)
			}
		}
		x += c.width
	}
	t.y += height
}

// page begins a page with the table's head.
func (t *table) page() {
	t.AddPage()
	t.turn(t.PageCount())
	t.heavy(margin, 14, 11, navy, "Files")
	t.letters(8, muted)
	t.writeRight(pageWidth-margin, 14, t.fit(t.title, inner/1.5))
	t.box(margin, tableTop-10, inner, 7, navy)
	x := margin
	for _, c := range fileColumns {
		t.letters(cellPoints, white)
		if c.right {
			t.writeRight(x+c.width-cellPad, tableTop-5.6, c.name)
		} else {
			t.write(x+cellPad, tableTop-5.6, c.name)
		}
		x += c.width
	}
	t.y = tableTop - 3
	t.letters(cellPoints, ink)
}

// end closes the table, with a last line if not all files are in it.
func (t *table) end(note string) {
	if t.y == 0 {
		return
	}
	t.rule(margin, t.y, pageWidth-margin, t.y, silver)
	if note != "" {
		t.letters(8, muted)
		t.write(margin+cellPad, t.y+5, note)
	}
}
