package store

import (
	"context"
	"errors"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
)

// What a worker may do to its entry.
type verb uint8

const (
	begin verb = iota
	step
	give
	finish
)

// A saveOp is what a worker says of its entry.
type saveOp struct {
	verb    verb
	e       *ledger.Entry // the worker's, who waits meanwhile: it is only read
	unit    *unitRow
	scan    *scanRow
	own     []ledger.Own
	release bool // step: drop the holds on own
	end     ledger.End
	due     time.Time // give
	attempt bool      // give: the attempt counts

	holds  []hold
	err    error
	seq    int64 // with ErrMoved: the entry's
	report []byte
	plan   []byte
	story  []byte
}

// Begin makes the plan durable and takes the holds on every destination key,
// Pending → Acting. It returns ledger.ErrMoved (e.Seq is updated: stat again,
// then call again), ledger.ErrHeld, ledger.ErrCanceled, or fault.Stale if the
// entry is no longer this node's. It may be repeated with the same attempt.
func (db *DB) Begin(ctx context.Context, e *ledger.Entry) error {
	o := &saveOp{verb: begin}
	if err := db.holdsOf(ctx, e.Plan, &o.holds); err != nil {
		return err
	}
	if err := db.save(ctx, o, e); err != nil {
		return err
	}
	e.State = ledger.Acting
	return nil
}

// Step records e.Plan's state and, in one transaction, what the step produced.
func (db *DB) Step(ctx context.Context, e *ledger.Entry, own []ledger.Own, release bool) error {
	return db.save(ctx, &saveOp{verb: step, own: own, release: release}, e)
}

// Finish ends e with what it says, the inventory row, counts and the next
// version in one transaction. From Pending it may answer ErrMoved (e.Seq is
// updated), ErrHeld, fault.Stale. It may be repeated with the same attempt. If
// e.Finished is zero it is set to now.
func (db *DB) Finish(ctx context.Context, e *ledger.Entry, end ledger.End) error {
	if e.Finished.IsZero() {
		e.Finished = fromMicros(db.clock())
	}
	if err := db.save(ctx, &saveOp{verb: finish, end: end}, e); err != nil {
		return err
	}
	e.State = ledger.Finished
	return nil
}

// FinishAll is Finish for many entries that wait for one commit together. It
// returns an answer for each.
func (db *DB) FinishAll(ctx context.Context, entries []*ledger.Entry, ends []ledger.End) []error {
	errs := make([]error, len(entries))
	ops := make([]*op, len(entries))
	for i, e := range entries {
		if e.Finished.IsZero() {
			e.Finished = fromMicros(db.clock())
		}
		o := &saveOp{verb: finish, end: ends[i]}
		var repeat bool
		if repeat, errs[i] = db.saved(ctx, o, e); repeat || errs[i] != nil {
			continue
		}
		ops[i] = &op{save: o, rows: 1}
		if errs[i] = db.work.enqueue(ctx, ops[i]); errs[i] != nil {
			ops[i] = nil
		}
	}
	for i, o := range ops {
		if o == nil {
			continue
		}
		if errs[i] = db.work.wait(o); errs[i] == nil {
			errs[i] = o.save.answer(entries[i])
		}
		if errs[i] == nil {
			entries[i].State = ledger.Finished
		}
	}
	return errs
}

// GiveBack takes e out of work without ending it: due again at due, with its
// present Lane, Error and Story. attempt=false takes back the attempt that
// PickUp counted. If events came in meanwhile, a counted attempt is followed by
// the next at once: the object may be another by now.
func (db *DB) GiveBack(ctx context.Context, e *ledger.Entry, due time.Time, attempt bool) error {
	return db.save(ctx, &saveOp{verb: give, due: due, attempt: attempt}, e)
}

func (db *DB) save(ctx context.Context, o *saveOp, e *ledger.Entry) error {
	if repeat, err := db.saved(ctx, o, e); repeat || err != nil {
		return err
	}
	if err := db.work.submit(ctx, &op{save: o, rows: 1 + len(o.own)}); err != nil {
		return err
	}
	return o.answer(e)
}

// answer is what a commit said of o, for the worker's e.
func (o *saveOp) answer(e *ledger.Entry) error {
	if errors.Is(o.err, ledger.ErrMoved) {
		e.Seq = o.seq
	}
	return o.err
}

// saved fills o in. repeat says that there is nothing to do any more.
func (db *DB) saved(ctx context.Context, o *saveOp, e *ledger.Entry) (repeat bool, err error) {
	if e.State == ledger.Finished {
		if o.verb == finish {
			return true, nil
		}
		return false, fault.New(fault.Stale, "store", object.FormatKey(e.Key), nil)
	}
	o.e = e
	if o.unit, err = db.unit(ctx, e.Unit); err != nil {
		return false, err
	}
	if o.scan, err = db.scan(ctx, e.Scan); err != nil {
		return false, err
	}
	if o.report, err = encodeReport(e); err != nil {
		return false, err
	}
	if o.plan, err = encodeList(e.Plan); err != nil {
		return false, err
	}
	o.story, err = encodeList(e.Story)
	return false, err
}

var (
	// The "+ 0" keeps SQLite from planning again for every value: whether the
	// value picks a partial index does not matter where the id does.
	saveEntry = &set{
		cols: "id:b was:i run:i begin:i strict:i hurry:i now:i " +
			"state:i running:i lane:i attempts:i due:i seq:i version:b size:i mtime:i md5:b sha1:b sha256:b outcome:i finished:i " +
			"verdict:i reason:i threat:b code:i engines:i engine:b decision:i decided_by:b report:b plan:b story:b error:b sum:i " +
			"class:i detected:i vulns:i dlp:i remedies:i",
		sql: `UPDATE entries SET state = :state, running = :running, lane = :lane, attempts = :attempts,
			due = CASE WHEN :hurry = 1 AND entries.seq <> :seq THEN :now ELSE :due END,
			version = :version, size = :size, mtime = :mtime, md5 = :md5, sha1 = :sha1, sha256 = :sha256, outcome = :outcome, finished = :finished,
			verdict = :verdict, reason = :reason, threat = :threat, code = :code, engines = :engines, engine = :engine, decision = :decision,
			decided_by = :decided_by, report = :report, plan = :plan, story = :story, error = :error, sum = :sum,
			class = :class, detected = :detected, vulns = :vulns, dlp = :dlp, remedies = :remedies
			{from} WHERE entries.id = :id AND entries.state + 0 = :was AND entries.attempts = :run AND entries.running + 0 = 1
			AND (:begin = 0 OR entries.cancel = 0) AND (:strict = 0 OR (entries.seq = :seq AND NOT EXISTS
			(SELECT 1 FROM holds h WHERE h.unit = entries.unit AND h.ikey = entries.ikey AND h.kind = 0 AND h.entry <> entries.id))) {back}`,
	}
	forgetEntry = &set{
		cols: "id:b run:i seq:i",
		sql: `DELETE FROM entries {using} WHERE entries.id = :id AND entries.state = 0 AND entries.attempts = :run AND entries.running = 1
			AND entries.seq = :seq {back}`,
	}
	entryStatus = &set{
		cols: "id:b",
		sql:  "SELECT {ord} e.state, e.running, e.attempts, e.seq, e.cancel, CASE WHEN " + heldSQL + " THEN 1 ELSE 0 END FROM entries e {also} WHERE e.id = :id",
	}
	// A pending entry of a version that became known only after the entry was made
	// (an event of our own write, or one that came while the version was being
	// acted on) loses its hint, so that its worker asks the inventory.
	doubtPending = &set{
		cols: "unit:i ikey:b version:b none:b",
		sql: `UPDATE entries SET version = :none {from} WHERE entries.unit = :unit AND entries.ikey = :ikey AND entries.state = 0 AND entries.running = 0
			AND entries.force = 0 AND entries.version = :version AND length(entries.vkey) = 0 {back}`,
	}
)

// row is what saveEntry writes for o.
func (t *turn) saveRow(o *saveOp) []any {
	e := o.e
	state, running, due, attempts, outcome, finished := int64(e.State), int64(1), int64(0), int64(e.Attempts), int64(0), int64(0)
	strict, sum := e.State == ledger.Pending && o.verb != give, int64(0)
	d := digest{class: classOpen}
	switch o.verb {
	case begin:
		state = int64(ledger.Acting)
	case give:
		running, due = 0, t.db.remote(o.due)
		if !o.attempt {
			attempts--
		}
	case finish:
		sum, d = endSum(e), digestOf(e)
		running, state, outcome, finished = 0, int64(ledger.Finished), codeOf(outcomes[:], e.Outcome), micros(e.Finished)
	}
	return []any{e.ID[:], int64(e.State), int64(e.Attempts), flag(o.verb == begin), flag(strict), flag(o.verb == give && o.attempt), t.now,
		state, running, int64(e.Lane), attempts, due, e.Seq, packVersion(e.Version), e.Size, micros(e.ModTime), blob(e.MD5), blob(e.SHA1), blob(e.SHA256), outcome, finished,
		int64(e.Verdict), reasonCode(e.Reason), text(e.Threat), int64(e.Code), int64(e.Engines), text(e.Engine), codeOf(decisions[:], e.Decision), text(e.By),
		blob(o.report), blob(o.plan), blob(o.story), text(e.Error), sum,
		int64(d.class), d.detected, d.vulns, d.dlp, d.remedies}
}

func (t *turn) save(ctx context.Context, ops []*saveOp) error {
	if len(ops) == 0 {
		return nil
	}
	ops, err := t.allowed(ctx, t.ours(ops))
	if err != nil {
		return err
	}
	done, err := t.update(ctx, ops)
	if err != nil {
		return err
	}
	if err := t.hold(ctx, done); err != nil {
		return err
	}
	var inv []invRow
	var keys []keyRef
	var dropAll, drop, doubt [][]any
	var news []ledger.Notice
	for _, o := range done {
		e := o.e
		for _, own := range o.own {
			ikey, tail := indexKey(own.Key)
			inv = append(inv, invRow{unit: own.Unit, ikey: ikey, tail: tail, version: packVersion(own.Version), verdict: int64(e.Verdict),
				reason: reasonCode(e.Reason), size: own.Size, entry: e.ID[:], gone: own.Gone})
			if !own.Gone {
				doubt = append(doubt, []any{own.Unit, ikey, packVersion(own.Version), []byte{}})
			}
			if o.release {
				drop = append(drop, []any{e.ID[:], own.Unit, ikey})
				keys = append(keys, keyRef{own.Unit, own.Key})
			}
		}
		switch o.verb {
		case give:
			due := t.db.remote(o.due)
			if o.attempt {
				due = min(due, t.now) // events may have made it due at once
			}
			t.due(e.Unit, e.Lane, due, e.Slot)
		case finish:
			inv = t.ended(o, inv)
			told, err := t.news(o)
			if err != nil {
				return err
			}
			news = append(news, told...)
			if e.State == ledger.Acting && o.end.Current {
				ikey, _ := indexKey(e.Key)
				doubt = append(doubt, []any{e.Unit, ikey, packVersion(e.Version), []byte{}})
			}
			if len(e.Plan) > 0 {
				dropAll = append(dropAll, []any{e.ID[:]})
			}
		default:
			continue
		}
		if ref := (keyRef{e.Unit, e.Key}); t.db.busy.parked(ref) {
			keys = append(keys, ref)
		}
		t.freed[e.ID] = true
		t.after = append(t.after, func() { t.db.busy.remove(e.ID) })
	}
	if _, err := t.c.each(ctx, dropHold, drop); err != nil {
		return err
	}
	if err := t.c.look(ctx, holdsOfEntry, dropAll, func(_ int, c cells) error {
		keys = append(keys, keyRef{c.i(0), wholeKey(c.b(1), nullable(c, 2))})
		return nil
	}); err != nil {
		return err
	}
	if _, err := t.c.each(ctx, dropHolds, dropAll); err != nil {
		return err
	}
	if err := t.inventory(ctx, inv); err != nil {
		return err
	}
	if _, err := t.c.each(ctx, doubtPending, doubt); err != nil {
		return err
	}
	if err := t.nexts(ctx, done); err != nil {
		return err
	}
	if err := t.db.post(ctx, t.c, news); err != nil {
		return err
	}
	return t.wake(ctx, keys)
}

// ours sorts out the entries whose slot went to another node since they were
// picked up, or came back under another epoch.
func (t *turn) ours(ops []*saveOp) (left []*saveOp) {
	for _, o := range ops {
		o.err = nil
		if epoch := t.own[o.e.Slot]; epoch > 0 && epoch == o.e.Epoch {
			left = append(left, o)
			continue
		}
		o.err = stale(o)
		t.after = append(t.after, func() { t.db.busy.remove(o.e.ID) })
	}
	return left
}

// update writes the entries and returns the ops that took effect. The others
// have their err, or are repeats of what was done before.
func (t *turn) update(ctx context.Context, ops []*saveOp) (done []*saveOp, err error) {
	var rows, forget [][]any
	var saved, known, missed []*saveOp
	for _, o := range ops {
		if o.verb == finish && o.end.Known && o.e.State == ledger.Pending {
			known = append(known, o)
			forget = append(forget, []any{o.e.ID[:], int64(o.e.Attempts), o.e.Seq})
			continue
		}
		saved = append(saved, o)
		rows = append(rows, t.saveRow(o))
	}
	for _, part := range []struct {
		set  *set
		rows [][]any
		ops  []*saveOp
	}{{forgetEntry, forget, known}, {saveEntry, rows, saved}} {
		hit, err := t.c.each(ctx, part.set, part.rows)
		if err != nil {
			return nil, err
		}
		for i, o := range part.ops {
			if hit[i] {
				done = append(done, o)
			} else {
				missed = append(missed, o)
			}
		}
	}
	return done, t.explain(ctx, missed)
}

// explain says why ops had no effect.
func (t *turn) explain(ctx context.Context, ops []*saveOp) error {
	rows := make([][]any, len(ops))
	found := make([]bool, len(ops))
	for i, o := range ops {
		rows[i] = []any{o.e.ID[:]}
	}
	err := t.c.look(ctx, entryStatus, rows, func(i int, c cells) error {
		found[i] = true
		o := ops[i]
		o.seq = c.i(3)
		state, running, attempts := ledger.State(c.i(0)), c.i(1) != 0, c.i(2)
		same := attempts == int64(o.e.Attempts)
		switch {
		case o.verb == finish && state == ledger.Finished && same: // a repeat
		case o.verb == begin && state == ledger.Acting && same && running: // a repeat
		case o.verb == give && !running && state == o.e.State && (same || !o.attempt && attempts == int64(o.e.Attempts)-1): // a repeat
		case state != o.e.State || !same || !running:
			o.err = stale(o)
		case o.verb == begin && c.i(4) != 0:
			o.err = ledger.ErrCanceled
		case c.i(5) != 0:
			o.err = ledger.ErrHeld
		default:
			o.err = ledger.ErrMoved
		}
		return nil
	})
	for i, o := range ops {
		repeat := o.verb == finish && o.end.Known
		if !found[i] && !repeat {
			o.err = stale(o)
		}
		if fault.Is(o.err, fault.Stale) || o.err == nil && o.verb >= give {
			t.after = append(t.after, func() { t.db.busy.remove(o.e.ID) })
		}
	}
	return err
}

func stale(o *saveOp) error {
	return fault.New(fault.Stale, "store", object.FormatKey(o.e.Key), nil)
}

// ended counts the end of an entry and says what becomes of its inventory row.
func (t *turn) ended(o *saveOp, inv []invRow) []invRow {
	e := o.e
	t.counts.scan(o.scan.n, 0, 0, 0, -1, 0)
	if !o.end.Known {
		t.counts.scan(o.scan.n, codeOf(outcomes[:], e.Outcome), int64(e.Verdict), codeOf(decisions[:], e.Decision), 1, max(e.Size, 0))
	}
	if !o.end.Gone && (!o.end.Current || o.end.Known) || e.Outcome == ledger.OutcomeCanceled {
		return inv
	}
	ikey, tail := indexKey(e.Key)
	version := packVersion(e.Version)
	if o.end.Provisional {
		version = append(version, '~') // no listing has it: the next sweep looks again
	}
	return append(inv, invRow{unit: e.Unit, ikey: ikey, tail: tail, version: version, verdict: int64(e.Verdict),
		reason: reasonCode(e.Reason), size: e.Size, gone: o.end.Gone})
}

// nexts makes the versions that replaced what was worked on pending.
func (t *turn) nexts(ctx context.Context, ops []*saveOp) error {
	w := &wave{fresh: map[freshKey]*fresh{}}
	for _, o := range ops {
		if o.verb != finish || o.end.Next == nil {
			continue
		}
		n := o.end.Next
		in := &intakeOp{unit: o.unit}
		w.look(&fresh{op: in, scan: o.scan, key: o.e.Key, version: n.Version, seq: 1, force: n.Force || o.e.Force,
			priority: max(n.Priority, o.e.Priority), cause: n.Cause, size: n.Size})
	}
	index(w.list)
	left, err := t.fold(ctx, w.list)
	if err != nil {
		return err
	}
	return t.insert(ctx, left)
}

// EntryHash returns the SHA-256 of the entry's bytes, nil if unknown.
func (db *DB) EntryHash(ctx context.Context, id ledger.ID) (sum []byte, err error) {
	err = db.query(ctx, "SELECT sha256 FROM entries WHERE id = ?", func(c cells) error {
		sum = nullable(c, 0)
		return nil
	}, id[:])
	return sum, err
}
