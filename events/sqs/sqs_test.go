package sqs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/events/eventstest"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/test/servers"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The plain client of test/servers keeps idle connections.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// fauxqs carries no events of S3: the tests put what Amazon documents into its
// queues themselves.
func record(key string) string {
	return fmt.Sprintf(`{"Records":[{"eventVersion":"2.6","eventSource":"aws:s3","eventTime":"2026-01-02T03:04:05.678Z","eventName":"ObjectCreated:Put",
		"s3":{"bucket":{"name":"inbox"},"object":{"key":%q,"size":7,"versionId":"v1"}}}]}`, key)
}

// A queue is one on fauxqs.
type queue struct {
	srv *servers.SQS
	url string // without its scheme
}

func newQueue(t *testing.T) queue {
	t.Helper()
	srv := servers.StartSQS(t)
	return queue{srv: srv, url: srv.MakeQueue(t, "events")}
}

// options of a source with times that a test can wait for.
func (q queue) options(more ...string) events.Options {
	o := events.Options{Name: "q", URL: "sqs://" + q.url + "?wait=1s&visibility=2s&retry=1s&endpoint=" + q.srv.Endpoint,
		Options: map[string]string{"region": q.srv.Region, "access_key": q.srv.AccessKey, "secret_key": q.srv.SecretKey}}
	for i := 0; i < len(more); i += 2 {
		o.Options[more[i]] = more[i+1]
	}
	return o
}

func (q queue) send(t *testing.T, bodies ...string) {
	t.Helper()
	for _, b := range bodies {
		if _, err := q.srv.Client().SendMessage(t.Context(), &awssqs.SendMessageInput{QueueUrl: aws.String("http://" + q.url), MessageBody: &b}); err != nil {
			t.Fatal(err)
		}
	}
}

// left returns how many messages the queue has, in hand or not.
func (q queue) left(t *testing.T) int {
	t.Helper()
	out, err := q.srv.Client().GetQueueAttributes(t.Context(), &awssqs.GetQueueAttributesInput{QueueUrl: aws.String("http://" + q.url),
		AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"} {
		var one int
		_, _ = fmt.Sscan(out.Attributes[name], &one)
		n += one
	}
	return n
}

func TestReceive(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	var bodies []string
	for i := range 45 {
		bodies = append(bodies, record(fmt.Sprintf("dir/a+b%%26c-%d", i)))
	}
	poison := []string{"<xml/>", `{"Records":[{"eventVersion":"3.0"}]}`, strings.Repeat("[", 40) + strings.Repeat("]", 40)}
	bodies = append(bodies, poison...)
	bodies = append(bodies, `{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"inbox"}`)
	q.send(t, bodies...)
	sink := new(eventstest.Sink)
	src, stop := eventstest.Start(t, Open, q.options(), sink)
	eventstest.Until(t, "all is taken and deleted", func() bool { return src.Status().Acked == int64(len(bodies)) })
	stop()
	if n := q.left(t); n != 0 {
		t.Errorf("%d messages are left", n)
	}
	keys := sink.Keys()
	for i := range 45 {
		if key := fmt.Sprintf("dir/a b&c-%d", i); keys[key] != 1 {
			t.Errorf("%s came %d times", key, keys[key])
		}
	}
	if len(sink.Letters()) != len(poison) {
		t.Errorf("buried %d, want %d", len(sink.Letters()), len(poison))
	}
	for _, l := range sink.Letters() {
		if l.Source != "q" || l.ID == "" || l.Why == "" || l.Tries != 1 || len(l.Body) == 0 || l.At.IsZero() {
			t.Errorf("letter %+v", l)
		}
	}
	if st := src.Status(); st.Received != int64(len(bodies)) || st.Buried != int64(len(poison)) || st.Error != "" || st.Last.IsZero() {
		t.Errorf("status %+v", st)
	}
}

func TestQueue(t *testing.T) {
	eventstest.RunQueue(t, func(t *testing.T) eventstest.Queue {
		q := newQueue(t)
		long := q.options("visibility", "1h")
		long.URL = strings.Replace(long.URL, "visibility=2s&", "", 1)
		return eventstest.Queue{
			Open: Open, Options: q.options, Long: long,
			Send: func(keys ...string) {
				for _, key := range keys {
					q.send(t, record(key))
				}
			},
			Left: func() int { return q.left(t) },
			Others: func() (int, error) {
				out, err := q.srv.Client().ReceiveMessage(t.Context(), &awssqs.ReceiveMessageInput{QueueUrl: aws.String("http://" + q.url), MaxNumberOfMessages: 10, WaitTimeSeconds: 1})
				if err != nil {
					return 0, err
				}
				return len(out.Messages), nil
			},
		}
	})
}

// The server goes away, and comes back without the queue, which somebody then
// makes again.
func TestServerGoesAway(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	sink := new(eventstest.Sink)
	src, _ := eventstest.Start(t, Open, q.options(), sink)
	q.send(t, record("before"))
	eventstest.Until(t, "the first is deleted", func() bool { return src.Status().Acked == 1 })
	q.srv.Stop()
	eventstest.Until(t, "it says so", func() bool { st := src.Status(); return !st.Connected && st.Error != "" })
	q.srv.Start(t)
	q.srv.MakeQueue(t, "events")
	q.send(t, record("after"))
	eventstest.Until(t, "the second is deleted", func() bool { return src.Status().Acked == 2 })
	if st := src.Status(); !st.Connected || st.Error != "" || sink.Keys()["after"] != 1 {
		t.Errorf("status %+v", st)
	}
}

func TestFirstTry(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	q.url += "-not"
	src, err := Open(q.options())
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if err := src.Run(t.Context(), new(eventstest.Sink)); !fault.Is(err, fault.NotFound) {
		t.Errorf("a queue that is not there: %v", err)
	}
	if src.Status().Error == "" {
		t.Error("the status does not say why")
	}
}
