package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/test/servers"
)

// object writes JSON into a string, as Credentials and Source are given.
func object(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// eventually polls until ok, for at most 30 s.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s within 30 s", what)
		}
	}
}

func put(t *testing.T, srv servers.S3, bucket, key, content string) {
	t.Helper()
	if _, err := srv.Client().PutObject(context.Background(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(content)}); err != nil {
		t.Fatal(err)
	}
}

// s3Credentials are those of a server of tests.
func s3Credentials(t *testing.T, srv servers.S3) string {
	t.Helper()
	return object(t, map[string]any{"ServiceUrl": srv.Endpoint, "AccessKeyId": srv.AccessKey, "SecretAccessKey": srv.SecretKey, "RegionEndpoint": srv.Region, "AssumeRoleArn": nil, "UseIamRole": false})
}

// watch makes RealTime scans of a storage, as starting one over the API does.
func (w *world) watch(id string, scans ...control.RealTime) {
	w.t.Helper()
	ctx, c := context.Background(), w.d.Control()
	var nid ledger.ID
	if err := nid.UnmarshalText([]byte(id)); err != nil {
		w.t.Fatal(err)
	}
	n, err := c.Store.Noun(ctx, 0, ledger.Unit, nid)
	if err != nil {
		w.t.Fatal(err)
	}
	var body control.UnitBody
	if err := json.Unmarshal(n.Body, &body); err != nil {
		w.t.Fatal(err)
	}
	body.RealTime = scans
	if n.Body, err = json.Marshal(body); err != nil {
		w.t.Fatal(err)
	}
	if _, err := c.Store.SetNoun(ctx, n); err != nil {
		w.t.Fatal(err)
	}
	if err := c.Apply(ctx); err != nil {
		w.t.Fatal(err)
	}
}

// judged says how many objects of a storage have a verdict.
func (w *world) judged(name string) (n int) {
	w.t.Helper()
	for r, err := range w.d.Control().Entries(control.AsMachine(context.Background()), control.EntryQuery{Unit: name, State: "finished"}) {
		if err != nil {
			return 0
		}
		if r.Verdict != "not_scanned" {
			n++
		}
	}
	return n
}

func TestStorageOnS3(t *testing.T) {
	t.Parallel()
	srv := servers.Versitygw(t)
	srv.MakeBucket(t, "invoices", false)
	put(t, srv, "invoices", "2026/a.txt", "harmless")
	w := start(t, setup{})
	a := w.admin()
	credentials, source := s3Credentials(t, srv), object(t, map[string]any{"BucketName": "invoices", "FolderLocation": "2026"})
	good := func() map[string]any {
		return map[string]any{"Name": "Invoices", "StorageVendorType": "6", "StorageProtocolType": "0", "Credentials": credentials, "Source": source}
	}
	with := func(name string, v any) map[string]any {
		m := good()
		m[name] = v
		return m
	}
	for name, bad := range map[string]map[string]any{
		"no name":      with("Name", ""),
		"no vendor":    with("StorageVendorType", nil),
		"other vendor": with("StorageVendorType", "Dropbox"),
		"Box":          with("StorageVendorType", "Box"),
		"OneDrive":     with("StorageVendorType", 1),
		"Azure Files":  with("StorageVendorType", "AzureFiles"),
		"no JSON":      with("Credentials", "{"),
		"wrong secret": with("Credentials", strings.Replace(credentials, srv.SecretKey, "wrong", 1)),
		"no bucket":    with("Source", `{"BucketName":"no-such-bucket"}`),
		"odd bucket":   with("Source", `{"BucketName":"a/b?c"}`),
		"nobody there": with("Credentials", strings.Replace(credentials, srv.Endpoint, "http://127.0.0.1:1", 1)),
		"group":        with("GroupId", "0198f02f-0000-7000-8000-000000000001"),
		"account":      with("AccountId", "nonsense"),
		"a vault":      with("Name", "quarantine"),
		"long":         with("Name", strings.Repeat("x", 300)),
	} {
		got := a.call("POST", "/api/storage", bad, http.StatusBadRequest)
		if text := object(t, got); strings.Contains(text, srv.SecretKey) || at(got, "result") != 1.0 || word(got, "responseMessage") == "" {
			t.Errorf("%s: %s", name, text)
		}
	}
	group := word(a.call("POST", "/api/group", map[string]any{"name": "Finance"}, http.StatusOK), "groupId")
	got := a.call("POST", "/api/storage", with("GroupId", group), http.StatusOK)
	id := word(got, "storageId")
	if word(got, "entry.storageClientId") != id || word(got, "entry.groupId") != group || strings.Contains(object(t, got), srv.SecretKey) || word(got, "entry.url") == "" {
		t.Errorf("added: %v", got)
	}
	a.call("POST", "/api/storage", good(), http.StatusConflict)
	a.call("POST", "/api/storage", with("Name", "Again"), http.StatusConflict) // its place is taken
	a.call("DELETE", "/api/group/"+group, nil, http.StatusConflict)

	w.watch(id, control.RealTime{StartDate: time.Unix(1, 0)})
	eventually(t, "verdict", func() bool { return w.judged("Invoices") == 1 })
	got = a.call("GET", "/api/storage/"+id, nil, http.StatusOK)
	if at(got, "entry.storageStatus") != 0.0 || at(got, "entry.isRealTimeEnabled") != true || word(got, "entry.source") != object(t, map[string]string{"BucketName": "invoices", "FolderLocation": "2026"}) {
		t.Errorf("one: %v", got)
	}

	// A part of what was given changes, the rest stays; the secret of before is not
	// sent to another server.
	a.call("PATCH", "/api/storage/"+id, map[string]any{"Name": "Bills", "credentials": map[string]any{"RegionEndpoint": srv.Region}}, http.StatusOK)
	a.call("PATCH", "/api/storage/"+id, map[string]any{"credentials": map[string]any{"ServiceUrl": strings.Replace(srv.Endpoint, "127.0.0.1", "localhost", 1)}}, http.StatusBadRequest)
	a.call("PATCH", "/api/storage/"+id, map[string]any{"StorageVendorType": "9"}, http.StatusBadRequest)
	got = a.call("GET", "/api/storage/all", nil, http.StatusOK)
	if at(got, "totalCount") != 1.0 || word(got, "entries.0.name") != "Bills" || word(got, "entries.0.id") != id {
		t.Errorf("all: %v", got)
	}
	eventually(t, "renamed storage", func() bool { return w.judged("Bills") == 1 })

	r := w.as("reader")
	r.call("GET", "/api/storage/"+id, nil, http.StatusOK)
	r.call("POST", "/api/storage", good(), http.StatusForbidden)
	r.call("PATCH", "/api/storage/"+id, map[string]any{"Name": "Mine"}, http.StatusForbidden)
	r.call("DELETE", "/api/storage/"+id, nil, http.StatusForbidden)
	w.user("stranger", account.TenantAdministrator, 2)
	s := w.as("stranger")
	for _, none := range []*client{s, a} {
		which := id
		if none == a {
			which = "0198f02f-0000-7000-8000-000000000001"
		}
		none.call("GET", "/api/storage/"+which, nil, http.StatusNotFound)
		none.call("PATCH", "/api/storage/"+which, map[string]any{"Name": "Mine"}, http.StatusNotFound)
		none.call("DELETE", "/api/storage/"+which, nil, http.StatusNotFound)
		none.call("GET", "/api/storage/"+which+"/users", nil, http.StatusNotFound)
	}
	if got := s.call("GET", "/api/storage/all", nil, http.StatusOK); at(got, "totalCount") != 0.0 {
		t.Errorf("a stranger sees %v", got)
	}
	(&client{w: w}).call("GET", "/api/storage/all", nil, http.StatusUnauthorized)
	(&client{w: w}).call("POST", "/api/storage", good(), http.StatusUnauthorized)

	a.call("DELETE", "/api/storage/"+id, nil, http.StatusConflict) // it is watched
	a.call("DELETE", "/api/storage/"+id+"?ForceDelete=true", nil, http.StatusOK)
	a.call("GET", "/api/storage/"+id, nil, http.StatusNotFound)
	a.call("DELETE", "/api/storage/"+id, nil, http.StatusNotFound)
	a.call("DELETE", "/api/group/"+group, nil, http.StatusOK)
	again := word(a.call("POST", "/api/storage", with("Name", "Bills"), http.StatusOK), "storageId")
	if again == id {
		t.Error("a new storage has the id of an old one")
	}
	if strings.Contains(w.log.String(), srv.SecretKey) {
		t.Error("the log has the secret")
	}
}

// A multipart form says the same as JSON.
func TestStorageByForm(t *testing.T) {
	t.Parallel()
	srv := servers.Versitygw(t)
	srv.MakeBucket(t, "forms", false)
	w := start(t, setup{})
	a := w.admin()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for name, v := range map[string]string{"Name": "Forms", "storagevendortype": "S3Compatible", "Credentials": s3Credentials(t, srv), "Source": `{"bucketname":"forms"}`, "TransferMetadataAndChecksum": "true"} {
		if err := form.WriteField(name, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := form.Close(); err != nil {
		t.Fatal(err)
	}
	got := a.call("POST", "/api/storage", &body, http.StatusOK, "Content-Type", form.FormDataContentType())
	if at(got, "entry.transferMetadataAndChecksum") != true || at(got, "entry.storageVendorType") != 6.0 {
		t.Errorf("%v", got)
	}
	for _, broken := range []string{"--x\r\n", "", "--x\r\nContent-Disposition: form-data; name=\"Name\"\r\n\r\nhalf"} {
		a.call("POST", "/api/storage", strings.NewReader(broken), http.StatusBadRequest, "Content-Type", "multipart/form-data; boundary=x")
	}
	// The secret is sealed where it is kept, and the storage goes on after a restart.
	nouns, err := w.d.Control().Store.Nouns(t.Context(), 0, ledger.Unit)
	if err != nil || len(nouns) != 1 || bytes.Contains(nouns[0].Body, []byte(srv.SecretKey)) || bytes.Contains(nouns[0].Body, []byte(srv.AccessKey+`"`)) {
		t.Errorf("%v: %+v", err, nouns)
	}
	w.stop()
	again := start(t, setup{data: w.data})
	b := again.admin()
	eventually(t, "open storage after a restart", func() bool {
		return at(b.call("GET", "/api/storage/"+word(got, "storageId"), nil, http.StatusOK), "entry.storageStatus") == 0.0
	})
}
