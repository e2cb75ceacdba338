package store

import (
	"context"
	"fmt"

	"github.com/landwaiter/landwaiter/ledger"
)

const sameVersionSQL = "NOT EXISTS (SELECT 1 FROM inventory i WHERE i.unit = :unit AND i.ikey = :ikey AND i.version = :version)"

// otherVersionSQL: both versions are known and differ, so that the back-off and
// the attempts of the one are not the other's.
const otherVersionSQL = "length(:version) > 0 AND length(entries.version) > 0 AND entries.version <> :version"

var (
	insertEntry = &set{
		cols: "id:b tenant:i unit:i scan:i stype:i workflow:i ikey:b tail:b vkey:b version:b slot:i priority:i due:i seq:i force:i cause:b size:i chk:i",
		sql: `INSERT INTO entries (id, tenant, unit, scan, stype, workflow, ikey, tail, vkey, version, slot, priority, due, seq, force, cause, size, discovered)
			SELECT :id, :tenant, :unit, :scan, :stype, :workflow, :ikey, :tail, :vkey, :version, :slot, :priority, :due, :seq, :force, :cause, :size, :due
			{from} WHERE :chk = 0 OR ` + sameVersionSQL + ` {order}
			ON CONFLICT (unit, ikey, scan, vkey) WHERE state = 0 DO NOTHING {backid}`,
	}
	foldEntry = &set{
		cols: "unit:i scan:i ikey:b vkey:b version:b priority:i due:i seq:i force:i chk:i",
		sql: `UPDATE entries SET seq = entries.seq + :seq, force = GREATEST(entries.force, :force), priority = GREATEST(entries.priority, :priority),
			attempts = CASE WHEN entries.running = 0 AND ` + otherVersionSQL + ` THEN 0 ELSE entries.attempts END,
			crashes = CASE WHEN entries.running = 0 AND ` + otherVersionSQL + ` THEN 0 ELSE entries.crashes END,
			lane = CASE WHEN entries.running = 0 AND ` + otherVersionSQL + ` THEN 0 ELSE entries.lane END,
			due = CASE WHEN entries.running = 0 AND entries.parked = 0 AND (entries.attempts = 0 OR ` + otherVersionSQL + `) THEN LEAST(entries.due, :due) ELSE entries.due END,
			version = CASE WHEN entries.running = 0 AND length(:version) > 0 THEN :version ELSE entries.version END
			{from} WHERE entries.unit = :unit AND entries.ikey = :ikey AND entries.scan = :scan AND entries.vkey = :vkey AND entries.state = 0
			AND (:chk = 0 OR ` + sameVersionSQL + `) {back}`,
	}
	inventoryHas = &set{
		cols: "unit:i ikey:b version:b",
		sql:  "SELECT {ord} i.unit FROM inventory i {also} WHERE i.unit = :unit AND i.ikey = :ikey AND i.version = :version",
	}
)

func (t *turn) foldRow(f *fresh) []any {
	return []any{f.op.unit.id, f.scan.n, f.ikey, f.vkey, packVersion(f.version), int64(f.priority), t.now, f.seq, flag(f.force), flag(f.check)}
}

// insert makes entries of what is new and folds the rest into what is pending.
func (t *turn) insert(ctx context.Context, list []*fresh) error {
	for round := 0; len(list) > 0; round++ {
		rows := make([][]any, len(list))
		for i, f := range list {
			rows[i] = []any{f.id[:], f.op.unit.tenant, f.op.unit.id, f.scan.n, int64(f.scan.typ), f.scan.workflow, f.ikey, blob(f.tail), f.vkey,
				packVersion(f.version), int64(slotOf(f.op.unit.id, f.key)), int64(f.priority), t.now, f.seq, flag(f.force), text(f.cause), f.size, flag(f.check)}
		}
		hit, err := t.c.each(ctx, insertEntry, rows)
		if err != nil {
			return err
		}
		left := list[:0:0]
		for i, f := range list {
			if !hit[i] {
				left = append(left, f)
				continue
			}
			f.op.taken.Inserted++
			t.counts.scan(f.scan.n, 0, 0, 0, 1, 0)
			t.due(f.op.unit.id, ledger.Small, t.now, slotOf(f.op.unit.id, f.key))
		}
		if list, err = t.fold(ctx, left); err != nil {
			return err
		}
		if list, err = t.drop(ctx, list); err != nil {
			return err
		}
		// On PostgreSQL another node may have finished the pending entry between
		// the two statements: then there is room for a new one.
		if round == 3 {
			return fmt.Errorf("%w: %d events found no place", errConflict, len(list))
		}
	}
	return nil
}

// fold merges events into the pending entries of their keys and returns the
// events that have none.
func (t *turn) fold(ctx context.Context, list []*fresh) (left []*fresh, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	rows := make([][]any, len(list))
	for i, f := range list {
		rows[i] = t.foldRow(f)
	}
	hit, err := t.c.each(ctx, foldEntry, rows)
	if err != nil {
		return nil, err
	}
	for i, f := range list {
		if !hit[i] {
			left = append(left, f)
			continue
		}
		f.gone = true
		f.op.taken.Folded++
		// The lane is the entry's own, which was not read: look in all.
		for lane := ledger.Small; lane <= ledger.Alone; lane++ {
			t.due(f.op.unit.id, lane, t.now, slotOf(f.op.unit.id, f.key))
		}
	}
	return left, nil
}

// drop counts the events whose version the inventory holds and returns the rest.
func (t *turn) drop(ctx context.Context, list []*fresh) (left []*fresh, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	if t.db.alone() { // nothing but the check can have left it without a place
		for _, f := range list {
			f.op.taken.Dropped++
		}
		return nil, nil
	}
	known := make([]bool, len(list))
	rows := make([][]any, len(list))
	for i, f := range list {
		rows[i] = []any{f.op.unit.id, f.ikey, packVersion(f.version)}
	}
	if err := t.c.look(ctx, inventoryHas, rows, func(i int, _ cells) error { known[i] = true; return nil }); err != nil {
		return nil, err
	}
	for i, f := range list {
		if known[i] && f.check {
			f.op.taken.Dropped++
		} else {
			left = append(left, f)
		}
	}
	return left, nil
}
