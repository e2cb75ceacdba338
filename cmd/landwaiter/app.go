package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/daemon"
	"github.com/landwaiter/landwaiter/internal/output"
	"github.com/landwaiter/landwaiter/ledger"
)

// App is what commands run with: where they read and write, what the global flags say,
// and the rest of the program.
type App struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Env            []string
	Color          bool
	Program        Program

	flags globals
}

// A Program does what commands ask for. The functions stop when ctx ends.
type Program struct {
	// Serve runs the daemon until ctx ends.
	Serve func(ctx context.Context, o ServeOptions) error
	// Watch runs without a listener and gives each finished entry to each.
	Watch func(ctx context.Context, o WatchOptions, each func(ledger.Record) error) error
	// Scan inspects what targets name, changes nothing, and gives each object's
	// record to each. Targets that fail are errors joined at the end.
	Scan func(ctx context.Context, o ScanOptions, each func(ledger.Record) error) error
	// Dial finds the running daemon by the socket in its data folder, or opens
	// the ledger itself where none runs.
	Dial func(ctx context.Context, o config.Options) (backend, error)
	// Init makes the ledger where there is none.
	Init func(ctx context.Context, o config.Options) error
	// Doctor and Fsck look at the set-up and at stored state.
	Doctor func(ctx context.Context, o config.Options) checks
	Fsck   func(ctx context.Context, o config.Options, f daemon.FsckOptions) checks
	// Conform proves a storage against the contract of connectors.
	Conform func(ctx context.Context, o ConformOptions, tell func(connectors.Finding)) error
	// Storages, Engines and Sources are the URL schemes that exist; nil = any.
	Storages, Engines, Sources []string
}

// A backend answers the commands that ask a daemon or its ledger.
type backend interface {
	entriesReader
	explainer
	quarantiner
	storageLister
	engineLister
	deadLetters
	feedLister
	memberKeeper
	Close() error
}

// globals are the flags of every command.
type globals struct {
	Config    string        `short:"c" placeholder:"FILE" help:"Configuration file ($LANDWAITER_CONFIG)."`
	Data      string        `placeholder:"DIR" help:"Data folder; strongest over the file and the environment."`
	Output    string        `short:"o" enum:",table,json,yaml,csv,sarif" default:"" placeholder:"FORMAT" help:"table, json, yaml or csv; scan writes sarif too ($LANDWAITER_OUTPUT)."`
	NoColor   bool          `help:"Never colour ($NO_COLOR)."`
	Server    string        `placeholder:"URL" help:"Ask the daemon at https://HOST:PORT by its REST API ($LANDWAITER_SERVER), not the one of this machine."`
	TokenFile string        `placeholder:"FILE" type:"path" help:"File of the access token or API key for --server. Without it: $LANDWAITER_TOKEN."`
	Timeout   time.Duration `placeholder:"TIME" help:"Give up after this time (exit code 9)."`
}

type cli struct {
	globals

	Serve      serveCmd      `cmd:"" help:"Run the daemon."`
	Watch      watchCmd      `cmd:"" help:"Watch folders without a daemon; a line for each finished object."`
	Scan       scanCmd       `cmd:"" help:"Inspect files or storages now and change nothing."`
	Entries    entriesCmd    `cmd:"" help:"List what the ledger holds."`
	Explain    explainCmd    `cmd:"" help:"Tell an object's whole story."`
	Quarantine quarantineCmd `cmd:"" help:"List, restore and purge what was put away."`
	Storage    storageCmd    `cmd:"" help:"Show the storage units and how much of them is covered."`
	Source     sourceCmd     `cmd:"" help:"Show the sources and hooks that tell of changes."`
	Engine     engineCmd     `cmd:"" help:"Show the engines, and make them prove themselves."`
	User       userCmd       `cmd:"" help:"List, add, change and remove users."`
	Dlq        dlqCmd        `cmd:"" help:"List and replay entries that failed."`
	Doctor     doctorCmd     `cmd:"" help:"Check the set-up."`
	Conform    conformCmd    `cmd:"" help:"Prove a storage: what it can do, and that it keeps its promises."`
	Conf       configCmd     `cmd:"" name:"config" help:"Check and show the configuration."`
	Fsck       fsckCmd       `cmd:"" help:"Check stored state."`
	Version    versionCmd    `cmd:"" help:"Show the version."`
}

// exiting is how kong's wish to end (after --help) reaches run.
type exiting int

// run parses args, runs the command and returns the exit code. It writes only
// to app's writers.
func run(ctx context.Context, args []string, app *App) (code int) {
	ctx = control.AsMachine(ctx)
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(exiting)
			if !ok {
				panic(r)
			}
			code = int(e)
		}
	}()
	var c cli
	parser, err := kong.New(&c, kong.Name("landwaiter"),
		kong.Description("Watches storage, has everything that lands inspected for malware, and acts on the verdict."),
		kong.Writers(app.Stdout, app.Stderr),
		kong.Exit(func(code int) { panic(exiting(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(app))
	if err != nil {
		panic(err) // the grammar itself is wrong: any test finds it
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	cmd, err := parser.Parse(args)
	if err != nil {
		return app.fail(usage(err))
	}
	app.flags = c.globals
	if err := app.complete(cmd.Command()); err != nil {
		return app.fail(err)
	}
	if app.flags.Timeout > 0 {
		timed, cancel := context.WithTimeout(ctx, app.flags.Timeout)
		defer cancel()
		cmd.BindTo(timed, (*context.Context)(nil))
	}
	return app.fail(cmd.Run())
}

// complete fills in what the environment says where flags are silent.
func (a *App) complete(command string) error {
	if a.flags.Config == "" {
		a.flags.Config = a.getenv("LANDWAITER_CONFIG")
	}
	if a.flags.Output == "" {
		a.flags.Output = a.getenv("LANDWAITER_OUTPUT")
	}
	switch a.flags.Output {
	case "", "table", "json", "yaml", "csv":
	case "sarif":
		if !strings.HasPrefix(command, "scan ") {
			return usage(errors.New("only scan writes sarif"))
		}
	default:
		return usage(fmt.Errorf("LANDWAITER_OUTPUT: %q is none of table, json, yaml, csv", a.flags.Output))
	}
	return nil
}

func (a *App) getenv(name string) string {
	value := ""
	for _, pair := range a.Env {
		if v, ok := strings.CutPrefix(pair, name+"="); ok {
			value = v
		}
	}
	return value
}

// printer returns where results go, in the format asked for.
func (a *App) printer() output.Printer {
	return output.Printer{W: a.Stdout, Format: output.Format(a.flags.Output), Color: a.Color && !a.flags.NoColor && a.getenv("NO_COLOR") == ""}
}

// options say how the configuration is loaded.
func (a *App) options(set ...config.Override) config.Options {
	if a.flags.Data != "" {
		set = append(set, config.Override{Path: "data", Value: a.flags.Data, Flag: "--data"})
	}
	return config.Options{File: a.flags.Config, Env: a.Env, Set: set, Storages: a.Program.Storages, Engines: a.Program.Engines, Sources: a.Program.Sources}
}

// ask dials and gives the backend to do.
func (a *App) ask(ctx context.Context, do func(backend) error) error {
	var b backend
	var err error
	if server := a.server(); server != "" {
		b, err = a.remote(server)
	} else {
		b, err = a.Program.Dial(ctx, a.options())
	}
	if err != nil {
		return err
	}
	return errors.Join(do(b), b.Close())
}

// server is the daemon to ask by its API, "" for the one of this machine.
func (a *App) server() string {
	if a.flags.Server != "" {
		return a.flags.Server
	}
	return a.getenv("LANDWAITER_SERVER")
}

func (a *App) remote(server string) (*remote, error) {
	token, err := a.token()
	if err != nil {
		return nil, err
	}
	return newRemote(server, token)
}

// say talks to the user, beside the results.
func (a *App) say(format string, args ...any) {
	_, _ = fmt.Fprintf(a.Stderr, format+"\n", args...) // nothing to do about a closed terminal
}

// colored reports whether f is a terminal that shows colours.
func colored(f *os.File, getenv func(string) string) bool {
	if term := getenv("TERM"); term == "dumb" || term == "" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
