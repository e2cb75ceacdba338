package connectors

import (
	"context"
	"errors"
	"math"
	"time"

	"golang.org/x/time/rate"

	"github.com/landwaiter/landwaiter/fault"
)

// keysPerCall is how many listed keys cost as much of the rate as one call: a
// page of the common vendors.
const keysPerCall = 1000

// A limit is the unit's bound on calls a second; a nil limiter has none.
type limit struct{ *rate.Limiter }

func newLimit(perSecond float64) limit {
	if perSecond <= 0 || math.IsInf(perSecond, 1) || math.IsNaN(perSecond) {
		return limit{}
	}
	return limit{rate.NewLimiter(rate.Limit(perSecond), max(1, int(math.Ceil(perSecond))))}
}

// wait returns when one more call may be made. Where ctx would end before that
// it fails at once, as Throttled.
func (l limit) wait(ctx context.Context) error {
	if l.Limiter == nil {
		return ctx.Err()
	}
	err := l.Wait(ctx)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return &fault.Error{Op: "connectors.limit", Kind: fault.Throttled, After: time.Second,
		Err: errors.New("the unit's rate leaves no call before the deadline")}
}
