package pipeline

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// A load is how many entries are pending, of a unit or of all: what was counted
// last, what came since, and what is on its way into the ledger.
type load struct {
	mu              sync.Mutex
	pending, coming int64
	counted         time.Time
}

// add notes events that are on their way.
func (l *load) add(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.coming += n
}

// arrived notes that of n events that were on their way some are pending now.
func (l *load) arrived(n, pending int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.coming -= n
	l.pending += pending
}

// How old a count may be, and near a limit. Between two counts it is never too
// low by what this process took in.
const (
	countEvery = time.Second
	countNear  = 50 * time.Millisecond
)

// count returns how many are pending or on their way.
func (l *load) count(now time.Time, limit int64, count func() (int64, error)) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	age := now.Sub(l.counted)
	if age >= countEvery || age >= countNear && l.pending+l.coming >= limit/2 {
		n, err := count()
		if err != nil {
			return 0, err
		}
		l.pending, l.counted = n, now
	}
	return l.pending + l.coming, nil
}

// takes says whether u may take more events. The push backlog is for all units
// together, and where there are several no unit may hold more of it than is
// still free: one that floods stops at a half of it, two at a third each, and
// there is always room for those that have little. A sweep stops at limit, too.
func (p *Pipeline) takes(ctx context.Context, u *unit, limit int64) (bool, error) {
	if p.o.Full != nil && p.o.Full() {
		return false, nil
	}
	bound := p.o.Bounds.PushBacklog
	total, err := p.load.count(p.now(), bound, func() (int64, error) { return p.o.Ledger.Backlog(ctx, 0) })
	if err != nil {
		return false, err
	}
	free := bound - total
	if p.several() {
		limit = min(limit, free)
	}
	n, err := u.load.count(p.now(), limit, func() (int64, error) { return p.o.Ledger.Backlog(ctx, u.ID) })
	return free > 0 && n < limit, err
}

// several says whether more than one unit is served.
func (p *Pipeline) several() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.units) > 1
}

// waitRoom blocks while there is no room for events of u.
func (p *Pipeline) waitRoom(ctx context.Context, u *unit, limit int64) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		if ok, err := p.takes(ctx, u, limit); ok || err != nil {
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// haveRoom is waitRoom for who does not wait: fault.Throttled if there is none.
func (p *Pipeline) haveRoom(ctx context.Context, u *unit) error {
	ok, err := p.takes(ctx, u, p.o.Bounds.PushBacklog)
	if err == nil && !ok {
		err = &fault.Error{Op: "pipeline.Offer", On: u.Name, Kind: fault.Throttled, After: tryAgain, Err: errors.New("the backlog is full")}
	}
	return err
}

// tryAgain is when there may be room again.
const tryAgain = 5 * time.Second
