package scan

import (
	"context"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// A guard holds our own limits where an engine is silent: it would answer
// clean, though it did not look. It is made from the engine's proof.
type guard struct {
	size    int64         // objects above are not asked about; 0 = the engine says so itself
	timeout time.Duration // a clean that took so long is none; 0 = the engine says so itself
	stale   bool

	walk    bool   // archives must be looked into
	blind   bool   // the engine looks into no archive at all
	secret  bool   // it is silent about encrypted members
	hidden  bool   // it is so where the archive stands behind something else
	bounds  Limits // for the Walker
	walker  Walker
	maximum int64 // of Expanded, with the object itself counted; 0 = none of its own
}

// newGuard returns the guard for an engine with that proof and those settings.
func newGuard(p *Proof, lim Limits, w Walker, stale bool) guard {
	g := guard{stale: stale, walker: w, bounds: Limits{Ratio: 1 << 40}} // what counts is what comes out
	if !lim.Exceeded {
		g.timeout = lim.Timeout
	}
	if p.Result(CaseArchive).Outcome == Silent {
		g.blind, g.size = true, lim.Size
		return g
	}
	bound := func(c Case) int64 {
		if r := p.Result(c); r.Outcome != Alerted {
			return max(1, r.Bound)
		}
		return 0
	}
	g.size = bound(CaseSize)
	g.bounds.Size = bound(CaseMember)
	g.bounds.Depth = int(bound(CaseDepth))
	g.bounds.Entries = int(bound(CaseEntries))
	g.maximum = bound(CaseExpanded)
	g.secret = p.Result(CaseEncrypted).Outcome == Silent
	g.hidden = p.Result(CaseHidden).Outcome == Silent
	g.walk = g.secret || g.bounds.Size > 0 || g.bounds.Depth > 0 || g.bounds.Entries > 0 || g.maximum > 0
	return g
}

// sniffs says whether it matters what content looks like.
func (g guard) sniffs() bool { return g.walk || g.blind || g.hidden }

// walks says whether content that looks like l needs a second look after a clean.
func (g guard) walks(l looks) bool {
	switch l {
	case plain:
		return false
	case archive:
		return g.walk || g.blind
	}
	return g.sniffs()
}

// walk decides about content that looks like l and that the engine called
// clean: it stays so only if nothing in it was beyond what the engine sees.
func (in *Instance) walk(ctx context.Context, g guard, s Sample, l looks, rep Report) (Report, error) {
	switch {
	case !g.walks(l), l == maybe && g.walker == nil:
		return rep, nil
	case g.walker == nil:
		return in.notScanned(rep, Unsupported, ""), nil
	}
	secret := g.secret || g.hidden && l != archive
	began := time.Now()
	bounds := g.bounds
	if g.maximum > 0 {
		bounds.Expanded = g.maximum - s.Size // the engine counts the archive too
		if bounds.Expanded <= 0 {
			return in.notScanned(rep, ArchiveSize, ""), nil
		}
	}
	f, err := g.walker.Walk(ctx, s, bounds)
	rep.Took += time.Since(began)
	switch {
	case err != nil && ctx.Err() != nil:
		return Report{}, ctx.Err()
	case err != nil && fault.ReasonOf(err) != "":
		return in.notScanned(rep, Reason(fault.ReasonOf(err)), ""), nil
	case err != nil:
		return Report{}, &readError{err}
	case f.Reason != "" && (f.Reason != Encrypted || secret):
		return in.notScanned(rep, f.Reason, f.Path), nil
	case f.Encrypted > 0 && secret:
		return in.notScanned(rep, Encrypted, f.Path), nil
	case g.blind && (l == archive || l == behind && f.Kind != "" || f.Entries > 0):
		return in.notScanned(rep, Unsupported, f.Path), nil
	case bounds.Size > 0 && f.Largest > bounds.Size: // the engine skips such a member
		return in.notScanned(rep, TooLarge, f.Path), nil
	}
	return rep, nil
}
