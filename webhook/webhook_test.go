package webhook

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// A genuine call of each kind, and the bench that takes it.
func genuineCalls(t testing.TB) map[string]struct {
	open func(testing.TB) *bench
	call func() *http.Request
} {
	type one = struct {
		open func(testing.TB) *bench
		call func() *http.Request
	}
	return map[string]one{
		"s3":        {s3Bench, func() *http.Request { return s3Call(s3Body) }},
		"standard":  {stdBench, func() *http.Request { return stdCall("msg_1", stdBody) }},
		"sns":       {snsOpen(t), func() *http.Request { return notify().by(t, rsaKey(t, "amazon", 2048)).call() }},
		"eventgrid": {gridBench, func() *http.Request { return gridCall(gridBody) }},
		"entra":     {entraBench, func() *http.Request { return entraCall(entraToken().by(t, rsaKey(t, "entra", 2048)), gridBody) }},
		"pubsub":    {pushBench, func() *http.Request { return pushCall(pushToken().by(t, rsaKey(t, "google", 2048)), pushBody) }},
	}
}

// final are the statuses after which a vendor drops an event.
var final = map[string][]int{
	"sns":       {400, 401, 403, 404, 405, 408, 413, 415, 429},
	"eventgrid": {400, 401, 403, 404, 413},
	"entra":     {400, 401, 403, 404, 413},
}

// Whatever the sink says, a genuine event is answered so that its vendor tries
// again, and taken when the sink is well again.
func TestOurFaultsAreNotFinal(t *testing.T) {
	violations, cases := 0, 0
	for kind, k := range genuineCalls(t) {
		for _, fail := range []error{
			fault.New(fault.Unavailable, "store", "", errors.New("disk full")), &fault.Error{Kind: fault.Throttled, After: 42 * time.Second, Err: errors.New("backlog")},
			fault.New(fault.Invalid, "store", "", errors.New("a bug")), fault.New(fault.Denied, "store", "", errors.New("read only")), errors.New("unknown"), io.ErrUnexpectedEOF,
		} {
			cases++
			b := k.open(t)
			b.sink.fail(fail)
			w := b.call(k.call())
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
				violations++
				t.Errorf("%s: sink: %v: %d, Retry-After %q", kind, fail, w.Code, w.Header().Get("Retry-After"))
			}
			if fault.AfterOf(fail) > 0 && w.Header().Get("Retry-After") != "42" {
				t.Errorf("%s: Retry-After %q, want 42", kind, w.Header().Get("Retry-After"))
			}
			if strings.Contains(w.Body.String(), "disk") {
				t.Errorf("%s: the reply tells of our inside: %s", kind, w.Body)
			}
			b.sink.fail(nil)
			if w := b.call(k.call()); w.Code != http.StatusOK {
				violations++
				t.Errorf("%s: tried again: %d", kind, w.Code)
			}
			if n, _ := b.sink.counts(); n != 1 {
				violations++
				t.Errorf("%s: %d notices after a failure and a second try, want 1", kind, n)
			}
		}
		// A forged call of Event Grid's must not be final either: it is more often
		// an operator's mistake.
		for _, status := range final[kind] {
			if kind != "sns" && status == statuses[unproven] && k.open(t).hooks["in"].kind.traits().unproven == 0 {
				t.Errorf("%s: the status of an unproven call is final", kind)
			}
		}
	}
	t.Logf("sink failures: cases=%d violations=%d", cases, violations)
}

// A verified call that makes no sense is buried with all that came; when that
// fails, the vendor shall try again.
func TestPoison(t *testing.T) {
	b := s3Bench(t)
	b.sink.fail(errors.New("disk full"))
	if w := b.call(s3Call("nonsense")); w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d, want 503", w.Code)
	}
	b.sink.fail(nil)
	if w := b.call(s3Call("nonsense")); w.Code != http.StatusOK {
		t.Errorf("%d, want 200", w.Code)
	}
	l := b.sink.letters
	if len(l) != 1 || l[0].Source != "hooks/in" || string(l[0].Body) != "nonsense" || l[0].Why == "" || !l[0].At.Equal(noon) {
		t.Errorf("letters %+v", l)
	}
	if s := b.Status()[0]; s.Buried != 1 || s.Accepted != 1 || s.Refused[string(ours)] != 1 || s.Error != "" || !s.ErrorAt.IsZero() || !s.Last.Equal(noon) {
		t.Errorf("status %+v", s)
	}
}

// A perfect forgery, played again and again, reaches the sink once. Two writes
// of one key are two notices, however equal in size and version.
func TestRepeats(t *testing.T) {
	for kind, k := range genuineCalls(t) {
		b := k.open(t)
		for range 100 {
			if w := b.call(k.call()); w.Code != http.StatusOK {
				t.Fatalf("%s: %d", kind, w.Code)
			}
		}
		if n, _ := b.sink.counts(); n != 1 {
			t.Errorf("%s: %d notices of one call played 100 times", kind, n)
		}
	}
	b := s3Bench(t)
	for i := range 50 {
		b.call(s3Call(strings.Replace(s3Body, "59.123Z", fmt.Sprintf("59.%03dZ", i), 1)))
	}
	if n, _ := b.sink.counts(); n != 50 {
		t.Errorf("%d notices of 50 writes", n)
	}
	// What has no time of its own is always new.
	b = s3Bench(t)
	for range 3 {
		b.call(s3Call(strings.NewReplacer("2026-11-28T11:59:59.123Z", "", "17F0A1B2C3D4E5F6", "").Replace(s3Body)))
	}
	if n, _ := b.sink.counts(); n != 3 {
		t.Errorf("%d notices of 3 without a time", n)
	}
	// The window ends, and so does the memory.
	b = s3Bench(t)
	b.call(s3Call(s3Body))
	b.clock.add(recentFor)
	b.call(s3Call(s3Body))
	if n, _ := b.sink.counts(); n != 2 {
		t.Errorf("%d notices across the window, want 2", n)
	}
	r := b.hooks["in"].recent
	for i := range 3 * recentMax {
		_, marks := r.fresh(message{id: fmt.Sprint(i), once: true})
		r.keep(marks)
	}
	if len(r.seen) > recentMax || len(r.line) > recentMax {
		t.Errorf("%d marks, %d in line, want at most %d", len(r.seen), len(r.line), recentMax)
	}
	if got, _ := r.fresh(message{id: fmt.Sprint(3*recentMax - 1), once: true, notices: make([]events.Notice, 1)}); len(got) != 0 {
		t.Error("the newest mark is not kept")
	}
}

// One message cannot carry the same notice twice, either.
func TestRepeatsWithinAMessage(t *testing.T) {
	b := s3Bench(t)
	record := s3Body[strings.Index(s3Body, `{"eventVersion"`):strings.LastIndex(s3Body, "]")]
	b.call(s3Call(`{"Records":[` + record + `,` + record + `]}`))
	if n, _ := b.sink.counts(); n != 1 {
		t.Errorf("%d notices, want 1", n)
	}
}

func TestRateIsBounded(t *testing.T) {
	b := newBench(t, Hook{Name: "in", Kind: "s3", Options: map[string]string{"token": s3Token, "rate": "10"}})
	codes := map[int]int{}
	for i := range 3000 {
		codes[b.call(s3Call(strings.Replace(s3Body, "59.123Z", fmt.Sprintf("59.%06dZ", i), 1))).Code]++
	}
	if n, _ := b.sink.counts(); n != events.MaxNotices || codes[503] != 3000-n {
		t.Errorf("%d notices, replies %v; want the burst of %d and 503", n, codes, events.MaxNotices)
	}
	b.clock.add(time.Second)
	if w := b.call(s3Call(s3Body)); w.Code != http.StatusOK {
		t.Errorf("a second later: %d", w.Code)
	}
}

// More calls at a time than the hook takes are sent away at once; another hook
// has places of its own.
func TestConcurrencyIsBounded(t *testing.T) {
	options := map[string]string{"token": s3Token, "concurrency": "2"}
	b := newBench(t, Hook{Name: "in", Kind: "s3", Options: options}, Hook{Name: "two", Kind: "s3", Options: options})
	b.sink.hold, b.sink.entered = make(chan struct{}), make(chan struct{}, 3)
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			if w := b.call(s3Call(strings.Replace(s3Body, "59.123Z", fmt.Sprintf("59.%03dZ", i), 1))); w.Code != http.StatusOK {
				t.Errorf("%d", w.Code)
			}
		})
		<-b.sink.entered
	}
	if w := b.call(s3Call(s3Body)); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("a third call: %d", w.Code)
	}
	wg.Go(func() {
		r := s3Call(s3Body)
		r.URL.Path = Prefix + "two"
		if w := b.call(r); w.Code != http.StatusOK {
			t.Errorf("another hook: %d", w.Code)
		}
	})
	<-b.sink.entered
	close(b.sink.hold)
	wg.Wait()
	b.sink.entered = nil
	if w := b.call(s3Call(s3Body)); w.Code != http.StatusOK {
		t.Errorf("afterwards: %d", w.Code)
	}
}

// An unknown hook looks like any unknown path, to every method.
func TestUnknownHook(t *testing.T) {
	b := s3Bench(t)
	mux := http.NewServeMux()
	mux.Handle(Prefix, b)
	for _, method := range []string{"GET", "POST", "OPTIONS", "PUT"} {
		replies := map[string]string{}
		for _, path := range []string{"/nowhere", Prefix + "unknown", Prefix, Prefix + "in/", Prefix + "in/x"} {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(s3Body)))
			replies[path] = fmt.Sprint(w.Code, w.Header(), w.Body)
		}
		for path, got := range replies {
			if got != replies["/nowhere"] {
				t.Errorf("%s %s: %s, want %s", method, path, got, replies["/nowhere"])
			}
		}
	}
}

// Over a real connection: a body that does not come ends the call, and so does
// one above the limit, however it is announced.
func TestOverTheWire(t *testing.T) {
	b := s3Bench(t)
	b.hooks["in"].readWithin = 200 * time.Millisecond
	srv := httptest.NewServer(b)
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST %sin HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", Prefix, s3Token)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a body that does not come: %d", resp.StatusCode)
	}
	req, err := http.NewRequest(http.MethodPost, srv.URL+Prefix+"in", io.LimitReader(zeros{}, 10<<20))
	if err != nil {
		t.Fatal(err)
	}
	with(req, "Authorization", "Bearer "+s3Token, "Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err = client.Do(req)
	if err == nil { // or the connection was cut while it was written
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("10 MiB: %d", resp.StatusCode)
		}
	}
	if n, l := b.sink.counts(); n != 0 || l != 0 {
		t.Errorf("%d notices, %d letters", n, l)
	}
	req, err = http.NewRequest(http.MethodPost, srv.URL+Prefix+"in", strings.NewReader(s3Body))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err = client.Do(with(req, "Authorization", "Bearer "+s3Token, "Content-Type", "application/json")); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if n, _ := b.sink.counts(); resp.StatusCode != http.StatusOK || n != 1 {
		t.Errorf("a genuine call: %d, %d notices", resp.StatusCode, n)
	}
}

// A sink that blocks must not make a vendor wait for ever.
func TestASinkThatBlocks(t *testing.T) {
	b := s3Bench(t)
	b.hooks["in"].deliverWithin = 50 * time.Millisecond
	b.sink.hold = make(chan struct{})
	if w := b.call(s3Call(s3Body)); w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d, want 503", w.Code)
	}
}

func TestOptions(t *testing.T) {
	good := map[string]map[string]string{
		"sns": {"topics": topic}, "eventgrid": {"token": gridToken}, "pubsub": {"audience": "a", "service_account": "a@b"}, "s3": {"token": s3Token}, "standard": {"secret": secretOf(stdKey)},
	}
	open := func(c ...Hook) error {
		_, err := New(c, new(sink), slog.New(slog.DiscardHandler), time.Now)
		return err
	}
	for kind, options := range good {
		if err := open(Hook{Name: "in", Kind: kind, Options: options}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if err := open(Hook{Name: "in", Kind: kind}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s without options: %v, want Invalid", kind, err)
		}
	}
	for _, c := range []struct {
		kind, option, value, wrong string
	}{
		{"smtp", "", "", "kind"},
		{"s3", "tokken", "x", "tokken"},
		{"s3", "token", "short", "token"},
		{"s3", "token", "with a space in the middle", "token"},
		{"s3", "previous_token", "short", "previous_token"},
		{"s3", "concurrency", "0", "concurrency"},
		{"s3", "rate", "many", "rate"},
		{"sns", "topics", "arn:aws:sqs:eu-central-1:123456789012:q", "topics"},
		{"sns", "topics", "arn:aws:sns:eu-central-1:123456789012:*", "topics"},
		{"eventgrid", "tenant", gridTenant, "token"},
		{"pubsub", "service_account", "nobody", "service_account"},
		{"pubsub", "subscription", "s", "subscription"},
		{"standard", "secret", "whsec_AAAA", "secret"},
		{"standard", "secret", "whsec_***", "secret"},
		{"standard", "previous_secret", "x", "previous_secret"},
	} {
		options := map[string]string{}
		for name, value := range good[c.kind] {
			options[name] = value
		}
		if c.option != "" {
			options[c.option] = c.value
		}
		err := open(Hook{Name: "in", Kind: c.kind, Options: options})
		var option *connectors.OptionError
		if !fault.Is(err, fault.Invalid) || !errors.As(err, &option) || option.Name != c.wrong {
			t.Errorf("%s %s=%s: %v, want Invalid by option %s", c.kind, c.option, c.value, err, c.wrong)
		}
		if secret := c.option == "token" || strings.HasSuffix(c.option, "secret"); secret && err != nil && c.value != "x" && strings.Contains(err.Error(), c.value) {
			t.Errorf("%v holds the secret", err)
		}
	}
	for name, hooks := range map[string][]Hook{
		"no name":         {{Kind: "s3", Options: good["s3"]}},
		"a slash":         {{Name: "a/b", Kind: "s3", Options: good["s3"]}},
		"the same twice":  {{Name: "a", Kind: "s3", Options: good["s3"]}, {Name: "a", Kind: "s3", Options: good["s3"]}},
		"a climbing name": {{Name: "..", Kind: "s3", Options: good["s3"]}},
	} {
		if err := open(hooks...); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
	tenant := func(more ...string) error {
		o := map[string]string{"tenant": gridTenant, "audience": gridAudience}
		for i := 0; i+1 < len(more); i += 2 {
			o[more[i]] = more[i+1]
		}
		return open(Hook{Name: "in", Kind: "eventgrid", Options: o})
	}
	if err := tenant("authority", "https://login.microsoftonline.us/", "app", "any"); err != nil {
		t.Error(err)
	}
	for _, o := range [][]string{{"tenant", "contoso"}, {"audience", ""}, {"authority", "http://login.example"}, {"authority", "https://login.example/x"}, {"token", gridToken}} {
		if err := tenant(o...); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: %v, want Invalid", o, err)
		}
	}
}

// Strangers cannot fill the log, and no secret gets into it.
func TestTheLogIsBounded(t *testing.T) {
	b := s3Bench(t)
	for range 1000 {
		b.call(with(s3Call(s3Body), "Authorization", "Bearer a-secret-that-is-almost-right"))
	}
	if n := bytes.Count(b.log.Bytes(), []byte("level=WARN")); n > 5 {
		t.Errorf("%d warnings of 1000 forged calls", n)
	}
	if strings.Contains(b.log.String(), "a-secret-that") || strings.Contains(b.log.String(), s3Token) {
		t.Error("the log holds a token")
	}
	if s := b.Status()[0]; s.Refused[string(unproven)] != 1000 || s.Name != "in" || s.Kind != "s3" || s.Error == "" {
		t.Errorf("status %+v", s)
	}
}

// The real fetcher keeps to its bounds.
func TestFetch(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			fmt.Fprint(w, "page")
		case "/large":
			_, _ = io.Copy(w, io.LimitReader(zeros{}, fetchMax+1))
		case "/away":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/broken":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	client := srv.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for path, want := range map[string]fault.Kind{"/large": fault.Unavailable, "/away": fault.Unavailable, "/broken": fault.Unavailable, "/missing": fault.NotFound} {
		if _, err := get(t.Context(), client, srv.URL+path); fault.KindOf(err) != want {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	if page, err := get(t.Context(), client, srv.URL+"/ok"); err != nil || string(page) != "page" {
		t.Errorf("%q, %v", page, err)
	}
	// The hooks' own client does not know this server's authority, and wants TLS.
	f := fetchHTTPS()
	if _, err := f(t.Context(), srv.URL+"/ok"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("an unknown authority: %v", err)
	}
	if _, err := f(t.Context(), "http://"+srv.Listener.Addr().String()+"/ok"); err == nil {
		t.Error("fetched without TLS")
	}
	client.CloseIdleConnections()
}

// Two writes within a second look the same where the vendor tells neither a
// version nor a sequence: the second must not be taken for the first.
func TestWritesOfOneSecond(t *testing.T) {
	b := stdBench(t)
	for i := range 2 {
		b.call(stdCall(fmt.Sprint("msg_", i), `{"events":[{"vendor":"s3","container":"b","key":"k","size":4,"time":"2026-11-28T11:59:59Z"}]}`))
	}
	if n, _ := b.sink.counts(); n != 2 {
		t.Errorf("%d notices of 2 writes", n)
	}
}

// What of a call makes sense is delivered, the rest is kept.
func TestPartOfACall(t *testing.T) {
	b := stdBench(t)
	w := b.call(stdCall("msg_1", `{"events":[{"vendor":"s3","container":"b","key":"good"},{"vendor":"s3","container":"b","key":"\\"}]}`))
	if n, l := b.sink.counts(); w.Code != http.StatusOK || n != 1 || l != 1 {
		t.Errorf("%d: %d notices, %d letters; want 200, 1, 1", w.Code, n, l)
	}
	if s := b.Status()[0]; s.Accepted != 1 || s.Buried != 1 || s.Notices != 1 {
		t.Errorf("%+v", s)
	}
}

// Strangers who send headers and no body do not keep out those who can prove
// themselves.
func TestStrangersDoNotShutTheDoor(t *testing.T) {
	b := newBench(t, Hook{Name: "in", Kind: "s3", Options: map[string]string{"token": s3Token, "concurrency": "2"}})
	h := b.hooks["in"]
	for range 3 * cap(h.slots) {
		h.reading <- struct{}{} // held by somebody who reads
	}
	if w := b.call(s3Call(s3Body)); w.Code != http.StatusOK {
		t.Errorf("%d", w.Code)
	}
}
