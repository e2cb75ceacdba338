package mdcore_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/mdcore"
	standin "github.com/landwaiter/landwaiter/test/servers/mdcore"
)

// What the instance refuses an upload with, and what we make of it.
func TestRefusals(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	e := open(t, s, nil)
	for _, tc := range []struct {
		status int
		err    string
		kind   fault.Kind
		reason scan.Reason
	}{
		{400, "Bad Request", fault.Invalid, scan.EngineError},
		{400, "Invalid apikey given", fault.Denied, ""},
		{400, "Callback url is invalid.", fault.Invalid, scan.EngineError},
		{400, "File upload rejected due to insufficient disk space", fault.Throttled, scan.EngineUnavailable},
		{400, "No available rule is present for scanning.", fault.Unavailable, scan.EngineError},
		{400, "Failed to request scan. Try again later.", fault.Unavailable, scan.EngineUnavailable},
		{401, "Unauthorized", fault.Denied, ""},
		{403, "Access denied", fault.Denied, ""},
		{403, "License is expired.", fault.Unavailable, scan.EngineUnavailable},
		{404, "nothing here", fault.Unavailable, scan.EngineError},
		{405, "The user has no rights for this operation", fault.Denied, ""},
		{411, "Missing Content-Length header.", fault.Unavailable, scan.EngineError},
		{422, "File is empty.", fault.Unavailable, scan.EngineError},
		{429, "Too many requests", fault.Throttled, scan.EngineUnavailable},
		{500, "Unexpected event on server", fault.Unavailable, scan.EngineUnavailable},
		{500, "License is expired.", fault.Unavailable, scan.EngineUnavailable},
		{502, "", fault.Unavailable, scan.EngineUnavailable},
		{503, "Server is too busy. Try again later.", fault.Throttled, scan.EngineUnavailable},
		{302, "", fault.Unavailable, scan.EngineError},
		{204, "", fault.Unavailable, scan.EngineError},
	} {
		s.SetFault(standin.On("POST", "/file", standin.Status(tc.status, tc.err, "")))
		rep, err := e.Scan(t.Context(), text("content"))
		if !fault.Is(err, tc.kind) || fault.ReasonOf(err) != string(tc.reason) || !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%d %s: %+v, %v", tc.status, tc.err, rep, err)
		}
	}
	for _, f := range []standin.Fault{standin.Status(400, "File size exceeds configured maximum", ""), standin.Status(413, "", "")} {
		s.SetFault(standin.On("POST", "/file", f))
		rep, err := e.Scan(t.Context(), text("content"))
		if err != nil || rep.Verdict != scan.NotScanned || rep.Reason != scan.TooLarge || rep.Code == 0 {
			t.Errorf("too large: %+v, %v", rep, err)
		}
	}
	for _, after := range []string{"7", time.Now().Add(8 * time.Second).UTC().Format(http.TimeFormat)} {
		s.SetFault(standin.On("POST", "/file", standin.Status(503, "busy", after)))
		if _, err := e.Scan(t.Context(), text("x")); fault.AfterOf(err) < 5*time.Second || fault.AfterOf(err) > 9*time.Second {
			t.Errorf("Retry-After %s: %v", after, fault.AfterOf(err))
		}
	}
	for _, after := range []string{"-1", "soon", "99999999999999999999", "1.5"} {
		s.SetFault(standin.On("POST", "/file", standin.Status(503, "busy", after)))
		if _, err := e.Scan(t.Context(), text("x")); fault.AfterOf(err) != 0 {
			t.Errorf("Retry-After %s: %v", after, fault.AfterOf(err))
		}
	}
}

// Limits of the stand-in itself: queue, rate, rule, size, license.
func TestLimitsOfTheServer(t *testing.T) {
	s := standin.Start(t, standin.Options{MaxQueue: 1, Rules: []standin.Rule{{Name: "Small", MaxSize: 10}}})
	e := open(t, s, func(o *mdcore.Options) { o.Rule = "Small" })
	if rep, err := e.Scan(t.Context(), text("more than ten bytes")); err != nil || rep.Reason != scan.TooLarge {
		t.Errorf("%+v, %v", rep, err)
	}
	other := text("x")
	other.Rule = "None"
	if _, err := e.Scan(t.Context(), other); !fault.Is(err, fault.Unavailable) {
		t.Errorf("no such rule: %v", err)
	}
	s.SetFull(true)
	if _, err := e.Scan(t.Context(), text("x")); !fault.Is(err, fault.Throttled) {
		t.Errorf("full: %v", err)
	}
	s.SetFull(false)
	s.SetLicense("expired")
	if _, err := e.Scan(t.Context(), text("x")); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "License is expired") {
		t.Errorf("license: %v", err)
	}
}

// A rate limit, a reset or an error while polling does not lose the job.
func TestPollingOutlastsTrouble(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	e := open(t, s, nil)
	for name, f := range map[string]standin.Fault{
		"reset": standin.First(3, standin.Reset), "500": standin.First(3, standin.Status(500, "x", "")), "429": standin.First(20, standin.Status(429, "x", "")),
		"503": standin.First(20, standin.Status(503, "x", "")), "cut": standin.First(3, standin.Cut(`{"data_id":"x"}`, 5)),
		"lost": standin.First(2, func(w http.ResponseWriter, r *http.Request) bool {
			return standin.Raw(200, `{"`+strings.TrimPrefix(r.URL.Path, "/file/")+`":"Not Found"}`)(w, r)
		}),
	} {
		s.SetFault(standin.On("GET", "/file/", f))
		if rep, err := e.Scan(t.Context(), text("content")); err != nil || rep.Verdict != scan.Clean {
			t.Errorf("%s: %v, %v", name, rep.Verdict, err)
		}
	}
	s.SetFault(standin.On("GET", "/file/", standin.First(1, standin.Status(429, "slow down", "1"))))
	start := time.Now()
	if _, err := e.Scan(t.Context(), text("content")); err != nil || time.Since(start) < 700*time.Millisecond {
		t.Errorf("Retry-After while polling: %v after %v", err, time.Since(start))
	}
	for name, f := range map[string]standin.Fault{"reset": standin.Reset, "500": standin.Status(500, "x", ""), "429": standin.Status(429, "x", ""), "403": standin.Status(403, "x", "")} {
		s.SetFault(standin.On("GET", "/file/", f))
		if _, err := e.Scan(t.Context(), text("content")); !fault.Is(err, fault.Unavailable, fault.Throttled, fault.Denied) {
			t.Errorf("%s for ever: %v", name, err)
		}
	}
	if all, _ := s.Jobs(); all != len(s.Requests("POST", "/file"))-4 {
		t.Errorf("jobs %d: a job was submitted twice", all)
	}
}

func TestLostJob(t *testing.T) {
	for _, status := range []int{200, 404} {
		s := standin.Start(t, standin.Options{})
		e := open(t, s, nil)
		answers(s, status, `{"ID":"Not Found"}`)
		if _, err := e.Scan(t.Context(), text("x")); !fault.Is(err, fault.Unavailable) || fault.ReasonOf(err) != string(scan.EngineError) {
			t.Errorf("%d: %v", status, err)
		}
		if n := len(s.Requests("POST", "/file/")); n != 0 {
			t.Errorf("%d: cancelled what is not there", status)
		}
	}
}

// However an upload breaks, there is an error, in time, and the sample is closed.
func TestUploadBreaks(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	e := open(t, s, func(o *mdcore.Options) { o.Stall = 100 * time.Millisecond })
	for name, f := range map[string]standin.Fault{
		"reset": standin.Reset, "reset in the body": standin.ResetAfter(100_000), "hang": standin.Hang, "deaf": standin.Deaf,
		"accepted early": func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.WriteString(w, `{"data_id":"0123456789abcdef"}`)
			return true
		},
		"refused early": func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(503); return true },
		"no id":         standin.Raw(200, `{"batch_id":"x"}`), "bad id": standin.Raw(200, `{"data_id":"../login"}`), "huge": standin.Huge(20 << 20),
		"long id": standin.Raw(200, `{"data_id":"`+strings.Repeat("a", 129)+`"}`), "number": standin.Raw(200, `{"data_id":5}`), "empty": standin.Raw(200, ``),
		"cut": standin.Cut(`{"data_id":"0123456789abcdef"}`, 10),
	} {
		s.SetFault(standin.On("POST", "/file", f))
		opened, closed := 0, 0
		smp := scan.Sample{Name: "big", Size: 64 << 20, Open: func(context.Context) (io.ReadCloser, error) {
			opened++
			return closer{io.LimitReader(zeros{}, 64<<20), &closed}, nil
		}}
		start := time.Now()
		rep, err := e.Scan(t.Context(), smp)
		if !fault.Is(err, fault.Unavailable, fault.Throttled) || rep.Verdict != scan.None {
			t.Errorf("%s: %+v, %v", name, rep, err)
		}
		if closed != opened || opened == 0 || time.Since(start) > 5*time.Second {
			t.Errorf("%s: opened %d, closed %d times, took %v", name, opened, closed, time.Since(start))
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A source that is slow is not the instance's stall.
func TestSlowSourceIsNoStall(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	e := open(t, s, func(o *mdcore.Options) { o.Stall = 60 * time.Millisecond })
	smp := text("slowly")
	smp.Open = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(&drip{"slowly"}), nil }
	if rep, err := e.Scan(t.Context(), smp); err != nil || rep.Verdict != scan.Clean {
		t.Errorf("%v, %v", rep.Verdict, err)
	}
	// One that never comes back ends with the scan.
	smp.Open = func(ctx context.Context) (io.ReadCloser, error) { return io.NopCloser(never{ctx}), nil }
	e = open(t, s, func(o *mdcore.Options) { o.Timeout = 100 * time.Millisecond })
	if _, err := e.Scan(t.Context(), smp); fault.ReasonOf(err) != string(scan.Timeout) {
		t.Errorf("a source that hangs: %v", err)
	}
}

type drip struct{ s string }

func (d *drip) Read(p []byte) (int, error) {
	if d.s == "" {
		return 0, io.EOF
	}
	<-time.After(80 * time.Millisecond) // the source's own pace is what is tested
	n := copy(p, d.s[:1])
	d.s = d.s[1:]
	return n, nil
}

type never struct{ ctx context.Context }

func (n never) Read([]byte) (int, error) { <-n.ctx.Done(); return 0, n.ctx.Err() }

// A connection that the server closed while it was idle costs no scan.
func TestIdleConnectionGone(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	e := open(t, s, nil)
	if _, err := e.Scan(t.Context(), text("one")); err != nil {
		t.Fatal(err)
	}
	// The second request on a connection that is in use already is dropped, as
	// a server does whose keep-alive ran out.
	s.SetFault(standin.On("POST", "/file", standin.First(1, standin.Reset)))
	if rep, err := e.Scan(t.Context(), text("two")); err != nil || rep.Verdict != scan.Clean {
		t.Errorf("%v, %v", rep.Verdict, err)
	}
}

func TestSessions(t *testing.T) {
	s := standin.Start(t, standin.Options{Users: map[string]string{"ann": "pa55w0rd"}})
	e := open(t, s, func(o *mdcore.Options) { o.User, o.Password = "ann", "pa55w0rd" })
	for range 3 {
		if _, err := e.Scan(t.Context(), text("x")); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.Requests("POST", "/login")); n != 1 {
		t.Errorf("%d logins", n)
	}
	s.EndSessions()
	done := make(chan error)
	for range 8 {
		go func() {
			_, err := e.Scan(t.Context(), text("x"))
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Errorf("after the session ended: %v", err)
		}
	}
	if n := len(s.Requests("POST", "/login")); n > 9 {
		t.Errorf("%d logins", n)
	}
	// A session that ends while a job is polled is renewed too.
	smp := text("LW-WAIT:300")
	go func() {
		_, err := e.Scan(t.Context(), smp)
		done <- err
	}()
	until(t, func() bool { n, _ := s.Jobs(); return n == 12 })
	s.EndSessions()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := e.Close(); err != nil || s.Sessions() != 0 {
		t.Errorf("%v, %d sessions left", err, s.Sessions())
	}
	wrong := open(t, s, func(o *mdcore.Options) { o.User, o.Password = "ann", "guess" })
	if _, err := wrong.Scan(t.Context(), text("x")); !fault.Is(err, fault.Denied) || strings.Contains(err.Error(), "guess") {
		t.Errorf("wrong password: %v", err)
	}
	before := len(s.Requests("POST", "/login"))
	for range 5 {
		if _, err := wrong.Scan(t.Context(), text("x")); !fault.Is(err, fault.Denied) {
			t.Errorf("wrong password: %v", err)
		}
	}
	if n := len(s.Requests("POST", "/login")); n != before {
		t.Errorf("wrong credentials were sent %d times more", n-before)
	}
	none := open(t, s, func(o *mdcore.Options) { o.APIKey = "stale" })
	if _, err := none.Scan(t.Context(), text("x")); !fault.Is(err, fault.Denied) {
		t.Errorf("wrong key: %v", err)
	}
}

func TestTLS(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	s := standin.Start(t, standin.Options{TLS: true})
	e := open(t, s, func(o *mdcore.Options) { o.CAFile = s.CAFile(t) })
	if rep, err := e.Scan(t.Context(), text("x")); err != nil || rep.Verdict != scan.Clean {
		t.Errorf("%v, %v", rep.Verdict, err)
	}
	strange := open(t, s, nil)
	if _, err := strange.Scan(t.Context(), text("x")); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("unknown authority: %v", err)
	}
	plain := open(t, s, func(o *mdcore.Options) { o.URL = strings.Replace(o.URL, "mdcores", "mdcore", 1) })
	if _, err := plain.Scan(t.Context(), text("x")); err == nil {
		t.Error("plain HTTP to a TLS server")
	}
}

func TestNobodyThere(t *testing.T) {
	e, err := mdcore.Open(t.Context(), mdcore.Options{URL: "mdcore://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Scan(t.Context(), text("x")); !fault.Is(err, fault.Unavailable) || fault.ReasonOf(err) != string(scan.EngineUnavailable) {
		t.Errorf("got %v", err)
	}
	if h, err := e.Probe(t.Context()); !fault.Is(err, fault.Unavailable) || h.Ready {
		t.Errorf("probe: %+v, %v", h, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Scan(ctx, text("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	if _, err := e.Probe(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("probe cancelled before: %v", err)
	}
}
