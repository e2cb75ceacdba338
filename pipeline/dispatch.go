package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// pickAtMost bounds the entries that one PickUp takes, so that units take turns.
const pickAtMost = 256

// idleLook is the longest that the dispatcher sleeps without looking.
const idleLook = 5 * time.Second

// dispatch picks up due entries while there is room and hands them to the
// workers of their lane; units take turns. What is left in the lanes when ctx
// ends is given back.
func (p *Pipeline) dispatch(ctx context.Context) error {
	defer func() {
		close(p.burst.in)
		close(p.ready[ledger.Large])
		close(p.ready[ledger.Alone])
	}()
	turn := 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, err := p.fill(ctx, turn)
		turn++
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			p.log.Error("pick up", "err", err)
			wait = time.Second
		}
		if wait <= 0 {
			continue
		}
		reset(timer, wait)
		select {
		case <-ctx.Done():
			return nil
		case <-p.o.Ledger.Changed():
		case <-p.freed:
		case <-p.moved:
		case <-timer.C:
		}
	}
}

// fill gives each unit a turn in each lane and says how long to wait before
// the next look; 0 means at once.
func (p *Pipeline) fill(ctx context.Context, turn int) (time.Duration, error) {
	due, err := p.o.Ledger.Due(ctx)
	if err != nil {
		return 0, err
	}
	now := p.now()
	wait := idleLook
	later := func(t time.Time) { wait = min(wait, max(t.Sub(now), time.Millisecond)) }
	units := p.list()
	more := false
	for i := range units {
		u := units[(i+turn)%len(units)]
		lanes, any := due[u.ID]
		if !any {
			continue
		}
		if down := u.downUntil(); down.After(now) {
			later(down)
			continue
		}
		if !p.someReady(u) {
			later(now.Add(200 * time.Millisecond))
			continue
		}
		for lane, t := range lanes {
			if t.IsZero() {
				continue
			}
			if t.After(now) {
				later(t)
				continue
			}
			to := p.ready[lane]
			if ledger.Lane(lane) == ledger.Small && p.bursts(u) {
				to = p.burst.in
			}
			room := p.room(ledger.Lane(lane), to)
			if room == 0 {
				continue // freed wakes us
			}
			n := min(room, pickAtMost)
			got, err := p.o.Ledger.PickUp(ctx, u.ID, ledger.Lane(lane), n)
			if err != nil {
				return 0, err
			}
			for j := range got {
				if err := p.hand(ctx, &got[j], to); err != nil {
					p.giveBack(got[j:], p.now())
					return 0, err
				}
			}
			if len(got) == n {
				more = true
			} else if len(got) == 0 {
				later(now.Add(100 * time.Millisecond)) // due, but its key is in work or held
			}
		}
	}
	if more {
		return 0, nil
	}
	return wait, nil
}

// room says how many entries of lane may be picked up for c now.
func (p *Pipeline) room(lane ledger.Lane, c chan job) int {
	if lane == ledger.Alone {
		if p.alone.Load() {
			return 0
		}
		return 1
	}
	if free := cap(c) - len(c); free >= cap(c)/2 {
		return free
	}
	return 0
}

func (p *Pipeline) hand(ctx context.Context, e *ledger.Entry, c chan job) error {
	if e.Lane == ledger.Alone {
		p.alone.Store(true)
	}
	select {
	case c <- job{e: e}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// work takes entries of one lane to their end.
func (p *Pipeline) work(ctx context.Context, lane ledger.Lane) {
	c := p.ready[lane]
	for j := range c {
		if lane != ledger.Alone && len(c) <= cap(c)/2 {
			signal(p.freed)
		}
		if ctx.Err() != nil {
			p.leave(j)
			continue
		}
		p.process(ctx, j)
		if lane == ledger.Alone {
			p.alone.Store(false)
			signal(p.freed)
		}
	}
}

// giveBackWithin bounds how long a stopping pipeline tries to give back.
const giveBackWithin = 5 * time.Second

// giveBack returns entries to the ledger as if they had not been picked up.
func (p *Pipeline) giveBack(entries []ledger.Entry, due time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), giveBackWithin)
	defer cancel()
	for i := range entries {
		if err := p.o.Ledger.GiveBack(ctx, &entries[i], due, false); err != nil && !fault.Is(err, fault.Stale) {
			p.log.Warn("give back", "entry", entries[i].ID, "err", err)
		}
	}
}

// process carries one entry as far as it goes now and sees to what comes after.
func (p *Pipeline) process(ctx context.Context, j job) {
	e := j.e
	u := p.unit(e.Unit)
	if u == nil {
		p.leave(j)
		return
	}
	u, err := p.under(ctx, u, e)
	if err == nil {
		err = p.carry(ctx, u, e, j.x)
	} else {
		j.x.release()
	}
	if e.State == ledger.Finished {
		p.passwords.forget(e.ID)
	}
	if err == nil {
		u.well()
		if p.o.Finished != nil && e.State == ledger.Finished {
			p.o.Finished(e)
		}
		return
	}
	if fault.Is(err, fault.Stale) {
		// Another node's, mostly. Where only the lease had become too short and is
		// ours still, nobody else would take it up.
		p.log.Debug("no longer ours", "unit", u.Name, "entry", e.ID)
		p.giveBack([]ledger.Entry{*e}, p.now().Add(jitter(time.Second)))
		return
	}
	if ctx.Err() != nil {
		p.giveBack([]ledger.Entry{*e}, p.now())
		return
	}
	if err := p.again(ctx, u, e, err); err != nil && !fault.Is(err, fault.Stale) {
		p.log.Error("entry stays in work until the next start", "unit", u.Name, "entry", e.ID, "err", err)
	}
}

// carry takes e to the end, from wherever an earlier attempt, or a burst, left it.
func (p *Pipeline) carry(ctx context.Context, u *unit, e *ledger.Entry, x *exam) error {
	defer x.release()
	st, err := p.o.Storages.Get(u.Name)
	if err != nil {
		return &unitDown{err}
	}
	var end ledger.End
	if e.State == ledger.Pending {
		if end, err = p.examine(ctx, st, u, e, x); err != nil { // stat, scan, decide, plan; changes nothing
			return err
		}
		if x.at(moved) {
			return p.finished(ctx, st, e, end, ledger.ErrMoved)
		}
		if !e.Plan.Open() {
			return p.finish(ctx, st, e, end) // one commit for a clean object
		}
		begun, err := p.begin(ctx, st, e) // durable before any change
		if err != nil || !begun {
			return err
		}
	}
	return p.act(ctx, st, u, e, end)
}

// errSnooze says: not now, look again after the time; it is no failure.
type errSnooze struct {
	until time.Time
	lane  ledger.Lane
	why   string
}

func (s *errSnooze) Error() string { return "not yet: " + s.why }

// unitDown wraps an error that concerns the unit, not the object.
type unitDown struct{ err error }

func (d *unitDown) Error() string { return d.err.Error() }
func (d *unitDown) Unwrap() error { return d.err }

// poolDown wraps an error that concerns a pool, not the object.
type poolDown struct{ err error }

func (d *poolDown) Error() string { return d.err.Error() }
func (d *poolDown) Unwrap() error { return d.err }

// again gives e back for another attempt, or ends it as failed.
func (p *Pipeline) again(ctx context.Context, u *unit, e *ledger.Entry, err error) error {
	now := p.now()
	var snooze *errSnooze
	var unit *unitDown
	var pool *poolDown
	switch {
	case errors.As(err, &snooze):
		e.Lane = snooze.lane
		return p.o.Ledger.GiveBack(ctx, e, snooze.until, false)
	case errors.Is(err, ledger.ErrHeld):
		e.Version = "" // the plan that holds the key may have made it: ask the inventory then
		return p.o.Ledger.GiveBack(ctx, e, now.Add(jitter(500*time.Millisecond)), false)
	case errors.As(err, &unit):
		until := u.pause(now, err)
		p.log.Warn("unit does not answer", "unit", u.Name, "err", err, "again_at", until)
		e.Error = err.Error()
		return p.o.Ledger.GiveBack(ctx, e, until, false)
	case errors.As(err, &pool):
		e.Error = err.Error()
		return p.o.Ledger.GiveBack(ctx, e, now.Add(jitter(time.Second)), false)
	}
	e.Error = err.Error()
	e.Tell(now, "attempt", err.Error())
	if permanent(err) || e.Attempts >= p.o.Bounds.Attempts ||
		now.Sub(e.Discovered) > p.o.Bounds.AttemptsFor && e.Attempts > 3 {
		return p.fail(ctx, e, err)
	}
	p.log.Warn("again later", "unit", u.Name, "key", e.Key, "entry", e.ID, "attempt", e.Attempts, "err", err)
	return p.o.Ledger.GiveBack(ctx, e, now.Add(max(backoff(e.Attempts), fault.AfterOf(err))), true)
}

// backoff is the wait before attempt n+1: 1 s doubling to 2 h, with jitter.
func backoff(n int) time.Duration {
	d := time.Second << min(max(n-1, 0), 13)
	return jitter(min(d, 2*time.Hour))
}

// permanent says whether another attempt can only end the same way.
func permanent(err error) bool {
	return fault.Is(err, fault.Invalid, fault.Unsupported, fault.Internal)
}
