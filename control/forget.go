package control

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// How long a removed storage's entries that are in work have to come to an end.
const (
	retireWithin = 5 * time.Second
	retireEvery  = 50 * time.Millisecond
)

// RemoveStorage takes a storage out of use: what is known of its objects stays in
// the ledger, what is pending is canceled. fault.Exists while a scan of it runs,
// unless force, which stops them.
func (c *Control) RemoveStorage(ctx context.Context, id ledger.ID, force bool) error {
	detail := ""
	if force {
		detail = "forced"
	}
	return c.do(ctx, act{action: "storage.remove", target: id.String(), detail: detail}, func(ctx context.Context, who account.Caller) error {
		n, err := c.ownStorage(ctx, who.Tenant, id)
		if err != nil {
			return err
		}
		units, err := c.Store.Units(ctx)
		if err != nil {
			return err
		}
		var u connectors.Unit // none if it was never served
		if i := slices.IndexFunc(units, func(u connectors.Unit) bool { return u.Client == id }); i >= 0 {
			u = units[i]
		}
		if !force && u.ID != 0 {
			scans, err := c.Store.Scans(ctx, u.ID)
			if err != nil {
				return err
			}
			for _, s := range scans {
				if s.Ended.IsZero() {
					return fault.New(fault.Exists, "control.RemoveStorage", n.Name, errors.New("a scan of it runs: stop it, or say forceDelete"))
				}
			}
		}
		if err := c.unused(ctx, n, ledger.Workflow); err != nil { // as a remediation's destination
			return err
		}
		if err := c.calm(ctx, u.ID); err != nil && !force {
			return err
		}
		if err := c.removeNoun(ctx, n); err != nil {
			return err
		}
		ctx = context.WithoutCancel(ctx) // it is removed: the rest belongs to that
		err = errors.Join(c.dropChecklist(ctx, who.Tenant, id), c.dropSchedules(ctx, who.Tenant, id))
		if u.ID != 0 {
			err = errors.Join(err, c.endScans(ctx, u.ID), c.retire(ctx, u.ID))
		}
		return err
	})
}

// calm waits, within a bound, until no plan for an object of the unit is being
// carried out: what was begun is finished while somebody can. fault.Unavailable
// if one still is then.
func (c *Control) calm(ctx context.Context, unit int64) error {
	for end := time.Now().Add(retireWithin); ; time.Sleep(retireEvery) {
		n, err := c.Store.Acting(ctx, unit)
		if err != nil || n == 0 {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(end) {
			return &fault.Error{Op: "control.RemoveStorage", Kind: fault.Unavailable, After: retireWithin, Err: errors.New("an action on one of its objects is under way: try again, or say forceDelete")}
		}
	}
}

// retire waits, within a bound, until nothing of a unit is in work. What still is
// then was asked to end, and does when its worker comes to it.
func (c *Control) retire(ctx context.Context, unit int64) error {
	for end := time.Now().Add(retireWithin); ; time.Sleep(retireEvery) {
		left, err := c.Store.RetireUnit(ctx, unit)
		if err != nil || left == 0 || time.Now().After(end) {
			return err
		}
	}
}

// dropSchedules forgets the schedules of a storage that is gone.
func (c *Control) dropSchedules(ctx context.Context, tenant int64, storage ledger.ID) error {
	list, err := c.Store.Nouns(ctx, tenant, ledger.Schedule)
	for _, n := range list {
		if n.Parent == storage {
			if derr := c.Store.DeleteNoun(ctx, tenant, ledger.Schedule, n.ID); !fault.Is(derr, fault.NotFound) {
				err = errors.Join(err, derr)
			}
		}
	}
	return err
}

// endScans stops the scans of a unit that is gone: nothing would list for them.
func (c *Control) endScans(ctx context.Context, unit int64) error {
	scans, err := c.Store.Scans(ctx, unit)
	for _, s := range scans {
		if s.Type != ledger.RealTime && s.Ended.IsZero() {
			if _, serr := c.Store.StopScan(ctx, s.ID); !fault.Is(serr, fault.Stale, fault.NotFound) {
				err = errors.Join(err, serr)
			}
		}
	}
	c.look()
	return err
}
