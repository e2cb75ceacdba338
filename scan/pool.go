package scan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// PoolOptions are what a Pool is made of.
type PoolOptions struct {
	Name      string
	Instances []*Instance // each in one pool only
	Failover  *Pool       // asked where no instance of this one can be; not run nor closed by this one
	// Walker looks into archives for engines that are silent about their limits.
	// Without one, the archives that such engines call clean are not_scanned(unsupported).
	Walker Walker
	// MaxDefinitionsAge makes a clean from older definitions
	// not_scanned(stale_definitions). 0 = no bound.
	MaxDefinitionsAge time.Duration
	// AgeAsked says that somebody asked for that age: then definitions of unknown
	// age are stale too, and ageless ones are held to their date if they have one.
	AgeAsked    bool
	ProbeEvery  time.Duration // of a ready instance; default 5 s
	ProbeDown   time.Duration // of one that is not, at first; default 1 s, doubling up to ProbeEvery
	CanaryEvery time.Duration // default 1 h
	Log         *slog.Logger  // default: none
}

// A Pool is a group of instances that shares load and fails over. Make one
// with NewPool, keep it alive with Run.
type Pool struct {
	o     PoolOptions
	log   *slog.Logger
	slow  sync.WaitGroup // goroutines of Submit
	kicks []chan struct{}

	mu      sync.Mutex
	begun   time.Time       // when Run began, or NewPool was called
	waiters []chan struct{} // for room, oldest first
	changed chan struct{}   // closed and made anew when readiness may have changed
	timer   *time.Timer     // wakes when a throttled instance may be asked again
	leaving bool            // Drain was called: nothing more is taken
}

// NewPool returns a pool none of whose instances is ready: Run or Check make
// them prove themselves.
func NewPool(o PoolOptions) *Pool {
	def := func(p *time.Duration, d time.Duration) {
		if *p <= 0 {
			*p = d
		}
	}
	def(&o.ProbeEvery, 5*time.Second)
	def(&o.ProbeDown, time.Second)
	def(&o.CanaryEvery, time.Hour)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pool{o: o, log: o.Log.With("pool", o.Name), changed: make(chan struct{}), begun: time.Now()}
	for _, in := range o.Instances {
		if in.Limit <= 0 {
			in.Limit = defaultLimit
		}
		in.state.limit = float64(in.Limit)
		in.state.health.Detail = "not asked yet"
		p.kicks = append(p.kicks, make(chan struct{}, 1))
	}
	return p
}

// Name returns the pool's name.
func (p *Pool) Name() string { return p.o.Name }

// Scan has one instance inspect s, the least loaded that is ready. It waits
// while all are full. Where one cannot be reached or has no time the next is
// asked, then the failover pool, but not before each instance had the time to
// prove itself after a start. It returns fault.Unavailable with the reason
// engine_unavailable where nobody is left.
func (p *Pool) Scan(ctx context.Context, s Sample) (Report, error) {
	return p.scan(ctx, s, nil, nil)
}

// scan goes on after the instances in tried failed, the latest with last.
func (p *Pool) scan(ctx context.Context, s Sample, tried map[int]bool, last error) (Report, error) {
	for {
		i, g, err := p.acquire(ctx, tried)
		if err != nil {
			return p.without(ctx, s, last, err)
		}
		in := p.o.Instances[i]
		rep, err := in.ask(ctx, g, s)
		p.release(i, err)
		if err == nil || !retriable(ctx, err) {
			return rep, unwrapRead(err)
		}
		if tried == nil {
			tried = make(map[int]bool)
		}
		tried[i], last = true, err
	}
}

// without answers where no instance is left.
func (p *Pool) without(ctx context.Context, s Sample, last, err error) (Report, error) {
	switch f := p.spare(); {
	case ctx.Err() != nil:
		return Report{}, ctx.Err()
	case f != nil:
		return f.Scan(ctx, s)
	case last != nil:
		return Report{}, last
	}
	return Report{}, err
}

// Submit is Scan for many small samples at once: see Batcher. It blocks while
// all instances are full. done may be called before Submit returns.
func (p *Pool) Submit(ctx context.Context, s Sample, done func(Report, error)) error {
	i, g, err := p.acquire(ctx, nil)
	if err != nil {
		if f := p.spare(); ctx.Err() == nil && f != nil {
			return f.Submit(ctx, s, done)
		}
		return err
	}
	in := p.o.Instances[i]
	if rep, ok := in.refuse(g, s); ok {
		p.release(i, nil)
		done(rep, nil)
		return nil
	}
	b, ok := in.Engine.(Batcher)
	if !ok || s.File == nil || g.sniffs() && g.walks(sniffFile(s)) {
		p.slow.Go(func() {
			rep, err := in.ask(ctx, g, s)
			p.release(i, err)
			if err != nil && retriable(ctx, err) {
				rep, err = p.scan(ctx, s, map[int]bool{i: true}, err)
			}
			done(rep, unwrapRead(err))
		})
		return nil
	}
	began := time.Now()
	err = b.Submit(ctx, s, func(rep Report, err error) {
		rep, err = in.complete(g, rep, err, began)
		p.release(i, err)
		if err != nil && retriable(ctx, err) {
			p.slow.Go(func() { done(p.scan(ctx, s, map[int]bool{i: true}, err)) })
			return
		}
		done(rep, err)
	})
	if err != nil {
		p.release(i, err)
		if !retriable(ctx, err) {
			return err
		}
		p.slow.Go(func() { done(p.scan(ctx, s, map[int]bool{i: true}, err)) })
	}
	return nil
}

// Batches says whether every instance takes small local files without a
// goroutine for each.
func (p *Pool) Batches() bool {
	for _, in := range p.o.Instances {
		if _, ok := in.Engine.(Batcher); !ok {
			return false
		}
	}
	return len(p.o.Instances) > 0
}

// retriable says whether another instance may do better.
func retriable(ctx context.Context, err error) bool {
	var r *readError
	return ctx.Err() == nil && !errors.As(err, &r) && fault.Is(err, fault.Unavailable, fault.Throttled)
}

func unwrapRead(err error) error {
	var r *readError
	if errors.As(err, &r) {
		return r.err
	}
	return err
}

// acquire takes a place at the least loaded instance that is not in tried.
func (p *Pool) acquire(ctx context.Context, tried map[int]bool) (int, guard, error) {
	for {
		p.mu.Lock()
		best, any := p.best(tried)
		if best >= 0 {
			st := &p.o.Instances[best].state
			st.inFlight++
			g := st.guard
			p.mu.Unlock()
			return best, g, nil
		}
		var settled <-chan time.Time
		if !any {
			wait := p.settling()
			if wait <= 0 {
				p.mu.Unlock()
				return 0, guard{}, p.noneReady()
			}
			settled = time.After(wait)
		}
		room := make(chan struct{}, 1)
		p.waiters = append(p.waiters, room)
		p.mu.Unlock()
		select {
		case <-room:
		case <-settled:
			p.leave(room)
		case <-ctx.Done():
			p.leave(room)
			return 0, guard{}, ctx.Err()
		}
	}
}

// best returns the instance to ask, or -1, and whether any could be with room.
func (p *Pool) best(tried map[int]bool) (best int, usable bool) {
	best = -1
	if p.leaving {
		return best, false
	}
	now := time.Now()
	var load float64
	for i, in := range p.o.Instances {
		st := &in.state
		if tried[i] || !st.usable(now) {
			continue
		}
		usable = true
		if !st.room() {
			continue
		}
		if l := st.load(); best < 0 || l < load || l == load && rand.Uint32()&1 == 0 {
			best, load = i, l
		}
	}
	return best, usable
}

// leave takes a waiter out; a wake-up that it got already goes to the next.
func (p *Pool) leave(room chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, w := range p.waiters {
		if w == room {
			p.waiters = append(p.waiters[:i], p.waiters[i+1:]...)
			return
		}
	}
	p.wakeOne()
}

func (p *Pool) wakeOne() {
	if len(p.waiters) > 0 {
		p.waiters[0] <- struct{}{}
		p.waiters = p.waiters[1:]
	}
}

// wake lets everybody look again.
func (p *Pool) wake() {
	for len(p.waiters) > 0 {
		p.wakeOne()
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// release gives a place back with how the scan ended.
func (p *Pool) release(i int, err error) {
	in := p.o.Instances[i]
	var read *readError
	if errors.As(err, &read) {
		err = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	in.state.inFlight--
	if p.leaving {
		p.wake()
	}
	limit := int(in.state.limit)
	if !in.state.learn(err, in.Limit, time.Now()) {
		for p.wakeOne(); limit < int(in.state.limit); limit++ {
			p.wakeOne()
		}
		return
	}
	p.log.Warn("engine paused", "instance", in.Name, "err", err)
	p.wake()
	if wait := time.Until(in.state.until); wait > 0 {
		p.rouse(wait)
	}
	select {
	case p.kicks[i] <- struct{}{}:
	default:
	}
}

// rouse wakes waiters when a throttled instance may be asked again.
func (p *Pool) rouse(wait time.Duration) {
	if p.timer != nil {
		p.timer.Stop()
	}
	p.timer = time.AfterFunc(wait, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.wake()
	})
}

// noneReady is what Scan returns where no instance can be asked.
func (p *Pool) noneReady() error {
	e := &fault.Error{Op: "scan.Pool", On: p.o.Name, Kind: fault.Unavailable, Reason: string(EngineUnavailable)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leaving {
		e.Err = errLeaving
		return e
	}
	for _, in := range p.o.Instances {
		if st := &in.state; st.health.Ready && st.proven && !st.open {
			e.Kind, e.After = fault.Throttled, time.Until(st.until)
		} else if e.Err == nil {
			e.Err = errors.New(in.Name + ": " + st.detail())
		}
	}
	return e
}

// Ready says whether some instance, here or in the failover pool, can be asked now.
func (p *Pool) Ready() bool {
	p.mu.Lock()
	_, ok := p.best(nil)
	p.mu.Unlock()
	return ok || p.spare() != nil
}

// settleWithin is how long a pool with a failover waits, from its start, for
// instances of which it does not know yet whether they can be asked. It is less
// than what commands wait for their pools.
const settleWithin = 25 * time.Second

// settling returns how long the failover pool has to wait at most, for
// instances that have neither proven themselves nor failed to since the start. It
// needs the mutex.
func (p *Pool) settling() time.Duration {
	if p.o.Failover == nil {
		return 0
	}
	return p.unsettled()
}

// unsettled is settling, whether or not there is a failover pool.
func (p *Pool) unsettled() time.Duration {
	if p.leaving {
		return 0
	}
	for _, in := range p.o.Instances {
		if !in.state.settled {
			return time.Until(p.begun.Add(settleWithin))
		}
	}
	return 0
}

// spare returns the failover pool if it is ready and its time has come, or nil.
func (p *Pool) spare() *Pool {
	p.mu.Lock()
	wait, leaving := p.settling(), p.leaving
	p.mu.Unlock()
	if f := p.o.Failover; wait <= 0 && !leaving && f != nil && f.Ready() {
		return f
	}
	return nil
}

// Wait returns nil when the pool is ready. It costs nothing to wait.
func (p *Pool) Wait(ctx context.Context) error {
	for {
		p.mu.Lock()
		_, ok := p.best(nil)
		changed, wait := p.changed, p.settling()
		p.mu.Unlock()
		if ok {
			return nil
		}
		var other <-chan struct{}
		if f := p.o.Failover; wait <= 0 && f != nil {
			other = f.Changed()
			if f.Ready() {
				return nil
			}
		}
		select {
		case <-changed:
		case <-other:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Changed is closed when readiness may have changed; ask again for the next.
func (p *Pool) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// Sanitizer returns what can hand out the disarmed copy of a report that this
// pool gave, nil if none of its instances can.
func (p *Pool) Sanitizer(rep Report) Sanitizer {
	for _, in := range p.o.Instances {
		if s, ok := in.Engine.(Sanitizer); ok && in.gave(rep) {
			return s
		}
	}
	return nil
}

// gave says whether the report names this instance.
func (in *Instance) gave(rep Report) bool {
	if s, ok := in.Engine.(fmt.Stringer); ok && s.String() == rep.Engine {
		return true
	}
	return rep.Engine == in.Name
}
