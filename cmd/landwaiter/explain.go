package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/internal/output"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/scan"
)

type explainCmd struct {
	Unit string `arg:"" help:"Name of the unit."`
	Key  string `arg:"" help:"Key of the object, as entries shows it."`
}

// An explainer tells all that is known of a key. It returns fault.NotFound if
// nothing is.
type explainer interface {
	Explain(ctx context.Context, unit, key string) (control.Story, error)
}

// Run prints the story of one object.
func (c *explainCmd) Run(ctx context.Context, a *App) error {
	key, err := object.ParseKey(c.Key)
	if err != nil {
		return usage(err)
	}
	return a.ask(ctx, func(b backend) error {
		story, err := b.Explain(ctx, c.Unit, key)
		if err != nil {
			return err
		}
		p := a.printer()
		return output.One(p, story, narrate(p, story))
	})
}

// narrate writes a story for people.
func narrate(p output.Printer, s control.Story) string {
	var b strings.Builder
	say := func(indent int, format string, args ...any) {
		fmt.Fprintf(&b, "%s%s\n", strings.Repeat("  ", indent), output.Escape(fmt.Sprintf(format, args...)))
	}
	say(0, "%s:%s", s.Unit, s.Key)
	switch k := s.Known; {
	case k == nil:
		say(1, "not in the inventory: it is gone, or has not finished yet")
	case k.Baseline:
		say(1, "in the inventory as baseline: older than its scan's start, never scanned; version %s, %d bytes", k.Version, k.Size)
	default:
		say(1, "in the inventory: %s, version %s, %d bytes", reasoned(k.Verdict, k.Reason), k.Version, k.Size)
	}
	for _, e := range s.Entries {
		b.WriteByte('\n')
		fmt.Fprintf(&b, "entry %s  %s\n", output.Escape(e.ID), p.Paint(output.Escape(verdict(e.Record)), verdictColor(e.Record)))
		say(1, "%s by %s, attempts %d, state %s", stamp(e.Discovered), e.Cause, e.Attempts, e.State)
		if e.Version != "" {
			say(1, "version %s, %s bytes", e.Version, size(e.Size))
		}
		if e.SHA256 != "" {
			say(1, "sha256 %s", e.SHA256)
		}
		report(say, e)
		if e.Report == nil && e.Engine != "" && e.Verdict != "" {
			say(1, "%s said %s", e.Engine, reasoned(e.Verdict, e.Reason))
		}
		if e.Decision != "" {
			say(1, "decision %s%s", e.Decision, suffix(", ", e.By))
		}
		for i, step := range e.Actions {
			mark := ""
			if step.Unfenced {
				mark = ", unfenced"
			}
			say(1, "step %d: %s %s %s%s%s", i+1, step.Type, step.Target, step.State, mark, suffix(": ", step.Detail))
		}
		switch k := e.Kept; {
		case k == nil:
		case k.State == ledger.QuarantineHeld:
			say(1, "in quarantine: landwaiter quarantine restore %s", k.ID)
		default:
			say(1, "%s from quarantine %s%s", k.State, stamp(k.Changed), suffix(" by ", k.By))
		}
		if e.State == "pending" {
			say(1, "waits: %s", waits(e))
		} else if e.Error != "" {
			say(1, "error: %s", e.Error)
		}
		for _, ev := range e.Events {
			say(2, "%s  %-8s %s%s", stamp(ev.Time), ev.Kind, ev.Detail, suffix(" by ", ev.By))
		}
	}
	return b.String()
}

// waits says what an entry that is pending waits for.
func waits(e control.Chapter) string {
	if e.Error != "" {
		return e.Error
	}
	for _, ev := range slices.Backward(e.Events) {
		if ev.Kind == "snooze" && ev.Detail != "" {
			return ev.Detail
		}
	}
	return "for its turn"
}

// report tells what engines said.
func report(say func(int, string, ...any), e control.Chapter) {
	r := e.Report
	if r == nil {
		return
	}
	cached := ""
	if r.Cached {
		cached = ", from the cache"
	}
	say(1, "%s said %s%s%s, definitions %s%s", r.Engine, reasoned(r.Verdict.String(), r.Reason), suffix(": ", r.Threat), cached, either(r.Definitions, "unknown"), suffix(" of ", stamp(r.DefinedAt)))
	if r.Blocked != "" {
		say(1, "blocked by the engine: %s%s", r.Blocked, suffix(" by ", r.BlockedBy))
	}
	for _, d := range r.Details {
		say(2, "%s: %s%s", d.Engine, d.Verdict, suffix(", ", d.Threat))
	}
	for _, m := range r.Members {
		say(2, "inside %s: %s%s", m.Path, reasoned(m.Verdict.String(), m.Reason), suffix(", ", m.Threat))
	}
}

func reasoned(verdict string, r scan.Reason) string {
	if r == "" {
		return verdict
	}
	return verdict + "(" + string(r) + ")"
}

// suffix returns s after lead, or nothing if s is empty.
func suffix(lead, s string) string {
	if s == "" {
		return ""
	}
	return lead + s
}

func either(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
