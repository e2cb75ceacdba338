package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/test/servers/mdcore"
)

func TestWorkflows(t *testing.T) {
	both(t, setup{}, func(t *testing.T, w *world) {
		a := w.admin()
		got := a.call("GET", "/api/workflow", nil, 200)
		builtin, pool := word(got, "entries.0.id"), word(got, "entries.0.scanPoolId")
		if word(got, "entries.0.name") != "default" || at(got, "entries.0.isDefault") != true || at(got, "entries.0.isManaged") != true {
			t.Errorf("list: %v", got)
		}
		if word(a.call("GET", "/api/scanpool/"+pool, nil, 200), "entry.name") != "default" {
			t.Error("the default workflow's pool is not the default one")
		}
		a.call("DELETE", "/api/workflow/"+builtin, nil, 409)
		a.call("PATCH", "/api/workflow", map[string]any{"id": builtin, "name": "Mine"}, 403)

		id := word(a.call("POST", "/api/workflow", map[string]any{"name": "Finance", "scanPoolId": pool, "rules": []string{"R"}, "userAgent": "mdss",
			"filters": map[string]any{"minimumSize": 1, "maximumSize": 1 << 20, "minimumDateTime": "2020-01-01T01:00:00+01:00"}}, 200), "workflowId")
		for body, status := range map[string]int{
			`{"name":"Finance","scanPoolId":"` + pool + `"}`: 409,
			`{"name":"default","scanPoolId":"` + pool + `"}`: 409,
			`{"name":"xy","scanPoolId":"` + pool + `"}`:      400,
			`{"name":"Legal"}`:                                                                         400,
			`{"name":"Legal","scanPoolId":"nonsense"}`:                                                 404,
			`{"name":"Legal","scanPoolId":""}`:                                                         404,
			`{"name":"Legal","scanPoolId":"` + pool + `","rules":["a","b"]}`:                           400,
			`{"name":"Legal","scanPoolId":"` + pool + `","failOverScanPoolId":"` + pool + `"}`:         400,
			`{"name":"Legal","scanPoolId":"` + pool + `","failOverScanPoolId":"nonsense"}`:             404,
			`{"name":"Legal","scanPoolId":"` + pool + `","filters":{"minimumSize":-1}}`:                400,
			`{"name":"Legal","scanPoolId":"` + pool + `","filters":{"minimumSize":9,"maximumSize":8}}`: 400,
			`{"name":"Legal","scanPoolId":"` + pool + `","fileDefinition":{"blockingStrategy":2}}`:     400,
		} {
			a.call("POST", "/api/workflow", body, status)
		}
		a.call("PATCH", "/api/workflow", map[string]any{"id": id, "name": "Treasury", "fileDefinition": map[string]any{"blockingStrategy": 1,
			"configurableBlockingStrategy": map[string]any{"shouldTreatFilesWithSensitiveDataAsBlocked": true}}}, 200)
		got = a.call("GET", "/api/scanconfiguration/"+id, nil, 200)
		if word(got, "entry.name") != "Treasury" || at(got, "entry.filters.maximumSize") != float64(1<<20) || word(got, "entry.filters.minimumDateTime") != "2020-01-01T00:00:00Z" ||
			word(got, "entry.rules.0") != "R" || at(got, "entry.fileDefinition.configurableBlockingStrategy.shouldTreatFilesWithSensitiveDataAsBlocked") != true {
			t.Errorf("one: %v", got)
		}
		a.call("PATCH", "/api/workflow", map[string]any{"id": "nonsense", "name": "Nobody"}, 404)
		a.call("GET", "/api/workflow/nonsense", nil, 404)
		if got := a.call("POST", "/api/workflow/enabledTechnologies", map[string]any{"workflowId": id}, 200); word(got, "entry.enabledTechnologies.0") != "multiscanning" {
			t.Errorf("technologies: %v", got)
		}
		if got := a.call("GET", "/api/workflow/"+id, nil, 200); word(got, "entry.enabledTechnologies.0") != "multiscanning" {
			t.Errorf("technologies are not kept: %v", got)
		}

		// The default moves, cannot be deleted, and is what storages without a workflow
		// go by.
		a.call("POST", "/api/workflow/setDefault/"+id, nil, 200)
		a.call("POST", "/api/workflow/setDefault/nonsense", nil, 404)
		if got := a.call("GET", "/api/workflow/"+builtin, nil, 200); at(got, "entry.isDefault") != false {
			t.Errorf("two defaults: %v", got)
		}
		a.call("DELETE", "/api/workflow/"+id, nil, 409)
		dir := t.TempDir()
		unit := w.folder("in", dir, "", account.DefaultTenant)
		w.drop(dir, "empty", nil)
		if r := w.verdict("in", "empty", "not_scanned"); r.Reason != "filtered" {
			t.Errorf("not under the default workflow: %+v", r)
		}
		a.call("POST", "/api/scanconfiguration/setDefault/"+builtin, nil, 200)

		// One that a storage uses cannot be deleted.
		a.call("PATCH", "/api/storage/"+unit.ID.String()+"/scan_config", map[string]any{"scanConfigurationId": id}, 200)
		a.call("PATCH", "/api/storage/"+unit.ID.String()+"/scan_config", map[string]any{"scanConfigurationId": "nonsense"}, 404)
		a.call("PATCH", "/api/storage/nonsense/scan_config", map[string]any{"scanConfigurationId": id}, 404)
		if got := a.call("DELETE", "/api/workflow/"+id, nil, 409); !strings.Contains(word(got, "responseMessage"), "in uses it") {
			t.Errorf("in use: %v", got)
		}
		a.call("PATCH", "/api/storage/"+unit.ID.String()+"/scan_config", map[string]any{"scanConfigurationId": ""}, 200)

		r := w.as("reader")
		r.call("GET", "/api/workflow", nil, 200)
		r.call("POST", "/api/workflow", map[string]any{"name": "Legal", "scanPoolId": pool}, 403)
		r.call("POST", "/api/workflow/setDefault/"+id, nil, 403)
		r.call("PATCH", "/api/storage/"+unit.ID.String()+"/scan_config", map[string]any{}, 403)
		(&client{w: w}).call("GET", "/api/workflow", nil, 401)
		w.user("other", account.TenantAdministrator, 7)
		o := w.as("other")
		o.call("GET", "/api/workflow/"+id, nil, 404)
		o.call("DELETE", "/api/workflow/"+id, nil, 404)
		o.call("POST", "/api/workflow/setDefault/"+id, nil, 404)
		if got := o.call("GET", "/api/workflow", nil, 200); at(got, "totalCount") != 1.0 || at(got, "entries.0.isDefault") != true {
			t.Errorf("the other tenant sees %v", got)
		}
		own := word(o.call("POST", "/api/workflow", map[string]any{"name": "Treasury", "scanPoolId": pool}, 200), "workflowId")
		o.call("POST", "/api/workflow/setDefault/"+own, nil, 200)
		if got := a.call("GET", "/api/workflow/"+builtin, nil, 200); at(got, "entry.isDefault") != true {
			t.Error("another tenant moved our default")
		}

		a.call("DELETE", "/api/scanconfiguration/"+id, nil, 200)
		a.call("GET", "/api/workflow/"+id, nil, 404)
	})
}

func TestRemediations(t *testing.T) {
	w := start(t, setup{})
	a := w.admin()
	server := mdcore.Start(t, mdcore.Options{})
	pool := word(a.call("POST", "/api/scanpool", map[string]any{"name": "Cores"}, 200), "scanPoolId")
	a.call("POST", "/api/scaninstance", map[string]any{"scanPoolId": pool, "url": core(server)}, 200)
	flow := word(a.call("POST", "/api/workflow", map[string]any{"name": "Sort", "scanPoolId": pool}, 200), "workflowId")
	in, out := t.TempDir(), t.TempDir()
	w.folder("in", in, flow, account.DefaultTenant)
	to := w.folder("out", out, "", account.DefaultTenant).ID.String()
	theirs := w.folder("theirs", t.TempDir(), "", 7).ID.String()
	add := func(kind, handling int, configuration string, status int) string {
		t.Helper()
		return word(a.call("POST", "/api/remediations", map[string]any{"workflowId": flow, "isEnabled": true, "type": kind, "handlingType": handling, "configuration": configuration}, status), "entry.id")
	}
	place := func(folder string) string { return fmt.Sprintf(`{"storageId":%q,"folder":%q}`, to, folder) }
	places := func(n int) string {
		var l []string
		for i := range n {
			l = append(l, place(fmt.Sprint("f", i)))
		}
		return `{"destinations":[` + strings.Join(l, ",") + `]}`
	}
	for _, c := range []struct {
		kind, handling int
		configuration  string
		status         int
	}{
		{2, 1, "", 400}, {2, 1, places(6), 400}, {2, 1, `{"destinations":[` + place("a") + "," + place("a") + `]}`, 400},
		{2, 0, places(1), 400}, {3, 2, places(1), 400}, {3, 0, "", 400}, {0, 3, "", 400}, {6, 1, "", 400}, {1, 0, "", 400}, {9, 3, "", 400}, {2, 7, "", 400},
		{2, 1, `{"destinations":[{"storageId":"` + to + `","folder":"../up"}]}`, 400}, {2, 1, `{"destination":[]}`, 400}, {2, 1, `[`, 400}, {2, 1, places(1) + "{}", 400},
		{2, 1, `{"destinations":[{"storageId":"` + to + `","structure":"wild"}]}`, 400}, {2, 1, `{"destinations":[` + place("a") + `],"onConflict":"guess"}`, 400},
		{2, 1, `{"destinations":[{"storageId":"0198f02f-0000-7000-8000-000000000001"}]}`, 404}, {2, 1, `{"destinations":[{"storageId":"` + theirs + `"}]}`, 404},
		{4, 1, `{"quarantine":{}}`, 400}, {2, 1, `{"quarantine":{"expiryDays":-1}}`, 400}, {0, 999, `{"keys":{"result":"aws:x"}}`, 400}, {0, 999, `{"values":{"fine":"x"}}`, 400},
	} {
		add(c.kind, c.handling, c.configuration, c.status)
	}
	blocked := add(2, 1, `{"destinations":[`+place("blocked")+`]}`, 200)
	add(4, 2, `{"destinations":[{"storageId":"`+to+`","folder":"clean","structure":"flat"}],"onConflict":"overwrite"}`, 200)
	add(2, 3, "", 409)

	w.drop(in, "bad", []byte(eicar()))
	if err := os.Mkdir(filepath.Join(in, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.drop(in, "sub/good", []byte("nothing in it"))
	there := func(path string, want bool) {
		t.Helper()
		w.until(fmt.Sprintf("%s is there: %v", path, want), func() bool { _, err := os.Stat(path); return (err == nil) == want })
	}
	there(filepath.Join(out, "blocked", "bad"), true)
	there(filepath.Join(in, "bad"), false)
	there(filepath.Join(out, "clean", "good"), true)
	there(filepath.Join(in, "sub", "good"), true)
	if r := w.verdict("in", "bad", "infected"); !strings.HasPrefix(r.Engine, "mdcore@") || len(r.Actions) == 0 {
		t.Errorf("%+v", r)
	}

	// Changes are in force at once: what is blocked now goes to the quarantine.
	a.call("PATCH", "/api/remediations", map[string]any{"id": blocked, "configuration": `{"quarantine":{"expiryDays":30}}`}, 200)
	got := a.call("GET", "/api/remediations/"+blocked, nil, 200)
	if word(got, "entry.configuration") != `{"quarantine":{"expiryDays":30}}` || at(got, "entry.handlingType") != 1.0 || word(got, "entry.workflowId") != flow {
		t.Errorf("one: %v", got)
	}
	w.drop(in, "worse", []byte(eicar()))
	there(filepath.Join(in, "worse"), false)
	w.until("it is in quarantine", func() bool {
		for q, err := range w.d.Control().Quarantined(control.AsMachine(t.Context()), "in") {
			if err == nil && q.Key == "worse" {
				return q.Expires.After(time.Now().Add(29 * 24 * time.Hour))
			}
		}
		return false
	})
	a.call("PATCH", "/api/remediations", map[string]any{"id": blocked, "isEnabled": false}, 200)
	w.drop(in, "kept", []byte(eicar()))
	if r := w.verdict("in", "kept", "infected"); len(r.Actions) != 0 {
		t.Errorf("disabled, and yet %+v", r.Actions)
	}
	a.call("PATCH", "/api/remediations", map[string]any{"id": blocked, "type": 9}, 400)
	a.call("PATCH", "/api/remediations", map[string]any{"id": "nonsense"}, 404)
	if got := a.call("GET", "/api/remediations/workflow/"+flow, nil, 200); at(got, "totalCount") != 2.0 {
		t.Errorf("list: %v", got)
	}
	a.call("GET", "/api/remediations/workflow/nonsense", nil, 404)
	a.call("GET", "/api/remediations/nonsense", nil, 404)
	r := w.as("reader")
	r.call("GET", "/api/remediations/"+blocked, nil, 200)
	r.call("DELETE", "/api/remediations/"+blocked, nil, 403)
	(&client{w: w}).call("GET", "/api/remediations/"+blocked, nil, 401)
	w.user("other", account.TenantAdministrator, 7)
	o := w.as("other")
	o.call("GET", "/api/remediations/"+blocked, nil, 404)
	o.call("DELETE", "/api/remediations/"+blocked, nil, 404)
	o.call("POST", "/api/remediations", map[string]any{"workflowId": flow, "type": 6}, 404)
	a.call("DELETE", "/api/remediations/"+blocked, nil, 200)
	a.call("DELETE", "/api/remediations/"+blocked, nil, 404)
}

// TestDisarmed moves the engine's disarmed copies, those of allowed and of blocked
// files apart, and goes on after a restart.
func TestDisarmed(t *testing.T) {
	w := start(t, setup{})
	a := w.admin()
	server := mdcore.Start(t, mdcore.Options{APIKey: "k3y"})
	pool := word(a.call("POST", "/api/scanpool", map[string]any{"name": "Cores"}, 200), "scanPoolId")
	a.call("POST", "/api/scaninstance", map[string]any{"scanPoolId": pool, "url": core(server), "apiKey": "k3y"}, 200)
	flow := word(a.call("POST", "/api/workflow", map[string]any{"name": "Disarm", "scanPoolId": pool}, 200), "workflowId")
	in, out := t.TempDir(), t.TempDir()
	w.folder("in", in, flow, account.DefaultTenant)
	to := w.folder("out", out, "", account.DefaultTenant).ID.String()
	for kind, folder := range map[int]string{3: "allowed", 5: "blocked"} {
		a.call("POST", "/api/remediations", map[string]any{"workflowId": flow, "isEnabled": true, "type": kind, "handlingType": 1,
			"configuration": fmt.Sprintf(`{"destinations":[{"storageId":%q,"folder":%q}]}`, to, folder)}, 200)
	}
	w.drop(in, "early.doc", []byte("LW-SANITIZE"))
	if r := w.verdict("in", "early.doc", "clean"); len(r.Actions) != 0 {
		t.Errorf("without DeepCdr: %+v", r.Actions)
	}
	a.call("POST", "/api/remediations", map[string]any{"workflowId": flow, "isEnabled": true, "type": 1}, 200)
	disarmed := func(folder string) {
		t.Helper()
		w.until("a disarmed copy in "+folder, func() bool {
			l, err := filepath.Glob(filepath.Join(out, folder, "*sanitized*"))
			return err == nil && len(l) == 1
		})
	}
	w.drop(in, "good.doc", []byte("LW-SANITIZE of a good one"))
	disarmed("allowed")
	w.verdict("in", "good.doc", "clean")

	w.stop()
	w = start(t, setup{data: w.data})
	a = w.admin()
	if got := a.call("GET", "/api/workflow/"+flow, nil, 200); at(got, "entry.remediations.2.type") != 1.0 {
		t.Errorf("after a restart: %v", got)
	}
	w.drop(in, "bad.doc", append([]byte("LW-SANITIZE "), eicar()...))
	disarmed("blocked")
	w.verdict("in", "bad.doc", "infected")
}
