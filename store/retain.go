package store

import (
	"context"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
)

// PurgeEntries removes up to n entries of a tenant that finished before a time:
// those of RealTime scans, or those of the others. Dead letters stay, and so do
// the entries of what is in quarantine, the inventory and the counts.
func (db *DB) PurgeEntries(ctx context.Context, tenant int64, realTime bool, before time.Time, n int) (removed int64, err error) {
	err = db.do(ctx, func(ctx context.Context, c conn) error {
		removed, err = c.exec(ctx, `DELETE FROM entries WHERE id IN (SELECT e.id FROM entries e WHERE e.state = 2 AND e.finished < ? AND e.outcome <> 2 AND e.tenant = ?
			AND (CASE WHEN e.stype = ? THEN 1 ELSE 0 END) = ? AND NOT EXISTS (SELECT 1 FROM quarantine q WHERE q.entry = e.id AND q.state = 0) ORDER BY e.finished LIMIT ?)`,
			micros(before), tenant, int64(ledger.RealTime), flag(realTime), int64(n))
		return err
	})
	return removed, err
}

// PurgeNotices removes up to n notices that were given up and written before a time.
func (db *DB) PurgeNotices(ctx context.Context, before time.Time, n int) (int64, error) {
	return db.purge(ctx, "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE state = 1 AND created < ? LIMIT ?)", micros(before), int64(n))
}

// PurgeLetters removes up to n letters from before a time.
func (db *DB) PurgeLetters(ctx context.Context, before time.Time, n int) (int64, error) {
	return db.purge(ctx, "DELETE FROM letters WHERE id IN (SELECT id FROM letters WHERE at < ? LIMIT ?)", micros(before), int64(n))
}

// PurgeLogins removes up to n sessions that are over and as many tokens.
func (db *DB) PurgeLogins(ctx context.Context, n int) (removed int64, err error) {
	now := micros(db.now())
	sessions, err := db.purge(ctx, "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires < ? LIMIT ?)", now, int64(n))
	if err != nil {
		return 0, err
	}
	tokens, err := db.purge(ctx, "DELETE FROM tokens WHERE hash IN (SELECT hash FROM tokens WHERE expires < ? LIMIT ?)", now, int64(n))
	return max(sessions, tokens), err
}

func (db *DB) purge(ctx context.Context, sql string, args ...any) (removed int64, err error) {
	err = db.do(ctx, func(ctx context.Context, c conn) (err error) {
		removed, err = c.exec(ctx, sql, args...)
		return err
	})
	return removed, err
}

// Elect makes one of several nodes the one that does a job at this time: it
// reports whether the job was last begun longer than every ago, and notes that
// it begins now.
func (db *DB) Elect(ctx context.Context, job string, every time.Duration) (ours bool, err error) {
	err = db.do(ctx, func(ctx context.Context, c conn) error {
		now := db.clock()
		n, err := c.exec(ctx, "INSERT INTO jobs (name, begun) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET begun = excluded.begun WHERE jobs.begun <= ?", []byte(job), now, now-every.Microseconds())
		ours = n > 0
		return err
	})
	return ours, err
}

// TenantNumbers are the tenants that there are.
func (db *DB) TenantNumbers(ctx context.Context) (list []int64, err error) {
	err = db.query(ctx, "SELECT id FROM tenants ORDER BY id", func(c cells) error { list = append(list, c.i(0)); return nil })
	return list, err
}
