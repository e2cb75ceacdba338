package mdcore_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/test/servers/mdcore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask sends a request to the stand-in and returns status and JSON.
func ask(t *testing.T, s *mdcore.Server, method, path string, header map[string]string, body io.Reader) (int, any) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, strings.Replace(s.EngineURL(), "mdcore", "http", 1)+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var v any
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, v
}

func at(v any, path ...string) any {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

// The shapes and refusals are those of the published API.
func TestShapes(t *testing.T) {
	s := mdcore.Start(t, mdcore.Options{Latency: 150 * time.Millisecond, APIKey: "k", Users: map[string]string{"u": "p"}, MaxQueue: 2})
	key := map[string]string{"apikey": "k", "rule": "My%20rule", "filename": "a%20b.txt"}
	for _, tc := range []struct {
		path   string
		header map[string]string
		body   io.Reader
		status int
		err    string
	}{
		{"/file", nil, strings.NewReader("x"), 403, "Access denied"},
		{"/file", key, http.NoBody, 422, "File is empty."},
		{"/file", key, io.MultiReader(strings.NewReader("x")), 411, "Missing Content-Length header."},
		{"/login", nil, strings.NewReader(`{"user":"u","password":"q"}`), 403, "Failed to login"},
		{"/nothing", key, nil, 404, "Requested resource was not found."},
	} {
		if status, v := ask(t, s, "POST", tc.path, tc.header, tc.body); status != tc.status || at(v, "err") != tc.err {
			t.Errorf("%s: %d %v", tc.path, status, v)
		}
	}
	status, v := ask(t, s, "POST", "/file", key, strings.NewReader(string(mdcore.EICAR())))
	id, _ := at(v, "data_id").(string)
	if status != 200 || len(id) != 32 {
		t.Fatalf("%d %v", status, v)
	}
	_, v = ask(t, s, "GET", "/file/"+id, key, nil)
	if at(v, "process_info", "result") != "Processing" || at(v, "scan_results", "scan_all_result_i") != 255.0 || at(v, "data_id") != id {
		t.Errorf("in progress: %v", v)
	}
	for end := time.Now().Add(5 * time.Second); at(v, "process_info", "progress_percentage") != 100.0; _, v = ask(t, s, "GET", "/file/"+id, key, nil) {
		if time.Now().After(end) {
			t.Fatal("it does not end")
		}
	}
	for path, want := range map[string]any{
		"process_info.result": "Blocked", "process_info.blocked_reason": "Infected", "process_info.profile": "My rule", "file_info.display_name": "a b.txt",
		"scan_results.scan_all_result_i": 1.0, "scan_results.scan_all_result_a": "Infected", "scan_results.total_avs": 2.0,
		"scan_results.scan_details.ClamAV.threat_found": "EICAR-Test-File", "file_info.file_size": 68.0,
	} {
		if got := at(v, strings.Split(path, ".")...); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	sum, _ := at(v, "file_info", "sha256").(string)
	if _, v = ask(t, s, "GET", "/hash/"+sum, key, nil); at(v, "data_id") != id {
		t.Errorf("by hash: %v", v)
	}
	if status, v = ask(t, s, "GET", "/hash/00", key, nil); status != 404 || at(v, "00") != "Not Found" {
		t.Errorf("unknown hash: %d %v", status, v)
	}
	if status, v = ask(t, s, "GET", "/file/ffff", key, nil); status != 200 || at(v, "ffff") != "Not Found" {
		t.Errorf("unknown id: %d %v", status, v)
	}
	for range 2 {
		_, v = ask(t, s, "POST", "/file", key, strings.NewReader("LW-WAIT:60000"))
	}
	if status, w := ask(t, s, "POST", "/file", key, strings.NewReader("x")); status != 503 || at(w, "err") != "Server is too busy. Try again later." {
		t.Errorf("full: %d %v", status, w)
	}
	if status, _ = ask(t, s, "GET", "/readyz", nil, nil); status != 503 {
		t.Errorf("ready with a full queue: %d", status)
	}
	id, _ = at(v, "data_id").(string)
	if _, v = ask(t, s, "POST", "/file/"+id+"/cancel", key, nil); at(v, id) != "cancelled" {
		t.Errorf("cancel: %v", v)
	}
	if _, v = ask(t, s, "GET", "/file/"+id, key, nil); at(v, "scan_results", "scan_all_result_i") != 19.0 {
		t.Errorf("cancelled: %v", v)
	}
	if status, _ = ask(t, s, "GET", "/readyz", nil, nil); status != 200 {
		t.Errorf("not ready: %d", status)
	}
	_, v = ask(t, s, "POST", "/login", nil, strings.NewReader(`{"user":"u","password":"p"}`))
	session, _ := at(v, "session_id").(string)
	if status, v = ask(t, s, "GET", "/file/rules", map[string]string{"apikey": session}, nil); status != 200 || v.([]any)[0].(map[string]any)["name"] != "File process" {
		t.Errorf("rules: %d %v", status, v)
	}
	if _, v = ask(t, s, "POST", "/logout", map[string]string{"apikey": session}, nil); at(v, "response") != "Logout success" || s.Sessions() != 0 {
		t.Errorf("logout: %v", v)
	}
}

func TestRateLimit(t *testing.T) {
	s := mdcore.Start(t, mdcore.Options{RatePerSec: 1})
	for range 50 { // two within one second will be among them
		if status, _ := ask(t, s, "POST", "/file", nil, strings.NewReader("x")); status == 429 {
			return
		}
	}
	t.Error("nothing was limited")
}
