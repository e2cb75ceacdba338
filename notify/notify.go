// Package notify takes what is to go out over webhooks, mail and log servers to
// its receivers. The ledger writes notices into its outbox in the transaction of
// what they tell of; the Outbox claims them, hands them to channels, and writes
// down what became of them. A notice may arrive twice, always with the same id,
// and it is never lost silently: what cannot be delivered is kept as given up,
// and stands in the audit.
package notify

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// A Channel hands notices to one receiver. Its methods are safe for concurrent
// use; errors carry a fault.Kind: Invalid and Corrupt are given up at once,
// whatever else is tried again.
type Channel interface {
	Deliver(ctx context.Context, n ledger.Notice) error
	Close() error
}

// A Line is a channel of a tenant that is to be served. Without Open it cannot be
// served now, although it is switched on: what waits for it goes on waiting.
type Line struct {
	Tenant int64
	ledger.Subscription
	Mark     string // differs when the channel has to be opened again
	Parallel int    // notices at once; 0 = one after the other, in their order
	Open     func() (Channel, error)
}

// Store is what an Outbox needs of the ledger.
type Store interface {
	Subscribe(subs map[int64][]ledger.Subscription)
	Noticed() <-chan struct{}
	DueChannels(ctx context.Context) ([]ledger.Pile, error)
	ClaimNotices(ctx context.Context, tenant int64, channel string, n int, lease time.Duration) ([]ledger.Notice, error)
	SettleNotices(ctx context.Context, list []ledger.Settled) error
	TendOutbox(ctx context.Context, open func(tenant int64, channel string) bool, n int) error
	AddNotice(ctx context.Context, n ledger.Notice) error
}

// Bounds say how long a notice is tried. The zero value means the defaults.
type Bounds struct {
	Attempts int           // 20
	For      time.Duration // 24 h
	First    time.Duration // before the second attempt: 5 s, doubling to 1 h
}

func (b Bounds) filled() Bounds {
	if b.Attempts == 0 {
		b.Attempts = 20
	}
	if b.For == 0 {
		b.For = 24 * time.Hour
	}
	if b.First == 0 {
		b.First = 5 * time.Second
	}
	return b
}

const longest = time.Hour // between two attempts, where the receiver asks for nothing else

// end says what becomes of a notice after an attempt that ended with err.
func (b Bounds) end(n ledger.Notice, err error, now time.Time) ledger.Settled {
	if err == nil {
		return ledger.Settled{Notice: n, End: ledger.Delivered}
	}
	n.Error = clip(err.Error())
	wait := fault.AfterOf(err)
	if wait == 0 {
		wait = jitter(min(b.First<<min(max(n.Attempts-1, 0), 20), longest))
	}
	n.Due = now.Add(min(wait, b.For))
	if fault.Is(err, fault.Invalid, fault.Corrupt) || n.Attempts >= b.Attempts || n.Due.Sub(n.Created) > b.For {
		return ledger.Settled{Notice: n, End: ledger.GivenUp}
	}
	return ledger.Settled{Notice: n, End: ledger.Later}
}

// jitter is d, a half more or less, so that many that failed together do not
// come back together.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d+1) }

const maxError = 500 // bytes of an attempt's error that are kept

func clip(s string) string {
	if len(s) > maxError {
		return s[:maxError]
	}
	return s
}

// Body reads a notice's body. fault.Corrupt if it is not what its kind says.
func Body[T any](n ledger.Notice) (v T, err error) {
	if err := json.Unmarshal(n.Body, &v); err != nil {
		return v, fault.New(fault.Corrupt, "notify", n.ID.String(), err)
	}
	return v, nil
}
