package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/test/servers"
)

func TestAccounts(t *testing.T) {
	t.Parallel()
	srv := servers.MinIO(t)
	for _, name := range []string{"alpha", "beta", "gamma"} {
		srv.MakeBucket(t, name, false)
	}
	put(t, srv, "alpha", "one.txt", "harmless")
	w := start(t, setup{})
	a := w.admin()
	good := map[string]any{"Name": "Production", "VendorType": "6", "Credentials": s3Credentials(t, srv), "Description": "all of it"}
	wrong := map[string]any{"Name": "Wrong", "VendorType": "6", "Credentials": strings.Replace(s3Credentials(t, srv), srv.SecretKey, "no", 1)}
	a.call("POST", "/api/account", wrong, http.StatusBadRequest)
	a.call("POST", "/api/account", map[string]any{"Name": "x", "VendorType": "LocalFolder"}, http.StatusBadRequest)
	a.call("POST", "/api/account", map[string]any{"Name": "x", "VendorType": "Box"}, http.StatusBadRequest)
	a.call("POST", "/api/account", map[string]any{"VendorType": 6, "Credentials": s3Credentials(t, srv)}, http.StatusBadRequest)
	got := a.call("POST", "/api/account", good, http.StatusOK)
	id := word(got, "accountId")
	if word(got, "entry.name") != "Production" || word(got, "entry.vendorName") != "S3Compatible" || strings.Contains(object(t, got), srv.SecretKey) {
		t.Errorf("added: %v", got)
	}
	a.call("POST", "/api/account", good, http.StatusConflict)

	names := func() (list []string) {
		got := a.call("GET", "/api/account/"+id+"/storages", nil, http.StatusOK)
		for _, e := range at(got, "entries").([]any) {
			list = append(list, word(e, "bucketName"))
		}
		return list
	}
	if got := strings.Join(names(), " "); got != "alpha beta gamma" {
		t.Errorf("places: %s", got)
	}
	// A storage of the account has no credentials of its own.
	storage := word(a.call("POST", "/api/storage", map[string]any{"Name": "Alpha", "StorageVendorType": 6, "AccountId": id, "Source": `{"BucketName":"alpha"}`}, http.StatusOK), "storageId")
	w.watch(storage, control.RealTime{})
	eventually(t, "verdict", func() bool { return w.judged("Alpha") == 1 })
	if got := strings.Join(names(), " "); got != "beta gamma" {
		t.Errorf("places: %s", got)
	}
	a.call("POST", "/api/storage", map[string]any{"Name": "Wrong", "StorageVendorType": 0, "AccountId": id, "Source": `{"BucketName":"beta"}`}, http.StatusBadRequest)
	a.call("DELETE", "/api/account/"+id, nil, http.StatusConflict)
	a.call("PATCH", "/api/account", map[string]any{"accountId": id, "Credentials": map[string]any{"SecretAccessKey": "no"}}, http.StatusBadRequest)

	// What is found becomes a storage once: one that was removed does not come back.
	a.call("PATCH", "/api/account?AccountId="+id+"&AutoDiscovery=true&name=Prod", nil, http.StatusOK)
	found := func() map[string]string {
		m := map[string]string{}
		for _, e := range at(a.call("GET", "/api/storage/all", nil, http.StatusOK), "entries").([]any) {
			if word(e, "accountId") != id {
				t.Errorf("not of the account: %v", e)
			}
			m[word(e, "name")] = word(e, "id")
		}
		return m
	}
	m := found()
	if len(m) != 3 || m["beta"] == "" || m["gamma"] == "" {
		t.Fatalf("storages: %v", m)
	}
	a.call("DELETE", "/api/storage/"+m["beta"], nil, http.StatusOK)
	a.call("DELETE", "/api/storage/"+m["Alpha"]+"?forceDelete=true", nil, http.StatusOK)
	srv.MakeBucket(t, "delta", false)
	if err := w.d.Control().DiscoverAccounts(context.Background()); err != nil {
		t.Fatal(err)
	}
	if m := found(); len(m) != 2 || m["gamma"] == "" || m["delta"] == "" {
		t.Errorf("storages: %v", m)
	}

	r := w.as("reader")
	if n := at(r.call("GET", "/api/account/count", nil, http.StatusOK), "accountCount.count"); n != 1.0 {
		t.Errorf("count %v", n)
	}
	r.call("GET", "/api/account/"+id, nil, http.StatusOK)
	r.call("POST", "/api/account", good, http.StatusForbidden)
	r.call("PATCH", "/api/account", map[string]any{"AccountId": id}, http.StatusForbidden)
	r.call("DELETE", "/api/account/"+id, nil, http.StatusForbidden)
	(&client{w: w}).call("GET", "/api/account", nil, http.StatusUnauthorized)
	w.user("stranger", account.TenantAdministrator, 2)
	for _, c := range []struct {
		who *client
		id  string
	}{{w.as("stranger"), id}, {a, "0198f02f-0000-7000-8000-000000000001"}, {a, "nonsense"}} {
		c.who.call("GET", "/api/account/"+c.id, nil, http.StatusNotFound)
		c.who.call("GET", "/api/account/"+c.id+"/storages", nil, http.StatusNotFound)
		c.who.call("DELETE", "/api/account/"+c.id, nil, http.StatusNotFound)
		c.who.call("PATCH", "/api/account", map[string]any{"AccountId": c.id, "Name": "Mine"}, http.StatusNotFound)
	}
	for _, sid := range found() {
		a.call("DELETE", "/api/storage/"+sid+"?forceDelete=true", nil, http.StatusOK)
	}
	a.call("DELETE", "/api/account/"+id, nil, http.StatusOK)
	a.call("DELETE", "/api/account/"+id, nil, http.StatusNotFound)
}
