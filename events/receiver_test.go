package events

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// A queueStandIn stands in for a vendor: it hands out numbers, as many as are
// asked for, and never again what was given back.
type queueStandIn struct {
	mu      sync.Mutex
	waiting int
	hand    int // handed out, neither removed nor given back
	most    int // of hand
	polls   []time.Time
	removed [][]int
	back    map[int]time.Duration
	refuse  error // of Remove
	fail    error // of Poll
}

func (q *queueStandIn) receiver(m *Meter) *Receiver[int] {
	return &Receiver[int]{
		Source: "s", Meter: m, InHand: 7, MaxReceives: 3, Retry: 5 * time.Second, Fresh: time.Minute, Span: time.Minute,
		Batch: 5, Removal: 4, Removers: 1,
		Poll: func(ctx context.Context, n int, first bool) ([]int, time.Duration, error) {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.polls = append(q.polls, time.Now())
			if q.fail != nil {
				return nil, 0, q.fail
			}
			var msgs []int
			for ; len(msgs) < n && q.waiting > 0; q.waiting-- {
				msgs = append(msgs, q.waiting)
			}
			q.hand += len(msgs)
			q.most = max(q.most, q.hand)
			return msgs, 3 * time.Second, nil
		},
		Read: func(int) Message {
			return Message{Tries: 1, Parse: func() ([]Notice, error) { return []Notice{{Key: "k"}}, nil }}
		},
		Beat: func(context.Context, []int) ([]int, error) { return nil, nil },
		Remove: func(_ context.Context, msgs []int) error {
			time.Sleep(10 * time.Millisecond)
			q.mu.Lock()
			defer q.mu.Unlock()
			q.removed = append(q.removed, slices.Clone(msgs))
			if q.refuse == nil {
				q.hand -= len(msgs)
			}
			return q.refuse
		},
		GiveBack: func(_ context.Context, m int, after time.Duration) error {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.hand--
			q.back[m] = after
			return nil
		},
	}
}

// run runs until done, for that time.
func (q *queueStandIn) run(t *testing.T, s Sink, for_ time.Duration) (Status, error) {
	t.Helper()
	q.back = make(map[int]time.Duration)
	var m Meter
	ctx, cancel := context.WithTimeout(t.Context(), for_)
	defer cancel()
	err := q.receiver(&m).Run(ctx, s)
	return m.Status(), err
}

// There is never more in hand than may be, each message is removed once, as many
// in a call as are done, and an empty queue is asked again after its pause.
func TestReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queueStandIn{waiting: 100}
		if status, err := q.run(t, sink{}, 20*time.Second); !errors.Is(err, context.DeadlineExceeded) || status.Received != 100 || status.Connected {
			t.Errorf("%+v, %v", status, err)
		}
		var all []int
		together := 0
		for _, msgs := range q.removed {
			all, together = append(all, msgs...), max(together, len(msgs))
		}
		slices.Sort(all)
		if len(all) != 100 || len(slices.Compact(all)) != 100 || q.hand != 0 || q.most > 7 || together != 4 {
			t.Errorf("%d removed, %d left in hand, %d at once, %d in a call", len(all), q.hand, q.most, together)
		}
		if n := len(q.polls); q.polls[n-1].Sub(q.polls[n-2]) != 3*time.Second {
			t.Errorf("polls at %v", q.polls)
		}
	})
}

// What the sink refuses comes again later, and what it has not answered at the
// end at once.
func TestReceiverGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := fault.New(fault.Unavailable, "sink", "", nil)
		q := &queueStandIn{waiting: 3}
		if _, _ = q.run(t, sink{deliver: away}, 20*time.Second); len(q.back) != 3 || q.back[1] < time.Second || len(q.removed) != 0 {
			t.Errorf("given back after %v, removed %v", q.back, q.removed)
		}
		q = &queueStandIn{waiting: 3}
		if _, _ = q.run(t, blocking{}, 20*time.Second); len(q.back) != 3 || q.back[1] != 0 || len(q.removed) != 0 {
			t.Errorf("at the end: given back after %v, removed %v", q.back, q.removed)
		}
	})
}

// blocking is a sink that is full.
type blocking struct{ sink }

func (blocking) Deliver(ctx context.Context, _ string, _ []Notice) error {
	<-ctx.Done()
	return ctx.Err()
}

// A queue that cannot be used ends Run, one that went away does not.
func TestReceiverFirstTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, kind := range []fault.Kind{fault.Invalid, fault.Denied, fault.NotFound} {
			q := &queueStandIn{fail: fault.New(kind, "q", "", nil)}
			if _, err := q.run(t, sink{}, time.Hour); !fault.Is(err, kind) || len(q.polls) != 1 {
				t.Errorf("%v: %v after %d polls", kind, err, len(q.polls))
			}
		}
		q := &queueStandIn{fail: fault.New(fault.Unavailable, "q", "", nil)}
		if _, err := q.run(t, sink{}, time.Hour); !errors.Is(err, context.DeadlineExceeded) || len(q.polls) < 100 || len(q.polls) > 300 {
			t.Errorf("away: %v after %d polls in an hour", err, len(q.polls))
		}
	})
}

// Telling the vendor is tried a few times, but not what it has taken back.
func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for kind, want := range map[fault.Kind]int{fault.Unavailable: 5, fault.Changed: 1} {
			q := &queueStandIn{waiting: 1, refuse: fault.New(kind, "q", "", nil)}
			if _, _ = q.run(t, sink{}, time.Minute); len(q.removed) != want {
				t.Errorf("%v: tried %d times, want %d", kind, len(q.removed), want)
			}
		}
	})
}
