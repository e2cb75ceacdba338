package api

import (
	"bytes"
	"context"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/report"
)

// maxPrinting is how many PDFs are made at a time: each takes some 20 MiB.
const maxPrinting = 2

// A ReportFilter is the query of a report's files: that of the list of files. Its
// name begins with a capital because huma passes over what is embedded otherwise.
type ReportFilter struct {
	StartDate    time.Time `query:"startDate" doc:"Discovered at or after."`
	EndDate      time.Time `query:"endDate" doc:"Discovered before."`
	Search       string    `query:"search" maxLength:"1024" doc:"Part of the path."`
	Processing   []int     `query:"processingState" maxItems:"100" doc:"0 in progress, 1 failed, 2 canceled, 3 available."`
	Results      []int     `query:"result" maxItems:"100" doc:"0 allowed, 1 blocked, 2 processing."`
	Codes        []int     `query:"scanAllResultI" maxItems:"200"`
	Detected     []int     `query:"scanResultICount" maxItems:"200" doc:"How many engines found something."`
	Vulns        []int     `query:"vulnerabilityCount" maxItems:"200"`
	HasVulns     string    `query:"hasVulnerabilities" enum:"true,false,True,False"`
	DLP          string    `query:"dlpDetection" enum:"true,false,True,False"`
	Remediations []int     `query:"remediations" maxItems:"200"`
}

func (in *ReportFilter) filter() ledger.FileFilter {
	f := ledger.FileFilter{From: in.StartDate, To: in.EndDate, Codes: in.Codes, Detected: in.Detected, Vulns: in.Vulns, HasVulns: yesOrNo(in.HasVulns), Sensitive: yesOrNo(in.DLP)}
	for _, n := range in.Processing {
		f.Processing = append(f.Processing, ledger.Processing(n))
	}
	for _, n := range in.Results {
		f.Results = append(f.Results, ledger.Result(n))
	}
	for _, n := range in.Remediations {
		f.Remedies = append(f.Remedies, ledger.Remedy(n))
	}
	var err error
	if f.Search, err = object.ParseKey(in.Search); err != nil { // as it is shown, or as it is
		f.Search = in.Search
	}
	return f
}

func yesOrNo(s string) *bool {
	if s == "" {
		return nil
	}
	yes := strings.EqualFold(s, "true")
	return &yes
}

// reportDownloads is the operation that prints.
func (a *API) reportDownloads() {
	binary := &huma.Schema{Type: huma.TypeString, Format: "binary"}
	register(a, Op{ID: "downloadReport", Method: "GET", Path: "/api/report/download/{scanId}", Action: "report.download", Tag: "Reports", Summary: "Download PDF Report",
		About: "What a scan came to, and those of its files that match all filters, at most 10,000 in a PDF. With format=csv all of them, as comma-separated values.", Errors: []int{404, 503},
		Change: func(op *huma.Operation) {
			op.Responses = map[string]*huma.Response{"200": {Description: "The report", Content: map[string]*huma.MediaType{"application/pdf": {Schema: binary}, "text/csv": {Schema: binary}}}}
		}},
		func(ctx context.Context, in *struct {
			ScanID ID     `path:"scanId" doc:"The scan's id."`
			Format string `query:"format" enum:"pdf,csv" default:"pdf"`
			ReportFilter
		}) (*huma.StreamResponse, error) {
			r, files, err := a.c.Report(ctx, in.ScanID.ID, in.filter())
			if err != nil {
				return nil, err
			}
			if in.Format == "csv" {
				return &huma.StreamResponse{Body: func(hc huma.Context) { a.spread(hc, r, files) }}, nil
			}
			r.Product = "Landwaiter " + a.huma.OpenAPI().Info.Version
			doc, err := a.print(ctx, r, files)
			return &huma.StreamResponse{Body: func(hc huma.Context) {
				_, _ = download(hc, "application/pdf", "scan-"+r.Scan+".pdf").Write(doc) // the caller is gone
			}}, err
		})
}

// print makes a PDF, when it is its turn.
func (a *API) print(ctx context.Context, r report.Report, files iter.Seq2[report.File, error]) ([]byte, error) {
	select {
	case a.printing <- struct{}{}:
		defer func() { <-a.printing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var doc bytes.Buffer
	err := report.PDF(&doc, r, files)
	return doc.Bytes(), err
}

// spread writes a spreadsheet as files come. If they end with an error, the
// connection does too: half of a list must not look like all of it.
func (a *API) spread(hc huma.Context, r report.Report, files iter.Seq2[report.File, error]) {
	if err := report.CSV(download(hc, "text/csv; charset=utf-8", "scan-"+r.Scan+".csv"), files); err != nil {
		a.log.WarnContext(hc.Context(), "report broke off", "scan", r.Scan, "err", err)
		panic(http.ErrAbortHandler)
	}
}

// download begins an answer that is a file.
func download(hc huma.Context, kind, name string) *flusher {
	hc.SetHeader("Content-Type", kind)
	hc.SetHeader("Content-Disposition", `attachment; filename="`+name+`"`)
	hc.SetStatus(http.StatusOK)
	_, w := humago.Unwrap(hc)
	return newFlusher(w)
}
