package main

import (
	"context"
	"fmt"
	"iter"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/daemon"
	"github.com/landwaiter/landwaiter/internal/output"
)

type doctorCmd struct{}

type fsckCmd struct {
	Deep   int  `placeholder:"PERCENT" help:"Read so many percent of the quarantine and compare hashes."`
	Repair bool `help:"Count again and end holds of nobody. No daemon may run."`
}

// checks come one after the other, as they are made.
type checks = iter.Seq2[control.Check, error]

var checkColumns = []output.Column[control.Check]{
	{Name: "STATE", Value: func(c control.Check) string { return c.State }, Color: func(c control.Check) output.Color {
		return map[string]output.Color{"ok": output.Good, "warn": output.Unsure, "fail": output.Bad}[c.State]
	}},
	{Name: "CHECK", Value: func(c control.Check) string { return c.Name }},
	{Name: "DETAIL", Value: func(c control.Check) string { return c.Detail }},
	{Name: "FIX", Value: func(c control.Check) string { return c.Fix }},
}

// Run checks the set-up.
func (c *doctorCmd) Run(ctx context.Context, a *App) error {
	return listChecks(a, a.Program.Doctor(ctx, a.options()))
}

// Run checks stored state.
func (c *fsckCmd) Run(ctx context.Context, a *App) error {
	if c.Deep < 0 || c.Deep > 100 {
		return usage(fmt.Errorf("--deep %d is no percentage", c.Deep))
	}
	return listChecks(a, a.Program.Fsck(ctx, a.options(), daemon.FsckOptions{Deep: c.Deep, Repair: c.Repair}))
}

// listChecks prints checks and fails if one did.
func listChecks(a *App, all checks) error {
	failed, warned := 0, 0
	err := output.List(a.printer(), checkColumns, func(yield func(control.Check, error) bool) {
		for c, err := range all {
			switch {
			case err != nil:
			case c.State == "fail":
				failed++
			case c.State == "warn":
				warned++
			}
			if !yield(c, err) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d checks failed, %d warn", failed, warned)
	}
	return nil
}
