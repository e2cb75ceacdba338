package store

import (
	"context"
	"database/sql"
	"errors"
)

// maxReaders is how many reads of the line itself run at a time: each takes some
// microseconds.
const maxReaders = 2

// readers are connections for the reads that every object or page of a sweep
// asks for. Their statements stay prepared and they are below database/sql: to
// parse such a statement again costs several times what it takes to answer it.
// SQLite only; the driver of PostgreSQL does the same by itself.
type readers struct {
	free chan *lite
}

func openReaders(ctx context.Context, db *sql.DB) (*readers, error) {
	r := &readers{free: make(chan *lite, maxReaders)}
	for range maxReaders {
		l, err := openLite(ctx, db)
		if err != nil {
			for len(r.free) > 0 {
				err = errors.Join(err, (<-r.free).close())
			}
			return nil, err
		}
		r.free <- l
	}
	return r, nil
}

// close waits for the reads that run; who asks later gets errClosed.
func (r *readers) close() error {
	var errs []error
	for range maxReaders {
		errs = append(errs, (<-r.free).close())
	}
	close(r.free)
	return errors.Join(errs...)
}

// ask is query for the few statements that are asked all the time. What f gets
// is good until it returns, and f must not ask. A read is not interrupted when ctx ends: it is
// shorter than the interruption.
func (db *DB) ask(ctx context.Context, q string, f func(c cells) error, args ...any) error {
	if db.readers == nil {
		return db.query(ctx, q, f, args...)
	}
	select {
	case l, open := <-db.readers.free:
		if !open {
			return errClosed
		}
		defer func() { db.readers.free <- l }()
		return l.query(ctx, q, f, args...)
	case <-ctx.Done():
		return ctx.Err()
	}
}
