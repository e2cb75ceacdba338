// Package report writes what a scan came to for people and for spreadsheets: as
// PDF, with charts and the table of files, and as CSV. What strangers named
// cannot steer who reads it: what does not print, or what the font lacks, is
// written as \u{…}, and characters stand in the order that they are stored in.
package report

import (
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
)

// MaxFiles is how many files a PDF shows.
const MaxFiles = 10_000

// A Report is what was scanned. Empty fields are not shown.
type Report struct {
	Product  string    // what made the report: "Landwaiter 1.2"
	Time     time.Time // when; the document's date
	Scan     string    // id
	Name     string
	Storage  string
	Folder   string // "" = all of the storage; in the form of object.FormatKey
	Type     string
	Workflow string
	By       string // who started it
	State    string
	Started  time.Time
	Ended    time.Time // zero = it has not
	Filters  []string  // what the files have in common, in words; none = all files of the scan

	Total   int64 // how many files there are; 0 = nobody counted
	AtLeast bool  // there are more than Total
}

// A File is an entry as its readers see it.
type File = ledger.Record

// class is what a file came to in one word: its verdict, or why it has none.
func class(f *File) string {
	switch {
	case f.Verdict != "":
		return f.Verdict
	case f.State != ledger.Finished.String():
		return "pending"
	case f.Outcome != "":
		return string(f.Outcome)
	}
	return "unknown"
}

// first yields the first n files, and then says whether there are more.
func first(files iter.Seq2[File, error], n int, yield func(*File)) (more bool, err error) {
	for f, err := range files {
		if err != nil {
			return false, err
		}
		if n == 0 {
			return true, nil
		}
		n--
		yield(&f)
	}
	return false, nil
}

// shownOf tells how many of how many files are shown; "" if all are.
func (r *Report) shownOf(n int, more bool) string {
	switch {
	case !more && r.Total <= int64(n):
		return ""
	case r.Total <= int64(n):
		return fmt.Sprintf("The first %s files are shown; there are more.", grouped(int64(n)))
	case r.AtLeast:
		return fmt.Sprintf("%s of more than %s files are shown.", grouped(int64(n)), grouped(r.Total))
	}
	return fmt.Sprintf("%s of %s files are shown.", grouped(int64(n)), grouped(r.Total))
}

// grouped writes n with a comma at each thousand.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// bytesOf writes a size in the unit that suits it; "" if it is not known.
func bytesOf(n int64) string {
	if n < 0 {
		return ""
	}
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, unit := float64(n), 0
	for v >= 1024 && unit < 6 {
		v, unit = v/1024, unit+1
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + "KMGTPE"[unit-1:unit] + "iB"
}

// stamp writes a time to the second, in UTC; "" if it is zero.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateTime)
}
