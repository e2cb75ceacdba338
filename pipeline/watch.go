package pipeline

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

const (
	defaultSweep = 10 * time.Minute // local folders; polled stores set their own
	toldSweep    = time.Hour        // at least, where events are told
	leaseLook    = time.Second      // how often a node looks whether a unit is its to watch
)

// runUnit watches and sweeps one unit for as long as it is served and this
// node holds the unit's slot. A unit without a RealTime scan is not watched.
func (p *Pipeline) runUnit(ctx context.Context, u *unit) {
	if len(u.Scans) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-u.cancel:
			cancel()
		case <-ctx.Done():
		}
	})
	defer wg.Wait()
	slot := ledger.SlotOf(u.ID, "")
	for ctx.Err() == nil {
		if p.o.Ledger.Lease(slot).Before(time.Now()) {
			if sleep(ctx, leaseLook) != nil {
				return
			}
			continue
		}
		p.watchUnit(ctx, u, slot)
	}
}

// watchUnit runs the source and the sweeper of u until ctx ends or the lease is lost.
func (p *Pipeline) watchUnit(ctx context.Context, u *unit, slot uint8) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { p.source(ctx, u) })
	wg.Go(func() { p.sweeper(ctx, u) })
	for ctx.Err() == nil && p.o.Ledger.Lease(slot).After(time.Now()) {
		if sleep(ctx, leaseLook) != nil {
			return
		}
	}
}

// source runs the unit's watcher, if it has one, again and again. The sweep at
// the start finds what happened before the watch stood.
func (p *Pipeline) source(ctx context.Context, u *unit) {
	backoff := time.Second
	for again := false; ctx.Err() == nil; again = true {
		if again {
			u.ask("") // for what happened while nobody watched
		}
		st, err := p.o.Storages.Get(u.Name)
		if err == nil && !st.Caps().Watch {
			return
		}
		if err == nil {
			var cursor string
			if cursor, err = p.o.Ledger.Cursor(ctx, u.ID, "watch"); err == nil {
				began := time.Now()
				err = st.Watch(ctx, cursor, p.emit(u, "watch"))
				if time.Since(began) > time.Minute {
					backoff = time.Second
				}
			}
		}
		if ctx.Err() != nil {
			return
		}
		u.setFault(err)
		p.log.Warn("watch ended", "unit", u.Name, "err", err, "again_in", backoff)
		if sleep(ctx, jitter(backoff)) != nil {
			return
		}
		backoff = min(2*backoff, time.Minute)
	}
}

// sweeper sweeps the unit when asked, when its interval is over, and again
// soon after a sweep that failed.
func (p *Pipeline) sweeper(ctx context.Context, u *unit) {
	every := u.SweepEvery
	if every <= 0 {
		every = defaultSweep
	}
	if u.told() {
		every = max(every, toldSweep)
	}
	retry := time.Second
	next := time.NewTimer(0) // every unit is swept once at start
	defer next.Stop()
	for {
		prefix := ""
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		case prefix = <-u.sweep:
		}
		u.mu.Lock()
		u.sweeping++
		u.mu.Unlock()
		stats, err := p.sweep(ctx, u, prefix)
		u.mu.Lock()
		u.sweeping--
		if err == nil && prefix == "" && !stats.Resumed {
			u.swept = true
		}
		u.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		u.setFault(err)
		if p.o.Swept != nil {
			p.o.Swept(u.Name, stats, err)
		}
		switch {
		case err != nil:
			p.log.Warn("sweep failed", "unit", u.Name, "err", err, "again_in", retry)
			reset(next, jitter(retry))
			retry = min(2*retry, every)
		case prefix == "":
			p.log.Info("swept", "unit", u.Name, "listed", stats.Listed, "new", stats.New, "changed", stats.Changed,
				"missing", stats.Missing, "gaps", stats.Gaps, "took", stats.Took.Round(time.Millisecond))
			retry = time.Second
			if stats.Resumed {
				reset(next, 0)
			} else {
				reset(next, every)
			}
		}
	}
}

// told says whether somebody tells of every change: sweeps then only find what
// was lost on the way.
func (u *unit) told() bool {
	return !slices.ContainsFunc(u.Scans, func(s ledger.Scan) bool { return !s.Events })
}

// ask wants prefix swept. Where too many are wanted already, the whole unit is.
func (u *unit) ask(prefix string) {
	select {
	case u.sweep <- prefix:
	default:
		// Full: make room and ask for everything, which covers all that was asked for.
		select {
		case <-u.sweep:
		default:
		}
		select {
		case u.sweep <- "":
		default:
		}
	}
}

// setFault remembers why the unit does not work; nil clears it.
func (u *unit) setFault(err error) {
	if fault.Canceled(err) {
		return
	}
	u.mu.Lock()
	u.fault = err
	u.mu.Unlock()
}

// pause stops picking up entries of u for a while that grows while it stays down.
func (u *unit) pause(now time.Time, err error) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now.After(u.down) {
		u.backoff = min(max(2*u.backoff, time.Second), time.Minute)
		u.down = now.Add(jitter(u.backoff))
	}
	u.fault = err
	return u.down
}

// well says that the unit answered.
func (u *unit) well() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.backoff != 0 {
		u.backoff, u.down, u.fault = 0, time.Time{}, nil
	}
}

func (u *unit) downUntil() time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.down
}

func jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(rand.Int64N(int64(d)))
}

// reset sets a timer that may have fired unread.
func reset(t *time.Timer, d time.Duration) {
	t.Stop()
	select {
	case <-t.C:
	default:
	}
	t.Reset(d)
}
