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
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// Limits of the protocol, and how long calls may take.
const (
	batch     = 32 // messages of one call
	callLimit = 15 * time.Second
	endLimit  = 5 * time.Second // of what is still said to the queue after the end
	beats     = 8               // updates at a time
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
	s := &Source{name: o.Name, set: set, transport: newTransport(set.inHand)}
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
	defer s.meter.Closed()
	r := &run{Source: s, sink: sink, free: make(chan struct{}, s.set.inHand)}
	r.brake.Retry = s.set.retry
	r.keeper = events.Keeper[*message]{Span: s.set.visibility, Beat: s.beat}

	beating, stopBeats := context.WithCancel(context.WithoutCancel(ctx))
	var helper sync.WaitGroup
	helper.Go(func() { r.keeper.Run(beating) })
	err := r.receive(ctx)
	r.takers.Wait()
	stopBeats()
	helper.Wait()
	return err
}

// A run is what one Run of a source holds.
type run struct {
	*Source
	sink   events.Sink
	keeper events.Keeper[*message]
	free   chan struct{} // holds one for each message in hand
	takers sync.WaitGroup
	brake  events.Brake
}

// receive polls the queue and starts a taker for each message. The service
// answers at once, with nothing if there is nothing: while that is so the polls
// become rarer.
func (r *run) receive(ctx context.Context) error {
	back := events.Backoff{First: 500 * time.Millisecond, Most: 30 * time.Second}
	quiet := firstPoll
	for first := true; ; {
		n, err := r.reserve(ctx)
		if err != nil {
			return err
		}
		msgs, err := r.dequeue(ctx, n)
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
			if err := pause(ctx, quiet); err != nil {
				return err
			}
			quiet = min(2*quiet, r.set.poll)
			continue
		}
		quiet = min(firstPoll, r.set.poll)
		r.meter.Received(len(msgs))
		r.keeper.Hold(time.Now(), msgs...)
		for _, m := range msgs {
			r.takers.Go(func() { r.take(ctx, m) })
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
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

// take carries one message to the sink and deletes it; or gives it back.
func (r *run) take(ctx context.Context, m *message) {
	defer func() { <-r.free }()
	_, err := r.meter.Take(ctx, r.sink, r.name, events.Message{ID: m.id, Body: m.body(), Tries: m.tries, Parse: m.parse}, r.set.maxReceives)
	if err == nil {
		r.brake.Took()
		r.remove(ctx, m)
		r.keeper.Drop(m)
		return
	}
	r.keeper.Drop(m)
	var after time.Duration
	if ctx.Err() == nil {
		after = r.brake.Refused(m.tries)
	}
	r.giveBack(ctx, m, after)
}
