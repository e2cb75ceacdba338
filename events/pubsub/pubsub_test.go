package pubsub

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/events/eventstest"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	standin "github.com/landwaiter/landwaiter/test/servers/pubsub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A topic is one with a subscription at the stand-in.
type topic struct {
	*standin.Server
	http    *httptest.Server
	address string
}

const (
	topicName = "projects/proj/topics/gcs"
	subName   = "projects/proj/subscriptions/landwaiter"
)

// newTopic starts the stand-in, with 2 s of deadline.
func newTopic(t *testing.T) *topic {
	t.Helper()
	q := &topic{Server: standin.New()}
	q.listen(t, "127.0.0.1:0")
	q.put(t, topicName, `{}`)
	q.put(t, subName, `{"topic":"`+topicName+`","ackDeadlineSeconds":2,"deadLetterPolicy":{}}`)
	return q
}

func (q *topic) listen(t *testing.T, address string) {
	t.Helper()
	var l net.Listener
	eventstest.Until(t, "the address is free", func() bool {
		var err error
		l, err = net.Listen("tcp", address)
		return err == nil
	})
	q.http = &httptest.Server{Listener: l, Config: &http.Server{Handler: q.Server, ReadHeaderTimeout: 10 * time.Second}}
	q.http.Start()
	q.address = l.Addr().String()
	t.Cleanup(q.http.Close)
}

func (q *topic) put(t *testing.T, name, body string) { q.ask(t, http.MethodPut, name, body) }

func (q *topic) ask(t *testing.T, method, path, body string) map[string]any {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+q.address+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+q.Token)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %v %v", method, path, resp.Status, out, err)
	}
	return out
}

// publish publishes notifications as Cloud Storage does.
func (q *topic) publish(t *testing.T, keys ...string) {
	t.Helper()
	for _, key := range keys {
		q.send(t, map[string]string{"bucketId": "inbox", "objectId": key, "objectGeneration": "1604", "eventType": "OBJECT_FINALIZE", "eventTime": "2026-11-28T12:00:00Z", "payloadFormat": "JSON_API_V1"},
			fmt.Sprintf(`{"kind":"storage#object","bucket":"inbox","name":%q,"generation":"1604","size":"7"}`, key))
	}
}

func (q *topic) send(t *testing.T, attributes map[string]string, data string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"messages": []any{map[string]any{"attributes": attributes, "data": []byte(data)}}})
	if err != nil {
		t.Fatal(err)
	}
	q.ask(t, http.MethodPost, topicName+":publish", string(body))
}

func (q *topic) options(more ...string) events.Options {
	o := events.Options{Name: "p", URL: "pubsub://proj/landwaiter?endpoint=http://" + q.address + "&deadline=2s&retry=1s", Options: map[string]string{"anonymous": "true"}}
	for i := 0; i+1 < len(more); i += 2 {
		o.Options[more[i]] = more[i+1]
	}
	return o
}

func TestReceive(t *testing.T) {
	t.Parallel()
	q := newTopic(t)
	const n = 250
	for i := range n {
		q.publish(t, fmt.Sprintf("dir/a b%%20+ü-%d", i))
	}
	poison := 0
	for _, m := range []struct{ attributes, data string }{
		{`{}`, ""}, {`{"bucketId":"inbox"}`, ""}, {`{"bucketId":"inbox","objectId":"k","eventType":"OBJECT_FINALIZE"}`, "no JSON"},
		{`{"bucketId":"inbox","objectId":"k","eventType":"OBJECT_FINALIZE","objectGeneration":"x"}`, ""},
		{`{"bucketId":"inbox","objectId":"k","eventType":"OBJECT_FINALIZE"}`, `{"bucket":"other"}`},
		{`{"bucketId":"inbox","objectId":"k","eventType":"OBJECT_FINALIZE"}`, strings.Repeat("[", 40) + strings.Repeat("]", 40)},
	} {
		var attributes map[string]string
		if err := json.Unmarshal([]byte(m.attributes), &attributes); err != nil {
			t.Fatal(err)
		}
		q.send(t, attributes, m.data)
		poison++
	}
	q.send(t, map[string]string{"bucketId": "inbox", "objectId": "m", "eventType": "OBJECT_METADATA_UPDATE"}, "") // says nothing of content
	q.send(t, map[string]string{"bucketId": "inbox", "objectId": "gone", "objectGeneration": "9", "eventType": "OBJECT_DELETE"}, "")
	all := n + poison + 2
	sink := new(eventstest.Sink)
	src, stop := eventstest.Start(t, Open, q.options(), sink)
	eventstest.Until(t, "all is taken and acknowledged", func() bool { return src.Status().Acked == int64(all) })
	stop()
	if left := q.Left(subName); left != 0 {
		t.Errorf("%d messages are left", left)
	}
	violations := 0
	keys := sink.Keys()
	for i := range n {
		if key := fmt.Sprintf("dir/a b%%20+ü-%d", i); keys[key] != 1 {
			violations++
			t.Errorf("%s came %d times", key, keys[key])
		}
	}
	for _, notice := range sink.Notices() {
		if gone := notice.Key == "gone"; gone != (notice.Op == object.Delete) || notice.Vendor != "gs" || notice.Container != "inbox" || !gone && (notice.Version != "1604" || notice.Size != 7) {
			violations++
			t.Errorf("notice %+v", notice)
		}
	}
	if len(sink.Letters()) != poison {
		t.Errorf("buried %d, want %d", len(sink.Letters()), poison)
	}
	for _, l := range sink.Letters() {
		if l.Source != "p" || l.ID == "" || l.Why == "" || l.Tries != 1 || !bytes.Contains(l.Body, []byte(l.ID)) || l.At.IsZero() {
			violations++
			t.Errorf("letter %+v", l)
		}
	}
	if st := src.Status(); st.Received != int64(all) || st.Buried != int64(poison) || st.Error != "" || st.Last.IsZero() {
		t.Errorf("status %+v", st)
	}
	t.Logf("cases=%d violations=%d", all, violations)
}

func TestQueue(t *testing.T) {
	eventstest.RunQueue(t, func(t *testing.T) eventstest.Queue {
		q := newTopic(t)
		long := q.options("deadline", "90s")
		long.URL = strings.Replace(long.URL, "&deadline=2s", "", 1)
		return eventstest.Queue{
			Open: Open, Options: q.options, Long: long,
			Send: func(keys ...string) { q.publish(t, keys...) },
			Left: func() int { return q.Left(subName) },
			Others: func() (int, error) {
				got, _ := q.ask(t, http.MethodPost, subName+":pull", `{"maxMessages":10}`)["receivedMessages"].([]any)
				return len(got), nil
			},
		}
	})
}

// No more is in hand than allowed.
func TestInHand(t *testing.T) {
	t.Parallel()
	q := newTopic(t)
	for i := range 20 {
		q.publish(t, fmt.Sprint(i))
	}
	open := make(chan struct{})
	var inside, most atomic.Int32
	sink := &eventstest.Sink{Before: func(ctx context.Context, _ []events.Notice) error {
		n := inside.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		defer inside.Add(-1)
		select {
		case <-open:
		case <-ctx.Done():
		}
		return ctx.Err()
	}}
	src, _ := eventstest.Start(t, Open, q.options("in_hand", "4"), sink)
	eventstest.Until(t, "four are in hand", func() bool { return sink.Calls() == 4 })
	pulls := q.Calls("pull")
	for began := time.Now(); time.Since(began) < time.Second; time.Sleep(10 * time.Millisecond) {
		if n := src.Status().Received; n != 4 {
			t.Fatalf("%d received, want 4", n)
		}
	}
	if n := q.Calls("pull") - pulls; n > 0 {
		t.Errorf("%d pulls without room", n)
	}
	close(open)
	eventstest.Until(t, "all are acknowledged", func() bool { return src.Status().Acked == 20 })
	if most.Load() > 4 {
		t.Errorf("%d at a time", most.Load())
	}
}

// A letter that cannot be buried is not acknowledged either.
func TestPoisonWaitsForTheSink(t *testing.T) {
	t.Parallel()
	q := newTopic(t)
	q.send(t, map[string]string{"eventType": "OBJECT_FINALIZE"}, "")
	var tries atomic.Int32
	sink := &eventstest.Sink{BeforeBury: func(context.Context, events.Letter) error {
		if tries.Add(1) <= 2 {
			return errors.New("disk full")
		}
		return nil
	}}
	src, _ := eventstest.Start(t, Open, q.options(), sink)
	eventstest.Until(t, "it is buried", func() bool { return src.Status().Acked == 1 })
	if st := src.Status(); st.Buried != 1 || tries.Load() != 3 || q.Left(subName) != 0 {
		t.Errorf("status %+v after %d tries, %d left", st, tries.Load(), q.Left(subName))
	}
}

// A sink that is away for long sees a few tries a second, not a storm.
func TestRefusalsAreBraked(t *testing.T) {
	t.Parallel()
	q := newTopic(t)
	q.publish(t, "a")
	sink := &eventstest.Sink{Before: func(context.Context, []events.Notice) error { return errors.New("away") }}
	_, stop := eventstest.Start(t, Open, q.options("max_receives", "1000"), sink)
	eventstest.Until(t, "it is refused", func() bool { return sink.Calls() > 0 })
	for began := time.Now(); time.Since(began) < 3*time.Second; time.Sleep(50 * time.Millisecond) {
		if sink.Calls() > 30 {
			break
		}
	}
	stop()
	if n := sink.Calls(); n > 30 {
		t.Errorf("%d tries in 3 s", n)
	}
	if q.Left(subName) != 1 {
		t.Error("the message is gone")
	}
}

// The server goes away and comes back, and fails for a while.
func TestServerGoesAway(t *testing.T) {
	t.Parallel()
	q := newTopic(t)
	sink := new(eventstest.Sink)
	src, _ := eventstest.Start(t, Open, q.options(), sink)
	q.publish(t, "before")
	eventstest.Until(t, "the first is acknowledged", func() bool { return src.Status().Acked == 1 })
	address := q.address
	q.http.CloseClientConnections()
	q.http.Close()
	eventstest.Until(t, "it says so", func() bool { st := src.Status(); return !st.Connected && st.Error != "" })
	q.listen(t, address)
	q.publish(t, "after")
	eventstest.Until(t, "the second is acknowledged", func() bool { return src.Status().Acked == 2 })
	q.Break(true)
	eventstest.Until(t, "it says so again", func() bool { return !src.Status().Connected })
	q.Break(false)
	q.publish(t, "mended")
	eventstest.Until(t, "the third is acknowledged", func() bool { return src.Status().Acked == 3 })
	if st := src.Status(); !st.Connected || st.Error != "" || len(sink.Keys()) != 3 {
		t.Errorf("status %+v, keys %v", st, sink.Keys())
	}
}

func TestFirstTry(t *testing.T) {
	t.Parallel()
	q := newTopic(t)
	run := func(o events.Options) error {
		t.Helper()
		src, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		err = src.Run(t.Context(), new(eventstest.Sink))
		if src.Status().Error == "" {
			t.Error("the status does not say why")
		}
		return err
	}
	o := q.options()
	o.URL = strings.Replace(o.URL, "/landwaiter", "/other", 1)
	if err := run(o); !fault.Is(err, fault.NotFound) {
		t.Errorf("a subscription that is not there: %v", err)
	}
	q.Token = "secret"
	if err := run(q.options()); !fault.Is(err, fault.Denied) {
		t.Errorf("without a token: %v", err)
	}
}

// A service account's key gets tokens from its issuer, here a stand-in, and
// they go with every call. The issuer's refusal is Denied.
func TestServiceAccount(t *testing.T) {
	t.Parallel()
	q := newTopic(t)
	q.Token = "token-of-the-stand-in"
	var refuse atomic.Bool
	front := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/token" {
			q.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if refuse.Load() || r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || strings.Count(r.FormValue("assertion"), ".") != 2 {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"invalid_grant"}`)
			return
		}
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, q.Token)
	}))
	defer front.Close()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	account, err := json.Marshal(map[string]string{"type": "service_account", "project_id": "proj", "client_email": "a@proj.iam.gserviceaccount.com", "private_key_id": "1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": front.URL + "/token"})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(file, account, 0o600); err != nil {
		t.Fatal(err)
	}
	// open trusts the stand-in's certificate, which no authority has signed.
	open := func(o events.Options) (events.Source, error) {
		src, err := Open(o)
		if err == nil {
			s := src.(*Source)
			s.transport.TLSClientConfig = front.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		}
		return src, err
	}
	url := "pubsub://proj/landwaiter?deadline=2s&endpoint=" + front.URL
	for name, options := range map[string]map[string]string{"credentials_json": {"credentials_json": string(account)}, "key_file": {"key_file": file}} {
		q.publish(t, name)
		sink := new(eventstest.Sink)
		src, stop := eventstest.Start(t, open, events.Options{Name: "p", URL: url, Options: options}, sink)
		eventstest.Until(t, "it is acknowledged", func() bool { return src.Status().Acked == 1 })
		stop()
		if sink.Keys()[name] != 1 {
			t.Errorf("%s: %v", name, sink.Keys())
		}
	}
	refuse.Store(true)
	src, err := open(events.Options{Name: "p", URL: url, Options: map[string]string{"key_file": file}})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	err = src.Run(t.Context(), new(eventstest.Sink))
	if !fault.Is(err, fault.Denied) {
		t.Errorf("refused by the issuer: %v", err)
	}
	if secret := base64.StdEncoding.EncodeToString(der)[:40]; err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "BEGIN")) {
		t.Errorf("the error holds the key: %v", err)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url, name, value, wrong string // wrong = "" is good
	}{
		{"pubsub://proj/sub", "", "", ""},
		{"pubsub://proj-1/sub?endpoint=http://127.0.0.1:1&anonymous=true", "", "", ""},
		{"pubsub://proj-1/sub", "max_receives", "3", ""},
		{"pubsub://proj-1/sub", "deadline", "90s", ""},
		{"pubsub://example.com:proj/sub", "", "", "-"}, // domain-scoped ids need another form
		{"pubsub://proj", "", "", "-"},
		{"pubsub://proj/a/b", "", "", "-"},
		{"pubsub://proj/1sub", "", "", "-"},
		{"pubsub://PROJ/sub", "", "", "-"},
		{"pubsub://user@proj/sub", "", "", "-"},
		{"pubsub://proj/sub?credentials_json={}", "", "", "credentials_json"},
		{"pubsub://proj/sub", "credentials_json", "secret", "credentials_json"},
		{"pubsub://proj/sub", "credentials_json", `{"type":"secret"}`, "credentials_json"},
		{"pubsub://proj/sub?anonymous=true", "key_file", "/x", "anonymous"},
		{"pubsub://proj/sub?key_file=/x", "credentials_json", `{"type":"service_account"}`, "key_file"},
		{"pubsub://proj/sub?endpoint=http://127.0.0.1:1", "", "", "endpoint"},
		{"pubsub://proj/sub?endpoint=ftp://x", "", "", "endpoint"},
		{"pubsub://proj/sub?endpoint=https://x/y", "", "", "endpoint"},
		{"pubsub://proj/sub", "deadline", "10m", "deadline"},
		{"pubsub://proj/sub", "in_hand", "0", "in_hand"},
		{"pubsub://proj/sub", "dedline", "10s", "dedline"},
	} {
		o := events.Options{Name: "p", URL: c.url, Options: map[string]string{}}
		if c.name != "" {
			o.Options[c.name] = c.value
		}
		err := Check(o)
		var option *events.OptionError
		switch {
		case c.wrong == "":
			if err != nil {
				t.Errorf("%s %s=%s: %v", c.url, c.name, c.value, err)
			}
		case !fault.Is(err, fault.Invalid), c.wrong != "-" && (!errors.As(err, &option) || option.Name != c.wrong):
			t.Errorf("%s %s=%s: %v, want Invalid by %s", c.url, c.name, c.value, err, c.wrong)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%v holds the secret", err)
		}
	}
}
