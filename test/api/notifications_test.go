package api_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/test/servers"
)

// A hook is a stand-in for a receiver of notices: it keeps what came.
type hook struct {
	*httptest.Server
	mu    sync.Mutex
	got   []map[string]any
	ids   []string
	fail  int // calls that are answered 503 first
	after string
}

func newHook(t *testing.T, fail int) *hook {
	h := &hook{fail: fail, after: "1"}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var m map[string]any
		_ = json.Unmarshal(body, &m) // what is no JSON shows as nothing
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ids = append(h.ids, r.Header.Get("Webhook-Id"))
		if h.fail--; h.fail >= 0 {
			w.Header().Set("Retry-After", h.after)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		m["header"] = r.Header.Get("X-Team")
		h.got = append(h.got, m)
	}))
	t.Cleanup(h.Close)
	return h
}

// wait polls until ok, for 20 s.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in 20 s: " + what)
		}
	}
}

func (h *hook) calls() []map[string]any {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]map[string]any(nil), h.got...)
}

// A file that is finished reaches the receiver, although that fails at first,
// and under one id.
func TestFileWebhook(t *testing.T) {
	dir := t.TempDir()
	w := start(t, setup{config: "units: [{name: inbox, url: 'file://" + dir + "', settle: 50ms}]\n"})
	h := newHook(t, 1)
	a := w.admin()
	a.call("PUT", "/api/settings/notifications", map[string]any{"fileScannedWebhook": map[string]any{"isEnabled": true, "url": h.URL, "method": "POST",
		"headers": []any{map[string]any{"name": "x-team", "value": "s3cret-team"}}, "secret": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MA=="}}, http.StatusOK)
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("nothing bad"), 0o600); err != nil {
		t.Fatal(err)
	}
	wait(t, "the call", func() bool { return len(h.calls()) == 1 })
	got := h.calls()[0]
	if got["FileName"] != "a.txt" || got["FileStatus"] != "Allowed" || got["WebhookNotificationType"] != "FileScanned" || got["header"] != "s3cret-team" || got["CoreScanResult"] != "No Threat Detected" {
		t.Errorf("%v", got)
	}
	if len(h.ids) != 2 || h.ids[0] == "" || h.ids[0] != h.ids[1] {
		t.Errorf("ids %v, want one twice", h.ids)
	}
	wait(t, "the outbox to be empty", func() bool { return at(a.call("GET", "/api/landwaiter/notifications", nil, 200), "totalCount") == 0.0 })
	_, body := a.do("GET", "/api/settings/notifications", nil)
	if strings.Contains(string(body), "s3cret") || strings.Contains(string(body), "whsec") || !strings.Contains(string(body), `"hasSecret":true`) {
		t.Errorf("%s", body)
	}
	if strings.Contains(w.log.String(), "s3cret") {
		t.Error("a secret is in the log")
	}
}

// The end of a scan reaches the receiver, whether it came by itself or was asked for.
func TestScanWebhook(t *testing.T) {
	w := start(t, setup{})
	h := newHook(t, 0)
	a := w.admin()
	id, dir := w.storage("share", account.DefaultTenant)
	w.put(dir, map[string]string{"a.txt": "hello"})
	a.call("PUT", "/api/settings/notifications", map[string]any{"scanCompletedWebhook": map[string]any{"isEnabled": true, "url": h.URL, "method": "POST"}}, http.StatusOK)
	scan := word(a.call("POST", "/api/scan/start", map[string]any{"storageIds": []string{id}, "name": "Monday"}, http.StatusOK), "scanId")
	wait(t, "the call", func() bool { return len(h.calls()) == 1 })
	if got := h.calls()[0]; got["ScanId"] != scan || got["ScanName"] != "Monday" || got["Status"] != "Completed" || got["WebhookNotificationType"] != "ScanCompleted" {
		t.Errorf("%v", got)
	}
}

func TestNotificationSettings(t *testing.T) {
	w := start(t, setup{closed: true})
	w.user("other", account.Administrator, 2)
	a, o := w.admin(), w.as("other")
	const path = "/api/settings/notifications"
	hooked := func(url string) map[string]any {
		return map[string]any{"fileScannedWebhook": map[string]any{"isEnabled": true, "url": url}}
	}
	for _, bad := range []any{hooked("http://127.0.0.1:1/"), hooked("http://169.254.169.254/"), hooked("ftp://93.184.216.34/"), hooked(""),
		map[string]any{"emailNotifications": map[string]any{"isEnabled": true}}, map[string]any{"emailNotifications": map[string]any{"recipients": []string{"a@b\r\nBcc: c@d"}}},
		map[string]any{"fileScannedWebhook": map[string]any{"url": "http://93.184.216.34/", "headers": []any{map[string]any{"name": "Host", "value": "x"}}}},
		map[string]any{"fileScannedWebhook": map[string]any{"url": "http://93.184.216.34/", "headers": []any{map[string]any{"name": "A", "value": "x\r\nB: y"}}}},
		map[string]any{"fileScannedWebhook": map[string]any{"url": "http://93.184.216.34/", "method": "DELETE"}},
		map[string]any{"fileScannedWebhook": map[string]any{"url": "http://93.184.216.34/", "secret": "short"}}, "[]"} {
		a.call("PUT", path, bad, http.StatusBadRequest)
	}
	a.call("PUT", path, hooked("http://93.184.216.34/hook"), http.StatusOK)
	if got := a.call("GET", path, nil, http.StatusOK); word(got, "fileScannedWebhook.url") != "http://93.184.216.34/hook" || word(got, "fileScannedWebhook.method") != "POST" {
		t.Errorf("%v", got)
	}
	if got := o.call("GET", path, nil, http.StatusOK); at(got, "fileScannedWebhook.url") != nil {
		t.Errorf("another tenant sees %v", got)
	}
	r := w.as("reader")
	r.call("GET", path, nil, http.StatusForbidden)
	r.call("PUT", path, hooked("http://93.184.216.34/"), http.StatusForbidden)
	(&client{w: w}).call("GET", path, nil, http.StatusUnauthorized)
	for _, none := range []string{"0198f02f-0000-7000-8000-000000000001", "nonsense"} {
		a.call("POST", "/api/landwaiter/notifications/"+none+"/retry", nil, http.StatusNotFound)
		a.call("DELETE", "/api/landwaiter/notifications/"+none, nil, http.StatusNotFound)
	}
	r.call("GET", "/api/landwaiter/notifications", nil, http.StatusForbidden)
	a.call("GET", "/api/landwaiter/notifications?state=lost", nil, http.StatusBadRequest)
}

func TestSMTPSettings(t *testing.T) {
	w := start(t, setup{closed: true})
	w.user("other", account.Administrator, 2)
	a, o := w.admin(), w.as("other")
	const path = "/api/settings/smtp"
	a.call("PATCH", path, map[string]any{"host": "93.184.216.34", "port": 25, "senderAddress": "lw@example.org", "username": "u", "password": "s3cret", "secureSocketOption": 3}, http.StatusOK)
	a.call("PATCH", path, map[string]any{"senderName": "Landwaiter", "isSmtpEnabled": false}, http.StatusOK)
	resp, body := a.do("GET", path, nil)
	if resp.StatusCode != 200 || strings.Contains(string(body), "s3cret") || strings.Contains(string(body), "assword") || !strings.Contains(string(body), `"senderName":"Landwaiter"`) ||
		!strings.Contains(string(body), `"secureSocketOption":3`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	for _, bad := range []any{map[string]any{"host": "127.0.0.1"}, map[string]any{"port": 0}, map[string]any{"secureSocketOption": 5}, map[string]any{"senderAddress": "x"}, map[string]any{"domain": "a\r\nMAIL FROM:<x>"}, map[string]any{"baseUrl": "javascript:x"}, map[string]any{"senderName": "a\nb"}, map[string]any{"senderName": strings.Repeat("x", 321)}, "{"} {
		a.call("PATCH", path, bad, http.StatusBadRequest)
	}
	if got := o.call("GET", path, nil, http.StatusOK); word(got, "host") != "" {
		t.Errorf("another tenant sees %v", got)
	}
	w.as("reader").call("PATCH", path, map[string]any{"port": 25}, http.StatusForbidden)
	(&client{w: w}).call("GET", path, nil, http.StatusUnauthorized)
}

func TestLoggers(t *testing.T) {
	w := start(t, setup{})
	w.user("other", account.Administrator, 2)
	a, o := w.admin(), w.as("other")
	const path = "/api/externallogger"
	syslog := map[string]any{"isEnabled": false, "connectionSettings": map[string]any{"$type": "SyslogUdp", "host": "127.0.0.1", "port": 5140}}
	id := word(a.call("POST", path+"/udpSyslog", syslog, http.StatusOK), "id")
	a.call("POST", path+"/udpSyslog", syslog, http.StatusConflict)
	kafka := map[string]any{"isEnabled": false, "connectionSettings": map[string]any{"bootstrapServers": "127.0.0.1:9, 127.0.0.1:10", "topic": "t", "saslMechanism": "plain", "username": "u", "password": "s3cret"}}
	kid := word(a.call("POST", path+"/kafka", kafka, http.StatusOK), "id")
	resp, body := a.do("GET", path, nil)
	if resp.StatusCode != 200 || strings.Contains(string(body), "s3cret") || !strings.Contains(string(body), `"$type":"Kafka"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	syslog["id"], syslog["connectionSettings"] = id, map[string]any{"host": "127.0.0.1", "port": 5141}
	a.call("PUT", path+"/udpSyslog", syslog, http.StatusOK)
	kafka["id"], kafka["connectionSettings"] = kid, map[string]any{"bootstrapServers": "127.0.0.1:9, 127.0.0.1:10", "topic": "other", "saslMechanism": "PLAIN", "username": "u"} // the password stays
	a.call("PUT", path+"/kafka", kafka, http.StatusOK)
	kafka["connectionSettings"] = map[string]any{"bootstrapServers": "127.0.0.1:11", "topic": "other", "saslMechanism": "PLAIN", "username": "u"} // it does not go to other servers
	a.call("PUT", path+"/kafka", kafka, http.StatusBadRequest)
	syslog["id"] = kid // of another type
	a.call("PUT", path+"/udpSyslog", syslog, http.StatusNotFound)
	a.call("PUT", path+"/status", map[string]any{"id": id, "isEnabled": true}, http.StatusOK)
	got := a.call("GET", path, nil, http.StatusOK)
	if at(got, "totalCount") != 2.0 || at(got, "entries.1.isEnabled") != true || at(got, "entries.1.connectionSettings.port") != 5141.0 || at(got, "entries.0.loggerType") != 1.0 {
		t.Errorf("%v", got)
	}
	for _, bad := range []any{map[string]any{"connectionSettings": map[string]any{"host": "10.0.0.1"}}, map[string]any{}, map[string]any{"connectionSettings": map[string]any{"host": "127.0.0.1", "port": 70000}}} {
		a.call("POST", path+"/udpSyslog", bad, http.StatusBadRequest)
	}
	for _, bad := range []map[string]any{{"bootstrapServers": "127.0.0.1", "topic": "t"}, {"bootstrapServers": "127.0.0.1:1", "topic": "a b"}, {"bootstrapServers": "10.0.0.1:9", "topic": "t"},
		{"bootstrapServers": "127.0.0.1:1", "topic": "t", "saslMechanism": "PLAIN"}, {"bootstrapServers": "127.0.0.1:1", "topic": "t", "saslMechanism": "GSSAPI"}} {
		a.call("POST", path+"/kafka", map[string]any{"connectionSettings": bad}, http.StatusBadRequest)
	}
	a.call("PUT", path+"/status", map[string]any{"id": id}, http.StatusBadRequest)
	for _, none := range []string{"0198f02f-0000-7000-8000-000000000001", "nonsense"} {
		a.call("DELETE", path+"/"+none, nil, http.StatusNotFound)
		a.call("PUT", path+"/status", map[string]any{"id": none, "isEnabled": true}, http.StatusNotFound)
	}
	o.call("DELETE", path+"/"+id, nil, http.StatusNotFound)
	if got := o.call("GET", path, nil, http.StatusOK); at(got, "totalCount") != 0.0 {
		t.Errorf("another tenant sees %v", got)
	}
	r := w.as("reader")
	r.call("GET", path, nil, http.StatusForbidden)
	r.call("DELETE", path+"/"+id, nil, http.StatusForbidden)
	(&client{w: w}).call("GET", path, nil, http.StatusUnauthorized)
	a.call("DELETE", path+"/"+id, nil, http.StatusOK)
	a.call("DELETE", path+"/"+id, nil, http.StatusNotFound)
}

// What is blocked is told by mail, and to a log server with what was done by
// whom: both are real servers.
func TestMailAndSyslog(t *testing.T) {
	dir := t.TempDir()
	smtp, syslog := servers.StartSMTP(t, servers.SMTPOptions{}), servers.StartRsyslog(t)
	w := start(t, setup{config: "units: [{name: inbox, url: 'file://" + dir + "', settle: 50ms}]\n"})
	a := w.admin()
	a.call("POST", "/api/externallogger/udpSyslog", map[string]any{"connectionSettings": map[string]any{"host": "127.0.0.1", "port": syslog.Port}}, http.StatusOK)
	a.call("PATCH", "/api/settings/smtp", map[string]any{"host": "127.0.0.1", "port": smtp.Port, "senderAddress": "lw@example.org", "secureSocketOption": 0, "isSmtpEnabled": true}, http.StatusOK)
	a.call("PUT", "/api/settings/notifications", map[string]any{"emailNotifications": map[string]any{"isEnabled": true, "recipients": []string{"soc@example.org"}, "blockedFiles": true}}, http.StatusOK)
	for name, text := range map[string]string{"good.txt": "nothing bad", "bad.txt": eicar()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "the mail", func() bool { return len(smtp.Messages(t)) == 1 })
	if m := smtp.Messages(t)[0]; !strings.Contains(m, "Subject: Blocked: bad.txt in inbox") || !strings.Contains(m, "soc@example.org") {
		t.Errorf("%s", m)
	}
	wait(t, "the lines", func() bool {
		all := fmt.Sprint(syslog.Lines(t))
		return strings.Contains(all, "File blocked|9|") && strings.Contains(all, "File allowed|1|") && strings.Contains(all, "audit.smtp.set|") && strings.Contains(all, "suser=admin")
	})
	if err := w.d.Mail(t.Context(), 1, "ann@example.org", "Your password", "here"); err != nil {
		t.Fatal(err)
	}
	wait(t, "the second mail", func() bool { return len(smtp.Messages(t)) == 2 })
	if err := w.d.Mail(t.Context(), 2, "ann@example.org", "s", "t"); !fault.Is(err, fault.Unsupported) {
		t.Errorf("a tenant without a mail server: %v", err)
	}
}

// What waits is listed with its error, and can be tried again or forgotten, by
// its own tenant alone.
func TestOutbox(t *testing.T) {
	dir := t.TempDir()
	w := start(t, setup{config: "units: [{name: inbox, url: 'file://" + dir + "', settle: 50ms}]\n"})
	w.user("other", account.Administrator, 2)
	h := newHook(t, 2)
	h.after = "3600"
	a, o := w.admin(), w.as("other")
	a.call("PUT", "/api/settings/notifications", map[string]any{"fileScannedWebhook": map[string]any{"isEnabled": true, "url": h.URL}}, http.StatusOK)
	put := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const path = "/api/landwaiter/notifications"
	tried := func(n float64) (id string) {
		t.Helper()
		wait(t, "an attempt", func() bool {
			got := a.call("GET", path+"?state=waiting", nil, http.StatusOK)
			id = word(got, "entries.0.id")
			return at(got, "totalCount") == n && strings.Contains(word(got, "entries.0.lastError"), "503") && at(got, "entries.0.attempts") == 1.0
		})
		return id
	}
	put("a.txt")
	first := tried(1)
	for _, c := range []struct{ method, path string }{{"POST", path + "/" + first + "/retry"}, {"DELETE", path + "/" + first}} {
		o.call(c.method, c.path, nil, http.StatusNotFound)
		w.as("reader").call(c.method, c.path, nil, http.StatusForbidden)
		(&client{w: w}).call(c.method, c.path, nil, http.StatusUnauthorized)
	}
	if got := o.call("GET", path, nil, http.StatusOK); at(got, "totalCount") != 0.0 {
		t.Errorf("another tenant sees %v", got)
	}
	put("b.txt")
	second := tried(2)
	if got := a.call("GET", path+"?state=givenUp", nil, http.StatusOK); at(got, "totalCount") != 0.0 {
		t.Errorf("%v", got)
	}
	a.call("DELETE", path+"/"+second, nil, http.StatusOK)
	a.call("POST", path+"/"+first+"/retry", nil, http.StatusOK)
	wait(t, "the call", func() bool { return len(h.calls()) == 1 })
	if got := h.calls()[0]; got["FileName"] != "a.txt" {
		t.Errorf("%v", got)
	}
}
