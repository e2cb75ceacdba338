package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// errListed says that a listing is not this caller's to go on with: the scan was
// stopped, or another node lists it.
var errListed = errors.New("its listing went on elsewhere, or it has ended")

// Discover is Intake of what a scan's listing found, with how far it has come in
// the same transaction. It returns fault.Stale, and takes nothing, if the scan
// does not run any more or its listing is not at l.Was: so nothing is taken
// twice, and nothing after a stop.
func (db *DB) Discover(ctx context.Context, unit int64, batch []ledger.Arrival, l ledger.Listing) (ledger.Taken, error) {
	sc, err := db.scan(ctx, l.Scan)
	if err != nil {
		return ledger.Taken{}, err
	}
	o := &intakeOp{listing: &l, scan: sc}
	if err := db.arrivals(ctx, o, unit, batch); err != nil {
		return ledger.Taken{}, err
	}
	err = db.in.submit(ctx, &op{intake: o, rows: max(1, len(batch))})
	if err == nil && o.lost {
		err = fault.New(fault.Stale, "store.Discover", l.Scan.String(), errListed)
	}
	return o.taken, err
}

// goOn moves the listing of o; lost if it is not o's to move.
func (t *turn) goOn(ctx context.Context, o *intakeOp) error {
	if o.lost = false; o.listing == nil {
		return nil
	}
	n, err := t.c.exec(ctx, "UPDATE scans SET next = ?, why = COALESCE(why, ?) WHERE n = ? AND ended = 0 AND listed = 0 AND next = ?",
		[]byte(o.listing.Next), text(o.listing.Gap), o.scan.n, []byte(o.listing.Was))
	o.lost = n == 0
	return err
}

// RunningScans returns the Instant and Scheduled scans that have not ended, of
// all tenants, the oldest first.
func (db *DB) RunningScans(ctx context.Context) (list []ledger.Scan, err error) {
	err = db.query(ctx, "SELECT "+scanColumns+scanTables+"WHERE s.ended = 0 AND s.type <> 2 ORDER BY s.n", func(c cells) error {
		list = append(list, readScan(c).scan)
		return nil
	})
	return list, err
}

// EndListing says that the listing of a scan, which is at was, is whole.
// fault.Stale as in Discover.
func (db *DB) EndListing(ctx context.Context, id ledger.ID, was string) error {
	return db.changeScan(ctx, "UPDATE scans SET listed = 1 WHERE id = ? AND ended = 0 AND next = ?", nil, fault.Stale, id[:], []byte(was))
}

// CompleteScan ends a scan whose listing is whole if none of its entries is
// unfinished: completed, or failed if a part could not be listed. ended says
// whether it did.
func (db *DB) CompleteScan(ctx context.Context, id ledger.ID) (ended bool, err error) {
	err = db.changeScan(ctx, `UPDATE scans SET state = CASE WHEN why IS NULL THEN CAST(? AS `+db.bytesType()+`) ELSE CAST(? AS `+db.bytesType()+`) END, ended = ?
		WHERE id = ? AND ended = 0 AND listed = 1 AND NOT EXISTS (SELECT 1 FROM scan_counts c WHERE c.scan = scans.n AND c.outcome = 0 GROUP BY c.scan HAVING sum(c.n) <> 0)`,
		db.endOf(id), fault.Stale, []byte(ScanCompleted), []byte(ScanFailed), micros(db.now()), id[:])
	if fault.Is(err, fault.Stale) {
		return false, nil
	}
	return err == nil, err
}

// bytesType is the type of bytes in a cast.
func (db *DB) bytesType() string {
	if db.dollar {
		return "BYTEA"
	}
	return "BLOB"
}

// FailScan ends a scan that runs as failed, with the reason. What it has found is
// finished all the same.
func (db *DB) FailScan(ctx context.Context, id ledger.ID, why string) error {
	const most = 1000
	return db.changeScan(ctx, "UPDATE scans SET state = ?, ended = ?, why = ? WHERE id = ? AND ended = 0", db.endOf(id), fault.Stale,
		[]byte(ScanFailed), micros(db.now()), text(why[:min(len(why), most)]), id[:])
}

// StopScan ends a scan that runs, of any type, and asks for the end of its
// pending entries: those that act are completed. It returns how many were asked;
// fault.Changed if the scan has ended.
func (db *DB) StopScan(ctx context.Context, id ledger.ID) (n int64, err error) {
	sc, err := db.scan(ctx, id)
	if err != nil {
		return 0, err
	}
	err = db.do(ctx, func(ctx context.Context, c conn) error {
		hit, err := c.exec(ctx, "UPDATE scans SET state = ?, ended = ? WHERE id = ? AND ended = 0", []byte(ScanStopped), micros(db.now()), id[:])
		if err != nil {
			return err
		}
		if hit == 0 {
			return fault.New(fault.Changed, "store.StopScan", "", errors.New("the scan has ended already"))
		}
		if n, err = db.cancelIn(ctx, c, sc); err != nil {
			return err
		}
		if err := db.endOf(id)(ctx, c); err != nil {
			return err
		}
		return db.announce(ctx, c)
	})
	db.names.forget()
	if err == nil {
		db.bringAll(sc.unit)
	}
	return n, err
}

// endOf writes the notices of a scan that has just ended.
func (db *DB) endOf(id ledger.ID) func(ctx context.Context, c conn) error {
	return func(ctx context.Context, c conn) error {
		var s *scanRow
		err := c.query(ctx, "SELECT "+scanColumns+scanTables+"WHERE s.id = ?", func(c cells) error { s = readScan(c); return nil }, id[:])
		if err != nil || s == nil || s.typ == ledger.RealTime {
			return err
		}
		return db.scanNews(ctx, c, s)
	}
}

// changeScan runs one UPDATE of scans, and then, unless it is nil, what belongs to
// it; otherwise is the error of hitting nothing.
func (db *DB) changeScan(ctx context.Context, sql string, then func(ctx context.Context, c conn) error, otherwise fault.Kind, args ...any) error {
	err := db.do(ctx, func(ctx context.Context, c conn) error {
		n, err := c.exec(ctx, sql, args...)
		if err == nil && n == 0 {
			return fault.New(otherwise, "store", "scan", errListed)
		}
		if err == nil && then != nil {
			err = then(ctx, c)
		}
		if err != nil {
			return err
		}
		return db.announce(ctx, c)
	})
	db.names.forget()
	return err
}

// A ScanFilter selects scans of a tenant (0 = of all); zero fields do not restrict.
type ScanFilter = ledger.ScanFilter

// FindScans returns a page of the scans that f selects and how many there are.
func (db *DB) FindScans(ctx context.Context, f ScanFilter) (list []ledger.Scan, total int64, err error) {
	w := clause{sql: []string{"s.removed = 0"}}
	if f.Tenant != 0 {
		w.and("s.tenant = ?", f.Tenant)
	}
	if f.Unit != 0 {
		w.and("s.unit = ?", f.Unit)
	}
	if f.Types != nil {
		w.in("s.type", numbers(f.Types))
	}
	if f.States != nil {
		w.states(f.States)
	}
	if !f.From.IsZero() {
		w.and("s.started >= ?", micros(f.From))
	}
	if !f.To.IsZero() {
		w.and("s.started < ?", micros(f.To))
	}
	if f.Name != "" {
		w.and(db.contains("s.name"), []byte(f.Name))
	}
	if err := db.query(ctx, "SELECT count(*) FROM scans s WHERE "+w.String(), func(c cells) error { total = c.i(0); return nil }, w.args...); err != nil {
		return nil, 0, err
	}
	dir := "DESC"
	if f.Oldest {
		dir = "ASC"
	}
	err = db.query(ctx, fmt.Sprintf("SELECT %s%sWHERE %s ORDER BY s.started %s, s.n %s LIMIT ? OFFSET ?", scanColumns, scanTables, w.String(), dir, dir), func(c cells) error {
		list = append(list, readScan(c).scan)
		return nil
	}, append(w.args, pageSize(f.Limit), f.Start)...)
	return list, total, err
}

// openSQL: some entry of the scan s is not finished.
const openSQL = "EXISTS (SELECT 1 FROM scan_counts c WHERE c.scan = s.n AND c.outcome = 0 GROUP BY c.scan HAVING sum(c.n) <> 0)"

// states adds that the scan s is in one of the states.
func (c *clause) states(list []string) {
	any := []string{"1 = 0"}
	for _, state := range list {
		switch state {
		case ScanStopped:
			any = append(any, "s.state = ? AND NOT "+openSQL)
		case ScanStopping:
			any, state = append(any, "s.state = ? AND "+openSQL), ScanStopped
		default:
			any = append(any, "s.state = ?")
		}
		c.args = append(c.args, []byte(state))
	}
	c.sql = append(c.sql, "("+strings.Join(any, " OR ")+")")
}

// in adds that column is one of values.
func (c *clause) in(column string, values []any) {
	if len(values) == 0 {
		c.and("1 = 0")
		return
	}
	marks := make([]byte, 0, 2*len(values))
	for range values {
		marks = append(marks, '?', ',')
	}
	c.and(column+" IN ("+string(marks[:len(marks)-1])+")", values...)
}

func numbers[T ~uint8 | ~int64 | ~int](list []T) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = int64(v)
	}
	return out
}

// contains is the condition that a column of bytes contains an argument.
func (db *DB) contains(column string) string {
	if db.dollar {
		return "position(? IN " + column + ") > 0"
	}
	return "instr(" + column + ", ?) > 0"
}

// Scan returns a scan of the tenant (0 = any), fault.NotFound if there is none or
// it was removed.
func (db *DB) Scan(ctx context.Context, tenant int64, id ledger.ID) (s ledger.Scan, err error) {
	found := false
	err = db.query(ctx, "SELECT "+scanColumns+scanTables+"WHERE s.id = ? AND s.removed = 0 AND (? = 0 OR s.tenant = ?)", func(c cells) error {
		s, found = readScan(c).scan, true
		return nil
	}, id[:], tenant, tenant)
	return s, missing(err, found, "store.Scan", "scan")
}

// Beside returns the scans of the same unit and type that began before and after s.
func (db *DB) Beside(ctx context.Context, s ledger.Scan) (before, after ledger.ID, err error) {
	for _, side := range []struct {
		id    *ledger.ID
		where string
	}{{&before, "s.id < ? ORDER BY s.id DESC LIMIT 1"}, {&after, "s.id > ? ORDER BY s.id LIMIT 1"}} {
		if err := db.query(ctx, "SELECT s.id FROM scans s WHERE s.removed = 0 AND s.unit = ? AND s.type <> 2 AND "+side.where, func(c cells) error {
			*side.id = toID(c.b(0))
			return nil
		}, s.Unit, s.ID[:]); err != nil {
			return before, after, err
		}
	}
	return before, after, nil
}

// RemoveScan takes an ended scan out of sight and removes its finished entries,
// in parts. fault.Changed if it runs. What became of the objects stays in the
// inventory.
func (db *DB) RemoveScan(ctx context.Context, id ledger.ID) error {
	sc, err := db.scan(ctx, id)
	if err != nil {
		return err
	}
	if err := db.changeScan(ctx, "UPDATE scans SET removed = 1 WHERE id = ? AND ended <> 0", nil, fault.Changed, id[:]); err != nil {
		return err
	}
	return db.removeEntries(ctx, sc)
}

// removePart bounds the entries that one transaction removes.
const removePart = 2000

func (db *DB) removeEntries(ctx context.Context, sc *scanRow) error {
	for {
		var n int64
		err := db.do(ctx, func(ctx context.Context, c conn) (err error) {
			n, err = c.exec(ctx, "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE scan = ? AND state = 2 LIMIT ?)", sc.n, removePart)
			return err
		})
		if err != nil || n < removePart {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
