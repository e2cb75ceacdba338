package api

import (
	"context"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/scan"
)

// expandSnapshot is what expand may name.
const expandSnapshot = "workflow_snapshot"

func expands(words []string) bool {
	for _, w := range words {
		if strings.EqualFold(w, expandSnapshot) {
			return true
		}
	}
	return false
}

// A FileFilter is the query of a list of files.
type FileFilter struct {
	StartIndex   int       `query:"startIndex" minimum:"0" maximum:"2147483647"`
	Count        int       `query:"count" minimum:"1" maximum:"10000" default:"100"`
	StartDate    time.Time `query:"startDate" doc:"Discovered at or after."`
	EndDate      time.Time `query:"endDate" doc:"Discovered before."`
	Search       string    `query:"search" maxLength:"1024" doc:"Part of the path."`
	ScanTypes    []int     `query:"scanType" maxItems:"100"`
	StorageIDs   []string  `query:"storageId" maxItems:"1000"`
	ScanIDs      []string  `query:"scanId" maxItems:"1000"`
	Snapshots    []string  `query:"scanWorkflowSnapshotId" maxItems:"1000"`
	Processing   []int     `query:"processingState" maxItems:"100" doc:"0 in progress, 1 failed, 2 canceled, 3 available."`
	Results      []int     `query:"result" maxItems:"100" doc:"0 allowed, 1 blocked, 2 processing."`
	Codes        []int     `query:"scanAllResultI" maxItems:"200"`
	Detected     []int     `query:"scanResultICount" maxItems:"200" doc:"How many engines found something."`
	Vulns        []int     `query:"vulnerabilityCount" maxItems:"200"`
	HasVulns     string    `query:"hasVulnerabilities" enum:"true,false,True,False"`
	DLP          string    `query:"dlpDetection" enum:"true,false,True,False"`
	Remediations []int     `query:"remediations" maxItems:"200" doc:"0 tagging, 1 Deep CDR, 5 allowed moved, 6 blocked moved, 7 blocked deleted, 8 sanitized moved, 9 allowed copied, 10 blocked copied, 11 sanitized copied, 12 allowed deleted, 13 allowed kept, 14 blocked kept, 100 put into quarantine."`
	SortBy       []int     `query:"sortBy" maxItems:"10" doc:"0 discovery, 1 scan, 2 processing state, 3 result, 4 verdict code, 5 engines that found something, 6 vulnerabilities."`
	SortOrder    []int     `query:"sortOrder" maxItems:"10" doc:"0 ascending, 1 descending."`
	Expand       []string  `query:"expand" maxItems:"10" doc:"workflow_snapshot"`
}

func (in *FileFilter) query() (control.FileQuery, error) {
	q := control.FileQuery{Snapshots: expands(in.Expand), Storages: ids(in.StorageIDs), FileFilter: ledger.FileFilter{Start: in.StartIndex, Limit: in.Count,
		From: in.StartDate, To: in.EndDate, Types: scanTypes(in.ScanTypes), Scans: ids(in.ScanIDs), Workflows: hashes(in.Snapshots),
		Processing: enums[ledger.Processing](in.Processing), Results: enums[ledger.Result](in.Results), Codes: in.Codes, Detected: in.Detected, Vulns: in.Vulns,
		Remedies: enums[ledger.Remedy](in.Remediations), HasVulns: truth(in.HasVulns), Sensitive: truth(in.DLP)}}
	var err error
	if q.Search, err = object.ParseKey(in.Search); err != nil { // as it is shown, or as it is
		q.Search = in.Search
	}
	for i, by := range in.SortBy {
		if by < 0 || by > int(ledger.ByVulnerabilities) {
			return q, newProblem(400, "sortBy: 0 to 6")
		}
		desc := false
		if i < len(in.SortOrder) {
			if desc = in.SortOrder[i] == 1; in.SortOrder[i] < 0 || in.SortOrder[i] > 1 {
				return q, newProblem(400, "sortOrder: 0 or 1")
			}
		}
		q.Sort = append(q.Sort, ledger.FileSort{By: ledger.SortBy(by), Desc: desc})
	}
	return q, nil
}

// ids reads ids; what is none names nothing. nil for none at all.
func ids(texts []string) (list []ledger.ID) {
	for _, t := range texts {
		var id ID
		_ = id.UnmarshalText([]byte(t))
		list = append(list, id.ID)
	}
	return list
}

func hashes(texts []string) (list []ledger.Hash) {
	for _, t := range texts {
		h, _ := ledger.ParseHash(t) // what is none names nothing
		list = append(list, h)
	}
	return list
}

// enums turns numbers into a type of numbers.
func enums[T ~int](numbers []int) (list []T) {
	for _, n := range numbers {
		list = append(list, T(n))
	}
	return list
}

func truth(s string) *bool {
	if s == "" {
		return nil
	}
	b := strings.EqualFold(s, "true")
	return &b
}

// A fileCanceled is what became of one request to cancel.
type fileCanceled struct {
	FileID   string `json:"fileId" format:"uuid"`
	Canceled bool   `json:"canceled"`
	Reason   string `json:"reason,omitempty"`
}

func (a *API) fileChanges(tag string) {
	register(a, Op{ID: "rescanFile", Method: "PUT", Path: "/api/file", Action: "file.rescan", Tag: tag, Summary: "Scan a file on demand",
		About:  "The same version is scanned again, in the same scan. Passwords are refused where the engines would not get them.",
		Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			Body struct {
				FileID    ID       `json:"fileId"`
				ScanID    ID       `json:"scanId"`
				Protocol  int      `json:"storageProtocolType,omitempty" doc:"Not needed."`
				Passwords []string `json:"passwords,omitempty" maxItems:"16"`
			}
		}) (*Done, error) {
			return &Done{Body: done()}, a.c.RescanFile(ctx, in.Body.FileID.ID, in.Body.ScanID.ID, in.Body.Passwords)
		})
	register(a, Op{ID: "cancelFiles", Method: "POST", Path: "/api/file/cancel", Action: "file.cancel", Tag: tag, Summary: "Cancel a file in an ongoing scan",
		About: "What is acted on already is completed.", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			Body struct {
				FileIDs []ID `json:"fileIds" minItems:"1" maxItems:"1000"`
			}
		}) (*entries[fileCanceled], error) {
			var list []ledger.ID
			for _, id := range in.Body.FileIDs {
				list = append(list, id.ID)
			}
			got, err := a.c.CancelFiles(ctx, list)
			return listed(got, func(f control.CanceledFile) fileCanceled {
				return fileCanceled{FileID: f.ID.String(), Canceled: f.Canceled, Reason: f.Why}
			}), err
		})
	register(a, Op{ID: "revertFile", Method: "POST", Path: "/api/deepcdr/revert/{fileId}", Action: "file.revert", Tag: tag, Summary: "Put a file's original back",
		About: "From quarantine, to where it was, never over another file. 409 if no original is kept.", Errors: []int{404, 409}},
		func(ctx context.Context, in *fileID) (*Done, error) {
			return &Done{Body: done()}, a.c.RevertFile(ctx, in.FileID.ID)
		})
}

// An ArchiveMember is a part of an archive that was not clean.
type ArchiveMember struct {
	ParentID       string `json:"parentId" format:"uuid"`
	Path           string `json:"path" doc:"Inside of the archive."`
	Size           int64  `json:"size"`
	SHA256         string `json:"sha256"`
	Threat         string `json:"threatFound"`
	Reason         string `json:"reason"`
	ScanAllResultI int    `json:"scanAllResultI"`
	ScanAllResultA string `json:"scanAllResultA"`
}

func (a *API) archives(tag string) {
	register(a, Op{ID: "archiveMembers", Method: "GET", Path: "/api/file/archive", Action: "file.list", Tag: tag, Summary: "Retrieve archive scan results",
		About: "The members of an archive that were not clean, at most 100 of them. The archive is named by parentId, or by scanResultId: both are its file id.", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			ScanResultID string `query:"scanResultId" maxLength:"64"`
			ParentID     string `query:"parentId" maxLength:"64"`
			Start        int    `query:"start" minimum:"0" maximum:"2147483647"`
			Count        int    `query:"count" minimum:"1" maximum:"10000" default:"1000"`
		}) (*entries[ArchiveMember], error) {
			at := in.ParentID
			if at == "" {
				at = in.ScanResultID
			}
			if at == "" {
				return nil, newProblem(400, "parentId or scanResultId is needed")
			}
			v, err := a.c.File(ctx, ids([]string{at})[0], false)
			if err != nil {
				return nil, err
			}
			var members []scan.Member
			if v.Report != nil {
				members = v.Report.Members
			}
			from := min(in.Start, len(members))
			out := listed(members[from:min(from+in.Count, len(members))], func(m scan.Member) ArchiveMember {
				code := scan.Code(m.Verdict, m.Reason)
				return ArchiveMember{ParentID: v.ID.String(), Path: m.Path, Size: m.Size, SHA256: m.SHA256, Threat: object.FormatKey(m.Threat), Reason: string(m.Reason), ScanAllResultI: code, ScanAllResultA: scan.CodeName(code)}
			})
			out.Body.TotalCount = int64(len(members))
			return out, nil
		})
}
