package store

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
)

// How long an entry waits at most for its key to be free: whoever frees the key
// wakes it before.
const (
	parkWork = 30 * time.Second // for an entry of the same key on this node
	parkHold = time.Second      // for a hold, which another node may end
)

// maxRounds bounds how often one pick-up looks for entries whose keys are free:
// many versions of one key may stand in line.
const maxRounds = 8

// A pickOp asks for work.
type pickOp struct {
	line   line
	n      int
	out    []ledger.Entry
	behind []keyRef // keys in work for which another entry was parked
}

// PickUp marks up to n due entries of the unit and lane as in work, adds 1 to
// their attempts, and returns them, by priority and due. Across slots on
// PostgreSQL the order is that of each slot.
func (db *DB) PickUp(ctx context.Context, unit int64, lane ledger.Lane, n int) ([]ledger.Entry, error) {
	if n <= 0 {
		return nil, nil
	}
	p := &pickOp{line: line{unit, lane}, n: min(n, maxRows)}
	if err := db.work.submit(ctx, &op{pick: p, rows: p.n}); err != nil {
		return nil, err
	}
	return p.out, nil
}

// Due tells, by unit, the earliest time at which PickUp may find something in
// each lane (zero: nothing waits there). Units with nothing are absent.
func (db *DB) Due(context.Context) (map[int64][3]time.Time, error) { return db.ready.all(), nil }

// Changed is signalled when entries became due.
func (db *DB) Changed() <-chan struct{} { return db.ready.changed }

// heldSQL: another entry's plan holds the key of e.
const heldSQL = "EXISTS (SELECT 1 FROM holds h WHERE h.unit = e.unit AND h.ikey = e.ikey AND h.kind = 0 AND h.entry <> e.id)"

// behindSQL: the pending e must wait, for a hold or for an entry that acts on its
// key and is not in work now: it died with its process, or backs off. That one
// goes first, else both would do what one of them has done already.
const behindSQL = "(" + heldSQL + " OR EXISTS (SELECT 1 FROM entries a WHERE a.unit = e.unit AND a.ikey = e.ikey AND a.state = 1))"

const (
	waitingSQL = "unit = ? AND lane = ? AND state < 2 AND running = 0"

	liteTop   = "SELECT priority, due FROM entries WHERE " + waitingSQL + " AND priority < ? ORDER BY priority DESC, due LIMIT 1"
	liteHeads = "SELECT " + briefColumns + ", CASE WHEN e.state = 0 THEN " + behindSQL + " ELSE 0 END, e.started > 0 OR e.story IS NOT NULL FROM entries e WHERE " +
		waitingSQL + " ORDER BY priority DESC, due LIMIT ?"
	litePick = "SELECT " + briefColumns + ", CASE WHEN e.state = 0 THEN " + behindSQL + " ELSE 0 END, e.started > 0 OR e.story IS NOT NULL FROM entries e WHERE " +
		waitingSQL + " AND priority = ? AND due <= ? ORDER BY due LIMIT ?"
)

var (
	startEntry = &set{
		cols: "id:b now:i",
		sql: `UPDATE entries SET running = 1, parked = 0, attempts = entries.attempts + 1, started = CASE WHEN entries.started = 0 THEN :now ELSE entries.started END
			{from} WHERE entries.id = :id AND entries.running = 0 AND entries.state < 2 {back}`,
	}
	parkEntry = &set{
		cols: "id:b due:i",
		sql:  "UPDATE entries SET parked = 1, due = :due {from} WHERE entries.id = :id AND entries.running = 0 {back}",
	}
	wholeEntry = &set{
		cols: "id:b",
		sql:  "SELECT {ord} " + entryColumns + " FROM entries e {also} WHERE e.id = :id",
	}
	// The next entry of a key that is free again.
	wakeEntry = &set{
		cols: "unit:i ikey:b now:i",
		sql: `UPDATE entries SET parked = 0, due = :now {from} WHERE entries.id = (SELECT w.id FROM entries w
			WHERE w.unit = :unit AND w.ikey = :ikey AND w.state = 0 AND w.parked = 1 LIMIT 1) {back}`,
	}
)

// pick finds due entries by descending priority. Priorities are few, so it looks
// for the next lower one in the index instead of reading through those that
// back off.
func (t *turn) pick(ctx context.Context, p *pickOp) error {
	p.out, p.behind = nil, nil
	gen := t.db.ready.generation(p.line)
	next, all, err := t.quick(ctx, p)
	if err != nil {
		return err
	}
	for below := int64(math.MaxInt64); !all; {
		tops, err := t.tops(ctx, p.line, below)
		if err != nil {
			return err
		}
		if len(tops) == 0 {
			break
		}
		below = math.MinInt64
		for priority := range tops {
			below = max(below, priority)
		}
		due, err := t.pickAt(ctx, p, below, tops[below])
		if err != nil {
			return err
		}
		if due != 0 && (next == 0 || due < next) {
			next = due
		}
		if len(p.out) >= p.n {
			next = t.now
			break
		}
	}
	t.after = append(t.after, func() {
		t.db.ready.settle(p.line, gen, t.db.local(next))
		for i := range p.out {
			e := &p.out[i]
			t.db.busy.add(&job{id: e.ID, ref: keyRef{e.Unit, e.Key}, slot: e.Slot})
		}
		for _, ref := range p.behind {
			t.db.busy.park(ref, true)
		}
	})
	return nil
}

// quick takes from the heads of the line, which are due unless many back off. all
// says that there is nothing else to find now; next is then when there may be.
func (t *turn) quick(ctx context.Context, p *pickOp) (next int64, all bool, err error) {
	for range maxRounds {
		if len(p.out) >= p.n {
			return t.now, true, nil
		}
		left := p.n - len(p.out)
		each := left // of each slot
		if mine := len(t.slots()); !t.db.alone() && mine > 0 {
			each = (left + mine - 1) / mine
		}
		heads, err := t.heads(ctx, p.line, each, left)
		if err != nil {
			return 0, false, err
		}
		var seen [slots]int // rows of each slot; SQLite's line is one
		var later [slots]bool
		list := heads[:0]
		next = 0
		for _, h := range heads {
			at := h.entry.Slot
			if t.db.alone() {
				at = 0
			}
			seen[at]++
			if due := micros(h.entry.Due); due > t.now {
				later[at] = true
				if next == 0 || due < next {
					next = due
				}
				continue
			}
			list = append(list, h)
		}
		cut := len(heads) == left // there may be more of any slot
		more, hidden := cut, cut && len(list) < len(heads)
		for i, n := range seen {
			if n == each {
				more, hidden = more || !later[i], hidden || later[i]
			}
		}
		moved, err := t.take(ctx, p, list)
		if err != nil {
			return 0, false, err
		}
		switch {
		case hidden: // entries of lower priority may be due behind those that are not
			return 0, len(p.out) >= p.n, nil
		case !more || !moved:
			if len(p.behind) > 0 || len(list) > 0 {
				next = earlier(next, t.now+parkHold.Microseconds())
			}
			return next, true, nil
		}
	}
	return t.now, true, nil
}

func earlier(a, b int64) int64 {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// tops returns the highest priorities below below, with the earliest due of each.
func (t *turn) tops(ctx context.Context, l line, below int64) (map[int64]int64, error) {
	tops := map[int64]int64{}
	f := func(c cells) error {
		if due, ok := tops[c.i(0)]; !ok || c.i(1) < due {
			tops[c.i(0)] = c.i(1)
		}
		return nil
	}
	if t.db.alone() {
		return tops, t.c.query(ctx, liteTop, f, l.unit, int64(l.lane), below)
	}
	return tops, t.c.query(ctx, pgTop, f, t.slots(), l.unit, int64(l.lane), below)
}

type candidate struct {
	entry ledger.Entry
	held  bool
	rich  bool
}

// pickAt takes due entries of one priority, and returns when the next of it may
// be due (0 = none). top is the earliest due time there.
func (t *turn) pickAt(ctx context.Context, p *pickOp, priority, top int64) (int64, error) {
	for round := 0; top <= t.now && len(p.out) < p.n; round++ {
		if round == maxRounds { // go on in another transaction
			return t.now, nil
		}
		list, err := t.candidates(ctx, p.line, priority, p.n-len(p.out))
		if err != nil {
			return 0, err
		}
		moved, err := t.take(ctx, p, list)
		if err != nil {
			return 0, err
		}
		if !moved {
			break
		}
	}
	if len(p.out) >= p.n {
		return t.now, nil
	}
	tops, err := t.tops(ctx, p.line, priority+1)
	return tops[priority], err
}

// candidates returns due entries of one priority. The list is good until the
// next one of the writer.
func (t *turn) candidates(ctx context.Context, l line, priority int64, n int) ([]candidate, error) {
	if t.db.alone() {
		return t.list(ctx, litePick, l.unit, int64(l.lane), priority, t.now, n)
	}
	mine := t.slots()
	each := min(n, max(4, 4*n/max(1, len(mine))))
	return t.list(ctx, pgPick, mine, l.unit, int64(l.lane), priority, t.now, each, n)
}

// heads returns the first entries of the line, of each slot on PostgreSQL, whether
// they are due or not, n at most. The list is good until the next one of the writer.
func (t *turn) heads(ctx context.Context, l line, each, n int) ([]candidate, error) {
	if t.db.alone() {
		return t.list(ctx, liteHeads, l.unit, int64(l.lane), n)
	}
	return t.list(ctx, pgHeads, t.slots(), l.unit, int64(l.lane), each, n)
}

func (t *turn) list(ctx context.Context, sql string, args ...any) ([]candidate, error) {
	list := t.w.found[:0]
	err := t.c.query(ctx, sql, func(c cells) error {
		e, err := t.db.brief(ctx, c)
		list = append(list, candidate{e, c.i(briefCount) != 0, c.i(briefCount+1) != 0})
		return err
	}, args...)
	t.w.found = list
	return list, err
}

// take starts the candidates whose keys are free and parks the others. It
// reports whether any candidate was either.
func (t *turn) take(ctx context.Context, p *pickOp, list []candidate) (moved bool, err error) {
	taken := make(map[keyRef]bool, len(list))
	for i := range p.out {
		taken[keyRef{p.out[i].Unit, p.out[i].Key}] = true
	}
	var start, park, rich [][]any
	var chosen []int
	for i := range list {
		e := &list[i].entry
		ref := keyRef{e.Unit, e.Key}
		switch {
		case taken[ref], t.db.busy.taken(ref, t.freed):
			p.behind = append(p.behind, ref)
			park = append(park, []any{e.ID[:], t.now + parkWork.Microseconds()})
		case list[i].held:
			park = append(park, []any{e.ID[:], t.now + parkHold.Microseconds()})
		default:
			e.Epoch = t.own[e.Slot]
			taken[ref] = true
			chosen = append(chosen, i)
			start = append(start, []any{e.ID[:], t.now})
		}
	}
	if _, err := t.c.each(ctx, parkEntry, park); err != nil {
		return false, err
	}
	hit, err := t.c.each(ctx, startEntry, start)
	if err != nil {
		return false, err
	}
	moved = len(park) > 0
	where := make([]int, 0, len(chosen))
	p.out = slices.Grow(p.out, len(chosen))
	for i, n := range chosen {
		if !hit[i] {
			continue
		}
		moved = true
		e := list[n].entry
		e.Attempts++
		if e.Started.IsZero() {
			e.Started = fromMicros(t.now)
		}
		if list[n].rich {
			rich = append(rich, []any{e.ID[:]})
			where = append(where, len(p.out))
		}
		p.out = append(p.out, e)
	}
	return moved, t.c.look(ctx, wholeEntry, rich, func(i int, c cells) error {
		e, err := t.db.entry(ctx, c)
		e.Epoch = p.out[where[i]].Epoch
		p.out[where[i]] = e
		return err
	})
}

// wake lets the next waiting entry of each key go on.
func (t *turn) wake(ctx context.Context, keys []keyRef) error {
	if len(keys) == 0 {
		return nil
	}
	rows := make([][]any, len(keys))
	for i, k := range keys {
		ikey, _ := indexKey(k.key)
		rows[i] = []any{k.unit, ikey, t.now}
	}
	hit, err := t.c.each(ctx, wakeEntry, rows)
	if err != nil {
		return err
	}
	for i, k := range keys {
		if !hit[i] {
			t.after = append(t.after, func() { t.db.busy.park(k, false) })
			continue
		}
		for lane := ledger.Small; lane <= ledger.Alone; lane++ {
			t.due(k.unit, lane, t.now, slotOf(k.unit, k.key))
		}
	}
	return nil
}
