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

// A run is what one session of a source holds.
type run struct {
	*Source
	conn   *nats.Conn
	sink   events.Sink
	keeper events.Keeper[jetstream.Msg]
	brake  events.Brake
	room   events.Room // for messages in hand or asked for
	takers sync.WaitGroup
}

// receive asks for as many messages as there is room for, again and again, and
// starts a taker for each.
func (r *run) receive(ctx context.Context, consumer jetstream.Consumer) error {
	back := events.Backoff{First: 200 * time.Millisecond, Most: 10 * time.Second}
	for {
		if err := r.brake.Wait(ctx); err != nil {
			return err
		}
		n, err := r.room.Take(ctx, r.set.inHand)
		if err != nil {
			return err
		}
		got, err := r.fetch(ctx, consumer, n)
		r.room.Leave(n - got)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			back.Reset()
			r.meter.Connected()
			continue
		}
		r.meter.Lost(err)
		if err := back.Wait(ctx, err); err != nil {
			return err
		}
		if r.conn.IsClosed() {
			return err
		}
		if !r.conn.IsConnected() {
			continue // it comes back by itself
		}
		// The consumer may have been taken away meanwhile.
		if again, err := r.bind(ctx, r.conn); err == nil {
			consumer = again
		} else if ctx.Err() == nil {
			r.meter.Lost(err)
		}
	}
}

// fetch is one request for n messages. It returns how many came.
func (r *run) fetch(ctx context.Context, consumer jetstream.Consumer, n int) (int, error) {
	bounded, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	batch, err := consumer.Fetch(n, jetstream.FetchContext(bounded), jetstream.FetchHeartbeat(heartbeat))
	if err != nil {
		return 0, fail(ctx, "nats.Fetch", r.set.stream, err)
	}
	got := 0
	for msg := range batch.Messages() {
		got++
		r.meter.Received(1)
		r.keeper.Hold(time.Now(), msg)
		r.takers.Go(func() {
			defer r.room.Leave(1)
			r.take(ctx, msg)
		})
	}
	switch err := batch.Error(); {
	case err == nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout), errors.Is(err, jetstream.ErrNoMessages):
		return got, nil
	default:
		return got, fail(ctx, "nats.Fetch", r.set.stream, err)
	}
}

// take carries one message to the sink and tells the server how that went.
func (r *run) take(ctx context.Context, msg jetstream.Msg) {
	m := events.Message{Body: msg.Data(), Parse: func() ([]events.Notice, error) { return r.set.parse(msg.Data()) }}
	if meta, err := msg.Metadata(); err == nil {
		m.ID, m.Tries = fmt.Sprintf("%s/%d", meta.Stream, meta.Sequence.Stream), int(min(meta.NumDelivered, 1<<30))
	}
	buried, err := r.meter.Take(ctx, r.sink, r.name, m, r.set.maxReceives)
	if err == nil {
		r.brake.Took()
		r.settle(ctx, msg, buried)
		r.keeper.Drop(msg)
		return
	}
	r.keeper.Drop(msg)
	// At the end not at once: the request for messages that the end broke off may
	// stand until the connection is closed, and would swallow it.
	after := callLimit
	if ctx.Err() == nil {
		after = r.brake.Refused(m.Tries)
	}
	if err := msg.NakWithDelay(after); err != nil { // then it comes again when its time is over
		r.meter.Refused(fail(context.WithoutCancel(ctx), "nats.Nak", r.set.stream, err))
	}
}

// settle tells the server that a message is done, or that it must not come
// again although nobody could use it, and hears that the server knows.
func (r *run) settle(ctx context.Context, msg jetstream.Msg, buried bool) {
	r.meter.Settle(ctx, func(ctx context.Context) (err error) {
		bounded, cancel := context.WithTimeout(ctx, callLimit)
		defer cancel()
		if buried {
			// Msg.Term does not wait for an answer; the server gives one.
			_, err = r.conn.RequestWithContext(bounded, msg.Reply(), []byte("+TERM not understood"))
		} else {
			err = msg.DoubleAck(bounded)
		}
		if err = confirmed(bounded, r.set.stream, err); err == nil {
			r.meter.Acked(1)
		}
		return err
	})
}

func confirmed(ctx context.Context, stream string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fault.New(fault.Unavailable, "nats.Ack", stream, errors.New("no answer in time"))
	}
	return fail(ctx, "nats.Ack", stream, err)
}

// beat tells the server that messages are in progress.
func (s *Source) beat(ctx context.Context, held []jetstream.Msg) (lost []jetstream.Msg, err error) {
	for _, m := range held {
		switch failed := m.InProgress(); {
		case errors.Is(failed, jetstream.ErrMsgAlreadyAckd):
			lost = append(lost, m)
		case failed != nil:
			err = fail(ctx, "nats.InProgress", s.set.stream, failed)
			s.meter.Refused(err)
		}
	}
	return lost, err
}
