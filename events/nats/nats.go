// Package nats receives events from a stream of NATS JetStream, through a
// durable pull consumer that may be shared by several nodes.
//
// A message is acknowledged after the sink has it, and the server confirms
// that. Until then the server is told that it is in progress, from the moment
// it comes.
package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// A Source receives through one consumer. Only one Run at a time.
type Source struct {
	name  string
	set   settings
	meter events.Meter
}

// How long things may take.
const (
	callLimit = 5 * time.Second
	wait      = 20 * time.Second // of one request for messages
	heartbeat = 2 * time.Second  // of the server during a request: two missed, and it is gone
)

// Open opens the consumer that o names. fault.Invalid: URL or options are wrong.
func Open(o events.Options) (events.Source, error) {
	set, err := parse(o)
	if err != nil {
		return nil, err
	}
	return &Source{name: o.Name, set: set}, nil
}

// Status says how it goes.
func (s *Source) Status() events.Status { return s.meter.Status() }

// Close has nothing to close: Run closes its connection.
func (s *Source) Close() error { return nil }

// Run receives until ctx ends. A stream that does not exist, a consumer that
// cannot be used or a login that is refused end it at the first try: NotFound,
// Invalid, Denied.
func (s *Source) Run(ctx context.Context, sink events.Sink) error {
	defer s.meter.Closed()
	back := events.Backoff{First: 500 * time.Millisecond, Most: 30 * time.Second}
	for first := true; ; {
		began := s.meter.Status().Received
		bound, err := s.session(ctx, sink)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.meter.Lost(err)
		if first && !bound && fault.Is(err, fault.Invalid, fault.Denied, fault.NotFound) {
			return err
		}
		if first = first && !bound; s.meter.Status().Received > began {
			back.Reset()
		}
		if err := back.Wait(ctx, err); err != nil {
			return err
		}
	}
}

// session connects, binds the consumer (bound) and receives, until the
// connection is given up or ctx ends.
func (s *Source) session(ctx context.Context, sink events.Sink) (bound bool, err error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return false, err
	}
	defer closeConn(conn)
	consumer, err := s.bind(ctx, conn)
	if err != nil {
		return false, err
	}
	s.meter.Connected()
	r := &run{Source: s, conn: conn, sink: sink, room: make(events.Room, s.set.inHand)}
	r.brake.Retry = s.set.retry
	r.keeper = events.Keeper[jetstream.Msg]{Span: ackWait(consumer), Beat: s.beat}
	beating, stopBeats := context.WithCancel(context.WithoutCancel(ctx))
	var helpers sync.WaitGroup
	helpers.Go(func() { r.keeper.Run(beating) })
	err = r.receive(ctx, consumer)
	r.takers.Wait()
	stopBeats()
	helpers.Wait()
	return true, err
}

// closeConn sends what is still to be said, and waits until the client's own
// goroutines have ended.
func closeConn(conn *nats.Conn) {
	_ = conn.FlushTimeout(callLimit) // what is not said is delivered again
	conn.Close()
}

// bind finds the consumer, or makes it.
func (s *Source) bind(ctx context.Context, conn *nats.Conn) (jetstream.Consumer, error) {
	const op = "nats.Bind"
	bounded, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, fail(ctx, op, s.set.stream, err)
	}
	consumer, err := js.Consumer(bounded, s.set.stream, s.set.consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		consumer, err = js.CreateConsumer(bounded, s.set.stream, jetstream.ConsumerConfig{
			Durable: s.set.consumer, FilterSubject: s.set.subject, AckPolicy: jetstream.AckExplicitPolicy, AckWait: s.set.ackWait,
			MaxDeliver: -1, MaxAckPending: max(1000, 10*s.set.inHand), DeliverPolicy: jetstream.DeliverAllPolicy,
		})
		if errors.Is(err, jetstream.ErrConsumerExists) { // another node was faster
			consumer, err = js.Consumer(bounded, s.set.stream, s.set.consumer)
		}
	}
	if err != nil {
		return nil, fail(ctx, op, s.set.stream+"/"+s.set.consumer, err)
	}
	c := consumer.CachedInfo().Config
	switch {
	case c.AckPolicy != jetstream.AckExplicitPolicy:
		err = errors.New("the consumer exists and does not acknowledge each message by itself (AckExplicit)")
	case s.set.subject != "" && c.FilterSubject != s.set.subject:
		err = fmt.Errorf("the consumer exists and takes %q", events.Plain(c.FilterSubject))
	default:
		return consumer, nil
	}
	return nil, fault.New(fault.Invalid, op, s.set.stream+"/"+s.set.consumer, err)
}

// ackWait is how long the server waits for an acknowledgement, at least.
func ackWait(c jetstream.Consumer) time.Duration {
	config := c.CachedInfo().Config
	least := config.AckWait
	for _, d := range config.BackOff {
		least = min(least, d)
	}
	return least
}
