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

// batch bounds the messages of one call.
const batch = 10

// Open opens the queue that o names. fault.Invalid: URL or options are wrong.
func Open(o events.Options) (events.Source, error) {
	set, err := parse(o)
	if err != nil {
		return nil, err
	}
	s := &Source{name: o.Name, set: set, transport: events.NewTransport(32)}
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
	r := events.Receiver[*message]{
		Source: s.name, Meter: &s.meter, InHand: s.set.inHand, MaxReceives: s.set.maxReceives, Retry: s.set.retry,
		Fresh: s.set.visibility, Span: s.set.visibility,
		Poll: s.poll, Batch: batch, Read: read, Beat: s.beat, Remove: s.remove, Removal: batch, Removers: 1, GiveBack: s.giveBack,
	}
	return r.Run(ctx, sink)
}

func read(m *message) events.Message {
	return events.Message{ID: m.id, Body: m.body, Tries: m.tries, Parse: func() ([]events.Notice, error) { return events.ParseS3(m.body) }}
}

// poll receives up to n messages. Their visibility is asked for by each call,
// since the queue's own may be anything.
func (s *Source) poll(ctx context.Context, n int, first bool) (msgs []*message, pause time.Duration, err error) {
	wait := s.set.wait
	if first {
		wait = 0
	}
	bounded, cancel := context.WithTimeout(ctx, wait+events.CallLimit)
	defer cancel()
	out, err := s.client.ReceiveMessage(bounded, &sqs.ReceiveMessageInput{
		QueueUrl:                    &s.set.queue,
		MaxNumberOfMessages:         int32(n),
		WaitTimeSeconds:             int32(wait / time.Second),
		VisibilityTimeout:           seconds(s.set.visibility),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount},
	})
	if err != nil {
		return nil, 0, fail(ctx, "sqs.ReceiveMessage", s.set.queue, err)
	}
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
	return msgs, 0, nil
}

// seconds is d as the protocol wants it, not less than d.
func seconds(d time.Duration) int32 { return int32((d + time.Second - 1) / time.Second) }
