package store

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

const latestColumns = "e.id, e.version, e.story, e.finished, e.outcome, e.verdict, e.reason, e.threat, e.decision, e.size, e.attempts, e.error, e.decided_by"

var (
	latestEntry = &set{
		cols: "unit:i ikey:b scan:i vkey:b",
		sql: "SELECT " + latestColumns + ` FROM entries e WHERE e.unit = :unit AND e.ikey = :ikey AND e.state > 0 AND e.state = 2 AND e.scan = :scan
			AND (length(:vkey) = 0 OR e.vkey = :vkey) ORDER BY e.id DESC LIMIT 1`,
		pg: "SELECT {ord} " + latestColumns + ` FROM (SELECT 1) one {also} CROSS JOIN LATERAL (SELECT * FROM entries e WHERE e.unit = :unit AND e.ikey = :ikey
			AND e.state > 0 AND e.state = 2 AND e.scan = :scan AND (length(:vkey) = 0 OR e.vkey = :vkey) ORDER BY e.id DESC LIMIT 1) e`,
	}
	entryByID = &set{
		cols: "id:b",
		sql:  "SELECT {ord} " + latestColumns + ", e.unit, e.scan, e.ikey, e.tail FROM entries e {also} WHERE e.id = :id AND e.state = 2",
	}
	reopenEntry = &set{
		cols: "id:b now:i seq:i priority:i cause:b workflow:i story:b class:i",
		sql: `UPDATE entries SET state = 0, running = 0, parked = 0, lane = 0, priority = :priority, due = :now, seq = entries.seq + :seq, force = 1, attempts = 0, crashes = 0,
			cancel = 0, cause = :cause, workflow = :workflow, started = 0, finished = 0, outcome = 0, verdict = 0, reason = 0, threat = NULL, code = 0, engines = 0,
			engine = NULL, decision = 0, decided_by = NULL, report = NULL, plan = NULL, error = NULL, story = :story, class = :class, detected = 0, vulns = 0, dlp = 0, remedies = 0
			{from} WHERE entries.id = :id AND entries.state = 2 AND NOT EXISTS (SELECT 1 FROM entries p WHERE p.unit = entries.unit AND p.ikey = entries.ikey
			AND p.scan = entries.scan AND p.vkey = entries.vkey AND p.state = 0) {back}`,
	}
)

// A reopening takes a finished entry back to pending.
type reopening struct {
	fresh *fresh
	row   []any
	was   [3]int64 // outcome, verdict, decision
	size  int64
}

// rescan gives forced events to what is pending, or takes the finished entry of
// the same version back to pending. Those that found neither stay.
func (t *turn) rescan(ctx context.Context, list []*fresh) error {
	left, err := t.fold(ctx, list)
	if err != nil || len(left) == 0 {
		return err
	}
	rows := make([][]any, len(left))
	for i, f := range left {
		rows[i] = []any{f.op.unit.id, f.ikey, f.scan.n, f.vkey}
	}
	var again []reopening
	err = t.c.look(ctx, latestEntry, rows, func(i int, c cells) error {
		f := left[i]
		if f.version != "" && f.version != unpackVersion(c.b(1)) {
			return nil
		}
		r, err := t.reopening(c, f)
		again = append(again, r)
		return err
	})
	if err != nil {
		return err
	}
	return t.reopen(ctx, again)
}

func (t *turn) reopening(c cells, f *fresh) (reopening, error) {
	e := ledger.Entry{ID: toID(c.b(0)), Version: unpackVersion(c.b(1))}
	if b := nullable(c, 2); b != nil {
		if err := json.Unmarshal(b, &e.Story); err != nil {
			return reopening{}, damaged(e.ID, "story", err)
		}
	}
	e.Tell(fromMicros(c.i(3)), "finish", strings.Join(strings.Fields(strings.Join([]string{string(wordOf(outcomes[:], c.i(4))), scan.Verdict(c.i(5)).String(),
		string(reasonWord(c.i(6))), c.s(7), string(wordOf(decisions[:], c.i(8))), c.s(12), c.s(11)}, " ")), " "))
	e.Tell(fromMicros(t.now), "rescan", f.cause)
	story, err := encodeList(e.Story)
	return reopening{fresh: f, was: [3]int64{c.i(4), c.i(5), c.i(8)}, size: max(c.i(9), 0),
		row: []any{e.ID[:], t.now, f.seq, int64(f.priority), text(f.cause), f.scan.workflow, blob(story), int64(classOpen)}}, err
}

func (t *turn) reopen(ctx context.Context, list []reopening) error {
	rows := make([][]any, len(list))
	for i, r := range list {
		rows[i] = r.row
	}
	hit, err := t.c.each(ctx, reopenEntry, rows)
	if err != nil {
		return err
	}
	for i, r := range list {
		if !hit[i] {
			continue
		}
		f := r.fresh
		f.gone = true
		f.op.taken.Inserted++
		t.counts.scan(f.scan.n, r.was[0], r.was[1], r.was[2], -1, -r.size)
		t.counts.scan(f.scan.n, 0, 0, 0, 1, 0)
		t.due(f.op.unit.id, ledger.Small, t.now, slotOf(f.op.unit.id, f.key))
	}
	return nil
}

// Replay takes finished entries back to pending, at priority 0 and whatever
// their outcome was, and returns how many. Those that are not finished, or
// whose key has a pending entry of the scan, are left as they are.
func (db *DB) Replay(ctx context.Context, by string, ids ...ledger.ID) (n int, err error) {
	for len(ids) > 0 {
		part := ids[:min(len(ids), maxRows)]
		ids = ids[len(part):]
		o := &intakeOp{replay: part, by: by}
		if err := db.work.submit(ctx, &op{intake: o, rows: len(part)}); err != nil {
			return n, err
		}
		n += o.taken.Inserted
	}
	return n, nil
}

func (t *turn) replay(ctx context.Context, o *intakeOp) error {
	if len(o.replay) == 0 {
		return nil
	}
	rows := make([][]any, len(o.replay))
	for i, id := range o.replay {
		rows[i] = []any{id[:]}
	}
	var list []reopening
	err := t.c.look(ctx, entryByID, rows, func(i int, c cells) error {
		r := c[len(strings.Split(latestColumns, ",")):]
		u, err := t.db.unit(ctx, r.i(0))
		if err != nil {
			return err
		}
		sc, err := t.db.scanNumber(ctx, r.i(1))
		if err != nil {
			return err
		}
		f := &fresh{op: &intakeOp{unit: u}, scan: sc, key: wholeKey(r.b(2), nullable(r, 3)), seq: 1, cause: "replay " + o.by}
		ro, err := t.reopening(c, f)
		list = append(list, ro)
		return err
	})
	if err != nil {
		return err
	}
	if err := t.reopen(ctx, list); err != nil {
		return err
	}
	for _, r := range list {
		o.taken.Inserted += r.fresh.op.taken.Inserted
	}
	return nil
}

// Cancel asks for the end of the scan's entries: Begin refuses them, and those
// that nobody works on end as canceled when they are picked up. It returns how
// many were asked.
func (db *DB) Cancel(ctx context.Context, id ledger.ID) (n int64, err error) {
	sc, err := db.scan(ctx, id)
	if err != nil {
		return 0, err
	}
	err = db.do(ctx, func(ctx context.Context, c conn) (err error) {
		n, err = db.cancelIn(ctx, c, sc)
		return err
	})
	if err == nil {
		db.bringAll(sc.unit)
	}
	return n, err
}

const cancelSQL = "UPDATE entries SET cancel = 1, due = CASE WHEN running = 0 AND parked = 0 THEN CAST(? AS BIGINT) ELSE due END WHERE state = 0 AND "

func (db *DB) cancelIn(ctx context.Context, c conn, sc *scanRow) (int64, error) {
	n, err := c.exec(ctx, cancelSQL+"unit = ? AND scan = ?", db.clock(), sc.unit, sc.n)
	if err != nil || n == 0 {
		return n, err
	}
	return n, db.notify(ctx, c, map[int64]bool{sc.unit: true})
}

// bringAll lets the unit's entries be looked for at once.
func (db *DB) bringAll(unit int64) {
	for lane := ledger.Small; lane <= ledger.Alone; lane++ {
		db.ready.bring(line{unit, lane}, db.now())
	}
	db.ready.signal()
}

// CancelEntry asks for the end of one entry that is pending: false if it is not.
func (db *DB) CancelEntry(ctx context.Context, unit int64, id ledger.ID) (bool, error) {
	var n int64
	err := db.do(ctx, func(ctx context.Context, c conn) (err error) {
		if n, err = c.exec(ctx, cancelSQL+"id = ?", db.clock(), id[:]); err != nil || n == 0 {
			return err
		}
		return db.notify(ctx, c, map[int64]bool{unit: true})
	})
	if err == nil && n > 0 {
		db.bringAll(unit)
	}
	return n > 0, err
}
