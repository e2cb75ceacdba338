package daemon

import (
	"context"
	"errors"
	"reflect"

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
	n, err := d.readNouns(ctx, c)
	if err != nil {
		return err
	}
	engines, err := d.pools.open(ctx, append(filePools(c), n.pools...))
	if err != nil {
		return err
	}
	used := false
	err = d.serve(ctx, c, n, func() {
		used = true
		d.pools.use(engines)
		d.pipe.SetPools(d.pools.scanners())
	})
	if !used {
		err = errors.Join(err, engines.close())
	}
	return err
}

// serve is applyLocked for the units. It calls commit when nothing can keep them
// from being served any more, and before they are.
func (d *Daemon) serve(ctx context.Context, c *config.Config, n *nouns, commit func()) error {
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
	commit()
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
	d.units, d.index, d.waiting, d.flows, d.filed = served, newIndex(served), waiting, flowsOf(c, n), n.file
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
		if !w.same || before.Hash != pu.Hash || !reflect.DeepEqual(before.Scans, pu.Scans) {
			d.pipe.Serve(pu)
		}
	}
	ids := map[int64]bool{}
	for _, u := range served {
		ids[u.ID] = true
	}
	for name, u := range old {
		if _, stays := served[name]; stays {
			continue
		}
		if !ids[u.ID] { // it has another name now
			d.pipe.Drop(u.ID)
		}
		d.set.Drop(name)
	}
	return errors.Join(errs...)
}

func samePlace(a, b connectors.Unit) bool {
	rootA, pathA := connectors.Place(a)
	rootB, pathB := connectors.Place(b)
	return rootA == rootB && pathA == pathB
}

// disableOthers disables the units that the configuration file or an operator
// named once and does not name any more: what is known of them stays.
func (d *Daemon) disableOthers(ctx context.Context, served map[string]pipeline.Unit) error {
	known, err := d.db.Units(ctx)
	if err != nil {
		return err
	}
	for _, u := range known {
		if _, ok := served[u.Name]; ok || u.Disabled {
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
	pu := pipeline.Unit{Unit: u, Workflow: w, Hash: hash, Flows: map[ledger.Hash]workflow.Workflow{}}
	return pu, d.enterScans(ctx, &pu, n)
}
