package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/control"
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

// Sweep intervals by kind of unit, where the configuration says nothing.
const (
	sweepLocal  = 10 * time.Minute
	sweepPolled = time.Minute
	sweepPushed = time.Hour // where a source or hook names the unit
)

// QuarantineWorkflow is the workflow that puts away what is blocked, unless the
// configuration has one of that name.
const QuarantineWorkflow = "quarantine"

// fileURL is a folder as a URL.
type fileURL struct{ dir string }

// String returns file:///dir with what a URL cannot hold escaped.
func (f *fileURL) String() string { return (&url.URL{Scheme: "file", Path: f.dir}).String() }

// workflows decodes the workflows of c by name, with the default one.
func workflows(c *config.Config) (map[string]workflow.Workflow, error) {
	m := map[string]workflow.Workflow{}
	for _, s := range c.Workflows {
		var w workflow.Workflow
		if err := s.Decode(&w); err != nil {
			return nil, err
		}
		w.Name = s.Name
		if err := w.Validate(); err != nil {
			return nil, err
		}
		m[w.Name] = w
	}
	if _, ok := m["default"]; !ok {
		m["default"] = workflow.Report()
	}
	if _, ok := m[QuarantineWorkflow]; !ok {
		m[QuarantineWorkflow] = workflow.WithQuarantine()
	}
	return m, nil
}

// CheckWorkflows says what is wrong with the workflows of a configuration.
func CheckWorkflows(c *config.Config) error {
	_, err := workflows(c)
	return err
}

// unitsOf turns the configured units into connectors' words.
func (d *Daemon) unitsOf(c *config.Config, n *nouns) ([]connectors.Unit, error) {
	var units []connectors.Unit
	listed := func(u config.Unit) error {
		if u.Name == control.QuarantineUnit {
			return fault.New(fault.Invalid, "daemon.Units", u.Name, errors.New("this name is taken by the quarantine itself"))
		}
		cu := connectors.Unit{Name: u.Name, URL: u.URL, Workflow: u.Workflow, Partitions: u.Partitions, Options: reveal(u.Options), SweepEvery: u.Sweep,
			Settle: u.Settle, SettleMax: u.SettleMax, Versions: u.Versions, Unfenced: u.Unfenced, Probe: u.Probe, ReadOnly: u.ReadOnly,
			Rate: u.Rate, Managed: true, Exclude: []string{abs(c.Data), d.quarantineDir()}}
		if cu.SweepEvery == 0 {
			cu.SweepEvery = sweepPolled
			switch {
			case !strings.Contains(u.URL, "://") || strings.HasPrefix(u.URL, "file:"):
				cu.SweepEvery = sweepLocal
			case pushed(c, u.Name):
				cu.SweepEvery = sweepPushed
			}
		}
		if a, ok := accountOf(c, u.Account); ok {
			cu = Inherit(cu, a.URL, reveal(a.Options))
		}
		units = append(units, cu)
		return nil
	}
	for _, u := range c.Units {
		if err := listed(u); err != nil {
			return nil, err
		}
	}
	found, not := d.found.units(c, units)
	for _, u := range found {
		if err := listed(u); err != nil {
			return nil, err
		}
	}
	for _, s := range not {
		d.log.Warn("a place of an account becomes no unit: it is not watched", "account", s.account, "place", s.place, "err", s.err)
	}
	if err := connectors.Overlap(units); err != nil {
		return nil, err
	}
	return n.beside(units, func(unit string, err error) {
		d.log.Error("a storage cannot be served beside the configuration file", "unit", unit, "err", err)
	}), nil
}

// pushed says whether a source or hook names the unit. One that names none may
// or may not hear of it.
func pushed(c *config.Config, unit string) bool {
	return slices.ContainsFunc(c.Sources, func(s config.Source) bool { return slices.Contains(s.Units, unit) }) ||
		slices.ContainsFunc(c.Hooks, func(h config.Hook) bool { return slices.Contains(h.Units, unit) })
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
	flows, err := workflows(c)
	if err != nil {
		return nil, err
	}
	maps.Copy(flows, n.workflows)
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
		flow, ok := flows[orDefault(u.Workflow)]
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

// apply makes the ledger and the pipeline serve exactly the units of c: all of
// it, or nothing with an error. A unit that cannot be opened now is served all
// the same: its entries wait. What stays as it was is not touched.
func (d *Daemon) apply(ctx context.Context, c *config.Config) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	return d.applyLocked(ctx, c)
}

// applyLocked is apply for who holds d.changing.
func (d *Daemon) applyLocked(ctx context.Context, c *config.Config) error {
	n, err := d.readNouns(ctx)
	if err != nil {
		return err
	}
	list, err := d.prepare(ctx, c, n)
	if err != nil {
		return err
	}
	served := make(map[string]pipeline.Unit, len(list))
	for _, w := range list {
		pu, err := d.enter(ctx, w.unit, w.flow, n)
		if err != nil {
			return errors.Join(err, closeAll(list))
		}
		served[w.unit.Name] = pu
	}
	if err := d.disableOthers(ctx, served); err != nil {
		return errors.Join(err, closeAll(list))
	}
	d.current = c
	d.mu.Lock()
	old, waits := d.units, d.waiting
	waiting := map[string]error{}
	for _, w := range list {
		if w.err != nil {
			waiting[w.unit.Name] = w.err
		} else if err, ok := waits[w.unit.Name]; ok && w.same {
			waiting[w.unit.Name] = err
		}
	}
	d.units, d.waiting = served, waiting
	d.mu.Unlock()
	var errs []error
	for _, w := range list {
		before, was := old[w.unit.Name]
		pu := served[w.unit.Name]
		switch {
		case w.storage != nil:
			errs = append(errs, d.set.Swap(w.storage))
		case w.err != nil:
			if !was || !samePlace(before.Unit, w.unit) {
				d.set.Drop(w.unit.Name)                                                                                                // never the old place under the new settings
				_ = d.set.Open(ctx, w.unit, func(context.Context, connectors.Unit) (*connectors.Storage, error) { return nil, w.err }) // which notes why
			}
			switch _, err := d.set.Get(w.unit.Name); {
			case errors.Is(w.err, errSoon):
			case err == nil:
				d.log.Error("unit cannot be opened with its new settings: those before stay in use, it is tried again", "unit", w.unit.Name, "err", w.err)
			default:
				d.log.Error("unit cannot be opened: its entries wait, it is tried again", "unit", w.unit.Name, "err", w.err)
			}
		}
		if !w.same || before.Hash != pu.Hash {
			d.pipe.Serve(pu)
		}
	}
	for name, u := range old {
		if _, stays := served[name]; !stays {
			d.pipe.Drop(u.ID)
			d.set.Drop(name)
		}
	}
	return errors.Join(errs...)
}

func samePlace(a, b connectors.Unit) bool {
	rootA, pathA := connectors.Place(a)
	rootB, pathB := connectors.Place(b)
	return rootA == rootB && pathA == pathB
}

// disableOthers disables the units that a configuration file named once and
// does not name any more: what is known of them stays.
func (d *Daemon) disableOthers(ctx context.Context, served map[string]pipeline.Unit) error {
	known, err := d.db.Units(ctx)
	if err != nil {
		return err
	}
	for _, u := range known {
		if _, ok := served[u.Name]; ok || !u.Managed || u.Disabled {
			continue
		}
		if err := d.db.DisableUnit(ctx, u.ID); err != nil {
			return err
		}
	}
	return nil
}

func orDefault(name string) string {
	if name == "" {
		return "default"
	}
	return name
}

// enter writes the unit, its workflow and its RealTime scans into the ledger.
func (d *Daemon) enter(ctx context.Context, u connectors.Unit, w workflow.Workflow, n *nouns) (pipeline.Unit, error) {
	id, err := d.db.EnsureUnit(ctx, u)
	if err != nil {
		return pipeline.Unit{}, err
	}
	u.ID = id
	data, sum := w.Snapshot()
	hash, err := d.db.SaveWorkflow(ctx, data)
	if err != nil {
		return pipeline.Unit{}, err
	}
	if hash != ledger.Hash(sum) {
		return pipeline.Unit{}, fault.New(fault.Internal, "daemon.Units", u.Name, errors.New("a snapshot's hash differs"))
	}
	pu := pipeline.Unit{Unit: u, Workflow: w, Hash: hash}
	if rt, ok := n.realTime[u.Name]; ok {
		for _, r := range rt {
			s, err := d.db.EnsureRealTimeScan(ctx, id, r.Folder, hash, r.StartDate)
			if err != nil {
				return pipeline.Unit{}, err
			}
			pu.Scans = append(pu.Scans, s)
		}
		return pu, nil
	}
	parts := u.Partitions
	if len(parts) == 0 {
		parts = []string{""}
	}
	for _, part := range parts {
		s, err := d.db.EnsureRealTimeScan(ctx, id, part, hash, time.Time{})
		if err != nil {
			return pipeline.Unit{}, err
		}
		pu.Scans = append(pu.Scans, s)
	}
	return pu, nil
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

func (d *Daemon) list() []connectors.Unit {
	d.mu.Lock()
	defer d.mu.Unlock()
	var l []connectors.Unit
	for _, u := range d.units {
		l = append(l, u.Unit)
	}
	return l
}

// checkUnits says which units do not work now.
func (d *Daemon) checkUnits(context.Context) error {
	var errs []error
	for _, u := range d.list() {
		st, err := d.set.Get(u.Name)
		if err == nil {
			err = st.Degraded()
		}
		if err == nil {
			err = d.pipe.Fault(u.ID)
		}
		if err == nil {
			err = d.unopened(u.Name)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", u.Name, err))
		}
	}
	return errors.Join(errs...)
}

// Reload reads the configuration again and serves what it says: all or
// nothing. Pools, store and listener need a restart; that is said in the log.
func (d *Daemon) Reload(ctx context.Context) error {
	c, err := d.o.Load()
	if err != nil {
		return err
	}
	c.Data = abs(c.Data)
	changed := restartOnly(d.o.Config, c)
	if len(changed) > 0 {
		d.log.Warn("these changes need a restart", "sections", changed)
	}
	if err := d.apply(ctx, c); err != nil {
		return err
	}
	if len(changed) > 0 {
		d.log.Warn("reloaded, except: "+strings.Join(changed, ", "), "units", len(d.list()))
	} else {
		d.log.Info("reloaded", "units", len(d.list()))
	}
	return nil
}

// restartOnly names the sections that differ and that a reload cannot change.
func restartOnly(old, c *config.Config) []string {
	var l []string
	for _, x := range []struct {
		name string
		same bool
	}{
		{"data", old.Data == c.Data}, {"server", old.Server.Listen == c.Server.Listen && slices.Equal(old.Server.AllowNetworks, c.Server.AllowNetworks)}, {"log", old.Log == c.Log}, {"sandbox", old.Sandbox == c.Sandbox},
		{"store", old.Store.DSN.Equal(c.Store.DSN)}, {"bounds", old.Bounds == c.Bounds}, {"pools", slices.Equal(plain(old.Pools), plain(c.Pools))},
		{"sources", equalIn(old.Sources, c.Sources, func(s config.Source) any { return []any{s.Name, s.URL, s.Units, reveal(s.Options)} })},
		{"hooks", equalIn(old.Hooks, c.Hooks, func(h config.Hook) any { return []any{h.Name, h.Kind, h.Units, reveal(h.Options)} })},
		{"accounts.discover", equalIn(old.Accounts, c.Accounts, func(a config.Account) any { return []any{a.Name, a.URL, a.Discover, reveal(a.Options)} })},
	} {
		if !x.same {
			l = append(l, x.name)
		}
	}
	return l
}

// equalIn compares what counts in two lists, secrets as text.
func equalIn[T any](a, b []T, counts func(T) any) bool {
	return slices.EqualFunc(a, b, func(x, y T) bool { return reflect.DeepEqual(counts(x), counts(y)) })
}

// plain is pools with their secrets as text, to be compared.
func plain(pools []config.Pool) []string {
	var l []string
	for _, p := range pools {
		l = append(l, fmt.Sprintf("%s %s %s %v", p.Name, p.Failover, p.MaxDefinitionsAge, p.AgeAsked))
		for _, in := range p.Instances {
			l = append(l, fmt.Sprintf("%s %d %s %s %s %s %s", in.URL, in.Limit, in.Rule, in.APIKey.Reveal(), in.User, in.Password.Reveal(), in.CAFile))
		}
	}
	return l
}
