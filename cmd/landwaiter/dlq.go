package main

import (
	"context"
	"errors"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/internal/output"
	"github.com/landwaiter/landwaiter/ledger"
)

type dlqCmd struct {
	List   dlqList   `cmd:"" help:"List entries that failed for good, with their last error."`
	Replay dlqReplay `cmd:"" help:"Take entries back to pending."`
}

type dlqList struct {
	Unit  string `placeholder:"NAME" help:"Of this unit."`
	Limit int    `default:"100" help:"At most so many, newest first; 0 for all."`
}

type dlqReplay struct {
	IDs  []string `arg:"" optional:"" name:"id" help:"Entries, as dlq list shows them."`
	All  bool     `help:"All that failed."`
	Unit string   `placeholder:"NAME" help:"With --all: of this unit."`
}

// deadLetters takes failed entries back to pending. It returns fault.NotFound
// for an entry that is not there, fault.Changed for one that did not fail.
type deadLetters interface {
	entriesReader
	Replay(ctx context.Context, id string) (control.Effect, error)
}

var dlqColumns = []output.Column[ledger.Record]{
	{Name: "ID", Value: func(r ledger.Record) string { return r.ID }},
	{Name: "TIME", Value: func(r ledger.Record) string { return stamp(r.Time) }},
	{Name: "UNIT", Value: func(r ledger.Record) string { return r.Unit }},
	{Name: "KEY", Value: func(r ledger.Record) string { return r.Key }},
	{Name: "ATTEMPTS", Value: func(r ledger.Record) string { return size(int64(r.Attempts)) }},
	{Name: "REASON", Value: func(r ledger.Record) string { return string(r.Reason) }},
	{Name: "ERROR", Value: func(r ledger.Record) string { return r.Error }},
}

// Run lists failed entries.
func (c *dlqList) Run(ctx context.Context, a *App) error {
	return a.ask(ctx, func(b backend) error {
		return output.List(a.printer(), dlqColumns, b.Entries(ctx, control.EntryQuery{Unit: c.Unit, Outcome: ledger.OutcomeFailed, Limit: c.Limit}))
	})
}

// Run replays the entries named, or all that failed.
func (c *dlqReplay) Run(ctx context.Context, a *App) error {
	switch {
	case (len(c.IDs) > 0) == c.All:
		return usage(errors.New("name entries or --all"))
	case c.Unit != "" && !c.All:
		return usage(errors.New("--unit goes with --all"))
	}
	return a.ask(ctx, func(b backend) error {
		ids := c.IDs
		if c.All {
			for r, err := range b.Entries(ctx, control.EntryQuery{Unit: c.Unit, Outcome: ledger.OutcomeFailed}) {
				if err != nil {
					return err
				}
				ids = append(ids, r.ID)
			}
		}
		return forEach(a, ids, func(id string) (control.Effect, error) { return b.Replay(ctx, id) })
	})
}
