package store

import (
	"context"
	"slices"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

var (
	pendingOf = &set{
		cols: "unit:i ikey:b",
		sql:  "SELECT {ord} e.id, e.version, e.running, e.scan, e.size, e.sha256 FROM entries e {also} WHERE e.unit = :unit AND e.ikey = :ikey AND e.state = 0 {lock}",
	}
	endGone = &set{ // or as anything else that is told
		cols: "id:b now:i verdict:i reason:i outcome:i sum:i",
		sql: `UPDATE entries SET state = 2, seq = entries.seq + 1, outcome = :outcome, verdict = :verdict, reason = :reason, finished = :now, sum = :sum
			{from} WHERE entries.id = :id AND entries.state = 0 AND entries.running = 0 {back}`,
	}
	touchEntry = &set{
		cols: "id:b now:i",
		sql: `UPDATE entries SET seq = entries.seq + 1, due = CASE WHEN entries.running = 0 AND entries.parked = 0 AND entries.attempts = 0 THEN LEAST(entries.due, :now) ELSE entries.due END
			{from} WHERE entries.id = :id AND entries.state = 0 {back}`,
	}
)

// deleted ends what is pending for keys that are gone, and takes their rows out
// of the inventory. Where the version named is not the one known it adds a look
// to the wave instead.
func (t *turn) deleted(ctx context.Context, w *wave) error {
	if len(w.deletes) == 0 {
		return nil
	}
	rows := make([][]any, len(w.deletes))
	for i, f := range w.deletes {
		rows[i] = []any{f.op.unit.id, f.ikey}
	}
	var end, touch [][]any
	var ended []func()
	doubt := make([]bool, len(rows)) // another version is known
	found := make([]bool, len(rows))
	err := t.c.look(ctx, pendingOf, rows, func(i int, c cells) error {
		f, version := w.deletes[i], unpackVersion(c.b(1))
		found[i] = true
		switch {
		case f.version != "" && version != "" && f.version != version:
			if !f.op.unit.allVersions {
				doubt[i] = true
			}
		case c.i(2) != 0: // in work: the worker will see
			touch = append(touch, []any{c.b(0), t.now})
		default:
			end = append(end, []any{c.b(0), t.now, int64(scan.NotScanned), reasonCode(scan.Gone), codeOf(outcomes[:], ledger.OutcomeGone), goneSum(c.b(0), f.key, version, nullable(c, 5))})
			sc, size := c.i(3), c.i(4)
			ended = append(ended, func() {
				t.counts.scan(sc, 0, 0, 0, -1, 0)
				t.counts.scan(sc, codeOf(outcomes[:], ledger.OutcomeGone), int64(scan.NotScanned), 0, 1, max(size, 0))
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	hit, err := t.c.each(ctx, endGone, end)
	if err != nil {
		return err
	}
	for i, h := range hit {
		if h {
			ended[i]()
		}
	}
	if _, err := t.c.each(ctx, touchEntry, touch); err != nil {
		return err
	}
	var remove []invRow
	err = t.c.look(ctx, inventoryOld, rows, func(i int, c cells) error {
		f := w.deletes[i]
		if version := unpackVersion(c.b(inventoryOldVersion)); f.version == "" || f.version == version {
			remove = append(remove, invRow{unit: f.op.unit.id, ikey: f.ikey, gone: true})
		} else if !f.op.unit.allVersions {
			doubt[i] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, f := range w.deletes {
		if doubt[i] {
			f.version, f.check, f.size = "", false, -1
			w.look(f)
			continue
		}
		if found[i] {
			f.op.taken.Folded++
		} else {
			f.op.taken.Dropped++
		}
	}
	return t.inventory(ctx, remove)
}

var (
	insertBaseline = &set{
		cols: "ikey:b unit:i tail:b version:b size:i reason:i sum:i",
		sql: `INSERT INTO inventory (unit, ikey, tail, version, verdict, reason, size, sum)
			SELECT :unit, :ikey, :tail, :version, 0, :reason, :size, :sum {from} WHERE TRUE {order} ON CONFLICT (unit, ikey) DO NOTHING {backid}`,
	}
	updateBaseline = &set{
		cols: "ikey:b unit:i version:b size:i reason:i sum:i",
		sql:  `UPDATE inventory SET version = :version, sum = :sum {from} WHERE inventory.unit = :unit AND inventory.ikey = :ikey AND inventory.reason = :reason {back}`,
	}
)

// baseline is the row of f as baseline. The size of an older one stays, so it is
// in no sum.
func (f *fresh) baseline() *invRow {
	return &invRow{unit: f.op.unit.id, ikey: f.ikey, version: packVersion(f.version), reason: codeBaseline}
}

// baseline records what is older than its scan's start date.
func (t *turn) baseline(ctx context.Context, list []*fresh) error {
	list = slices.CompactFunc(list, func(a, b *fresh) bool {
		same := a.op.unit.id == b.op.unit.id && a.key == b.key
		if same {
			b.op.taken.Folded++
		}
		return same
	})
	byUnit := map[int64][]*fresh{}
	for _, f := range list {
		byUnit[f.op.unit.id] = append(byUnit[f.op.unit.id], f)
	}
	for _, list := range byUnit {
		rows, again := make([][]any, len(list)), [][]any{}
		for i, f := range list {
			rows[i] = []any{f.ikey, f.op.unit.id, blob(f.tail), packVersion(f.version), f.size, int64(codeBaseline), f.baseline().sum()}
		}
		hit, err := t.c.each(ctx, insertBaseline, rows)
		if err != nil {
			return err
		}
		for i, f := range list {
			if hit[i] {
				f.op.taken.Inserted++
				t.counts.unit(f.op.unit.id, 0, codeBaseline, 1, max(f.size, 0))
			} else {
				f.op.taken.Dropped++
				again = append(again, []any{f.ikey, f.op.unit.id, packVersion(f.version), f.size, int64(codeBaseline), f.baseline().sum()})
			}
		}
		if _, err := t.c.each(ctx, updateBaseline, again); err != nil {
			return err
		}
	}
	return nil
}
