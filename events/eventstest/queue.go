package eventstest

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// A Queue is one on a vendor's server that nobody else uses, as the tests of
// RunQueue need it.
type Queue struct {
	Open events.Opener
	// Options of a source that holds a message for 2 s between two beats.
	Options func(more ...string) events.Options
	Long    events.Options                 // of one that holds it for longer than a test lasts
	Send    func(keys ...string)           // messages that these objects were created
	Left    func() int                     // messages in the queue, in hand or not
	Others  func() (received int, e error) // by another receiver, without waiting for long
}

// RunQueue runs the tests of what all sources share that hold messages for a
// time, each on a queue of its own.
func RunQueue(t *testing.T, open func(t *testing.T) Queue) {
	for name, test := range map[string]func(*testing.T, Queue){"held-while-the-sink-blocks": testHeld, "refused-comes-again": testRefused, "end-gives-back": testEnd} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// While the sink blocks, longer than a message is held without a beat, nobody
// else gets the messages, not even those that the sink has not seen; and after
// several beats they can still be removed.
func testHeld(t *testing.T, q Queue) {
	q.Send("a", "b", "c")
	open := make(chan struct{})
	sink := &Sink{Before: func(ctx context.Context, _ []events.Notice) error {
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	src, _ := Start(t, q.Open, q.Options(), sink)
	Until(t, "all are in hand", func() bool { return sink.Calls() == 3 })
	for began := time.Now(); time.Since(began) < 6*time.Second; time.Sleep(50 * time.Millisecond) {
		n, err := q.Others()
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			t.Fatalf("another receiver got %d messages after %v", n, time.Since(began))
		}
	}
	if st := src.Status(); st.Acked != 0 || st.Received != 3 || q.Left() != 3 {
		t.Errorf("before the sink has them: status %+v, %d left", st, q.Left())
	}
	close(open)
	Until(t, "all are removed", func() bool { return src.Status().Acked == 3 })
	if n := q.Left(); n != 0 || sink.Calls() != 3 {
		t.Errorf("%d left, %d deliveries", n, sink.Calls())
	}
}

// What the sink refuses comes again, and is buried when it came too often.
func testRefused(t *testing.T, q Queue) {
	q.Send("a", "never")
	var refusals atomic.Int32
	sink := &Sink{Before: func(_ context.Context, n []events.Notice) error {
		if n[0].Key == "never" || refusals.Add(1) <= 2 {
			return fault.New(fault.Unavailable, "sink", "", errors.New("the ledger is away"))
		}
		return nil
	}}
	src, _ := Start(t, q.Open, q.Options("max_receives", "2"), sink)
	Until(t, "one is taken and the other buried", func() bool { return src.Status().Acked == 2 })
	if keys := sink.Keys(); keys["a"] != 1 || keys["never"] != 0 {
		t.Errorf("taken: %v", keys)
	}
	if l := sink.Letters(); len(l) != 1 || l[0].Tries != 3 || !strings.Contains(l[0].Why, "away") || !strings.Contains(string(l[0].Body), "never") {
		t.Errorf("buried %+v", l)
	}
	if n := q.Left(); n != 0 {
		t.Errorf("%d left", n)
	}
}

// What was in hand at the end comes again soon, and nothing that the sink took
// comes again.
func testEnd(t *testing.T, q Queue) {
	q.Send("a", "b")
	blocked := &Sink{Before: func(ctx context.Context, n []events.Notice) error {
		if n[0].Key == "a" {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}}
	src, stop := Start(t, q.Open, q.Long, blocked)
	Until(t, "one is taken and one in hand", func() bool { return blocked.Calls() == 2 && src.Status().Acked == 1 })
	stop()
	sink := new(Sink)
	src, _ = Start(t, q.Open, q.Options(), sink)
	Until(t, "the other comes again", func() bool { return src.Status().Acked == 1 })
	if keys := sink.Keys(); keys["b"] != 1 || keys["a"] != 0 {
		t.Errorf("taken after the end: %v", keys)
	}
}
