package pipeline_test

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/pipeline"
)

// errDead is the answer to every call of a process that is dead: it changes
// nothing and nobody hears it.
var errDead = fault.New(fault.Internal, "test", "the process is dead", nil)

// A mortal is a ledger as a process sees it that may die at any call: asked
// before each call that changes something, and with op+"+" after its effect.
type mortal struct {
	pipeline.Ledger
	dead *atomic.Bool
	late *atomic.Bool // the lease is renewed late: little is left of it
	hook func(op, key string) error
}

func (m *mortal) ask(op, key string) error {
	if m.dead.Load() {
		return errDead
	}
	if m.hook != nil {
		return m.hook(op, key)
	}
	return nil
}

func (m *mortal) around(op, key string, call func() error) error {
	if err := m.ask(op, key); err != nil {
		return err
	}
	if err := call(); err != nil {
		return err
	}
	return m.ask(op+"+", key)
}

func (m *mortal) Intake(ctx context.Context, unit int64, batch []ledger.Arrival, c *ledger.Cursor) (t ledger.Taken, err error) {
	if m.dead.Load() {
		return t, errDead
	}
	return m.Ledger.Intake(ctx, unit, batch, c)
}

func (m *mortal) Discover(ctx context.Context, unit int64, batch []ledger.Arrival, l ledger.Listing) (t ledger.Taken, err error) {
	err = m.around("Discover", l.Next, func() error {
		t, err = m.Ledger.Discover(ctx, unit, batch, l)
		return err
	})
	return t, err
}

func (m *mortal) EndListing(ctx context.Context, id ledger.ID, was string) error {
	return m.around("EndListing", was, func() error { return m.Ledger.EndListing(ctx, id, was) })
}

func (m *mortal) FailScan(ctx context.Context, id ledger.ID, why string) error {
	return m.around("FailScan", "", func() error { return m.Ledger.FailScan(ctx, id, why) })
}

func (m *mortal) CompleteScan(ctx context.Context, id ledger.ID) (ended bool, err error) {
	err = m.around("CompleteScan", "", func() error {
		ended, err = m.Ledger.CompleteScan(ctx, id)
		return err
	})
	return ended, err
}

func (m *mortal) PickUp(ctx context.Context, unit int64, lane ledger.Lane, n int) ([]ledger.Entry, error) {
	if m.dead.Load() {
		return nil, errDead
	}
	return m.Ledger.PickUp(ctx, unit, lane, n)
}

func (m *mortal) Begin(ctx context.Context, e *ledger.Entry) error {
	return m.around("Begin", e.Key, func() error { return m.Ledger.Begin(ctx, e) })
}

func (m *mortal) Step(ctx context.Context, e *ledger.Entry, own []ledger.Own, release bool) error {
	return m.around("Step", e.Key, func() error { return m.Ledger.Step(ctx, e, own, release) })
}

func (m *mortal) Finish(ctx context.Context, e *ledger.Entry, end ledger.End) error {
	return m.around("Finish", e.Key, func() error { return m.Ledger.Finish(ctx, e, end) })
}

func (m *mortal) GiveBack(ctx context.Context, e *ledger.Entry, due time.Time, attempt bool) error {
	return m.around("GiveBack", e.Key, func() error { return m.Ledger.GiveBack(ctx, e, due, attempt) })
}

func (m *mortal) SetCursor(ctx context.Context, c ledger.Cursor) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Ledger.SetCursor(ctx, c)
}

func (m *mortal) Lease(slot uint8) time.Time {
	if m.late.Load() {
		return time.Now().Add(100 * time.Millisecond)
	}
	return m.Ledger.Lease(slot)
}
