package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
)

// keep writes a storage with a secret, as a helper that knows no vendor.
func keep(t *testing.T, w *world, name, group string) ledger.Noun {
	t.Helper()
	c := w.d.Control()
	body, err := json.Marshal(control.UnitBody{URL: "s3://bucket?endpoint=http://127.0.0.1:1", Options: map[string]string{"access_key": c.Seal.Seal(control.SealUnit, "AKID"), "secret_key": c.Seal.Seal(control.SealUnit, "planted-"+name)}, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	n := ledger.Noun{Tenant: account.DefaultTenant, Kind: ledger.Unit, Name: name, Body: body}
	if err := n.Parent.UnmarshalText([]byte(group)); err != nil {
		t.Fatal(err)
	}
	if n, err = c.Store.AddNoun(context.Background(), n); err != nil {
		t.Fatal(err)
	}
	return n
}

func upload(t *testing.T, c *client, archive []byte, password string, status int) map[string]any {
	t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	if archive != nil {
		f, err := m.CreateFormFile("ConfigurationFile", "landwaiter.config")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(archive); err != nil {
			t.Fatal(err)
		}
	}
	if password != "" {
		if err := m.WriteField("password", password); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return c.call("POST", "/api/configuration/import", &b, status, "Content-Type", m.FormDataContentType())
}

// TestConfiguration: what was exported is there after an import, elsewhere and
// at home, secrets too, and without a password no secret leaves.
func TestConfiguration(t *testing.T) {
	w := start(t, setup{})
	a := w.admin()
	group := word(a.call("POST", "/api/group", map[string]any{"name": "Finance"}, http.StatusOK), "groupId")
	keep(t, w, "invoices", group)
	resp, plain := a.do("GET", "/api/configuration/export", nil)
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(string(plain), "landwaiter configuration 1\n") {
		t.Fatalf("%s: %.100q", resp.Status, plain)
	}
	_, sealed := a.do("GET", "/api/configuration/export?password=a+long+enough+one", nil)
	a.call("GET", "/api/configuration/export?password=short", nil, http.StatusBadRequest)
	w.as("reader").call("GET", "/api/configuration/export", nil, http.StatusForbidden)

	elsewhere := start(t, setup{})
	b := elsewhere.admin()
	for _, c := range []struct {
		name     string
		data     []byte
		password string
		result   float64
	}{
		{"nothing", nil, "", 2}, {"no archive", []byte("PK\x03\x04"), "", 6}, {"another version", []byte("landwaiter configuration 9\nxyz"), "", 5},
		{"no password", sealed, "", 7}, {"wrong password", sealed, "another long one", 8}, {"cut off", sealed[:len(sealed)-10], "a long enough one", 8},
		{"plain, cut off", plain[:len(plain)-10], "", 6}, {"only a head", sealed[:40], "a long enough one", 6},
	} {
		if got := upload(t, b, c.data, c.password, http.StatusBadRequest); at(got, "result") != c.result {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if got := b.call("GET", "/api/group", nil, http.StatusOK); at(got, "totalCount") != 0.0 {
		t.Fatalf("something of it stayed: %v", got)
	}
	if got := upload(t, b, sealed, "a long enough one", http.StatusOK); at(got, "result") != 0.0 || at(got, "added") != 2.0 {
		t.Errorf("import: %v", got)
	}
	if got := b.call("GET", "/api/group/"+group, nil, http.StatusOK); word(got, "entry.name") != "Finance" {
		t.Errorf("the group: %v", got)
	}
	if got := secretOf(t, elsewhere, "invoices"); got != "planted-invoices" {
		t.Errorf("the secret is %q", got)
	}
	// Again, at home: the same names are changed, nothing is doubled.
	if got := upload(t, a, plain, "", http.StatusOK); at(got, "changed") != 2.0 || at(got, "added") != 0.0 {
		t.Errorf("at home: %v", got)
	}
	if got := secretOf(t, w, "invoices"); got != "planted-invoices" {
		t.Errorf("an archive without secrets left %q", got)
	}
	if got := upload(t, start(t, setup{}).admin(), plain, "", http.StatusOK); at(got, "added") != 2.0 {
		t.Errorf("without secrets, elsewhere: %v", got)
	}
}

func secretOf(t *testing.T, w *world, unit string) string {
	t.Helper()
	c := w.d.Control()
	n, err := c.Store.NounNamed(context.Background(), account.DefaultTenant, ledger.Unit, unit)
	if err != nil {
		t.Fatal(err)
	}
	body, err := control.Unseal(c.Seal, n)
	if err != nil {
		t.Fatal(err)
	}
	return body.Options["secret_key"]
}

// TestHostileArchive: an archive of an administrator brings no storage that reads
// this machine's files, reaches what may not be, or takes a name that is ours; and a
// secret does not follow its noun to another place.
func TestHostileArchive(t *testing.T) {
	w := start(t, setup{closed: true})
	a := w.admin()
	archive := func(kind, name, body string) []byte {
		var b bytes.Buffer
		b.WriteString("landwaiter configuration 1\n")
		z := gzip.NewWriter(&b)
		fmt.Fprintf(z, `{"nouns":[{"id":%q,"kind":%q,"name":%q,"body":%s}]}`, ledger.NewID(), kind, name, body)
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	upload(t, a, archive("unit", "quarantine", `{"url":"s3://b"}`), "", http.StatusBadRequest)
	upload(t, a, archive("unit", "tenant-2:x", `{"url":"s3://b"}`), "", http.StatusBadRequest)
	for name, body := range map[string]string{
		"file":     `{"url":"file:///etc"}`,
		"key file": `{"url":"gs://b","options":{"key_file":{"$secret":"/etc/passwd"}}}`,
		"external": `{"url":"gs://b","options":{"credentials_json":{"$secret":"{\"type\":\"external_account\"}"}}}`,
		"endpoint": `{"url":"s3://b","options":{"endpoint":{"$secret":"http://127.0.0.1:9"},"access_key":{"$secret":"a"},"secret_key":{"$secret":"b"}}}`,
	} {
		upload(t, a, archive("unit", name, body), "", http.StatusOK)
		w.until("refused: "+name, func() bool {
			got := a.call("GET", "/api/landwaiter/storages", nil, http.StatusOK)
			list, _ := at(got, "entries").([]any)
			for _, e := range list {
				if word(e, "unit") == name {
					return word(e, "state") == "down" && !strings.Contains(word(e, "detail"), "being opened")
				}
			}
			return strings.Contains(w.log.String(), "cannot be served") && strings.Contains(w.log.String(), name) // not even that far
		})
	}
	group := word(a.call("POST", "/api/group", map[string]any{"name": "G", "description": "sealed:1:AAAA"}, http.StatusOK), "groupId")
	keep(t, w, "invoices", group)
	upload(t, a, archive("unit", "invoices", `{"url":"s3://bucket?endpoint=http://192.0.2.1","options":{"access_key":{"$secret":null},"secret_key":{"$secret":null}}}`), "", http.StatusOK)
	if got := secretOf(t, w, "invoices"); got != "" {
		t.Errorf("the secret went along: %q", got)
	}
	a.call("POST", "/api/settings/encryption/generate", nil, http.StatusOK) // words that look sealed do not stop it
}

// TestRotatedSecrets: what was sealed with the old key opens with the new one,
// now and after a start.
func TestRotatedSecrets(t *testing.T) {
	w := start(t, setup{})
	a := w.admin()
	group := word(a.call("POST", "/api/group", map[string]any{"name": "Finance"}, http.StatusOK), "groupId")
	before := keep(t, w, "invoices", group)
	a.call("POST", "/api/settings/encryption/generate", nil, http.StatusOK)
	after, err := w.d.Control().Store.NounNamed(context.Background(), account.DefaultTenant, ledger.Unit, "invoices")
	if err != nil || bytes.Equal(before.Body, after.Body) {
		t.Errorf("nothing was sealed anew: %v", err)
	}
	if got := secretOf(t, w, "invoices"); got != "planted-invoices" {
		t.Errorf("now: %q", got)
	}
	w.stop()
	again := start(t, setup{data: w.data})
	if got := secretOf(t, again, "invoices"); got != "planted-invoices" {
		t.Errorf("after a start: %q", got)
	}
}
