package connectors

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// The bounds of one call with its retries. What lasts longer is the worker's
// to wait for: it gives the entry back instead of holding a place.
const (
	maxTries   = 3
	maxElapsed = 30 * time.Second
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second
)

// A repeat says after which errors a call may be made again.
type repeat uint8

const (
	never     repeat = iota
	refused          // only where the vendor said it did nothing (Throttled)
	transient        // the call changes nothing, or is the same when done twice
)

func (r repeat) allows(err error) bool {
	switch fault.KindOf(err) {
	case fault.Throttled:
		return r >= refused
	case fault.Unavailable, fault.Other:
		return r >= transient
	}
	return false
}

// A retrier counts the tries of one call.
type retrier struct {
	repeat  repeat
	started time.Time
	tries   int // that failed so far
}

// again waits before the next try and reports whether there is one. It returns
// false at once when err is final, the bounds are spent, or the vendor asks for
// a longer pause than they leave.
func (r *retrier) again(ctx context.Context, err error) bool {
	if ctx.Err() != nil || !r.repeat.allows(err) {
		return false
	}
	if r.tries++; r.tries >= maxTries {
		return false
	}
	pause := pauseAfter(r.tries, err)
	if time.Since(r.started)+pause > maxElapsed {
		return false
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// pauseAfter is what the vendor asked for, plus up to a tenth so that clients
// do not come back together; else half to all of an exponential step.
func pauseAfter(tries int, err error) time.Duration {
	if after := fault.AfterOf(err); after > 0 {
		return after + rand.N(after/10+1)
	}
	step := min(firstPause<<(2*(tries-1)), maxPause)
	return step/2 + rand.N(step/2)
}
