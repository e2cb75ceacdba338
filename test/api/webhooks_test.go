package api_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/test/servers"
)

// entry reads an entry by its id, as somebody follows a file.
func (w *world) entry(name, id string) (ledger.Record, bool) {
	w.t.Helper()
	for r, err := range w.d.Control().Entries(control.AsMachine(context.Background()), control.EntryQuery{Unit: name}) {
		if err != nil {
			w.t.Fatal(err)
		}
		if r.ID == id {
			return r, true
		}
	}
	return ledger.Record{}, false
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	srv := servers.Versitygw(t)
	srv.MakeBucket(t, "landing", false)
	both(t, setup{}, func(t *testing.T, w *world) {
		a := w.admin()
		id := word(a.call("POST", "/api/storage", map[string]any{"Name": "Landing", "StorageVendorType": 6, "Credentials": s3Credentials(t, srv),
			"Source": `{"BucketName":"landing","FolderLocation":"in"}`}, http.StatusOK), "storageId")
		event := func(key string) map[string]any {
			return map[string]any{"Metadata": object(t, map[string]any{"S3": map[string]any{"object": map[string]any{"Key": key}, "bucket": map[string]any{"name": "landing"}}}), "storageClientId": id}
		}
		if got := a.call("POST", "/api/webhook/realtime", event("in/a b+c.txt"), http.StatusBadRequest); !strings.Contains(word(got, "responseMessage"), "is not enabled") {
			t.Errorf("%v", got)
		}
		w.watch(id, control.RealTime{})
		if got := a.call("POST", "/api/webhook/realtime", event("in/a b+c.txt"), http.StatusBadRequest); !strings.Contains(word(got, "responseMessage"), "not set to Event Based") {
			t.Errorf("%v", got)
		}
		w.watch(id, control.RealTime{Events: true})
		eventually(t, "open storage", func() bool {
			return at(a.call("GET", "/api/storage/"+id, nil, http.StatusOK), "entry.storageStatus") == 0.0
		})
		put(t, srv, "landing", "in/a b+c.txt", "harmless")
		got := a.call("POST", "/api/webhook/realtime", event("in/a b+c.txt"), http.StatusOK)
		file := word(got, "correlationId")
		eventually(t, "verdict", func() bool {
			r, ok := w.entry("Landing", file)
			return ok && r.Verdict == "clean" && r.Key == "a b+c.txt"
		})
		gone := word(a.call("POST", "/api/webhook/realtime/"+id, map[string]any{"s3": map[string]any{"object": map[string]any{"key": "in/none"}}}, http.StatusOK), "correlationId")
		eventually(t, "end of what is not there", func() bool {
			r, ok := w.entry("Landing", gone)
			return ok && r.Reason == "gone"
		})
		for name, bad := range map[string]map[string]any{
			"outside":        event("out/x"),
			"no key":         event(""),
			"not JSON":       {"metadata": "{", "storageClientId": id},
			"empty":          {"metadata": "", "storageClientId": id},
			"other bucket":   {"metadata": `{"s3":{"bucket":{"name":"x"},"object":{"key":"in/x"}}}`, "storageClientId": id},
			"of two kinds":   {"metadata": map[string]any{"s3": 1}, "storageClientId": id},
			"no storage":     {"metadata": "{}"},
			"a number":       {"metadata": `{"s3":{"object":{"key":7}}}`, "storageClientId": id},
			"key of a novel": event("in/" + strings.Repeat("x", 5000)),
		} {
			if got := a.call("POST", "/api/webhook/realtime", bad, http.StatusBadRequest); word(got, "responseMessage") == "" {
				t.Errorf("%s: %v", name, got)
			}
		}
		missing := event("in/x")
		for _, none := range []string{"0198f02f-0000-7000-8000-000000000001", "nonsense"} {
			missing["storageClientId"] = none
			a.call("POST", "/api/webhook/realtime", missing, http.StatusNotFound)
			a.call("POST", "/api/webhook/realtime/"+none, missing, http.StatusNotFound)
			withScan := event("in/x")
			withScan["scanId"] = none
			a.call("POST", "/api/webhook/realtime", withScan, http.StatusNotFound)
		}
		w.user("stranger"+filepath.Base(t.Name()), account.TenantAdministrator, 2)
		w.as("stranger"+filepath.Base(t.Name())).call("POST", "/api/webhook/realtime", event("in/x"), http.StatusNotFound)
		w.as("reader").call("POST", "/api/webhook/realtime", event("in/x"), http.StatusForbidden)
		(&client{w: w}).call("POST", "/api/webhook/realtime", event("in/x"), http.StatusUnauthorized)

		// Of folders that are watched by themselves each event names its scan, or is
		// for whichever has the object in it.
		w.watch(id, control.RealTime{Folder: "one", Events: true}, control.RealTime{Folder: "two", Events: true})
		a.call("POST", "/api/webhook/realtime", event("in/three/x"), http.StatusBadRequest)
		a.call("POST", "/api/webhook/realtime", event("in/two/x"), http.StatusOK)
		scoped := event("in/two/x")
		scoped["scanId"] = w.scanOf("Landing", "two")
		a.call("POST", "/api/webhook/realtime", scoped, http.StatusOK)
		scoped["scanId"] = w.scanOf("Landing", "one")
		a.call("POST", "/api/webhook/realtime", scoped, http.StatusBadRequest)
	})
}

// scanOf is the id of the RealTime scan of a folder.
func (w *world) scanOf(name, folder string) string {
	w.t.Helper()
	ctx, s := context.Background(), w.d.Control().Store
	units, err := s.Units(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, u := range units {
		if u.Name != name {
			continue
		}
		scans, err := s.Scans(ctx, u.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, sc := range scans {
			if sc.Partition == folder && sc.Type == ledger.RealTime {
				return sc.ID.String()
			}
		}
	}
	w.t.Fatalf("no scan of %q", folder)
	return ""
}

// Box and Microsoft Graph call without a token. Both callers are stand-ins for
// the vendors, made from their documents.
func TestPublicWebhooks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, setup{config: "server: {listen: 127.0.0.1:0, local_roots: [" + dir + "]}\n"})
	if err := os.MkdirAll(filepath.Join(dir, "box", "Reports"), 0o700); err != nil {
		t.Fatal(err)
	}
	a := w.admin()
	id := word(a.call("POST", "/api/storage", map[string]any{"Name": "Box", "StorageVendorType": "LocalFolder", "Source": map[string]any{"FolderPath": filepath.Join(dir, "box")},
		"Credentials": map[string]any{"WebhookPrimaryKey": "first", "WebhookSecondaryKey": "second", "ClientState": "state"}}, http.StatusOK), "storageId")
	w.watch(id, control.RealTime{Events: true})
	eventually(t, "open storage", func() bool {
		return at(a.call("GET", "/api/storage/"+id, nil, http.StatusOK), "entry.storageStatus") == 0.0
	})
	if err := os.WriteFile(filepath.Join(dir, "box", "Reports", "q.txt"), []byte("harmless"), 0o600); err != nil {
		t.Fatal(err)
	}
	body := `{"type":"webhook_event","id":"1","trigger":"FILE.UPLOADED","source":{"id":"9","type":"file","name":"q.txt","path_collection":{"total_count":2,"entries":[{"type":"folder","id":"0","name":"All Files"},{"type":"folder","id":"7","name":"Reports"}]}}}`
	anybody := &client{w: w}
	call := func(body, key, header string, at time.Time, status int) map[string]any {
		t.Helper()
		stamp := at.Format(time.RFC3339)
		mac := hmac.New(sha256.New, []byte(key))
		_, _ = io.WriteString(mac, body+stamp)
		return anybody.call("POST", "/api/webhook/realtime/public/"+id, body, status, "BOX-DELIVERY-TIMESTAMP", stamp, "BOX-SIGNATURE-VERSION", "1",
			"BOX-SIGNATURE-ALGORITHM", "HmacSHA256", header, base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	const primary, secondary = "BOX-SIGNATURE-PRIMARY", "BOX-SIGNATURE-SECONDARY"
	file := word(call(body, "first", primary, time.Now(), http.StatusOK), "correlationId")
	eventually(t, "verdict", func() bool {
		r, ok := w.entry("Box", file)
		return ok && r.Verdict == "clean" && r.Key == "Reports/q.txt"
	})
	call(body, "second", secondary, time.Now(), http.StatusOK)
	call(body, "third", primary, time.Now(), http.StatusUnauthorized)
	call(body, "second", primary, time.Now(), http.StatusUnauthorized)
	call(body, "first", primary, time.Now().Add(-time.Hour), http.StatusUnauthorized)
	call("nonsense", "first", primary, time.Now(), http.StatusBadRequest)
	if got := call(strings.Replace(body, "UPLOADED", "TRASHED", 1), "first", primary, time.Now(), http.StatusOK); word(got, "correlationId") != "" {
		t.Errorf("%v", got)
	}
	anybody.call("POST", "/api/webhook/realtime/public/"+id, body, http.StatusUnauthorized)
	anybody.call("POST", "/api/webhook/realtime/public/0198f02f-0000-7000-8000-000000000001", body, http.StatusNotFound)

	graph := "/api/webhook/realtime/graph/" + id + "/" + w.scanOf("Box", "")
	resp, text := anybody.do("POST", graph+"?ValidationToken=Validation%3A+Testing+client+application+%3Cb%3E", nil)
	if resp.StatusCode != http.StatusOK || string(text) != "Validation: Testing client application <b>" || resp.Header.Get("Content-Type") != "text/plain; charset=utf-8" ||
		resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s %v: %s", resp.Status, resp.Header, text)
	}
	if err := os.WriteFile(filepath.Join(dir, "box", "new.txt"), []byte("harmless"), 0o600); err != nil {
		t.Fatal(err)
	}
	notice := func(state string) map[string]any {
		return map[string]any{"value": []any{map[string]any{"subscriptionId": "s", "clientState": state, "resource": "drives/1/root", "changeType": "updated"}}}
	}
	anybody.call("POST", graph, notice("wrong"), http.StatusUnauthorized)
	anybody.call("POST", graph, notice("state"), http.StatusOK)
	anybody.call("POST", graph, map[string]any{}, http.StatusBadRequest)
	anybody.call("POST", graph, nil, http.StatusBadRequest)
	anybody.call("POST", "/api/webhook/realtime/graph/"+id+"/0198f02f-0000-7000-8000-000000000001?validationToken=x", nil, http.StatusNotFound)
	eventually(t, "verdict of what Graph told", func() bool { return w.judged("Box") >= 2 })
}

// Many functions of a cloud call at once: each answer is durable, none is lost.
func TestWebhookRate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, setup{config: "server: {listen: 127.0.0.1:0, local_roots: [" + dir + "]}\n"})
	a := w.admin()
	id := word(a.call("POST", "/api/storage", map[string]any{"Name": "Many", "StorageVendorType": "LocalFolder", "Source": map[string]any{"FolderPath": dir}}, http.StatusOK), "storageId")
	w.watch(id, control.RealTime{Events: true})
	key, sum := account.NewSecret("")
	robot := w.user("robot", account.TenantAdministrator, account.DefaultTenant)
	robot.APIKey = sum
	if _, err := w.d.Control().Store.PutUser(context.Background(), robot); err != nil {
		t.Fatal(err)
	}
	caller := &client{w: w, key: key}
	const callers, each = 16, 100
	began := time.Now()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for j := range each {
				name := strings.Repeat("d/", i) + "f" + strings.Repeat("x", j)
				if resp, text := caller.do("POST", "/api/webhook/realtime", `{"metadata":"{\"Name\":\"`+name+`\"}","storageClientId":"`+id+`"}`); resp.StatusCode != http.StatusOK {
					t.Errorf("%s: %s", resp.Status, text)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%.0f calls a second", callers*each/time.Since(began).Seconds())
	eventually(t, "end of all", func() bool {
		n := 0
		for r, err := range w.d.Control().Entries(control.AsMachine(context.Background()), control.EntryQuery{Unit: "Many", State: "finished"}) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Reason == "gone" {
				n++
			}
		}
		return n == callers*each
	})
}

// A ledger that is full makes callers come again.
func TestWebhookFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, setup{config: "server: {listen: 127.0.0.1:0, local_roots: [" + dir + "]}\nbounds: {push_backlog: 2}\n"})
	a := w.admin()
	landing := filepath.Join(dir, "landing")
	if err := os.Mkdir(landing, 0o700); err != nil {
		t.Fatal(err)
	}
	id := word(a.call("POST", "/api/storage", map[string]any{"Name": "Full", "StorageVendorType": "LocalFolder", "Source": map[string]any{"FolderPath": landing}}, http.StatusOK), "storageId")
	if err := os.Remove(landing); err != nil { // it can never be opened: what is told waits
		t.Fatal(err)
	}
	w.watch(id, control.RealTime{Events: true})
	tell := func(name string) (*http.Response, []byte) {
		return a.do("POST", "/api/webhook/realtime", `{"metadata":"{\"Name\":\"`+name+`\"}","storageClientId":"`+id+`"}`)
	}
	for _, name := range []string{"a", "b"} {
		if resp, text := tell(name); resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", resp.Status, text)
		}
	}
	resp, text := tell("c")
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s %v: %s", resp.Status, resp.Header, text)
	}
	// A storage that does not work can be removed all the same, and what waited ends.
	a.call("DELETE", "/api/storage/"+id+"?forceDelete=true", nil, http.StatusOK)
	for r, err := range w.d.Control().Entries(control.AsMachine(context.Background()), control.EntryQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Reason != "canceled" {
			t.Errorf("%+v", r)
		}
	}
}
