package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/internal/output"
	"github.com/landwaiter/landwaiter/workflow"
)

type configCmd struct {
	Validate configValidate `cmd:"" help:"Check a configuration file."`
	Schema   configSchema   `cmd:"" help:"Print the JSON Schema of the file."`
	Show     configShow     `cmd:"" help:"Print what is in force, and where each value came from."`
}

type configValidate struct {
	File      string `arg:"" optional:"" help:"The file; --config without it."`
	Secrets   bool   `help:"Insist on the secrets: a file, variable or credential that is not here is an error, not a warning."`
	NoSecrets bool   `help:"Do not look whether files, variables and credentials with secrets exist."`
}

type configSchema struct{}

type configShow struct {
	Origin bool `help:"Show where each value came from."`
}

// A verdictOnFile is what config validate prints.
type verdictOnFile struct {
	File     string          `json:"file"`
	Valid    bool            `json:"valid"`
	Problems config.Problems `json:"problems"`
}

// Run loads the file as the daemon would and lists what is wrong with it.
func (c *configValidate) Run(ctx context.Context, a *App) error {
	o := a.options()
	if c.File != "" {
		o.File = c.File
	}
	if o.File == "" {
		return usage(errors.New("name a file, by an argument or --config"))
	}
	if c.Secrets && c.NoSecrets {
		return usage(errors.New("--secrets and --no-secrets exclude each other"))
	}
	o.Unresolved = true
	cfg, err := loadChecked(ctx, o)
	if err == nil && !c.NoSecrets {
		missing := cfg.Resolve("")
		if c.Secrets {
			err = missing
		} else if missing != nil { // they may be only where the daemon runs
			for line := range strings.SplitSeq(missing.Error(), "\n") {
				a.say("%s", output.Escape(line))
			}
			a.say("These secrets are not here; they must be where the daemon runs.")
		}
	}
	var problems config.Problems
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	text := ""
	if err == nil {
		text = o.File + " is valid\n"
	}
	p := a.printer()
	if p.Format == output.CSV {
		return usage(errors.New("config validate writes table, json or yaml"))
	}
	if err := output.One(p, verdictOnFile{o.File, err == nil, append(config.Problems{}, problems...)}, text); err != nil {
		return err
	}
	if err != nil && p.Format != "" && p.Format != output.Table {
		return &exit{code: exitConfig} // the result said it
	}
	return err
}

// loadChecked loads a configuration and has all of it checked, also where Load
// found mistakes already: they come together, one for each place, in the order
// of the file, and unknown names before what is missing for want of them.
func loadChecked(ctx context.Context, o config.Options) (*config.Config, error) {
	cfg, err := config.Load(o)
	var problems, more config.Problems
	if err != nil && !errors.As(err, &problems) {
		return nil, err
	}
	if err := check(ctx, cfg); errors.As(err, &more) {
		problems = append(problems, more...)
	} else if err != nil {
		return nil, err
	}
	unknown := func(p config.Problem) int {
		if strings.HasPrefix(p.Message, "unknown") {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(problems, func(a, b config.Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(unknown(a), unknown(b)), cmp.Compare(a.Column, b.Column))
	})
	problems = slices.CompactFunc(problems, func(a, b config.Problem) bool { return a.Line > 0 && a.Line == b.Line && a.Column == b.Column })
	if len(problems) > 0 {
		return nil, problems
	}
	return cfg, nil
}

// check has every part of a configuration looked at by the package that it is
// for: what is wrong comes together, before anything is opened.
func check(ctx context.Context, cfg *config.Config) error {
	_, err := workflows(cfg)
	var problems, more config.Problems
	if errors.As(err, &problems); err != nil && problems == nil {
		return err
	}
	if err := vendors(ctx, cfg); errors.As(err, &more) {
		problems = append(problems, more...)
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// workflows decodes the sections of a configuration, all of them: what is wrong
// comes together.
func workflows(cfg *config.Config) ([]workflow.Workflow, error) {
	var all []workflow.Workflow
	var problems config.Problems
	for _, section := range cfg.Workflows {
		var w workflow.Workflow
		err := section.Decode(&w)
		var more config.Problems
		if errors.As(err, &more) {
			problems = append(problems, more...)
		} else if err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return all, nil
}

// Run prints the schema, which is JSON whatever the format.
func (c *configSchema) Run(a *App) error {
	_, err := a.Stdout.Write(config.Schema(workflow.Workflow{}))
	return err
}

var settingColumns = []output.Column[config.Setting]{
	{Name: "SETTING", Value: func(s config.Setting) string { return s.Path }},
	{Name: "VALUE", Value: func(s config.Setting) string { return s.Value }},
	{Name: "ORIGIN", Value: func(s config.Setting) string { return s.Origin }},
}

// Run shows the configuration. Secrets are not read, and never shown.
func (c *configShow) Run(a *App) error {
	o := a.options()
	o.Unresolved = true
	cfg, err := config.Load(o)
	if err != nil {
		return err
	}
	columns, settings := settingColumns, cfg.Show()
	if c.Origin || a.flags.Output != "" && a.flags.Output != "table" {
		return output.List(a.printer(), columns, output.Of(settings))
	}
	var b strings.Builder
	for _, s := range settings {
		fmt.Fprintf(&b, "%s: %s\n", output.Escape(s.Path), output.Escape(s.Value))
	}
	return output.One(a.printer(), settings, b.String())
}
