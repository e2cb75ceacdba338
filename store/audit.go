package store

import (
	"context"
	"strings"

	"github.com/landwaiter/landwaiter/ledger"
)

const auditColumns = "n, tenant, at, who, who_id, type, category, level, action, target, detail, before, hash"

func readAudit(c cells) ledger.AuditRow {
	return ledger.AuditRow{N: c.i(0), Tenant: c.i(1), At: fromMicros(c.i(2)), Who: c.s(3), WhoID: toID(nullable(c, 4)), Type: ledger.AuditType(c.i(5)),
		Category: ledger.AuditCategory(c.i(6)), Level: ledger.AuditLevel(c.i(7)), Action: c.s(8), Target: c.s(9), Detail: c.s(10), Before: c.b(11), Hash: c.b(12)}
}

// auditLock makes PostgreSQL write one row after the other.
const auditLock = 0x6c770001

// AddAudit appends a row to the chain: its At, Before and Hash are filled in.
func (db *DB) AddAudit(ctx context.Context, r ledger.AuditRow) error {
	if r.Tenant == 0 {
		r.Tenant = defaultTenant
	}
	return db.do(ctx, func(ctx context.Context, c conn) error {
		if db.dollar {
			if _, err := c.exec(ctx, "SELECT pg_advisory_xact_lock(?)", int64(auditLock)); err != nil {
				return err
			}
		}
		r.At, r.Before = fromMicros(micros(db.now())), []byte{}
		if err := c.query(ctx, "SELECT hash FROM audit ORDER BY n DESC LIMIT 1", func(c cells) error { r.Before = c.b(0); return nil }); err != nil {
			return err
		}
		r.Hash = r.Sum()
		_, err := c.exec(ctx, "INSERT INTO audit (tenant, at, who, who_id, type, category, level, action, target, detail, before, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			r.Tenant, micros(r.At), []byte(r.Who), r.WhoID[:], int64(r.Type), int64(r.Category), int64(r.Level), []byte(r.Action), []byte(r.Target), []byte(r.Detail), r.Before, r.Hash)
		return err
	})
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
