package api_test

import (
	"bytes"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/test/servers"
)

// TestScanConfigurations: the older form of workflows.
func TestScanConfigurations(t *testing.T) {
	w := start(t, setup{})
	a := w.admin()
	pool := word(a.call("GET", "/api/scanpool", nil, http.StatusOK), "entries.0.id")
	id := word(a.call("POST", "/api/scanconfiguration", map[string]any{"name": "Finance", "scanPoolId": pool}, http.StatusOK), "workflowId")
	a.call("PATCH", "/api/scanconfiguration", map[string]any{"id": id, "name": "Treasury"}, http.StatusOK)
	list := a.call("GET", "/api/scanconfiguration", nil, http.StatusOK)
	if !strings.Contains(object(t, list), id) || !strings.Contains(object(t, list), "Treasury") {
		t.Errorf("list: %v", list)
	}
	a.call("DELETE", "/api/workflow/"+id, nil, http.StatusOK)
	a.call("GET", "/api/workflow/"+id, nil, http.StatusNotFound)
	if got := a.call("GET", "/api/account", nil, http.StatusOK); at(got, "entries.0") != nil {
		t.Errorf("accounts: %v", got)
	}
	tenant := word(a.call("POST", "/api/tenant", map[string]any{"customerName": "One"}, http.StatusOK), "tenant.id")
	if got := a.call("GET", "/api/tenant/"+tenant, nil, http.StatusOK); word(got, "tenant.customerName") != "One" {
		t.Errorf("tenant: %v", got)
	}
}

// TestConnector runs the connector of a storage as a file server would: with
// inotify and curl, on files with hostile names.
func TestConnector(t *testing.T) {
	if _, err := exec.LookPath("inotifywait"); err != nil {
		servers.Unable(t, "inotifywait is not installed: "+err.Error())
	}
	w := start(t, setup{})
	a := w.admin()
	id, dir := w.storage("share", account.DefaultTenant)
	a.call("POST", "/api/scan/start", map[string]any{"storageIds": []string{id}, "realTimeScanConfig": map[string]any{"isEnabled": true, "handlingType": 1}}, http.StatusOK)
	for _, bad := range []string{"?clientId=" + id, "?sharePath=/x&clientId=nonsense", "?sharePath=/x%0Ay&clientId=" + id} {
		if resp, body := a.do("GET", "/api/connector"+bad, nil); resp.StatusCode/100 != 4 {
			t.Errorf("%s: %s %s", bad, resp.Status, body)
		}
	}
	share := filepath.Join(dir, "it's a $(share)")
	if err := os.Mkdir(share, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(share); err != nil {
		t.Fatal(err)
	}
	resp, script := a.do("GET", "/api/connector?"+url.Values{"sharePath": {dir}, "clientId": {id}}.Encode(), nil)
	if resp.StatusCode != http.StatusOK || !bytes.HasPrefix(script, []byte("#!/bin/bash\n")) {
		t.Fatalf("%s: %.200s", resp.Status, script)
	}
	file := filepath.Join(w.data, "connector.sh")
	if err := os.WriteFile(file, script, 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := w.d.Control().Store.UserOf(t.Context(), "admin")
	if err != nil {
		t.Fatal(err)
	}
	key := w.withKey(u).key
	cmd := exec.Command("bash", file)
	cmd.Env = append(os.Environ(), "LANDWAITER_APIKEY="+key)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	said := &bytes.Buffer{}
	out := &lockedWriter{w: said}
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // the script with what it started
		_ = cmd.Wait()
		if t.Failed() {
			out.mu.Lock()
			defer out.mu.Unlock()
			t.Logf("the connector said: %s", said)
		}
	})
	// Each name is told of by itself: the webhook is called once more for each.
	for _, name := range []string{"plain.txt", `quo"te.txt`, `back\slash.txt`, "new\nline.txt", "tab\t.txt", "é $(id) `id` 'x'.txt"} {
		before := w.told()
		w.until("told of "+name, func() bool {
			w.put(dir, map[string]string{name: "content"}) // again, until it follows
			time.Sleep(50 * time.Millisecond)
			return w.told() > before
		})
		w.until("verdict on "+name, func() bool {
			got := a.call("GET", "/api/landwaiter/explain?"+url.Values{"unit": {"share"}, "key": {control.FormatKey(name)}}.Encode(), nil, http.StatusOK)
			return word(got, "entry.known.verdict") == "clean"
		})
	}
	if strings.Contains(string(script), key) {
		t.Error("the script has a key in it")
	}
}

// told is how many events of objects the API's webhook took.
func (w *world) told() int {
	w.t.Helper()
	_, text := (&client{w: w}).do("GET", "/metrics", nil)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "landwaiter_notices_total{") && strings.Contains(line, `"hooks/realtime"`) && strings.Contains(line, `matched="true"`) {
			n, err := strconv.Atoi(strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]))
			if err != nil {
				w.t.Fatal(err)
			}
			return n
		}
	}
	return 0
}
