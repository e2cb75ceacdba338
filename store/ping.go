package store

import "context"

// Ping says whether the ledger can be read now.
func (db *DB) Ping(ctx context.Context) error {
	return db.query(ctx, "SELECT count(*) FROM tenants", func(cells) error { return nil })
}
