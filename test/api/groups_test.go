package api_test

import (
	"net/http"
	"testing"
)

func TestGroups(t *testing.T) {
	both(t, setup{}, func(t *testing.T, w *world) {
		a := w.admin()
		id := word(a.call("POST", "/api/group", map[string]any{"name": "Finance", "description": "money"}, http.StatusOK), "groupId")
		a.call("POST", "/api/group", map[string]any{"name": "Finance"}, http.StatusConflict)
		a.call("POST", "/api/group", map[string]any{"name": " \t"}, http.StatusBadRequest)
		a.call("POST", "/API/Group", map[string]any{"NAME": "Legal"}, http.StatusOK)
		got := a.call("GET", "/api/group", nil, http.StatusOK)
		if at(got, "totalCount") != 2.0 || word(got, "entries.0.name") != "Finance" || word(got, "entries.0.description") != "money" || at(got, "result") != 0.0 {
			t.Errorf("list: %v", got)
		}
		a.call("PATCH", "/api/group", map[string]any{"groupId": id, "name": "Treasury"}, http.StatusOK)
		got = a.call("GET", "/api/group/"+id, nil, http.StatusOK)
		if word(got, "entry.name") != "Treasury" || word(got, "entry.description") != "money" {
			t.Errorf("one: %v", got)
		}
		for _, none := range []string{"0198f02f-0000-7000-8000-000000000001", "nonsense", "%00", "a%2Fb"} {
			if got := a.call("GET", "/api/group/"+none, nil, http.StatusNotFound); at(got, "result") != 3.0 {
				t.Errorf("%s: %v", none, got)
			}
		}
		r := w.as("reader")
		if n := at(r.call("GET", "/api/group/count", nil, http.StatusOK), "groupCount.count"); n != 2.0 {
			t.Errorf("count %v", n)
		}
		r.call("POST", "/api/group", map[string]any{"name": "Mine"}, http.StatusForbidden)
		r.call("DELETE", "/api/group/"+id, nil, http.StatusForbidden)
		(&client{w: w}).call("GET", "/api/group", nil, http.StatusUnauthorized)
		a.call("DELETE", "/api/group/"+id, nil, http.StatusOK)
		a.call("DELETE", "/api/group/"+id, nil, http.StatusNotFound)
	})
}
