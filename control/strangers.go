package control

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// strangersRows is how many audit rows those who did not say who they are make us
// write in an hour.
const strangersRows = 200

// A quota bounds what is written down for strangers. Its zero value is ready.
type quota struct {
	mu     sync.Mutex
	hour   time.Time
	taken  int
	missed int
}

// take asks for one more; missed is how many were refused in the hours before.
func (q *quota) take(now time.Time) (missed int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Sub(q.hour) >= time.Hour {
		missed, q.missed = q.missed, 0
		q.hour, q.taken = now, 0
	}
	if q.taken == strangersRows {
		q.missed++
		return 0, false
	}
	q.taken++
	return missed, true
}

// turns let one at a time through for each user, so that many guesses at once
// are as slow as one after the other. Its zero value is ready.
type turns struct {
	mu   sync.Mutex
	held map[ledger.ID]*turn
}

type turn struct {
	free chan struct{} // holds one when nobody is in
	want int
}

// maxTurns is how many may wait for one user.
const maxTurns = 100

var errBusy = errors.New("too many try to log in as this user at once")

// take waits for the turn at id, which done gives back. fault.Throttled if too
// many wait.
func (t *turns) take(ctx context.Context, id ledger.ID) (done func(), err error) {
	t.mu.Lock()
	if t.held == nil {
		t.held = map[ledger.ID]*turn{}
	}
	at := t.held[id]
	if at == nil {
		at = &turn{free: make(chan struct{}, 1)}
		at.free <- struct{}{}
		t.held[id] = at
	}
	if at.want == maxTurns {
		t.mu.Unlock()
		return nil, &fault.Error{Op: "control.Authenticate", Kind: fault.Throttled, After: time.Second, Err: errBusy}
	}
	at.want++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if at.want--; at.want == 0 {
			delete(t.held, id)
		}
	}
	select {
	case <-at.free:
		return func() { at.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
