package control

import (
	"context"
	"errors"
	"fmt"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
)

// FileStore keeps entries, which the API calls files.
type FileStore interface {
	Files(ctx context.Context, f ledger.FileFilter) (ledger.FilePage, error)
	Entry(ctx context.Context, id ledger.ID) (ledger.Entry, error)
	CancelEntry(ctx context.Context, unit int64, id ledger.ID) (bool, error)
	Intake(ctx context.Context, unit int64, batch []ledger.Arrival, c *ledger.Cursor) (ledger.Taken, error)
}

// A FileView is an entry with what it is of.
type FileView struct {
	ledger.Entry
	Storage     ledger.ID
	StorageName string
	Vendor      string // the storage's scheme
	Snapshot    []byte // of the workflow, where asked for
}

// A FileQuery selects files; nil lists do not restrict.
type FileQuery struct {
	ledger.FileFilter
	Storages  []ledger.ID
	Snapshots bool // with the workflows' snapshots
}

// Files returns a page of the caller's files.
func (c *Control) Files(ctx context.Context, q FileQuery) (list []FileView, page ledger.FilePage, err error) {
	err = c.do(ctx, act{action: "file.list"}, func(ctx context.Context, who account.Caller) error {
		names, err := c.shownStorages(ctx, who.Tenant)
		if err != nil {
			return err
		}
		q.Tenant = who.Tenant
		if q.Storages != nil {
			q.Units = []int64{}
			for _, id := range q.Storages {
				if n := number(names, id); n != 0 {
					q.Units = append(q.Units, n)
				}
			}
		}
		if page, err = c.Store.Files(ctx, q.FileFilter); err != nil {
			return err
		}
		list, err = c.fileViews(ctx, names, page.Entries, q.Snapshots)
		return err
	})
	return list, page, err
}

func (c *Control) fileViews(ctx context.Context, names map[int64]shownStorage, entries []ledger.Entry, snapshots bool) ([]FileView, error) {
	list := make([]FileView, len(entries))
	flows := map[ledger.Hash][]byte{}
	for i, e := range entries {
		list[i] = FileView{Entry: e, Storage: names[e.Unit].id, StorageName: names[e.Unit].name, Vendor: names[e.Unit].vendor}
		if !snapshots {
			continue
		}
		if _, ok := flows[e.Workflow]; !ok {
			data, err := c.Store.Workflow(ctx, e.Workflow)
			if err != nil && !fault.Is(err, fault.NotFound) {
				return nil, err
			}
			flows[e.Workflow] = data
		}
		list[i].Snapshot = flows[e.Workflow]
	}
	return list, nil
}

// ScanFiles is Files of one scan: fault.NotFound if there is no such scan.
func (c *Control) ScanFiles(ctx context.Context, scan ledger.ID, start, count int) ([]FileView, ledger.FilePage, error) {
	if _, err := c.Scan(ctx, scan); err != nil {
		return nil, ledger.FilePage{}, err
	}
	return c.Files(ctx, FileQuery{FileFilter: ledger.FileFilter{Scans: []ledger.ID{scan}, Start: start, Limit: count}})
}

// file finds an entry of the tenant's: fault.NotFound also for another tenant's,
// and for one whose scan was removed.
func (c *Control) file(ctx context.Context, tenant int64, id ledger.ID) (ledger.Entry, error) {
	e, err := c.Store.Entry(ctx, id)
	if err == nil && e.Tenant != tenant {
		err = fault.New(fault.NotFound, "control", "file", nil)
	}
	if err == nil {
		_, err = c.Store.Scan(ctx, tenant, e.Scan)
	}
	if fault.Is(err, fault.NotFound) {
		err = fault.New(fault.NotFound, "control", "file", nil)
	}
	return e, err
}

// File returns one file of the caller's.
func (c *Control) File(ctx context.Context, id ledger.ID, snapshot bool) (FileView, error) {
	return get(ctx, c, act{action: "file.list", target: id.String()}, func(ctx context.Context, who account.Caller) (v FileView, err error) {
		e, err := c.file(ctx, who.Tenant, id)
		if err != nil {
			return v, err
		}
		names, err := c.shownStorages(ctx, who.Tenant)
		if err != nil {
			return v, err
		}
		list, err := c.fileViews(ctx, names, []ledger.Entry{e}, snapshot)
		if err != nil {
			return v, err
		}
		return list[0], nil
	})
}

// A CanceledFile says what became of a request to cancel a file.
type CanceledFile struct {
	ID       ledger.ID
	Canceled bool
	Why      string // why not
}

// maxFileIDs bounds the files that one request names.
const maxFileIDs = 1000

// CancelFiles asks for the end of files that are not finished. fault.NotFound, and
// nothing is canceled, if one of them is not there.
func (c *Control) CancelFiles(ctx context.Context, ids []ledger.ID) (list []CanceledFile, err error) {
	target := ""
	if len(ids) > 0 {
		target = ids[0].String()
	}
	return get(ctx, c, act{action: "file.cancel", target: target, detail: fmt.Sprintf("%d files", len(ids))}, func(ctx context.Context, who account.Caller) ([]CanceledFile, error) {
		if len(ids) == 0 || len(ids) > maxFileIDs {
			return nil, fault.New(fault.Invalid, "control.CancelFiles", "", fmt.Errorf("1 to %d files are needed", maxFileIDs))
		}
		var found []ledger.Entry
		for _, id := range ids {
			e, err := c.file(ctx, who.Tenant, id)
			if err != nil {
				return nil, err
			}
			found = append(found, e)
		}
		for _, e := range found {
			did, err := c.Store.CancelEntry(ctx, e.Unit, e.ID)
			if err != nil {
				return list, err
			}
			f := CanceledFile{ID: e.ID, Canceled: did}
			switch {
			case did:
			case e.State == ledger.Acting:
				f.Why = "it is being acted on, which is completed"
			default:
				f.Why = "it is finished"
			}
			list = append(list, f)
		}
		return list, nil
	})
}

// RescanFile has one version of an object scanned again, in the same scan,
// whatever is known of it, with passwords for encrypted archives. fault.Exists if
// it is not finished yet, fault.Unsupported if no engine would get the passwords.
func (c *Control) RescanFile(ctx context.Context, id, scan ledger.ID, passwords []string) error {
	return c.do(ctx, act{action: "file.rescan", target: id.String()}, func(ctx context.Context, who account.Caller) error {
		e, err := c.file(ctx, who.Tenant, id)
		switch {
		case err != nil:
			return err
		case scan != e.Scan:
			return fault.New(fault.NotFound, "control", "file", errors.New("it is not in this scan"))
		case e.State != ledger.Finished:
			return fault.New(fault.Exists, "control.RescanFile", object.FormatKey(e.Key), errors.New("it is not finished yet"))
		}
		if err := c.stillThere(ctx, e); err != nil {
			return err
		}
		switch {
		case len(passwords) == 0:
		case c.Unlock == nil:
			return noDaemon("rescan")
		default:
			if err := c.Unlock(&e, passwords); err != nil {
				return err
			}
		}
		taken, err := c.Store.Intake(ctx, e.Unit, []ledger.Arrival{{Scan: e.Scan, Event: object.Event{
			Ref: object.Ref{Unit: e.UnitName, Key: e.Key, Version: e.Version}, Op: object.Look, Size: e.Size, Time: e.ModTime, Cause: "rescan " + who.Name, Force: true, Priority: e.Priority}}}, nil)
		if err == nil && taken.Inserted+taken.Folded == 0 {
			err = fault.New(fault.Changed, "control.RescanFile", object.FormatKey(e.Key), errors.New("it was changed meanwhile"))
		}
		return err
	})
}

// stillThere refuses to look again at what is not there any more: what is known of
// it would be lost for nothing.
func (c *Control) stillThere(ctx context.Context, e ledger.Entry) error {
	if c.Open == nil {
		return noDaemon("rescan")
	}
	st, err := c.Open(ctx, e.UnitName)
	if err == nil {
		_, err = st.Stat(ctx, object.Ref{Unit: e.UnitName, Key: e.Key, Version: e.Version})
	}
	if fault.Is(err, fault.NotFound, fault.Changed) {
		return fault.New(fault.Exists, "control.RescanFile", object.FormatKey(e.Key), errors.New("it is not there any more in the version that was scanned: its result stays"))
	}
	return err
}

// RevertFile puts the original back where a remedy took it away: what lies in
// quarantine. fault.Exists with the reason if there is nothing to put back.
func (c *Control) RevertFile(ctx context.Context, id ledger.ID) error {
	return c.do(ctx, act{action: "file.revert", target: id.String()}, func(ctx context.Context, who account.Caller) error {
		e, err := c.file(ctx, who.Tenant, id)
		if err != nil {
			return err
		}
		item, err := c.keptOf(ctx, e)
		if err != nil {
			return err
		}
		_, err = c.Restore(ctx, RestoreRequest{ID: item.ID.String()})
		return err
	})
}

// keptOf finds what quarantine holds of an entry.
func (c *Control) keptOf(ctx context.Context, e ledger.Entry) (found ledger.QuarantineItem, err error) {
	err = c.items(ctx, ledger.QuarantineFilter{Unit: e.Unit, State: ledger.QuarantineHeld}, func(q ledger.QuarantineItem) bool {
		if q.Entry == e.ID {
			found = q
			return false
		}
		return true
	})
	if err == nil && found.ID == (ledger.ID{}) {
		err = fault.New(fault.Exists, "control.RevertFile", object.FormatKey(e.Key), errors.New("no original of it is kept: only what is in quarantine can be put back"))
	}
	return found, err
}
