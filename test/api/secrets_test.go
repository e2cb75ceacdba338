package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/internal/seal"
	"github.com/landwaiter/landwaiter/test/servers"
)

// TestSecrets plants secrets wherever somebody may set one, and looks for them
// in every answer, in the log, the metrics, an export without a password and all
// files of the data folder but the key's own.
func TestSecrets(t *testing.T) {
	planted := map[string]string{}
	plant := func(name string) string {
		s := fmt.Sprintf("pLaNtEd%02dx%s", len(planted), strings.Repeat("Q", 24))
		planted[name] = s
		return s
	}
	srv := servers.Versitygw(t)
	srv.MakeBucket(t, "planted", false)
	put(t, srv, "planted", "one.txt", "harmless")
	srv.MakeBucket(t, "sown", false)
	fileSecret := plant("options of a unit of the file")
	hookSecret := plant("a hook's token")
	w := start(t, setup{config: "units: [{name: filed, url: \"s3://planted?endpoint=" + srv.Endpoint + "&region=us-east-1&path_style=true\", options: {access_key: AKID, secret_key: " + fileSecret + "}}]\n" +
		"hooks: [{name: landing, kind: s3, options: {token: " + hookSecret + "}}]\n" +
		"pools: [{name: core, instances: [{url: \"mdcore://127.0.0.1:1\", api_key: " + plant("an instance's key in the file") + "}, {url: \"mdcore://127.0.0.1:2\", user: u, password: " + plant("an instance's password in the file") + "}]}]\n"})
	a := w.admin()
	planted["an access token"] = a.token
	planted["a password"] = password
	got := a.call("POST", "/api/user/authenticate", map[string]any{"userName": "admin", "password": password}, http.StatusOK)
	planted["a refresh token"] = word(got, "refreshToken")
	u, err := w.d.Control().Store.UserOf(t.Context(), "reader")
	if err != nil {
		t.Fatal(err)
	}
	planted["an API key"] = w.withKey(u).key

	a.call("POST", "/api/user/create", map[string]any{"userName": "new", "fullName": "New", "email": "new@example.org", "password": plant("a new user's password"), "role": 1}, http.StatusOK)
	a.call("POST", "/api/user/register", map[string]any{"userName": "waits", "fullName": "W", "email": "w@example.org", "password": plant("who registers")}, http.StatusOK)
	credentials := strings.Replace(s3Credentials(t, srv), srv.SecretKey, srv.SecretKey, 1)
	planted["a storage's secret"] = srv.SecretKey
	storage := word(a.call("POST", "/api/storage", map[string]any{"Name": "Planted", "StorageVendorType": "6", "StorageProtocolType": "0", "Credentials": credentials, "Source": `{"BucketName":"sown"}`}, http.StatusOK), "storageId")
	a.call("POST", "/api/account", map[string]any{"Name": "Account", "VendorType": "6", "Credentials": credentials}, http.StatusOK)
	a.call("POST", "/api/storage", map[string]any{"Name": "Refused", "StorageVendorType": "6", "StorageProtocolType": "0", "Source": `{"BucketName":"refused"}`,
		"Credentials": strings.Replace(s3Credentials(t, srv), srv.SecretKey, plant("a secret that is refused"), 1)}, http.StatusBadRequest)
	pool := word(a.call("POST", "/api/scanpool", map[string]any{"name": "Cores", "scanPoolType": 0}, http.StatusOK), "scanPoolId")
	a.call("POST", "/api/scaninstance", map[string]any{"scanPoolId": pool, "url": "http://127.0.0.1:9", "scanInstanceType": 0, "apiKey": plant("an instance's key")}, http.StatusOK)
	a.call("POST", "/api/scaninstance/Test", map[string]any{"url": "http://127.0.0.1:9", "apiKey": plant("a key that is tried")}, 0)
	a.call("PATCH", "/api/settings/smtp", map[string]any{"host": "127.0.0.1", "port": 9, "senderAddress": "lw@example.org", "username": "u", "password": plant("the mail server's password"), "isSmtpEnabled": true}, http.StatusOK)
	planted["a webhook's secret"] = "whsec_" + base64.StdEncoding.EncodeToString([]byte(plant("the bytes of a webhook's secret")))
	a.call("PUT", "/api/settings/notifications", map[string]any{"fileScannedWebhook": map[string]any{"isEnabled": true, "url": "http://127.0.0.1:9/hook", "secret": planted["a webhook's secret"],
		"headers": []any{map[string]any{"name": "X-Token", "value": plant("a webhook's header")}}}}, http.StatusOK)
	a.call("POST", "/api/externallogger/kafka", map[string]any{"isEnabled": true, "connectionSettings": map[string]any{"bootstrapServers": "127.0.0.1:9", "topic": "t", "saslMechanism": "plain", "username": "u", "password": plant("a broker's password")}}, http.StatusOK)
	a.call("PATCH", "/api/sso", map[string]any{"ssoProvider": 1, "ssoType": 0, "clientId": "c", "clientSecret": plant("an SSO client's secret"), "authority": "http://127.0.0.1:9", "baseUrl": "http://127.0.0.1:9"}, 0)
	a.call("POST", "/api/user/authenticate", map[string]any{"userName": "admin", "password": plant("a wrong password")}, http.StatusUnauthorized)
	a.call("POST", "/api/user/password/reset", map[string]any{"userInput": "new@example.org"}, 0)
	a.call("GET", "/api/configuration/export?password="+plant("an export's password"), nil, http.StatusOK)
	a.call("PUT", "/api/file", map[string]any{"storageId": storage, "password": plant("an archive's password")}, 0)
	key, err := os.ReadFile(filepath.Join(w.data, seal.FileName))
	if err != nil {
		t.Fatal(err)
	}
	planted["the encryption key"] = strings.TrimSpace(string(key))

	found := 0
	look := func(where string, text []byte) {
		for name, s := range planted {
			if s == "" {
				t.Errorf("%s was not planted", name)
			}
			if bytes.Contains(text, []byte(s)) {
				found++
				t.Errorf("%s is in %s", name, where)
			}
		}
	}
	answers, as := 0, w.session(w.someone("admin"))
	ids := []string{storage, pool, u.ID.String()}
	for _, op := range w.document().operations {
		if op.method != http.MethodGet || op.streams() {
			continue
		}
		for _, id := range ids {
			path := op.url(func(name string) string {
				if unknown(name) == "0" || unknown(name) == "10" {
					return unknown(name)
				}
				return id
			})
			_, body := as.do("GET", path, nil)
			look("the answer to GET "+path, body)
			answers++
		}
	}
	_, export := as.do("GET", "/api/configuration/export?exportSmtp=true&exportEmailNotifications=true&exportRetention=true", nil)
	look("an export without a password", unpacked(t, export))
	_, metrics := a.do("GET", "/metrics", nil)
	look("the metrics", metrics)
	w.stop()
	look("the log", w.log.Bytes())
	files := 0
	err = filepath.WalkDir(w.data, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == seal.FileName || d.Name() == "landwaiter.yaml" {
			return err
		}
		data, err := os.ReadFile(path)
		look("the file "+d.Name(), data)
		files++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("secrets=%d found=%d answers=%d files=%d", len(planted), found, answers, files)
	if len(planted) < 20 {
		t.Errorf("only %d secrets were planted", len(planted))
	}
}

// someone is a user by login.
func (w *world) someone(login string) account.User {
	w.t.Helper()
	u, err := w.d.Control().Store.UserOf(w.t.Context(), login)
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

// unpacked is what is packed in an archive that is not encrypted.
func unpacked(t *testing.T, archive []byte) []byte {
	t.Helper()
	_, packed, ok := bytes.Cut(archive, []byte("\n"))
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if !ok || err != nil {
		t.Fatalf("%.60q: %v", archive, err)
	}
	text, err := io.ReadAll(z)
	if err != nil || !bytes.Contains(text, []byte("Planted")) {
		t.Fatalf("%.60q: %v", text, err)
	}
	return text
}
