package storagequeue

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2/sas"
	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/events/eventstest"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The plain client of these tests keeps idle connections.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// Azurite carries no events of Event Grid: the tests put what Microsoft
// documents into its queues themselves.
func gridEvent(key string) string {
	return fmt.Sprintf(`[{"id":"1","topic":"/subscriptions/x/resourceGroups/r/providers/Microsoft.Storage/storageAccounts/acct","subject":"/blobServices/default/containers/in/blobs/%[1]s",
		"eventType":"Microsoft.Storage.BlobCreated","eventTime":"2026-11-28T12:00:00Z","dataVersion":"","metadataVersion":"1","data":{"api":"PutBlob","eTag":"0x8D4","contentLength":7,
		"blobType":"BlockBlob","url":"https://acct.blob.core.windows.net/in/%[1]s","sequencer":"0"}}]`, key)
}

func cloudEvent(key, kind string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":"1","source":"/subscriptions/x/resourceGroups/r/providers/Microsoft.Storage/storageAccounts/acct","type":"Microsoft.Storage.%s",
		"time":"2026-11-28T12:00:00Z","data":{"api":"PutBlob","eTag":"0x8D4","contentLength":7,"url":"https://acct.blob.core.windows.net/in/%s","sequencer":"0"}}`, kind, key)
}

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// A queue is one on Azurite, behind a proxy that can be cut and that counts.
type queue struct {
	srv    servers.Azure
	name   string
	client *azqueue.QueueClient // past the proxy
	proxy  *httptest.Server
	at     string // the proxy's address
	calls  map[string]*atomic.Int32
	fail   atomic.Pointer[string] // the method of calls whose replies are lost
}

func newQueue(t *testing.T, srv servers.Azure, name string) *queue {
	t.Helper()
	q := &queue{srv: srv, name: name, calls: map[string]*atomic.Int32{"GET": {}, "PUT": {}, "DELETE": {}}}
	key, err := azqueue.NewSharedKeyCredential(srv.Account, srv.Key)
	if err != nil {
		t.Fatal(err)
	}
	if q.client, err = azqueue.NewQueueClientWithSharedKeyCredential(srv.Queue+"/"+name, key, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := q.client.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	q.listen(t, "127.0.0.1:0")
	return q
}

func (q *queue) listen(t *testing.T, at string) {
	t.Helper()
	target, err := url.Parse(q.srv.Queue)
	if err != nil {
		t.Fatal(err)
	}
	var l net.Listener
	eventstest.Until(t, "the address is free", func() bool {
		l, err = net.Listen("tcp", at)
		return err == nil
	})
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host },
		Transport: &http.Transport{DisableKeepAlives: true}, ErrorLog: log.New(io.Discard, "", 0)}
	q.proxy = &httptest.Server{Listener: l, Config: &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q.calls[r.Method].Add(1)
		if m := q.fail.Load(); m != nil && *m == r.Method {
			forward.ServeHTTP(httptest.NewRecorder(), r)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		forward.ServeHTTP(w, r)
	})}}
	q.proxy.Start()
	q.at = l.Addr().String()
	t.Cleanup(q.proxy.Close)
}

// options of a source with times that a test can wait for.
func (q *queue) options(more ...string) events.Options {
	o := events.Options{Name: "q", URL: "azqueue://" + q.srv.Account + "/" + q.name + "?visibility=2s&retry=1s&poll=200ms&endpoint=http://" + q.at + "/" + q.srv.Account,
		Options: map[string]string{"key": q.srv.Key}}
	for i := 0; i+1 < len(more); i += 2 {
		o.Options[more[i]] = more[i+1]
	}
	return o
}

func (q *queue) send(t *testing.T, bodies ...string) {
	t.Helper()
	for _, b := range bodies {
		if _, err := q.client.EnqueueMessage(t.Context(), b, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// left returns how many messages the queue has, in hand or not.
func (q *queue) left(t *testing.T) int {
	t.Helper()
	out, err := q.client.GetProperties(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return int(*out.ApproximateMessagesCount)
}

// TestQueue runs everything that needs Azurite, which serves them all at once.
func TestQueue(t *testing.T) {
	srv := servers.Azurite(t)
	for name, test := range map[string]func(*testing.T, *queue){
		"receive": testReceive, "in-hand": testInHand,
		"server-goes-away": testAway, "lost-replies": testLostReplies, "taken-by-another": testTaken, "first-try": testFirstTry, "credentials": testCredentials, "poison-waits": testPoisonWaits,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newQueue(t, srv, name))
		})
	}
	eventstest.RunQueue(t, func(t *testing.T) eventstest.Queue {
		_, name, _ := strings.Cut(t.Name(), "/")
		q := newQueue(t, srv, name)
		long := q.options()
		long.URL = strings.Replace(long.URL, "visibility=2s", "visibility=1h", 1)
		many := int32(10)
		return eventstest.Queue{
			Open: Open, Options: q.options, Long: long,
			Send: func(keys ...string) {
				for _, key := range keys {
					q.send(t, gridEvent(key))
				}
			},
			Left: func() int { return q.left(t) },
			Others: func() (int, error) {
				out, err := q.client.DequeueMessages(t.Context(), &azqueue.DequeueMessagesOptions{NumberOfMessages: &many})
				return len(out.Messages), err
			},
		}
	})
}

func testReceive(t *testing.T, q *queue) {
	var bodies []string
	for i := range 40 {
		key := fmt.Sprintf("dir/a%%20b%%2Bü-%d", i)
		bodies = append(bodies, []string{encoded(gridEvent(key)), gridEvent(key), encoded(cloudEvent(key, "BlobCreated")), " " + cloudEvent(key, "BlobCreated") + "\n"}[i%4])
	}
	bodies = append(bodies, encoded("\xef\xbb\xbf"+gridEvent("bom")), encoded(cloudEvent("gone", "BlobDeleted")))
	silent := []string{encoded(`[{"eventType":"Microsoft.Storage.DirectoryCreated","data":{}}]`), strings.Replace(gridEvent("part"), "PutBlob", "AppendFile", 1)}
	poison := []string{"hello", encoded("hello"), "***", `{"specversion":"2.0"}`, encoded(strings.Repeat("[", 40) + strings.Repeat("]", 40)), strings.Replace(gridEvent("x"), "https://acct.blob.core.windows.net/in/x", "file:///etc/passwd", 1), encoded("\xff\xfe")}
	bodies = append(append(bodies, silent...), poison...)
	q.send(t, bodies...)
	sink := new(eventstest.Sink)
	src, stop := eventstest.Start(t, Open, q.options(), sink)
	eventstest.Until(t, "all is taken and deleted", func() bool { return src.Status().Acked == int64(len(bodies)) })
	stop()
	violations := 0
	if n := q.left(t); n != 0 {
		violations++
		t.Errorf("%d messages are left", n)
	}
	keys := sink.Keys()
	for i := range 40 {
		if key := fmt.Sprintf("dir/a b+ü-%d", i); keys[key] != 1 {
			violations++
			t.Errorf("%s came %d times", key, keys[key])
		}
	}
	if keys["bom"] != 1 || keys["gone"] != 1 || len(keys) != 42 {
		violations++
		t.Errorf("keys %v", keys)
	}
	for _, n := range sink.Notices() {
		if n.Vendor != "azblob" || n.Account != "acct" || n.Container != "in" || (n.Key == "gone") != (n.Op == object.Delete) {
			violations++
			t.Errorf("notice %+v", n)
		}
	}
	if len(sink.Letters()) != len(poison) {
		violations++
		t.Errorf("buried %d, want %d", len(sink.Letters()), len(poison))
	}
	for _, l := range sink.Letters() {
		if l.Source != "q" || l.ID == "" || l.Why == "" || l.Tries != 1 || len(l.Body) == 0 || l.At.IsZero() {
			violations++
			t.Errorf("letter %+v", l)
		}
	}
	if st := src.Status(); st.Received != int64(len(bodies)) || st.Buried != int64(len(poison)) || st.Error != "" || st.Last.IsZero() {
		violations++
		t.Errorf("status %+v", st)
	}
	t.Logf("cases=%d violations=%d", len(bodies), violations)
}

func testInHand(t *testing.T, q *queue) {
	for i := range 10 {
		q.send(t, gridEvent(fmt.Sprint(i)))
	}
	open := make(chan struct{})
	sink := &eventstest.Sink{Before: func(ctx context.Context, _ []events.Notice) error {
		select {
		case <-open:
		case <-ctx.Done():
		}
		return ctx.Err()
	}}
	src, _ := eventstest.Start(t, Open, q.options("in_hand", "4"), sink)
	eventstest.Until(t, "four are in hand", func() bool { return sink.Calls() == 4 })
	gets := q.calls["GET"].Load()
	for began := time.Now(); time.Since(began) < time.Second; time.Sleep(10 * time.Millisecond) {
		if n := src.Status().Received; n != 4 {
			t.Fatalf("%d received, want 4", n)
		}
	}
	if n := q.calls["GET"].Load() - gets; n > 0 {
		t.Errorf("%d polls without room", n)
	}
	close(open)
	eventstest.Until(t, "all are deleted", func() bool { return src.Status().Acked == 10 })
}

// A letter that cannot be buried is not deleted either.
func testPoisonWaits(t *testing.T, q *queue) {
	q.send(t, "hello")
	var tries atomic.Int32
	sink := &eventstest.Sink{BeforeBury: func(context.Context, events.Letter) error {
		if tries.Add(1) <= 2 {
			return errors.New("disk full")
		}
		return nil
	}}
	src, _ := eventstest.Start(t, Open, q.options(), sink)
	eventstest.Until(t, "it is buried", func() bool { return src.Status().Acked == 1 })
	if st := src.Status(); st.Buried != 1 || tries.Load() != 3 || q.left(t) != 0 {
		t.Errorf("status %+v after %d tries, %d left", st, tries.Load(), q.left(t))
	}
}

// The way to the server is cut and comes back.
func testAway(t *testing.T, q *queue) {
	sink := new(eventstest.Sink)
	src, _ := eventstest.Start(t, Open, q.options(), sink)
	q.send(t, gridEvent("before"))
	eventstest.Until(t, "the first is deleted", func() bool { return src.Status().Acked == 1 })
	q.proxy.CloseClientConnections()
	q.proxy.Close()
	eventstest.Until(t, "it says so", func() bool { st := src.Status(); return !st.Connected && st.Error != "" })
	if e := src.Status().Error; strings.Contains(e, q.srv.Key) || strings.Contains(e, "?") {
		t.Errorf("the error holds more than it should: %s", e)
	}
	q.send(t, gridEvent("after"))
	q.listen(t, q.at)
	eventstest.Until(t, "the second is deleted", func() bool { return src.Status().Acked == 2 })
	if st := src.Status(); !st.Connected || st.Error != "" || sink.Keys()["after"] != 1 {
		t.Errorf("status %+v", st)
	}
	// The queue itself goes and comes.
	if _, err := q.client.Delete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	eventstest.Until(t, "it says so again", func() bool { return !src.Status().Connected })
	if _, err := q.client.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	q.send(t, gridEvent("new"))
	eventstest.Until(t, "the third is deleted", func() bool { return src.Status().Acked == 3 })
}

// The replies to deletes are lost on their way, though the queue did what they
// asked: nothing is taken twice for that, and nothing waits for ever.
func testLostReplies(t *testing.T, q *queue) {
	q.send(t, gridEvent("a"))
	method := http.MethodDelete
	q.fail.Store(&method)
	sink := new(eventstest.Sink)
	src, stop := eventstest.Start(t, Open, q.options("in_hand", "1"), sink)
	eventstest.Until(t, "the message is gone", func() bool { return q.left(t) == 0 })
	q.fail.Store(nil)
	q.send(t, gridEvent("b"))
	eventstest.Until(t, "there is room for the next", func() bool { return src.Status().Acked >= 1 && sink.Keys()["b"] == 1 })
	stop()
	if keys := sink.Keys(); keys["a"] != 1 || q.left(t) != 0 {
		t.Errorf("taken: %v, %d left", keys, q.left(t))
	}
}

// A message that another receiver got meanwhile, because our updates did not
// come through, is theirs: we do not delete it.
func testTaken(t *testing.T, q *queue) {
	q.send(t, gridEvent("a"))
	method := http.MethodPut // the updates arrive, and their new receipts do not
	q.fail.Store(&method)
	open := make(chan struct{})
	sink := &eventstest.Sink{Before: func(ctx context.Context, _ []events.Notice) error {
		select {
		case <-open:
		case <-ctx.Done():
		}
		return ctx.Err()
	}}
	src, stop := eventstest.Start(t, Open, q.options("in_hand", "1"), sink)
	var theirs *azqueue.DequeuedMessage
	visible := int32(30)
	eventstest.Until(t, "another receiver has it", func() bool {
		out, err := q.client.DequeueMessages(t.Context(), &azqueue.DequeueMessagesOptions{VisibilityTimeout: &visible})
		if err == nil && len(out.Messages) == 1 {
			theirs = out.Messages[0]
		}
		return theirs != nil
	})
	close(open)
	q.fail.Store(nil)
	eventstest.Until(t, "ours has given up", func() bool {
		return strings.Contains(src.Status().Error, "receipt") || strings.Contains(src.Status().Error, "PopReceipt") || src.Status().Error == ""
	})
	stop()
	if n := q.left(t); n != 1 || src.Status().Acked != 0 {
		t.Errorf("%d left, status %+v: want it left to the other", n, src.Status())
	}
	if _, err := q.client.DeleteMessage(t.Context(), *theirs.MessageID, *theirs.PopReceipt, nil); err != nil {
		t.Errorf("the other's receipt: %v", err)
	}
}

func testFirstTry(t *testing.T, q *queue) {
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
	o.URL = strings.Replace(o.URL, q.name, "not-there", 1)
	if err := run(o); !fault.Is(err, fault.NotFound) {
		t.Errorf("a queue that is not there: %v", err)
	}
	if err := run(q.options("key", encoded("another key"))); !fault.Is(err, fault.Denied) {
		t.Errorf("another key: %v", err)
	}
}

func testCredentials(t *testing.T, q *queue) {
	key, err := azqueue.NewSharedKeyCredential(q.srv.Account, q.srv.Key)
	if err != nil {
		t.Fatal(err)
	}
	values := sas.AccountSignatureValues{Protocol: sas.ProtocolHTTPSandHTTP, ExpiryTime: time.Now().Add(time.Hour).UTC(), // Azurite has no TLS here
		Permissions:   (&sas.AccountPermissions{Read: true, Write: true, Delete: true, List: true, Add: true, Create: true, Update: true, Process: true}).String(),
		ResourceTypes: (&sas.AccountResourceTypes{Service: true, Container: true, Object: true}).String()}
	query, err := values.SignWithSharedKey(key)
	if err != nil {
		t.Fatal(err)
	}
	signature := query.Encode()
	direct := "azqueue://" + q.srv.Account + "/" + q.name + "?visibility=2s&poll=200ms"
	proxied := q.options().URL
	for name, o := range map[string]events.Options{
		"key":                        {URL: proxied, Options: map[string]string{"key": q.srv.Key}},
		"sas":                        {URL: proxied, Options: map[string]string{"sas": "?" + signature}},
		"connection string":          {URL: direct, Options: map[string]string{"connection_string": q.srv.ConnectionString()}},
		"connection string with sas": {URL: direct, Options: map[string]string{"connection_string": "QueueEndpoint=" + q.srv.Queue + ";SharedAccessSignature=" + signature}},
	} {
		o.Name = "q"
		q.send(t, gridEvent(url.PathEscape(name)))
		sink := new(eventstest.Sink)
		src, stop := eventstest.Start(t, Open, o, sink)
		eventstest.Until(t, name+": it is deleted", func() bool { return src.Status().Acked == 1 })
		stop()
		if sink.Keys()[name] != 1 {
			t.Errorf("%s: %v", name, sink.Keys())
		}
	}
	// The signature is in no error.
	o := events.Options{Name: "q", URL: strings.Replace(proxied, q.at, "127.0.0.1:1", 1), Options: map[string]string{"sas": signature}}
	src, stop := eventstest.Start(t, Open, o, new(eventstest.Sink))
	eventstest.Until(t, "it says why", func() bool { return src.Status().Error != "" })
	if e := src.Status().Error; strings.Contains(e, "sig=") {
		t.Errorf("the error holds the signature: %s", e)
	}
	stop()
}

func TestOptions(t *testing.T) {
	t.Parallel()
	key := encoded("key")
	for _, c := range []struct {
		url, name, value, wrong string // wrong = "" is good, "-" = the URL
	}{
		{"azqueue://acct/events", "key", key, ""},
		{"azqueue://acct/events", "sas", "?sv=1&sig=x", ""},
		{"azqueue://acct/events", "managed_identity", "true", ""},
		{"azqueue://acct/events", "", "", ""},
		{"azqueue://acct/events?endpoint=http://127.0.0.1:1/acct", "key", key, ""},
		{"azqueue://acct/events", "connection_string", "AccountName=acct;AccountKey=" + key + ";EndpointSuffix=core.windows.net", ""},
		{"azqueue://acct", "", "", "-"},
		{"azqueue://acct/a/b", "", "", "-"},
		{"azqueue://ACCT/events", "", "", "-"},
		{"azqueue://acct/Events", "", "", "-"},
		{"azqueue://acct/-events", "", "", "-"},
		{"azqueue://acct:10001/events", "", "", "-"},
		{"azqueue://key@acct/events", "", "", "-"},
		{"azqueue://acct/events?key=secret", "", "", "key"},
		{"azqueue://acct/events?sas=secret", "", "", "sas"},
		{"azqueue://acct/events?connection_string=secret", "", "", "connection_string"},
		{"azqueue://acct/events?client_secret=secret", "", "", "client_secret"},
		{"azqueue://acct/events", "key", "no base64: secret", "key"},
		{"azqueue://acct/events", "sas", "secret", "sas"},
		{"azqueue://acct/events", "connection_string", "secret", "connection_string"},
		{"azqueue://acct/events", "connection_string", "AccountName=other;AccountKey=secret", "connection_string"},
		{"azqueue://acct/events", "client_secret", "secret", "client_secret"},
		{"azqueue://acct/events", "client_id", "x", "client_id"},
		{"azqueue://acct/events", "tenant_id", "x", "tenant_id"},
		{"azqueue://acct/events?managed_identity=true", "key", key, "key"},
		{"azqueue://acct/events?endpoint=http://127.0.0.1:1/acct", "", "", "endpoint"},
		{"azqueue://acct/events?endpoint=ftp://x", "key", key, "endpoint"},
		{"azqueue://acct/events", "visibility", "1s", "visibility"},
		{"azqueue://acct/events", "in_hand", "0", "in_hand"},
		{"azqueue://acct/events", "poll", "fast", "poll"},
		{"azqueue://acct/events", "pol", "1s", "pol"},
	} {
		o := events.Options{Name: "q", URL: c.url, Options: map[string]string{}}
		if c.name != "" {
			o.Options[c.name] = c.value
		}
		err := Check(o)
		var option *events.OptionError
		switch {
		case c.wrong == "":
			if err != nil {
				t.Errorf("%s %s=%s: %v", c.url, c.name, c.value, err)
				continue
			}
			src, err := Open(o)
			if err != nil {
				t.Errorf("%s %s=%s: %v", c.url, c.name, c.value, err)
				continue
			}
			src.Close()
		case !fault.Is(err, fault.Invalid), c.wrong != "-" && (!errors.As(err, &option) || option.Name != c.wrong):
			t.Errorf("%s %s=%s: %v, want Invalid by %s", c.url, c.name, c.value, err, c.wrong)
		}
		if err != nil && strings.Contains(strings.ReplaceAll(err.Error(), "client_secret", ""), "secret") {
			t.Errorf("%v holds the secret", err)
		}
	}
}
