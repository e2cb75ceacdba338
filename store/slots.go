package store

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
)

// ownership is which slots are this node's, since which epoch, and until when by
// this process's monotonic clock.
type ownership struct {
	mu     sync.RWMutex
	slot   [slots]owned
	until  time.Time
	always bool // SQLite: all are ours while the process lives
}

type owned struct {
	ours   bool
	epoch  int64
	giving bool // to be given away: nothing is picked up from it any more
}

func (o *ownership) ours(slot uint8) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.slot[slot].ours
}

// owned returns the epochs of the slots that are ours. On PostgreSQL it asks the
// database: c's transaction shares the assignment lock, so that the answer is
// good until its commit. Epochs are above 0.
func (db *DB) owned(ctx context.Context, c conn) (own [slots]int64, err error) {
	if !db.alone() {
		err = c.query(ctx, "SELECT slot, epoch FROM slots WHERE node = ?", func(c cells) error {
			own[c.i(0)] = c.i(1)
			return nil
		}, db.node[:])
		return own, err
	}
	db.slots.mu.RLock()
	defer db.slots.mu.RUnlock()
	for i, s := range db.slots.slot {
		own[i] = s.epoch
	}
	return own, nil
}

// slots are those to pick up from: ours and not about to be given away.
func (t *turn) slots() []int64 {
	o := t.db.slots
	o.mu.RLock()
	defer o.mu.RUnlock()
	out := make([]int64, 0, slots)
	for i, s := range o.slot {
		if t.own[i] > 0 && s.ours && !s.giving {
			out = append(out, int64(i))
		}
	}
	return out
}

// Lease is until when, by this process's monotonic clock, the slot is ours.
// Zero time: it is not.
func (db *DB) Lease(slot uint8) time.Time {
	o := db.slots
	o.mu.RLock()
	defer o.mu.RUnlock()
	switch {
	case !o.slot[slot].ours:
		return time.Time{}
	case o.always:
		return time.Now().Add(100 * 365 * 24 * time.Hour)
	}
	return o.until
}

// takeAll makes all slots ours under a new epoch: on SQLite the lock on the
// directory has shown that no one else lives.
func (db *DB) takeAll(ctx context.Context) error {
	var epoch int64
	err := db.do(ctx, func(ctx context.Context, c conn) error {
		if err := c.query(ctx, "SELECT value FROM meta WHERE name = 'epoch'", func(c cells) (err error) {
			epoch, err = strconv.ParseInt(c.s(0), 10, 64)
			return err
		}); err != nil {
			return err
		}
		epoch++
		if _, err := c.exec(ctx, "INSERT INTO meta (name, value) VALUES ('epoch', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", strconv.FormatInt(epoch, 10)); err != nil {
			return err
		}
		return db.died(ctx, c, nil)
	})
	if err != nil {
		return err
	}
	db.slots.mu.Lock()
	for i := range db.slots.slot {
		db.slots.slot[i] = owned{ours: true, epoch: epoch}
	}
	db.slots.always = true
	db.slots.mu.Unlock()
	return db.lookDue(ctx, nil)
}

// blame is the column of crashedEntry that says whether the death counts.
const blame = 4

var crashedEntry = &set{
	cols: "id:b now:i lane:i story:b blame:i",
	sql: `UPDATE entries SET running = 0, due = :now, lane = :lane, crashes = entries.crashes + :blame, story = :story
		{from} WHERE entries.id = :id AND entries.state < 2 AND entries.running = 1 {back}`,
}

// died puts the entries that were in work when their node died back, to run alone.
// A death counts against an entry that ran alone already, or was the only one:
// among others it says nothing of any of them, and processes are killed for
// other reasons than what they read. mine are the slots gained (nil = all).
func (db *DB) died(ctx context.Context, c conn, mine []int64) error {
	where, args := "", []any{}
	if mine != nil {
		where, args = " AND e.slot = ANY(?)", append(args, mine)
	}
	now := db.clock()
	var rows [][]any
	var keys []keyRef
	err := c.query(ctx, "SELECT e.id, e.story, e.unit, e.ikey, e.tail, e.lane FROM entries e WHERE e.state < 2 AND e.running = 1"+where, func(c cells) error {
		e := ledger.Entry{ID: toID(c.b(0))}
		if b := nullable(c, 1); b != nil {
			if err := json.Unmarshal(b, &e.Story); err != nil {
				return damaged(e.ID, "story", err)
			}
		}
		e.Tell(fromMicros(now), "crash", "the process died while this entry was in work")
		story, err := encodeList(e.Story)
		keys = append(keys, keyRef{c.i(2), wholeKey(c.b(3), nullable(c, 4))})
		rows = append(rows, []any{e.ID[:], now, int64(ledger.Alone), story, flag(ledger.Lane(c.i(5)) == ledger.Alone)})
		return err
	}, args...)
	if err != nil {
		return err
	}
	if len(rows) == 1 {
		rows[0][blame] = int64(1)
	}
	if _, err = c.each(ctx, crashedEntry, rows); err != nil {
		return err
	}
	for _, ref := range keys { // others of the key may have been parked behind it: its end wakes them
		db.busy.park(ref, true)
	}
	return nil
}

const (
	liteLines = "SELECT unit, lane FROM entries WHERE state < 2 AND running = 0 AND (unit, lane) > (?, ?) ORDER BY unit, lane LIMIT 1"

	// From one line of a slot to the next, without reading what is in them.
	pgLines = `WITH RECURSIVE r AS (
		SELECT s.slot, f.unit, f.lane FROM unnest(?::bigint[]) s(slot) CROSS JOIN LATERAL
			(SELECT unit, lane FROM entries WHERE slot = s.slot AND state < 2 ORDER BY unit, lane LIMIT 1) f
		UNION ALL
		SELECT r.slot, f.unit, f.lane FROM r CROSS JOIN LATERAL
			(SELECT unit, lane FROM entries WHERE slot = r.slot AND state < 2 AND (unit, lane) > (r.unit, r.lane) ORDER BY unit, lane LIMIT 1) f)
		SELECT DISTINCT unit, lane FROM r`
)

// lookDue notes which lines of the slots given have work, after they became
// ours. The exact time is for PickUp to find.
func (db *DB) lookDue(ctx context.Context, slots []int64) error {
	var found []line
	err := db.do(ctx, func(ctx context.Context, c conn) error {
		found = nil
		add := func(c cells) error {
			found = append(found, line{c.i(0), ledger.Lane(c.i(1))})
			return nil
		}
		if !db.alone() {
			return c.query(ctx, pgLines, add, slots)
		}
		for n, last := -1, (line{-1, 0}); n < len(found); {
			n = len(found)
			if err := c.query(ctx, liteLines, add, last.unit, int64(last.lane)); err != nil {
				return err
			}
			if len(found) > n {
				last = found[n]
			}
		}
		return nil
	})
	for _, l := range found {
		db.ready.bring(l, db.now())
	}
	db.ready.signal()
	return err
}

// reconcile gives back what the database has as in work and this process does
// not know of: the answer to a pick-up was lost.
func (db *DB) reconcile(ctx context.Context, c conn) error {
	where, args := "", []any{}
	if !db.alone() {
		where, args = " AND e.slot = ANY(?)", append(args, db.slots.all())
	}
	var lost []ledger.ID
	lines := map[line]bool{}
	if err := c.begin(ctx); err != nil {
		return err
	}
	err := c.query(ctx, "SELECT e.id, e.unit, e.lane FROM entries e WHERE e.state < 2 AND e.running = 1"+where, func(c cells) error {
		if id := toID(c.b(0)); !db.busy.has(id) {
			lost = append(lost, id)
			lines[line{c.i(1), ledger.Lane(c.i(2))}] = true
		}
		return nil
	}, args...)
	for _, id := range lost {
		if err == nil {
			_, err = c.exec(ctx, "UPDATE entries SET running = 0, due = ?, attempts = attempts - 1 WHERE id = ? AND state < 2 AND running = 1", db.clock(), id[:])
		}
	}
	if err == nil {
		err = c.commit(ctx)
	}
	if err != nil {
		c.rollback()
		return err
	}
	if len(lost) > 0 {
		db.log.Warn("ledger: took back entries whose pick-up had no answer", "entries", len(lost))
		for l := range lines {
			db.ready.bring(l, db.now())
		}
		db.ready.signal()
	}
	return nil
}

// all are the slots that are ours, those to be given away too.
func (o *ownership) all() []int64 {
	o.mu.RLock()
	defer o.mu.RUnlock()
	out := make([]int64, 0, slots)
	for i, s := range o.slot {
		if s.ours {
			out = append(out, int64(i))
		}
	}
	return out
}
