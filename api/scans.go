package api

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/workflow"
)

// A Scan is a piece of work over a storage.
type Scan struct {
	ID                 string     `json:"id" format:"uuid"`
	Name               string     `json:"name"`
	ScanType           int        `json:"scanType" enum:"0,1,2" doc:"0 instant, 1 scheduled, 2 real time."`
	ScanState          int        `json:"scanState" enum:"0,1,2,3,4" doc:"0 running, 1 completed, 2 stopped, 3 failed, 4 stopping: what acts is completed."`
	StorageID          string     `json:"storageId" format:"uuid"`
	StorageName        string     `json:"storageName"`
	Folder             string     `json:"folder" doc:"Empty is all of the storage."`
	Priority           int        `json:"priority"`
	StartTime          time.Time  `json:"startTime"`
	StopTime           *time.Time `json:"stopTime" doc:"null while it runs."`
	StartDate          *time.Time `json:"startDate,omitempty" doc:"Of a real-time scan: what is older is left alone."`
	HandlingType       *int       `json:"handlingType,omitempty" enum:"0,1" doc:"Of a real-time scan: 0 polling, 1 event based."`
	WorkflowID         string     `json:"workflowId,omitempty" doc:"The workflow that was asked for."`
	WorkflowSnapshotID string     `json:"workflowSnapshotId" doc:"The workflow as it was then."`
	UserID             string     `json:"userId,omitempty"`
	UserName           string     `json:"userName,omitempty"`
	Error              string     `json:"error,omitempty" doc:"Why it failed, or what could not be listed."`
	DiscoveryCompleted bool       `json:"discoveryCompleted" doc:"Everything is listed: totalFiles grows no more."`
	TotalFiles         int64      `json:"totalFiles"`
	ProcessedFiles     int64      `json:"processedFiles"`
	InProgressFiles    int64      `json:"inProgressFiles"`
	AllowedFiles       int64      `json:"allowedFiles"`
	BlockedFiles       int64      `json:"blockedFiles"`
	FailedFiles        int64      `json:"failedFiles"`
	CanceledFiles      int64      `json:"canceledFiles"`
	TotalSize          int64      `json:"totalSize" doc:"Bytes of the processed files."`
}

// scanStates are the states of a scan by their numbers.
var scanStates = []string{control.ScanRunning, control.ScanCompleted, control.ScanStopped, control.ScanFailed, control.ScanStopping}

func scanOf(v control.ScanView) Scan {
	s := Scan{ID: v.ID.String(), Name: v.Name, ScanType: int(v.Type), ScanState: slices.Index(scanStates, v.State), StorageID: v.Storage.String(), StorageName: v.StorageName,
		Folder: v.Partition, Priority: v.Priority, StartTime: v.Started, StopTime: timeOrNil(v.Ended), StartDate: timeOrNil(v.StartDate), WorkflowID: idOrEmpty(v.Flow),
		WorkflowSnapshotID: v.Workflow.String(), UserID: idOrEmpty(v.By), UserName: v.ByName, Error: v.Error, DiscoveryCompleted: v.Listed}
	if v.Type == ledger.RealTime {
		handling := 0
		if v.Events {
			handling = 1
		}
		s.HandlingType = &handling
	}
	for _, n := range v.Counts {
		s.TotalFiles += n.Entries
		if n.Outcome == "" {
			s.InProgressFiles += n.Entries
			continue
		}
		s.ProcessedFiles += n.Entries
		s.TotalSize += n.Bytes
		switch {
		case n.Outcome == ledger.OutcomeFailed:
			s.FailedFiles += n.Entries
		case n.Outcome == ledger.OutcomeCanceled:
			s.CanceledFiles += n.Entries
		case n.Decision == workflow.Allowed:
			s.AllowedFiles += n.Entries
		default:
			s.BlockedFiles += n.Entries
		}
	}
	return s
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func idOrEmpty(id ledger.ID) string {
	if id == (ledger.ID{}) {
		return ""
	}
	return id.String()
}

type scanID struct {
	ScanID ID `path:"scanId" doc:"The scan's id."`
}

type scanStorageID struct {
	StorageID ID `path:"storageId" doc:"The storage's id."`
}

type scanEntry struct {
	Body struct {
		Envelope
		ScanID string `json:"scanId"`
		Entry  Scan   `json:"entry"`
	}
}

func answerScan(v control.ScanView) *scanEntry {
	out := &scanEntry{}
	out.Body.Envelope, out.Body.ScanID, out.Body.Entry = done(), v.ID.String(), scanOf(v)
	return out
}

type startScan struct {
	Body struct {
		StorageID           *ID      `json:"storageId,omitempty" doc:"Deprecated: storageIds."`
		StorageIDs          []ID     `json:"storageIds,omitempty" maxItems:"1000"`
		Name                string   `json:"name,omitempty" maxLength:"255" example:"Monday morning"`
		Folder              string   `json:"folder,omitempty" maxLength:"1024" doc:"Below the storage's place; empty is all of it." example:"incoming/2026"`
		Priority            int      `json:"priority,omitempty" minimum:"0" maximum:"100" doc:"Higher first."`
		WorkflowID          *ID      `json:"workflowId,omitempty" doc:"None is the storage's own."`
		ScanConfigurationID string   `json:"scanConfigurationId,omitempty" maxLength:"64" doc:"Of the older API: not read."`
		ScanConfigDto       struct{} `json:"scanConfigDto,omitempty" doc:"Of the older API: not read."`
		RealTimeScanConfig  *struct {
			IsEnabled    bool       `json:"isEnabled"`
			StartDate    *time.Time `json:"startDate,omitempty" doc:"Files that were modified before are left alone. Without it: in object stores those of before now; where whoever writes a file also sets its time, none are."`
			HandlingType int        `json:"handlingType,omitempty" enum:"0,1" doc:"0 polling, 1 event based."`
		} `json:"realTimeScanConfig,omitempty" doc:"Watch the folder, or stop that, instead of scanning once."`
	}
}

func (in *startScan) request() control.ScanRequest {
	b := &in.Body
	r := control.ScanRequest{Name: b.Name, Folder: b.Folder, Priority: b.Priority}
	for _, id := range b.StorageIDs {
		r.Storages = append(r.Storages, id.ID)
	}
	if b.StorageID != nil {
		r.Storages = append(r.Storages, b.StorageID.ID)
	}
	if b.WorkflowID != nil {
		r.Workflow = b.WorkflowID.ID
	}
	if rt := b.RealTimeScanConfig; rt != nil {
		r.RealTime = &control.RealTimeRequest{Enabled: rt.IsEnabled, Events: rt.HandlingType == 1}
		if rt.StartDate != nil {
			r.RealTime.StartDate = *rt.StartDate
		}
	}
	return r
}

type scansStarted struct {
	Body struct {
		Envelope
		ScanID  string   `json:"scanId" doc:"The first of scanIds."`
		ScanIDs []string `json:"scanIds"`
	}
}

type scanStopped struct {
	Body struct {
		Envelope
		CanceledFiles int64 `json:"canceledFiles"`
	}
}

type scanSequence struct {
	Body struct {
		Envelope
		Entry          Scan   `json:"entry"`
		PreviousScanID string `json:"previousScanId" doc:"Of the same storage; empty if there is none."`
		NextScanID     string `json:"nextScanId"`
	}
}

type realTimeScans struct {
	Body struct {
		Envelope
		Entry      *Scan  `json:"entry" doc:"null if nothing is watched."`
		Entries    []Scan `json:"entries"`
		TotalCount int64  `json:"totalCount"`
	}
}

func (a *API) scans() {
	const tag = "Scans"
	register(a, Op{ID: "startScan", Method: "POST", Path: "/api/scan/start", Action: "scan.start", Tag: tag, Summary: "Start a scan",
		About:  "Everything in the storages or in a folder of them is listed and scanned, whatever is known of it. A scan over the same part of a storage as one that runs is refused. With realTimeScanConfig the folder is watched from now on instead, or no longer.",
		Errors: []int{404, 409}},
		func(ctx context.Context, in *startScan) (*scansStarted, error) {
			ids, err := a.c.StartScans(ctx, in.request())
			if err != nil {
				return nil, err
			}
			out := &scansStarted{}
			out.Body.Envelope = done()
			for _, id := range ids {
				out.Body.ScanIDs = append(out.Body.ScanIDs, id.String())
			}
			out.Body.ScanID = out.Body.ScanIDs[0]
			return out, nil
		})
	register(a, Op{ID: "stopScan", Method: "POST", Path: "/api/scan/stop/{scanId}", Action: "scan.stop", Tag: tag, Summary: "Stop a scan",
		About: "Files that wait are canceled; those that are acted on are completed.", Errors: []int{404, 409}},
		func(ctx context.Context, in *scanID) (*scanStopped, error) {
			out := &scanStopped{}
			var err error
			out.Body.Envelope = done()
			out.Body.CanceledFiles, err = a.c.StopScan(ctx, in.ScanID.ID)
			return out, err
		})
	register(a, Op{ID: "getScan", Method: "GET", Path: "/api/scan/{scanId}", Action: "scan.list", Tag: tag, Summary: "Get scan by ID", Errors: []int{404}},
		func(ctx context.Context, in *scanID) (*scanEntry, error) {
			v, err := a.c.Scan(ctx, in.ScanID.ID)
			return answerScan(v), err
		})
	register(a, Op{ID: "getActiveScan", Method: "GET", Path: "/api/scan/active/{scanId}", Action: "scan.list", Tag: tag, Summary: "Get an active scan by scan ID",
		About: "One that runs, or whose files are not all processed.", Errors: []int{404}},
		func(ctx context.Context, in *scanID) (*scanEntry, error) {
			v, err := a.c.ActiveScan(ctx, in.ScanID.ID)
			return answerScan(v), err
		})
	register(a, Op{ID: "getScanSequence", Method: "GET", Path: "/api/scan/sequence/{scanId}", Action: "scan.list", Tag: tag,
		Summary: "Get scan by ID with information regarding the previous and next scan", Errors: []int{404}},
		func(ctx context.Context, in *scanID) (*scanSequence, error) {
			out := &scanSequence{}
			v, before, after, err := a.c.ScanBeside(ctx, in.ScanID.ID)
			out.Body.Envelope, out.Body.Entry, out.Body.PreviousScanID, out.Body.NextScanID = done(), scanOf(v), idOrEmpty(before), idOrEmpty(after)
			return out, err
		})
	register(a, Op{ID: "lastCompletedScan", Method: "GET", Path: "/api/scan/last_completed/{storageId}", Action: "scan.list", Tag: tag, Summary: "Fetch last completed scan",
		About: "404 if none was completed.", Errors: []int{404}},
		func(ctx context.Context, in *scanStorageID) (*scanEntry, error) {
			list, err := a.c.StorageScans(ctx, in.StorageID.ID, ledger.ScanFilter{States: []string{control.ScanCompleted}, Limit: 1})
			if err == nil && len(list) == 0 {
				err = newProblem(404, "no scan of the storage was completed")
			}
			if err != nil {
				return nil, err
			}
			return answerScan(list[0]), nil
		})
	register(a, Op{ID: "realTimeScans", Method: "GET", Path: "/api/scan/realtime/{storageId}", Action: "scan.list", Tag: tag, Summary: "Get Real-Time scan by storage Id",
		About: "Those that are on, one for each folder that is watched. entry is the first.", Errors: []int{404}},
		func(ctx context.Context, in *scanStorageID) (*realTimeScans, error) {
			list, err := a.c.StorageScans(ctx, in.StorageID.ID, ledger.ScanFilter{Types: []ledger.ScanType{ledger.RealTime}, States: []string{control.ScanRunning}, Oldest: true, Limit: 1000})
			out := &realTimeScans{}
			all := listed(list, scanOf)
			out.Body.Envelope, out.Body.Entries, out.Body.TotalCount = done(), all.Body.Entries, all.Body.TotalCount
			if len(list) > 0 {
				out.Body.Entry = &all.Body.Entries[0]
			}
			return out, err
		})
	register(a, Op{ID: "deleteScans", Method: "DELETE", Path: "/api/scan/{storageId}", Action: "scan.remove", Tag: tag, Summary: "Delete scans",
		About: "The body is a list of scan ids; an empty one means all that have ended. Their files go with them.", Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			StorageID ID    `path:"storageId" doc:"The storage's id."`
			Body      *[]ID `maxItems:"1000"`
		}) (*count, error) {
			var ids []ledger.ID
			if in.Body != nil {
				for _, id := range *in.Body {
					ids = append(ids, id.ID)
				}
			}
			n, err := a.c.RemoveScans(ctx, in.StorageID.ID, ids)
			return counted(n), err
		})
	a.reports()
}

// A WorkflowSnapshot is a workflow as it was when a scan began.
type WorkflowSnapshot struct {
	ID       string          `json:"id"`
	ScanID   string          `json:"scanId" format:"uuid"`
	Name     string          `json:"name"`
	Workflow json.RawMessage `json:"workflow" doc:"All of it, as Landwaiter keeps it."`
}

func (a *API) reports() {
	register(a, Op{ID: "listReports", Method: "GET", Path: "/api/report", Action: "scan.list", Tag: "Reports", Summary: "Get scans report",
		About: "Scans that match all filters; numbers that mean nothing match nothing."},
		func(ctx context.Context, in *struct {
			StorageID  string    `query:"storageId" maxLength:"64"`
			Name       string    `query:"name" maxLength:"255" doc:"Part of the scan's name."`
			Types      []int     `query:"scanTypesFilter" maxItems:"100"`
			States     []int     `query:"scanStatesFilter" maxItems:"100" doc:"0 running, 1 completed, 2 stopped, 3 failed, 4 stopping."`
			StartDate  time.Time `query:"startDate" doc:"Started at or after."`
			EndDate    time.Time `query:"endDate" doc:"Started before."`
			Sort       int       `query:"sortDirectionFilter" minimum:"0" maximum:"1" doc:"By start: 0 the oldest first, 1 the latest first." default:"1"`
			StartIndex int       `query:"startIndex" minimum:"0" maximum:"2147483647"`
			Count      int       `query:"count" minimum:"1" maximum:"1000" default:"100"`
		}) (*entries[Scan], error) {
			q := control.ScanQuery{Asked: in.StorageID != "", ScanFilter: ledger.ScanFilter{Name: in.Name, From: in.StartDate, To: in.EndDate, Oldest: in.Sort == 0, Start: in.StartIndex, Limit: in.Count}}
			_ = q.Storage.UnmarshalText([]byte(in.StorageID)) // one that is no id is nobody's
			q.Types, q.States = scanTypes(in.Types), statesOf(in.States)
			list, total, err := a.c.Scans(ctx, q)
			out := listed(list, scanOf)
			out.Body.TotalCount = total
			return out, err
		})
	register(a, Op{ID: "workflowSnapshots", Method: "GET", Path: "/api/scanworkflowsnapshot/getAllFromScan/{scanId}", Action: "scan.list", Tag: "Workflows",
		Summary: "Get all scan workflow snapshots by scan ID", Errors: []int{404}},
		func(ctx context.Context, in *scanID) (*entries[WorkflowSnapshot], error) {
			hash, data, err := a.c.WorkflowSnapshots(ctx, in.ScanID.ID)
			if err != nil {
				return nil, err
			}
			return listed([]ledger.Hash{hash}, func(h ledger.Hash) WorkflowSnapshot {
				var w workflow.Workflow
				_ = json.Unmarshal(data, &w) // its name alone is shown of it
				return WorkflowSnapshot{ID: h.String(), ScanID: in.ScanID.String(), Name: w.Name, Workflow: data}
			}), nil
		})
}

// scanTypes turns numbers into types; one that is none selects nothing.
func scanTypes(numbers []int) (types []ledger.ScanType) {
	for _, n := range numbers {
		if n < 0 || n > int(ledger.RealTime) {
			n = 255
		}
		types = append(types, ledger.ScanType(n))
	}
	return types
}

// statesOf turns numbers into the ledger's states.
func statesOf(numbers []int) (states []string) {
	for _, n := range numbers {
		if n < 0 || n >= len(scanStates) {
			states = append(states, "none")
			continue
		}
		states = append(states, scanStates[n])
	}
	return states
}
