package pipeline

import (
	"context"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

// A settler is a pool that knows whether it has found out of all its instances
// if they can be asked.
type settler interface{ Settled() bool }

// A pair is a pool and the one that a workflow wants asked in its place where no
// instance of it can be.
type pair struct{ first, then Scanner }

// backed returns first with a failover; nil is none, and first then stays as it is.
func backed(first, then Scanner) Scanner {
	switch {
	case then == nil:
		return first
	case first == nil:
		return then // it was removed, or cannot be opened
	}
	return &pair{first, then}
}

// Scan asks the first pool, then the failover.
func (p *pair) Scan(ctx context.Context, s scan.Sample) (scan.Report, error) {
	rep, err := p.first.Scan(ctx, s)
	if ctx.Err() != nil || !fault.Is(err, fault.Unavailable, fault.Throttled) || !p.spare() {
		return rep, err
	}
	return p.then.Scan(ctx, s)
}

// spare says whether the failover may be asked now: not before the first pool
// had the time to prove itself, and while it takes nothing.
func (p *pair) spare() bool {
	if s, ok := p.first.(settler); ok && !s.Settled() {
		return false
	}
	return !p.first.Ready() && p.then.Ready()
}

// Ready implements Scanner.
func (p *pair) Ready() bool { return p.first.Ready() || p.spare() }

// Definitions are those of the pool that would be asked now.
func (p *pair) Definitions() string {
	if p.spare() {
		return p.then.Definitions()
	}
	return p.first.Definitions()
}
