// Package pubsub receives the notifications of Cloud Storage from a pull
// subscription of Google Cloud Pub/Sub, by its REST interface.
//
// A message is acknowledged after the sink has it. Until then its deadline is
// moved on, from the moment it comes, whether or not anybody has begun with it.
package pubsub

import (
	"context"
	"net/http"
	"time"

	"github.com/landwaiter/landwaiter/events"
)

const (
	batch     = 100               // messages of one pull; also ids of one call
	pullLimit = 100 * time.Second // Google ends a pull that finds nothing after about 90 s
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
	s := &Source{name: o.Name, set: set, transport: events.NewTransport(32)}
	s.transport.ResponseHeaderTimeout = pullLimit
	s.http = events.NewClient(s.transport, maxReply)
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
	r := events.Receiver[*message]{
		Source: s.name, Meter: &s.meter, InHand: s.set.inHand, MaxReceives: s.set.maxReceives, Retry: s.set.retry,
		// The deadline of what comes is the subscription's, 10 s at least, and not
		// ours yet: so the first beat is due at once.
		Fresh: 0, Span: s.set.deadline,
		Poll: s.poll, Batch: batch, Read: read, Beat: s.beat, Remove: s.acknowledge, Removal: batch, Removers: 1, GiveBack: s.giveBack,
	}
	return r.Run(ctx, sink)
}

// poll is one pull.
func (s *Source) poll(ctx context.Context, n int, first bool) (msgs []*message, pause time.Duration, err error) {
	began := time.Now()
	msgs, err = s.pull(ctx, n, first)
	if !first {
		pause = idle - time.Since(began)
	}
	return msgs, pause, err
}

func read(m *message) events.Message {
	return events.Message{ID: m.id, Body: m.raw, Tries: m.tries, Parse: m.parse}
}
