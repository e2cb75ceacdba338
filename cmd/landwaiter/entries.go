package main

import (
	"context"
	"iter"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/internal/output"
	"github.com/landwaiter/landwaiter/ledger"
)

type entriesCmd struct {
	Unit             string `placeholder:"NAME" help:"Of this unit."`
	Verdict          string `enum:",clean,suspicious,infected,not_scanned" default:"" placeholder:"VERDICT" help:"clean, suspicious, infected or not_scanned."`
	State            string `enum:",pending,acting,finished" default:"" placeholder:"STATE" help:"pending, acting or finished."`
	Outcome          string `enum:",done,failed,superseded,gone,canceled" default:"" placeholder:"OUTCOME" help:"done, failed, superseded, gone or canceled."`
	Refused          bool   `help:"Of which an action was refused or failed."`
	Prefix           string `placeholder:"KEY" help:"Whose key begins so."`
	Since            moment `placeholder:"TIME" help:"Not older: a date, a time, or how long ago (90m, 7d)."`
	Limit            int    `default:"100" help:"At most so many, newest first; 0 for all."`
	DetailedExitcode bool   `help:"Exit 10 if one listed is infected, 11 if one was not scanned."`
}

// An entriesReader lists entries, newest first.
type entriesReader interface {
	Entries(ctx context.Context, q control.EntryQuery) iter.Seq2[ledger.Record, error]
}

// Run lists what the ledger holds.
func (c *entriesCmd) Run(ctx context.Context, a *App) error {
	q := control.EntryQuery{Unit: c.Unit, Verdict: c.Verdict, State: c.State, Outcome: ledger.Outcome(c.Outcome),
		Refused: c.Refused, Prefix: c.Prefix, Since: c.Since.Time, Limit: c.Limit}
	return a.ask(ctx, func(b backend) error { return listEntries(a, b.Entries(ctx, q), c.DetailedExitcode, c.Limit) })
}

// listEntries prints entries, says if the limit cut them off, and where asked
// turns what was found into the exit code.
func listEntries(a *App, rows iter.Seq2[ledger.Record, error], detailed bool, limit int) error {
	var seen tally
	n := 0
	err := output.List(a.printer(), recordColumns, func(yield func(ledger.Record, error) bool) {
		for r, err := range rows {
			if err == nil {
				seen.add(r.Verdict)
				n++
			}
			if !yield(r, err) {
				return
			}
		}
	})
	if limit > 0 && n == limit {
		a.say("Only the newest %d; --limit 0 lists all.", limit)
	}
	if detailed {
		return seen.exit(err)
	}
	return err
}
