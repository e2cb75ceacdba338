package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/test/servers"
)

func TestChecklist(t *testing.T) {
	t.Parallel()
	srv := servers.MinIO(t)
	srv.MakeBucket(t, "safe", false)
	root := t.TempDir()
	w := start(t, setup{config: "server: {listen: 127.0.0.1:0, local_roots: [" + root + "]}\n"})
	a := w.admin()
	id := word(a.call("POST", "/api/storage", map[string]any{"Name": "Safe", "StorageVendorType": "S3Compatible", "Credentials": s3Credentials(t, srv), "Source": `{"BucketName":"safe"}`}, http.StatusOK), "storageId")
	path := "/api/security-checklist/" + id
	// states are those of the items: of each its number, and - if it is off.
	states := func(got map[string]any) string {
		t.Helper()
		var b strings.Builder
		for _, e := range at(got, "entries").([]any) {
			if fmt.Fprint(&b, at(e, "status")); at(e, "isEnabled") == false {
				b.WriteString("-")
			}
		}
		return b.String()
	}
	if got := states(a.call("GET", path, nil, http.StatusOK)); got != "000000" {
		t.Errorf("at first: %s", got)
	}
	eventually(t, "open storage", func() bool {
		return at(a.call("GET", "/api/storage/"+id, nil, http.StatusOK), "entry.storageStatus") == 0.0
	})
	got := a.call("PUT", path+"/verify", nil, http.StatusOK)
	if s := states(got); s[:4] != "2112" || s[5] != '2' { // plain HTTP, nobody let in, no versions, no encryption; MinIO has no logging of this sort
		t.Errorf("a new bucket: %s %v", s, got)
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::safe/*"]}]}`
	if _, err := srv.Client().PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String("safe"), Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Client().PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: aws.String("safe"),
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}); err != nil {
		t.Fatal(err)
	}
	a.call("PUT", path+"/item", map[string]any{"item": "least_privilege", "isEnabled": false}, http.StatusOK)
	a.call("PUT", path+"/item", map[string]any{"item": "nonsense", "isEnabled": false}, http.StatusBadRequest)
	a.call("PUT", path+"/item", map[string]any{"item": "versioning"}, http.StatusBadRequest)
	if s := states(a.call("PUT", path+"/verify", nil, http.StatusOK)); !strings.HasPrefix(s, "221-1") {
		t.Errorf("open to everybody, with versions: %s", s)
	}
	a.call("PUT", path+"/enable-all", nil, http.StatusOK)
	if s := states(a.call("PUT", path+"/verify", nil, http.StatusOK)); s[:4] != "2221" {
		t.Errorf("all items on: %s", s)
	}
	a.call("PATCH", "/api/security-checklist", map[string]any{"storageId": id, "isEnabled": false}, http.StatusOK)
	a.call("PUT", path+"/verify", nil, http.StatusConflict)
	a.call("PATCH", "/api/security-checklist", map[string]any{"storageId": id, "isEnabled": true}, http.StatusOK)
	r := w.as("reader")
	if got := states(r.call("GET", path, nil, http.StatusOK)); got[:4] != "2221" {
		t.Errorf("kept: %s", got)
	}
	if got := r.call("GET", path+"/info", nil, http.StatusOK); at(got, "totalCount") != 6.0 || word(got, "entries.0.importance") != "critical" {
		t.Errorf("info: %v", got)
	}
	local := word(a.call("POST", "/api/storage", map[string]any{"Name": "Local", "StorageVendorType": 100, "Source": map[string]any{"FolderPath": root}}, http.StatusOK), "storageId")
	a.call("GET", "/api/security-checklist/"+local, nil, http.StatusBadRequest)
	w.user("stranger", account.TenantAdministrator, 2)
	for _, c := range []struct {
		who    *client
		id     string
		status int
	}{{r, id, http.StatusForbidden}, {w.as("stranger"), id, http.StatusNotFound}, {a, "0198f02f-0000-7000-8000-000000000001", http.StatusNotFound}, {&client{w: w}, id, http.StatusUnauthorized}} {
		c.who.call("PUT", "/api/security-checklist/"+c.id+"/verify", nil, c.status)
		c.who.call("PUT", "/api/security-checklist/"+c.id+"/enable-all", nil, c.status)
		c.who.call("PUT", "/api/security-checklist/"+c.id+"/item", map[string]any{"item": "versioning", "isEnabled": true}, c.status)
		c.who.call("PATCH", "/api/security-checklist", map[string]any{"storageId": c.id, "isEnabled": true}, c.status)
	}
}
