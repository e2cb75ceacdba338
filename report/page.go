package report

import (
	"sort"
	"unicode/utf8"

	"codeberg.org/go-pdf/fpdf"
)

// The page: A4, landscape, in millimetres.
const (
	pageWidth  = 297.0
	pageHeight = 210.0
	margin     = 12.0
	inner      = pageWidth - 2*margin
)

const family = "sans"

// A color is red, green, blue.
type color [3]int

var (
	white  = color{255, 255, 255}
	ink    = color{31, 41, 55}
	muted  = color{107, 114, 128}
	faint  = color{229, 231, 235}
	paper  = color{249, 250, 251}
	navy   = color{22, 38, 66}
	sky    = color{191, 205, 228}
	blue   = color{62, 108, 178}
	green  = color{46, 139, 98}
	amber  = color{217, 138, 30}
	red    = color{192, 48, 52}
	plum   = color{122, 84, 156}
	slate  = color{125, 137, 158}
	silver = color{178, 186, 199}
)

// A pen draws on the pages of one document.
type pen struct {
	*fpdf.Fpdf
	chars *charset
	size  float64        // of the letters, in mm
	wide  [1 << 16]int32 // widths of letters in thousandths of size, and 1; 0 = not asked yet
}

// turn goes to a page that is there. Each page says for itself in which colours
// and letters it is drawn.
func (p *pen) turn(page int) {
	p.SetPage(page)
	p.fill(white)
	p.letters(8, ink)
}

func (p *pen) fill(c color) { p.SetFillColor(c[0], c[1], c[2]) }

func (p *pen) stroke(c color, width float64) {
	p.SetDrawColor(c[0], c[1], c[2])
	p.SetLineWidth(width)
}

// letters sets the size of letters, in points, and their colour.
func (p *pen) letters(points float64, c color) {
	p.SetFont(family, "", points)
	p.SetTextColor(c[0], c[1], c[2])
	p.size = points * 25.4 / 72
}

// write writes a line at x, y: its base line.
func (p *pen) write(x, y float64, line string) {
	if line != "" {
		p.Text(x, y, visual(line))
	}
}

// writeRight writes a line that ends at x.
func (p *pen) writeRight(x, y float64, line string) { p.write(x-p.width(line), y, line) }

// heavy writes a line in letters of a size and colour that are drawn thicker:
// the document has one font.
func (p *pen) heavy(x, y, points float64, c color, line string) {
	p.letters(points, c)
	p.stroke(c, points*0.012)
	p.SetTextRenderingMode(2)
	p.write(x, y, line)
	p.SetTextRenderingMode(0)
}

// box fills a rectangle.
func (p *pen) box(x, y, w, h float64, c color) {
	p.fill(c)
	p.Rect(x, y, w, h, "F")
}

func (p *pen) rule(x1, y1, x2, y2 float64, c color) {
	p.stroke(c, 0.15)
	p.Line(x1, y1, x2, y2)
}

// width is how wide a line is.
func (p *pen) width(line string) float64 {
	n := 0
	for _, r := range line {
		n += p.advance(r)
	}
	return float64(n) * p.size / 1000
}

func (p *pen) advance(r rune) int {
	if p.wide[r] == 0 {
		p.wide[r] = 1 + int32(p.GetStringSymbolWidth(string(r)))
	}
	return int(p.wide[r] - 1)
}

// fit is what of text, made printable, fits into a line of a width.
func (p *pen) fit(text string, width float64) string { return p.fold(text, width, 1)[0] }

// narrow is the width of a narrow letter, in thousandths of its size: of a long
// text no more is looked at than would fit if all were as narrow.
const narrow = 200

// fold breaks text, made printable, into at most so many lines of a width. Of a
// longer one the middle is left out: names begin and end with what tells them
// apart.
func (p *pen) fold(text string, width float64, lines int) []string {
	limit := int(width / p.size * 1000)
	most := lines*limit/narrow + 1
	if len(text) > 2*utf8.UTFMax*most {
		text = text[:utf8.UTFMax*most] + text[len(text)-utf8.UTFMax*most:]
	}
	letters := []rune(p.chars.shown(text))
	if len(letters) > 2*most {
		letters = append(letters[:most:most], letters[len(letters)-most:]...)
	}
	if rows, ok := p.rows(letters, limit, lines); ok {
		return rows
	}
	short := func(kept int) []rune {
		head := letters[:(kept+1)/2]
		return append(append(head[:len(head):len(head)], '…'), letters[len(letters)-kept/2:]...)
	}
	kept := sort.Search(len(letters), func(n int) bool {
		_, ok := p.rows(short(n+1), limit, lines)
		return !ok
	})
	rows, _ := p.rows(short(kept), limit, lines)
	return rows
}

// rows breaks letters where a word or a folder's name ends, if that is not far.
func (p *pen) rows(letters []rune, limit, lines int) (rows []string, ok bool) {
	start, used, stop := 0, 0, 0
	for i, r := range letters {
		w := p.advance(r)
		if used+w > limit && i > start {
			end := i
			if stop > start+(i-start)/2 {
				end = stop
			}
			if rows = append(rows, string(letters[start:end])); len(rows) == lines {
				return rows, false
			}
			start, used, stop = end, 0, end
			for _, r := range letters[start:i] {
				used += p.advance(r)
			}
		}
		used += w
		switch r {
		case '/', ' ', '-', '_', '.', ',':
			stop = i + 1
		}
	}
	return append(rows, string(letters[start:])), true
}
