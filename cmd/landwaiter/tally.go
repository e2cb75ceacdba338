package main

import (
	"fmt"

	"github.com/landwaiter/landwaiter/internal/output"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

// A tally counts verdicts.
type tally struct{ clean, suspicious, infected, notScanned, undecided int }

func (t *tally) add(verdict string) {
	switch v, _ := scan.ParseVerdict(verdict); v {
	case scan.Clean:
		t.clean++
	case scan.Suspicious:
		t.suspicious++
	case scan.Infected:
		t.infected++
	case scan.NotScanned:
		t.notScanned++
	default:
		t.undecided++
	}
}

// String returns "3 clean, 1 infected, 2 not scanned".
func (t *tally) String() string {
	s := fmt.Sprintf("%d clean, %d infected", t.clean, t.infected)
	if t.suspicious > 0 {
		s += fmt.Sprintf(", %d suspicious", t.suspicious)
	}
	return s + fmt.Sprintf(", %d not scanned", t.notScanned)
}

// any reports whether anything was counted.
func (t *tally) any() bool { return *t != tally{} }

// exit is the exit code of --detailed-exitcode as an error. What went wrong on
// the way is said too, but what was found decides the code.
func (t *tally) exit(err error) error {
	switch {
	case t.infected+t.suspicious > 0:
		return &exit{exitInfected, err}
	case t.notScanned > 0:
		return &exit{exitNotScanned, err}
	}
	return err
}

// verdictColor is the colour of a verdict.
func verdictColor(r ledger.Record) output.Color {
	switch r.Verdict {
	case "clean":
		return output.Good
	case "infected", "suspicious":
		return output.Bad
	}
	return output.Unsure
}
