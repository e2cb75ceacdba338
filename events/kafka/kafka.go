// Package kafka receives events from a topic of Apache Kafka, or of a server
// that speaks its protocol, as a member of a consumer group.
//
// The records of a partition are taken in their order. What is committed is the
// offset after the last record that the sink has; a record that the sink
// refuses holds back those behind it, in its own partition only. Partitions
// move to another member only between two polls, after what is done has been
// committed.
package kafka

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// A Source receives one topic. Only one Run at a time.
type Source struct {
	name  string
	set   settings
	meter events.Meter
}

// pollLimit is how long a poll that brings nothing may take.
const pollLimit = 5 * time.Second

// Open opens the topic that o names. fault.Invalid: URL or options are wrong.
func Open(o events.Options) (events.Source, error) {
	set, err := parse(o)
	if err != nil {
		return nil, err
	}
	return &Source{name: o.Name, set: set}, nil
}

// Status says how it goes.
func (s *Source) Status() events.Status { return s.meter.Status() }

// Close has nothing to close: Run closes its client.
func (s *Source) Close() error { return nil }

// Run receives until ctx ends. A topic that does not exist, a login or a group
// that is refused end it at the first try: NotFound, Denied, Invalid.
func (s *Source) Run(ctx context.Context, sink events.Sink) error {
	defer s.meter.Closed()
	r := &run{Source: s, sink: sink, hurry: make(chan struct{}, 1), pending: make(map[int32]pending)}
	refused, refuse := context.WithCancelCause(ctx)
	defer refuse(nil)
	client, err := kgo.NewClient(append(s.set.clientOptions(),
		kgo.WithHooks(&hooks{meter: &s.meter, topic: s.set.topic, refuse: refuse}),
		kgo.OnPartitionsRevoked(r.moved),
		kgo.OnPartitionsLost(r.moved),
		kgo.OnPartitionsCallbackBlocked(func(context.Context, *kgo.Client) {
			select {
			case r.hurry <- struct{}{}:
			default:
			}
		}))...)
	if err != nil {
		return fault.New(fault.Invalid, "kafka.Open", s.name, errors.New(events.Plain(err.Error())))
	}
	defer client.CloseAllowingRebalance()
	r.client = client
	if err := s.find(refused, client); err != nil {
		if fault.KindOf(context.Cause(refused)) != fault.Other {
			return context.Cause(refused)
		}
		return err
	}
	return r.receive(ctx)
}

// find waits until the brokers say that there is the topic, and may be read.
func (s *Source) find(ctx context.Context, client *kgo.Client) error {
	back := events.Backoff{First: 500 * time.Millisecond, Most: 30 * time.Second}
	for {
		err := s.describe(ctx, client)
		switch {
		case err == nil:
			s.meter.Connected()
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		s.meter.Lost(err)
		if fault.Is(err, fault.Invalid, fault.Denied, fault.NotFound) {
			return err
		}
		if err := back.Wait(ctx, err); err != nil {
			return err
		}
	}
}

func (s *Source) describe(ctx context.Context, client *kgo.Client) error {
	const op = "kafka.Metadata"
	bounded, cancel := context.WithTimeout(ctx, events.CallLimit)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(s.set.topic)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(bounded, client)
	if err != nil {
		return fail(ctx, op, s.set.topic, err)
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fail(ctx, op, s.set.topic, err)
		}
	}
	return nil
}

// hooks tell the meter how connections go: the client itself tries again for
// ever and says nothing.
type hooks struct {
	meter  *events.Meter
	topic  string
	refuse context.CancelCauseFunc // for a login that is refused before one was let in

	mu   sync.Mutex
	lost bool
}

// OnBrokerConnect is called after each attempt to connect.
func (h *hooks) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) {
		return // we ended it
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err != nil:
		h.lost = true
		err = fail(context.Background(), "kafka.Connect", h.topic, err)
		h.meter.Lost(err)
		if fault.Is(err, fault.Denied, fault.Invalid) {
			h.refuse(err)
		}
	case h.lost:
		h.lost = false
		h.meter.Connected()
	}
}
