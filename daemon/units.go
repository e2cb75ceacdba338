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
	"github.com/landwaiter/landwaiter/workflow"
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
	}), d.apart(c.Units)
}

// pushed says whether a source or hook names the unit. One that names none may
// or may not hear of it.
func pushed(c *config.Config, unit string) bool {
	return slices.ContainsFunc(c.Sources, func(s config.Source) bool { return slices.Contains(s.Units, unit) }) ||
		slices.ContainsFunc(c.Hooks, func(h config.Hook) bool { return slices.Contains(h.Units, unit) })
}

func orDefault(name string) string {
	if name == "" {
		return "default"
	}
	return name
}

// indexed is the index of the units that are served.
func (d *Daemon) indexed() *index {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.index
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
