package api

import (
	"bytes"
	"context"
	"iter"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/landwaiter/landwaiter/report"
)

// maxPrinting is how many PDFs are made at a time: each takes some 20 MiB.
const maxPrinting = 2

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
			FileFilter
		}) (*huma.StreamResponse, error) {
			q, err := in.query()
			if err != nil {
				return nil, err
			}
			r, files, err := a.c.Report(ctx, in.ScanID.ID, q.FileFilter)
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
