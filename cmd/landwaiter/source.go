package main

import (
	"context"
	"strconv"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/internal/output"
)

type sourceCmd struct {
	List sourceList `cmd:"" help:"List sources and hooks and how they go."`
}

type sourceList struct{}

// A feedLister tells of sources and hooks. fault.Unavailable where no daemon runs.
type feedLister interface {
	Sources(ctx context.Context) ([]control.Feed, error)
}

var feedColumns = []output.Column[control.Feed]{
	{Name: "NAME", Value: func(f control.Feed) string { return f.Name }},
	{Name: "KIND", Value: func(f control.Feed) string { return f.Kind }},
	{Name: "CONNECTED", Value: func(f control.Feed) string { return strconv.FormatBool(f.Connected) }, Color: func(f control.Feed) output.Color {
		if f.Connected {
			return output.Good
		}
		return output.Bad
	}},
	{Name: "RECEIVED", Value: func(f control.Feed) string { return size(f.Received) }},
	{Name: "ACKED", Value: func(f control.Feed) string { return size(f.Acked) }},
	{Name: "BURIED", Value: func(f control.Feed) string { return size(f.Buried) }},
	{Name: "REFUSED", Value: func(f control.Feed) string { return size(f.Refused) }},
	{Name: "STRAYS", Value: func(f control.Feed) string { return size(f.Strays) }},
	{Name: "LAST", Value: func(f control.Feed) string { return either(stamp(f.Last), "never") }},
	{Name: "URL", Value: func(f control.Feed) string { return f.URL }},
	{Name: "DETAIL", Value: detail},
}

// detail is what went wrong last, and when, or else what an operator should do.
func detail(f control.Feed) string {
	if f.Error == "" || f.ErrorAt.IsZero() {
		return either(f.Error, f.Note)
	}
	return stamp(f.ErrorAt) + ": " + f.Error
}

// Run lists sources and hooks.
func (c *sourceList) Run(ctx context.Context, a *App) error {
	return a.ask(ctx, func(b backend) error {
		all, err := b.Sources(ctx)
		if err != nil {
			return err
		}
		return output.List(a.printer(), feedColumns, output.Of(all))
	})
}
