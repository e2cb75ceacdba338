package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/pipeline"
	"github.com/landwaiter/landwaiter/workflow"
)

// Sweep intervals by kind of unit, where the configuration says nothing.
const (
	sweepLocal  = 10 * time.Minute
	sweepPolled = time.Minute
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
func (d *Daemon) unitsOf(c *config.Config) ([]connectors.Unit, error) {
	var units []connectors.Unit
	for _, u := range c.Units {
		if u.Name == control.QuarantineUnit {
			return nil, fault.New(fault.Invalid, "daemon.Units", u.Name, errors.New("this name is taken by the quarantine itself"))
		}
		o := map[string]string{}
		for k, s := range u.Options {
			o[k] = s.Reveal()
		}
		cu := connectors.Unit{Name: u.Name, URL: u.URL, Workflow: u.Workflow, Partitions: u.Partitions, Options: o, SweepEvery: u.Sweep,
			Settle: u.Settle, SettleMax: u.SettleMax, Versions: u.Versions, Unfenced: u.Unfenced, Probe: u.Probe, ReadOnly: u.ReadOnly,
			Rate: u.Rate, Managed: true, Exclude: []string{abs(c.Data), d.quarantineDir()}}
		if cu.SweepEvery == 0 {
			cu.SweepEvery = sweepPolled
			if !strings.Contains(u.URL, "://") || strings.HasPrefix(u.URL, "file:") {
				cu.SweepEvery = sweepLocal
			}
		}
		units = append(units, cu)
	}
	if err := connectors.Overlap(units); err != nil {
		return nil, err
	}
	return units, nil
}

// serveUnits makes the ledger and the pipeline serve exactly the units of c.
// A unit that cannot be opened now is served all the same: its entries wait.
func (d *Daemon) serveUnits(ctx context.Context, c *config.Config) error {
	flows, err := workflows(c)
	if err != nil {
		return err
	}
	units, err := d.unitsOf(c)
	if err != nil {
		return err
	}
	served := map[string]connectors.Unit{}
	for _, u := range units {
		w, ok := flows[orDefault(u.Workflow)]
		if !ok {
			return fault.New(fault.Invalid, "daemon.Units", u.Name, fmt.Errorf("there is no workflow %q", u.Workflow))
		}
		pu, err := d.enter(ctx, u, w)
		if err != nil {
			return err
		}
		u.ID = pu.ID
		if err := d.set.Open(ctx, pu.Unit, d.open); err != nil {
			if !retry(err) {
				return err
			}
			d.log.Error("unit cannot be opened: its entries wait, it is tried again", "unit", u.Name, "err", err)
		}
		d.pipe.Serve(pu)
		served[u.Name] = pu.Unit
	}
	d.mu.Lock()
	old := d.units
	d.units, d.config = served, c
	d.mu.Unlock()
	for name, u := range old {
		if _, stays := served[name]; !stays {
			d.pipe.Drop(u.ID)
			d.set.Drop(name)
		}
	}
	return d.disableOthers(ctx, served)
}

// disableOthers disables the units that a configuration file named once and
// does not name any more: what is known of them stays.
func (d *Daemon) disableOthers(ctx context.Context, served map[string]connectors.Unit) error {
	all, err := d.db.Units(ctx)
	if err != nil {
		return err
	}
	for _, u := range all {
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

// retry says whether opening a unit again may succeed: not where the
// configuration itself is wrong.
func retry(err error) bool { return !fault.Is(err, fault.Invalid, fault.Unsupported, fault.Internal) }

// enter writes the unit, its workflow and its RealTime scans into the ledger.
func (d *Daemon) enter(ctx context.Context, u connectors.Unit, w workflow.Workflow) (pipeline.Unit, error) {
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
	wait := time.Second
	for {
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
		failed := false
		for _, u := range d.list() {
			if _, err := d.set.Get(u.Name); err == nil {
				continue
			}
			if err := d.set.Open(ctx, u, d.open); err != nil {
				failed = true
				continue
			}
			d.log.Info("unit is open", "unit", u.Name)
			d.pipe.Sweep(u.ID, "")
		}
		wait = 5 * time.Second
		if failed {
			wait = 2 * time.Second
		}
	}
}

func (d *Daemon) list() []connectors.Unit {
	d.mu.Lock()
	defer d.mu.Unlock()
	var l []connectors.Unit
	for _, u := range d.units {
		l = append(l, u)
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
	if _, err := workflows(c); err != nil {
		return err
	}
	if _, err := d.unitsOf(c); err != nil {
		return err
	}
	d.mu.Lock()
	old := d.config
	d.mu.Unlock()
	if changed := restartOnly(old, c); len(changed) > 0 {
		d.log.Warn("these changes need a restart", "sections", changed)
	}
	return d.serveUnits(ctx, c)
}

// restartOnly names the sections that differ and that a reload cannot change.
func restartOnly(old, c *config.Config) []string {
	var l []string
	for _, x := range []struct {
		name string
		same bool
	}{
		{"data", old.Data == c.Data}, {"server", old.Server == c.Server}, {"log", old.Log == c.Log}, {"sandbox", old.Sandbox == c.Sandbox},
		{"store", old.Store.DSN.Equal(c.Store.DSN)}, {"bounds", old.Bounds == c.Bounds}, {"pools", slices.Equal(plain(old.Pools), plain(c.Pools))},
	} {
		if !x.same {
			l = append(l, x.name)
		}
	}
	return l
}

// plain is pools with their secrets as text, to be compared.
func plain(pools []config.Pool) []string {
	var l []string
	for _, p := range pools {
		l = append(l, fmt.Sprintf("%s %s %s", p.Name, p.Failover, p.MaxDefinitionsAge))
		for _, in := range p.Instances {
			l = append(l, fmt.Sprintf("%s %d %s %s %s %s %s", in.URL, in.Limit, in.Rule, in.APIKey.Reveal(), in.User, in.Password.Reveal(), in.CAFile))
		}
	}
	return l
}
