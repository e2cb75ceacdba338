package store

import (
	"context"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
)

const auditColumns = "n, tenant, at, who, who_id, type, category, level, action, target, detail, before, hash"

func readAudit(c cells) ledger.AuditRow {
	return ledger.AuditRow{N: c.i(0), Tenant: c.i(1), At: fromMicros(c.i(2)), Who: c.s(3), WhoID: toID(nullable(c, 4)), Type: ledger.AuditType(c.i(5)),
		Category: ledger.AuditCategory(c.i(6)), Level: ledger.AuditLevel(c.i(7)), Action: c.s(8), Target: c.s(9), Detail: c.s(10), Before: c.b(11), Hash: c.b(12)}
}

// auditLock makes PostgreSQL write one row after the other.
const auditLock = 0x6c770001

// The marks of the chain: the last row that there is, and the last that
// retention removed.
const (
	markHead = "head"
	markCut  = "cut"
)

// AddAudit appends a row to the chain: its At, Before and Hash are filled in.
func (db *DB) AddAudit(ctx context.Context, r ledger.AuditRow) error {
	return db.do(ctx, func(ctx context.Context, c conn) error { return db.addAudit(ctx, c, r) })
}

// addAudit is AddAudit in the transaction of c.
func (db *DB) addAudit(ctx context.Context, c conn, r ledger.AuditRow) error {
	if r.Tenant == 0 {
		r.Tenant = defaultTenant
	}
	if err := db.lockAudit(ctx, c); err != nil {
		return err
	}
	r.At, r.Before = fromMicros(micros(db.now())), []byte{}
	if err := c.query(ctx, "SELECT hash FROM audit_marks WHERE name = ?", func(c cells) error { r.Before = c.b(0); return nil }, []byte(markHead)); err != nil {
		return err
	}
	r.Hash = r.Sum()
	if err := c.query(ctx, "INSERT INTO audit (tenant, at, who, who_id, type, category, level, action, target, detail, before, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING n",
		func(c cells) error { r.N = c.i(0); return nil },
		r.Tenant, micros(r.At), []byte(r.Who), r.WhoID[:], int64(r.Type), int64(r.Category), int64(r.Level), []byte(r.Action), []byte(r.Target), []byte(r.Detail), r.Before, r.Hash); err != nil {
		return err
	}
	if err := setMark(ctx, c, markHead, r.N, r.Hash); err != nil {
		return err
	}
	if r.Category == ledger.CategoryNotification && strings.HasPrefix(r.Action, noticeActions) {
		return nil // what says that notices fail must not make more of them
	}
	return db.auditNews(ctx, c, r)
}

// lockAudit lets one transaction at a time append to the chain or cut it.
func (db *DB) lockAudit(ctx context.Context, c conn) error {
	if !db.dollar {
		return nil // SQLite has one writer
	}
	_, err := c.exec(ctx, "SELECT pg_advisory_xact_lock(?)", int64(auditLock))
	return err
}

func setMark(ctx context.Context, c conn, name string, n int64, hash []byte) error {
	_, err := c.exec(ctx, "INSERT INTO audit_marks (name, n, hash) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET n = excluded.n, hash = excluded.hash", []byte(name), n, hash)
	return err
}

// AuditMarks returns the marks of the chain; zero where there is none.
func (db *DB) AuditMarks(ctx context.Context) (m ledger.AuditMarks, err error) {
	err = db.query(ctx, "SELECT name, n, hash FROM audit_marks", func(c cells) error {
		at := ledger.AuditMark{N: c.i(1), Hash: c.b(2)}
		if c.s(0) == markHead {
			m.Head = at
		} else {
			m.Cut = at
		}
		return nil
	})
	return m, err
}

// AuditChain returns up to n rows of all tenants after the row after, in the
// order of the chain.
func (db *DB) AuditChain(ctx context.Context, after int64, n int) (list []ledger.AuditRow, err error) {
	err = db.query(ctx, "SELECT "+auditColumns+" FROM audit WHERE n > ? ORDER BY n LIMIT ?", func(c cells) error {
		list = append(list, readAudit(c))
		return nil
	}, after, pageSize(n))
	return list, err
}

// CutAudit removes up to n of the oldest rows from before a time, and marks where
// the chain begins now. The newest row always stays.
func (db *DB) CutAudit(ctx context.Context, before time.Time, n int) (removed int64, err error) {
	err = db.do(ctx, func(ctx context.Context, c conn) error {
		removed = 0
		if err := db.lockAudit(ctx, c); err != nil {
			return err
		}
		var last ledger.AuditMark
		young := false
		// A clock that was set back must not make a hole: what goes is a beginning.
		if err := c.query(ctx, `SELECT n, hash, at FROM (SELECT n, hash, at FROM audit WHERE n < (SELECT max(n) FROM audit) ORDER BY n LIMIT ?) oldest ORDER BY n`, func(c cells) error {
			if young = young || c.i(2) >= micros(before); !young {
				last, removed = ledger.AuditMark{N: c.i(0), Hash: c.b(1)}, removed+1
			}
			return nil
		}, int64(n)); err != nil {
			return err
		}
		if removed == 0 {
			return nil
		}
		if _, err := c.exec(ctx, "DELETE FROM audit WHERE n <= ?", last.N); err != nil {
			return err
		}
		return setMark(ctx, c, markCut, last.N, last.Hash)
	})
	return removed, err
}

// Audit returns the rows that f selects, the newest first, and how many there
// are in all.
func (db *DB) Audit(ctx context.Context, f ledger.AuditFilter) (list []ledger.AuditRow, total int64, err error) {
	where, args := []string{"1 = 1"}, []any{}
	also := func(sql string, arg ...any) { where, args = append(where, sql), append(args, arg...) }
	if f.Tenant != 0 {
		also("tenant = ?", f.Tenant)
	}
	if f.Type != nil {
		also("type = ?", int64(*f.Type))
	}
	if f.Category != nil {
		also("category = ?", int64(*f.Category))
	}
	if f.Level != nil {
		also("level = ?", int64(*f.Level))
	}
	if !f.From.IsZero() {
		also("at >= ?", micros(f.From))
	}
	if !f.To.IsZero() {
		also("at < ?", micros(f.To))
	}
	if f.Search != "" {
		find := func(column string) string {
			if db.dollar {
				return "position(?::bytea in " + column + ") > 0"
			}
			return "instr(" + column + ", ?) > 0"
		}
		word := []byte(f.Search)
		also("("+find("action")+" OR "+find("target")+" OR "+find("detail")+" OR "+find("who")+")", word, word, word, word)
	}
	cond := " FROM audit WHERE " + strings.Join(where, " AND ")
	if err = db.query(ctx, "SELECT count(*)"+cond, func(c cells) error { total = c.i(0); return nil }, args...); err != nil {
		return nil, 0, err
	}
	err = db.query(ctx, "SELECT "+auditColumns+cond+" ORDER BY n DESC LIMIT ? OFFSET ?", func(c cells) error {
		list = append(list, readAudit(c))
		return nil
	}, append(args, pageSize(f.Limit), int64(max(f.Start, 0)))...)
	return list, total, err
}
