package main

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/output"
)

type quarantineCmd struct {
	List    quarantineList    `cmd:"" help:"List what was put away, newest first."`
	Restore quarantineRestore `cmd:"" help:"Put objects back where they were and allow their hash there."`
	Purge   quarantinePurge   `cmd:"" help:"Destroy objects for good."`
}

type quarantineList struct {
	Unit string `placeholder:"NAME" help:"That came from this unit."`
}

type quarantineRestore struct {
	IDs    []string `arg:"" name:"id" help:"As quarantine list shows them."`
	To     string   `placeholder:"KEY" help:"Another key of the unit, for one object."`
	Allow  interval `default:"30d" help:"How long the object's hash is allowed in its unit."`
	DryRun bool     `help:"Only say what would be done."`
}

type quarantinePurge struct {
	IDs     []string `arg:"" optional:"" name:"id" help:"As quarantine list shows them."`
	Expired bool     `help:"All whose time is up."`
	DryRun  bool     `help:"Only say what would be done."`
}

// A quarantiner keeps what was put away. Restore and Purge return
// fault.NotFound for an id that is not there.
type quarantiner interface {
	Quarantined(ctx context.Context, unit string) iter.Seq2[control.Quarantined, error]
	Restore(ctx context.Context, r control.RestoreRequest) (control.Effect, error)
	Purge(ctx context.Context, id string, dryRun bool) (control.Effect, error)
}

var quarantineColumns = []output.Column[control.Quarantined]{
	{Name: "ID", Value: func(q control.Quarantined) string { return q.ID }},
	{Name: "TIME", Value: func(q control.Quarantined) string { return stamp(q.Time) }},
	{Name: "UNIT", Value: func(q control.Quarantined) string { return q.Unit }},
	{Name: "KEY", Value: func(q control.Quarantined) string { return q.Key }},
	{Name: "SIZE", Value: func(q control.Quarantined) string { return size(q.Size) }},
	{Name: "THREAT", Value: func(q control.Quarantined) string { return either(q.Threat, string(q.Reason)) }},
	{Name: "EXPIRES", Value: func(q control.Quarantined) string { return either(stamp(q.Expires), "never") }},
}

// Run lists the quarantine.
func (c *quarantineList) Run(ctx context.Context, a *App) error {
	return a.ask(ctx, func(b backend) error {
		return output.List(a.printer(), quarantineColumns, b.Quarantined(ctx, c.Unit))
	})
}

// Run restores each object, and goes on where one cannot be.
func (c *quarantineRestore) Run(ctx context.Context, a *App) error {
	if c.To != "" && len(c.IDs) > 1 {
		return usage(errors.New("--to is for one object only"))
	}
	return a.ask(ctx, func(b backend) error {
		return forEach(a, c.IDs, func(id string) (control.Effect, error) {
			return b.Restore(ctx, control.RestoreRequest{ID: id, To: c.To, Allow: time.Duration(c.Allow), DryRun: c.DryRun})
		})
	})
}

// Run purges the objects named, or all that have expired.
func (c *quarantinePurge) Run(ctx context.Context, a *App) error {
	if (len(c.IDs) > 0) == c.Expired {
		return usage(errors.New("name objects or --expired"))
	}
	return a.ask(ctx, func(b backend) error {
		ids := c.IDs
		if c.Expired {
			now := time.Now()
			for q, err := range b.Quarantined(ctx, "") {
				if err != nil {
					return err
				}
				if !q.Expires.IsZero() && q.Expires.Before(now) {
					ids = append(ids, q.ID)
				}
			}
		}
		return forEach(a, ids, func(id string) (control.Effect, error) { return b.Purge(ctx, id, c.DryRun) })
	})
}

// forEach does something to each of ids, prints what came of it, and goes on
// after failures. If there is only one, its own error decides the exit code.
func forEach(a *App, ids []string, do func(id string) (control.Effect, error)) error {
	var done []control.Effect
	for _, id := range ids {
		e, err := do(id)
		if fault.Canceled(err) || err != nil && len(ids) == 1 {
			return errors.Join(printEffects(a, done), err)
		}
		if err != nil {
			e = control.Effect{ID: id, State: "failed", Detail: err.Error()}
		}
		done = append(done, e)
	}
	return effects(a, done)
}

// printEffects prints what was done before an error ended it.
func printEffects(a *App, done []control.Effect) error {
	if len(done) == 0 {
		return nil
	}
	return output.List(a.printer(), effectColumns, output.Of(done))
}
