package store

import (
	"context"
	"fmt"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/remediation"
)

type hold struct {
	unit int64
	key  string
	kind int64
}

const (
	holdKey   = 0 // a destination: nobody else starts or finishes work on it
	holdAside = 1 // a name that a step uses meanwhile: listings leave it out
)

// holdsOf returns the keys that the plan writes to, and the names that it uses
// meanwhile. Units that the ledger does not know have no entries to hold.
func (db *DB) holdsOf(ctx context.Context, plan remediation.Plan, out *[]hold) error {
	for _, s := range plan {
		u, err := db.unitNamed(ctx, s.Unit)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		switch s.Action {
		case remediation.Copy, remediation.Sanitized, remediation.Put:
			*out = append(*out, hold{u.id, string(s.Key), holdKey})
		}
		if s.Aside != "" {
			*out = append(*out, hold{u.id, s.Aside, holdAside})
		}
	}
	return nil
}

var (
	takeHold = &set{
		cols: "entry:b unit:i ikey:b kind:i tail:b",
		sql: `INSERT INTO holds AS h (unit, ikey, kind, tail, entry) SELECT :unit, :ikey, :kind, :tail, :entry {from} WHERE TRUE {order}
			ON CONFLICT (unit, ikey, kind) DO UPDATE SET entry = excluded.entry WHERE h.entry = excluded.entry`,
	}
	othersHold = &set{
		cols: "unit:i ikey:b entry:b",
		sql:  "SELECT {ord} 1 FROM holds h {also} WHERE h.unit = :unit AND h.ikey = :ikey AND h.kind = 0 AND h.entry <> :entry",
	}
	// So that a Finish of a pending entry on a held key is before or after the hold.
	lockPending = &set{
		cols: "unit:i ikey:b entry:b",
		sql:  "SELECT {ord} 1 FROM entries e {also} WHERE e.unit = :unit AND e.ikey = :ikey AND e.state = 0 {lock}",
	}
	dropHolds = &set{
		cols: "entry:b",
		sql:  "DELETE FROM holds {using} WHERE holds.entry = :entry {back}",
	}
	dropHold = &set{
		cols: "entry:b unit:i ikey:b",
		sql:  "DELETE FROM holds {using} WHERE holds.entry = :entry AND holds.unit = :unit AND holds.ikey = :ikey AND holds.kind = 0 {back}",
	}
	holdsOfEntry = &set{
		cols: "entry:b",
		sql:  "SELECT {ord} h.unit, h.ikey, h.tail FROM holds h {also} WHERE h.entry = :entry AND h.kind = 0",
	}
)

// allowed sorts out the plans whose destinations are held by another's.
func (t *turn) allowed(ctx context.Context, ops []*saveOp) (left []*saveOp, err error) {
	var rows [][]any
	var of []*saveOp
	first := map[keyRef]*saveOp{}
	for _, o := range ops {
		for _, h := range o.holds {
			if h.kind != holdKey {
				continue
			}
			ref := keyRef{h.unit, h.key}
			if g, ok := first[ref]; ok && g != o {
				o.err = ledger.ErrHeld
				continue
			}
			first[ref] = o
			ikey, _ := indexKey(h.key)
			rows, of = append(rows, []any{h.unit, ikey, o.e.ID[:]}), append(of, o)
		}
	}
	if err := t.c.look(ctx, othersHold, rows, func(i int, _ cells) error { of[i].err = ledger.ErrHeld; return nil }); err != nil {
		return nil, err
	}
	for _, o := range ops {
		if o.err == nil {
			left = append(left, o)
		}
	}
	return left, nil
}

// hold takes the holds of those that began.
func (t *turn) hold(ctx context.Context, ops []*saveOp) error {
	var rows, keys [][]any
	seen := map[hold]bool{}
	for _, o := range ops {
		for _, h := range o.holds {
			if seen[h] { // a plan names a destination once for each step on it
				continue
			}
			seen[h] = true
			ikey, tail := indexKey(h.key)
			rows = append(rows, []any{o.e.ID[:], h.unit, ikey, h.kind, blob(tail)})
			if h.kind == holdKey {
				keys = append(keys, []any{h.unit, ikey, o.e.ID[:]})
			}
		}
	}
	if _, err := t.c.each(ctx, takeHold, rows); err != nil {
		return err
	}
	if t.db.alone() {
		return nil
	}
	if err := t.c.look(ctx, lockPending, keys, func(int, cells) error { return nil }); err != nil {
		return err
	}
	return t.c.look(ctx, othersHold, keys, func(int, cells) error {
		return fmt.Errorf("%w: two plans have one destination", errConflict)
	})
}

// Held returns the aside and temporary names of the unit's unfinished plans.
func (db *DB) Held(ctx context.Context, unit int64) (map[string]bool, error) {
	out := map[string]bool{}
	err := db.query(ctx, "SELECT ikey, tail FROM holds WHERE unit = ? AND kind = ?", func(c cells) error {
		out[wholeKey(c.b(0), nullable(c, 1))] = true
		return nil
	}, unit, holdAside)
	return out, err
}
