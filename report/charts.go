package report

import (
	"fmt"
	"time"
)

// Where the drawing of a panel begins, below its title.
const panelHead = 12.0

// nothing says in a panel that there is nothing to draw.
func (p *pen) nothing(x, y float64, words string) {
	p.letters(8, muted)
	p.write(x+4, y+panelHead+4, words)
}

// donut draws how a whole is made up, with a legend.
func (p *pen) donut(x, y, w, h float64, list []slice) {
	total := 0
	for _, s := range list {
		total += s.n
	}
	if total == 0 {
		p.nothing(x, y, "There are no files.")
		return
	}
	const outer, hole = 16.0, 10.0
	cx, cy := x+outer+5, y+panelHead+(h-panelHead-4)/2
	angle := 90.0 // the top; slices follow as a clock's hand goes
	for _, s := range list {
		turn := 360 * float64(s.n) / float64(total)
		p.wedge(cx, cy, outer, angle-turn, angle, s.color)
		angle -= turn
	}
	p.fill(white)
	p.Circle(cx, cy, hole, "F")
	p.letters(12, ink)
	sum := grouped(int64(total))
	p.write(cx-p.width(sum)/2, cy+1, sum)
	p.letters(6.5, muted)
	p.write(cx-p.width("files")/2, cy+4.4, "files")
	p.legend(cx+outer+5, cy, x+w-4, together(list, 8), total)
}

// wedge fills the slice between two angles in degrees, counted against the clock.
func (p *pen) wedge(x, y, r, from, to float64, c color) {
	p.fill(c)
	if to-from > 359.99 {
		p.Circle(x, y, r, "F")
		return
	}
	p.stroke(white, 0.35)
	p.MoveTo(x, y)
	p.ArcTo(x, y, r, r, 0, from, to)
	p.ClosePath()
	style := "FD"
	if to-from < 1 { // its edges would hide it
		style = "F"
	}
	p.DrawPath(style)
}

// legend names slices, one below the other, around the height y.
func (p *pen) legend(x, y, right float64, list []slice, total int) {
	const pitch = 5.4
	y -= pitch*float64(len(list)-1)/2 - 0.9
	for _, s := range list {
		p.fill(s.color)
		p.Circle(x+1.2, y-0.9, 1.2, "F")
		p.letters(7, muted)
		value := fmt.Sprintf("%s (%s)", grouped(int64(s.n)), percent(s.n, total))
		p.writeRight(right, y, value)
		p.letters(7, ink)
		p.write(x+3.6, y, p.fit(spaced(s.name), right-x-5-p.width(value)))
		y += pitch
	}
}

func percent(n, of int) string {
	switch share := 100 * float64(n) / float64(of); {
	case n < of && share >= 99.95:
		return ">99.9%"
	case n > 0 && share < 0.1:
		return "<0.1%"
	case n == of:
		return "100%"
	default:
		return fmt.Sprintf("%.1f%%", share)
	}
}

// together puts the smallest parts into one, so that there are n at most.
func together(list []slice, n int) []slice {
	if len(list) <= n {
		return list
	}
	rest := slice{name: fmt.Sprintf("%d others", len(list)-n+1), color: silver, rest: true}
	for _, s := range list[n-1:] {
		rest.n += s.n
	}
	return append(list[:n-1:n-1], rest)
}

// bars draws counts below each other, the largest as wide as there is room.
func (p *pen) bars(x, y, w, h float64, list []slice, c color) {
	if len(list) == 0 {
		p.nothing(x, y, "There are none.")
		return
	}
	const pitch, names = 6.2, 36.0
	list = together(list, int((h-panelHead-2)/pitch))
	largest := 1
	for _, s := range list {
		largest = max(largest, s.n)
	}
	p.letters(7, ink)
	full := w - names - 10 - p.width(grouped(int64(largest)))
	for i, s := range list {
		cy := y + panelHead + float64(i)*pitch
		p.letters(7, ink)
		p.write(x+4, cy+3, p.fit(s.name, names-3))
		shade := c
		if s.rest {
			shade = silver
		}
		p.box(x+4+names, cy, full, 4, paper)
		length := max(full*float64(s.n)/float64(largest), 0.4)
		p.box(x+4+names, cy, length, 4, shade)
		p.letters(7, muted)
		p.writeRight(x+w-4, cy+3, grouped(int64(s.n)))
	}
}

// columns draws files over time; the harmful ones are the foot of each column.
func (p *pen) columns(x, y, w, h float64, list []bucket) {
	if len(list) == 0 {
		p.nothing(x, y, "There are no files.")
		return
	}
	largest := 1
	for _, b := range list {
		largest = max(largest, b.all)
	}
	p.letters(6.5, muted)
	top := grouped(int64(largest))
	left, right := x+6+p.width(top), x+w-4
	up, down := y+panelHead+1, y+h-10
	for _, line := range []struct {
		y    float64
		name string
	}{{up, top}, {down, "0"}} {
		p.rule(left, line.y, right, line.y, faint)
		p.writeRight(left-1.5, line.y+1, line.name)
	}
	pitch := min((right-left)/float64(len(list)), 12)
	for i, b := range list {
		cx := left + float64(i)*pitch
		full := (down - up) / float64(largest)
		if b.all > 0 {
			p.box(cx+pitch*0.1, down-max(full*float64(b.all), 0.3), pitch*0.8, max(full*float64(b.all), 0.3), blue)
		}
		if b.harmful > 0 {
			p.box(cx+pitch*0.1, down-max(full*float64(b.harmful), 0.3), pitch*0.8, max(full*float64(b.harmful), 0.3), red)
		}
	}
	p.letters(6.5, muted)
	form := "2006-01-02 15:04"
	if len(list) > 1 && list[1].from.Sub(list[0].from) >= 24*time.Hour {
		form = time.DateOnly
	}
	span := list[0].from.Format(form)
	if len(list) > 1 {
		span += " to " + list[len(list)-1].from.Format(form)
	}
	p.write(left, down+4, span)
	p.key(left, y+h-2.5, red, "infected or suspicious")
	p.key(left+38, y+h-2.5, blue, "all others")
}

// key says what a colour means.
func (p *pen) key(x, y float64, c color, words string) {
	p.box(x, y-1.8, 2, 2, c)
	p.letters(6.5, muted)
	p.write(x+3.2, y, words)
}
