package api_test

import (
	"net/http"
	"testing"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
)

func TestAudit(t *testing.T) {
	both(t, setup{}, func(t *testing.T, w *world) {
		w.user("other", account.Administrator, 2)
		a, o := w.admin(), w.as("other")
		a.call("POST", "/api/group", map[string]any{"name": "Finance"}, http.StatusOK)
		a.call("POST", "/api/group", map[string]any{"name": "Finance"}, http.StatusConflict)
		w.as("reader").call("POST", "/api/group", map[string]any{"name": "Mine"}, http.StatusForbidden)
		o.call("POST", "/api/group", map[string]any{"name": "Foreign"}, http.StatusOK)
		for query, want := range map[string]float64{
			"?searchText=Finance": 2, "?searchText=finance": 0, "?logLevel=error": 1, "?logLevel=2": 1, "?logLevel=Info&searchText=group": 1, "?categoryType=storage": 3, "?categoryType=2": 3,
			"?logType=access&searchText=group": 1, "?searchText=Foreign": 0, "?SEARCHTEXT=refused&loglevel=1": 1,
		} {
			if got := a.call("GET", "/api/audit/0/10"+query, nil, http.StatusOK); at(got, "totalCount") != want {
				t.Errorf("%s: %v, want %v of them", query, got, want)
			}
		}
		got := a.call("GET", "/api/Audit/0/1?categoryType=Storage", nil, http.StatusOK)
		if at(got, "totalCount") != 3.0 || len(at(got, "entries").([]any)) != 1 || word(got, "entries.0.userName") != "reader" || word(got, "entries.0.logLevelName") != "Warning" || word(got, "entries.0.action") != "group.add" {
			t.Errorf("%v", got)
		}
		if got := a.call("GET", "/api/audit/2/5?categoryType=Storage", nil, http.StatusOK); len(at(got, "entries").([]any)) != 1 || word(got, "entries.0.logLevelName") != "Info" {
			t.Errorf("the third: %v", got)
		}
		if got := o.call("GET", "/api/audit/0/10?categoryType=Storage", nil, http.StatusOK); at(got, "totalCount") != 1.0 || word(got, "entries.0.target") != "Foreign" {
			t.Errorf("the other tenant's: %v", got)
		}
		for _, bad := range []string{"0/0", "-1/5", "x/5", "0/1001", "0/99999999999", "0/5?logLevel=loud", "0/5?categoryType=99"} {
			a.call("GET", "/api/audit/"+bad, nil, http.StatusBadRequest)
		}
		(&client{w: w}).call("GET", "/api/audit/0/10", nil, http.StatusUnauthorized)
		v, err := w.d.Control().VerifyAudit(t.Context())
		if err != nil || !v.Sound() || v.Rows == 0 {
			t.Errorf("%+v %v", v, err)
		}
		remote, err := control.Dial(t.Context(), w.data)
		if err != nil {
			t.Fatal(err)
		}
		if through, err := remote.VerifyAudit(t.Context()); err != nil || through != v {
			t.Errorf("through the socket: %+v %v, want %+v", through, err, v)
		}
		if err := remote.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestRetentionSettings(t *testing.T) {
	w := start(t, setup{})
	w.user("other", account.Administrator, 2)
	a, o := w.admin(), w.as("other")
	const path = "/api/settings/retention"
	if got := a.call("GET", path, nil, http.StatusOK); at(got, "retentionAuditDays") != 365.0 || at(got, "reportRetentionConfiguration.isEnabled") != false {
		t.Errorf("%v", got)
	}
	a.call("PUT", path, map[string]any{"retentionAuditDays": 50000, "reportRetention": map[string]any{"isEnabled": true, "retentionDays": 7}}, http.StatusOK)
	a.call("PUT", path, map[string]any{"rtpHistoryRetention": map[string]any{"isEnabled": true, "retentionDays": 1}}, http.StatusOK)
	got := a.call("GET", path, nil, http.StatusOK)
	if at(got, "retentionAuditDays") != 50000.0 || at(got, "reportRetentionConfiguration.retentionDays") != 7.0 || at(got, "rtpHistoryRetentionConfiguration.isEnabled") != true {
		t.Errorf("%v", got)
	}
	for _, bad := range []any{map[string]any{"retentionAuditDays": 0}, map[string]any{"retentionAuditDays": 50001}, map[string]any{"reportRetention": map[string]any{"isEnabled": true, "retentionDays": -1}}, "x"} {
		a.call("PUT", path, bad, http.StatusBadRequest)
	}
	if got := o.call("GET", path, nil, http.StatusOK); at(got, "retentionAuditDays") != 365.0 {
		t.Errorf("another tenant sees %v", got)
	}
	r := w.as("reader")
	r.call("GET", path, nil, http.StatusOK)
	r.call("PUT", path, map[string]any{"retentionAuditDays": 1}, http.StatusForbidden)
	(&client{w: w}).call("GET", path, nil, http.StatusUnauthorized)
}
