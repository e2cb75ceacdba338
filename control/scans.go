package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// ScanStore keeps scans.
type ScanStore interface {
	SaveWorkflow(ctx context.Context, json []byte) (ledger.Hash, error)
	Workflow(ctx context.Context, h ledger.Hash) ([]byte, error)
	StartScan(ctx context.Context, s ledger.Scan) (ledger.Scan, error)
	StopScan(ctx context.Context, id ledger.ID) (int64, error)
	RemoveScan(ctx context.Context, id ledger.ID) error
	Scan(ctx context.Context, tenant int64, id ledger.ID) (ledger.Scan, error)
	Scans(ctx context.Context, unit int64) ([]ledger.Scan, error)
	FindScans(ctx context.Context, f ledger.ScanFilter) ([]ledger.Scan, int64, error)
	ScanCounts(ctx context.Context, id ledger.ID) ([]ledger.ScanCount, error)
	Beside(ctx context.Context, s ledger.Scan) (before, after ledger.ID, err error)
}

// The states of a scan as operators see them: Stopping is one that was stopped
// and whose entries are not all finished.
const (
	ScanRunning   = "running"
	ScanCompleted = "completed"
	ScanStopped   = "stopped"
	ScanFailed    = "failed"
	ScanStopping  = "stopping"
)

// A ScanView is a scan with what it is of and what came of it.
type ScanView struct {
	ledger.Scan
	Storage     ledger.ID
	StorageName string
	Counts      []ledger.ScanCount
}

// Open counts the entries that are not finished.
func (v *ScanView) Open() (n int64) {
	for _, c := range v.Counts {
		if c.Outcome == "" {
			n += c.Entries
		}
	}
	return n
}

// A ScanRequest asks for scans. RealTime makes it one of what changes, on or off.
type ScanRequest struct {
	Storages []ledger.ID
	Workflow ledger.ID // zero = each storage's own
	Name     string
	Folder   string // of the storage; "" = all of it
	Priority int
	RealTime *RealTimeRequest
}

// A RealTimeRequest says whether a folder is to be watched.
type RealTimeRequest struct {
	Enabled   bool
	StartDate time.Time // what is older is left alone; zero = nothing is
	Events    bool
}

// Bounds of a ScanRequest.
const (
	maxStorages = 1000
	maxFolder   = 1024 // bytes
	maxPriority = 100
)

// StartScans starts a scan of each storage, or of none with an error:
// fault.Exists if one runs over the same part.
func (c *Control) StartScans(ctx context.Context, r ScanRequest) ([]ledger.ID, error) {
	return get(ctx, c, act{action: "scan.start", target: r.Name, detail: scanDetail(r)}, func(ctx context.Context, who account.Caller) ([]ledger.ID, error) {
		units, err := c.prepareScans(ctx, who, &r)
		if err != nil {
			return nil, err
		}
		var ids []ledger.ID
		for _, u := range units {
			id, err := c.startScan(ctx, who, u, r)
			if err != nil {
				return nil, errors.Join(err, c.takeBack(ctx, r, ids))
			}
			ids = append(ids, id)
		}
		c.look()
		return ids, nil
	})
}

func scanDetail(r ScanRequest) string {
	var words []string
	for _, id := range r.Storages[:min(len(r.Storages), 20)] {
		words = append(words, id.String())
	}
	if r.RealTime != nil {
		words = append(words, fmt.Sprintf("real time %t", r.RealTime.Enabled))
	}
	return strings.Join(words, " ")
}

// takeBack stops the scans that a request started before it failed.
func (c *Control) takeBack(ctx context.Context, r ScanRequest, ids []ledger.ID) (err error) {
	if r.RealTime != nil {
		return nil // what is watched by now was asked for, and stays
	}
	for _, id := range ids {
		_, serr := c.Store.StopScan(context.WithoutCancel(ctx), id)
		err = errors.Join(err, serr)
	}
	return err
}

// prepareScans checks r and finds its storages.
func (c *Control) prepareScans(ctx context.Context, who account.Caller, r *ScanRequest) (units []connectors.Unit, err error) {
	const op = "control.StartScans"
	invalid := func(words string) error { return fault.New(fault.Invalid, op, "", errors.New(words)) }
	switch {
	case len(r.Storages) == 0:
		return nil, invalid("a storage is needed")
	case len(r.Storages) > maxStorages:
		return nil, invalid("too many storages")
	case r.Priority < 0 || r.Priority > maxPriority:
		return nil, invalid(fmt.Sprintf("the priority is 0 to %d", maxPriority))
	case utf8.RuneCountInString(r.Name) > maxName || strings.ContainsAny(r.Name, "@#$%&*\"';:.|,{}?+=><~^[]!\\"):
		return nil, invalid("the name is too long or has a character that names of scans do not have")
	}
	if r.Folder, err = cleanFolder(r.Folder); err != nil {
		return nil, err
	}
	if _, err := c.flowName(ctx, who.Tenant, r.Workflow); err != nil {
		return nil, err
	}
	slices.SortFunc(r.Storages, func(a, b ledger.ID) int { return slices.Compare(a[:], b[:]) })
	for _, id := range slices.Compact(r.Storages) {
		u, err := c.storageOf(ctx, who.Tenant, id)
		if err != nil {
			return nil, err
		}
		units = append(units, u)
	}
	return units, nil
}

// cleanFolder is a folder's key: without slashes around it.
func cleanFolder(folder string) (string, error) {
	folder = strings.Trim(folder, "/")
	if folder == "" || folder == "." {
		return "", nil
	}
	if len(folder) > maxFolder || !utf8.ValidString(folder) || strings.ContainsRune(folder, 0) || path.Clean(folder) != folder || strings.HasPrefix(folder, "../") || folder == ".." {
		return "", fault.New(fault.Invalid, "control", "", errors.New("the folder is no path inside the storage"))
	}
	return folder, nil
}

// storageOf finds the storage with an id among those that there are: fault.NotFound
// also for another tenant's.
func (c *Control) storageOf(ctx context.Context, tenant int64, id ledger.ID) (connectors.Unit, error) {
	units, err := c.Store.Units(ctx)
	if err != nil {
		return connectors.Unit{}, err
	}
	for _, u := range units {
		if u.Client == id && u.Tenant == tenant && !u.Disabled && u.Name != QuarantineUnit {
			return u, nil
		}
	}
	return connectors.Unit{}, fault.New(fault.NotFound, "control", "storage", nil)
}

// flowName is the name by which the running parts know a workflow of the
// tenant's; "" for none.
func (c *Control) flowName(ctx context.Context, tenant int64, id ledger.ID) (string, error) {
	if id == (ledger.ID{}) {
		return "", nil
	}
	_, err := c.noun(ctx, tenant, ledger.Workflow, id)
	return WorkflowName(id), err
}

// startScan starts one scan of a request.
func (c *Control) startScan(ctx context.Context, who account.Caller, u connectors.Unit, r ScanRequest) (ledger.ID, error) {
	if r.RealTime != nil {
		return c.setRealTime(ctx, who, u, r)
	}
	s, err := c.newScan(ctx, who.Tenant, u, r)
	if err != nil {
		return ledger.ID{}, err
	}
	s.Type, s.By, s.ByName = ledger.Instant, who.ID, who.Name
	s, err = c.Store.StartScan(ctx, s)
	return s.ID, err
}

// newScan is the scan of u that r asks for, with the snapshot of its workflow.
func (c *Control) newScan(ctx context.Context, tenant int64, u connectors.Unit, r ScanRequest) (s ledger.Scan, err error) {
	if c.Flow == nil {
		return s, noDaemon("scan")
	}
	name, err := c.flowName(ctx, tenant, r.Workflow)
	if err != nil {
		return s, err
	}
	flow, err := c.Flow(u.Name, name)
	if err != nil {
		return s, err
	}
	data, _ := flow.Snapshot()
	s = ledger.Scan{Unit: u.ID, Partition: r.Folder, Name: r.Name, Priority: r.Priority, Flow: r.Workflow}
	s.Workflow, err = c.Store.SaveWorkflow(ctx, data)
	return s, err
}

// StopScan ends a scan: what is pending is canceled, what acts is completed. A
// RealTime scan's folder is not watched any more.
func (c *Control) StopScan(ctx context.Context, id ledger.ID) (canceled int64, err error) {
	return get(ctx, c, act{action: "scan.stop", target: id.String()}, func(ctx context.Context, who account.Caller) (int64, error) {
		s, err := c.Store.Scan(ctx, who.Tenant, id)
		if err != nil {
			return 0, err
		}
		if s.Type == ledger.RealTime && s.Ended.IsZero() {
			return c.endRealTime(ctx, who, s)
		}
		n, err := c.Store.StopScan(ctx, id)
		c.look()
		return n, err
	})
}

func (c *Control) look() {
	if c.Look != nil {
		c.Look()
	}
}

// A shownStorage is how the running parts' unit is shown.
type shownStorage struct {
	id     ledger.ID
	name   string
	vendor string
}

// shownStorages are the tenant's storages by number, those that are no longer served too.
func (c *Control) shownStorages(ctx context.Context, tenant int64) (map[int64]shownStorage, error) {
	units, err := c.Store.Units(ctx)
	if err != nil {
		return nil, err
	}
	m := map[int64]shownStorage{}
	for _, u := range units {
		if u.Tenant == tenant {
			m[u.ID] = shownStorage{id: u.Client, name: strings.TrimPrefix(u.Name, UnitName(tenant, "")), vendor: scheme(u.URL)}
		}
	}
	return m, nil
}

// scheme is the vendor that a unit's URL names.
func scheme(at string) string {
	if s, _, ok := strings.Cut(at, "://"); ok {
		return s
	}
	return "file"
}

// view adds to a scan what it is of and what came of it.
func (c *Control) view(ctx context.Context, names map[int64]shownStorage, s ledger.Scan) (v ScanView, err error) {
	v = ScanView{Scan: s, Storage: names[s.Unit].id, StorageName: names[s.Unit].name}
	v.Counts, err = c.Store.ScanCounts(ctx, s.ID)
	if v.State == ScanStopped && v.Open() > 0 {
		v.State = ScanStopping
	}
	v.Name = cmp.Or(v.Name, v.StorageName)
	return v, err
}
