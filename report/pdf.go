package report

import (
	"bytes"
	"fmt"
	"io"
	"iter"

	"codeberg.org/go-pdf/fpdf"

	"github.com/landwaiter/landwaiter/fault"
)

// PDF writes a document of r and of the first MaxFiles files. The same input
// makes the same bytes. It is put together in memory, some 1 KiB for each file,
// and w gets it whole or, if files end with an error, nothing.
func PDF(w io.Writer, r Report, files iter.Seq2[File, error]) error {
	p, err := newPen(&r)
	if err != nil {
		return err
	}
	// The first page speaks of all files, so it is drawn last.
	p.AddPage()
	p.turn(1)
	var sum summary
	t := table{pen: p, title: r.title()}
	more, err := first(files, MaxFiles, func(f *File) {
		sum.add(f)
		t.row(f)
	})
	if err != nil {
		return err
	}
	note := r.shownOf(sum.files, more)
	t.end(note)
	p.turn(1)
	p.cover(&r, &sum, note)
	for n := 1; n <= p.PageCount(); n++ {
		p.turn(n)
		p.foot(&r, n)
	}
	if err := p.Output(w); err != nil {
		return fault.New(fault.Other, "report.PDF", r.Scan, err)
	}
	return nil
}

// title is what is scanned, in a line.
func (r *Report) title() string {
	title := r.Storage
	if r.Folder != "" {
		title += " / " + r.Folder
	}
	return title
}

// newPen begins a document.
func newPen(r *Report) (*pen, error) {
	chars, err := charsetOf(sans)
	if err != nil {
		return nil, fault.New(fault.Internal, "report.PDF", "", err)
	}
	p := &pen{Fpdf: fpdf.New("L", "mm", "A4", ""), chars: chars}
	p.SetAutoPageBreak(false, 0)
	p.SetCatalogSort(true)
	p.SetCreationDate(r.Time.UTC())
	p.SetModificationDate(r.Time.UTC())
	p.SetProducer(chars.shown(r.Product), true)
	p.SetCreator(chars.shown(r.Product), true)
	p.SetTitle(chars.shown("Scan report: "+r.title()), true)
	p.SetLang("en")
	p.AddUTF8FontFromBytes(family, "", bytes.Clone(sans)) // it is cut to what is used
	if p.Error() != nil {
		return nil, fault.New(fault.Internal, "report.PDF", "", p.Error())
	}
	return p, nil
}

// foot writes the last line of a page.
func (p *pen) foot(r *Report, n int) {
	const y = pageHeight - 7
	p.rule(margin, y-4, pageWidth-margin, y-4, faint)
	p.letters(7, muted)
	p.write(margin, y, p.fit(join(" · ", r.Product, "scan "+r.Scan), inner/2))
	p.writeRight(pageWidth-margin, y, fmt.Sprintf("Page %d of %d", n, p.PageCount()))
}

// join puts words together, those that are there.
func join(between string, words ...string) (s string) {
	for _, w := range words {
		if w != "" && s != "" {
			s += between
		}
		s += w
	}
	return s
}
