package control

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/report"
	"github.com/landwaiter/landwaiter/workflow"
)

// ReportStore is what reports are made of.
type ReportStore interface {
	Scans(ctx context.Context, unit int64) ([]ledger.Scan, error)
	Workflow(ctx context.Context, h ledger.Hash) ([]byte, error)
}

// A files function yields the entries of one scan that match a filter, in the
// order that they are to be shown in.
type files func(ctx context.Context, f ledger.FileFilter) iter.Seq2[ledger.Entry, error]

// Report returns what a report of a scan says, and its files, which are read as
// they are asked for. fault.NotFound if the caller has no such scan.
func (c *Control) Report(ctx context.Context, scan ledger.ID, f ledger.FileFilter) (r report.Report, list iter.Seq2[report.File, error], err error) {
	err = c.do(ctx, act{action: "report.download", target: scan.String()}, func(ctx context.Context, _ account.Caller) error {
		names, err := c.names(ctx)
		if err != nil {
			return err
		}
		s, err := c.reported(ctx, names, scan)
		if err != nil {
			return err
		}
		f.Scans, f.Units = []ledger.ID{scan}, []int64{s.Unit}
		r = report.Report{Time: time.Now().UTC().Truncate(time.Second), Scan: scan.String(), Storage: names[s.Unit], Folder: object.FormatKey(s.Partition), Type: scanTypeWords[s.Type],
			State: s.State, Started: s.Started, Ended: s.Ended, Filters: filterWords(f)}
		if r.Workflow, err = c.flowOf(ctx, s.Workflow); err != nil {
			return err
		}
		list = records(ctx, c.scanFiles, f, names)
		return nil
	})
	return r, list, err
}

var scanTypeWords = map[ledger.ScanType]string{ledger.Instant: "instant", ledger.Scheduled: "scheduled", ledger.RealTime: "real time"}

// reported finds a scan of a unit of the caller's.
func (c *Control) reported(ctx context.Context, names map[int64]string, id ledger.ID) (ledger.Scan, error) {
	list, err := c.Store.Scans(ctx, 0)
	if err != nil {
		return ledger.Scan{}, err
	}
	for _, s := range list {
		if _, mine := names[s.Unit]; mine && s.ID == id {
			return s, nil
		}
	}
	return ledger.Scan{}, fault.New(fault.NotFound, "control.Report", "", errors.New("there is no such scan"))
}

// flowOf is the name that a workflow had.
func (c *Control) flowOf(ctx context.Context, h ledger.Hash) (string, error) {
	data, err := c.Store.Workflow(ctx, h)
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			return "", nil // nothing refers to it any more
		}
		return "", err
	}
	var w workflow.Workflow
	if err := json.Unmarshal(data, &w); err != nil {
		return "", fault.New(fault.Internal, "control.Report", "workflow", err)
	}
	return w.Name, nil
}

// records shows entries under the caller's names of their units.
func records(ctx context.Context, from files, f ledger.FileFilter, names map[int64]string) iter.Seq2[report.File, error] {
	return func(yield func(report.File, error) bool) {
		for e, err := range from(ctx, f) {
			if err != nil {
				yield(report.File{}, err)
				return
			}
			name, mine := names[e.Unit]
			if !mine {
				continue
			}
			e.UnitName = name
			if !yield(e.Record(), nil) {
				return
			}
		}
	}
}
