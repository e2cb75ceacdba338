package main

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/internal/output"
	"github.com/landwaiter/landwaiter/ledger"
)

// recordColumns show entries. CSV has verdict and reason apart.
var recordColumns = []output.Column[ledger.Record]{
	{Name: "TIME", Value: func(r ledger.Record) string { return stamp(r.Time) }},
	{Name: "VERDICT", Value: verdict, Color: verdictColor, CSV: func(r ledger.Record) string { r.Reason = ""; return verdict(r) }},
	{Name: "REASON", Value: func(r ledger.Record) string { return string(r.Reason) }, OnlyCSV: true},
	{Name: "UNIT", Value: func(r ledger.Record) string { return r.Unit }},
	{Name: "KEY", Value: func(r ledger.Record) string { return r.Key }},
	{Name: "SIZE", Value: func(r ledger.Record) string { return size(r.Size) }},
	{Name: "THREAT", Value: func(r ledger.Record) string { return r.Threat }},
	{Name: "DECISION", Value: func(r ledger.Record) string { return string(r.Decision) }},
	{Name: "ACTIONS", Value: actions},
}

// verdict is the verdict with its reason, or where the entry stands.
func verdict(r ledger.Record) string {
	switch {
	case r.Verdict == "" && r.Outcome != "":
		return string(r.Outcome)
	case r.Verdict == "":
		return r.State
	case r.Reason != "":
		return r.Verdict + "(" + string(r.Reason) + ")"
	}
	return r.Verdict
}

// actions lists what was done: "tag done, remove refused".
func actions(r ledger.Record) string {
	var out []string
	for _, a := range r.Actions {
		s := a.Type + " " + a.State
		if a.Unfenced {
			s += " unfenced"
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

// size is a number of bytes, "" if unknown.
func size(n int64) string {
	if n < 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// stamp is a moment in UTC, "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

var (
	errMoment   = errors.New("write a date (2026-01-31), a time (2026-01-31T08:00:00Z) or how long ago (90m, 7d)")
	errInterval = errors.New("write a duration like 90m, 24h or 30d")
)

// A moment is a flag that takes a date, a time, or how long ago.
type moment struct{ time.Time }

// UnmarshalText reads 2026-01-31, 2026-01-31T08:00:00Z, 90m or 7d.
func (m *moment) UnmarshalText(text []byte) error {
	s := string(text)
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		m.Time = t
		return nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		m.Time = t.UTC()
		return nil
	}
	d, err := config.ParseDuration(s)
	if err != nil {
		return errMoment
	}
	m.Time = time.Now().UTC().Add(-d)
	return nil
}

// An interval is a flag that takes a duration, in days too.
type interval time.Duration

// UnmarshalText reads 90m, 24h or 30d.
func (i *interval) UnmarshalText(text []byte) error {
	d, err := config.ParseDuration(string(text))
	if err != nil {
		return errInterval
	}
	*i = interval(d)
	return nil
}
