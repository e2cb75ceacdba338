package pipeline

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/workflow"
)

const (
	settleMax = 15 * time.Minute // default of Unit.SettleMax
	settleMin = 20 * time.Millisecond
)

// A job is an entry for a worker, and how far a burst has taken it.
type job struct {
	e *ledger.Entry
	x *exam // nil = nowhere
}

// An exam is the examination of an entry. nil is one that has not begun.
type exam struct {
	stage stage
	rd    connectors.Reader
	info  object.Info
	c     *content
	free  func() // gives back what it holds of the bytes in work
	rep   scan.Report
	err   error // of the stage
	end   ledger.End
	e     *ledger.Entry // in a burst
	u     *unit
	st    *connectors.Storage
}

// A stage is how far an exam has come.
type stage uint8

const (
	begun     stage = iota
	opened          // rd is open
	scanned         // rep or err says what of
	concluded       // end or err says what of
	moved           // and Finish found that an event had come in
)

func (x *exam) at(s stage) bool { return x != nil && x.stage >= s }

// release closes what x holds open; nothing of it is lost by then.
func (x *exam) release() {
	if x != nil && x.rd != nil {
		x.rd.Close()
		x.free()
		x.rd = nil
	}
}

// examine finds out what e is and what is to be done about it, from where x has
// come to. It changes nothing but e: settle, stat, filter, open, scan, recheck,
// decide, plan.
func (p *Pipeline) examine(ctx context.Context, st *connectors.Storage, u *unit, e *ledger.Entry, x *exam) (ledger.End, error) {
	if !x.at(opened) {
		fresh, end, err := p.prepare(ctx, st, u, e)
		if fresh == nil {
			return end, err
		}
		x = fresh
		defer x.release()
	}
	if x.at(concluded) {
		return x.end, x.err
	}
	if !x.at(scanned) {
		x.rep, x.err = p.inspect(ctx, u, e, x.c)
	}
	return p.conclude(ctx, st, u, e, x)
}

// prepare finds and opens what is to be scanned. It returns no exam if e is
// done without, or err says why not.
func (p *Pipeline) prepare(ctx context.Context, st *connectors.Storage, u *unit, e *ledger.Entry) (x *exam, end ledger.End, err error) {
	e.Report, e.Plan, e.Error, e.By = nil, nil, "", ""
	e.Verdict, e.Reason, e.Threat, e.Outcome, e.Decision = scan.None, "", "", "", ""
	e.SHA256 = nil
	if e.Cancel {
		e.Outcome, e.Verdict, e.Reason = ledger.OutcomeCanceled, scan.NotScanned, scan.Canceled
		return nil, ledger.End{}, nil
	}
	if e.Crashes >= p.o.Bounds.Crashes {
		e.Error = "the process died each time this object was in work"
		end, done, err := p.digest(ctx, st, u, e)
		if !done && err == nil {
			end, err = p.judge(ctx, st, u, e, scan.Report{Verdict: scan.NotScanned, Reason: scan.EngineCrash})
		}
		return nil, end, err
	}
	hint := e.Version
	rd, info, end, err := p.open(ctx, st, u, e)
	if rd == nil {
		return nil, end, err
	}
	defer func() {
		if x == nil {
			rd.Close()
		}
	}()
	if (hint != info.Version || u.Versions == "all" || u.receives.Load() || p.o.Shared) && !e.Force && e.ScanType == ledger.RealTime {
		// The hint was of another version, or of none, so that intake could not drop
		// it; or it was of one that we wrote ourselves, and overtook the record of
		// that. Perhaps what is there now is known already.
		row, ok, err := p.o.Ledger.Row(ctx, u.ID, e.Key)
		if err != nil {
			return nil, end, err
		}
		if ok && row.Version == info.Version && !row.Baseline {
			e.Version, e.Outcome = info.Version, ledger.OutcomeDone
			if e.Cause == Told {
				note(e, info)
				e.Verdict, e.Reason = row.Verdict, row.Reason
				return nil, ledger.End{}, nil
			}
			return nil, ledger.End{Known: true}, nil
		}
	}
	note(e, info)
	if _, excluded := u.Workflow.Excluded(e.Key, info.Size, info.ModTime); excluded {
		end, err = p.judge(ctx, st, u, e, scan.Report{Verdict: scan.NotScanned, Reason: scan.Filtered})
		return nil, end, err
	}
	if info.Size >= p.o.Bounds.LargeSize && e.Lane == ledger.Small {
		return nil, end, &errSnooze{until: p.now(), lane: ledger.Large, why: "large"}
	}
	weight := min(max(info.Size, 4096), p.o.Bounds.LargeSize)
	if err := p.bytes.Acquire(ctx, weight); err != nil {
		return nil, end, err
	}
	c := &content{st: st, ref: object.Ref{Unit: u.Name, Key: e.Key, Version: info.Version}, size: info.Size, first: rd}
	return &exam{stage: opened, rd: rd, info: info, c: c, end: end, free: func() { p.bytes.Release(weight) }}, end, nil
}

// conclude makes an outcome of what the engines said.
func (p *Pipeline) conclude(ctx context.Context, st *connectors.Storage, u *unit, e *ledger.Entry, x *exam) (ledger.End, error) {
	if x.err != nil {
		return p.unread(ctx, st, u, e, x.err)
	}
	if file, ok := x.rd.(connectors.FileReader); ok {
		same, err := p.unchanged(ctx, st, file, x.info, e)
		if err != nil {
			return p.unread(ctx, st, u, e, err)
		}
		if !same {
			return p.superseded(ctx, st, u, e)
		}
	}
	open := x.end
	end, err := p.judge(ctx, st, u, e, x.rep)
	if open.Provisional {
		end.Provisional = true
		e.By = "provisional: somebody has the object open for writing; it is looked at again at each sweep"
	}
	if err == nil && u.Versions == "all" {
		// An older version has no place in the inventory.
		now, serr := st.Stat(ctx, object.Ref{Unit: u.Name, Key: e.Key})
		if serr != nil && !fault.Is(serr, fault.NotFound) {
			return end, serr
		}
		end.Current = serr == nil && now.Version == e.Version
	}
	return end, err
}

// note writes what a look said into e.
func note(e *ledger.Entry, info object.Info) {
	if e.Version != info.Version {
		e.Version = info.Version
	}
	e.Size, e.ModTime = info.Size, info.ModTime
}

// open looks at the object and opens the version that is current. Where it
// returns no reader, e has been judged, or err says why not.
func (p *Pipeline) open(ctx context.Context, st *connectors.Storage, u *unit, e *ledger.Entry) (_ connectors.Reader, _ object.Info, end ledger.End, _ error) {
	ref := object.Ref{Unit: u.Name, Key: e.Key}
	if u.Versions == "all" {
		ref.Version = e.Version
	}
	fail := func(err error) (connectors.Reader, object.Info, ledger.End, error) {
		end, err := p.unread(ctx, st, u, e, err)
		return nil, object.Info{}, end, err
	}
	// What has been written for long is not looked at all the time.
	waits := func(wait time.Duration) error {
		age := p.now().Sub(e.Discovered)
		if wait <= 0 || age >= orElse(u.SettleMax, settleMax) {
			return nil
		}
		return &errSnooze{until: p.now().Add(max(wait, settleMin, min(age/4, settleLook))), lane: e.Lane, why: "not fully written"}
	}
	if rd, wait := p.openSettled(ctx, st, ref); rd != nil {
		if err := waits(wait); err != nil {
			rd.Close()
			return nil, rd.Info(), ledger.End{}, err
		}
		return rd, rd.Info(), ledger.End{Provisional: wait > 0}, nil
	}
	if !st.Caps().ReadIsVersion {
		info, err := st.Stat(ctx, ref)
		if err != nil {
			return fail(err)
		}
		if end, done, err := p.unfit(ctx, st, u, e, info); done || err != nil {
			return nil, info, end, err
		}
		if st.Caps().Settle {
			wait, err := st.Settled(ctx, info)
			if err != nil {
				return fail(err)
			}
			if err := waits(wait); err != nil {
				return nil, info, ledger.End{}, err
			}
			end.Provisional = wait > 0
		}
		ref.Version = info.Version
	}
	rd, err := st.Open(ctx, ref, 0)
	if err != nil {
		if fault.Is(err, fault.Changed) && !st.Caps().ReadIsVersion {
			return nil, object.Info{}, ledger.End{}, &errSnooze{until: p.now().Add(settleMin), lane: e.Lane, why: "changed between look and open"}
		}
		return fail(err)
	}
	info := rd.Info()
	if end, done, err := p.unfit(ctx, st, u, e, info); done || err != nil {
		rd.Close()
		return nil, info, end, err
	}
	return rd, info, end, nil
}

// openSettled opens a file whose handle can say whether it is fully written,
// and how long to wait if it is not. It returns no reader where there is no such
// handle, or anything is out of the ordinary: who looks step by step will find out.
func (p *Pipeline) openSettled(ctx context.Context, st *connectors.Storage, ref object.Ref) (connectors.Reader, time.Duration) {
	if c := st.Caps(); c.ReadIsVersion || !c.Settle || ref.Version != "" {
		return nil, 0
	}
	rd, err := st.Open(ctx, ref, 0)
	if err != nil {
		return nil, 0
	}
	if s, ok := rd.(connectors.SettledReader); ok {
		if wait, err := s.Settled(); err == nil && rd.Info().Kind == object.Regular && !rd.Info().Cold {
			return rd, wait
		}
	}
	rd.Close()
	return nil, 0
}

// unfit judges what cannot be opened at all.
func (p *Pipeline) unfit(ctx context.Context, st *connectors.Storage, u *unit, e *ledger.Entry, info object.Info) (ledger.End, bool, error) {
	reason := scan.Reason("")
	switch {
	case info.Kind == object.Marker:
		end, err := p.gone(e)
		return end, true, err
	case info.Kind != object.Regular:
		reason = scan.NotRegular
	case info.Cold:
		reason = scan.ColdTier
	default:
		return ledger.End{}, false, nil
	}
	note(e, info)
	end, err := p.judge(ctx, st, u, e, scan.Report{Verdict: scan.NotScanned, Reason: reason})
	return end, true, err
}

// unread makes an outcome of an error that concerns the object, and passes on
// the others: of the unit, of the engines, of us.
func (p *Pipeline) unread(ctx context.Context, st *connectors.Storage, u *unit, e *ledger.Entry, err error) (ledger.End, error) {
	if ctx.Err() != nil {
		return ledger.End{}, ctx.Err()
	}
	if pool := new(poolDown); errors.As(err, &pool) {
		return ledger.End{}, err
	}
	switch fault.KindOf(err) {
	case fault.NotFound:
		if u.Versions == "all" && e.Version != "" {
			return p.goneVersion(ctx, st, e)
		}
		return p.gone(e)
	case fault.Changed:
		return p.superseded(ctx, st, u, e)
	case fault.Denied:
		reason := scan.Reason(fault.ReasonOf(err))
		if reason == "" {
			reason = scan.AccessDenied
		}
		e.Error = err.Error()
		return p.judge(ctx, st, u, e, scan.Report{Verdict: scan.NotScanned, Reason: reason})
	}
	if engine := new(engineFault); errors.As(err, &engine) {
		switch r := scan.Reason(fault.ReasonOf(err)); r {
		case "", scan.EngineError, scan.EngineUnavailable:
			return ledger.End{}, err
		case scan.EngineCrash, scan.Timeout:
			if e.Attempts < lastTry {
				return ledger.End{}, err
			}
			fallthrough
		default:
			e.Error = err.Error()
			return p.judge(ctx, st, u, e, scan.Report{Verdict: scan.NotScanned, Reason: r})
		}
	}
	if fault.Is(err, fault.Unavailable, fault.Throttled) && p.reachable(ctx, st) != nil {
		return ledger.End{}, &unitDown{err}
	}
	if r := scan.Reason(fault.ReasonOf(err)); r != "" {
		e.Error = err.Error()
		return p.judge(ctx, st, u, e, scan.Report{Verdict: scan.NotScanned, Reason: r})
	}
	return ledger.End{}, err
}

// lastTry is the attempt at which an object that kills or hangs engines is
// given up: not_scanned, with the reason.
const lastTry = 3

// reachable asks the unit for the first entry of its listing.
func (p *Pipeline) reachable(ctx context.Context, st *connectors.Storage) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, err := range st.List(ctx, "", "") {
		var gap *connectors.Gap
		if errors.As(err, &gap) {
			return nil
		}
		return err
	}
	return nil
}

// gone ends an entry whose object is not there.
func (p *Pipeline) gone(e *ledger.Entry) (ledger.End, error) {
	e.Outcome, e.Verdict, e.Reason, e.Decision = ledger.OutcomeGone, scan.NotScanned, scan.Gone, ""
	return ledger.End{Gone: true}, nil
}

// goneVersion ends an entry whose version is not there. The key may well be: only
// a look without a version tells, and what is known of it stays if so.
func (p *Pipeline) goneVersion(ctx context.Context, st *connectors.Storage, e *ledger.Entry) (ledger.End, error) {
	_, err := st.Stat(ctx, object.Ref{Unit: e.UnitName, Key: e.Key})
	if err != nil && !fault.Is(err, fault.NotFound) {
		return ledger.End{}, err
	}
	end, gerr := p.gone(e)
	end.Gone = err != nil
	return end, gerr
}

// superseded ends an entry whose version was replaced and makes the version
// that is there now pending in the same transaction.
func (p *Pipeline) superseded(ctx context.Context, st *connectors.Storage, u *unit, e *ledger.Entry) (ledger.End, error) {
	info, err := st.Stat(ctx, object.Ref{Unit: u.Name, Key: e.Key})
	if fault.Is(err, fault.NotFound) {
		return p.gone(e)
	}
	if err != nil {
		return ledger.End{}, err
	}
	e.Outcome, e.Verdict, e.Reason, e.Decision = ledger.OutcomeSuperseded, scan.NotScanned, scan.Superseded, ""
	next := p.look(u, e, info)
	next.Force = e.Force
	return ledger.End{Next: next}, nil
}

// unchanged says whether the file is still the version that info names, from
// its open handle. A token that moved only in what metadata can move is
// confirmed by reading the bytes again.
func (p *Pipeline) unchanged(ctx context.Context, st *connectors.Storage, f connectors.FileReader, info object.Info, e *ledger.Entry) (bool, error) {
	after, err := f.Restat()
	if err != nil {
		return false, err
	}
	if after.Version == info.Version {
		return true, nil
	}
	if !st.MetadataOnly(info.Version, after.Version) {
		return false, nil
	}
	sum, err := hashFile(ctx, f.File(), after.Size)
	if err != nil || !bytes.Equal(sum, e.SHA256) {
		return false, err
	}
	now, err := st.Stat(ctx, object.Ref{Unit: e.UnitName, Key: e.Key})
	if err != nil || now.Version != after.Version {
		return false, err
	}
	note(e, after)
	return true, nil
}

// judge makes verdict, decision and plan of a report.
func (p *Pipeline) judge(ctx context.Context, st *connectors.Storage, u *unit, e *ledger.Entry, rep scan.Report) (ledger.End, error) {
	e.Outcome = ledger.OutcomeDone
	e.Verdict, e.Reason, e.Threat = rep.Verdict, rep.Reason, rep.Threat
	e.Code, e.Engines, e.Engine = rep.Code, rep.Engines, rep.Engine
	if rep.Code == 0 && rep.Verdict != scan.Clean {
		e.Code = scan.Code(rep.Verdict, rep.Reason)
	}
	if rep.Verdict != scan.Clean || len(rep.Details) > 0 || rep.Sanitized != nil || rep.Blocked != "" {
		e.Report = &rep
	}
	out := u.Workflow.Decide(rep)
	e.Decision = out.Decision
	if e.Decision == workflow.Blocked && len(e.SHA256) > 0 && p.o.Ledger != nil {
		by, ok, err := p.o.Ledger.Allowance(ctx, u.ID, e.SHA256, p.now())
		if err != nil {
			return ledger.End{}, err
		}
		if ok {
			e.Decision, e.By = workflow.Allowed, by
		}
	}
	plan, err := p.plan(ctx, st, u, e, rep)
	if err != nil {
		return ledger.End{}, err
	}
	e.Plan = plan
	return ledger.End{Current: true}, nil
}

// plan asks remediation what to do, with the capabilities of all places that
// the workflow names.
func (p *Pipeline) plan(ctx context.Context, st *connectors.Storage, u *unit, e *ledger.Entry, rep scan.Report) (remediation.Plan, error) {
	w := &u.Workflow
	if len(e.SHA256) == 0 {
		// Nobody read its bytes: nothing can be bound to them.
		if e.Decision == workflow.Blocked && acts(w) && e.Error == "" {
			e.Error = "nothing is done to an object whose bytes were not read"
		}
		return nil, nil
	}
	if !w.Tagging.Enabled && e.Decision == workflow.Held || !acts(w) {
		return nil, nil
	}
	in := remediation.Input{Entry: e.ID.String(), Unit: u.Name, Key: e.Key, Version: e.Version, Workflow: *w, Decision: e.Decision,
		Report: rep, Verdict: e.Verdict, Quarantine: p.o.Quarantine, At: p.now(),
		Places: map[string]remediation.Place{u.Name: {Caps: st.Caps(), Unfenced: u.Unfenced}}}
	places := []string{p.o.Quarantine}
	for _, r := range w.Remedies() {
		for _, d := range r.Destinations {
			places = append(places, d.Unit)
		}
	}
	for _, name := range places {
		if name == "" || name == u.Name {
			continue
		}
		at, err := p.o.Storages.Get(name)
		if fault.Is(err, fault.Unavailable) {
			// It exists and will come back: no plan is better than a refused one.
			return nil, &errSnooze{until: p.now().Add(jitter(5 * time.Second)), lane: e.Lane, why: "destination " + name + " cannot be reached"}
		}
		if err == nil {
			in.Places[name] = remediation.Place{Caps: at.Caps(), Unfenced: at.Unit().Unfenced}
		}
	}
	err := in.LookUp(ctx, func(ctx context.Context, ref object.Ref) (object.Info, error) {
		at, err := p.o.Storages.Get(ref.Unit)
		if err != nil {
			return object.Info{}, err
		}
		return at.Stat(ctx, ref)
	})
	if err != nil {
		return nil, err
	}
	return remediation.NewPlan(in)
}

// digest reads the current version of e without showing it to an engine, so
// that something can be done about it. done: e was judged otherwise.
func (p *Pipeline) digest(ctx context.Context, st *connectors.Storage, u *unit, e *ledger.Entry) (_ ledger.End, done bool, _ error) {
	rd, info, end, err := p.open(ctx, st, u, e)
	if rd == nil {
		return end, true, err
	}
	defer rd.Close()
	note(e, info)
	c := &content{st: st, ref: object.Ref{Unit: u.Name, Key: e.Key, Version: info.Version}, size: info.Size}
	if err := c.complete(ctx); err != nil {
		end, err = p.unread(ctx, st, u, e, err)
		return end, true, err
	}
	e.SHA256 = c.hash()
	return end, false, nil
}

// acts says whether the workflow can change anything at all.
func acts(w *workflow.Workflow) bool {
	return w.Tagging.Enabled || w.Quarantine.Enabled || !w.Blocked.Keeps() || !w.Allowed.Keeps() || w.Disarms()
}

func orElse(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}
