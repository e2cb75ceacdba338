package events

import (
	"context"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// A Receiver receives the messages of a queue whose vendor hands each out for a
// time. It asks for them while there is room, keeps what came from being handed
// to others, carries it to a sink, and tells the vendor how that went. The
// functions are the vendor's calls.
type Receiver[M comparable] struct {
	Source      string // its name
	Meter       *Meter
	InHand      int           // messages received and not yet removed
	MaxReceives int           // see Meter.Take
	Retry       time.Duration // see Brake
	Fresh, Span time.Duration // how long a message is ours on receipt, and after a beat

	// Poll receives up to n messages, Batch at the most. The first call does not
	// wait for any: whether there is such a queue is to be known soon. If none
	// came, the next call is made after pause.
	Poll  func(ctx context.Context, n int, first bool) (msgs []M, pause time.Duration, err error)
	Batch int
	// Read makes of a message what is carried to the sink.
	Read func(M) Message
	// Beat is a Keeper's.
	Beat func(ctx context.Context, held []M) (lost []M, err error)
	// Remove has the vendor never hand out messages again, and counts those for
	// Meter. It is called with up to Removal of them, by Removers at a time.
	Remove            func(ctx context.Context, msgs []M) error
	Removal, Removers int
	// GiveBack lets a message come again after that time, 0 at the end of Run.
	GiveBack func(ctx context.Context, m M, after time.Duration) error
}

// Run receives until ctx ends. A queue that does not exist or may not be read
// at the first try ends it too: NotFound, Denied, Invalid.
func (r *Receiver[M]) Run(ctx context.Context, sink Sink) error {
	defer r.Meter.Closed()
	run := &receiving[M]{Receiver: r, sink: sink, room: make(Room, r.InHand), done: make(chan M, r.InHand)}
	run.brake.Retry = r.Retry
	run.keeper = Keeper[M]{Span: r.Span, Beat: func(ctx context.Context, held []M) ([]M, error) {
		bounded, cancel := context.WithTimeout(ctx, min(CallLimit, r.Span/3))
		defer cancel()
		return r.Beat(bounded, held)
	}}

	beating, stopBeats := context.WithCancel(context.WithoutCancel(ctx))
	var helpers sync.WaitGroup
	helpers.Go(func() { run.keeper.Run(beating) })
	for range r.Removers {
		helpers.Go(func() { run.remove(ctx) })
	}
	err := run.receive(ctx)
	run.takers.Wait()
	close(run.done)
	stopBeats()
	helpers.Wait()
	return err
}

// receiving is what one Run of a Receiver holds.
type receiving[M comparable] struct {
	*Receiver[M]
	sink   Sink
	keeper Keeper[M]
	brake  Brake
	room   Room
	takers sync.WaitGroup
	done   chan M // may be removed; has room for all in hand
}

// receive polls, and starts a taker for each message.
func (r *receiving[M]) receive(ctx context.Context) error {
	back := Backoff{First: 500 * time.Millisecond, Most: 30 * time.Second}
	for first := true; ; {
		if err := r.brake.Wait(ctx); err != nil {
			return err
		}
		n, err := r.room.Take(ctx, r.Batch)
		if err != nil {
			return err
		}
		msgs, wait, err := r.Poll(ctx, n, first)
		r.room.Leave(n - len(msgs))
		switch {
		case err == nil:
			r.Meter.Connected()
			back.Reset()
			first = false
		case ctx.Err() != nil:
			return ctx.Err()
		case first && fault.Is(err, fault.Invalid, fault.Denied, fault.NotFound):
			r.Meter.Lost(err)
			return err
		default:
			r.Meter.Lost(err)
			if err := back.Wait(ctx, err); err != nil {
				return err
			}
			continue
		}
		if len(msgs) == 0 {
			if err := pause(ctx, wait); err != nil {
				return err
			}
			continue
		}
		r.Meter.Received(len(msgs))
		r.keeper.Hold(time.Now().Add(r.Fresh-r.Span), msgs...)
		for _, m := range msgs {
			r.takers.Go(func() { r.take(ctx, m) })
		}
	}
}

// take carries one message to the sink, and to done; or gives it back.
func (r *receiving[M]) take(ctx context.Context, m M) {
	msg := r.Read(m)
	_, err := r.Meter.Take(ctx, r.sink, r.Source, msg, r.MaxReceives)
	if err == nil {
		r.brake.Took()
		r.done <- m
		return
	}
	r.keeper.Drop(m)
	var after time.Duration
	if ctx.Err() == nil {
		after = r.brake.Refused(msg.Tries)
	}
	bounded, cancel := Detached(ctx)
	defer cancel()
	if err := r.GiveBack(bounded, m, after); err != nil { // then it comes again when its time is over
		r.Meter.Refused(err)
	}
	r.room.Leave(1)
}

// remove removes what is done, as many in a call as queued up while the call
// before ran, until done is closed.
func (r *receiving[M]) remove(ctx context.Context) {
	for m := range r.done {
		msgs := []M{m}
	more:
		for len(msgs) < r.Removal {
			select {
			case m, open := <-r.done:
				if !open {
					break more
				}
				msgs = append(msgs, m)
			default:
				break more
			}
		}
		r.Meter.Settle(ctx, func(ctx context.Context) error { return r.Remove(ctx, msgs) })
		for _, m := range msgs {
			r.keeper.Drop(m)
		}
		r.room.Leave(len(msgs))
	}
}

// Room has a place for each message that may be in hand.
type Room chan struct{}

// Take waits for one place at least, and takes as many as there are, up to most.
func (r Room) Take(ctx context.Context, most int) (int, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case r <- struct{}{}:
	}
	for n := 1; ; n++ {
		if n == most {
			return n, nil
		}
		select {
		case r <- struct{}{}:
		default:
			return n, nil
		}
	}
}

// Leave gives places back.
func (r Room) Leave(n int) {
	for range n {
		<-r
	}
}
