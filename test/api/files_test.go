package api_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/account"
)

func TestFiles(t *testing.T) {
	both(t, setup{}, func(t *testing.T, w *world) {
		id, dir := w.storage("share", account.DefaultTenant)
		w.put(dir, map[string]string{"a/clean.txt": "hello", "a/bad.com": eicar(), "b/other.txt": "other", "b/p%q.txt": "percent"})
		a := w.admin()
		scan := word(a.scanned(map[string]any{"storageIds": []string{id}}), "entry.id")
		list := func(query string) map[string]any { return a.call("GET", "/api/file?"+query, nil, http.StatusOK) }
		for query, want := range map[string]float64{"": 4, "result=1": 1, "result=0": 3, "result=0,1": 4, "result=7": 0, "result=2": 0, "processingState=3": 4, "processingState=0,1,2": 0,
			"scanAllResultI=1": 1, "scanAllResultI=0,1": 4, "scanAllResultI=4242": 0, "scanType=0": 4, "scanType=1,2": 0, "scanType=9": 0, "storageId=" + id: 4, "storageId=" + nobodys: 0,
			"scanId=" + scan: 4, "scanId=x": 0, "search=clean": 1, "search=a/": 2, "search=zzz": 0, "startDate=2100-01-01T00:00:00Z": 0, "endDate=2100-01-01T00:00:00Z": 4,
			"scanResultICount=0": 3, "scanResultICount=1": 1, "scanResultICount=-1": 0, "hasVulnerabilities=true": 0, "hasVulnerabilities=false": 4, "dlpDetection=true": 0, "vulnerabilityCount=3": 0,
			"remediations=13": 3, "remediations=14": 1, "remediations=5": 0, "remediations=999": 0, "scanWorkflowSnapshotId=ff": 0,
			"result=1&scanAllResultI=1&storageId=" + id + "&scanType=0&search=bad": 1, "RESULT=1&Search=bad": 1} {
			if got := list(query); at(got, "totalCount") != want || float64(len(at(got, "entries").([]any))) != want {
				t.Errorf("%s: %v of %d, want %v", query, at(got, "totalCount"), len(at(got, "entries").([]any)), want)
			}
		}
		for query, want := range map[string]string{"sortBy=3&sortOrder=1": "bad.com", "sortBy=4&sortOrder=1": "bad.com", "sortBy=5&sortOrder=1": "bad.com", "sortBy=1,4&sortOrder=0,1": "bad.com"} {
			if got := word(list(query+"&count=1"), "entries.0.name"); got != want {
				t.Errorf("%s begins with %q, want %q", query, got, want)
			}
		}
		seen := map[string]bool{}
		for by := range 7 {
			clear(seen)
			for start := range 4 {
				got := list(fmt.Sprintf("sortBy=%d&sortOrder=%d&startIndex=%d&count=1", by, by%2, start))
				seen[word(got, "entries.0.id")] = true
			}
			if len(seen) != 4 {
				t.Errorf("pages of one by %d show %d files of 4", by, len(seen))
			}
		}
		for _, bad := range []string{"count=0", "count=10001", "startIndex=-1", "sortBy=7", "sortBy=0&sortOrder=2", "startDate=yesterday", "result=x"} {
			a.call("GET", "/api/file?"+bad, nil, http.StatusBadRequest)
		}
		bad := list("result=1&expand=workflow_snapshot")
		file := word(bad, "entries.0.id")
		got := a.call("GET", "/api/file/"+file, nil, http.StatusOK)
		if word(bad, "entries.0.workflowSnapshot.name") != "report" || word(got, "path") != "a/bad.com" || word(got, "entry.storageId") != id || at(got, "result") != 1.0 ||
			at(got, "scanResult.scanResults.scanAllResultI") != 1.0 || word(got, "scanResult.scanResults.scanAllResultA") != "Infected" || len(word(got, "sha256")) != 64 ||
			word(got, "scanResult.scanResults.scanDetails.0.threatFound") == "" || word(got, "remediations.0.name") != "BlockedKept" {
			t.Errorf("a file: %v", got)
		}
		if got := a.call("GET", "/api/file/"+scan+"/1/2", nil, http.StatusOK); at(got, "totalCount") != 4.0 || len(at(got, "entries").([]any)) != 2 {
			t.Errorf("of a scan: %v", got)
		}
		if got := a.call("GET", "/api/file/archive?parentId="+file, nil, http.StatusOK); at(got, "totalCount") != 0.0 {
			t.Errorf("members of what is no archive: %v", got)
		}
		again := func(body map[string]any, status int) { a.call("PUT", "/api/file", body, status) }
		again(map[string]any{"fileId": file, "scanId": scan}, http.StatusOK)
		w.until("scanned again", func() bool {
			return at(a.call("GET", "/api/file/"+file, nil, http.StatusOK), "processingState") == 3.0
		})
		again(map[string]any{"fileId": file, "scanId": nobodys}, http.StatusNotFound)
		again(map[string]any{"fileId": nobodys, "scanId": scan}, http.StatusNotFound)
		again(map[string]any{"scanId": scan}, http.StatusBadRequest)
		again(map[string]any{"fileId": file, "scanId": scan, "passwords": []string{"secret"}}, http.StatusBadRequest)
		if got := a.call("POST", "/api/file/cancel", map[string]any{"fileIds": []string{file}}, http.StatusOK); at(got, "entries.0.canceled") != false || word(got, "entries.0.reason") == "" {
			t.Errorf("cancel what is finished: %v", got)
		}
		a.call("POST", "/api/file/cancel", map[string]any{"fileIds": []string{nobodys}}, http.StatusNotFound)
		a.call("POST", "/api/file/cancel", map[string]any{"fileIds": []string{}}, http.StatusBadRequest)
		a.call("POST", "/api/deepcdr/revert/"+file, nil, http.StatusConflict)
		a.call("POST", "/api/deepcdr/revert/"+nobodys, nil, http.StatusNotFound)
		for _, path := range []string{"/api/file/" + nobodys, "/api/file/x", "/api/file/archive?parentId=" + nobodys, "/api/file/" + nobodys + "/0/1"} {
			a.call("GET", path, nil, http.StatusNotFound)
		}
		w.user("stranger", account.Administrator, 2)
		s := w.as("stranger")
		if got := s.call("GET", "/api/file", nil, http.StatusOK); at(got, "totalCount") != 0.0 {
			t.Errorf("a stranger sees %v", got)
		}
		s.call("GET", "/api/file/"+file, nil, http.StatusNotFound)
		s.call("PUT", "/api/file", map[string]any{"fileId": file, "scanId": scan}, http.StatusNotFound)
		s.call("POST", "/api/file/cancel", map[string]any{"fileIds": []string{file}}, http.StatusNotFound)
		s.call("POST", "/api/deepcdr/revert/"+file, nil, http.StatusNotFound)
		r := w.as("reader")
		r.call("GET", "/api/file/"+file, nil, http.StatusOK)
		r.call("PUT", "/api/file", map[string]any{"fileId": file, "scanId": scan}, http.StatusForbidden)
		r.call("POST", "/api/file/cancel", map[string]any{"fileIds": []string{file}}, http.StatusForbidden)
		(&client{w: w}).call("GET", "/api/file", nil, http.StatusUnauthorized)
	})
}

// TestRevert puts back what a workflow put into quarantine.
func TestRevert(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.com")
	w := start(t, setup{config: "units:\n  - {name: fixed, url: \"file://" + filepath.Dir(bad) + "\", workflow: quarantine}\n"})
	w.put(filepath.Dir(bad), map[string]string{"bad.com": eicar()})
	a := w.admin()
	var file string
	w.until("put away", func() bool {
		got := a.call("GET", "/api/file?remediations=100", nil, http.StatusOK)
		file = word(got, "entries.0.id")
		return file != ""
	})
	if _, err := os.Stat(bad); err == nil {
		t.Fatal("it is still there")
	}
	a.call("POST", "/api/deepcdr/revert/"+file, nil, http.StatusOK)
	if data, err := os.ReadFile(bad); err != nil || !strings.Contains(string(data), "ANTIVIRUS") {
		t.Errorf("not put back: %v", err)
	}
	a.call("POST", "/api/deepcdr/revert/"+file, nil, http.StatusConflict)
}
