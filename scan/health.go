package scan

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// Bounds of looking after instances.
const (
	probeTimeout = 5 * time.Second
	proveTimeout = 2 * time.Minute
	proveAgain   = 30 * time.Second // after an engine failed its canaries
	tellAgain    = 30 * time.Second // that objects wait for an engine
)

// Run keeps the pool's knowledge of its instances up to date until ctx ends:
// probes all the time, canaries at first, hourly, and whenever an engine has
// another version, other definitions or other limits, or comes back.
func (p *Pool) Run(ctx context.Context) error {
	p.mu.Lock()
	p.begun = time.Now()
	p.mu.Unlock()
	var wg sync.WaitGroup
	if p.o.Failover != nil {
		wg.Go(func() { p.settled(ctx) })
	}
	for i := range p.o.Instances {
		wg.Go(func() { p.look(ctx, i) })
	}
	wg.Wait()
	return nil
}

func (p *Pool) look(ctx context.Context, i int) {
	down := p.o.ProbeDown
	for ctx.Err() == nil {
		wait := down
		if p.check(ctx, i) {
			wait, down = p.o.ProbeEvery, p.o.ProbeDown
		} else {
			down = min(2*down, p.o.ProbeEvery)
		}
		wait += time.Duration((rand.Float64() - 0.5) * 0.4 * float64(wait)) // not all at the same time
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-p.kicks[i]:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// Check probes every instance once, has those prove themselves that have not,
// and reports whether the pool is ready: for commands that run no pool.
func (p *Pool) Check(ctx context.Context) bool {
	var wg sync.WaitGroup
	for i := range p.o.Instances {
		wg.Go(func() { p.check(ctx, i) })
	}
	wg.Wait()
	return p.Ready()
}

// check probes an instance and, where it is due, has it prove itself. It
// reports whether the instance is ready.
func (p *Pool) check(ctx context.Context, i int) bool {
	in := p.o.Instances[i]
	pctx, cancel := context.WithTimeout(ctx, probeTimeout)
	h, err := in.Engine.Probe(pctx)
	cancel()
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		h = Health{Detail: err.Error()}
	}
	if !p.probed(in, h) {
		if !h.Ready {
			p.tell(in, h.Detail)
		}
		return false
	}
	pctx, cancel = context.WithTimeout(ctx, proveTimeout)
	proof, err := Prove(pctx, in.Engine, h.Limits)
	cancel()
	if ctx.Err() != nil {
		return false
	}
	return p.proved(in, h, proof, err)
}

// probed takes in a probe and reports whether canaries are due.
func (p *Pool) probed(in *Instance, h Health) (prove bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	st, now := &in.state, time.Now()
	was := st.usable(now)
	other := h.Version != st.health.Version || h.Definitions != st.health.Definitions || h.Limits != st.health.Limits
	st.probed = now
	switch {
	case !h.Ready:
		p.settle(st)
		st.trip(in.Limit) // when it comes back it may be another
		st.health = h
	case !st.proven || other || now.Sub(st.proof.Time) >= p.o.CanaryEvery:
		if st.proofErr != nil && !other && now.Sub(st.tried) < proveAgain {
			break // it failed just now
		}
		prove, st.tried = true, now
		if !st.proven {
			st.health = h
		}
	default:
		st.health = h
	}
	p.aged(in, h, now)
	if was != st.usable(now) {
		p.wake()
	}
	return prove
}

// proved takes in how the canaries went, for an engine in the health h.
func (p *Pool) proved(in *Instance, h Health, proof *Proof, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := &in.state
	was := st.usable(time.Now())
	switch {
	case err == nil:
		st.settled = true // who waits is woken below
		if !was {
			p.log.Info("engine ready", "instance", in.Name, "version", h.Version, "definitions", h.Definitions)
		}
		st.health, st.proof, st.proofErr, st.proven, st.told = h, proof, nil, true, time.Time{}
		st.guard = newGuard(proof, h.Limits, p.o.Walker, st.stale)
		st.close()
	case errors.Is(err, ErrBlind), errors.Is(err, ErrFalseAlarm):
		p.log.Error("engine failed its canaries", "instance", in.Name, "err", err)
		p.settle(st)
		st.proven, st.proofErr = false, err
	default: // it could not be asked; what was proven stands until it is due again
		p.log.Warn("canaries could not be run", "instance", in.Name, "err", err)
		st.last = err
		if !st.proven && !fault.Is(err, fault.Unavailable, fault.Throttled) {
			st.proofErr = err
		}
	}
	now := st.usable(time.Now())
	if was != now {
		p.wake()
	}
	return now
}

// settled tells who waits that the failover pool need wait no longer.
func (p *Pool) settled(ctx context.Context) {
	t := time.NewTimer(settleWithin)
	defer t.Stop()
	select {
	case <-t.C:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.wake()
	case <-ctx.Done():
	}
}

// settle notes that an instance cannot be asked: the failover pool may be.
func (p *Pool) settle(st *state) {
	if !st.settled {
		st.settled = true
		p.wake()
	}
}

// tell says that an instance is down: at once, and again from time to time as
// long as nobody can take its place.
func (p *Pool) tell(in *Instance, why string) {
	waits := !p.Ready()
	p.mu.Lock()
	defer p.mu.Unlock()
	st, now := &in.state, time.Now()
	if st.told.IsZero() || waits && now.Sub(st.told) >= tellAgain {
		st.told = now
		if why == "" {
			why = "not ready"
		}
		if waits {
			why += "; objects wait"
		}
		p.log.Warn("engine " + in.Name + ": " + why)
	}
}

// What operators are told of the age of definitions.
const (
	undatedDefinitions = "definitions have no date: their age cannot be checked (max_definitions_age)"
	staleUndated       = "definitions have no date, and max_definitions_age asks for one: nothing counts as clean"
)

// aged holds the definitions against the pool's bound, and tells of what is new.
func (p *Pool) aged(in *Instance, h Health, now time.Time) {
	st := &in.state
	if !h.Ready { // nothing is known of its definitions
		st.stale, st.guard.stale = false, false
		return
	}
	was := *st
	st.stale, st.undated = p.tooOld(h, now)
	st.guard.stale = st.stale
	switch {
	case st.stale && !was.stale:
		p.log.Warn(p.aging(st), "instance", in.Name)
	case st.undated && !was.undated:
		p.log.Warn(undatedDefinitions, "instance", in.Name)
	}
}

// tooOld says whether the definitions are past the pool's bound, and whether
// there is a bound and no date to hold against it.
func (p *Pool) tooOld(h Health, now time.Time) (stale, undated bool) {
	switch {
	case p.o.MaxDefinitionsAge <= 0, h.Ageless && (h.DefinedAt.IsZero() || !p.o.AgeAsked):
		return false, false
	case h.DefinedAt.IsZero():
		return p.o.AgeAsked, true
	}
	return now.Sub(h.DefinedAt) > p.o.MaxDefinitionsAge, false
}

// aging says what is wrong with the age of the definitions.
func (p *Pool) aging(st *state) string {
	switch {
	case st.stale && st.undated:
		return staleUndated
	case st.stale:
		return fmt.Sprintf("definitions are older than %s (max_definitions_age): nothing counts as clean", p.o.MaxDefinitionsAge)
	case st.undated:
		return undatedDefinitions
	}
	return ""
}

// Definitions names what the ready instances know, those of a ready failover
// pool included: "" where one does not say, and then nothing may be cached.
func (p *Pool) Definitions() string {
	p.mu.Lock()
	var known []string
	unknown := false
	now := time.Now()
	for _, in := range p.o.Instances {
		if st := &in.state; st.usable(now) {
			known = append(known, st.health.Version+"/"+st.health.Definitions)
			unknown = unknown || st.health.Definitions == ""
		}
	}
	p.mu.Unlock()
	if f := p.spare(); f != nil {
		d := f.Definitions()
		known = append(known, "failover:"+d)
		unknown = unknown || d == ""
	}
	if unknown {
		return ""
	}
	slices.Sort(known)
	return strings.Join(slices.Compact(known), ",")
}

// detail says why an instance is not usable.
func (s *state) detail() string {
	switch {
	case s.health.Detail != "":
		return s.health.Detail
	case s.proofErr != nil:
		return s.proofErr.Error()
	case s.open && s.last != nil:
		return s.last.Error()
	case !s.proven:
		return "has not proven itself yet"
	}
	return ""
}

// PoolStatus is a pool as operators see it.
type PoolStatus struct {
	Name        string           `json:"name"`
	Ready       bool             `json:"ready"`
	Clears      bool             `json:"clears"` // ready, and a clean of its counts: not all are stale
	Definitions string           `json:"definitions,omitempty"`
	Waiting     int              `json:"waiting"` // samples that wait for room
	Instances   []InstanceStatus `json:"instances"`
	Failover    string           `json:"failover,omitempty"`
	Spare       bool             `json:"on_failover,omitempty"` // only the failover pool can be asked now
}

// InstanceStatus is an instance as operators see it.
type InstanceStatus struct {
	Name     string    `json:"name"`
	URL      string    `json:"url"`
	Ready    bool      `json:"ready"`
	Detail   string    `json:"detail,omitempty"` // why not, or what its answers are worth
	Health   Health    `json:"health"`
	Probed   time.Time `json:"probed,omitzero"`
	Proof    *Proof    `json:"proof,omitempty"`
	Stale    bool      `json:"stale,omitempty"`   // definitions older than the pool allows: nothing is clean
	Undated  bool      `json:"undated,omitempty"` // there is a bound, and no date to hold against it
	Breaker  string    `json:"breaker"`           // closed, open
	Until    time.Time `json:"until,omitzero"`    // throttled until then
	InFlight int       `json:"in_flight"`
	Limit    int       `json:"limit"` // present bound on in_flight
	Scans    uint64    `json:"scans"`
	Failed   uint64    `json:"failed"`
	Last     string    `json:"last_fault,omitempty"`
}

// Status returns what the pool knows.
func (p *Pool) Status() PoolStatus {
	ps := PoolStatus{Name: p.o.Name, Ready: p.Ready(), Clears: p.clears(), Definitions: p.Definitions()}
	if p.o.Failover != nil {
		ps.Failover = p.o.Failover.Name()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	ps.Waiting = len(p.waiters)
	now := time.Now()
	ps.Spare = ps.Ready
	for _, in := range p.o.Instances {
		st := &in.state
		is := InstanceStatus{
			Name: in.Name, URL: in.URL, Ready: st.usable(now), Health: st.health, Probed: st.probed, Proof: st.proof,
			Stale: st.stale, Undated: st.undated, Breaker: "closed", InFlight: st.inFlight, Limit: int(st.limit), Scans: st.scans, Failed: st.failed,
		}
		if is.Detail = p.aging(st); !is.Ready {
			is.Detail = st.detail()
		}
		ps.Spare = ps.Spare && !is.Ready
		if st.open {
			is.Breaker = "open"
		}
		if now.Before(st.until) {
			is.Until = st.until
		}
		if st.last != nil {
			is.Last = st.last.Error()
		}
		ps.Instances = append(ps.Instances, is)
	}
	return ps
}

// clears says whether a clean of the pool counts now: the instance that is
// asked is not stale, or no instance can be asked and the failover pool clears.
func (p *Pool) clears() bool {
	p.mu.Lock()
	usable, fresh := false, false
	now := time.Now()
	for _, in := range p.o.Instances {
		if st := &in.state; st.usable(now) {
			usable, fresh = true, fresh || !st.stale
		}
	}
	p.mu.Unlock()
	if f := p.spare(); !usable && f != nil {
		return f.clears()
	}
	return fresh
}

// Close waits for what Submit started and closes the engines. The pool must
// not be used, nor run, any more.
func (p *Pool) Close() error {
	p.slow.Wait()
	p.mu.Lock()
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	var err error
	for _, in := range p.o.Instances {
		err = errors.Join(err, in.Engine.Close())
	}
	return err
}
