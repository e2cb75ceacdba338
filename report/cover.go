package report

import (
	"strings"
	"time"
)

// cover draws the first page: what was scanned, and what came of it.
func (p *pen) cover(r *Report, s *summary, note string) {
	p.box(0, 0, pageWidth, 30, navy)
	p.heavy(margin, 14, 20, white, "Scan report")
	p.letters(10.5, sky)
	p.write(margin, 22.5, p.fit(r.title(), 180))
	p.letters(8, sky)
	p.writeRight(pageWidth-margin, 14, p.fit(r.Product, 80))
	p.writeRight(pageWidth-margin, 22.5, "made "+stamp(r.Time)+" UTC")

	p.tiles(s)
	const row2, high2, row3, high3, gap = 62.0, 64.0, 130.0, 64.0, 4.0
	const wide, third = 97.0, (inner - 2*gap) / 3
	half := (inner - wide - 2*gap) / 2
	p.panel(margin, row2, wide, high2, "What was scanned")
	p.facts(r, note, margin+4, row2+13, wide-8, row2+high2-2)
	x := margin + wide + gap
	p.panel(x, row2, half, high2, "Verdicts")
	p.donut(x, row2, half, high2, slicesOf(s.classes))
	x += half + gap
	p.panel(x, row2, half, high2, "Decisions")
	p.donut(x, row2, half, high2, slicesOf(s.decisions))

	p.panel(margin, row3, third, high3, "Threats")
	p.bars(margin, row3, third, high3, slicesOf(s.threats), red)
	x = margin + third + gap
	p.panel(x, row3, third, high3, "Not scanned, by reason")
	p.bars(x, row3, third, high3, slicesOf(s.reasons), slate)
	x += third + gap
	unit, list := s.timeline()
	p.panel(x, row3, third, high3, "Files per "+unit)
	p.columns(x, row3, third, high3, list)
}

// tiles draws the figures that matter most.
func (p *pen) tiles(s *summary) {
	const n, gap, y, high = 6, 4.0, 37.0, 20.0
	const wide = (inner - (n-1)*gap) / n
	for i, tile := range []struct {
		name, value string
		color       color
	}{
		{"Files", grouped(int64(s.files)), blue},
		{"Data", bytesOf(s.bytes), blue},
		{"Infected or suspicious", grouped(int64(s.classes["infected"] + s.classes["suspicious"])), red},
		{"Blocked", grouped(int64(s.decisions["blocked"])), red},
		{"Not scanned", grouped(int64(s.classes["not_scanned"])), slate},
		{"Failed", grouped(int64(s.failed)), plum},
	} {
		x := margin + float64(i)*(wide+gap)
		p.box(x, y, wide, high, paper)
		p.box(x, y, 1.2, high, tile.color)
		p.heavy(x+5, y+10, 16, ink, tile.value)
		p.letters(7.5, muted)
		p.write(x+5, y+16, tile.name)
	}
}

// panel draws the frame of a part of the page.
func (p *pen) panel(x, y, w, h float64, title string) {
	p.stroke(faint, 0.25)
	p.Rect(x, y, w, h, "D")
	p.heavy(x+4, y+6.8, 9, navy, title)
}

// facts lists what is known of the scan, and how its files were chosen.
func (p *pen) facts(r *Report, note string, x, y, w, bottom float64) {
	const names = 24.0
	utc := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return stamp(t) + " UTC"
	}
	ended := utc(r.Ended)
	if ended == "" && !r.Started.IsZero() {
		ended = "not yet"
	}
	folder, filters := r.Folder, strings.Join(r.Filters, "; ")
	if folder == "" {
		folder = "all of the storage"
	}
	if filters == "" {
		filters = "none: all files of the scan"
	}
	for _, fact := range []struct {
		name, value string
		lines       int
		color       color
	}{
		{"Storage", r.Storage, 1, ink}, {"Folder", folder, 2, ink}, {"Scan", join(", ", r.Name, r.Type), 1, ink}, {"Workflow", r.Workflow, 1, ink},
		{"Started by", r.By, 1, ink}, {"Started", utc(r.Started), 1, ink}, {"Ended", ended, 1, ink}, {"State", r.State, 1, ink}, {"Files", note, 1, red},
		{"Filters", filters, 4, ink},
	} {
		if fact.value == "" || y > bottom {
			continue
		}
		p.letters(8, muted)
		p.write(x, y, fact.name)
		p.letters(8, fact.color)
		for _, line := range p.fold(fact.value, w-names, min(fact.lines, 1+int((bottom-y)/linePitch))) {
			p.write(x+names, y, line)
			y += linePitch
		}
		y += 1.1
	}
}
