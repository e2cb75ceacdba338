package store

import (
	"context"
	"fmt"

	"github.com/landwaiter/landwaiter/object"
)

// A Problem is something in the ledger that cannot be so.
type Problem struct {
	What   string // what is wrong, in words
	Where  string // the row or the count
	Repair string // what to do about it
}

// maxProblems bounds what one check of Fsck lists.
const maxProblems = 100

// What to do about a problem.
const (
	repairRestore = "stop landwaiter and restore the data directory from a backup, or remove ledger.db: the next start sweeps every unit again"
	repairCounts  = "start landwaiter with `fsck --repair`, which counts again"
	repairRescan  = "rescan the object"
)

// Fsck checks that the ledger agrees with itself, at most 100 problems a check.
// deep reads every page and compares every inventory row with its entry.
func (db *DB) Fsck(ctx context.Context, deep bool) ([]Problem, error) {
	var out []Problem
	checks := []func(context.Context, bool, *[]Problem) error{db.fsckPages, db.fsckStates, db.fsckHolds, db.fsckCounts, db.fsckVerdicts, db.fsckSums}
	for _, check := range checks {
		if err := check(ctx, deep, &out); err != nil {
			return out, err
		}
	}
	return out, nil
}

// fsckPages asks SQLite whether its file is whole. PostgreSQL has checksums and
// tools of its own.
func (db *DB) fsckPages(ctx context.Context, deep bool, out *[]Problem) error {
	if db.dollar {
		return nil
	}
	check := "quick_check"
	if deep {
		check = "integrity_check"
	}
	return db.query(ctx, fmt.Sprintf("PRAGMA %s(%d)", check, maxProblems), func(c cells) error {
		if s := c.s(0); s != "ok" {
			*out = append(*out, Problem{What: "the database file is damaged", Where: s, Repair: repairRestore})
		}
		return nil
	})
}

func (db *DB) fsckStates(ctx context.Context, _ bool, out *[]Problem) error {
	for _, c := range []struct{ what, where string }{
		{"no such state", "e.state NOT IN (0, 1, 2)"},
		{"finished without an outcome", "e.state = 2 AND e.outcome NOT IN (1, 2, 3, 4, 5)"},
		{"finished, yet in the queue", "e.state = 2 AND e.running <> 0"},
		{"done without a verdict", "e.state = 2 AND e.outcome = 1 AND e.verdict NOT IN (1, 2, 3, 4)"},
		{"of a unit, scan or workflow that is not in the ledger", "e.unit NOT IN (SELECT id FROM units) OR e.scan NOT IN (SELECT n FROM scans) OR e.workflow NOT IN (SELECT n FROM workflows)"},
	} {
		err := db.query(ctx, "SELECT e.id, e.ikey, e.tail FROM entries e WHERE "+c.where+" LIMIT ?", func(r cells) error {
			*out = append(*out, Problem{What: c.what, Where: "entry " + toID(r.b(0)).String() + " " + object.FormatKey(wholeKey(r.b(1), nullable(r, 2))), Repair: repairRescan})
			return nil
		}, maxProblems)
		if err != nil {
			return err
		}
	}
	return nil
}

func (db *DB) fsckHolds(ctx context.Context, _ bool, out *[]Problem) error {
	return db.query(ctx, "SELECT h.ikey, h.tail, h.entry FROM holds h LEFT JOIN entries e ON e.id = h.entry WHERE e.id IS NULL OR e.state <> 1 LIMIT ?", func(c cells) error {
		*out = append(*out, Problem{What: "held for an entry that does not act", Where: object.FormatKey(wholeKey(c.b(0), nullable(c, 1))) + " for entry " + toID(c.b(2)).String(),
			Repair: "start landwaiter with `fsck --repair`, which ends the hold"})
		return nil
	}, maxProblems)
}

const (
	inventoryCountSQL = "SELECT unit, verdict, reason, count(*) AS n, sum(CASE WHEN size > 0 THEN size ELSE 0 END) AS bytes FROM inventory GROUP BY unit, verdict, reason"
	pendingCountSQL   = "SELECT scan, count(*) AS n FROM entries WHERE state < 2 GROUP BY scan"
)

func (db *DB) fsckCounts(ctx context.Context, _ bool, out *[]Problem) error {
	// Both sides in one statement see one moment.
	err := db.query(ctx, `SELECT unit, verdict, reason, CAST(sum(n) AS BIGINT), CAST(sum(kept) AS BIGINT) FROM (
		SELECT unit, verdict, reason, n, 0 AS kept FROM (`+inventoryCountSQL+`) i UNION ALL
		SELECT unit, verdict, reason, 0, n FROM unit_counts) b GROUP BY unit, verdict, reason HAVING sum(n) <> sum(kept)`, func(c cells) error {
		*out = append(*out, Problem{What: fmt.Sprintf("the inventory has %d objects, the count says %d", c.i(3), c.i(4)),
			Where: fmt.Sprintf("unit %d, verdict %d, reason %d", c.i(0), c.i(1), c.i(2)), Repair: repairCounts})
		return nil
	})
	if err != nil {
		return err
	}
	// What became of finished entries is counted beyond their retention.
	return db.query(ctx, `SELECT scan, CAST(sum(n) AS BIGINT), CAST(sum(kept) AS BIGINT) FROM (
		SELECT scan, n, 0 AS kept FROM (`+pendingCountSQL+`) e UNION ALL
		SELECT scan, 0, n FROM scan_counts WHERE outcome = 0) b GROUP BY scan HAVING sum(n) <> sum(kept)`, func(c cells) error {
		*out = append(*out, Problem{What: fmt.Sprintf("the scan has %d unfinished entries, the count says %d", c.i(1), c.i(2)),
			Where: fmt.Sprintf("scan %d", c.i(0)), Repair: repairCounts})
		return nil
	})
}

// fsckVerdicts compares the inventory with the entries that it came from.
func (db *DB) fsckVerdicts(ctx context.Context, deep bool, out *[]Problem) error {
	if !deep {
		return nil
	}
	const same = "e.unit = i.unit AND e.ikey = i.ikey AND e.state > 0 AND e.state = 2 AND e.version = i.version"
	return db.query(ctx, "SELECT i.ikey, i.tail, i.verdict FROM inventory i WHERE i.entry IS NULL AND EXISTS (SELECT 1 FROM entries e WHERE "+same+
		") AND NOT EXISTS (SELECT 1 FROM entries e WHERE "+same+" AND e.verdict = i.verdict AND e.reason = i.reason) LIMIT ?", func(c cells) error {
		*out = append(*out, Problem{What: fmt.Sprintf("the inventory says verdict %d, no entry of the version does", c.i(2)),
			Where: object.FormatKey(wholeKey(c.b(0), nullable(c, 1))), Repair: repairRescan})
		return nil
	}, maxProblems)
}

// fsckSums looks at every row that says what was found.
func (db *DB) fsckSums(ctx context.Context, deep bool, out *[]Problem) error {
	if !deep {
		return nil
	}
	enough := len(*out) + maxProblems
	err := db.query(ctx, "SELECT "+inventoryColumns+" FROM inventory", func(c cells) error {
		if !rowWhole(c) && len(*out) < enough {
			*out = append(*out, Problem{What: "the inventory row is damaged", Where: object.FormatKey(wholeKey(c.b(0), nullable(c, 1))),
				Repair: "start landwaiter with `fsck --repair`, which removes it: the next sweep scans the object"})
		}
		return nil
	})
	if err != nil {
		return err
	}
	enough = len(*out) + maxProblems
	return db.query(ctx, "SELECT "+entryColumns+" FROM entries e WHERE e.state = 2", func(c cells) error {
		e, err := db.entry(ctx, c)
		if (err != nil || e.Error == damagedRow) && len(*out) < enough {
			*out = append(*out, Problem{What: "the entry is damaged", Where: e.ID.String() + " " + object.FormatKey(e.Key), Repair: repairRescan})
		}
		return ctx.Err()
	})
}

// removeDamaged takes damaged rows out of the inventory.
func (db *DB) removeDamaged(ctx context.Context, c conn) error {
	var bad [][]any
	err := c.query(ctx, "SELECT "+inventoryColumns+" FROM inventory", func(c cells) error {
		if !rowWhole(c) {
			bad = append(bad, []any{c.i(8), c.b(0)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = c.each(ctx, removeInventory, bad)
	return err
}

// Repair removes damaged inventory rows, counts again and ends the holds that
// Fsck would name. It returns what is left.
func (db *DB) Repair(ctx context.Context) ([]Problem, error) {
	err := db.do(ctx, func(ctx context.Context, c conn) error {
		if !db.alone() {
			if _, err := c.exec(ctx, "LOCK TABLE inventory, entries, unit_counts, scan_counts, holds IN SHARE ROW EXCLUSIVE MODE"); err != nil {
				return err
			}
		}
		if err := db.removeDamaged(ctx, c); err != nil {
			return err
		}
		for _, q := range []string{
			"DELETE FROM unit_counts",
			"INSERT INTO unit_counts (unit, shard, verdict, reason, n, bytes) SELECT unit, 0, verdict, reason, n, bytes FROM (" + inventoryCountSQL + ") i",
			"DELETE FROM scan_counts WHERE outcome = 0",
			"INSERT INTO scan_counts (scan, shard, outcome, verdict, decision, n, bytes) SELECT scan, 0, 0, 0, 0, n, 0 FROM (" + pendingCountSQL + ") e",
			"DELETE FROM holds WHERE NOT EXISTS (SELECT 1 FROM entries e WHERE e.id = holds.entry AND e.state = 1)",
		} {
			if _, err := c.exec(ctx, q); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return db.Fsck(ctx, false)
}
