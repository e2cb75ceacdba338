package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/pipeline"
	"github.com/landwaiter/landwaiter/scan/box"
	"github.com/landwaiter/landwaiter/workflow"
)

// ScanOptions say what to inspect.
type ScanOptions struct {
	Config  *config.Config
	Targets []string // files, folders, storage URLs
	Log     *slog.Logger
}

// Scan inspects what the targets name, changes nothing, keeps nothing, and
// gives each object's record to each, which is not called concurrently. A
// target that fails does not stop the others: its error comes at the end.
func Scan(ctx context.Context, o ScanOptions, each func(ledger.Record) error) (err error) {
	b, err := box.Open(ctx, box.Options{Required: o.Config.Sandbox == "required", Log: o.Log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	ps, err := openPools(ctx, o.Config, b, o.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ps.close()) }()
	pctx, stop := context.WithCancel(ctx)
	var probes errgroup.Group
	probes.Go(func() error { return ps.run(pctx) })
	defer func() {
		stop()
		if perr := probes.Wait(); !errors.Is(perr, context.Canceled) {
			err = errors.Join(err, perr)
		}
	}()
	if err := ps.wait(ctx); err != nil {
		return err
	}
	set := connectors.NewSet()
	defer func() { err = errors.Join(err, set.Close()) }()
	bounds := o.Config.Bounds
	workers := max(bounds.Workers, ps.inFlight())
	p := pipeline.New(pipeline.Options{Storages: set, Pools: ps.scanners(), Log: o.Log,
		Bounds: pipeline.Bounds{Workers: workers, BytesInWork: int64(bounds.BytesInWork), ScanTimeout: bounds.ScanTimeout}})
	var failed []error
	for _, t := range o.Targets {
		if err := scanTarget(ctx, p, t, workers, each); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// scanTarget inspects one file, folder or storage.
func scanTarget(ctx context.Context, p *pipeline.Pipeline, target string, workers int, each func(ledger.Record) error) (err error) {
	u, key, err := targetUnit(target)
	if err != nil {
		return err
	}
	if err := noQuarantine(u); err != nil {
		return err
	}
	st, err := all.OpenStorage(ctx, u, connectors.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	pu := pipeline.Unit{Unit: u, Workflow: workflow.Report()}
	found := make(chan *ledger.Entry, workers)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(found)
		w, wctx := errgroup.WithContext(gctx)
		w.SetLimit(workers)
		inspect := func(key string) {
			w.Go(func() error {
				e, err := p.Inspect(wctx, st, pu, key, "scan")
				if err != nil {
					return err
				}
				select {
				case found <- e:
					return nil
				case <-wctx.Done():
					return wctx.Err()
				}
			})
		}
		var gaps []error
		if key != "" {
			inspect(key)
		} else {
			for info, err := range st.List(wctx, "", "") {
				if gap := new(connectors.Gap); errors.As(err, &gap) {
					gaps = append(gaps, err)
					continue
				}
				if err != nil {
					gaps = append(gaps, err)
					break
				}
				inspect(info.Key)
			}
		}
		return errors.Join(append(gaps, w.Wait())...)
	})
	for e := range found {
		if err == nil {
			err = each(e.Record())
		}
	}
	return errors.Join(g.Wait(), err)
}

// targetUnit turns a target into a unit, and for a single file its key.
func targetUnit(target string) (connectors.Unit, string, error) {
	if strings.Contains(target, "://") {
		u, err := url.Parse(target)
		if err != nil {
			return connectors.Unit{}, "", fault.New(fault.Invalid, "scan", target, err)
		}
		if u.User != nil {
			return connectors.Unit{}, "", fault.New(fault.Invalid, "scan", u.Redacted(), errors.New("secrets do not belong into a URL: use the environment or a configuration"))
		}
		if u.Scheme != "file" {
			return connectors.Unit{Name: target, URL: target, ReadOnly: true, Probe: "off"}, "", nil
		}
		target = u.Path
	}
	path, err := filepath.Abs(target)
	if err != nil {
		return connectors.Unit{}, "", err
	}
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return connectors.Unit{}, "", fault.New(fault.NotFound, "scan", object.FormatKey(target), errors.New("no such file or folder"))
	}
	if err != nil {
		return connectors.Unit{}, "", fault.New(fault.Denied, "scan", object.FormatKey(target), err)
	}
	key := ""
	if !info.IsDir() {
		path, key = filepath.Dir(path), filepath.Base(path)
	}
	return connectors.Unit{Name: path, URL: (&fileURL{path}).String(), ReadOnly: true, Probe: "off"}, key, nil
}
