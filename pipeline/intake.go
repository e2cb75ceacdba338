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

// emit returns what a source of u calls with its events. When it returned nil
// they are durable. It blocks while the push backlog has no room for them.
func (p *Pipeline) emit(u *unit, source string) connectors.Emit {
	return func(ctx context.Context, events []object.Event, next string) error {
		if err := p.waitRoom(ctx, u, p.o.Bounds.PushBacklog); err != nil {
			return err
		}
		return p.accept(ctx, u, source, events, next)
	}
}

// accept writes events of u, and where its source is, into the ledger.
func (p *Pipeline) accept(ctx context.Context, u *unit, source string, events []object.Event, next string) error {
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

// intake writes a batch into the ledger and counts what became pending, so that
// the backlog is never taken for less than it is.
func (p *Pipeline) intake(ctx context.Context, u *unit, batch []ledger.Arrival, cur *ledger.Cursor) error {
	n := int64(len(batch))
	u.load.add(n)
	p.load.add(n)
	taken, err := p.o.Ledger.Intake(ctx, u.ID, batch, cur)
	u.load.arrived(n, int64(taken.Inserted))
	p.load.arrived(n, int64(taken.Inserted))
	return err
}

// Emit takes events for a unit from outside the pipeline (a queue, an operator).
// It blocks while the push backlog has no room for them. fault.NotFound if the
// unit is not served.
func (p *Pipeline) Emit(ctx context.Context, id int64, source string, events []object.Event) error {
	u := p.unit(id)
	if u == nil {
		return fault.New(fault.NotFound, "pipeline.Emit", "", nil)
	}
	return p.emit(u, source)(ctx, events, "")
}

// Offer is Emit for who does not wait: fault.Throttled, and nothing taken, if
// there is no room.
func (p *Pipeline) Offer(ctx context.Context, id int64, source string, events []object.Event) error {
	u := p.unit(id)
	if u == nil {
		return fault.New(fault.NotFound, "pipeline.Offer", "", nil)
	}
	if err := p.haveRoom(ctx, u); err != nil {
		return err
	}
	return p.accept(ctx, u, source, events, "")
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
