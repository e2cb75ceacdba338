package main

import (
	"context"
	"errors"
	"iter"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/internal/output"
	"github.com/landwaiter/landwaiter/ledger"
)

type dlqCmd struct {
	List     dlqList     `cmd:"" help:"List entries that failed for good, with their last error."`
	Replay   dlqReplay   `cmd:"" help:"Take entries back to pending."`
	Messages dlqMessages `cmd:"" help:"List messages of sources and hooks that made no sense."`
	Drop     dlqDrop     `cmd:"" help:"Forget messages."`
}

type dlqMessages struct {
	Source string `placeholder:"NAME" help:"Of this source or hook."`
	Limit  int    `default:"100" help:"At most so many, newest first; 0 for all."`
}

type dlqDrop struct {
	IDs []string `arg:"" name:"id" help:"Messages, as dlq messages shows them."`
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
	Messages(ctx context.Context, source string) iter.Seq2[control.Message, error]
	DropMessage(ctx context.Context, id string) (control.Effect, error)
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

var messageColumns = []output.Column[control.Message]{
	{Name: "ID", Value: func(m control.Message) string { return m.ID }},
	{Name: "TIME", Value: func(m control.Message) string { return stamp(m.Time) }},
	{Name: "SOURCE", Value: func(m control.Message) string { return m.Source }},
	{Name: "TRIES", Value: func(m control.Message) string { return size(int64(m.Tries)) }},
	{Name: "WHY", Value: func(m control.Message) string { return m.Why }},
	{Name: "BODY", Value: func(m control.Message) string { return cut(m.Body, 80) }},
}

// cut shortens a text that is long.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

// Run lists messages; JSON and YAML have them whole.
func (c *dlqMessages) Run(ctx context.Context, a *App) error {
	return a.ask(ctx, func(b backend) error {
		return output.List(a.printer(), messageColumns, limited(b.Messages(ctx, c.Source), c.Limit))
	})
}

// limited is the first n of seq, all for 0.
func limited[T any](seq iter.Seq2[T, error], n int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		left := n
		for v, err := range seq {
			if !yield(v, err) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// Run forgets the messages named.
func (c *dlqDrop) Run(ctx context.Context, a *App) error {
	return a.ask(ctx, func(b backend) error {
		return forEach(a, c.IDs, func(id string) (control.Effect, error) { return b.DropMessage(ctx, id) })
	})
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
