package store

import (
	"cmp"
	"context"
	"slices"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/workflow"
)

// counts are differences that a transaction makes to the counts of units (what
// the inventory holds) and scans (what became of their entries).
type counts struct {
	units map[[3]int64]delta // unit, verdict, reason
	scans map[[4]int64]delta // scan, outcome, verdict, decision
}

type delta struct{ n, bytes int64 }

func (c *counts) unit(unit, verdict, reason, n, bytes int64) {
	if c.units == nil {
		c.units = map[[3]int64]delta{}
	}
	k := [3]int64{unit, verdict, reason}
	d := c.units[k]
	c.units[k] = delta{d.n + n, d.bytes + bytes}
}

func (c *counts) scan(scan, outcome, verdict, decision, n, bytes int64) {
	if c.scans == nil {
		c.scans = map[[4]int64]delta{}
	}
	k := [4]int64{scan, outcome, verdict, decision}
	d := c.scans[k]
	c.scans[k] = delta{d.n + n, d.bytes + bytes}
}

var (
	addUnitCount = &set{
		cols: "unit:i shard:i verdict:i reason:i n:i bytes:i",
		sql: `INSERT INTO unit_counts AS t (unit, shard, verdict, reason, n, bytes) SELECT :unit, :shard, :verdict, :reason, :n, :bytes {from} WHERE TRUE {order}
			ON CONFLICT (unit, shard, verdict, reason) DO UPDATE SET n = t.n + excluded.n, bytes = t.bytes + excluded.bytes`,
	}
	addScanCount = &set{
		cols: "scan:i shard:i outcome:i verdict:i decision:i n:i bytes:i",
		sql: `INSERT INTO scan_counts AS t (scan, shard, outcome, verdict, decision, n, bytes) SELECT :scan, :shard, :outcome, :verdict, :decision, :n, :bytes {from} WHERE TRUE {order}
			ON CONFLICT (scan, shard, outcome, verdict, decision) DO UPDATE SET n = t.n + excluded.n, bytes = t.bytes + excluded.bytes`,
	}
)

// write adds the differences to the rows of the shard.
func (c *counts) write(ctx context.Context, to conn, shard int64) error {
	var rows [][]any
	for k, d := range c.units {
		if d != (delta{}) {
			rows = append(rows, []any{k[0], shard, k[1], k[2], d.n, d.bytes})
		}
	}
	if err := eachSorted(ctx, to, addUnitCount, rows); err != nil {
		return err
	}
	rows = nil
	for k, d := range c.scans {
		if d != (delta{}) {
			rows = append(rows, []any{k[0], shard, k[1], k[2], k[3], d.n, d.bytes})
		}
	}
	return eachSorted(ctx, to, addScanCount, rows)
}

func eachSorted(ctx context.Context, to conn, s *set, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	slices.SortFunc(rows, func(a, b []any) int {
		for i := range a {
			if d := cmp.Compare(a[i].(int64), b[i].(int64)); d != 0 {
				return d
			}
		}
		return 0
	})
	_, err := to.each(ctx, s, rows)
	return err
}

// Count is ledger.Count.
type Count = ledger.Count

// Counts returns how many objects of the unit (0 = all units) have each verdict
// and reason, as the inventory has them now.
func (db *DB) Counts(ctx context.Context, unit int64) ([]Count, error) {
	var out []Count
	err := db.query(ctx, `SELECT unit, verdict, reason, CAST(sum(n) AS BIGINT), CAST(sum(bytes) AS BIGINT) FROM unit_counts WHERE ? = 0 OR unit = ?
		GROUP BY unit, verdict, reason ORDER BY unit, verdict, reason`, func(c cells) error {
		if c.i(3) != 0 {
			out = append(out, Count{Unit: c.i(0), Verdict: scan.Verdict(c.i(1)), Reason: reasonWord(c.i(2)),
				Baseline: c.i(2) == codeBaseline, Objects: c.i(3), Bytes: c.i(4)})
		}
		return nil
	}, unit, unit)
	return out, err
}

// A ScanCount says how many entries of a scan came to an end.
type ScanCount struct {
	Outcome  ledger.Outcome // "" counts those that are not finished
	Verdict  scan.Verdict
	Decision workflow.Decision
	Entries  int64
	Bytes    int64
}

// ScanCounts returns what became of a scan's entries.
func (db *DB) ScanCounts(ctx context.Context, id ledger.ID) ([]ScanCount, error) {
	sc, err := db.scan(ctx, id)
	if err != nil {
		return nil, err
	}
	var out []ScanCount
	err = db.query(ctx, `SELECT outcome, verdict, decision, CAST(sum(n) AS BIGINT), CAST(sum(bytes) AS BIGINT) FROM scan_counts WHERE scan = ?
		GROUP BY outcome, verdict, decision ORDER BY outcome, verdict, decision`, func(c cells) error {
		if c.i(3) != 0 {
			out = append(out, ScanCount{Outcome: wordOf(outcomes[:], c.i(0)), Verdict: scan.Verdict(c.i(1)),
				Decision: wordOf(decisions[:], c.i(2)), Entries: c.i(3), Bytes: c.i(4)})
		}
		return nil
	}, sc.n)
	return out, err
}

// Backlog counts the unit's entries that are not finished; for 0 those of all
// units but disabled ones, on which nobody works.
func (db *DB) Backlog(ctx context.Context, unit int64) (n int64, err error) {
	sql, args := `SELECT CAST(coalesce(sum(c.n), 0) AS BIGINT) FROM units u JOIN scans s ON s.unit = u.id JOIN scan_counts c ON c.scan = s.n
		WHERE u.disabled = 0 AND c.outcome = 0`, []any{}
	if unit != 0 {
		sql, args = "SELECT CAST(coalesce(sum(c.n), 0) AS BIGINT) FROM scans s JOIN scan_counts c ON c.scan = s.n WHERE s.unit = ? AND c.outcome = 0", []any{unit}
	}
	err = db.query(ctx, sql, func(c cells) error {
		n = c.i(0)
		return nil
	}, args...)
	return n, err
}

// Coverage is what promise 1 is counted from.
type Coverage struct {
	Objects    int64 // in the inventory, baseline included
	Scanned    int64 // clean, suspicious or infected
	NotScanned int64 // ended without a verdict, filtered ones included
	Filtered   int64 // left out by a filter: part of NotScanned
	Baseline   int64 // older than the scan's start date
	Pending    int64 // entries that are not finished
	Failed     int64 // entries that used up their attempts: listed, replayable
}

// Coverage returns the numbers of the unit, or of all for 0.
func (db *DB) Coverage(ctx context.Context, unit int64) (Coverage, error) {
	var out Coverage
	list, err := db.Counts(ctx, unit)
	if err != nil {
		return out, err
	}
	for _, c := range list {
		out.Objects += c.Objects
		switch {
		case c.Baseline:
			out.Baseline += c.Objects
		case c.Verdict == scan.NotScanned:
			out.NotScanned += c.Objects
			if c.Reason == scan.Filtered {
				out.Filtered += c.Objects
			}
		case c.Verdict != scan.None:
			out.Scanned += c.Objects
		}
	}
	err = db.query(ctx, `SELECT c.outcome, CAST(sum(c.n) AS BIGINT) FROM scans s JOIN scan_counts c ON c.scan = s.n
		WHERE (? = 0 OR s.unit = ?) AND c.outcome IN (0, ?) GROUP BY c.outcome`, func(c cells) error {
		if c.i(0) == 0 {
			out.Pending = c.i(1)
		} else {
			out.Failed = c.i(1)
		}
		return nil
	}, unit, unit, codeOf(outcomes[:], ledger.OutcomeFailed))
	return out, err
}
