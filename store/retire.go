package store

import (
	"context"
	"strings"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

// UnitOf returns the settings of a tenant's unit by the id that callers know it
// by; of any tenant for 0. fault.NotFound if there is none, or it is retired.
func (db *DB) UnitOf(ctx context.Context, tenant int64, client ledger.ID) (connectors.Unit, error) {
	u, ok := cached(&db.names.mu, &db.names.byClient, client)
	if !ok {
		var err error
		if u, err = db.loadUnit(ctx, "client = ?", client[:]); err != nil {
			return connectors.Unit{}, err
		}
	}
	if u.unit.Disabled || tenant != 0 && u.tenant != tenant {
		return connectors.Unit{}, fault.New(fault.NotFound, "store.UnitOf", "unit", nil)
	}
	return u.unit, nil
}

// LatestEntry returns the entry of a key that came last, of one scan or, for a
// zero id, of any. fault.NotFound if there is none.
func (db *DB) LatestEntry(ctx context.Context, unit int64, key string, of ledger.ID) (id ledger.ID, err error) {
	number := int64(0)
	if of != (ledger.ID{}) {
		sc, err := db.scan(ctx, of)
		if err != nil {
			return id, err
		}
		number = sc.n
	}
	ikey, _ := indexKey(key)
	found := false
	for _, state := range []string{"e.state = 0", "e.state > 0"} { // each has its index
		err := db.query(ctx, "SELECT e.id FROM entries e WHERE e.unit = ? AND e.ikey = ? AND (? = 0 OR e.scan = ?) AND "+state+" ORDER BY e.id DESC LIMIT 1", func(c cells) error {
			id, found = toID(c.b(0)), true
			return nil
		}, unit, ikey, number, number)
		if err != nil || found {
			return id, err
		}
	}
	return id, fault.New(fault.NotFound, "store.LatestEntry", "", nil)
}

const retireSQL = "SELECT e.id, e.ikey, e.tail, e.version, e.sha256, e.scan, e.size FROM entries e WHERE e.unit = ? AND e.state = 0 AND e.running = 0 LIMIT ?"

// RetireUnit takes a unit out of use for good: it is disabled, its name is free,
// its scans are stopped, its cursors are gone and what is pending ends as
// canceled. What is known of its objects stays. left is how many entries are in
// work at this moment: those are asked to end, and a later call ends them.
func (db *DB) RetireUnit(ctx context.Context, id int64) (left int64, err error) {
	err = db.do(ctx, func(ctx context.Context, c conn) error {
		now := micros(db.now())
		var name, end string
		if err := c.query(ctx, "SELECT name, client FROM units WHERE id = ?", func(c cells) error { name, end = c.s(0), "#"+toID(c.b(1)).String(); return nil }, id); err != nil {
			return err
		}
		if name == "" {
			return fault.New(fault.NotFound, "store.RetireUnit", "", nil)
		}
		name = strings.TrimSuffix(name, end) + end // another may have the name from now on
		for _, s := range []struct {
			sql  string
			args []any
		}{
			{"UPDATE units SET disabled = 1, managed = 0, name = ?, changed = ? WHERE id = ?", []any{[]byte(name), now, id}},
			{"DELETE FROM cursors WHERE unit = ?", []any{id}},
			{"UPDATE scans SET state = ?, ended = ? WHERE unit = ? AND state = ?", []any{[]byte(ScanStopped), now, id, []byte(ScanRunning)}},
			{"UPDATE entries SET cancel = 1 WHERE unit = ? AND state = 0 AND running = 1", []any{id}},
		} {
			if _, err := c.exec(ctx, s.sql, s.args...); err != nil {
				return err
			}
		}
		return db.announce(ctx, c)
	})
	db.names.forget()
	for err == nil {
		n := 0
		if n, err = db.endPending(ctx, id); n < maxRows {
			break
		}
	}
	if err != nil {
		return 0, err
	}
	err = db.query(ctx, "SELECT count(*) FROM entries WHERE unit = ? AND state < 2 AND running = 1", func(c cells) error {
		left = c.i(0)
		return nil
	}, id)
	return left, err
}

// Acting counts a unit's entries whose plan is being carried out.
func (db *DB) Acting(ctx context.Context, unit int64) (n int64, err error) {
	err = db.query(ctx, "SELECT count(*) FROM entries WHERE unit = ? AND state = 1", func(c cells) error {
		n = c.i(0)
		return nil
	}, unit)
	return n, err
}

// endPending ends up to maxRows of a unit's pending entries as canceled, and
// returns how many it found.
func (db *DB) endPending(ctx context.Context, unit int64) (n int, err error) {
	err = db.do(ctx, func(ctx context.Context, c conn) error {
		var rows [][]any
		var ends []func(*counts)
		canceled := codeOf(outcomes[:], ledger.OutcomeCanceled)
		err := c.query(ctx, retireSQL, func(c cells) error {
			e := ledger.Entry{ID: toID(c.b(0)), Key: wholeKey(c.b(1), nullable(c, 2)), Version: unpackVersion(c.b(3)), SHA256: nullable(c, 4),
				Outcome: ledger.OutcomeCanceled, Verdict: scan.NotScanned, Reason: scan.Canceled}
			rows = append(rows, []any{e.ID[:], db.clock(), int64(e.Verdict), reasonCode(e.Reason), canceled, endSum(&e)})
			sc, size := c.i(5), max(c.i(6), 0)
			ends = append(ends, func(n *counts) {
				n.scan(sc, 0, 0, 0, -1, 0)
				n.scan(sc, canceled, int64(scan.NotScanned), 0, 1, size)
			})
			return nil
		}, unit, maxRows)
		if err != nil {
			return err
		}
		n = len(rows)
		hit, err := c.each(ctx, endGone, rows)
		if err != nil {
			return err
		}
		var change counts
		for i, h := range hit {
			if h {
				ends[i](&change)
			}
		}
		return change.write(ctx, c, db.work.shard)
	})
	return n, err
}

// ScanOf returns a scan of a unit, fault.NotFound if the unit has none of the id.
func (db *DB) ScanOf(ctx context.Context, unit int64, id ledger.ID) (ledger.Scan, error) {
	s, err := db.scan(ctx, id)
	if err == nil && s.unit != unit {
		err = fault.New(fault.NotFound, "store", "scan", nil)
	}
	if err != nil {
		return ledger.Scan{}, err
	}
	return s.scan, nil
}
