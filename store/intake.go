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
	"github.com/landwaiter/landwaiter/scan"
)

// An intakeOp is a batch of arrivals of one unit.
type intakeOp struct {
	unit     *unitRow
	arrivals []arrival
	cursor   *ledger.Cursor
	taken    ledger.Taken

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
	o := &intakeOp{cursor: cursor, arrivals: make([]arrival, len(batch))}
	var err error
	if o.unit, err = db.unit(ctx, unit); err != nil {
		return ledger.Taken{}, err
	}
	for i, a := range batch {
		sc, err := db.scan(ctx, a.Scan)
		if err != nil {
			return ledger.Taken{}, err
		}
		o.arrivals[i] = arrival{Event: a.Event, scan: sc}
	}
	err = db.in.submit(ctx, &op{intake: o, rows: max(1, len(batch))})
	return o.taken, err
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
			bad, last = append(bad, object.FormatKey(list[0].Key)), err
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

var (
	pendingOf = &set{
		cols: "unit:i ikey:b",
		sql:  "SELECT {ord} e.id, e.version, e.running, e.scan, e.size, e.sha256 FROM entries e {also} WHERE e.unit = :unit AND e.ikey = :ikey AND e.state = 0 {lock}",
	}
	endGone = &set{
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

// SetCursor keeps where a source or a sweep is to resume.
func (db *DB) SetCursor(ctx context.Context, cur ledger.Cursor) error {
	return db.do(ctx, func(ctx context.Context, c conn) error { return setCursor(ctx, c, cur) })
}

func setCursor(ctx context.Context, c conn, cur ledger.Cursor) error {
	_, err := c.exec(ctx, "INSERT INTO cursors (unit, source, next) VALUES (?, ?, ?) ON CONFLICT (unit, source) DO UPDATE SET next = excluded.next",
		cur.Unit, []byte(cur.Source), []byte(cur.Next))
	return err
}

// Cursor returns where a source or a sweep is to resume, "" if that is nowhere.
func (db *DB) Cursor(ctx context.Context, unit int64, source string) (next string, err error) {
	err = db.query(ctx, "SELECT next FROM cursors WHERE unit = ? AND source = ?", func(c cells) error {
		next = c.s(0)
		return nil
	}, unit, []byte(source))
	return next, err
}
