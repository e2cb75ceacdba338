package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
)

// nobodys is an id of nothing.
const nobodys = "0198f02f-0000-7000-8000-000000000001"

// storage adds a storage of a new folder for a tenant, as the operation for that
// does, and returns its id and the folder.
func (w *world) storage(name string, tenant int64) (id, dir string) {
	w.t.Helper()
	dir = filepath.Join(w.data, "..", filepath.Base(w.data)+"-"+name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { os.RemoveAll(dir) })
	body, err := json.Marshal(control.UnitBody{URL: "file://" + dir})
	if err != nil {
		w.t.Fatal(err)
	}
	c := w.d.Control()
	n, err := c.Store.AddNoun(context.Background(), ledger.Noun{Tenant: tenant, Kind: ledger.Unit, Name: name, Body: body})
	if err == nil {
		err = c.Apply(context.Background())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return n.ID.String(), dir
}

// put writes files into a folder, by name.
func (w *world) put(dir string, files map[string]string) {
	w.t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

// eicar is the test file, assembled so that no source holds it whole.
func eicar() string {
	return `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*"
}

// until polls for at most 60 s.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("not %s within 60 s", what)
		}
	}
}

// scanned starts a scan and waits for its end.
func (c *client) scanned(body map[string]any) map[string]any {
	c.w.t.Helper()
	id := word(c.call("POST", "/api/scan/start", body, http.StatusOK), "scanId")
	return c.over(id)
}

func (c *client) over(id string) (got map[string]any) {
	c.w.t.Helper()
	c.w.until("over", func() bool {
		got = c.call("GET", "/api/scan/"+id, nil, http.StatusOK)
		return at(got, "entry.stopTime") != nil
	})
	return got
}

func TestScans(t *testing.T) {
	both(t, setup{}, func(t *testing.T, w *world) {
		id, dir := w.storage("share", account.DefaultTenant)
		w.put(dir, map[string]string{"docs/a.txt": "hello", "docs/bad.com": eicar(), "docs2/c.txt": "other", "top.txt": "top"})
		a := w.admin()
		got := a.scanned(map[string]any{"storageIds": []string{id}, "name": "first", "folder": "/docs/", "priority": 5})
		if at(got, "entry.scanState") != 1.0 || at(got, "entry.totalFiles") != 2.0 || at(got, "entry.blockedFiles") != 1.0 || at(got, "entry.allowedFiles") != 1.0 ||
			word(got, "entry.name") != "first" || word(got, "entry.storageId") != id || at(got, "entry.priority") != 5.0 || word(got, "entry.userName") != "admin" {
			t.Errorf("a scan of a folder: %v", got)
		}
		first := word(got, "entry.id")
		second := word(a.scanned(map[string]any{"storageId": id}), "entry.id")
		if got := a.call("GET", "/api/scan/last_completed/"+id, nil, http.StatusOK); word(got, "entry.id") != second || at(got, "entry.totalFiles") != 4.0 {
			t.Errorf("last completed: %v", got)
		}
		if got := a.call("GET", "/api/scan/sequence/"+second, nil, http.StatusOK); word(got, "previousScanId") != first || word(got, "nextScanId") != "" {
			t.Errorf("sequence: %v", got)
		}
		a.call("GET", "/api/scan/active/"+second, nil, http.StatusNotFound)
		a.call("POST", "/api/scan/stop/"+second, nil, http.StatusConflict)
		if got := a.call("GET", "/api/scanworkflowsnapshot/getAllFromScan/"+second, nil, http.StatusOK); word(got, "entries.0.name") != "report" {
			t.Errorf("snapshots: %v", got)
		}
		if got := a.call("GET", "/api/report?scanTypesFilter=0,1&scanStatesFilter=1&count=1&sortDirectionFilter=0&storageId="+id, nil, http.StatusOK); at(got, "totalCount") != 2.0 || word(got, "entries.0.id") != first {
			t.Errorf("report: %v", got)
		}
		for _, none := range []string{"scanStatesFilter=99", "scanTypesFilter=7", "storageId=" + nobodys, "storageId=x", "name=zzz", "startDate=2100-01-01T00:00:00Z", "scanStatesFilter=4"} {
			if got := a.call("GET", "/api/report?"+none, nil, http.StatusOK); at(got, "totalCount") != 0.0 {
				t.Errorf("report %s: %v", none, got)
			}
		}
		for body, status := range map[string]int{`{"storageIds":["` + nobodys + `"]}`: 404, `{"storageIds":["x"]}`: 404, `{}`: 400, `{"storageIds":["` + id + `"],"folder":"../x"}`: 400,
			`{"storageIds":["` + id + `"],"name":"a;b"}`: 400, `{"storageIds":["` + id + `"],"priority":-1}`: 400, `{"storageIds":["` + id + `"],"workflowId":"` + nobodys + `"}`: 404, `{`: 400} {
			a.call("POST", "/api/scan/start", body, status)
		}
		if got := a.call("DELETE", "/api/scan/"+id, []string{first}, http.StatusOK); at(got, "count") != 1.0 {
			t.Errorf("delete: %v", got)
		}
		a.call("GET", "/api/scan/"+first, nil, http.StatusNotFound)
		a.call("DELETE", "/api/scan/"+id, []string{first}, http.StatusNotFound)
		r := w.as("reader")
		r.call("GET", "/api/scan/"+second, nil, http.StatusOK)
		r.call("POST", "/api/scan/start", map[string]any{"storageIds": []string{id}}, http.StatusForbidden)
		r.call("DELETE", "/api/scan/"+id, nil, http.StatusForbidden)
		(&client{w: w}).call("GET", "/api/scan/"+second, nil, http.StatusUnauthorized)
		w.user("stranger", account.Administrator, 2)
		s := w.as("stranger")
		for _, path := range []string{"/api/scan/" + second, "/api/scan/active/" + second, "/api/scan/sequence/" + second, "/api/scan/last_completed/" + id, "/api/scan/realtime/" + id, "/api/scanworkflowsnapshot/getAllFromScan/" + second} {
			s.call("GET", path, nil, http.StatusNotFound)
		}
		s.call("POST", "/api/scan/start", map[string]any{"storageIds": []string{id}}, http.StatusNotFound)
		s.call("POST", "/api/scan/stop/"+second, nil, http.StatusNotFound)
		s.call("DELETE", "/api/scan/"+id, nil, http.StatusNotFound)
		if got := s.call("GET", "/api/report", nil, http.StatusOK); at(got, "totalCount") != 0.0 {
			t.Errorf("a stranger's report: %v", got)
		}
	})
}

// TestScanOverlapAndStop stops a scan that has much to do; beside it none of the
// same part may run.
func TestScanOverlapAndStop(t *testing.T) {
	w := start(t, setup{config: "bounds: {backlog: 100, workers: 1}\n"})
	id, dir := w.storage("share", account.DefaultTenant)
	files := map[string]string{}
	for i := range 4000 {
		files[fmt.Sprintf("d/f%04d", i)] = fmt.Sprint("content ", i)
	}
	w.put(dir, files)
	a := w.admin()
	scan := word(a.call("POST", "/api/scan/start", map[string]any{"storageIds": []string{id}}, http.StatusOK), "scanId")
	a.call("POST", "/api/scan/start", map[string]any{"storageIds": []string{id}, "folder": "d"}, http.StatusConflict)
	a.call("GET", "/api/scan/active/"+scan, nil, http.StatusOK)
	a.call("DELETE", "/api/scan/"+id, []string{scan}, http.StatusConflict)
	a.call("POST", "/api/scan/stop/"+scan, nil, http.StatusOK)
	w.until("stopped", func() bool { return at(a.call("GET", "/api/scan/"+scan, nil, http.StatusOK), "entry.scanState") == 2.0 })
	got := a.call("GET", "/api/scan/"+scan, nil, http.StatusOK)
	if at(got, "entry.inProgressFiles") != 0.0 || at(got, "entry.totalFiles").(float64) >= 4000 {
		t.Errorf("after the stop: %v", got)
	}
	if got := a.call("GET", "/api/report?scanStatesFilter=2", nil, http.StatusOK); at(got, "totalCount") != 1.0 {
		t.Errorf("report: %v", got)
	}
}

// TestRealTime switches watching on, changes it, and switches it off, folder by
// folder.
func TestRealTime(t *testing.T) {
	w := start(t, setup{})
	id, dir := w.storage("share", account.DefaultTenant)
	w.put(dir, map[string]string{"in/old.txt": "old", "out/x.txt": "x"})
	a := w.admin()
	total := func(scan string) any {
		return at(a.call("GET", "/api/scan/"+scan, nil, http.StatusOK), "entry.totalFiles")
	}
	on := func(folder string, more map[string]any, status int) string {
		body := map[string]any{"storageIds": []string{id}, "folder": folder, "realTimeScanConfig": map[string]any{"isEnabled": true, "handlingType": 0}}
		for k, v := range more {
			body[k] = v
		}
		return word(a.call("POST", "/api/scan/start", body, status), "scanId")
	}
	if got := a.call("GET", "/api/scan/realtime/"+id, nil, http.StatusOK); at(got, "totalCount") != 0.0 || at(got, "entry") != nil {
		t.Errorf("before: %v", got)
	}
	scan := on("in", map[string]any{"name": "inbox"}, http.StatusOK)
	w.until("swept", func() bool { return total(scan) == 1.0 })
	w.put(dir, map[string]string{"in/new.txt": "new"})
	w.until("seen", func() bool { return total(scan) == 2.0 })
	on("in/deeper", nil, http.StatusConflict)
	if again := on("in", map[string]any{"name": "renamed", "priority": 7}, http.StatusOK); again != scan {
		t.Errorf("a second scan of one folder: %s and %s", again, scan)
	}
	other := on("out", map[string]any{"realTimeScanConfig": map[string]any{"isEnabled": true, "handlingType": 1, "startDate": "2100-01-01T00:00:00Z"}}, http.StatusOK)
	got := a.call("GET", "/api/scan/realtime/"+id, nil, http.StatusOK)
	if at(got, "totalCount") != 2.0 || word(got, "entry.name") != "renamed" || at(got, "entry.priority") != 7.0 || at(got, "entries.1.handlingType") != 1.0 || word(got, "entries.1.startDate") == "" {
		t.Errorf("realtime: %v", got)
	}
	a.call("POST", "/api/scan/stop/"+other, nil, http.StatusOK)
	on("in", map[string]any{"realTimeScanConfig": map[string]any{"isEnabled": false}}, http.StatusOK)
	on("in", map[string]any{"realTimeScanConfig": map[string]any{"isEnabled": false}}, http.StatusNotFound)
	if got := a.call("GET", "/api/scan/realtime/"+id, nil, http.StatusOK); at(got, "totalCount") != 0.0 {
		t.Errorf("after: %v", got)
	}
	if got := a.scanned(map[string]any{"storageIds": []string{id}}); at(got, "entry.totalFiles") != 3.0 {
		t.Errorf("a scan of what is not watched: %v", got)
	}
}

// TestRealTimeOfTheFile refuses to change what the configuration file says.
func TestRealTimeOfTheFile(t *testing.T) {
	w := start(t, setup{config: "units:\n  - {name: fixed, url: \"file://" + t.TempDir() + "\"}\n"})
	var id string
	units, err := w.d.Control().Store.Units(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		if u.Name == "fixed" {
			id = u.Client.String()
		}
	}
	a := w.admin()
	got := a.call("GET", "/api/scan/realtime/"+id, nil, http.StatusOK)
	if at(got, "totalCount") != 1.0 {
		t.Fatalf("realtime: %v", got)
	}
	a.call("POST", "/api/scan/stop/"+word(got, "entry.id"), nil, http.StatusForbidden)
	a.call("POST", "/api/scan/start", map[string]any{"storageIds": []string{id}, "realTimeScanConfig": map[string]any{"isEnabled": false}}, http.StatusForbidden)
}
