package main

import (
	"context"
	"sync"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/internal/output"
	"github.com/landwaiter/landwaiter/ledger"
)

type watchCmd struct {
	Dirs             []string `arg:"" name:"dir" type:"path" help:"Folders to watch."`
	Engine           string   `placeholder:"URL" help:"Engine to ask: builtin:, clamd:///path/to/socket, clamd://host:port, mdcore://host:port, mdcores://host:port. Default: the pool default, which is builtin: unless configured."`
	Quarantine       string   `placeholder:"DIR" type:"path" help:"Put what is infected away into this folder. Without it nothing is changed."`
	Once             bool     `help:"End when all that was there at the start is finished."`
	DetailedExitcode bool     `help:"With --once: exit 10 if something is infected, 11 if something was not scanned."`
}

// WatchOptions are what watch was told.
type WatchOptions struct {
	Config     config.Options
	Data       string   // "" = a private temporary folder, gone at the end, or with a quarantine ./landwaiter-data
	Dirs       []string // absolute
	Engine     string   // "" = the pool default of the configuration
	Quarantine string   // absolute; "" = report only
	Once       bool
}

// Run prints a line for each finished entry until a signal ends it, or with
// --once until all is finished. It is safe that entries finish concurrently.
func (c *watchCmd) Run(ctx context.Context, a *App) error {
	var mu sync.Mutex
	var seen tally
	p := a.printer()
	if p.Format == output.JSON {
		p.Format = output.Lines
	}
	rows := output.NewStream(p, recordColumns)
	err := a.Program.Watch(ctx, WatchOptions{Config: a.options(), Data: a.flags.Data, Dirs: c.Dirs, Engine: c.Engine, Quarantine: c.Quarantine, Once: c.Once},
		func(r ledger.Record) error {
			mu.Lock()
			defer mu.Unlock()
			seen.add(r.Verdict)
			switch p.Format {
			case output.CSV:
				return rows.Row(r)
			case output.Lines, output.YAML:
				return output.List(p, recordColumns, output.Of([]ledger.Record{r}))
			default:
				return output.One(p, r, told(p, r))
			}
		})
	if err == nil || seen.any() {
		a.say("%s", seen.String())
	}
	if c.DetailedExitcode {
		return seen.exit(err)
	}
	return err
}

// told is a record on one line: "12:00:01 infected inbox:a.txt Eicar-Test, quarantine done".
func told(p output.Printer, r ledger.Record) string {
	s := r.Time.UTC().Format("15:04:05") + " " + p.Paint(verdict(r), verdictColor(r)) + " " + output.Escape(r.Unit+":"+r.Key)
	if r.Threat != "" {
		s += " " + output.Escape(r.Threat)
	}
	if did := actions(r); did != "" {
		s += ", " + did
	}
	if r.Error != "" {
		s += ", " + output.Escape(r.Error)
	}
	return s + "\n"
}
