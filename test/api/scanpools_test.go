package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/test/servers"
	"github.com/landwaiter/landwaiter/test/servers/mdcore"
)

// folder adds a folder as a storage that is watched, as its resource does.
func (w *world) folder(name, dir string, flow string, tenant int64) ledger.Noun {
	w.t.Helper()
	body := control.UnitBody{URL: "file://" + dir, RealTime: []control.RealTime{{}}, Sweep: time.Second}
	if flow != "" {
		if err := body.Workflow.UnmarshalText([]byte(flow)); err != nil {
			w.t.Fatal(err)
		}
	}
	text, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	c := w.d.Control()
	n, err := c.Store.AddNoun(context.Background(), ledger.Noun{Tenant: tenant, Kind: ledger.Unit, Name: name, Body: text})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := c.Apply(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// verdict waits for the verdict on a key.
func (w *world) verdict(unit, key, want string) ledger.Record {
	w.t.Helper()
	var last ledger.Record
	w.until(fmt.Sprintf("%s:%s is %s", unit, key, want), func() bool {
		for r, err := range w.d.Control().Entries(control.AsMachine(context.Background()), control.EntryQuery{Unit: unit, Prefix: key, State: "finished"}) {
			if err != nil {
				return false
			}
			if last = r; r.Verdict == want {
				return true
			}
		}
		return false
	})
	return last
}

func (w *world) drop(dir, name string, content []byte) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func core(s *mdcore.Server) string { return strings.Replace(s.EngineURL(), "mdcore://", "http://", 1) }

func TestScanPools(t *testing.T) {
	both(t, setup{}, func(t *testing.T, w *world) {
		a := w.admin()
		// What stands in the configuration file, here the built-in pool, is shown and
		// cannot be changed.
		got := a.call("GET", "/api/scanpool", nil, 200)
		file := word(got, "entries.0.id")
		if word(got, "entries.0.name") != "default" || at(got, "entries.0.isManaged") != true || at(got, "entries.0.isDefault") != true ||
			word(got, "entries.0.scanInstances.0.url") != "builtin:" {
			t.Errorf("list: %v", got)
		}
		a.call("PUT", "/api/scanpool", map[string]any{"id": file, "name": "Mine"}, 403)
		a.call("DELETE", "/api/scanpool/"+file, nil, 403)
		a.call("POST", "/api/scaninstance", map[string]any{"scanPoolId": file, "url": "builtin:"}, 403)

		id := word(a.call("POST", "/api/scanpool", map[string]any{"name": "Cores", "scanPoolType": 0}, 200), "scanPoolId")
		for body, status := range map[string]int{`{"name":"Cores"}`: 409, `{"name":"default"}`: 409, `{"name":"xy"}`: 400, `{"name":"` + strings.Repeat("x", 31) + `"}`: 400,
			`{"name":"  x  "}`: 400, `{"name":"Cloud","scanPoolType":1}`: 400, `{"name":"Other","scanPoolType":7}`: 400, `{`: 400, `{}`: 400} {
			a.call("POST", "/api/scanpool", body, status)
		}
		a.call("PUT", "/api/scanpool", map[string]any{"id": id, "name": "Cluster"}, 200)
		a.call("PUT", "/api/scanpool", map[string]any{"id": "nonsense", "name": "Cluster"}, 404)
		if got := a.call("GET", "/api/scanpool/"+id, nil, 200); word(got, "entry.name") != "Cluster" || at(got, "entry.isReady") != false {
			t.Errorf("one: %v", got)
		}

		server := mdcore.Start(t, mdcore.Options{APIKey: "s3cret-key"})
		in := word(a.call("POST", "/api/scaninstance", map[string]any{"scanPoolId": id, "url": core(server), "apiKey": "s3cret-key", "timeout": "00:10:00"}, 200), "scanInstanceId")
		for body, status := range map[string]int{
			`{"scanPoolId":"` + id + `","url":"` + core(server) + `"}`:               409,
			`{"scanPoolId":"` + id + `","url":"ftp://x"}`:                            400,
			`{"scanPoolId":"` + id + `","url":"http://u:p@core:8008"}`:               400,
			`{"scanPoolId":"` + id + `","url":"http://core:99999"}`:                  400,
			`{"scanPoolId":"` + id + `","url":""}`:                                   400,
			`{"scanPoolId":"` + id + `","url":"http://x","timeout":"soon"}`:          400,
			`{"scanPoolId":"` + id + `","url":"http://x","timeout":"900:00:00"}`:     400,
			`{"scanPoolId":"` + id + `","url":"http://x","scanInstanceType":1}`:      400,
			`{"scanPoolId":"0198f02f-0000-7000-8000-000000000001","url":"http://x"}`: 404,
		} {
			a.call("POST", "/api/scaninstance", body, status)
		}
		w.until("the instance is ready", func() bool {
			return at(a.call("GET", "/api/scaninstance/"+in, nil, 200), "entry.health.ready") == true
		})
		_, text := a.do("GET", "/api/scaninstance?scanPoolId="+id, nil)
		if s := string(text); strings.Contains(s, "s3cret") || !strings.Contains(s, `"timeout":"00:10:00"`) || !strings.Contains(s, `"apiKey":""`) {
			t.Errorf("instances: %s", s)
		}
		a.call("GET", "/api/scaninstance?scanPoolId=nonsense", nil, 404)
		a.call("GET", "/api/scaninstance/nonsense", nil, 404)
		nouns, err := w.d.Control().Store.Nouns(t.Context(), 0, ledger.Pool)
		if err != nil || len(nouns) != 1 || strings.Contains(string(nouns[0].Body), "s3cret") {
			t.Errorf("at rest: %+v, %v", nouns, err)
		}

		// A wrong key is used at once, as the right one is again.
		a.call("PUT", "/api/scaninstance", map[string]any{"id": in, "apiKey": "wrong"}, 200)
		w.until("the wrong key is refused", func() bool {
			return at(a.call("GET", "/api/scaninstance/"+in, nil, 200), "entry.health.ready") == false
		})
		a.call("PUT", "/api/scaninstance", map[string]any{"id": in, "apiKey": "s3cret-key"}, 200)
		w.until("the right key is taken", func() bool {
			return at(a.call("GET", "/api/scaninstance/"+in, nil, 200), "entry.health.ready") == true
		})
		a.call("PUT", "/api/scaninstance", map[string]any{"id": "nonsense", "timeout": "1"}, 404)

		r := w.as("reader")
		r.call("GET", "/api/scaninstance", nil, 200)
		r.call("POST", "/api/scanpool", map[string]any{"name": "Mine"}, 403)
		r.call("DELETE", "/api/scaninstance/"+in, nil, 403)
		r.call("POST", "/api/scaninstance/Test", map[string]any{"url": core(server)}, 403)
		(&client{w: w}).call("GET", "/api/scanpool", nil, 401)

		// Another tenant sees the file's pools without where they are, and nothing else.
		w.user("other", account.TenantAdministrator, 7)
		o := w.as("other")
		for _, path := range []string{"/api/scanpool/" + id, "/api/scaninstance/" + in} {
			o.call("GET", path, nil, 404)
			o.call("DELETE", path, nil, 404)
		}
		o.call("POST", "/api/scaninstance", map[string]any{"scanPoolId": id, "url": core(server)}, 404)
		got = o.call("GET", "/api/scanpool", nil, 200)
		if at(got, "totalCount") != 1.0 || word(got, "entries.0.id") != file || at(got, "entries.0.scanInstances.0") != nil {
			t.Errorf("the other tenant sees %v", got)
		}
		if _, text := o.do("GET", "/api/landwaiter/engines", nil); strings.Contains(string(text), "127.0.0.1") || strings.Contains(string(text), "builtin:") || strings.Contains(string(text), "Cluster") {
			t.Errorf("the other tenant sees engines: %s", text)
		}
		o.call("POST", "/api/landwaiter/engines/test?pool=Cluster", nil, 404)
		own := word(o.call("POST", "/api/scanpool", map[string]any{"name": "Cluster"}, 200), "scanPoolId")
		o.call("POST", "/api/scaninstance", map[string]any{"scanPoolId": own, "url": "clamd:///run/clamd.sock"}, 403)

		a.call("DELETE", "/api/scaninstance/"+in, nil, 200)
		a.call("DELETE", "/api/scaninstance/"+in, nil, 404)
		a.call("DELETE", "/api/scanpool/"+id, nil, 200)
		a.call("GET", "/api/scanpool/"+id, nil, 404)
	})
}

// TestScanPoolInUse changes pools while files are scanned.
func TestScanPoolInUse(t *testing.T) {
	w := start(t, setup{})
	a := w.admin()
	slow := mdcore.Start(t, mdcore.Options{})
	id := word(a.call("POST", "/api/scanpool", map[string]any{"name": "Cores"}, 200), "scanPoolId")
	a.call("POST", "/api/scaninstance", map[string]any{"scanPoolId": id, "url": core(slow)}, 200)
	flow := word(a.call("POST", "/api/workflow", map[string]any{"name": "Slow one", "scanPoolId": id, "rules": []string{"Docs"}, "userAgent": "mdss"}, 200), "workflowId")
	w.until("the pool is ready", func() bool { return at(a.call("GET", "/api/scanpool/"+id, nil, 200), "entry.isReady") == true })
	goOn := make(chan struct{}) // the report of what was submitted waits for it
	slow.SetFault(mdcore.On("GET", "/file/", func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-goOn:
		case <-r.Context().Done():
		}
		return false
	}))
	dir, quick := t.TempDir(), t.TempDir()
	w.folder("slow", dir, flow, account.DefaultTenant)
	w.drop(dir, "first", []byte("first"))
	submitted := func() (n int) {
		for _, r := range slow.Requests("POST", "/file") {
			if r.Header.Get("rule") == "Docs" && r.Header.Get("user_agent") == "mdss" {
				n++
			}
		}
		return n
	}
	w.until("the first file is at the instance", func() bool { return submitted() > 0 })
	before := submitted()

	// Another pool comes meanwhile, and this one's instance goes: its scan ends as it
	// began, and is not done again.
	other := word(a.call("POST", "/api/scanpool", map[string]any{"name": "Clam"}, 200), "scanPoolId")
	socket, _ := servers.Clamd(t, servers.ClamdOptions{})
	a.call("POST", "/api/scaninstance", map[string]any{"scanPoolId": other, "url": "clamd://" + socket}, 200)
	clam := word(a.call("POST", "/api/workflow", map[string]any{"name": "Quick one", "scanPoolId": other}, 200), "workflowId")
	instance := word(a.call("GET", "/api/scaninstance?scanPoolId="+id, nil, 200), "entries.0.id")
	a.call("DELETE", "/api/scaninstance/"+instance, nil, 200)
	w.folder("quick", quick, clam, account.DefaultTenant)
	w.drop(quick, "bad", []byte(eicar()))
	if r := w.verdict("quick", "bad", "infected"); !strings.HasPrefix(r.Engine, "clamd@") {
		t.Errorf("scanned by %s", r.Engine)
	}
	close(goOn)
	if r := w.verdict("slow", "first", "clean"); !strings.HasPrefix(r.Engine, "mdcore@") || r.Attempts != 1 || submitted() != before {
		t.Errorf("%+v, submitted %d times, %d before", r, submitted(), before)
	}

	// Without an instance the failover pool is asked, unless it is disabled.
	w.drop(dir, "second", []byte("second"))
	a.call("PATCH", "/api/workflow", map[string]any{"id": flow, "failOverScanPoolId": other, "failOverDisabled": false}, 200)
	if r := w.verdict("slow", "second", "clean"); !strings.HasPrefix(r.Engine, "clamd@") {
		t.Errorf("scanned by %s", r.Engine)
	}
	a.call("DELETE", "/api/scanpool/"+other, nil, 409)
}

func TestScanInstanceTest(t *testing.T) {
	w := start(t, setup{})
	a := w.admin()
	now := time.Now().UTC()
	server := mdcore.Start(t, mdcore.Options{APIKey: "right", Rules: []mdcore.Rule{{Name: "Docs"}}, Engines: []mdcore.Engine{
		{ID: "clamav_1_linux", Name: "ClamAV", Kind: "av", Version: "1", Defined: now, Active: true},
		{ID: "ds_1_linux", Name: "Deep CDR", Kind: "", Version: "1", Defined: now, Active: true},
		{ID: "dlp_1_linux", Name: "DLP", Kind: "dlp", Version: "1", Defined: now, Active: false}}})
	try := func(body map[string]any, status int, words ...string) map[string]any {
		t.Helper()
		got := a.call("POST", "/api/scaninstance/Test", body, status)
		for _, want := range words {
			if !strings.Contains(word(got, "responseMessage"), want) {
				t.Errorf("%v: %v", body, got)
			}
		}
		if strings.Contains(fmt.Sprint(got), "wr0ng") {
			t.Errorf("the key is told: %v", got)
		}
		return got
	}
	got := try(map[string]any{"url": core(server), "apiKey": "right", "rules": []string{"Docs"}}, 200)
	if word(got, "version") != "5.14.0" || word(got, "rules.0") != "Docs" || fmt.Sprint(at(got, "enabledTechnologies")) != "[deepCdr multiscanning]" {
		t.Errorf("it tells %v", got)
	}
	try(map[string]any{"url": core(server), "apiKey": "right", "rules": []string{"Nothing"}}, 400, "Nothing", "Docs")
	try(map[string]any{"url": core(server), "apiKey": "wr0ng"}, 403)
	try(map[string]any{"url": core(server)}, 403)
	try(map[string]any{"url": fmt.Sprintf("http://127.0.0.1:%d", servers.FreePort(t))}, 503, "refused")
	try(map[string]any{"url": "gopher://x"}, 400)
	try(map[string]any{"url": ""}, 400)
	try(map[string]any{"url": "builtin:"}, 200)
	a.call("GET", "/api/scaninstance", nil, 200)
	if n := at(a.call("GET", "/api/scanpool", nil, 200), "totalCount"); n != 1.0 {
		t.Errorf("a test added pools: %v", n)
	}
	w.stop()

	strict := start(t, setup{config: "server: {listen: 127.0.0.1:0, loopback_instances: false}\n"})
	a = strict.admin()
	id := word(a.call("POST", "/api/scanpool", map[string]any{"name": "Cores"}, 200), "scanPoolId")
	for _, url := range []string{core(server), "https://[::1]:8008", "http://localhost", "clamd://127.1.2.3:3310"} {
		a.call("POST", "/api/scaninstance", map[string]any{"scanPoolId": id, "url": url}, http.StatusBadRequest)
	}
}

// TestImportedPool: an archive brings no engines that nobody may have, and only
// the first tenant's administrators bring one.
func TestImportedPool(t *testing.T) {
	w := start(t, setup{})
	w.user("other", account.TenantAdministrator, 7)
	o := w.as("other")
	archive := func(url string) []byte {
		var b bytes.Buffer
		b.WriteString("landwaiter configuration 1\n")
		z := gzip.NewWriter(&b)
		fmt.Fprintf(z, `{"nouns":[{"id":%q,"kind":"pool","name":"Theirs","body":{"type":0,"instances":[{"id":%q,"url":%q,"type":0}]}}]}`, ledger.NewID(), ledger.NewID(), url)
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	upload(t, o, archive("builtin:"), "", 403)
	a := w.admin()
	upload(t, a, archive("gopher://x"), "", 400)
	if n := at(a.call("GET", "/api/scanpool", nil, 200), "totalCount"); n != 1.0 {
		t.Errorf("%v pools", n)
	}
	upload(t, a, archive("builtin:"), "", 200)
	w.until("the pool is ready", func() bool { return at(a.call("GET", "/api/scanpool", nil, 200), "entries.1.isReady") == true })
}
