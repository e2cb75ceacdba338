package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
)

// An intakeOp is a batch of arrivals of one unit.
type intakeOp struct {
	unit     *unitRow
	arrivals []arrival
	cursor   *ledger.Cursor
	taken    ledger.Taken

	listing *ledger.Listing // of scan: how far it has come
	scan    *scanRow
	lost    bool // it is not ours to go on with

	replay []ledger.ID // instead of arrivals: entries to take back to pending
	by     string
}

// An arrival knows its scan.
type arrival struct {
	object.Event
	scan *scanRow
}

// Intake writes a batch of arrivals and, in the same transaction, the cursor
// (nil = none). It returns fault.NotFound for a unit or scan that is not in the
// ledger. If the database refuses a row, the others are committed, the cursor is
// not, and the error (fault.Invalid) names the keys refused.
//
// A Delete that names another version than the one known is taken as a Look: a
// late event must not hide a newer object.
func (db *DB) Intake(ctx context.Context, unit int64, batch []ledger.Arrival, cursor *ledger.Cursor) (ledger.Taken, error) {
	o := &intakeOp{cursor: cursor}
	if err := db.arrivals(ctx, o, unit, batch); err != nil {
		return ledger.Taken{}, err
	}
	err := db.in.submit(ctx, &op{intake: o, rows: max(1, len(batch))})
	return o.taken, err
}

// arrivals fills in the unit and the batch of o.
func (db *DB) arrivals(ctx context.Context, o *intakeOp, unit int64, batch []ledger.Arrival) (err error) {
	if o.unit, err = db.unit(ctx, unit); err != nil {
		return err
	}
	o.arrivals = make([]arrival, len(batch))
	for i, a := range batch {
		sc, err := db.scan(ctx, a.Scan)
		if err != nil {
			return err
		}
		o.arrivals[i] = arrival{Event: a.Event, scan: sc}
	}
	return nil
}

// halve commits an intake that the database refused in ever smaller parts, so
// that the row at fault is alone. The cursor stays where it was.
func (o *intakeOp) halve(w *writer) error {
	var bad []string
	var last error
	var part func(list []arrival)
	part = func(list []arrival) {
		p := &intakeOp{unit: o.unit, arrivals: list}
		err := w.try([]*op{{intake: p}})
		switch {
		case err == nil:
			o.taken.Inserted += p.taken.Inserted
			o.taken.Folded += p.taken.Folded
			o.taken.Dropped += p.taken.Dropped
		case !refused(err):
			last = err
		case len(list) == 1:
			bad, last = append(bad, object.FormatKey(list[0].Key[:min(len(list[0].Key), 200)])), err
		default:
			part(list[:len(list)/2])
			part(list[len(list)/2:])
		}
	}
	o.taken = ledger.Taken{}
	part(o.arrivals)
	if len(bad) == 0 {
		return last
	}
	return fault.New(fault.Invalid, "store.Intake", strings.Join(bad[:min(len(bad), 10)], ", "), fmt.Errorf("%d events refused: %w", len(bad), last))
}

// A fresh is an entry to be: one or more events of one (scan, unit, key).
type fresh struct {
	op       *intakeOp
	scan     *scanRow
	id       ledger.ID
	key      string
	version  string
	vkey     []byte
	ikey     []byte
	tail     []byte
	seq      int64
	force    bool
	check    bool // drop it if the inventory holds this version
	priority int
	cause    string
	size     int64
	gone     bool // it was folded into an entry or dropped
}

type freshKey struct {
	unit, scan int64
	key, vkey  string
}

// A wave is what of an intake can be done in any order: each key is either
// looked at or deleted in it, not both.
type wave struct {
	fresh     map[freshKey]*fresh
	list      []*fresh
	deletes   []*fresh
	baselines []*fresh
	touched   map[freshKey]object.Op // by unit and key; only kept where there are deletes
}

func (t *turn) intake(ctx context.Context, ops []*intakeOp) error {
	if len(ops) == 0 {
		return nil
	}
	rows, deletes := 0, false
	for _, o := range ops {
		o.taken = ledger.Taken{}
		rows += len(o.arrivals)
		deletes = deletes || slices.ContainsFunc(o.arrivals, func(a arrival) bool { return a.Op == object.Delete })
	}
	newWave := func() *wave {
		w := &wave{fresh: make(map[freshKey]*fresh, rows)}
		if deletes {
			w.touched = map[freshKey]object.Op{}
		}
		return w
	}
	w := newWave()
	for _, o := range ops {
		if err := t.goOn(ctx, o); err != nil {
			return err
		}
		if o.lost {
			continue
		}
		for i := range o.arrivals {
			a := &o.arrivals[i]
			if deletes && !a.Baseline {
				k := freshKey{unit: o.unit.id, key: a.Key}
				if was, ok := w.touched[k]; ok && was != a.Op {
					if err := t.wave(ctx, w); err != nil {
						return err
					}
					w = newWave()
				}
				w.touched[k] = a.Op
			}
			w.add(o, a)
		}
	}
	if err := t.wave(ctx, w); err != nil {
		return err
	}
	for _, o := range ops {
		if err := t.replay(ctx, o); err != nil {
			return err
		}
		if o.cursor != nil {
			if err := setCursor(ctx, t.c, *o.cursor); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *wave) add(o *intakeOp, a *arrival) {
	f := &fresh{op: o, scan: a.scan, key: a.Key, version: a.Version, seq: 1, force: a.Force, priority: a.Priority, cause: a.Cause, size: a.Size}
	f.check = a.scan.typ == ledger.RealTime && !a.Force && a.Version != ""
	if a.Size < 0 || a.Size == 0 && a.Time.IsZero() {
		f.size = -1
	}
	switch {
	case a.Baseline:
		w.baselines = append(w.baselines, f)
		return
	case a.Op == object.Delete:
		w.deletes = append(w.deletes, f)
		return
	}
	w.look(f)
}

// look folds f into an earlier event of the wave, or takes it in.
func (w *wave) look(f *fresh) {
	k := freshKey{unit: f.op.unit.id, scan: f.scan.n, key: f.key}
	if f.op.unit.allVersions {
		f.vkey = versionKey(f.version)
		k.vkey = string(f.vkey)
	}
	if g, ok := w.fresh[k]; ok {
		g.seq++
		g.force = g.force || f.force
		g.priority = max(g.priority, f.priority)
		g.check = g.check && f.check && g.version == f.version
		if f.version != "" {
			g.version = f.version
		}
		f.op.taken.Folded++
		return
	}
	if f.vkey == nil {
		f.vkey = []byte{}
	}
	f.id = ledger.NewID()
	w.fresh[k] = f
	w.list = append(w.list, f)
}

func (t *turn) wave(ctx context.Context, w *wave) error {
	for _, list := range [][]*fresh{w.deletes, w.baselines} {
		index(list)
	}
	if err := t.deleted(ctx, w); err != nil {
		return err
	}
	if err := t.baseline(ctx, w.baselines); err != nil {
		return err
	}
	index(w.list)
	var plain, forced []*fresh
	for _, f := range w.list {
		if f.force {
			forced = append(forced, f)
		} else {
			plain = append(plain, f)
		}
	}
	if err := t.rescan(ctx, forced); err != nil {
		return err
	}
	// What rescan left is new like the rest.
	for _, f := range forced {
		if !f.gone {
			plain = append(plain, f)
		}
	}
	return t.insert(ctx, plain)
}

// index fills in the index form of the keys and sorts by it: neighbours share
// pages, and two transactions lock in one order.
func index(list []*fresh) {
	for _, f := range list {
		f.ikey, f.tail = indexKey(f.key)
	}
	slices.SortFunc(list, func(a, b *fresh) int {
		return cmp.Or(cmp.Compare(a.op.unit.id, b.op.unit.id), strings.Compare(a.key, b.key), cmp.Compare(a.scan.n, b.scan.n))
	})
}
