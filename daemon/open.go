package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/pipeline"
	"github.com/landwaiter/landwaiter/workflow"
)

// Bounds on opening units.
const (
	openWithin  = 15 * time.Second // of one unit
	openAtOnce  = 16
	reopenEvery = 2 * time.Second
)

// open opens a unit. A probe that the storage did not answer is no result: the
// unit counts as not open, and is tried again.
func (d *Daemon) open(ctx context.Context, u connectors.Unit) (*connectors.Storage, error) {
	if err := noQuarantine(u); err != nil {
		return nil, err
	}
	if !u.Managed && u.Client != (ledger.ID{}) { // of the API
		if err := d.vet(ctx, u); err != nil {
			return nil, err
		}
	}
	driver, err := all.Open(ctx, u)
	if err != nil {
		return nil, err
	}
	p, err := connectors.Probe(ctx, u, driver)
	if err != nil && (ctx.Err() != nil || fault.Is(err, fault.Unavailable, fault.Throttled)) {
		return nil, errors.Join(err, driver.Close())
	}
	if err != nil {
		d.log.Warn("probe failed: what it would have proven is not used", "unit", u.Name, "err", err)
	}
	o := connectors.Options{Probed: &p}
	if d.metrics != nil {
		o.Observer = d.metrics
	}
	return connectors.NewStorage(u, driver, o), nil
}

// A wanted is a unit that a configuration asks for.
type wanted struct {
	unit    connectors.Unit
	flow    workflow.Workflow
	storage *connectors.Storage // newly opened, nil if the open one stays or none could be opened
	err     error               // why none could be opened
	same    bool                // as it is served now
}

// prepare opens what c asks for and what is not open as it should be, and
// changes nothing. What the configuration itself has wrong is an error. What a
// storage answers never is: it may answer otherwise later, and the other units
// have no part in it.
func (d *Daemon) prepare(ctx context.Context, c *config.Config, n *nouns) (list []*wanted, err error) {
	units, err := d.unitsOf(c, n)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(list))
		}
	}()
	d.mu.Lock()
	now := d.units
	d.mu.Unlock()
	var g errgroup.Group
	g.SetLimit(openAtOnce)
	defer func() { _ = g.Wait() }() // before what was opened is closed
	for _, u := range units {
		if err := all.Check(u); err != nil {
			return list, fmt.Errorf("unit %s: %w", u.Name, err)
		}
		flow, ok := n.workflows[orDefault(u.Workflow)]
		if !ok {
			return list, fault.New(fault.Invalid, "daemon.Units", u.Name, fmt.Errorf("there is no workflow %q", u.Workflow))
		}
		w := &wanted{unit: u, flow: flow}
		list = append(list, w)
		old, served := now[u.Name]
		if w.same = served && equal(old.Unit, u); w.same {
			continue
		}
		if !configured(c, u.Name) { // perhaps thousands: they are opened one by one behind our back
			w.err = errSoon
			continue
		}
		g.Go(func() error {
			octx, cancel := context.WithTimeout(ctx, openWithin)
			defer cancel()
			w.storage, w.err = d.open(octx, w.unit)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return list, err
	}
	if err := ctx.Err(); err != nil {
		return list, err
	}
	for _, w := range list {
		if w.err != nil && ours(w) {
			return list, fmt.Errorf("open unit %s: %w", w.unit.Name, w.err)
		}
	}
	return list, nil
}

// errSoon says that a discovered unit is opened in a moment.
var errSoon = fault.New(fault.Unavailable, "daemon.Units", "", errors.New("it is being opened"))

// configured says whether the configuration itself names the unit.
func configured(c *config.Config, name string) bool {
	return slices.ContainsFunc(c.Units, func(u config.Unit) bool { return u.Name == name })
}

// ours says whether what keeps a unit from being opened is a mistake of ours or
// of the configuration, which only a change of it mends: a server's answer is
// not, even one that calls our request invalid.
func ours(w *wanted) bool {
	local := all.Scheme(w.unit.URL) == "" || all.Scheme(w.unit.URL) == "file"
	return fault.Is(w.err, fault.Internal) || local && fault.Is(w.err, fault.Invalid, fault.Unsupported)
}

func closeAll(list []*wanted) error {
	var errs []error
	for _, w := range list {
		if w.storage != nil {
			errs = append(errs, w.storage.Close())
		}
	}
	return errors.Join(errs...)
}

// equal says whether two settings are the same unit in the same place; the
// ledger's number is not among them.
func equal(a, b connectors.Unit) bool {
	a.ID, b.ID = 0, 0
	return reflect.DeepEqual(a, b)
}

// reopen tries again to open the units that could not be opened.
func (d *Daemon) reopen(ctx context.Context) error {
	for {
		if err := sleep(ctx, reopenEvery); err != nil {
			return err
		}
		d.mu.Lock()
		for name, u := range d.units {
			// A folder that was removed and made again is another one than was opened.
			if err := d.pipe.Fault(u.ID); fault.Is(err, fault.NotFound) {
				d.waiting[name] = err
			}
		}
		names := slices.Sorted(maps.Keys(d.waiting))
		d.mu.Unlock()
		var g errgroup.Group
		g.SetLimit(openAtOnce)
		for _, name := range names {
			g.Go(func() error { return d.openAgain(ctx, name) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
}

// openAgain opens one unit that waits and starts to serve it anew: it is swept
// and watched at once. A reload meanwhile wins.
func (d *Daemon) openAgain(ctx context.Context, name string) error {
	waits := func() (pipeline.Unit, bool) {
		d.mu.Lock()
		defer d.mu.Unlock()
		u, ok := d.units[name]
		_, waiting := d.waiting[name]
		return u, ok && waiting
	}
	u, ok := waits()
	if !ok {
		return nil
	}
	octx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	st, err := d.open(octx, u.Unit)
	d.changing.Lock()
	defer d.changing.Unlock()
	now, ok := waits()
	if !ok || !equal(now.Unit, u.Unit) {
		if st != nil {
			_ = st.Close() // nothing was done with it
		}
		return nil // it is another by now
	}
	d.mu.Lock()
	if err != nil {
		d.waiting[name] = err
	} else {
		delete(d.waiting, name)
	}
	d.mu.Unlock()
	if d.set.Open(octx, u.Unit, func(context.Context, connectors.Unit) (*connectors.Storage, error) { return st, err }) != nil {
		return nil // it is in the set, for whoever asks
	}
	d.log.Info("unit is open", "unit", name)
	d.pipe.Serve(now)
	return nil
}

// unopened says why a unit's present settings are not in use, nil if they are.
func (d *Daemon) unopened(name string) error {
	d.mu.Lock()
	err := d.waiting[name]
	d.mu.Unlock()
	if _, open := d.set.Get(name); err != nil && open == nil {
		return fmt.Errorf("its new settings cannot be used, those before are: %w", err)
	}
	return err
}
