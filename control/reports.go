package control

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/report"
	"github.com/landwaiter/landwaiter/workflow"
)

// A files function yields the entries of one scan that match a filter, in the
// order that they are to be shown in.
type files func(ctx context.Context, f ledger.FileFilter) iter.Seq2[ledger.Entry, error]

// Report returns what a report of a scan says, and its files, which are read as
// they are asked for. fault.NotFound if the caller has no such scan.
func (c *Control) Report(ctx context.Context, scan ledger.ID, f ledger.FileFilter) (r report.Report, list iter.Seq2[report.File, error], err error) {
	err = c.do(ctx, act{action: "report.download", target: scan.String()}, func(ctx context.Context, who account.Caller) error {
		names, err := c.names(ctx)
		if err != nil {
			return err
		}
		s, err := c.Store.Scan(ctx, who.Tenant, scan)
		if err != nil {
			return err
		}
		f.Tenant, f.Scans = who.Tenant, []ledger.ID{scan}
		r = report.Report{Time: time.Now().UTC().Truncate(time.Second), Scan: scan.String(), Name: s.Name, By: s.ByName, Storage: names[s.Unit], Folder: object.FormatKey(s.Partition), Type: scanTypeWords[s.Type],
			State: s.State, Started: s.Started, Ended: s.Ended, Filters: filterWords(f)}
		if r.Workflow, err = c.flowOf(ctx, s.Workflow); err != nil {
			return err
		}
		first := f
		first.Limit = 1
		counted, err := c.Store.Files(ctx, first)
		if err != nil {
			return err
		}
		r.Total, r.AtLeast = counted.Total, counted.AtLeast
		list = records(ctx, c.scanFiles, f, names)
		return nil
	})
	return r, list, err
}

var scanTypeWords = map[ledger.ScanType]string{ledger.Instant: "instant", ledger.Scheduled: "scheduled", ledger.RealTime: "real time"}

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
