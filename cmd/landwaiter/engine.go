package main

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/output"
	"github.com/landwaiter/landwaiter/scan"
)

type engineCmd struct {
	List engineList `cmd:"" help:"List the pools and their engines."`
	Test engineTest `cmd:"" help:"Show each engine the canaries and say what it saw."`
}

type engineList struct{}

type engineTest struct {
	Pool string `arg:"" optional:"" help:"Name of the pool; all without it."`
}

// An engineLister tells of pools and puts their engines to the test.
// TestEngines returns fault.NotFound for a pool that is not there.
type engineLister interface {
	Pools(ctx context.Context) ([]scan.PoolStatus, error)
	TestEngines(ctx context.Context, pool string) iter.Seq2[control.Tested, error]
}

// An engineRow is one instance with its pool.
type engineRow struct {
	Pool string `json:"pool"`
	scan.InstanceStatus
}

var engineColumns = []output.Column[engineRow]{
	{Name: "POOL", Value: func(r engineRow) string { return r.Pool }},
	{Name: "INSTANCE", Value: func(r engineRow) string { return r.Name }},
	{Name: "STATE", Value: engineState, Color: func(r engineRow) output.Color {
		switch {
		case r.Ready && r.Stale:
			return output.Unsure
		case r.Ready:
			return output.Good
		}
		return output.Bad
	}},
	{Name: "VERSION", Value: func(r engineRow) string { return r.Health.Version }},
	{Name: "DEFINITIONS", Value: func(r engineRow) string { return r.Health.Definitions }},
	{Name: "OF", Value: func(r engineRow) string { return stamp(r.Health.DefinedAt) }},
	{Name: "IN FLIGHT", Value: func(r engineRow) string { return fmt.Sprintf("%d/%d", r.InFlight, r.Limit) }},
	{Name: "SCANS", Value: func(r engineRow) string { return fmt.Sprint(r.Scans) }},
	{Name: "SILENT", Value: func(r engineRow) string { return silent(r.Proof) }},
	{Name: "DETAIL", Value: func(r engineRow) string { return either(r.Detail, r.Last) }},
}

func engineState(r engineRow) string {
	switch {
	case r.Ready && r.Stale:
		return "stale"
	case r.Ready:
		return "ready"
	case r.Health.Ready && r.Breaker == "open": // it answers probes and fails at work
		return "broken"
	}
	return "down"
}

// silent lists the cases in which an engine says clean without having looked.
func silent(p *scan.Proof) string {
	if p == nil {
		return ""
	}
	var cases []string
	for _, r := range p.Results {
		if r.Outcome == scan.Silent {
			cases = append(cases, string(r.Case))
		}
	}
	return strings.Join(cases, " ")
}

// Run lists the engines.
func (c *engineList) Run(ctx context.Context, a *App) error {
	return a.ask(ctx, func(b backend) error {
		pools, err := b.Pools(ctx)
		if err != nil {
			return err
		}
		var rows []engineRow
		for _, p := range pools {
			for _, in := range p.Instances {
				rows = append(rows, engineRow{p.Name, in})
			}
		}
		return output.List(a.printer(), engineColumns, output.Of(rows))
	})
}

var testColumns = []output.Column[control.Tested]{
	{Name: "POOL", Value: func(t control.Tested) string { return t.Pool }},
	{Name: "INSTANCE", Value: func(t control.Tested) string { return t.Instance }},
	{Name: "COUNTS", Value: func(t control.Tested) string { return map[bool]string{true: "yes", false: "no"}[t.Error == ""] }},
	{Name: "RESULTS", Value: results},
	{Name: "DETAIL", Value: func(t control.Tested) string { return either(t.Error, t.Note) }},
}

// results lists what each canary showed: "plain seen, size silent from 26214400".
func results(t control.Tested) string {
	if t.Proof == nil {
		return ""
	}
	var out []string
	for _, r := range t.Proof.Results {
		s := string(r.Case) + " " + string(r.Outcome)
		if r.Bound > 0 {
			s += fmt.Sprintf(" %s %d", map[bool]string{true: "from", false: "to"}[r.Outcome == scan.Silent], r.Bound)
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

// Run tests engines. It fails if one does not count; what it is silent about is
// no failure: our own limits hold there.
func (c *engineTest) Run(ctx context.Context, a *App) error {
	return a.ask(ctx, func(b backend) error {
		tested, bad := 0, 0
		err := output.List(a.printer(), testColumns, func(yield func(control.Tested, error) bool) {
			for t, err := range b.TestEngines(ctx, c.Pool) {
				if err == nil {
					tested++
					if t.Error != "" {
						bad++
					}
				}
				if !yield(t, err) {
					return
				}
			}
		})
		switch {
		case err != nil:
			return err
		case tested == 0:
			return fault.New(fault.NotFound, "engine.test", c.Pool, nil)
		case bad == tested:
			return fmt.Errorf("no engine of %d counts", tested)
		case bad > 0:
			return partial(fmt.Errorf("%d of %d engines do not count", bad, tested))
		}
		return nil
	})
}
