// Package sqs receives the events of S3 from a queue of Amazon SQS, or of a
// server that speaks its protocol.
//
// A message is deleted after the sink has it. Until then it is kept from others
// by changes of its visibility, which begin when it comes, whether or not
// anybody has begun with it.
package sqs

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// A Source receives from one queue. Only one Run at a time.
type Source struct {
	name      string
	set       settings
	client    *sqs.Client
	transport *http.Transport
	meter     events.Meter
}

// Limits of the protocol, and how long calls may take.
const (
	batch     = 10 // messages of one call
	callLimit = 15 * time.Second
	endLimit  = 5 * time.Second // of what is still said to the queue after the end
)

// Open opens the queue that o names. fault.Invalid: URL or options are wrong.
func Open(o events.Options) (events.Source, error) {
	set, err := parse(o)
	if err != nil {
		return nil, err
	}
	s := &Source{name: o.Name, set: set, transport: newTransport(32)}
	if s.client, err = set.client(s.transport); err != nil {
		return nil, fault.New(fault.Invalid, "sqs.Open", o.Name, errors.New(events.Plain(err.Error())))
	}
	return s, nil
}

// Status says how it goes.
func (s *Source) Status() events.Status { return s.meter.Status() }

// Close closes idle connections. End Run first, by its context.
func (s *Source) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// A message is one in hand.
type message struct {
	id, handle string
	body       []byte
	tries      int
}

// Run receives until ctx ends. A queue that does not exist or may not be read
// at the first try ends it too: NotFound, Denied, Invalid.
func (s *Source) Run(ctx context.Context, sink events.Sink) error {
	defer s.meter.Closed()
	r := &run{Source: s, sink: sink, free: make(chan struct{}, s.set.inHand), done: make(chan *message, s.set.inHand)}
	r.brake.Retry = s.set.retry
	r.keeper = events.Keeper[*message]{Span: s.set.visibility, Beat: s.beat}

	beating, stopBeats := context.WithCancel(context.WithoutCancel(ctx))
	var helpers sync.WaitGroup
	helpers.Go(func() { r.keeper.Run(beating) })
	helpers.Go(func() { r.acknowledge(ctx) })
	err := r.receive(ctx)
	r.takers.Wait()
	close(r.done)
	stopBeats()
	helpers.Wait()
	return err
}

// A run is what one Run of a source holds.
type run struct {
	*Source
	sink   events.Sink
	keeper events.Keeper[*message]
	free   chan struct{} // holds one for each message in hand
	takers sync.WaitGroup
	done   chan *message // may be deleted; room for all in hand
	brake  events.Brake
}

// receive polls the queue and starts a taker for each message.
func (r *run) receive(ctx context.Context) error {
	back := events.Backoff{First: 500 * time.Millisecond, Most: 30 * time.Second}
	for first := true; ; {
		n, err := r.reserve(ctx)
		if err != nil {
			return err
		}
		wait := r.set.wait
		if first {
			wait = 0 // whether there is such a queue is to be known soon
		}
		msgs, err := r.poll(ctx, n, wait)
		for range n - len(msgs) {
			<-r.free
		}
		switch {
		case err == nil:
			r.meter.Connected()
			back.Reset()
			first = false
		case ctx.Err() != nil:
			return ctx.Err()
		case first && fault.Is(err, fault.Invalid, fault.Denied, fault.NotFound):
			r.meter.Lost(err)
			return err
		default:
			r.meter.Lost(err)
			if err := back.Wait(ctx, err); err != nil {
				return err
			}
			continue
		}
		if len(msgs) == 0 {
			continue
		}
		r.meter.Received(len(msgs))
		r.keeper.Hold(time.Now(), msgs...)
		for _, m := range msgs {
			r.takers.Go(func() { r.take(ctx, m) })
		}
	}
}

// reserve waits for room for one message at least, and for the end of a pause,
// and returns for how many there is room, up to a batch.
func (r *run) reserve(ctx context.Context) (int, error) {
	if err := r.brake.Wait(ctx); err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case r.free <- struct{}{}:
	}
	for n := 1; ; n++ {
		if n == batch {
			return n, nil
		}
		select {
		case r.free <- struct{}{}:
		default:
			return n, nil
		}
	}
}

// poll receives up to n messages. Their visibility is asked for by each call,
// since the queue's own may be anything.
func (r *run) poll(ctx context.Context, n int, wait time.Duration) ([]*message, error) {
	bounded, cancel := context.WithTimeout(ctx, wait+callLimit)
	defer cancel()
	out, err := r.client.ReceiveMessage(bounded, &sqs.ReceiveMessageInput{
		QueueUrl:                    &r.set.queue,
		MaxNumberOfMessages:         int32(n),
		WaitTimeSeconds:             int32(wait / time.Second),
		VisibilityTimeout:           seconds(r.set.visibility),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount},
	})
	if err != nil {
		return nil, fail(ctx, "sqs.ReceiveMessage", r.set.queue, err)
	}
	var msgs []*message
	for _, m := range out.Messages[:min(n, len(out.Messages))] {
		if m.ReceiptHandle == nil {
			continue
		}
		one := &message{handle: *m.ReceiptHandle}
		if m.MessageId != nil {
			one.id = *m.MessageId
		}
		if m.Body != nil {
			one.body = []byte(*m.Body)
		}
		one.tries, _ = strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)]) // 0 = not told
		msgs = append(msgs, one)
	}
	return msgs, nil
}

// take carries one message to the sink, and to done; or gives it back.
func (r *run) take(ctx context.Context, m *message) {
	_, err := r.meter.Take(ctx, r.sink, r.name, events.Message{ID: m.id, Body: m.body, Tries: m.tries,
		Parse: func() ([]events.Notice, error) { return events.ParseS3(m.body) }}, r.set.maxReceives)
	if err == nil {
		r.brake.Took()
		r.done <- m
		return
	}
	r.keeper.Drop(m)
	if ctx.Err() != nil {
		// Not at once: the poll that the end broke off may go on at the server, and
		// would swallow it.
		r.giveBack(ctx, m, r.set.wait)
	} else {
		r.giveBack(ctx, m, r.brake.Refused(m.tries))
	}
	<-r.free
}

// seconds is d as the protocol wants it, not less than d.
func seconds(d time.Duration) int32 { return int32((d + time.Second - 1) / time.Second) }
