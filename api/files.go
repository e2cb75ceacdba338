package api

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/scan"
)

// A File is what became of one version of one object in one scan.
type File struct {
	ID                     string           `json:"id" format:"uuid"`
	ScanID                 string           `json:"scanId" format:"uuid"`
	ScanType               int              `json:"scanType" enum:"0,1,2"`
	ScanWorkflowSnapshotID string           `json:"scanWorkflowSnapshotId"`
	StorageID              string           `json:"storageId" format:"uuid"`
	StorageName            string           `json:"storageName"`
	StorageType            string           `json:"storageType" doc:"The scheme of the storage's URL." example:"s3"`
	Name                   string           `json:"name" example:"report.pdf"`
	Path                   string           `json:"path" doc:"Bytes that are no UTF-8 are shown as \\xNN." example:"2026/report.pdf"`
	Version                string           `json:"version" doc:"The vendor's name of the content."`
	Size                   int64            `json:"size" doc:"Bytes; -1 while unknown."`
	Hash                   string           `json:"hash" doc:"MD5 where it is known, else empty."`
	SHA256                 string           `json:"sha256"`
	LastModified           *time.Time       `json:"lastModified"`
	ParentID               string           `json:"parentId,omitempty"`
	DiscoveryStarted       time.Time        `json:"discoveryStarted"`
	ScanStarted            *time.Time       `json:"scanStarted"`
	ScanCompleted          *time.Time       `json:"scanCompleted"`
	ProcessingState        int              `json:"processingState" enum:"0,1,2,3" doc:"0 in progress, 1 failed, 2 canceled, 3 available."`
	Result                 int              `json:"result" enum:"0,1,2" doc:"0 allowed, 1 blocked, 2 processing."`
	Progress               FileProgress     `json:"progress"`
	ScanResult             FileScanResult   `json:"scanResult"`
	Remediations           []FileRemedy     `json:"remediations"`
	Error                  string           `json:"error,omitempty"`
	WorkflowSnapshot       *json.RawMessage `json:"workflowSnapshot,omitempty" doc:"With expand=workflow_snapshot."`
}

// A FileProgress is how far a file is, in percent.
type FileProgress struct {
	Upload int `json:"upload"`
	Scan   int `json:"scan"`
}

// A FileScanResult is what the engines said, in MetaDefender's words.
type FileScanResult struct {
	ScanResults struct {
		ScanAllResultI    int          `json:"scanAllResultI"`
		ScanAllResultA    string       `json:"scanAllResultA" example:"No Threat Detected"`
		StartTime         *time.Time   `json:"startTime"`
		TotalTime         int64        `json:"totalTime" doc:"Milliseconds."`
		TotalAvs          int          `json:"totalAvs"`
		TotalDetectedAvs  int          `json:"totalDetectedAvs"`
		ProgressPercent   int          `json:"progressPercentage"`
		DataID            string       `json:"dataId" doc:"The engine's own id of the job."`
		ScanDetails       []FileEngine `json:"scanDetails"`
		Vulnerabilities   int          `json:"vulnerabilityCount"`
		SensitiveFindings int          `json:"dlpCount"`
	} `json:"scanResults"`
	ProcessInfo struct {
		Result        string `json:"result" enum:"Allowed,Blocked,Processing"`
		BlockedReason string `json:"blockedReason"`
		Reason        string `json:"reason" doc:"Why it was not scanned, where it was not."`
		Profile       string `json:"profile" doc:"The engine that answered."`
		DecidedBy     string `json:"decidedBy,omitempty"`
	} `json:"processInfo"`
}

// A FileEngine is what one engine said.
type FileEngine struct {
	EngineName  string     `json:"engineName"`
	ThreatFound string     `json:"threatFound"`
	ScanResultI int        `json:"scanResultI"`
	DefTime     *time.Time `json:"defTime"`
}

// A FileRemedy is what was done about a file.
type FileRemedy struct {
	Type   int    `json:"type"`
	Name   string `json:"name" example:"BlockedMoved"`
	State  string `json:"state" example:"Applied"`
	Detail string `json:"detail,omitempty"`
}

var fileResults = [...]string{"Allowed", "Blocked", "Processing"}

func fileOf(v control.FileView) File {
	f := File{ID: v.ID.String(), ScanID: v.Scan.String(), ScanType: int(v.ScanType), ScanWorkflowSnapshotID: v.Workflow.String(), StorageID: v.Storage.String(),
		StorageName: v.StorageName, StorageType: v.Vendor, Name: object.FormatKey(object.Base(v.Key)), Path: object.FormatKey(v.Key), Version: v.Version, Size: v.Size,
		Hash: hex.EncodeToString(v.MD5), SHA256: hex.EncodeToString(v.SHA256), LastModified: timeOrNil(v.ModTime), ParentID: idOrEmpty(v.Parent),
		DiscoveryStarted: v.Discovered, ScanStarted: timeOrNil(v.Started), ScanCompleted: timeOrNil(v.Finished),
		ProcessingState: int(v.Processing()), Result: int(v.Result()), ScanResult: resultOf(v), Remediations: []FileRemedy{}, Error: object.FormatKey(v.Error)}
	switch {
	case v.State == ledger.Finished:
		f.Progress = FileProgress{Upload: 100, Scan: 100}
	case v.State == ledger.Acting:
		f.Progress = FileProgress{Upload: 100, Scan: 100}
	}
	for _, r := range v.Remedies() {
		f.Remediations = append(f.Remediations, FileRemedy{Type: int(r), Name: r.String(), State: "Applied"})
	}
	for _, s := range v.Plan {
		if s.State == "refused" || s.State == "failed" {
			f.Remediations = append(f.Remediations, FileRemedy{Type: -1, Name: s.String(), State: map[string]string{"refused": "Refused", "failed": "Failed"}[string(s.State)], Detail: object.FormatKey(s.Detail)})
		}
	}
	if v.Snapshot != nil {
		raw := json.RawMessage(v.Snapshot)
		f.WorkflowSnapshot = &raw
	}
	return f
}

func resultOf(v control.FileView) (r FileScanResult) {
	s, p := &r.ScanResults, &r.ProcessInfo
	s.ScanAllResultI = v.ResultCode()
	s.ScanAllResultA, s.StartTime, s.TotalAvs, s.ScanDetails = scan.CodeName(s.ScanAllResultI), timeOrNil(v.Started), v.Engines, []FileEngine{}
	p.Result, p.Reason, p.Profile, p.DecidedBy = fileResults[v.Result()], string(v.Reason), v.Engine, v.By
	if v.State != ledger.Finished {
		return r
	}
	s.ProgressPercent, s.TotalTime = 100, max(0, v.Finished.Sub(v.Started).Milliseconds())
	rep := v.Report
	if rep == nil {
		return r
	}
	s.TotalDetectedAvs, s.DataID, s.Vulnerabilities, s.SensitiveFindings, p.BlockedReason = rep.Detected, rep.JobID, rep.Vulnerabilities, rep.Sensitive, rep.Blocked
	for _, d := range rep.Details {
		s.ScanDetails = append(s.ScanDetails, FileEngine{EngineName: d.Engine, ThreatFound: object.FormatKey(d.Threat), ScanResultI: scan.Code(d.Verdict, ""), DefTime: timeOrNil(d.Defined)})
	}
	if len(rep.Details) == 0 && v.Threat != "" {
		s.ScanDetails = append(s.ScanDetails, FileEngine{EngineName: v.Engine, ThreatFound: object.FormatKey(v.Threat), ScanResultI: s.ScanAllResultI, DefTime: timeOrNil(rep.DefinedAt)})
	}
	return r
}

type fileList struct {
	Body struct {
		Envelope
		Entries    []File `json:"entries"`
		TotalCount int64  `json:"totalCount" doc:"How many match."`
		AtLeast    bool   `json:"totalCountIsMinimum" doc:"There are more than totalCount: they were not all counted."`
	}
}

func listedFiles(list []control.FileView, page ledger.FilePage) *fileList {
	out := &fileList{}
	out.Body.Envelope, out.Body.Entries, out.Body.TotalCount, out.Body.AtLeast = done(), listed(list, fileOf).Body.Entries, page.Total, page.AtLeast
	return out
}

// oneFile is a file as the product documents it, bare; entry is the same, where
// the other operations have it. result is the file's.
type oneFile struct {
	Body struct {
		File
		ResponseKey     string `json:"responseKey"`
		ResponseMessage string `json:"responseMessage"`
		Entry           File   `json:"entry"`
	}
}

type fileID struct {
	FileID ID `path:"fileId" doc:"The file's id."`
}

func (a *API) files() {
	const tag = "Files"
	register(a, Op{ID: "listFiles", Method: "GET", Path: "/api/file", Action: "file.list", Tag: tag, Summary: "Enumerate processed files",
		About: "Files that match all filters; a list is an or, separated by commas. A number that means nothing matches nothing. sortOrder goes with sortBy by its place."},
		func(ctx context.Context, in *FileFilter) (*fileList, error) {
			q, err := in.query()
			if err != nil {
				return nil, err
			}
			list, page, err := a.c.Files(ctx, q)
			return listedFiles(list, page), err
		})
	register(a, Op{ID: "listScanFiles", Method: "GET", Path: "/api/file/{scanId}/{startIndex}/{count}", Action: "file.list", Tag: tag, Summary: "Enumerate processed files of a scan", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			ScanID     ID  `path:"scanId"`
			StartIndex int `path:"startIndex" minimum:"0" maximum:"2147483647"`
			Count      int `path:"count" minimum:"1" maximum:"10000"`
		}) (*fileList, error) {
			list, page, err := a.c.ScanFiles(ctx, in.ScanID.ID, in.StartIndex, in.Count)
			return listedFiles(list, page), err
		})
	register(a, Op{ID: "getFile", Method: "GET", Path: "/api/file/{fileId}", Action: "file.list", Tag: tag, Summary: "Fetch processing results for a file",
		About: "Processing goes on after what started it: ask again until processingState is not 0.", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			FileID ID       `path:"fileId" doc:"The file's id."`
			Expand []string `query:"expand" maxItems:"10" doc:"workflow_snapshot"`
		}) (*oneFile, error) {
			v, err := a.c.File(ctx, in.FileID.ID, expands(in.Expand))
			out := &oneFile{}
			out.Body.File = fileOf(v)
			out.Body.Entry, out.Body.ResponseKey, out.Body.ResponseMessage = out.Body.File, done().ResponseKey, done().ResponseMessage
			return out, err
		})
	a.fileChanges(tag)
	a.archives(tag)
}
