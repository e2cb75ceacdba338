package api_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/ledger"
)

func TestSchedules(t *testing.T) {
	both(t, setup{}, func(t *testing.T, w *world) {
		id, dir := w.storage("share", account.DefaultTenant)
		w.put(dir, map[string]string{"a.txt": "hello", "in/b.txt": "other"})
		a := w.admin()
		add := func(body map[string]any, status int) string {
			return word(a.call("PUT", "/api/storage/"+id+"/scan_schedule", body, status), "scheduleId")
		}
		a.call("GET", "/api/scan/scheduled/"+id, nil, http.StatusNotFound)
		hourly := add(map[string]any{"name": "hourly", "scheduleType": 0, "interval": 2, "folder": "in"}, http.StatusOK)
		weekly := add(map[string]any{"name": "weekly", "scheduleType": 2, "dayOfWeek": 3, "priority": 4}, http.StatusOK)
		add(map[string]any{"name": "weekly"}, http.StatusConflict)
		for _, bad := range []map[string]any{{}, {"name": "x", "scheduleType": 4}, {"name": "x", "interval": 0}, {"name": "x", "scheduleType": 3, "dayOfMonth": 32}, {"name": "x", "folder": ".."}} {
			add(bad, http.StatusBadRequest)
		}
		add(map[string]any{"name": "x", "workflowId": nobodys}, http.StatusNotFound)
		list := func(path string) map[string]any {
			return a.call("GET", "/api/storage/scan_schedules/"+id+path, nil, http.StatusOK)
		}
		if got := list("/1/0/10"); at(got, "totalCount") != 2.0 || word(got, "entries.0.id") != weekly || at(got, "entries.0.dayOfWeek") != 3.0 || word(got, "entries.0.userName") != "admin" {
			t.Errorf("list: %v", got)
		}
		for query, want := range map[string]float64{"/0/0/10?name=HOUR": 1, "/0/0/10?user=adm": 2, "/0/0/10?type=weekly": 1, "/0/0/10?type=0": 1, "/0/0/10?type=yearly": 0, "/0/5/10": 2} {
			if got := list(query); at(got, "totalCount") != want {
				t.Errorf("%s: %v, want %v", query, at(got, "totalCount"), want)
			}
		}
		if got := a.call("GET", "/api/scan/scheduled/"+id, nil, http.StatusOK); word(got, "entry.id") != hourly {
			t.Errorf("next: %v", got)
		}
		update := func(body map[string]any, status int) {
			a.call("PUT", "/api/storage/scan_schedule/update/"+id, body, status)
		}
		update(map[string]any{"scheduleId": weekly, "name": "weekend", "dayOfWeek": 6, "isEnabled": false}, http.StatusOK)
		update(map[string]any{"scheduleId": nobodys, "name": "y"}, http.StatusNotFound)
		update(map[string]any{"scheduleId": weekly, "name": "hourly"}, http.StatusConflict)
		update(map[string]any{"scheduleId": weekly, "interval": 5000}, http.StatusBadRequest)
		if got := list("/0/1/1"); word(got, "entries.0.name") != "weekend" || at(got, "entries.0.isEnabled") != false || at(got, "entries.0.priority") != 4.0 {
			t.Errorf("updated: %v", got)
		}
		w.runOnce(t, a, id, hourly)
		w.user("stranger", account.Administrator, 2)
		s := w.as("stranger")
		s.call("PUT", "/api/storage/"+id+"/scan_schedule", map[string]any{"name": "z"}, http.StatusNotFound)
		s.call("GET", "/api/storage/scan_schedules/"+id+"/0/0/1", nil, http.StatusNotFound)
		s.call("PUT", "/api/storage/scan_schedule/update/"+id, map[string]any{"scheduleId": hourly}, http.StatusNotFound)
		s.call("DELETE", "/api/storage/scan_schedule", []string{hourly}, http.StatusNotFound)
		r := w.as("reader")
		r.call("GET", "/api/storage/scan_schedules/"+id+"/0/0/1", nil, http.StatusOK)
		r.call("PUT", "/api/storage/"+id+"/scan_schedule", map[string]any{"name": "z"}, http.StatusForbidden)
		r.call("DELETE", "/api/storage/scan_schedule", []string{hourly}, http.StatusForbidden)
		(&client{w: w}).call("GET", "/api/storage/scan_schedules/"+id+"/0/0/1", nil, http.StatusUnauthorized)
		if got := a.call("DELETE", "/api/storage/scan_schedule", []string{hourly, nobodys}, http.StatusOK); at(got, "areAllDeleted") != false || at(got, "result") != 1.0 {
			t.Errorf("delete: %v", got)
		}
		if got := a.call("DELETE", "/api/storage/scan_schedule", []string{weekly}, http.StatusOK); at(got, "areAllDeleted") != true || at(got, "result") != 0.0 {
			t.Errorf("delete: %v", got)
		}
		a.call("DELETE", "/api/storage/scan_schedule", []string{weekly}, http.StatusNotFound)
		a.call("DELETE", "/api/storage/scan_schedule", []string{}, http.StatusBadRequest)
	})
}

// runOnce lets many runs of the hourly schedule be missed and looks from many
// sides at once, as several nodes do: one scan begins, and the audit says why.
func (w *world) runOnce(t *testing.T, a *client, storage, schedule string) {
	t.Helper()
	late := time.Now().Add(9 * time.Hour)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := w.d.Control().RunSchedules(context.Background(), late); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	report := func() map[string]any {
		return a.call("GET", "/api/report?scanTypesFilter=1&storageId="+storage, nil, http.StatusOK)
	}
	w.until("completed", func() bool { return at(report(), "entries.0.scanState") == 1.0 })
	if got := report(); at(got, "totalCount") != 1.0 || word(got, "entries.0.name") != "hourly" || at(got, "entries.0.totalFiles") != 1.0 || word(got, "entries.0.userName") != "admin" {
		t.Errorf("the scheduled scan: %v", got)
	}
	if got := a.call("GET", "/api/scan/scheduled/"+storage, nil, http.StatusOK); word(got, "entry.lastScanId") != word(report(), "entries.0.id") || word(got, "entry.nextScanTime") <= late.UTC().Format(time.RFC3339) {
		t.Errorf("the schedule after it: %v", got)
	}
	rows, _, err := w.d.Control().Store.(interface {
		Audit(ctx context.Context, f ledger.AuditFilter) ([]ledger.AuditRow, int64, error)
	}).Audit(context.Background(), ledger.AuditFilter{Search: "made up for the runs that were missed"})
	if err != nil || len(rows) != 1 || rows[0].Type != ledger.SystemAction || rows[0].Target != "hourly" {
		t.Errorf("audit: %v %v", rows, err)
	}
}
