package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/output"
)

type conformCmd struct {
	Target  string            `arg:"" name:"url" help:"A storage URL, or the name of a unit: of the configuration, or found with an account."`
	Options map[string]string `short:"O" name:"option" placeholder:"NAME=VALUE" help:"An option of the vendor; the value may be env:NAME, file:PATH or credential:NAME."`
}

// ConformOptions are what conform is asked for.
type ConformOptions struct {
	Config  config.Options
	Target  string // URL or unit
	Options map[string]config.Secret
}

var findingColumns = []output.Column[connectors.Finding]{
	{Name: "CHECK", Value: func(f connectors.Finding) string { return f.Check }},
	{Name: "STATE", Value: func(f connectors.Finding) string { return f.State }, Color: func(f connectors.Finding) output.Color {
		switch f.State {
		case connectors.Passed:
			return output.Good
		case connectors.Failed:
			return output.Bad
		}
		return output.Unsure
	}},
	{Name: "MS", Value: func(f connectors.Finding) string { return size(f.Took.Milliseconds()) }},
	{Name: "DETAIL", Value: func(f connectors.Finding) string { return f.Detail }},
}

// Run proves a storage against the contract of connectors. Exit code 1: a check failed.
func (c *conformCmd) Run(ctx context.Context, a *App) error {
	o := ConformOptions{Config: a.options(), Target: c.Target, Options: map[string]config.Secret{}}
	for name, value := range c.Options {
		s, err := config.ParseSecret(value)
		if err != nil {
			return usage(fmt.Errorf("option %s: %w", name, err))
		}
		o.Options[name] = s
	}
	if !strings.Contains(c.Target, ":") && !strings.HasPrefix(c.Target, "/") && len(o.Options) > 0 {
		return usage(errors.New("options go with a URL; a unit has its own"))
	}
	var failed []string
	err := output.List(a.printer(), findingColumns, func(yield func(connectors.Finding, error) bool) {
		more := true
		err := a.Program.Conform(ctx, o, func(f connectors.Finding) {
			if f.State == connectors.Failed {
				failed = append(failed, f.Check)
			}
			more = more && yield(f, nil)
		})
		if err != nil && more {
			yield(connectors.Finding{}, err)
		}
	})
	if err == nil && len(failed) > 0 {
		err = fault.New(fault.Other, "conform", c.Target, fmt.Errorf("it does not do what it must: %s", strings.Join(failed, ", ")))
	}
	return err
}
