package config

import (
	"fmt"
	"strings"

	"github.com/landwaiter/landwaiter/fault"
)

// MaxProblems bounds how many problems one load reports.
const MaxProblems = 50

// A Problem is one thing that is wrong in a configuration, and its place.
type Problem struct {
	File    string `json:"file,omitempty"`   // "" where it did not come from a file
	Line    int    `json:"line,omitempty"`   // from 1
	Column  int    `json:"column,omitempty"` // from 1, in characters
	From    string `json:"from,omitempty"`   // the variable or flag that it came from, else ""
	Path    string `json:"path,omitempty"`   // units[0].workflow
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`    // what to write instead, "" if unknown
	Excerpt string `json:"excerpt,omitempty"` // the lines around, with a mark
}

// String returns "file:line:column: path: message; hint" without the excerpt.
func (p Problem) String() string {
	var b strings.Builder
	switch {
	case p.File != "" && p.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	case p.File != "":
		b.WriteString(p.File + ": ")
	case p.From != "":
		b.WriteString(p.From + ": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString("; " + p.Hint)
	}
	return b.String()
}

// Problems are all that is wrong in a configuration, in the order of the file.
// As an error they are of kind fault.Invalid.
type Problems []Problem

// Error lists the problems, each with the lines that it is about.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
		if p.Excerpt != "" {
			b.WriteString("\n" + strings.TrimSuffix(p.Excerpt, "\n"))
		}
	}
	return b.String()
}

// Unwrap makes fault.KindOf say Invalid.
func (ps Problems) Unwrap() error {
	return &fault.Error{Op: "config.Load", Kind: fault.Invalid}
}

// err returns ps as an error, or nil if there are none.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

func (ps *Problems) add(p Problem) {
	if len(*ps) < MaxProblems {
		*ps = append(*ps, p)
	}
}
