package api_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/account"
)

// TestReport: a scan as PDF and as CSV, for its tenant alone.
func TestReport(t *testing.T) {
	w := watched(t)
	a := w.admin()
	events := follow(t, a)
	w.arrives("bad.txt", eicar())
	w.arrives("=1+1 線.txt", "nothing of note")
	w.arrives("good.txt", "nothing of note")
	for range 3 {
		<-events
	}
	scans, err := w.d.Control().Store.Scans(t.Context(), 0)
	if err != nil || len(scans) != 1 {
		t.Fatalf("%d scans, %v", len(scans), err)
	}
	path := "/api/report/download/" + scans[0].ID.String()

	resp, doc := a.do("GET", path, nil)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/pdf" || resp.Header.Get("Content-Disposition") != `attachment; filename="scan-`+scans[0].ID.String()+`.pdf"` {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	if !bytes.HasPrefix(doc, []byte("%PDF-1.")) || !bytes.HasSuffix(bytes.TrimSpace(doc), []byte("%%EOF")) || bytes.Count(doc, []byte("/Type /Page\n")) != 2 {
		t.Errorf("%d bytes are no report of two pages", len(doc))
	}

	keys := func(c *client, query string) (list []string) {
		t.Helper()
		resp, data := c.do("GET", path+"?format=csv"+query, nil)
		lines, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
		if resp.StatusCode != http.StatusOK || err != nil || len(lines) == 0 || lines[0][3] != "key" || lines[0][7] != "verdict" || lines[0][2] != "storage" {
			t.Fatalf("%s: %s, %v: %s", query, resp.Status, err, data)
		}
		for _, l := range lines[1:] {
			list = append(list, l[3]+" "+l[2]+" "+l[7])
		}
		slices.Sort(list)
		return list
	}
	bad, good := []string{"bad.txt in infected"}, []string{"'=1+1 線.txt in clean", "good.txt in clean"}
	all := slices.Concat(good[:1], bad, good[1:])
	for query, want := range map[string][]string{
		"": all, "&result=1": bad, "&result=0": good, "&result=0,1": all, "&result=2": nil, "&result=77": nil, "&scanAllResultI=1": bad, "&scanAllResultI=0": good,
		"&search=good": good[1:], "&SEARCH=%E7%B7%9A": good[:1], "&processingState=3": all, "&processingState=0,1,2": nil, "&scanResultICount=0": good,
		"&hasVulnerabilities=true": nil, "&dlpDetection=false": all, "&vulnerabilityCount=0": all, "&remediations=100": bad, "&remediations=0,5": nil,
		"&startDate=2100-01-01T00:00:00Z": nil, "&endDate=2100-01-01T00:00:00Z": all, "&result=0&search=txt&startDate=2020-01-01T00:00:00Z": good,
	} {
		if got := keys(a, query); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	if got := keys(w.as("reader"), ""); len(got) != 3 {
		t.Errorf("to who may read: %v", got)
	}

	for _, query := range []string{"?format=docx", "?result=x", "?hasVulnerabilities=perhaps", "?startDate=yesterday", "?search=" + strings.Repeat("x", 1025)} {
		a.call("GET", path+query, nil, http.StatusBadRequest)
	}
	(&client{w: w}).call("GET", path, nil, http.StatusUnauthorized)
	w.session(w.user("waiting", account.None, account.DefaultTenant)).call("GET", path, nil, http.StatusForbidden)
	const none = "/api/report/download/0198f02f-0000-7000-8000-00000000dead"
	unknown := fmt.Sprint(a.call("GET", none, nil, http.StatusNotFound))
	a.call("GET", "/api/report/download/nonsense", nil, http.StatusNotFound)
	w.user("stranger", 6, 2)
	s := w.as("stranger")
	for _, format := range []string{"", "?format=csv"} {
		if got := fmt.Sprint(s.call("GET", path+format, nil, http.StatusNotFound)); got != unknown {
			t.Errorf("another tenant is told %s, not %s", got, unknown)
		}
	}
}
