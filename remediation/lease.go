package remediation

import (
	"context"
	"errors"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

var (
	errLapsed = errors.New("the lease on the entry ended")
	errSlow   = errors.New("the step took too long")
)

// slowest is the rate, in bytes a second, below which a step is given up.
const slowest = 256 << 10

// startWith is how much of the lease a step needs to start: one term of it is
// shorter than what a slow step may take.
const startWith = 10 * time.Second

// leased calls do while the entry is ours: it starts only if the lease outlasts
// the step's timeout, or startWith if the timeout is longer, and ends the call's
// context when the lease, renewed or not, ends. So a step may outlive one term
// of the lease, but never a moment in which the entry is not ours.
func (r *run) leased(ctx context.Context, s Step, do func(context.Context) ([]Own, error)) ([]Own, error) {
	limit := r.Timeout
	if limit <= 0 {
		limit = 10 * time.Second
	}
	if lease := r.job.Lease; lease != nil {
		if time.Until(lease()) < min(limit, startWith) {
			return nil, fault.New(fault.Stale, "remediation.Run", string(s.Action), errLapsed)
		}
		ours, cancel := context.WithCancelCause(ctx)
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			watch(ours, lease, cancel)
		}()
		defer func() { cancel(nil); <-watched }()
		ctx = ours
	}
	if s.Action != Tag && s.Action != Prune {
		// A fence may have to read all bytes again, so removals count too.
		limit += time.Duration(r.job.Size/slowest) * time.Second
	}
	ctx, stop := context.WithTimeoutCause(ctx, limit, errSlow)
	defer stop()
	own, err := do(ctx)
	if err == nil || ctx.Err() == nil {
		return own, err
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errLapsed):
		return nil, fault.New(fault.Stale, "remediation.Run", string(s.Action), errLapsed)
	case errors.Is(cause, errSlow):
		return nil, fault.New(fault.Unavailable, "remediation.Run", string(s.Action), errSlow)
	}
	return nil, err
}

// watch cancels ctx when the lease has ended.
func watch(ctx context.Context, lease func() time.Time, cancel context.CancelCauseFunc) {
	for {
		left := time.Until(lease())
		if left <= 0 {
			cancel(errLapsed)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(left):
		}
	}
}
