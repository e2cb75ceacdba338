package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// setRealTime makes a folder of a storage watched, or ends that. A second request
// for a folder changes the first.
func (c *Control) setRealTime(ctx context.Context, who account.Caller, u connectors.Unit, r ScanRequest) (id ledger.ID, err error) {
	n, err := c.own(ctx, who.Tenant, ledger.Unit, u.Client)
	if fault.Is(err, fault.NotFound) { // it stands in the file, and nowhere else
		err = fault.New(fault.Denied, "control", u.Name, errManaged)
	}
	if err != nil {
		return id, err
	}
	body, err := decode[UnitBody](n)
	if err != nil {
		return id, err
	}
	before, err := c.realTimeScan(ctx, u.ID, r.Folder)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return id, err
	}
	r.RealTime.StartDate = since(r.RealTime.StartDate, body.RealTime, r.Folder, u.URL)
	body.RealTime = slices.DeleteFunc(body.RealTime, func(rt RealTime) bool { return rt.Folder == r.Folder })
	if r.RealTime.Enabled {
		if over := slices.IndexFunc(body.RealTime, func(rt RealTime) bool { return ledger.Overlap(rt.Folder, r.Folder) }); over >= 0 {
			return id, fault.New(fault.Exists, "control", u.Name, fmt.Errorf("the folder %q, which has keys in common with it, is watched", body.RealTime[over].Folder))
		}
		body.RealTime = append(body.RealTime, RealTime{Name: r.Name, Folder: r.Folder, Workflow: r.Workflow, Priority: r.Priority, Events: r.RealTime.Events,
			StartDate: r.RealTime.StartDate.UTC(), By: who.ID, ByName: who.Name})
	} else if before.ID == (ledger.ID{}) || !before.Ended.IsZero() {
		return id, fault.New(fault.NotFound, "control", u.Name, errors.New("nothing is watched there"))
	}
	if err := encode(&n, body); err != nil {
		return id, err
	}
	if _, err := c.setNoun(ctx, n); err != nil {
		return id, err
	}
	now, err := c.realTimeScan(ctx, u.ID, r.Folder)
	return now.ID, err
}

// since is from when on a folder is watched where a request says nothing: as it was
// watched, or else from now on. Where whoever writes a file sets its time too, that
// would be a way past us, so there everything counts.
func since(asked time.Time, watched []RealTime, folder, at string) time.Time {
	if !asked.IsZero() {
		return asked
	}
	for _, rt := range watched {
		if rt.Folder == folder {
			return rt.StartDate
		}
	}
	if s := scheme(at); s == "file" || s == "smb" {
		return time.Time{}
	}
	return time.Now()
}

// realTimeScan is the RealTime scan of a folder of a unit.
func (c *Control) realTimeScan(ctx context.Context, unit int64, folder string) (ledger.Scan, error) {
	list, err := c.Store.Scans(ctx, unit)
	if err != nil {
		return ledger.Scan{}, err
	}
	for _, s := range list {
		if s.Type == ledger.RealTime && s.Partition == folder {
			return s, nil
		}
	}
	return ledger.Scan{}, fault.New(fault.NotFound, "control", "scan", nil)
}

// endRealTime takes a RealTime scan out of its storage and cancels what waits.
func (c *Control) endRealTime(ctx context.Context, who account.Caller, s ledger.Scan) (int64, error) {
	names, err := c.shownStorages(ctx, who.Tenant)
	if err != nil {
		return 0, err
	}
	n, err := c.own(ctx, who.Tenant, ledger.Unit, names[s.Unit].id)
	if fault.Is(err, fault.NotFound) {
		err = fault.New(fault.Denied, "control", names[s.Unit].name, errManaged)
	}
	if err != nil {
		return 0, err
	}
	body, err := decode[UnitBody](n)
	if err != nil {
		return 0, err
	}
	body.RealTime = slices.DeleteFunc(body.RealTime, func(rt RealTime) bool { return rt.Folder == s.Partition })
	if err := encode(&n, body); err != nil {
		return 0, err
	}
	canceled, err := c.Store.StopScan(ctx, s.ID)
	if err != nil {
		return 0, err
	}
	_, err = c.setNoun(ctx, n)
	return canceled, err
}
