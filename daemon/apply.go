package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/pipeline"
	"github.com/landwaiter/landwaiter/workflow"
)

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
	d.units, d.index, d.waiting = served, newIndex(served), waiting
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
	if watched, ok := n.realTime[u.Name]; ok {
		for _, r := range watched {
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
