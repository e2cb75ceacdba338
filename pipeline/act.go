package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/scan"
)

// begin makes the plan durable. It is false if the entry ended instead: its
// version was replaced, or it was canceled.
func (p *Pipeline) begin(ctx context.Context, st *connectors.Storage, e *ledger.Entry) (bool, error) {
	for {
		err := p.o.Ledger.Begin(ctx, e)
		switch {
		case errors.Is(err, ledger.ErrMoved):
			end, same, err := p.stillCurrent(ctx, st, e)
			if err != nil {
				return false, err
			}
			if !same {
				e.Plan = nil
				return false, p.finish(ctx, st, e, end)
			}
		case errors.Is(err, ledger.ErrCanceled):
			e.Plan, e.Outcome, e.Verdict, e.Reason, e.Decision = nil, ledger.OutcomeCanceled, scan.NotScanned, scan.Canceled, ""
			return false, p.finish(ctx, st, e, ledger.End{})
		default:
			return err == nil, err
		}
	}
}

// finish ends e. If an event came in meanwhile it looks again: the same version
// goes on, another one is new work.
func (p *Pipeline) finish(ctx context.Context, st *connectors.Storage, e *ledger.Entry, end ledger.End) error {
	e.Finished = p.now()
	return p.finished(ctx, st, e, end, p.o.Ledger.Finish(ctx, e, end))
}

// finished goes on after a Finish that answered err.
func (p *Pipeline) finished(ctx context.Context, st *connectors.Storage, e *ledger.Entry, end ledger.End, err error) error {
	for errors.Is(err, ledger.ErrMoved) {
		again, same, serr := p.stillCurrent(ctx, st, e)
		if serr != nil {
			return serr
		}
		if !same {
			e.Plan, end = nil, again
		}
		e.Finished = p.now()
		err = p.o.Ledger.Finish(ctx, e, end)
	}
	return err
}

// stillCurrent looks whether e's version is the key's current one. If not, it
// turns e into superseded or gone and returns how to end it.
func (p *Pipeline) stillCurrent(ctx context.Context, st *connectors.Storage, e *ledger.Entry) (ledger.End, bool, error) {
	u := p.unit(e.Unit)
	if u == nil {
		return ledger.End{}, false, fault.New(fault.Unavailable, "pipeline", "unit is not served", nil)
	}
	info, err := st.Stat(ctx, object.Ref{Unit: u.Name, Key: e.Key})
	ended := e.Outcome == ledger.OutcomeSuperseded || e.Outcome == ledger.OutcomeGone
	if err == nil && info.Version == e.Version && !ended {
		return ledger.End{}, true, nil
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		return ledger.End{}, false, err
	}
	if err != nil {
		end, err := p.gone(e)
		return end, false, err
	}
	end, err := p.superseded(ctx, st, u, e)
	return end, false, err
}

// act carries out the plan of an acting entry and ends it.
func (p *Pipeline) act(ctx context.Context, st *connectors.Storage, u *unit, e *ledger.Entry, end ledger.End) error {
	e.Outcome = ledger.OutcomeDone // an entry that an earlier process began has none yet
	job := remediation.Job{Entry: e.ID.String(), Unit: u.Name, Key: e.Key, Version: e.Version, Size: e.Size, SHA256: e.SHA256,
		Verdict: e.Verdict, Plan: e.Plan, Lease: func() time.Time { return p.o.Ledger.Lease(e.Slot) }}
	if e.Report != nil {
		job.Report = *e.Report
	}
	err := p.o.Executor.Run(ctx, job, &journal{p: p, e: e})
	if fault.Is(err, fault.Changed, fault.NotFound) {
		// What was scanned is no longer what is there. Steps that were done stay
		// and are listed; the new version is work of its own.
		// The verdict stays too: it is why they were done.
		was := *e
		if end, err = p.superseded(ctx, st, u, e); err != nil {
			return err
		}
		e.Plan, e.Verdict, e.Reason, e.Decision = was.Plan, was.Verdict, was.Reason, was.Decision
		return p.finish(ctx, st, e, end)
	}
	if err != nil {
		return err
	}
	if why := e.Plan.Failure(); why != "" {
		e.Outcome, e.Error = ledger.OutcomeFailed, why
	}
	info, err := st.Stat(ctx, object.Ref{Unit: u.Name, Key: e.Key})
	switch {
	case fault.Is(err, fault.NotFound):
		end.Gone, end.Current = true, false
	case err != nil:
		return err
	case e.Plan.Removed():
		// What was removed uncovered an older version, or somebody wrote a new one.
		end = ledger.End{Gone: true, Next: p.look(u, e, info)}
	default:
		// A step on the source recorded the version that it left by itself.
		end.Current = info.Version == e.Version
	}
	return p.finish(ctx, st, e, end)
}

// look is the event that makes the version in info pending after e.
func (p *Pipeline) look(u *unit, e *ledger.Entry, info object.Info) *object.Event {
	return &object.Event{Ref: object.Ref{Unit: u.Name, Key: e.Key, Version: info.Version}, Size: info.Size,
		Time: info.ModTime, Cause: e.Cause, Priority: e.Priority}
}

// fail ends e as failed, for the operator to see and replay.
func (p *Pipeline) fail(ctx context.Context, e *ledger.Entry, cause error) error {
	e.Outcome = ledger.OutcomeFailed
	if e.State == ledger.Pending {
		e.Verdict, e.Reason, e.Decision, e.Plan = scan.NotScanned, reasonOf(cause), "", nil
	}
	e.Finished = p.now()
	err := p.o.Ledger.Finish(ctx, e, ledger.End{Current: e.Version != ""})
	if errors.Is(err, ledger.ErrMoved) {
		return p.o.Ledger.GiveBack(ctx, e, p.now(), true)
	}
	if err == nil && p.o.Finished != nil {
		p.o.Finished(e)
	}
	return err
}

// reasonOf names why an object could not be scanned.
func reasonOf(err error) scan.Reason {
	if r := fault.ReasonOf(err); r != "" {
		return scan.Reason(r)
	}
	switch fault.KindOf(err) {
	case fault.Denied:
		return scan.AccessDenied
	case fault.Unsupported:
		return scan.Unsupported
	case fault.Unavailable, fault.Throttled:
		return scan.EngineUnavailable
	}
	return scan.EngineError
}

// journal writes steps of a plan into the ledger.
type journal struct {
	p *Pipeline
	e *ledger.Entry
}

// Step records the plan as it stands after a step, with what the step wrote.
func (j *journal) Step(ctx context.Context, i int, own []remediation.Own, release bool) error {
	rows := make([]ledger.Own, 0, len(own))
	for _, o := range own {
		id, ok := j.p.number(o.Unit)
		if !ok {
			continue // a place that is no watched unit (quarantine): nothing to guard
		}
		if o.Sanitized {
			continue // other bytes than those scanned: no verdict to carry over, they are new to their unit
		}
		rows = append(rows, ledger.Own{Unit: id, Key: o.Key, Version: o.Version, Size: o.Size, Gone: o.Gone})
	}
	return j.p.o.Ledger.Step(ctx, j.e, rows, release)
}

// number returns the number of a served unit by name.
func (p *Pipeline) number(name string) (int64, bool) {
	for _, u := range p.list() {
		if u.Name == name {
			return u.ID, true
		}
	}
	return 0, false
}
