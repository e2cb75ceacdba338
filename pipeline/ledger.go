// Package pipeline is the line itself: intake writes events into the ledger,
// one worker carries each entry through settle, stat, filter, open, scan,
// recheck, decide, plan, Begin, act and Finish; sweeps find what events missed.
package pipeline

import (
	"context"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
)

// A Ledger is what the pipeline needs of the store. Methods that change
// something return after the commit, are safe for concurrent use, and share
// commits: whatever queued up while the previous commit ran goes into the next.
type Ledger interface {
	// Intake writes a batch of arrivals and, in the same transaction, the cursor
	// (nil = none). An arrival folds into the pending entry of its (scan, unit,
	// key): seq+1, higher priority, earlier due (never before a back-off of the
	// same version), force wins. One whose version equals the inventory's is
	// dropped unless forced. A Delete ends the pending entry as gone and removes
	// the inventory row. Baseline only writes the inventory row.
	Intake(ctx context.Context, unit int64, batch []ledger.Arrival, cursor *ledger.Cursor) (ledger.Taken, error)

	// PickUp marks up to n due entries of the unit and lane as in work, adds 1 to
	// their attempts, and returns them, by priority and due. It returns acting
	// entries that no one works on too (a restart, a retry). It never returns a
	// key of which an entry is in work, nor a held key, nor a slot that is not ours.
	PickUp(ctx context.Context, unit int64, lane ledger.Lane, n int) ([]ledger.Entry, error)

	// Due tells, by unit, the earliest time at which PickUp may find something in
	// each lane, for the slots that are ours. Units with nothing are absent.
	Due(ctx context.Context) (map[int64][3]time.Time, error)

	// Changed is signalled (capacity 1, never blocks the sender) when entries
	// became due: intake, a slot gained, a hold released, another node's notice.
	Changed() <-chan struct{}

	// Lease is until when, by this process's monotonic clock, the slot is ours.
	// Zero time: it is not.
	Lease(slot uint8) time.Time

	// Begin makes the plan durable and takes the holds on every destination key,
	// Pending → Acting. ledger.ErrMoved (e.Seq is updated: stat again, then call
	// again), ledger.ErrHeld, ledger.ErrCanceled, fault.Stale if the epoch moved.
	// May be repeated with the same attempt.
	Begin(ctx context.Context, e *ledger.Entry) error

	// Step records e.Plan's state and, in one transaction, what the step produced:
	// inventory rows of our own writes, with the verdict of e. fault.Stale if the
	// epoch moved. release drops the holds on the keys in own.
	Step(ctx context.Context, e *ledger.Entry, own []ledger.Own, release bool) error

	// Finish ends e with what it says, the inventory row, counts and the next
	// version in one transaction. From Pending it may answer ErrMoved, ErrHeld,
	// fault.Stale. May be repeated with the same attempt.
	Finish(ctx context.Context, e *ledger.Entry, end ledger.End) error

	// GiveBack takes e out of work without ending it: due again at due, with its
	// present Lane, Error and Story. attempt=false takes back the attempt that
	// PickUp counted (snooze, lane change, unit or pool not available).
	GiveBack(ctx context.Context, e *ledger.Entry, due time.Time, attempt bool) error

	// Inventory returns up to n rows with keys after after, in byte order.
	Inventory(ctx context.Context, unit int64, after string, n int) ([]ledger.Row, error)

	// Row returns the inventory row of a key.
	Row(ctx context.Context, unit int64, key string) (ledger.Row, bool, error)

	// Versions returns the versions of a key that have an entry.
	Versions(ctx context.Context, unit int64, key string) (map[string]bool, error)

	// Held returns the aside and temporary names (Step.Aside) of the unit's
	// unfinished plans, so that listings leave them out.
	Held(ctx context.Context, unit int64) (map[string]bool, error)

	// Backlog counts the unit's pending entries; for 0 those of all units that are
	// not disabled.
	Backlog(ctx context.Context, unit int64) (int64, error)

	// Cursor and SetCursor keep where a source or a sweep is to resume.
	Cursor(ctx context.Context, unit int64, source string) (string, error)
	SetCursor(ctx context.Context, c ledger.Cursor) error

	// EntryHash returns the SHA-256 of the entry's bytes, nil if unknown.
	EntryHash(ctx context.Context, id ledger.ID) ([]byte, error)

	// Allowance says whether the hash is allow-listed for the unit now, and by
	// whom until when, in words.
	Allowance(ctx context.Context, unit int64, sha256 []byte, now time.Time) (by string, ok bool, err error)
}

// An Ender is a Ledger that ends many entries with one wait. It is Finish for
// each: one that is refused does not hold up the others.
type Ender interface {
	FinishAll(ctx context.Context, entries []*ledger.Entry, ends []ledger.End) []error
}
