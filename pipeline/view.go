package pipeline

import (
	"context"
	"encoding/json"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/workflow"
)

// maxViews bounds the workflows that are kept of a unit beside its own: they are
// read again when they are needed.
const maxViews = 64

// under returns the unit as e's scan sees it: with the scan's workflow. A RealTime
// scan's is the one in force, another's the snapshot that it began with.
func (p *Pipeline) under(ctx context.Context, u *unit, e *ledger.Entry) (*unit, error) {
	hash := e.Workflow
	if e.ScanType == ledger.RealTime {
		for i := range u.Scans {
			if u.Scans[i].ID == e.Scan {
				hash = u.Scans[i].Workflow
			}
		}
	}
	return p.view(ctx, u, hash)
}

// view returns the unit under the workflow with the hash.
func (p *Pipeline) view(ctx context.Context, u *unit, hash ledger.Hash) (*unit, error) {
	if hash == u.Hash {
		return u, nil
	}
	u.mu.Lock()
	v := u.views[hash]
	u.mu.Unlock()
	if v != nil {
		return v, nil
	}
	flow, ok := u.Flows[hash]
	if !ok {
		data, err := p.o.Ledger.Workflow(ctx, hash)
		if err == nil {
			err = json.Unmarshal(data, &flow)
		}
		switch {
		case fault.Is(err, fault.NotFound): // what the entry names was never kept: the unit's own then
			return u, nil
		case err != nil:
			return u, &poolDown{err}
		}
	}
	v = &unit{Unit: u.Unit, running: u.running}
	v.Workflow, v.Hash = flow, hash
	u.mu.Lock()
	if u.views == nil || len(u.views) >= maxViews {
		u.views = map[ledger.Hash]*unit{}
	}
	u.views[hash] = v
	u.mu.Unlock()
	p.receiving(&flow)
	return v, nil
}

// receiving notes which units a workflow writes to.
func (p *Pipeline) receiving(w *workflow.Workflow) {
	to := map[string]bool{}
	targets(to, w)
	for _, u := range p.list() {
		if to[u.Name] {
			u.receives.Store(true)
		}
	}
}

// someReady says whether the pools of any workflow of u can take work. Entries of
// the others are given back.
func (p *Pipeline) someReady(u *unit) bool {
	if p.poolsReady(&u.Workflow) {
		return true
	}
	for _, w := range u.Flows {
		if p.poolsReady(&w) {
			return true
		}
	}
	u.mu.Lock()
	var flows []*workflow.Workflow
	for _, v := range u.views {
		flows = append(flows, &v.Workflow)
	}
	u.mu.Unlock()
	for _, w := range flows {
		if p.poolsReady(w) {
			return true
		}
	}
	return false
}
