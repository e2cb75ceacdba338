package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/events/eventstest"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/test/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const topic = "s3"

func record(key string) string {
	return fmt.Sprintf(`{"Records":[{"eventVersion":"2.0","eventName":"s3:ObjectCreated:Put","s3":{"bucket":{"name":"inbox"},"object":{"key":%q,"size":7}}}]}`, key)
}

// A cluster is kfake: a stand-in for Kafka in this process that speaks the
// protocol, groups included. It is no broker.
type cluster struct {
	*kfake.Cluster
	port   int
	dir    string
	client *kgo.Client
}

func newCluster(t *testing.T, partitions int32, opts ...kfake.Opt) *cluster {
	t.Helper()
	c := &cluster{port: servers.FreePort(t), dir: t.TempDir()}
	c.start(t, partitions, opts...)
	t.Cleanup(func() { c.Close() })
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	c.client = client
	return c
}

// start starts it, again with what it held before.
func (c *cluster) start(t *testing.T, partitions int32, opts ...kfake.Opt) {
	t.Helper()
	opts = append([]kfake.Opt{kfake.NumBrokers(1), kfake.Ports(c.port), kfake.SeedTopics(partitions, topic), kfake.DataDir(c.dir), kfake.SyncWrites(),
		kfake.GroupMinSessionTimeout(time.Second)}, opts...)
	var err error
	if c.Cluster, err = kfake.NewCluster(opts...); err != nil {
		t.Fatal(err)
	}
}

// options of a source with times that a test can wait for.
func (c *cluster) options(more ...string) events.Options {
	o := events.Options{Name: "q", URL: fmt.Sprintf("kafka://127.0.0.1:%d/%s?group=landwaiter&session=3s&rebalance=4s&retry=50ms", c.port, topic), Options: map[string]string{}}
	for i := 0; i < len(more); i += 2 {
		o.Options[more[i]] = more[i+1]
	}
	return o
}

func (c *cluster) send(t *testing.T, partition int32, bodies ...string) {
	t.Helper()
	for _, b := range bodies {
		if err := c.client.ProduceSync(t.Context(), &kgo.Record{Partition: partition, Value: []byte(b)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// committed returns the offset that the group has committed for a partition, -1 = none.
func (c *cluster) committed(t *testing.T, partition int32) int64 {
	t.Helper()
	for _, o := range c.groupOffsets(t) {
		if o.Partition == partition {
			return o.Offset
		}
	}
	return -1
}

func TestReceive(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	for i := range 60 {
		p := int32(i % 3)
		c.send(t, p, record(fmt.Sprintf("p%d/%02d", p, i)))
		if i%20 == 0 {
			c.send(t, p, "poison", `{"Records":[{"eventVersion":"9.9"}]}`)
		}
	}
	sink := new(eventstest.Sink)
	src, _ := eventstest.Start(t, Open, c.options("in_hand", "7"), sink)
	eventstest.Until(t, "all is committed", func() bool { return src.Status().Acked == 66 })
	if len(sink.Letters()) != 6 || len(sink.Keys()) != 60 {
		t.Errorf("%d letters, %d keys", len(sink.Letters()), len(sink.Keys()))
	}
	last := map[string]string{}
	for _, n := range sink.Notices() {
		p, _, _ := strings.Cut(n.Key, "/")
		if n.Key <= last[p] {
			t.Errorf("%s after %s", n.Key, last[p])
		}
		last[p] = n.Key
	}
	if l := sink.Letters()[0]; l.ID == "" || !strings.HasPrefix(l.ID, topic+"/") || l.Why == "" {
		t.Errorf("letter %+v", l)
	}
	for p, want := range []int64{22, 22, 22} {
		if got := c.committed(t, int32(p)); got != want {
			t.Errorf("partition %d is committed up to %d, want %d", p, got, want)
		}
	}
}

// A sink that blocks longer than a session: nothing is committed before it has
// taken what it was given, and it is not given it twice.
func TestHeldWhileTheSinkBlocks(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.send(t, 0, record("a"), record("b"))
	open := make(chan struct{})
	sink := &eventstest.Sink{Before: func(ctx context.Context, _ []events.Notice) error {
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	src, _ := eventstest.Start(t, Open, c.options("session", "2s"), sink)
	eventstest.Until(t, "they are in hand", func() bool { return sink.Calls() > 0 })
	began := time.Now()
	eventstest.Until(t, "more than a session is over", func() bool { return time.Since(began) > 5*time.Second })
	if got := c.committed(t, 0); got > 0 || sink.Calls() != 1 || src.Status().Acked != 0 {
		t.Errorf("committed %d, %d deliveries, status %+v", got, sink.Calls(), src.Status())
	}
	close(open)
	eventstest.Until(t, "they are committed", func() bool { return src.Status().Acked == 2 })
	if c.committed(t, 0) != 2 || sink.Calls() > 2 || len(sink.Notices()) != 2 {
		t.Errorf("committed %d, %d deliveries, taken %v", c.committed(t, 0), sink.Calls(), sink.Keys())
	}
}

// What the sink refuses holds back its own partition only, and comes again.
func TestRefusedComesAgain(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	c.send(t, 0, record("a"), record("b"), record("c"))
	c.send(t, 1, record("x"), record("y"), record("wrong"), record("z"))
	var refusals atomic.Int32
	var other atomic.Bool
	sink := &eventstest.Sink{Before: func(_ context.Context, n []events.Notice) error {
		for _, one := range n {
			if one.Key == "wrong" {
				return fault.New(fault.Invalid, "sink", "", errors.New("there is no such thing"))
			}
			if one.Key == "z" {
				other.Store(true)
			}
		}
		if strings.Contains("abc", n[0].Key) && (refusals.Add(1) <= 3 || !other.Load()) {
			return fault.New(fault.Unavailable, "sink", "", errors.New("the ledger is away"))
		}
		return nil
	}}
	src, _ := eventstest.Start(t, Open, c.options(), sink)
	eventstest.Until(t, "all is committed", func() bool { return src.Status().Acked == 7 })
	var order []string
	for _, n := range sink.Notices() {
		if strings.Contains("abc", n.Key) {
			order = append(order, n.Key)
		}
	}
	if got := strings.Join(order, ""); got != "abc" {
		t.Errorf("taken in the order %s", got)
	}
	if keys := sink.Keys(); keys["x"] != 1 || keys["y"] != 1 || keys["z"] != 1 {
		t.Errorf("taken %v", keys)
	}
	if l := sink.Letters(); len(l) != 1 || !strings.Contains(string(l[0].Body), "wrong") {
		t.Errorf("buried %v", l)
	}
}

func TestEndGivesBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.send(t, 0, record("a"))
	blocked := &eventstest.Sink{Before: func(ctx context.Context, n []events.Notice) error {
		if n[0].Key == "a" {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}}
	src, stop := eventstest.Start(t, Open, c.options(), blocked)
	eventstest.Until(t, "one is committed", func() bool { return src.Status().Acked == 1 })
	c.send(t, 0, record("b"))
	eventstest.Until(t, "the other is in hand", func() bool { return blocked.Calls() == 2 })
	stop()
	sink := new(eventstest.Sink)
	src, _ = eventstest.Start(t, Open, c.options(), sink)
	eventstest.Until(t, "the other comes again", func() bool { return src.Status().Acked == 1 })
	if keys := sink.Keys(); keys["b"] != 1 || keys["a"] != 0 {
		t.Errorf("taken after the end: %v", keys)
	}
}

// A second member joins while the sink of the first blocks: the first lets go
// of what it has in hand, the partitions move, and nothing is lost.
func TestPartitionsMove(t *testing.T) {
	t.Parallel()
	const partitions = 4
	c := newCluster(t, partitions)
	want := map[string]bool{}
	for i := range 40 {
		key := fmt.Sprintf("k%02d", i)
		want[key] = true
		c.send(t, int32(i%partitions), record(key))
	}
	open := make(chan struct{})
	block := func(ctx context.Context, _ []events.Notice) error {
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	first, second := &eventstest.Sink{Before: block}, new(eventstest.Sink)
	one, _ := eventstest.Start(t, Open, c.options("in_hand", "4"), first)
	eventstest.Until(t, "the first has some in hand", func() bool { return first.Calls() > 0 })
	two, _ := eventstest.Start(t, Open, c.options("in_hand", "4"), second)
	eventstest.Until(t, "the second has some partitions", func() bool { return two.Status().Acked > 0 })
	close(open)
	eventstest.Until(t, "all is taken", func() bool {
		got := first.Keys()
		for k := range second.Keys() {
			got[k]++
		}
		return len(got) == len(want)
	})
	eventstest.Until(t, "all is committed", func() bool {
		for p := range int32(partitions) {
			if c.committed(t, p) != 10 {
				return false
			}
		}
		return true
	})
	t.Logf("first: %d taken, %+v; second: %d taken, %+v", len(first.Notices()), one.Status(), len(second.Notices()), two.Status())
}

// The broker goes away with a record in hand, and comes back with what it held.
func TestBrokerGoesAway(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
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
	src, _ := eventstest.Start(t, Open, c.options(), sink)
	c.send(t, 0, record("before"))
	eventstest.Until(t, "the first is committed", func() bool { return src.Status().Acked == 1 })
	c.send(t, 0, record("during"))
	eventstest.Until(t, "the second is in hand", func() bool { return sink.Calls() == 2 })
	c.Close()
	eventstest.Until(t, "it says so", func() bool { st := src.Status(); return !st.Connected && st.Error != "" })
	c.start(t, 1)
	close(open)
	eventstest.Until(t, "it takes records again", func() bool { // the client here has to find out too
		return c.client.ProduceSync(t.Context(), &kgo.Record{Value: []byte(record("after"))}).FirstErr() == nil
	})
	eventstest.Until(t, "all is committed", func() bool { return c.committed(t, 0) >= 3 })
	eventstest.Until(t, "it says connected", func() bool { st := src.Status(); return st.Connected && st.Error == "" })
	if keys := sink.Keys(); keys["before"] != 1 || keys["during"] == 0 || keys["after"] == 0 {
		t.Errorf("taken %v", keys)
	}
}

func TestFirstTry(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	o := c.options()
	o.URL = strings.Replace(o.URL, "/"+topic, "/none", 1)
	src, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Run(t.Context(), new(eventstest.Sink)); !fault.Is(err, fault.NotFound) {
		t.Errorf("a topic that is not there: %v", err)
	}
}

// kfake hangs up on a wrong password. That is answered here as a broker does
// since Kafka 1.0, by a stand-in for that one reply.
func TestLogin(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"plain", "scram-sha-256"} {
		c := newCluster(t, 1, kfake.EnableSASL(), kfake.Superuser(strings.ToUpper(way), "porter", "let-me-in"))
		good, stop := eventstest.Start(t, Open, c.options("sasl", way, "user", "porter", "password", "let-me-in"), new(eventstest.Sink))
		eventstest.Until(t, "it is let in with "+way, func() bool { return good.Status().Connected })
		stop()
		c.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
			resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
			resp.ErrorMessage = kmsg.StringPtr("not with that")
			return resp, nil, true
		})
		src, err := Open(c.options("sasl", way, "user", "porter", "password", "let-me-in-too"))
		if err != nil {
			t.Fatal(err)
		}
		if err := src.Run(t.Context(), new(eventstest.Sink)); !fault.Is(err, fault.Denied) || strings.Contains(err.Error()+src.Status().Error, "let-me-in") {
			t.Errorf("%s with a wrong password: %v", way, err)
		}
	}
}
