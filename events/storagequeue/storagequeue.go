// Package storagequeue receives the events of Azure Blob Storage from a queue of
// Azure Storage, where Event Grid puts them.
//
// A message is deleted after the sink has it. Until then it is kept from others
// by updates of its visibility, which begin when it comes, whether or not
// anybody has begun with it. Each update changes the receipt that the next call
// must show.
package storagequeue

import (
	"context"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"github.com/landwaiter/landwaiter/events"
)

const (
	batch     = 32 // messages of one call
	conns     = 64 // at the most; each message is deleted by itself
	beats     = 8  // updates at a time
	firstPoll = 250 * time.Millisecond
)

// A Source receives from one queue. Only one Run at a time.
type Source struct {
	name      string
	set       settings
	client    *azqueue.QueueClient
	transport *http.Transport
	meter     events.Meter
}

// Open opens the queue that o names. fault.Invalid: URL or options are wrong.
func Open(o events.Options) (events.Source, error) {
	set, err := parse(o)
	if err != nil {
		return nil, err
	}
	s := &Source{name: o.Name, set: set, transport: events.NewTransport(min(set.inHand, conns))}
	if s.client, err = set.client(s.transport); err != nil {
		return nil, err
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

// Run receives until ctx ends. A queue that does not exist or may not be read
// at the first try ends it too: NotFound, Denied, Invalid.
func (s *Source) Run(ctx context.Context, sink events.Sink) error {
	r := events.Receiver[*message]{
		Source: s.name, Meter: &s.meter, InHand: s.set.inHand, MaxReceives: s.set.maxReceives, Retry: s.set.retry,
		Fresh: s.set.visibility, Span: s.set.visibility,
		Poll: s.poller(), Batch: batch, Read: read, Beat: s.beat, Remove: s.remove, Removal: 1, Removers: min(s.set.inHand, conns), GiveBack: s.update,
	}
	return r.Run(ctx, sink)
}

// poller returns what polls the queue. The service answers at once, with nothing
// if there is nothing: while that is so the polls become rarer.
func (s *Source) poller() func(context.Context, int, bool) ([]*message, time.Duration, error) {
	quiet := min(firstPoll, s.set.poll)
	return func(ctx context.Context, n int, _ bool) ([]*message, time.Duration, error) {
		msgs, err := s.dequeue(ctx, n)
		pause := quiet
		if len(msgs) > 0 {
			quiet = min(firstPoll, s.set.poll)
		} else if err == nil {
			quiet = min(2*quiet, s.set.poll)
		}
		return msgs, pause, err
	}
}

func read(m *message) events.Message {
	return events.Message{ID: m.id, Body: m.body(), Tries: m.tries, Parse: m.parse}
}
