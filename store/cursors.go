package store

import (
	"context"

	"github.com/landwaiter/landwaiter/ledger"
)

// SetCursor keeps where a source or a sweep is to resume.
func (db *DB) SetCursor(ctx context.Context, cur ledger.Cursor) error {
	return db.do(ctx, func(ctx context.Context, c conn) error { return setCursor(ctx, c, cur) })
}

func setCursor(ctx context.Context, c conn, cur ledger.Cursor) error {
	_, err := c.exec(ctx, "INSERT INTO cursors (unit, source, next) VALUES (?, ?, ?) ON CONFLICT (unit, source) DO UPDATE SET next = excluded.next",
		cur.Unit, []byte(cur.Source), []byte(cur.Next))
	return err
}

// Cursor returns where a source or a sweep is to resume, "" if that is nowhere.
func (db *DB) Cursor(ctx context.Context, unit int64, source string) (next string, err error) {
	err = db.query(ctx, "SELECT next FROM cursors WHERE unit = ? AND source = ?", func(c cells) error {
		next = c.s(0)
		return nil
	}, unit, []byte(source))
	return next, err
}
