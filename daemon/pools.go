package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/pipeline"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/box"
)

// DefaultPool is the pool that a workflow asks if it names none.
const DefaultPool = "default"

// startWithin bounds how long work that is to end waits for its engines.
const startWithin = 30 * time.Second

// defaultInFlight is what an instance takes at once where nothing else is said.
const defaultInFlight = 64

// pools are the open pools. What is wanted changes while they are in use: see
// open and use.
type pools struct {
	log      *slog.Logger
	box      *box.Pool
	limits   scan.Limits
	patience time.Duration // of wait
	drain    time.Duration // of what a pool that leaves has in work

	moved chan struct{} // use was called: for run

	mu      sync.RWMutex
	list    []*pool
	begin   []*pool // not run yet
	leaving []*pool // not wanted any more, not closed yet
}

func newPools(c *config.Config, b *box.Pool, log *slog.Logger) *pools {
	return &pools{log: log, box: b, patience: startWithin, drain: c.Bounds.ScanTimeout, moved: make(chan struct{}, 1),
		limits: scan.Limits{Depth: c.Bounds.Archive.Depth, Entries: c.Bounds.Archive.Entries,
			Expanded: int64(c.Bounds.Archive.Expanded), Ratio: int64(c.Bounds.Archive.Ratio)}}
}

// all are the pools that are in use now.
func (ps *pools) all() []*pool {
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	return ps.list
}

// scanners are the pools as the pipeline sees them.
func (ps *pools) scanners() map[string]pipeline.Scanner {
	m := map[string]pipeline.Scanner{}
	for _, p := range ps.all() {
		for _, key := range p.spec.keys {
			m[key] = p.Pool
		}
	}
	return m
}

// inFlight is how many samples the instances outside this process take at once.
func (ps *pools) inFlight() (n int) {
	for _, p := range ps.all() {
		for _, in := range p.spec.Instances {
			if !strings.HasPrefix(in.URL, "builtin:") { // which works on our own cores
				n += max(in.Limit, defaultInFlight)
			}
		}
	}
	return n
}

// Status returns what every pool knows.
func (ps *pools) Status() []scan.PoolStatus {
	list := []scan.PoolStatus{}
	for _, p := range ps.all() {
		list = append(list, p.Status())
	}
	return list
}

// check fails while no pool at all can call anything clean: then everything
// waits, or is not_scanned.
func (ps *pools) check(ctx context.Context) error {
	for _, p := range ps.all() {
		if p.Status().Clears {
			return nil
		}
	}
	return ps.checkAll(ctx)
}

// checkAll says which pools cannot take work, or call nothing clean, and why.
func (ps *pools) checkAll(context.Context) error {
	var down, stale []string
	for _, p := range ps.all() {
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
	for _, p := range ps.all() {
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
	for _, p := range d.pools.all() {
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
	for _, p := range ps.all() {
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
	for _, p := range ps.all() {
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
		for _, p := range ps.all() {
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
