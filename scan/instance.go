package scan

import (
	"context"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// An Instance is an engine at an address. Give it to one Pool, which keeps
// what it learns of it: health, proof, load, faults.
type Instance struct {
	Name   string // within its pool
	URL    string // as configured, without secrets
	Engine Engine
	Limit  int // samples in work at once; 0 = 64

	state state // guarded by the pool's mutex
}

// Bounds of an instance.
const (
	defaultLimit = 64
	tripAfter    = 5           // faults Unavailable in a row that open the breaker
	halveEvery   = time.Second // a burst of refusals is one signal
	maxThrottle  = 5 * time.Minute
)

// state is what a pool knows of an instance. Its methods need the pool's mutex.
type state struct {
	health   Health
	probed   time.Time
	proof    *Proof    // of the last run that came to an end; nil before
	proven   bool      // the proof stands, for the engine as it is now
	proofErr error     // why there is none
	told     time.Time // when somebody was told last that it is down; zero = it is not
	settled  bool      // it proved itself, or failed to, since the start
	tried    time.Time
	guard    guard // from proof
	stale    bool  // definitions older than the pool allows, or of unknown age where that matters
	undated  bool  // definitions have no date to hold against the pool's bound

	inFlight int
	limit    float64 // present bound on inFlight, 1 … Instance.Limit
	ramp     bool    // limit is on its way back up, fast, after an outage
	halved   time.Time
	until    time.Time // throttled until then
	faults   int       // Unavailable, in a row
	open     bool      // the breaker; a good probe and proof close it

	scans, failed uint64
	last          error // the last fault
}

// usable says whether the instance may be asked, now or when it has room.
func (s *state) usable(now time.Time) bool {
	return s.health.Ready && s.proven && !s.open && !now.Before(s.until)
}

// room says whether one more sample fits.
func (s *state) room() bool { return float64(s.inFlight)+1 <= s.limit }

// load orders instances: the least loaded is asked.
func (s *state) load() float64 { return float64(s.inFlight)/s.limit + s.health.Load/8 }

// learn takes in how a scan ended. It reports whether readiness changed: the
// breaker opened, or the engine asked for a pause.
func (s *state) learn(err error, limit int, now time.Time) (changed bool) {
	switch {
	case err == nil:
		s.scans++
		s.faults = 0
		step := 1 / s.limit // one more for each round
		if s.ramp {
			step = 0.25
		}
		s.limit = min(float64(limit), s.limit+step)
		return false
	case fault.Canceled(err):
		return false
	}
	s.failed++
	s.last = err
	switch fault.KindOf(err) {
	case fault.Throttled:
		if now.Sub(s.halved) >= halveEvery {
			s.halved, s.ramp, s.limit = now, false, max(1, s.limit/2)
		}
		if after := min(fault.AfterOf(err), maxThrottle); after > 0 && now.Add(after).After(s.until) {
			s.until = now.Add(after)
			return true
		}
	case fault.Unavailable:
		s.faults++
		if s.faults >= tripAfter && !s.open {
			s.trip(limit)
			return true
		}
	}
	return false
}

// trip opens the breaker. The engine may come back as another one, so its
// proof falls with it; and it comes back to an eighth of the load.
func (s *state) trip(limit int) {
	s.open, s.proven, s.ramp = true, false, true
	s.limit = max(1, float64(limit)/8)
}

// close ends the breaker's open state after a good probe and proof.
func (s *state) close() { s.open, s.faults = false, 0 }

// ask scans s with the engine, under g, which was made for it, and completes
// the report. It costs the engine no call where g knows the answer.
func (in *Instance) ask(ctx context.Context, g guard, s Sample) (Report, error) {
	if rep, ok := in.refuse(g, s); ok {
		return rep, nil
	}
	var w watch
	began := time.Now()
	rep, err := in.Engine.Scan(ctx, w.over(s, g.sniffs()))
	if failed := w.failed(); failed != nil {
		return Report{}, &readError{failed} // whatever the engine made of it
	}
	if rep, err = in.complete(g, rep, err, began); err != nil || rep.Verdict != Clean {
		return rep, err
	}
	if w.unread() != 0 {
		return in.notScanned(rep, EngineError, "the engine called it clean before it had read it all"), nil
	}
	if g.sniffs() {
		return in.walk(ctx, g, s, w.looks(), rep)
	}
	return rep, nil
}

// refuse answers for the engine where it is known not to look.
func (in *Instance) refuse(g guard, s Sample) (Report, bool) {
	if g.size > 0 && s.Size > g.size {
		return in.notScanned(Report{Engine: in.Name}, TooLarge, ""), true
	}
	return Report{}, false
}

// complete fills in what an engine need not say and holds what it said against
// the rules: a report without a verdict is an error, stale definitions find but
// do not clear.
func (in *Instance) complete(g guard, rep Report, err error, began time.Time) (Report, error) {
	if err != nil {
		return Report{}, err
	}
	if rep.Took == 0 {
		rep.Took = time.Since(began)
	}
	if rep.Engine == "" {
		rep.Engine = in.Name
	}
	switch rep.Verdict {
	case Clean:
		switch {
		case g.stale:
			rep = in.notScanned(rep, StaleDefinitions, "")
		case g.timeout > 0 && rep.Took >= g.timeout:
			rep = in.notScanned(rep, Timeout, "") // it may have stopped looking then
		}
	case NotScanned:
		if rep.Reason == "" {
			rep.Reason = EngineError
		}
	case Suspicious, Infected:
	default:
		return Report{}, &fault.Error{Op: "scan.Instance", On: in.Name, Kind: fault.Internal, Reason: string(EngineError)}
	}
	if rep.Engines == 0 {
		rep.Engines = 1
	}
	if rep.Code == 0 {
		rep.Code = Code(rep.Verdict, rep.Reason)
	}
	if len(rep.Details) > MaxDetails {
		rep.Details = rep.Details[:MaxDetails]
	}
	if len(rep.Members) > MaxDetails {
		rep.Members = rep.Members[:MaxDetails]
	}
	return rep, nil
}

// notScanned turns rep into not_scanned(r); path is the member that is to
// blame, if one is.
func (in *Instance) notScanned(rep Report, r Reason, path string) Report {
	rep.Verdict, rep.Reason, rep.Code = NotScanned, r, Code(NotScanned, r)
	if path != "" && len(rep.Members) < MaxDetails {
		rep.Members = append(rep.Members, Member{Path: path, Verdict: NotScanned, Reason: r})
	}
	return rep
}

// A readError is the sample's own: no engine is to blame for it.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }
