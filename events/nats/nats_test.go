package nats

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/events/eventstest"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The plain client of test/servers keeps idle connections.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

func record(key string) string {
	return fmt.Sprintf(`{"Records":[{"eventVersion":"2.0","eventName":"s3:ObjectCreated:Put","s3":{"bucket":{"name":"inbox"},"object":{"key":%q,"size":7}}}]}`, key)
}

// A stream is one on a real server, seen from behind the source's back.
type stream struct {
	srv *servers.NATS
	js  jetstream.JetStream
}

func newStream(t *testing.T) stream {
	t.Helper()
	srv := servers.StartNATS(t)
	conn, err := nats.Connect(srv.URL, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S3", Subjects: []string{"s3.>"}, Storage: jetstream.FileStorage}); err != nil {
		t.Fatal(err)
	}
	return stream{srv, js}
}

// options of a source with times that a test can wait for.
func (s stream) options(more ...string) events.Options {
	o := events.Options{Name: "q", URL: s.srv.URL + "/S3/landwaiter?subject=s3.>&ack_wait=2s&retry=200ms", Options: map[string]string{}}
	for i := 0; i < len(more); i += 2 {
		o.Options[more[i]] = more[i+1]
	}
	return o
}

func (s stream) send(t *testing.T, bodies ...string) {
	t.Helper()
	for _, b := range bodies {
		if _, err := s.js.Publish(t.Context(), "s3.ev", []byte(b)); err != nil {
			t.Fatal(err)
		}
	}
}

// info returns what the server says of the consumer.
func (s stream) info(t *testing.T) *jetstream.ConsumerInfo {
	t.Helper()
	c, err := s.js.Consumer(t.Context(), "S3", "landwaiter")
	if err != nil {
		t.Fatal(err)
	}
	return c.CachedInfo()
}

// done reports whether the server has nothing more to deliver.
func (s stream) done(t *testing.T) bool {
	i := s.info(t)
	return i.NumAckPending == 0 && i.NumPending == 0
}

// Real servers put real events of odd keys into the stream.
func TestRealEvents(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, *servers.NATS, string) servers.S3{"versitygw": servers.VersitygwEvents, "minio": servers.MinIOEvents} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStream(t)
			store := start(t, s.srv, "s3.ev")
			store.MakeBucket(t, "inbox", true)
			if name == "minio" {
				store.NotifyNATS(t, "inbox")
			}
			sink := new(eventstest.Sink)
			src, stop := eventstest.Start(t, Open, s.options(), sink)
			keys := []string{"plain", "dir/sub dir/a b", "plus+and%20percent", "umlaut-äöü", "a&b=c;d", "100%", "quote'\"x"}
			for _, k := range keys {
				put(t, store, k)
			}
			tag(t, store, "plain") // says nothing of content
			remove(t, store, "plain")
			eventstest.Until(t, "all has come", func() bool { return len(sink.Notices()) >= len(keys)+1 })
			eventstest.Until(t, "all is acknowledged", func() bool { return s.done(t) })
			stop()
			got := sink.Keys()
			for _, k := range keys[1:] {
				if got[k] != 1 {
					t.Errorf("%q came %d times: %v", k, got[k], got)
				}
			}
			if l := sink.Letters(); len(l) != 0 {
				t.Errorf("buried %s: %s", l[0].Body, l[0].Why)
			}
			gone := 0
			for _, n := range sink.Notices() {
				if n.Vendor != "s3" || n.Container != "inbox" || n.Time.IsZero() || time.Since(n.Time) > time.Hour {
					t.Errorf("notice %+v", n)
				}
				if n.Op == object.Delete && n.Key == "plain" {
					gone++
				}
				t.Logf("%s %s %q version %q size %d", n.Event, n.Container, n.Key, n.Version, n.Size)
			}
			if gone != 1 || len(sink.Notices()) != len(keys)+1 {
				t.Errorf("%d deletions among %d notices", gone, len(sink.Notices()))
			}
			if st := src.Status(); st.Error != "" || st.Acked != st.Received {
				t.Errorf("status %+v", st)
			}
		})
	}
}

func TestPoisonIsBuried(t *testing.T) {
	t.Parallel()
	s := newStream(t)
	sink := new(eventstest.Sink)
	src, _ := eventstest.Start(t, Open, s.options("in_hand", "3"), sink)
	var bodies []string
	for i := range 50 {
		bodies = append(bodies, record(fmt.Sprintf("k%d", i)))
		if i%10 == 0 {
			bodies = append(bodies, "poison", `{"Records":[{"eventVersion":"9.9"}]}`)
		}
	}
	s.send(t, bodies...)
	eventstest.Until(t, "all is settled", func() bool { return src.Status().Acked == int64(len(bodies)) && s.done(t) })
	if len(sink.Letters()) != 10 || len(sink.Keys()) != 50 || sink.Calls() != 50 {
		t.Errorf("%d letters, %d keys, %d deliveries", len(sink.Letters()), len(sink.Keys()), sink.Calls())
	}
	for _, l := range sink.Letters() {
		if l.ID == "" || l.Tries != 1 || !strings.Contains(l.Why, "JSON") && !strings.Contains(l.Why, "9.9") {
			t.Errorf("letter %+v", l)
		}
	}
}

// A sink that blocks longer than the server waits for an acknowledgement.
func TestHeldWhileTheSinkBlocks(t *testing.T) {
	t.Parallel()
	s := newStream(t)
	open := make(chan struct{})
	sink := &eventstest.Sink{Before: func(ctx context.Context, _ []events.Notice) error {
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	src, _ := eventstest.Start(t, Open, s.options(), sink)
	s.send(t, record("a"), record("b"), record("c"))
	eventstest.Until(t, "all are in hand", func() bool { return sink.Calls() == 3 })
	began := time.Now()
	eventstest.Until(t, "twice the time is over", func() bool { return time.Since(began) > 5*time.Second })
	i := s.info(t)
	if i.NumRedelivered != 0 || i.NumAckPending != 3 || sink.Calls() != 3 || src.Status().Acked != 0 {
		t.Errorf("redelivered %d, pending %d, %d deliveries, status %+v", i.NumRedelivered, i.NumAckPending, sink.Calls(), src.Status())
	}
	close(open)
	eventstest.Until(t, "all are acknowledged", func() bool { return s.done(t) && src.Status().Acked == 3 })
	if sink.Calls() != 3 {
		t.Errorf("%d deliveries", sink.Calls())
	}
}

func TestRefusedComesAgain(t *testing.T) {
	t.Parallel()
	s := newStream(t)
	var refusals atomic.Int32
	sink := &eventstest.Sink{Before: func(_ context.Context, n []events.Notice) error {
		if n[0].Key == "never" || refusals.Add(1) <= 2 {
			return fault.New(fault.Unavailable, "sink", "", errors.New("the ledger is away"))
		}
		return nil
	}}
	src, _ := eventstest.Start(t, Open, s.options("max_receives", "3"), sink)
	s.send(t, record("a"), record("never"))
	eventstest.Until(t, "one is taken and the other buried", func() bool { return src.Status().Acked == 2 })
	if keys := sink.Keys(); keys["a"] != 1 || keys["never"] != 0 {
		t.Errorf("taken: %v", keys)
	}
	if l := sink.Letters(); len(l) != 1 || l[0].Tries != 4 || !strings.Contains(l[0].Why, "away") {
		t.Errorf("buried %+v", l)
	}
	if !s.done(t) {
		t.Errorf("left: %+v", s.info(t))
	}
}

func TestEndGivesBack(t *testing.T) {
	t.Parallel()
	s := newStream(t)
	blocked := &eventstest.Sink{Before: func(ctx context.Context, n []events.Notice) error {
		if n[0].Key == "a" {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}}
	o := s.options()
	o.URL = strings.Replace(o.URL, "ack_wait=2s", "ack_wait=1h", 1)
	src, stop := eventstest.Start(t, Open, o, blocked)
	s.send(t, record("a"), record("b"))
	eventstest.Until(t, "one is taken and one in hand", func() bool { return blocked.Calls() == 2 && src.Status().Acked == 1 })
	stop()
	sink := new(eventstest.Sink)
	src, _ = eventstest.Start(t, Open, o, sink)
	eventstest.Until(t, "the other comes again", func() bool { return src.Status().Acked == 1 })
	if keys := sink.Keys(); keys["b"] != 1 || keys["a"] != 0 {
		t.Errorf("taken after the end: %v", keys)
	}
}

// The server is killed with messages in hand, and comes back with its stream.
func TestServerGoesAway(t *testing.T) {
	t.Parallel()
	s := newStream(t)
	open := make(chan struct{})
	sink := &eventstest.Sink{Before: func(ctx context.Context, n []events.Notice) error {
		if n[0].Key != "during" {
			return nil
		}
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	src, _ := eventstest.Start(t, Open, s.options(), sink)
	s.send(t, record("before"), record("during"))
	eventstest.Until(t, "one is done and one in hand", func() bool { return src.Status().Acked == 1 && sink.Calls() == 2 })
	s.srv.Stop()
	eventstest.Until(t, "it says so", func() bool { st := src.Status(); return !st.Connected && st.Error != "" })
	close(open)
	s.srv.Start(t)
	eventstest.Until(t, "the stream answers", func() bool { _, err := s.js.Publish(t.Context(), "s3.ev", []byte(record("after"))); return err == nil })
	eventstest.Until(t, "all is acknowledged", func() bool { return sink.Keys()["after"] > 0 && sink.Keys()["during"] > 0 && s.done(t) })
	eventstest.Until(t, "it says connected", func() bool { st := src.Status(); return st.Connected && st.Error == "" })
}

func TestFirstTry(t *testing.T) {
	t.Parallel()
	s := newStream(t)
	for what, c := range map[string]struct {
		url  string
		kind fault.Kind
	}{
		"no such stream": {s.srv.URL + "/NONE/c", fault.NotFound},
		"other subject":  {s.srv.URL + "/S3/fixed?subject=s3.other", fault.Invalid},
		"no acks":        {s.srv.URL + "/S3/careless", fault.Invalid},
	} {
		for name, policy := range map[string]jetstream.AckPolicy{"fixed": jetstream.AckExplicitPolicy, "careless": jetstream.AckNonePolicy} {
			if _, err := s.js.CreateOrUpdateConsumer(t.Context(), "S3", jetstream.ConsumerConfig{Durable: name, FilterSubject: "s3.ev", AckPolicy: policy}); err != nil {
				t.Fatal(err)
			}
		}
		src, err := Open(events.Options{Name: "q", URL: c.url})
		if err != nil {
			t.Fatal(err)
		}
		if err := src.Run(t.Context(), new(eventstest.Sink)); !fault.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", what, err, c.kind)
		}
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, "--user", "porter", "--pass", "let-me-in")
	creds := filepath.Join(t.TempDir(), "none.creds")
	if err := os.WriteFile(creds, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		options map[string]string
		kind    fault.Kind
	}{
		"right":     {map[string]string{"user": "porter", "password": "let-me-in"}, fault.NotFound}, // and no stream
		"wrong":     {map[string]string{"user": "porter", "password": "let-me-in-too"}, fault.Denied},
		"none":      {nil, fault.Denied},
		"token":     {map[string]string{"token": "let-me-in"}, fault.Denied},
		"not plain": {map[string]string{"user": "porter", "password": "let-me-in", "tls": "true"}, fault.Invalid},
	} {
		src, err := Open(events.Options{Name: "q", URL: srv.URL + "/S3/c", Options: c.options})
		if err != nil {
			t.Fatal(err)
		}
		err = src.Run(t.Context(), new(eventstest.Sink))
		if !fault.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", what, err, c.kind)
		}
		if err != nil && strings.Contains(err.Error()+src.Status().Error, "let-me-in") {
			t.Errorf("%s: the error shows the password: %v", what, err)
		}
	}
}
