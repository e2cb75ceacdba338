package scan

import (
	"context"
	"errors"
)

// errLeaving is why a pool that is being drained takes nothing more.
var errLeaving = errors.New("the pool is being replaced")

// Drain keeps new samples out, so that whoever comes finds the pool not ready,
// and waits until those in work are through, or ctx ends. Close follows it.
func (p *Pool) Drain(ctx context.Context) error {
	p.mu.Lock()
	p.leaving = true
	p.wake() // who waits for room shall go elsewhere
	p.mu.Unlock()
	for {
		p.mu.Lock()
		busy, changed := 0, p.changed
		for _, in := range p.o.Instances {
			busy += in.state.inFlight
		}
		p.mu.Unlock()
		if busy == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Settled says whether it is known of each instance if it can be asked, or the
// time to find out has passed: before that nobody needs to take the pool's place.
func (p *Pool) Settled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unsettled() <= 0
}
