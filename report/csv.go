package report

import (
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/internal/output"
)

// CSV writes all files, a line each. It keeps nothing: it takes as long as files
// come. No cell is a formula to a spreadsheet.
func CSV(w io.Writer, files iter.Seq2[File, error]) error {
	return output.List(output.Printer{W: w, Format: output.CSV}, csvColumns(), files)
}

func csvColumns() []output.Column[File] {
	column := func(name string, value func(File) string) output.Column[File] {
		return output.Column[File]{Name: name, Value: value}
	}
	return []output.Column[File]{
		column("time", func(f File) string {
			if f.Time.IsZero() {
				return ""
			}
			return f.Time.UTC().Format(time.RFC3339Nano)
		}),
		column("id", func(f File) string { return f.ID }),
		column("storage", func(f File) string { return f.Unit }),
		column("key", func(f File) string { return f.Key }),
		column("version", func(f File) string { return f.Version }),
		column("size", func(f File) string {
			if f.Size < 0 {
				return ""
			}
			return strconv.FormatInt(f.Size, 10)
		}),
		column("sha256", func(f File) string { return f.SHA256 }),
		column("verdict", func(f File) string { return f.Verdict }),
		column("reason", func(f File) string { return string(f.Reason) }),
		column("threat", func(f File) string { return f.Threat }),
		column("engine", func(f File) string { return f.Engine }),
		column("decision", func(f File) string { return string(f.Decision) }),
		column("by", func(f File) string { return f.By }),
		column("actions", func(f File) string { return actions(&f, true) }),
		column("state", func(f File) string { return f.State }),
		column("outcome", func(f File) string { return string(f.Outcome) }),
		column("error", func(f File) string { return f.Error }),
	}
}

// actions names what was done to a file: an action with its state where it was
// not done, and its target if it is asked for.
func actions(f *File, target bool) string {
	var list []string
	for _, a := range f.Actions {
		word := a.Type
		if a.State != "done" {
			word += " " + a.State
		}
		if target && a.Target != "" {
			word += " " + a.Target
		}
		list = append(list, word)
	}
	return strings.Join(list, ", ")
}
