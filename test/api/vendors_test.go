package api_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/test/servers"
)

// offered is what a vendor's account and a storage in it are added with.
type offered struct {
	vendor, place string
	credentials   map[string]any
	source        map[string]any
	secret        string
	told          string // the name of an object, as the vendor's event has it
}

// joins adds an account and a storage of it, sees its object scanned, and tells of
// another by the webhook.
func joins(t *testing.T, o offered) {
	t.Helper()
	w := start(t, setup{})
	a := w.admin()
	got := a.call("POST", "/api/account", map[string]any{"Name": "All", "VendorType": o.vendor, "Credentials": object(t, o.credentials)}, http.StatusOK)
	id := word(got, "accountId")
	found := object(t, a.call("GET", "/api/account/"+id+"/storages", nil, http.StatusOK))
	if !strings.Contains(found, `"bucketName":"`+o.place+`"`) {
		t.Errorf("%s is not among %s", o.place, found)
	}
	alone := a.call("POST", "/api/storage", map[string]any{"Name": "Alone", "StorageVendorType": o.vendor, "Credentials": object(t, o.credentials), "Source": object(t, o.source)}, http.StatusOK)
	if text := object(t, alone); o.secret != "" && strings.Contains(text, o.secret) {
		t.Errorf("the secret is told: %s", text)
	}
	storage := word(alone, "storageId")
	a.call("PATCH", "/api/storage/"+storage, map[string]any{"AccountId": id}, http.StatusOK) // and with the account's credentials
	w.watch(storage, control.RealTime{Events: true})
	eventually(t, "verdict", func() bool { return w.judged("Alone") == 1 })
	file := word(a.call("POST", "/api/webhook/realtime", map[string]any{"storageClientId": storage, "metadata": object(t, map[string]any{"Name": o.told})}, http.StatusOK), "correlationId")
	eventually(t, "entry of the object that was told of", func() bool {
		r, ok := w.entry("Alone", file)
		return ok && r.Key == "one.txt" && r.Verdict == "clean" // it was known: what is known is told
	})
	if text := w.log.String(); o.secret != "" && strings.Contains(text, o.secret) {
		t.Error("the log has the secret")
	}
}

func TestStorageOnAzure(t *testing.T) {
	t.Parallel()
	srv := servers.Azurite(t)
	client, err := azblob.NewClientFromConnectionString(srv.ConnectionString(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateContainer(t.Context(), "landing", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UploadBuffer(t.Context(), "landing", "in/one.txt", []byte("harmless"), nil); err != nil {
		t.Fatal(err)
	}
	joins(t, offered{vendor: "AzureBlob", place: "landing", secret: srv.Key, told: "landing/in/one.txt",
		credentials: map[string]any{"StorageAccount": srv.Account, "AccountKey": srv.Key, "ServiceUrl": srv.Blob}, source: map[string]any{"Container": "landing", "FolderLocation": "in"}})
}

func TestStorageOnGoogle(t *testing.T) {
	t.Parallel()
	srv := servers.FakeGCS(t)
	srv.MakeBucket(t, "landing", false)
	srv.Write(t, "landing", "in/one.txt", []byte("harmless"))
	joins(t, offered{vendor: "9", place: "landing", told: "in/one.txt",
		credentials: map[string]any{"ServiceUrl": srv.Endpoint, "Anonymous": true, "ProjectId": "test"}, source: map[string]any{"BucketName": "landing", "FolderLocation": "in"}})
}

func TestStorageOnSMB(t *testing.T) {
	t.Parallel()
	srv := servers.StartSamba(t)
	in := filepath.Join(srv.Plain, "in")
	if err := os.Mkdir(in, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(in, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(in, "one.txt"), []byte("harmless"), 0o666); err != nil {
		t.Fatal(err)
	}
	joins(t, offered{vendor: "DellIsilon", place: "plain", secret: srv.Password, told: `in\one.txt`,
		credentials: map[string]any{"Server": net.JoinHostPort(srv.Host, srv.Port), "User": srv.User, "Password": srv.Password}, source: map[string]any{"SharePath": `\\` + srv.Host + `\plain\in`}})
}

// What a credentials file or a local folder could lead to on this machine is
// refused before anybody is called.
func TestStorageNotHere(t *testing.T) {
	t.Parallel()
	root, other, inFile := t.TempDir(), t.TempDir(), t.TempDir()
	for _, name := range []string{"in", "in/below"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(other, filepath.Join(root, "out")); err != nil {
		t.Fatal(err)
	}
	w := start(t, setup{config: "server: {listen: 127.0.0.1:0, local_roots: [" + root + "]}\nunits: [{name: Filed, url: file://" + inFile + "}]\n"})
	a := w.admin()
	add := func(who *client, status int, vendor string, credentials, source map[string]any) map[string]any {
		t.Helper()
		return who.call("POST", "/api/storage", map[string]any{"Name": "Local", "StorageVendorType": vendor, "Credentials": object(t, credentials), "Source": object(t, source)}, status)
	}
	for _, path := range []string{other, "/", "/etc", root + "-more", filepath.Join(root, "out"), filepath.Join(root, "in", "..", ".."), filepath.Join(root, "none")} {
		add(a, http.StatusForbidden, "LocalFolder", nil, map[string]any{"FolderPath": path})
	}
	add(a, http.StatusBadRequest, "LocalFolder", nil, map[string]any{"FolderPath": "in"})
	for _, file := range []string{`{"type":"external_account","credential_source":{"file":"/etc/passwd"}}`, `{"type":"external_account","credential_source":{"executable":{"command":"id"}}}`,
		`{"type":"authorized_user","client_id":"x"}`, `{"type":"service_account","universe_domain":"example.org"}`, `nonsense`} {
		got := a.call("POST", "/api/storage", map[string]any{"Name": "G", "StorageVendorType": "GoogleCloud", "CredentialsFile": file, "Source": `{"BucketName":"landing"}`}, http.StatusBadRequest)
		if !strings.Contains(word(got, "responseMessage"), "CredentialsFile") {
			t.Errorf("%s: %v", file, got)
		}
	}
	add(a, http.StatusBadRequest, "GoogleCloud", map[string]any{"UseAdc": true, "ServiceUrl": "https://elsewhere.example"}, map[string]any{"BucketName": "landing"})
	w.user("stranger", account.TenantAdministrator, 2)
	s := w.as("stranger")
	add(s, http.StatusForbidden, "LocalFolder", nil, map[string]any{"FolderPath": filepath.Join(root, "in")})
	add(s, http.StatusForbidden, "AmazonS3", map[string]any{"UseIamRole": true}, map[string]any{"BucketName": "landing"})
	add(s, http.StatusForbidden, "GoogleCloud", map[string]any{"UseAdc": true}, map[string]any{"BucketName": "landing"})
	add(a, http.StatusOK, "LocalFolder", nil, map[string]any{"FolderPath": filepath.Join(root, "in")})
	a.call("POST", "/api/storage", map[string]any{"Name": "Below", "StorageVendorType": 100, "Source": map[string]any{"FolderPath": filepath.Join(root, "in", "below")}}, http.StatusConflict)

	// What stands in the configuration file is shown, and changed there alone.
	got := a.call("GET", "/api/storage/enumerate/0/1?SortingOrder=asc&search=FIL", nil, http.StatusOK)
	filed := word(got, "entries.0.id")
	if at(got, "totalCount") != 1.0 || word(got, "entries.0.name") != "Filed" || at(got, "entries.0.isManaged") != true || at(got, "entries.0.storageVendorType") != 100.0 {
		t.Fatalf("%v", got)
	}
	a.call("GET", "/api/storage/"+filed, nil, http.StatusOK)
	a.call("PATCH", "/api/storage/"+filed, map[string]any{"Name": "x"}, http.StatusForbidden)
	a.call("DELETE", "/api/storage/"+filed, nil, http.StatusForbidden)
	a.call("POST", "/api/storage", map[string]any{"Name": "Filed", "StorageVendorType": 100, "Source": map[string]any{"FolderPath": filepath.Join(root, "in", "below")}}, http.StatusConflict)
	s.call("GET", "/api/storage/"+filed, nil, http.StatusNotFound)
	s.call("DELETE", "/api/storage/"+filed, nil, http.StatusNotFound)
	if err := os.WriteFile(filepath.Join(inFile, "x.txt"), []byte("harmless"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.call("POST", "/api/webhook/realtime", map[string]any{"storageClientId": filed, "metadata": `{"name":"x.txt"}`}, http.StatusOK)
}

func TestStorageLists(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	w := start(t, setup{config: "server: {listen: 127.0.0.1:0, local_roots: [" + root + "]}\n"})
	a := w.admin()
	var list []map[string]any
	for _, name := range []string{"Beta", "alpha", "Gamma", "missing"} {
		path := filepath.Join(root, name)
		if name != "missing" {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		list = append(list, map[string]any{"name": name, "storageVendorType": "localfolder", "source": map[string]any{"folderPath": path}})
	}
	got := a.call("POST", "/api/storage/batch", list, http.StatusOK)
	token := word(got, "storageId")
	again := a.call("GET", "/api/storage/results?token="+token, nil, http.StatusOK)
	for _, b := range []map[string]any{got, again} {
		if at(b, "isCompleted") != true || at(b, "totalCount") != 4.0 || at(b, "entries.0.result") != 0.0 || word(b, "entries.0.storageId") == "" ||
			at(b, "entries.3.result") != 1.0 || word(b, "entries.3.storageId") != "" || word(b, "entries.3.responseMessage") == "" {
			t.Errorf("batch: %v", b)
		}
	}
	a.call("POST", "/api/storage/batch", map[string]any{"storages": list[:0]}, http.StatusBadRequest)
	a.call("POST", "/api/storage/batch", "[1]", http.StatusBadRequest)
	a.call("POST", "/api/storage/batch", "{", http.StatusBadRequest)
	a.call("GET", "/api/storage/results?token=nonsense", nil, http.StatusNotFound)
	r := w.as("reader")
	r.call("POST", "/api/storage/batch", list, http.StatusForbidden)
	w.user("stranger", account.TenantAdministrator, 2)
	w.as("stranger").call("GET", "/api/storage/results?token="+token, nil, http.StatusNotFound)

	names := func(query string) string {
		t.Helper()
		var l []string
		for _, e := range at(r.call("GET", "/api/storage/enumerate/"+query, nil, http.StatusOK), "entries").([]any) {
			l = append(l, word(e, "name"))
		}
		return strings.Join(l, " ")
	}
	for query, want := range map[string]string{"0/10": "Beta Gamma alpha", "1/1": "Gamma", "0/2?sortingOrder=desc": "alpha Gamma", "9/10": "", "0/10?search=M": "Gamma",
		"0/10?storageType=100": "Beta Gamma alpha", "0/10?storageType=AmazonS3": "", "0/0": "", "99999999/99999999": ""} {
		if got := names(query); got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	eventually(t, "open storages", func() bool {
		return names("0/10?storageStatus=0") == "Beta Gamma alpha" && names("0/10?storageStatus=1") == ""
	})
	for _, bad := range []string{"x/10", "-1/10", "0/-1", "0/10?storageType=none"} {
		r.call("GET", "/api/storage/enumerate/"+bad, nil, http.StatusBadRequest)
	}

	id := word(got, "entries.0.storageId")
	users := r.call("GET", "/api/storage/"+id+"/users?filter=ADM", nil, http.StatusOK)
	if at(users, "totalCount") != 1.0 || word(users, "entries.0.fullName") != "admin" {
		t.Errorf("users: %v", users)
	}
	admin := word(users, "entries.0.id")
	for _, path := range []string{"/user?UserId=" + admin, "/" + admin} {
		if got := r.call("GET", "/api/storage/"+id+path, nil, http.StatusOK); word(got, "userName") != "admin" {
			t.Errorf("%s: %v", path, got)
		}
	}
	for _, path := range []string{"/user?userId=nonsense", "/nonsense", "/user"} {
		r.call("GET", "/api/storage/"+id+path, nil, http.StatusNotFound)
	}
	if got := object(t, at(r.call("GET", "/api/configuration/enabledModules", nil, http.StatusOK), "enabledModules")); got != "[0,3,5,7,100]" {
		t.Errorf("modules: %s", got)
	}
	(&client{w: w}).call("GET", "/api/configuration/enabledModules", nil, http.StatusUnauthorized)
}

// Whoever may add storages must not make the daemon call what only it can reach.
func TestStorageOutOfReach(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	var asked []string
	w.d.Control().Reach = func(_ context.Context, rawURL string) error {
		asked = append(asked, rawURL)
		return errors.New("a private network")
	}
	a := w.admin()
	key := object(t, map[string]any{"type": "service_account", "token_uri": "http://169.254.169.254/token"})
	for address, fields := range map[string]map[string]any{
		"http://10.0.0.1:9000":         {"VendorType": "S3Compatible", "Credentials": `{"ServiceUrl":"http://10.0.0.1:9000","AccessKeyId":"a","SecretAccessKey":"b"}`, "Source": `{"BucketName":"landing"}`},
		"http://10.0.0.2:9000":         {"VendorType": "AmazonS3", "Credentials": `{"ServiceUrl":"http://10.0.0.2:9000","UseIamRole":true}`, "Source": `{"BucketName":"landing"}`},
		"http://10.0.0.3/a":            {"VendorType": "AzureBlob", "Credentials": `{"ServiceUrl":"http://10.0.0.3/a","StorageAccount":"abc","AccountKey":"YQ=="}`, "Source": `{"Container":"landing"}`},
		"http://10.0.0.4":              {"VendorType": "GoogleCloud", "Credentials": `{"ServiceUrl":"http://10.0.0.4","Anonymous":true}`, "Source": `{"BucketName":"landing"}`},
		"http://169.254.169.254/token": {"VendorType": "GoogleCloud", "CredentialsFile": key, "Source": `{"BucketName":"landing"}`},
		"https://10.0.0.5:445":         {"VendorType": "SmbCompatible", "Credentials": `{"Server":"10.0.0.5","User":"u","Password":"p"}`, "Source": `{"SharePath":"landing"}`},
	} {
		fields["Name"], fields["StorageVendorType"] = "Inside", fields["VendorType"]
		for _, path := range []string{"/api/storage", "/api/account"} {
			asked = nil
			got := a.call("POST", path, fields, http.StatusBadRequest)
			if !strings.Contains(word(got, "responseMessage"), "may not be reached") || len(asked) != 1 || asked[0] != address {
				t.Errorf("%s %s: asked for %v: %v", path, address, asked, got)
			}
		}
	}
}

// Of two that want one place at the same time one gets it.
func TestStorageRace(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	w := start(t, setup{config: "server: {listen: 127.0.0.1:0, local_roots: [" + root + "]}\n"})
	var list []map[string]any
	for i := range 8 {
		list = append(list, map[string]any{"name": fmt.Sprint("S", i), "storageVendorType": 100, "source": map[string]any{"folderPath": root}})
	}
	got := w.admin().call("POST", "/api/storage/batch", list, http.StatusOK)
	added := 0
	for _, e := range at(got, "entries").([]any) {
		if at(e, "result") == 0.0 {
			added++
		}
	}
	if added != 1 {
		t.Errorf("%d were added: %v", added, got)
	}
}

// A storage whose address may not be reached any more is not opened again.
func TestStorageReachAgain(t *testing.T) {
	t.Parallel()
	srv := servers.Versitygw(t)
	srv.MakeBucket(t, "landing", false)
	w := start(t, setup{})
	var closed atomic.Bool
	w.d.Control().Reach = func(context.Context, string) error {
		if closed.Load() {
			return errors.New("it is inside now")
		}
		return nil
	}
	a := w.admin()
	id := word(a.call("POST", "/api/account", map[string]any{"Name": "All", "VendorType": 6, "Credentials": s3Credentials(t, srv)}, http.StatusOK), "accountId")
	storage := word(a.call("POST", "/api/storage", map[string]any{"Name": "S", "StorageVendorType": 6, "AccountId": id, "Source": `{"BucketName":"landing"}`}, http.StatusOK), "storageId")
	closed.Store(true)
	a.call("PATCH", "/api/storage/"+storage, map[string]any{"Name": "T"}, http.StatusOK) // it is opened anew
	a.call("GET", "/api/account/"+id+"/storages", nil, http.StatusBadRequest)
	eventually(t, "refusal", func() bool {
		got := a.call("GET", "/api/storage/"+storage, nil, http.StatusOK)
		return at(got, "entry.storageStatus") == 1.0 && strings.Contains(word(got, "entry.storageStatusMessage"), "it is inside now")
	})
}
