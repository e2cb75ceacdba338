package pipeline

import (
	"context"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
)

// Overflow is the Cause of an event that stands for lost ones: its Key is the
// prefix whose tree must be swept.
const Overflow = "overflow"

// Told is the Cause of an event whose teller was given the entry's id: it is kept
// even if the object turns out to be known already.
const Told = "told"

// emit returns what a source of u calls with its events. When it returned nil
// they are durable. It blocks while the unit's push backlog is full.
func (p *Pipeline) emit(u *unit, source string) connectors.Emit {
	return func(ctx context.Context, events []object.Event, next string) error {
		if err := p.waitRoom(ctx, u, p.o.Bounds.PushBacklog); err != nil {
			return err
		}
		var cur *ledger.Cursor
		if next != "" {
			cur = &ledger.Cursor{Unit: u.ID, Source: source, Next: next}
		}
		batch := make([]ledger.Arrival, 0, len(events))
		for _, ev := range events {
			if ev.Cause == Overflow {
				u.ask(ev.Key)
				continue
			}
			batch = u.arrive(batch, ev)
		}
		if len(batch) == 0 && cur == nil {
			return nil
		}
		if err := p.intake(ctx, u, batch, cur); err != nil {
			return err
		}
		if p.o.Heard != nil {
			p.o.Heard(u.ID)
		}
		return nil
	}
}

// intake writes a batch into the ledger and counts what became pending, so that
// the backlog is never taken for less than it is.
func (p *Pipeline) intake(ctx context.Context, u *unit, batch []ledger.Arrival, cur *ledger.Cursor) error {
	taken, err := p.o.Ledger.Intake(ctx, u.ID, batch, cur)
	u.mu.Lock()
	u.pending += int64(taken.Inserted)
	u.mu.Unlock()
	return err
}

// Emit takes events for a unit from outside the pipeline (a hook, an operator).
// fault.NotFound if the unit is not served.
func (p *Pipeline) Emit(ctx context.Context, id int64, source string, events []object.Event) error {
	u := p.unit(id)
	if u == nil {
		return fault.New(fault.NotFound, "pipeline.Emit", "", nil)
	}
	return p.emit(u, source)(ctx, events, "")
}

// arrive adds ev to batch once for each RealTime scan whose partition holds its key.
func (u *unit) arrive(batch []ledger.Arrival, ev object.Event) []ledger.Arrival {
	for i := range u.Scans {
		if holds(u.Scans[i].Partition, ev.Key) {
			batch = append(batch, ledger.Arrival{Event: ev, Scan: u.Scans[i].ID})
		}
	}
	return batch
}

// holds says whether the folder partition ("" = all) contains key.
func holds(partition, key string) bool {
	if partition == "" {
		return true
	}
	partition = strings.TrimSuffix(partition, "/")
	return len(key) > len(partition) && key[:len(partition)] == partition && key[len(partition)] == '/'
}

// waitRoom blocks while the unit has limit or more pending entries, or the disk is too full.
func (p *Pipeline) waitRoom(ctx context.Context, u *unit, limit int64) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		full := p.o.Full != nil && p.o.Full()
		if !full {
			n, err := p.backlog(ctx, u, limit)
			if err != nil {
				return err
			}
			if n < limit {
				return nil
			}
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// backlog counts the unit's pending entries, at most once a second unless near
// the limit; in between it is what was counted and what came since.
func (p *Pipeline) backlog(ctx context.Context, u *unit, limit int64) (int64, error) {
	u.mu.Lock()
	n, fresh := u.pending, p.now().Sub(u.counted) < time.Second
	u.mu.Unlock()
	if fresh && n < limit/2 {
		return n, nil
	}
	n, err := p.o.Ledger.Backlog(ctx, u.ID)
	if err != nil {
		return 0, err
	}
	u.mu.Lock()
	u.pending, u.counted = n, p.now()
	u.mu.Unlock()
	return n, nil
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
