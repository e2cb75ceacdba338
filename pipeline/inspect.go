package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

// settleLook is how long Inspect waits for an object that is being written.
const settleLook = 30 * time.Second

// Inspect examines one object as the line does, without a ledger and without
// changing anything, and returns the entry that it would have become. An
// object that changes while it is read is read again. The error is one of the
// unit or of ctx; what concerns the object is in the entry.
func (p *Pipeline) Inspect(ctx context.Context, st *connectors.Storage, u Unit, key, cause string) (*ledger.Entry, error) {
	served := &unit{Unit: u}
	e := &ledger.Entry{ID: ledger.NewID(), UnitName: u.Name, Key: key, Lane: ledger.Large, Cause: cause, Size: -1, Discovered: p.now()}
	for {
		e.Attempts++
		e.Version, e.Started = "", p.now()
		_, err := p.examine(ctx, st, served, e, nil)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var wait time.Duration
		switch snooze := new(errSnooze); {
		case err == nil && e.Outcome != ledger.OutcomeSuperseded:
			e.State, e.Finished, e.Plan = ledger.Finished, p.now(), nil
			return e, nil
		case errors.As(err, &snooze) && p.now().Sub(e.Discovered) < settleLook:
			e.Attempts-- // a look is no attempt
			wait = snooze.until.Sub(p.now())
		case errors.As(err, &snooze):
			e.Outcome, e.Verdict, e.Reason = ledger.OutcomeDone, scan.NotScanned, scan.Locked
			e.State, e.Finished = ledger.Finished, p.now()
			return e, nil
		case e.Attempts >= lastTry || err != nil && permanent(err):
			if down := new(unitDown); errors.As(err, &down) {
				return nil, err
			}
			e.Outcome, e.Verdict = ledger.OutcomeFailed, scan.NotScanned
			e.Reason = scan.Superseded
			if err != nil {
				e.Reason, e.Error = reasonOf(err), err.Error()
			}
			e.State, e.Finished = ledger.Finished, p.now()
			return e, nil
		case err != nil:
			wait = max(200*time.Millisecond, fault.AfterOf(err))
		}
		if err := sleep(ctx, max(wait, time.Millisecond)); err != nil {
			return nil, err
		}
	}
}
