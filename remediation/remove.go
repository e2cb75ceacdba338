package remediation

import (
	"context"
	"fmt"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// remove removes exactly the version that was scanned, if every copy that the
// plan promised before was made.
func (r *run) remove(ctx context.Context, i int, s *Step) ([]Own, error) {
	for _, before := range r.job.Plan[:i] {
		if before.copies() && before.State != Done && before.State != Skipped {
			return nil, fault.New(fault.Unsupported, "remediation.Remove", "",
				fmt.Errorf("the source stays, because this was not done: %s", before))
		}
	}
	var rem connectors.Removed
	err := r.onSource(ctx, func(ref object.Ref) (err error) {
		rem, err = r.src.Remove(ctx, ref, connectors.Fence{Aside: s.Aside, SHA256: r.job.SHA256})
		return err
	})
	switch {
	case fault.Is(err, fault.NotFound):
		// Either a run that crashed removed it or somebody else did: it is gone,
		// and what the plan copied before is there.
		s.Detail = "the object was gone already"
	case err != nil:
		return nil, err
	case rem.Marker:
		s.Detail = "the object is gone, its bytes remain with the vendor: a lock, a retention or soft delete keeps them"
	}
	s.Unfenced = rem.Unfenced
	return []Own{{Unit: s.Unit, Key: string(s.Key), Gone: true}}, nil
}

// prune removes the folders that the removal left empty.
func (r *run) prune(ctx context.Context, s *Step) ([]Own, error) {
	if !r.job.Plan.Removed() {
		s.State, s.Detail = Skipped, "nothing was removed"
		return nil, nil
	}
	n, err := r.src.Prune(ctx, string(s.Key))
	if fault.Is(err, fault.NotFound) {
		n, err = 0, nil // somebody was faster
	}
	if err != nil {
		return nil, err
	}
	if s.Detail = fmt.Sprintf("%d folders removed", n); n == 0 {
		s.State, s.Detail = Skipped, "no folder is empty"
	}
	return nil, nil
}
