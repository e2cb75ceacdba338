// Package pubsub receives the notifications of Cloud Storage from a pull
// subscription of Google Cloud Pub/Sub, by its REST interface.
//
// A message is acknowledged after the sink has it. Until then its deadline is
// moved on, from the moment it comes, whether or not anybody has begun with it.
package pubsub

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// Limits of calls. Google ends a pull that finds nothing after about 90 s.
const (
	batch     = 100 // messages of one pull; also ids of one call
	pullLimit = 100 * time.Second
	callLimit = 15 * time.Second
	endLimit  = 5 * time.Second // of what is still said to the server after the end
)

// idle is how long an empty pull must have lasted, at least: some servers
// answer at once.
const idle = time.Second

// A Source receives from one subscription. Only one Run at a time.
type Source struct {
	name      string
	set       settings
	http      *http.Client
	transport *http.Transport
	login     login
	meter     events.Meter
}

// Open opens the subscription that o names. fault.Invalid: URL or options are wrong.
func Open(o events.Options) (events.Source, error) {
	set, err := parse(o)
	if err != nil {
		return nil, err
	}
	s := &Source{name: o.Name, set: set, transport: newTransport()}
	s.http = &http.Client{Transport: bounded{s.transport}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	s.login = login{set: set, http: s.http}
	return s, nil
}

// Status says how it goes.
func (s *Source) Status() events.Status { return s.meter.Status() }

// Close closes idle connections. End Run first, by its context.
func (s *Source) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// Run receives until ctx ends. A subscription that does not exist or may not be
// read at the first try ends it too: NotFound, Denied, Invalid.
func (s *Source) Run(ctx context.Context, sink events.Sink) error {
	defer s.meter.Closed()
	r := &run{Source: s, sink: sink, free: make(chan struct{}, s.set.inHand), done: make(chan *message, s.set.inHand)}
	r.brake.Retry = s.set.retry
	r.keeper = events.Keeper[*message]{Span: s.set.deadline, Beat: s.beat}

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
	done   chan *message // may be acknowledged; room for all in hand
	brake  events.Brake
}

// receive pulls and starts a taker for each message.
func (r *run) receive(ctx context.Context) error {
	back := events.Backoff{First: 500 * time.Millisecond, Most: 30 * time.Second}
	for first := true; ; {
		n, err := r.reserve(ctx)
		if err != nil {
			return err
		}
		began := time.Now()
		msgs, err := r.pull(ctx, n, first) // whether there is such a subscription is to be known soon
		for range n - len(msgs) {
			<-r.free
		}
		switch {
		case err == nil:
			r.meter.Connected()
			back.Reset()
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
			if err := pause(ctx, idle-time.Since(began), first); err != nil {
				return err
			}
			first = false
			continue
		}
		first = false
		r.meter.Received(len(msgs))
		// Their deadline is the subscription's, 10 s at least, and not ours yet: so
		// the first beat is due at once.
		r.keeper.Hold(time.Now().Add(-r.set.deadline), msgs...)
		for _, m := range msgs {
			r.takers.Go(func() { r.take(ctx, m) })
		}
	}
}

// pause waits for d, unless it is the first time.
func pause(ctx context.Context, d time.Duration, first bool) error {
	if first || d <= 0 {
		return ctx.Err()
	}
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

// take carries one message to the sink, and to done; or gives it back.
func (r *run) take(ctx context.Context, m *message) {
	_, err := r.meter.Take(ctx, r.sink, r.name, events.Message{ID: m.id, Body: m.raw, Tries: m.tries, Parse: m.parse}, r.set.maxReceives)
	if err == nil {
		r.brake.Took()
		r.done <- m
		return
	}
	r.keeper.Drop(m)
	if ctx.Err() == nil {
		r.brake.Refused(m.tries)
	}
	r.giveBack(ctx, m)
	<-r.free
}
