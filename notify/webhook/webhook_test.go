package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/outbound"
	"github.com/landwaiter/landwaiter/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MA=="

// A receiver is a stand-in for whoever a user has told of files: it keeps what
// came and answers as told.
type receiver struct {
	*httptest.Server
	header http.Header
	method string
	body   []byte
	answer func(w http.ResponseWriter, r *http.Request)
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.header, r.method = req.Header, req.Method
		r.body, _ = io.ReadAll(req.Body)
		if r.answer != nil {
			r.answer(w, req)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func fileNotice(t *testing.T, change func(*ledger.FileNotice)) ledger.Notice {
	t.Helper()
	f := ledger.FileNotice{Record: ledger.Record{ID: "0198f02f-0000-7000-8000-000000000001", Key: "in/a.txt", Verdict: "infected", Decision: "blocked", Outcome: ledger.OutcomeDone,
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Actions: []ledger.ActionRecord{{Type: "quarantine", State: "done"}, {Type: "remove", State: "refused", Detail: "no"}}}, Result: "Infected", Workflow: "w"}
	if change != nil {
		change(&f)
	}
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.Notice{ID: ledger.NewID(), Kind: ledger.NoticeFile, Body: b}
}

func open(t *testing.T, o Options) *Webhook {
	t.Helper()
	o.Workflow = func(context.Context, string) (string, []string, error) { return "Strict", []string{"rule"}, nil }
	if o.Method == "" {
		o.Method = http.MethodPost
	}
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func TestFileScanned(t *testing.T) {
	r := newReceiver(t)
	w := open(t, Options{URL: r.URL + "/x", Method: http.MethodPut, Headers: map[string]string{"Authorization": "Bearer t"}, Secret: secret, Guard: outbound.Guard{Loopback: true}})
	n := fileNotice(t, nil)
	if err := w.Deliver(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(r.body, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"FileId": "0198f02f-0000-7000-8000-000000000001", "FileName": "a.txt", "FilePath": "in/a.txt", "FileStatus": "Blocked", "CoreScanResult": "Infected",
		"FileState": "FailedRemediation", "RemediationResult": []any{"BlockedQuarantined: Applied", "BlockedDeleted: Failed"}, "ScanCompletedTimeStamp": "2026-01-02T03:04:05Z",
		"WorkflowName": "Strict", "Rules": []any{"rule"}, "ExceptionDetails": "", "RemediationErrors": []any{"remove: no"}, "WebhookNotificationType": "FileScanned"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if r.method != http.MethodPut || r.header.Get("Authorization") != "Bearer t" || r.header.Get("Webhook-Id") != n.ID.String() {
		t.Errorf("%s %v", r.method, r.header)
	}
}

// What is signed is the id, the time in seconds and the body, as the
// specification says.
func TestSignature(t *testing.T) {
	r := newReceiver(t)
	w := open(t, Options{URL: r.URL, Secret: secret, Guard: outbound.Guard{Loopback: true}})
	n := fileNotice(t, nil)
	if err := w.Deliver(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	stamp := r.header.Get("Webhook-Timestamp")
	if sec, err := strconv.ParseInt(stamp, 10, 64); err != nil || time.Since(time.Unix(sec, 0)).Abs() > time.Minute {
		t.Errorf("timestamp %q", stamp)
	}
	mac := hmac.New(sha256.New, []byte("0123456789012345678901234567890")[:31])
	mac.Write([]byte(n.ID.String() + "." + stamp + "." + string(r.body)))
	if got, want := r.header.Get("Webhook-Signature"), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("signature %q, want %q", got, want)
	}
	for _, bad := range []string{"whsec_AAAA", "nonsense!", "whsec_" + strings.Repeat("A", 120)} {
		if _, err := New(Options{Secret: bad}); !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), bad) {
			t.Errorf("secret %q: %v", bad, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	r := newReceiver(t)
	w := open(t, Options{URL: r.URL + "/?token=s3cret", Guard: outbound.Guard{Loopback: true}})
	status := func(code int, header ...string) func(http.ResponseWriter, *http.Request) {
		return func(rw http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				rw.Header().Set(header[i], header[i+1])
			}
			rw.WriteHeader(code)
		}
	}
	for _, c := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request)
		kind   fault.Kind
		after  time.Duration
	}{
		{"500", status(500), fault.Unavailable, 0},
		{"404", status(404), fault.Unavailable, 0},
		{"429", status(429), fault.Throttled, 0},
		{"503 with Retry-After", status(503, "Retry-After", "120"), fault.Throttled, 2 * time.Minute},
		{"a redirect", status(307, "Location", "http://10.0.0.1/"), fault.Unavailable, 0},
		{"no answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.Unavailable, 0},
	} {
		r.answer = c.answer
		err := w.Deliver(t.Context(), fileNotice(t, nil))
		if !fault.Is(err, c.kind) || fault.AfterOf(err) != c.after || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v after %v", c.name, err, fault.AfterOf(err))
		}
	}
	r.answer = nil
	guarded := open(t, Options{URL: r.URL, Guard: outbound.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}})
	r.method = ""
	if err := guarded.Deliver(t.Context(), fileNotice(t, nil)); !fault.Is(err, fault.Invalid) || r.method != "" {
		t.Errorf("a guarded receiver: %v, called %q", err, r.method)
	}
}

func TestWords(t *testing.T) {
	r := newReceiver(t)
	w := open(t, Options{URL: r.URL, Guard: outbound.Guard{Loopback: true}})
	for name, c := range map[string]struct {
		change func(*ledger.FileNotice)
		want   map[string]any
	}{
		"allowed": {func(f *ledger.FileNotice) { f.Decision, f.Actions, f.Result = "allowed", nil, "No Threat Detected" },
			map[string]any{"FileStatus": "Allowed", "FileState": "Available", "CoreScanResult": "No Threat Detected", "RemediationResult": []any{"AllowedKept: Applied"}, "RemediationErrors": []any{}}},
		"held is not let through": {func(f *ledger.FileNotice) { f.Decision, f.Actions = "held", nil }, map[string]any{"FileStatus": "Blocked"}},
		"failed":                  {func(f *ledger.FileNotice) { f.Outcome, f.Error = ledger.OutcomeFailed, "gone" }, map[string]any{"FileState": "Failed", "ExceptionDetails": "gone"}},
		"canceled":                {func(f *ledger.FileNotice) { f.Outcome = ledger.OutcomeCanceled }, map[string]any{"FileState": "Canceled"}},
	} {
		if err := w.Deliver(t.Context(), fileNotice(t, c.change)); err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(r.body, &got); err != nil {
			t.Fatal(err)
		}
		for k, v := range c.want {
			if !cmp.Equal(got[k], v) {
				t.Errorf("%s: %s = %v, want %v", name, k, got[k], v)
			}
		}
	}
	b, _ := json.Marshal(ledger.ScanNotice{ID: ledger.NewID(), Unit: "inbox", State: "stopped"})
	if err := w.Deliver(t.Context(), ledger.Notice{ID: ledger.NewID(), Kind: ledger.NoticeScan, Body: b}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(r.body), `"Status":"Cancelled","WebhookNotificationType":"ScanCompleted"`) {
		t.Errorf("%s", r.body)
	}
	for _, n := range []ledger.Notice{{Kind: ledger.NoticeMail}, {Kind: ledger.NoticeFile, Body: []byte("{")}} {
		if err := w.Deliver(t.Context(), n); !fault.Is(err, fault.Corrupt) {
			t.Errorf("got %v, want Corrupt", err)
		}
	}
}
