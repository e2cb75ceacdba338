package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/pipeline"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/all"
	"github.com/landwaiter/landwaiter/scan/box"
	"github.com/landwaiter/landwaiter/scan/builtin"
	"github.com/landwaiter/landwaiter/scan/mdcore"
)

// DefaultPool is the pool that a workflow asks if it names none.
const DefaultPool = "default"

// startWithin bounds how long work that is to end waits for its engines.
const startWithin = 30 * time.Second

// defaultInFlight is what an instance takes at once where nothing else is said.
const defaultInFlight = 64

// pools are the open pools with what they are made of.
type pools struct {
	scan.Pools
	list      []*scan.Pool
	instances int           // samples that all of them take at once
	patience  time.Duration // of wait
}

// openPools opens the pools of a configuration; the builtin engine is the pool
// default where none has that name.
func openPools(ctx context.Context, c *config.Config, b *box.Pool, log *slog.Logger) (_ *pools, err error) {
	ps := &pools{patience: startWithin}
	defer func() {
		if err != nil {
			err = errors.Join(err, ps.close())
		}
	}()
	wanted := c.Pools
	if !hasPool(wanted, DefaultPool) {
		wanted = append([]config.Pool{config.NewPool(DefaultPool, config.Instance{URL: "builtin:"})}, wanted...)
	}
	limits := scan.Limits{Depth: c.Bounds.Archive.Depth, Entries: c.Bounds.Archive.Entries,
		Expanded: int64(c.Bounds.Archive.Expanded), Ratio: int64(c.Bounds.Archive.Ratio)}
	open := map[string]*scan.Pool{}
	// A pool's failover must be there before it: those without one come first.
	for len(open) < len(wanted) {
		before := len(open)
		for _, p := range wanted {
			if open[p.Name] != nil || p.Failover != "" && open[p.Failover] == nil {
				continue
			}
			o := scan.PoolOptions{Name: p.Name, Failover: open[p.Failover], Walker: b, MaxDefinitionsAge: p.MaxDefinitionsAge,
				AgeAsked: p.AgeAsked, Log: log}
			for _, in := range p.Instances {
				inst, err := all.Instance(ctx, in.URL, in.URL, in.Limit, all.Options{
					Builtin: builtin.Options{Limits: limits, Box: b, Log: log, HashLists: in.Hashes},
					MDCore: mdcore.Options{APIKey: in.APIKey.Reveal(), Rule: in.Rule, User: in.User,
						Password: in.Password.Reveal(), CAFile: in.CAFile}})
				if err != nil {
					return nil, fmt.Errorf("pool %s: %w", p.Name, err)
				}
				o.Instances = append(o.Instances, inst)
				if !strings.HasPrefix(in.URL, "builtin:") { // which works on our own cores
					ps.instances += max(in.Limit, defaultInFlight)
				}
			}
			pool := scan.NewPool(o)
			open[p.Name] = pool
			ps.Put(pool)
			ps.list = append(ps.list, pool)
		}
		if len(open) == before {
			return nil, fault.New(fault.Invalid, "daemon.Pools", "", errors.New("pools fail over to each other in a circle"))
		}
	}
	return ps, nil
}

func hasPool(list []config.Pool, name string) bool {
	for _, p := range list {
		if p.Name == name {
			return true
		}
	}
	return false
}

// scanners are the pools as the pipeline sees them.
func (ps *pools) scanners() map[string]pipeline.Scanner {
	m := map[string]pipeline.Scanner{}
	for _, p := range ps.list {
		m[p.Name()] = p
	}
	return m
}

// inFlight is how many samples the instances outside this process take at once.
func (ps *pools) inFlight() int { return ps.instances }

// run keeps the pools probed and proven until ctx ends.
func (ps *pools) run(ctx context.Context) error {
	var g errgroup.Group
	for _, p := range ps.list {
		g.Go(func() error { return p.Run(ctx) })
	}
	return g.Wait()
}

// check fails while no pool at all can call anything clean: then everything
// waits, or is not_scanned.
func (ps *pools) check(ctx context.Context) error {
	for _, p := range ps.list {
		if p.Status().Clears {
			return nil
		}
	}
	return ps.checkAll(ctx)
}

// checkAll says which pools cannot take work, or call nothing clean, and why.
func (ps *pools) checkAll(context.Context) error {
	var down, stale []string
	for _, p := range ps.list {
		switch st := p.Status(); {
		case !st.Ready:
			down = append(down, p.Name()+reasons(st))
		case !st.Clears:
			stale = append(stale, p.Name()+reasons(st))
		}
	}
	var words []string
	if len(down) > 0 {
		words = append(words, "no instance is ready in pool "+strings.Join(down, ", "))
	}
	if len(stale) > 0 {
		words = append(words, "stale definitions in pool "+strings.Join(stale, ", "))
	}
	if len(words) > 0 {
		return errors.New(strings.Join(words, "; "))
	}
	return nil
}

// reasons says of each instance that cannot be asked, or not for a clean, why.
func reasons(st scan.PoolStatus) (words string) {
	for _, in := range st.Instances {
		if !in.Ready || in.Stale {
			words += fmt.Sprintf(" (%s: %s)", in.Name, orWords(in.Detail, "not probed yet"))
		}
	}
	return words
}

// failovers are advisory checks, of each pool that has a failover, that it does
// without.
func (ps *pools) failovers() []check {
	var l []check
	for _, p := range ps.list {
		if p.Status().Failover == "" {
			continue
		}
		l = append(l, check{name: p.Name(), advisory: true, run: func(context.Context) error {
			switch st := p.Status(); {
			case st.Spare:
				return fmt.Errorf("on failover%s", reasons(st))
			case !st.Ready:
				return fmt.Errorf("not ready, nor its failover %s%s", st.Failover, reasons(st))
			}
			return nil
		}})
	}
	return l
}

// Engines says which engines are waited for, and why; nil if none is.
func (d *Daemon) Engines() error {
	for _, p := range d.pools.list {
		if !p.Ready() {
			return d.pools.checkAll(context.Background())
		}
	}
	return nil
}

// wait waits until every pool was probed and one instance of each is ready; it
// gives up after its patience with what is wrong, or when ctx ends.
func (ps *pools) wait(ctx context.Context) error {
	wctx, cancel := context.WithTimeout(ctx, ps.patience)
	defer cancel()
	for _, p := range ps.list {
		if err := p.Wait(wctx); err != nil {
			why := ps.checkAll(ctx)
			switch {
			case errors.Is(ctx.Err(), context.DeadlineExceeded) && why != nil:
				return fmt.Errorf("%w: %w", ctx.Err(), why)
			case ctx.Err() != nil:
				return ctx.Err()
			}
			return fault.New(fault.Unavailable, "daemon.Pools", p.Name(), why)
		}
	}
	return nil
}

// OpenSanitized asks the instance that gave the report for its disarmed copy.
func (ps *pools) OpenSanitized(ctx context.Context, rep scan.Report) (io.ReadCloser, error) {
	for _, p := range ps.list {
		if s := p.Sanitizer(rep); s != nil {
			return s.OpenSanitized(ctx, rep)
		}
	}
	return nil, fault.New(fault.NotFound, "daemon.OpenSanitized", rep.Engine, errors.New("no such instance is configured now"))
}

// Test shows the instances of a pool, or of all, the canaries.
func (ps *pools) Test(ctx context.Context, pool string) iter.Seq2[control.Tested, error] {
	return func(yield func(control.Tested, error) bool) {
		found := false
		for _, p := range ps.list {
			if pool != "" && p.Name() != pool {
				continue
			}
			found = true
			p.Check(ctx)
			for _, in := range p.Status().Instances {
				t := control.Tested{Pool: p.Name(), Instance: in.Name, Proof: in.Proof}
				switch {
				case !in.Ready:
					t.Error = orWords(in.Detail, "not ready")
				case in.Stale:
					t.Error = in.Detail
				case in.Undated:
					t.Note = in.Detail
				}
				if !yield(t, nil) {
					return
				}
			}
		}
		if !found {
			yield(control.Tested{}, fault.New(fault.NotFound, "daemon.Pools", pool, errors.New("there is no such pool")))
		}
	}
}

func (ps *pools) close() error {
	var errs []error
	for _, p := range ps.list {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
