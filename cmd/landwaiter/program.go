package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/daemon"
	sources "github.com/landwaiter/landwaiter/events/all"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/output"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/remediation"
	engines "github.com/landwaiter/landwaiter/scan/all"
)

// program is the rest of the program as the commands see it.
func program(stderr io.Writer) Program {
	p := &wired{stderr: stderr}
	return Program{Serve: p.serve, Watch: p.watch, Scan: p.scan, Dial: p.dial, Init: p.init, Doctor: p.doctor, Fsck: p.fsck,
		Conform: p.conform, Storages: all.Schemes(), Engines: engines.Schemes(), Sources: sources.Schemes()}
}

type wired struct{ stderr io.Writer }

// logger writes what the configuration asks for to standard error.
func (p *wired) logger(c *config.Config) *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(c.Log.Level)) != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(p.stderr, o))
	}
	return slog.New(slog.NewTextHandler(p.stderr, o))
}

func (p *wired) serve(ctx context.Context, o ServeOptions) error {
	ctx = account.Nobody(ctx) // the daemon does what others ask for, too
	load := func() (*config.Config, error) {
		c, err := loadChecked(ctx, o.Config)
		if err != nil {
			return nil, err
		}
		return c, addFolders(c, o.Watch, o.Quarantine != "")
	}
	c, err := load()
	if err != nil {
		return err
	}
	log := p.logger(c)
	if len(c.Units) == 0 && len(c.Accounts) == 0 {
		log.Warn("nothing is watched: there is no unit; use --watch DIR, or units in the configuration")
	}
	setup := func(command string) {
		_, _ = fmt.Fprintf(p.stderr, "There is no administrator yet. Within 24 hours, with a password of your own, run:\n\n  %s\n\n", command)
	}
	if c.Log.Format == "json" {
		setup = nil // whoever reads JSON wants nothing else
	}
	d, err := daemon.Open(ctx, daemon.Options{Config: c, Log: log, Load: load, Quarantine: o.Quarantine, Setup: setup, Version: version(),
		Finished: func(e *ledger.Entry) { logEntry(log, e) },
		Ready: func(addr string) {
			log.Info("ready", "version", version(), "listen", addr, "data", c.Data, "units", len(c.Units))
		}})
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), context.Canceled) {
		return nil // stopped before it was up
	}
	if err != nil {
		return err
	}
	err = d.Run(ctx)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = errors.Join(err, ctx.Err())
	}
	return err
}

// logEntry tells of what is not simply clean; of clean objects only in debug.
func logEntry(log *slog.Logger, e *ledger.Entry) {
	r := e.Record()
	if r.Verdict == "" {
		return // an event of what was known already
	}
	level := slog.LevelInfo
	if r.Verdict == "clean" || r.Outcome == ledger.OutcomeGone || r.Outcome == ledger.OutcomeSuperseded {
		level = slog.LevelDebug
	}
	var did, not []string
	for _, a := range r.Actions {
		did = append(did, a.Type+" "+a.State)
		if a.State == string(remediation.Refused) || a.State == string(remediation.Failed) {
			level = slog.LevelWarn
			not = append(not, a.Type+" "+a.State+suffix(": ", a.Detail))
		}
	}
	if r.Outcome == ledger.OutcomeFailed {
		level = slog.LevelWarn
		not = append(not, r.Error)
	}
	log.Log(context.Background(), level, r.Verdict, "unit", r.Unit, "key", r.Key, "entry", r.ID, "reason", r.Reason, "threat", r.Threat,
		"decision", r.Decision, "actions", strings.Join(did, ", "), "ms", r.LatencyMS, "outcome", r.Outcome, "not_done", strings.Join(not, "; "))
}

// addFolders adds folders as units, named after their last element.
func addFolders(c *config.Config, dirs []string, quarantine bool) error {
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return fault.New(fault.NotFound, "watch", dir, errors.New("there is no such folder"))
		case errors.Is(err, os.ErrPermission):
			return fault.New(fault.Denied, "watch", dir, err)
		case err != nil:
			return err
		case !info.IsDir():
			return fault.New(fault.Invalid, "watch", dir, errors.New("not a folder"))
		}
		u := config.Unit{Name: freeName(c, filepath.Base(dir)), URL: (&url.URL{Scheme: "file", Path: dir}).String(), Versions: "current", ReadOnly: !quarantine}
		if quarantine {
			u.Workflow = daemon.QuarantineWorkflow
		}
		c.Units = append(c.Units, u)
	}
	return nil
}

func freeName(c *config.Config, base string) string {
	if base == "/" || base == "." {
		base = "root"
	}
	name := base
	for n := 2; name == control.QuarantineUnit || slices.ContainsFunc(c.Units, func(u config.Unit) bool { return u.Name == name }); n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}

func (p *wired) watch(ctx context.Context, o WatchOptions, each func(ledger.Record) error) (err error) {
	c, err := config.Load(o.Config)
	if err != nil {
		return err
	}
	if !named(c, "data") && o.Quarantine != "" {
		// What is put away must be found again: by the ledger.
		_, _ = fmt.Fprintf(p.stderr, "The ledger is in %s; quarantine list and restore look there.\n", output.Escape(c.Data))
	} else if !named(c, "data") {
		dir, err := os.MkdirTemp("", "landwaiter-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		c.Data = dir
	}
	c.Units, c.Server.Listen = nil, "off"
	if err := addFolders(c, o.Dirs, o.Quarantine != ""); err != nil {
		return err
	}
	useEngine(c, o.Engine)
	log := p.logger(c)
	if c.Log.Level == "info" {
		c.Log.Level = "warn" // the lines are the talk
		log = p.logger(c)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d, err := daemon.Open(ctx, daemon.Options{Config: c, Log: log, Quarantine: o.Quarantine, Once: o.Once, Finished: func(e *ledger.Entry) {
		if e.Outcome == ledger.OutcomeGone || e.Outcome == ledger.OutcomeSuperseded {
			return
		}
		if err := each(e.Record()); err != nil {
			cancel(err)
		}
	}})
	if err != nil {
		return err
	}
	err = d.Run(ctx)
	switch cause, waits := context.Cause(ctx), d.Engines(); {
	case cause == nil, errors.Is(cause, context.Canceled):
	case errors.Is(cause, context.DeadlineExceeded) && waits != nil:
		err = errors.Join(err, fmt.Errorf("%w: %w", cause, waits))
	case errors.Is(cause, context.DeadlineExceeded) && o.Once:
		err = errors.Join(err, fmt.Errorf("%w: not all that was there is finished", cause))
	default:
		err = errors.Join(err, cause)
	}
	return err
}

// named says whether somebody chose the value at path, in the file, the environment or a flag.
func named(c *config.Config, path string) bool { return c.Origin(path).From != "default" }

// useEngine makes url the pool default.
func useEngine(c *config.Config, url string) {
	if url != "" {
		c.Pools = []config.Pool{config.NewPool(daemon.DefaultPool, config.Instance{URL: url})}
	}
}

func (p *wired) scan(ctx context.Context, o ScanOptions, each func(ledger.Record) error) error {
	c, err := config.Load(o.Config)
	if err != nil {
		return err
	}
	useEngine(c, o.Engine)
	c.Log.Level = "error"
	return daemon.Scan(ctx, daemon.ScanOptions{Config: c, Targets: o.Targets, Log: p.logger(c)}, each)
}

func (p *wired) dial(ctx context.Context, o config.Options) (backend, error) {
	o.Unresolved = true // what needs a secret asks for it
	c, err := config.Load(o)
	if err != nil {
		return nil, err
	}
	r, err := control.Dial(ctx, c.Data)
	if err == nil {
		return r, nil
	}
	if !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	if err := c.Resolve("store"); err != nil {
		return nil, err
	}
	return daemon.OpenControl(ctx, c, p.logger(c))
}

func (p *wired) init(ctx context.Context, o config.Options) error {
	o.Unresolved = true
	c, err := config.Load(o)
	if err == nil {
		err = c.Resolve("store")
	}
	if err != nil {
		return err
	}
	return daemon.Init(ctx, c, p.logger(c))
}

func (p *wired) conform(ctx context.Context, o ConformOptions, tell func(connectors.Finding)) error {
	o.Config.Unresolved = true
	c, err := config.Load(o.Config)
	if err != nil {
		return err
	}
	return daemon.Conform(ctx, c, o.Target, o.Options, tell)
}

func (p *wired) doctor(ctx context.Context, o config.Options) checks {
	return func(yield func(control.Check, error) bool) {
		o.Unresolved = true
		c, err := loadChecked(ctx, o)
		if err != nil {
			yield(control.Check{}, err)
			return
		}
		daemon.Doctor(ctx, c, func(ch control.Check) bool { return yield(ch, nil) })
	}
}

func (p *wired) fsck(ctx context.Context, o config.Options, f daemon.FsckOptions) checks {
	return func(yield func(control.Check, error) bool) {
		o.Unresolved = true
		c, err := config.Load(o)
		if err == nil {
			err = c.Resolve("store")
		}
		if err != nil {
			yield(control.Check{}, err)
			return
		}
		if err := daemon.Fsck(ctx, c, f, func(ch control.Check) bool { return yield(ch, nil) }); err != nil {
			yield(control.Check{}, err)
		}
	}
}
