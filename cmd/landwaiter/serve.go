package main

import (
	"context"
	"errors"

	"github.com/landwaiter/landwaiter/config"
)

type serveCmd struct {
	Watch      []string `placeholder:"DIR" type:"path" sep:"none" help:"Watch this folder too; may be repeated."`
	Quarantine string   `placeholder:"DIR" type:"path" help:"Put what is infected in the folders of --watch away into this folder. Without it they are only reported."`
	Listen     string   `placeholder:"ADDR" help:"HOST:PORT to listen at, or off."`
}

// ServeOptions are what serve was told.
type ServeOptions struct {
	Config     config.Options // load it again to reload
	Watch      []string       // absolute folders beside the configured units
	Quarantine string         // absolute; "" = report only
}

// Run runs the daemon until a signal ends it.
func (c *serveCmd) Run(ctx context.Context, a *App) error {
	if c.Quarantine != "" && len(c.Watch) == 0 {
		return usage(errors.New("--quarantine is for the folders of --watch; configured units put away by their workflow: workflow: quarantine"))
	}
	var set []config.Override
	if c.Listen != "" {
		set = append(set, config.Override{Path: "server.listen", Value: c.Listen, Flag: "--listen"})
	}
	return a.Program.Serve(ctx, ServeOptions{Config: a.options(set...), Watch: c.Watch, Quarantine: c.Quarantine})
}
