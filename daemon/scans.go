package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/pipeline"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/store"
	"github.com/landwaiter/landwaiter/workflow"
)

// enterScans writes the RealTime scans of pu into the ledger, and ends those that
// there were of other folders. A unit of the configuration file has one for each
// of its partitions, one of the operators those that they asked for.
func (d *Daemon) enterScans(ctx context.Context, pu *pipeline.Unit, n *nouns) error {
	want := []ledger.Scan{}
	if asked, ok := n.realTime[pu.Name]; ok {
		for _, r := range asked {
			s, err := d.realTime(ctx, pu, r, n)
			if err != nil {
				return err
			}
			want = append(want, s)
		}
	} else {
		for _, part := range append(slices.Clone(pu.Partitions), "")[:max(1, len(pu.Partitions))] {
			want = append(want, ledger.Scan{Partition: part, Workflow: pu.Hash})
		}
	}
	for _, s := range want {
		s.Unit = pu.ID
		entered, err := d.db.EnsureScan(ctx, s)
		if err != nil {
			return err
		}
		pu.Scans = append(pu.Scans, entered)
	}
	return d.endOthers(ctx, pu)
}

// realTime turns what an operator asked for into a scan.
func (d *Daemon) realTime(ctx context.Context, pu *pipeline.Unit, r control.RealTime, n *nouns) (ledger.Scan, error) {
	s := ledger.Scan{Partition: r.Folder, Workflow: pu.Hash, StartDate: r.StartDate, Name: r.Name, Priority: r.Priority, By: r.By, ByName: r.ByName, Events: r.Events}
	if r.Workflow == (ledger.ID{}) {
		return s, nil
	}
	name, err := n.flow(ctx, d, max(pu.Tenant, account.DefaultTenant), r.Workflow)
	flow, ok := n.workflows[name]
	if err != nil || !ok {
		d.log.Error("a RealTime scan's workflow is not there: the storage's own is used", "unit", pu.Name, "workflow", r.Workflow)
		return s, nil
	}
	data, _ := flow.Snapshot()
	hash, err := d.db.SaveWorkflow(ctx, data)
	s.Workflow, s.Flow = hash, r.Workflow
	pu.Flows[hash] = flow
	return s, err
}

// endOthers ends the RealTime scans of folders that are not watched any more.
// What they have found is finished.
func (d *Daemon) endOthers(ctx context.Context, pu *pipeline.Unit) error {
	scans, err := d.db.Scans(ctx, pu.ID)
	if err != nil {
		return err
	}
	for _, s := range scans {
		if s.Type != ledger.RealTime || !s.Ended.IsZero() || slices.ContainsFunc(pu.Scans, func(w ledger.Scan) bool { return w.ID == s.ID }) {
			continue
		}
		if err := d.db.EndScan(ctx, s.ID, store.ScanStopped); err != nil {
			return err
		}
	}
	return nil
}

// flowsOf are the workflows that scans may be under, by name.
func flowsOf(c *config.Config, n *nouns) map[string]workflow.Workflow {
	flows, err := workflows(c)
	if err != nil { // it was applied: it has none
		return n.workflows
	}
	maps.Copy(flows, n.workflows)
	return flows
}

// flow is the workflow of a name, or for "" the one of the unit.
func (d *Daemon) flow(unit, name string) (workflow.Workflow, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	u, served := d.units[unit]
	if !served {
		return workflow.Workflow{}, fault.New(fault.Unavailable, "daemon.Flow", "", errors.New("the storage is not served now"))
	}
	if name == "" {
		return u.Workflow, nil
	}
	flow, ok := d.flows[name]
	if !ok {
		return flow, fault.New(fault.NotFound, "daemon.Flow", "workflow", nil)
	}
	return flow, nil
}

// scheduleLook is the longest between two looks at the schedules.
const scheduleLook = 15 * time.Second

// schedules begins scheduled scans when they are due.
func (d *Daemon) schedules(ctx context.Context) error {
	for {
		now := time.Now()
		next, err := d.control.RunSchedules(ctx, now)
		if err != nil && ctx.Err() == nil {
			d.log.Error("schedules", "err", err)
		}
		wait := scheduleLook
		if !next.IsZero() {
			wait = min(wait, max(next.Sub(now), time.Second))
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// unlock hands passwords to the engines that e's workflow asks. Only MetaDefender
// Core takes any.
func (d *Daemon) unlock(e *ledger.Entry, passwords []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), checkWithin)
	defer cancel()
	data, err := d.db.Workflow(ctx, e.Workflow)
	if err != nil {
		return err
	}
	var flow workflow.Workflow
	if err := json.Unmarshal(data, &flow); err != nil {
		return fault.New(fault.Corrupt, "daemon.Unlock", "workflow", err)
	}
	asked := flow.Pools
	if len(asked) == 0 {
		asked = []string{"default"}
	}
	for _, p := range d.pools.Status() {
		if slices.Contains(asked, p.Name) && slices.ContainsFunc(p.Instances, func(in scan.InstanceStatus) bool { return strings.HasPrefix(in.URL, "mdcore") }) {
			return d.pipe.Unlock(e, passwords)
		}
	}
	return fault.New(fault.Unsupported, "daemon.Unlock", "", errors.New("no engine of its workflow takes passwords: MetaDefender Core does"))
}
