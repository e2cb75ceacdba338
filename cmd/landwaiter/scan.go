package main

import (
	"context"
	"iter"
	"sync"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/internal/output"
	"github.com/landwaiter/landwaiter/ledger"
)

type scanCmd struct {
	Targets          []string `arg:"" name:"target" help:"Files, folders or storage URLs (s3://bucket/prefix)."`
	Engine           string   `placeholder:"URL" help:"Engine to ask: builtin:, clamd:///path/to/socket, clamd://host:port, mdcore://host:port, mdcores://host:port. Default: the pool default, which is builtin: unless configured."`
	DetailedExitcode bool     `help:"Exit 10 if something is infected, 11 if something was not scanned."`
}

// ScanOptions are what scan was told.
type ScanOptions struct {
	Config  config.Options
	Targets []string
	Engine  string // "" = the pool default of the configuration
}

// Run inspects and reports, in the order in which answers come.
func (c *scanCmd) Run(ctx context.Context, a *App) error {
	var seen tally
	rows := records(ctx, func(ctx context.Context, each func(ledger.Record) error) error {
		return a.Program.Scan(ctx, ScanOptions{Config: a.options(), Targets: c.Targets, Engine: c.Engine}, each)
	})
	counted := func(yield func(ledger.Record, error) bool) {
		for r, err := range rows {
			if err == nil {
				seen.add(r.Verdict)
			}
			if !yield(r, err) {
				return
			}
		}
	}
	var err error
	if p := a.printer(); p.Format == "sarif" {
		err = writeSarif(p.W, version(), counted)
	} else {
		err = output.List(p, recordColumns, counted)
	}
	if err == nil || seen.any() {
		a.say("%s", seen.String())
	}
	if c.DetailedExitcode {
		return seen.exit(err)
	}
	return err
}

// records turns calls, which may come concurrently, into a sequence. It ends
// with the error of run, if any; leaving it early ends run and waits for it.
func records(ctx context.Context, run func(context.Context, func(ledger.Record) error) error) iter.Seq2[ledger.Record, error] {
	return func(yield func(ledger.Record, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		found := make(chan ledger.Record)
		var failed error
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()
		running.Go(func() {
			defer close(found)
			failed = run(ctx, func(r ledger.Record) error {
				select {
				case found <- r:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
		for r := range found {
			if !yield(r, nil) {
				return
			}
		}
		if failed != nil {
			yield(ledger.Record{}, failed)
		}
	}
}
