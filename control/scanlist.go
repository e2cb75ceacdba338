package control

import (
	"context"
	"errors"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// Scan returns a scan of the caller's.
func (c *Control) Scan(ctx context.Context, id ledger.ID) (ScanView, error) {
	return get(ctx, c, act{action: "scan.list", target: id.String()}, func(ctx context.Context, who account.Caller) (v ScanView, err error) {
		s, err := c.Store.Scan(ctx, who.Tenant, id)
		if err != nil {
			return v, err
		}
		names, err := c.shownStorages(ctx, who.Tenant)
		if err != nil {
			return v, err
		}
		return c.view(ctx, names, s)
	})
}

// ActiveScan is Scan of one that runs, or whose entries are not all finished:
// fault.NotFound for others.
func (c *Control) ActiveScan(ctx context.Context, id ledger.ID) (ScanView, error) {
	v, err := c.Scan(ctx, id)
	if err == nil && v.State != ScanRunning && v.Open() == 0 {
		return v, fault.New(fault.NotFound, "control", "scan", errors.New("it is not active"))
	}
	return v, err
}

// ScanBeside is Scan with the ids of the scans of the storage before and after.
func (c *Control) ScanBeside(ctx context.Context, id ledger.ID) (v ScanView, before, after ledger.ID, err error) {
	if v, err = c.Scan(ctx, id); err != nil {
		return v, before, after, err
	}
	before, after, err = c.Store.Beside(ctx, v.Scan)
	return v, before, after, err
}

// A ScanQuery selects scans; nil lists do not restrict.
type ScanQuery struct {
	ledger.ScanFilter
	Storage ledger.ID // zero = all
	Asked   bool      // a storage was named, be it one that is not there
}

// Scans returns a page of the caller's scans and how many there are in all.
func (c *Control) Scans(ctx context.Context, q ScanQuery) (list []ScanView, total int64, err error) {
	err = c.do(ctx, act{action: "scan.list"}, func(ctx context.Context, who account.Caller) error {
		names, err := c.shownStorages(ctx, who.Tenant)
		if err != nil {
			return err
		}
		q.Tenant = who.Tenant
		if q.Asked {
			if q.Unit = number(names, q.Storage); q.Unit == 0 {
				return nil
			}
		}
		scans, n, err := c.Store.FindScans(ctx, q.ScanFilter)
		if err != nil {
			return err
		}
		total = n
		for _, s := range scans {
			v, err := c.view(ctx, names, s)
			if err != nil {
				return err
			}
			list = append(list, v)
		}
		return nil
	})
	return list, total, err
}

// number is the unit that a storage's id stands for, 0 for none.
func number(names map[int64]shownStorage, id ledger.ID) int64 {
	for n, s := range names {
		if s.id == id && id != (ledger.ID{}) {
			return n
		}
	}
	return 0
}

// StorageScans returns the scans of a storage: fault.NotFound if there is no such
// storage.
func (c *Control) StorageScans(ctx context.Context, storage ledger.ID, f ledger.ScanFilter) ([]ScanView, error) {
	return get(ctx, c, act{action: "scan.list", target: storage.String()}, func(ctx context.Context, who account.Caller) (list []ScanView, err error) {
		u, err := c.storageOf(ctx, who.Tenant, storage)
		if err != nil {
			return nil, err
		}
		f.Tenant, f.Unit = who.Tenant, u.ID
		list, _, err = c.Scans(ctx, ScanQuery{ScanFilter: f})
		return list, err
	})
}

// RemoveScans takes ended scans of a storage and their files out of the ledger;
// none named = all that ended. fault.Exists if one of those named runs.
func (c *Control) RemoveScans(ctx context.Context, storage ledger.ID, ids []ledger.ID) (removed int, err error) {
	return get(ctx, c, act{action: "scan.remove", target: storage.String()}, func(ctx context.Context, who account.Caller) (n int, err error) {
		u, err := c.storageOf(ctx, who.Tenant, storage)
		if err != nil {
			return 0, err
		}
		all := len(ids) == 0
		if all {
			if ids, err = c.endedScans(ctx, u.ID); err != nil {
				return 0, err
			}
		}
		for _, id := range ids {
			s, err := c.Store.Scan(ctx, who.Tenant, id)
			switch {
			case err != nil:
				return n, err
			case s.Unit != u.ID:
				return n, fault.New(fault.NotFound, "control", "scan", nil)
			}
			if err := c.Store.RemoveScan(ctx, id); err != nil {
				if fault.Is(err, fault.Changed) {
					err = fault.New(fault.Exists, "control", "", errors.New("the scan runs: stop it first"))
				}
				return n, err
			}
			n++
		}
		return n, nil
	})
}

func (c *Control) endedScans(ctx context.Context, unit int64) (ids []ledger.ID, err error) {
	list, err := c.Store.Scans(ctx, unit)
	for _, s := range list {
		if !s.Ended.IsZero() {
			ids = append(ids, s.ID)
		}
	}
	return ids, err
}

// WorkflowSnapshots returns the snapshots that a scan was under, as JSON.
func (c *Control) WorkflowSnapshots(ctx context.Context, scan ledger.ID) (hash ledger.Hash, data []byte, err error) {
	err = c.do(ctx, act{action: "scan.list", target: scan.String()}, func(ctx context.Context, who account.Caller) error {
		s, err := c.Store.Scan(ctx, who.Tenant, scan)
		if err != nil {
			return err
		}
		hash = s.Workflow
		data, err = c.Store.Workflow(ctx, hash)
		return err
	})
	return hash, data, err
}
