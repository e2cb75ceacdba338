package store

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

// An invRow is a change to the inventory.
type invRow struct {
	unit            int64
	ikey, tail      []byte
	version         []byte
	verdict, reason int64
	size            int64
	entry           []byte
	gone            bool
}

var (
	inventoryOld = &set{
		cols: "unit:i ikey:b",
		sql:  "SELECT {ord} i.verdict, i.reason, i.size, i.version FROM inventory i {also} WHERE i.unit = :unit AND i.ikey = :ikey {lock}",
	}
	newInventory = &set{
		cols: "ikey:b unit:i tail:b version:b verdict:i reason:i size:i entry:b sum:i",
		sql: `INSERT INTO inventory (unit, ikey, tail, version, verdict, reason, size, entry, sum)
			SELECT :unit, :ikey, :tail, :version, :verdict, :reason, :size, :entry, :sum {from} WHERE TRUE {order}
			ON CONFLICT (unit, ikey) DO NOTHING {backid}`,
	}
	setInventory = &set{
		cols: "ikey:b unit:i version:b verdict:i reason:i size:i entry:b sum:i",
		sql: `UPDATE inventory SET version = :version, verdict = :verdict, reason = :reason, size = :size, entry = :entry, sum = :sum
			{from} WHERE inventory.unit = :unit AND inventory.ikey = :ikey {back}`,
	}
	removeInventory = &set{
		cols: "unit:i ikey:b",
		sql:  "DELETE FROM inventory {using} WHERE inventory.unit = :unit AND inventory.ikey = :ikey {back}",
	}
)

// The columns of inventoryOld.
const inventoryOldVersion = 3

// inventory writes and removes rows and counts the difference. Of several
// changes to one key the last counts.
func (t *turn) inventory(ctx context.Context, list []invRow) error {
	if len(list) == 0 {
		return nil
	}
	slices.SortStableFunc(list, func(a, b invRow) int { return cmp.Or(cmp.Compare(a.unit, b.unit), bytes.Compare(a.ikey, b.ikey)) })
	kept := list[:0]
	for i, r := range list {
		if i+1 == len(list) || list[i+1].unit != r.unit || !bytes.Equal(list[i+1].ikey, r.ikey) {
			kept = append(kept, r)
		}
	}
	return t.inventoryOf(ctx, kept)
}

// inventoryOf does what inventory says with the rows of each unit: keys tell
// them apart only there.
func (t *turn) inventoryOf(ctx context.Context, list []invRow) error {
	for from := 0; from < len(list); {
		to := from + 1
		for to < len(list) && list[to].unit == list[from].unit {
			to++
		}
		if err := t.inventoryUnit(ctx, list[from:to]); err != nil {
			return err
		}
		from = to
	}
	return nil
}

func (t *turn) inventoryUnit(ctx context.Context, list []invRow) error {
	var put, remove, again [][]any
	var putOf, old []invRow
	for _, r := range list {
		if r.gone {
			remove, old = append(remove, []any{r.unit, r.ikey}), append(old, r)
			continue
		}
		put, putOf = append(put, []any{r.ikey, r.unit, blob(r.tail), r.version, r.verdict, r.reason, r.size, blob(r.entry), r.sum()}), append(putOf, r)
		t.counts.unit(r.unit, r.verdict, r.reason, 1, max(r.size, 0))
	}
	hit, err := t.c.each(ctx, newInventory, put)
	if err != nil {
		return err
	}
	keys := remove[:len(remove):len(remove)]
	for i, r := range putOf {
		if !hit[i] {
			keys, old = append(keys, []any{r.unit, r.ikey}), append(old, r)
			again = append(again, []any{r.ikey, r.unit, r.version, r.verdict, r.reason, r.size, blob(r.entry), r.sum()})
		}
	}
	err = t.c.look(ctx, inventoryOld, keys, func(i int, c cells) error {
		t.counts.unit(old[i].unit, c.i(0), c.i(1), -1, -max(c.i(2), 0))
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := t.c.each(ctx, setInventory, again); err != nil {
		return err
	}
	_, err = t.c.each(ctx, removeInventory, remove)
	return err
}

const inventoryColumns = "ikey, tail, version, verdict, reason, size, entry, sum, unit"

// readRow reads inventoryColumns. A row that is damaged says not_scanned.
func readRow(c cells) ledger.Row {
	if !rowWhole(c) {
		return ledger.Row{Key: wholeKey(c.b(0), nullable(c, 1)), Version: unpackVersion(c.b(2)), Verdict: scan.NotScanned, Reason: other, Size: c.i(5), Entry: toID(c.b(6))}
	}
	return ledger.Row{Key: wholeKey(c.b(0), nullable(c, 1)), Version: unpackVersion(c.b(2)), Verdict: scan.Verdict(c.i(3)), Reason: reasonWord(c.i(4)),
		Size: c.i(5), Entry: toID(c.b(6)), Baseline: c.i(4) == codeBaseline}
}

func rowWhole(c cells) bool {
	r := invRow{unit: c.i(8), ikey: c.b(0), version: c.b(2), verdict: c.i(3), reason: c.i(4)}
	return r.sum() == c.i(7)
}

// Row returns the inventory row of a key; ok is false if there is none. Entry is
// zero if the entry was purged.
func (db *DB) Row(ctx context.Context, unit int64, key string) (row ledger.Row, ok bool, err error) {
	ikey, _ := indexKey(key)
	err = db.ask(ctx, "SELECT "+inventoryColumns+" FROM inventory WHERE unit = ? AND ikey = ?", func(c cells) error {
		row, ok = readRow(c), true
		return nil
	}, unit, ikey)
	if err != nil || !ok || row.Baseline || row.Entry != (ledger.ID{}) {
		return row, ok, err
	}
	// The last entry of the key itself, which the row need not name.
	err = db.query(ctx, "SELECT id FROM entries WHERE unit = ? AND ikey = ? AND state > 0 AND state = 2 AND version = ? ORDER BY finished DESC LIMIT 1", func(c cells) error {
		row.Entry = toID(c.b(0))
		return nil
	}, unit, ikey, packVersion(row.Version))
	return row, ok, err
}

// Inventory returns up to n rows with keys after after, in byte order. Fewer
// than n are the end. It holds no transaction between calls. Entry is only set
// where a step of another key's entry wrote the row; Row knows the others.
func (db *DB) Inventory(ctx context.Context, unit int64, after string, n int) ([]ledger.Row, error) {
	out := make([]ledger.Row, 0, min(n, 10_000))
	add := func(c cells) error {
		out = append(out, readRow(c))
		return nil
	}
	ikey, tail := indexKey(after)
	for len(out) < n {
		if tail != nil { // the rest of the long keys that begin alike: their index order is that of hashes
			if err := db.longKeys(ctx, unit, tail, n-len(out), add); err != nil {
				return nil, err
			}
			ikey, tail = append(bytes.Clone(tail[:maxIndexed]), bytes.Repeat([]byte{0xff}, 32)...), nil
			continue
		}
		want, got := n-len(out), 0
		var long []byte
		err := db.ask(ctx, "SELECT "+inventoryColumns+" FROM inventory WHERE unit = ? AND ikey > ? ORDER BY ikey LIMIT ?", func(c cells) error {
			got++
			if long == nil && len(c.b(1)) > maxIndexed {
				long = c.b(1)[:maxIndexed:maxIndexed]
			}
			if long == nil {
				return add(c)
			}
			return nil
		}, unit, ikey, want)
		if err != nil {
			return nil, err
		}
		if long != nil {
			tail = long
		} else if got < want {
			return out, nil
		} else if len(out) > 0 {
			ikey, tail = indexKey(out[len(out)-1].Key)
		}
	}
	return out, nil
}

// longKeys returns up to n rows of the keys that begin with the first maxIndexed
// bytes of after and come after it.
func (db *DB) longKeys(ctx context.Context, unit int64, after []byte, n int, f func(cells) error) error {
	prefix := after[:maxIndexed]
	return db.query(ctx, "SELECT "+inventoryColumns+" FROM inventory WHERE unit = ? AND ikey > ? AND ikey <= ? AND tail > ? ORDER BY tail LIMIT ?", f,
		unit, prefix, append(bytes.Clone(prefix), bytes.Repeat([]byte{0xff}, 32)...), after, n)
}

// Versions returns the versions of a key that have an entry, finished or not.
func (db *DB) Versions(ctx context.Context, unit int64, key string) (map[string]bool, error) {
	known := map[string]bool{}
	ikey, _ := indexKey(key)
	for _, states := range []string{"state > 0", "state = 0"} { // an index each
		err := db.query(ctx, "SELECT version FROM entries WHERE unit = ? AND ikey = ? AND "+states, func(c cells) error {
			known[unpackVersion(c.b(0))] = true
			return nil
		}, unit, ikey)
		if err != nil {
			return nil, err
		}
	}
	return known, nil
}
