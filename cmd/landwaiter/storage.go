package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/output"
)

type storageCmd struct {
	List     storageList     `cmd:"" help:"List the units."`
	Coverage storageCoverage `cmd:"" help:"Count what of a unit has a verdict."`
}

type storageList struct {
	Gone bool `default:"true" negatable:"" help:"List units that nothing names any more, too."`
}

type storageCoverage struct {
	Unit string `arg:"" optional:"" help:"Name of the unit; all without it."`
	Gone bool   `help:"Count units that nothing names any more, too."`
}

// A storageLister tells of units.
type storageLister interface {
	Storages(ctx context.Context) ([]control.Storage, error)
	Coverage(ctx context.Context) ([]control.Coverage, error)
}

var storageColumns = []output.Column[control.Storage]{
	{Name: "UNIT", Value: func(s control.Storage) string { return s.Unit }},
	{Name: "STATE", Value: func(s control.Storage) string { return s.State }, Color: func(s control.Storage) output.Color {
		switch s.State {
		case "ok":
			return output.Good
		case "unknown", "degraded":
			return output.Unsure
		}
		return output.Bad
	}},
	{Name: "URL", Value: func(s control.Storage) string { return s.URL }},
	{Name: "WORKFLOW", Value: func(s control.Storage) string { return s.Workflow }},
	{Name: "PENDING", Value: func(s control.Storage) string { return size(s.Pending) }},
	{Name: "SWEEP", Value: func(s control.Storage) string { return config.FormatDuration(s.Sweep) }},
	{Name: "SWEPT", Value: func(s control.Storage) string { return stamp(s.Swept) }},
	{Name: "CAPABILITIES", Value: func(s control.Storage) string { return strings.Join(s.Caps, " ") }},
	{Name: "GONE", Value: func(s control.Storage) string { return stamp(s.Gone) }},
	{Name: "DETAIL", Value: func(s control.Storage) string { return s.Detail }},
}

var coverageColumns = []output.Column[control.Coverage]{
	{Name: "UNIT", Value: func(c control.Coverage) string { return c.Unit }},
	{Name: "KEYS", Value: func(c control.Coverage) string { return size(c.Keys) }},
	{Name: "LISTED", Value: func(c control.Coverage) string { return size(c.Listed) }},
	{Name: "PENDING", Value: func(c control.Coverage) string { return size(c.Pending) }},
	{Name: "UNSCANNED", Value: func(c control.Coverage) string { return size(c.Unscanned) }},
	{Name: "UNACCOUNTED", Value: func(c control.Coverage) string { return size(c.Missing) }},
	{Name: "VERDICTS", Value: counts},
	{Name: "EVENT", Value: func(c control.Coverage) string { return either(stamp(c.Event), "never") }},
	{Name: "SWEPT", Value: func(c control.Coverage) string { return either(stamp(c.Swept), "never") }},
	{Name: "LAG", Value: func(c control.Coverage) string {
		return config.FormatDuration(c.Lag) + " of " + config.FormatDuration(c.Promise)
	}},
	{Name: "GONE", Value: func(c control.Coverage) string { return stamp(c.Gone) }},
	{Name: "WITHIN", Value: func(c control.Coverage) string { return strconv.FormatBool(c.Within) }, Color: func(c control.Coverage) output.Color {
		if c.Within {
			return output.Good
		}
		return output.Bad
	}},
}

// counts lists the parts of a coverage: "clean 10, not_scanned(encrypted) 2".
func counts(c control.Coverage) string {
	var out []string
	for _, n := range c.Counts {
		out = append(out, fmt.Sprintf("%s %d", reasoned(either(n.Verdict, "none yet"), n.Reason), n.Keys))
	}
	return strings.Join(out, ", ")
}

// those are the ones that are wanted.
func those[T any](all []T, wanted func(T) bool) (some []T) {
	for _, v := range all {
		if wanted(v) {
			some = append(some, v)
		}
	}
	return some
}

// Run lists the units.
func (c *storageList) Run(ctx context.Context, a *App) error {
	return a.ask(ctx, func(b backend) error {
		all, err := b.Storages(ctx)
		if err != nil {
			return err
		}
		all = those(all, func(s control.Storage) bool { return c.Gone || s.Gone.IsZero() })
		return output.List(a.printer(), storageColumns, output.Of(all))
	})
}

// Run counts one unit or all.
func (c *storageCoverage) Run(ctx context.Context, a *App) error {
	return a.ask(ctx, func(b backend) error {
		all, err := b.Coverage(ctx)
		if err != nil {
			return err
		}
		all = those(all, func(cov control.Coverage) bool {
			return cov.Unit == c.Unit || c.Unit == "" && (c.Gone || cov.Gone.IsZero())
		})
		if c.Unit != "" && len(all) == 0 {
			return fault.New(fault.NotFound, "storage.coverage", c.Unit, errors.New("there is no such unit; storage list shows them"))
		}
		return output.List(a.printer(), coverageColumns, output.Of(all))
	})
}
