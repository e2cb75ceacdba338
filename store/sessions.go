package store

import (
	"context"
	"errors"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

const sessionColumns = "id, owner, refresh, before, created, expires"

func readSession(c cells) account.Session {
	return account.Session{ID: toID(c.b(0)), User: toID(c.b(1)), Refresh: c.b(2), Before: nullable(c, 3), Created: fromMicros(c.i(4)), Expires: fromMicros(c.i(5))}
}

// maxSessions bounds the sessions of one user: the oldest ends for a new one.
const maxSessions = 100

// AddSession writes a new session of a user, and ends those that are over.
// fault.Changed if the user is not any more as they were when they said who they
// are: they may have another password or role now.
func (db *DB) AddSession(ctx context.Context, s account.Session, u account.User) error {
	return db.do(ctx, func(ctx context.Context, c conn) error {
		if err := db.lockUsers(ctx, c); err != nil {
			return err
		}
		same, err := number(ctx, c, "SELECT count(*) FROM users WHERE id = ? AND changed = ?", u.ID[:], micros(u.Changed))
		if err != nil {
			return err
		}
		if same == 0 {
			return fault.New(fault.Changed, "store.AddSession", u.Login, nil)
		}
		if _, err := c.exec(ctx, "DELETE FROM sessions WHERE expires < ?", micros(db.now())); err != nil {
			return err
		}
		if _, err := c.exec(ctx, "DELETE FROM sessions WHERE owner = ? AND id <= (SELECT id FROM sessions WHERE owner = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
			s.User[:], s.User[:], int64(maxSessions-1)); err != nil {
			return err
		}
		_, err = c.exec(ctx, "INSERT INTO sessions ("+sessionColumns+") VALUES (?, ?, ?, ?, ?, ?)", s.ID[:], s.User[:], s.Refresh, keyOrNull(s.Before), micros(s.Created), micros(s.Expires))
		return err
	})
}

// Session returns a session that is not over, fault.NotFound otherwise.
func (db *DB) Session(ctx context.Context, id ledger.ID) (s account.Session, err error) {
	found := false
	err = db.query(ctx, "SELECT "+sessionColumns+" FROM sessions WHERE id = ? AND expires >= ?", func(c cells) error { s, found = readSession(c), true; return nil }, id[:], micros(db.now()))
	return s, missing(err, found, "store.Session", "")
}

// Sessions returns a user's sessions that are not over, the newest first.
func (db *DB) Sessions(ctx context.Context, user ledger.ID) (list []account.Session, err error) {
	err = db.query(ctx, "SELECT "+sessionColumns+" FROM sessions WHERE owner = ? AND expires >= ? ORDER BY id DESC", func(c cells) error {
		list = append(list, readSession(c))
		return nil
	}, user[:], micros(db.now()))
	return list, err
}

// TurnSession replaces a session's refresh token by the next, if it is still
// the one given: fault.Changed otherwise, and the session ends, for one who
// shows an older token has stolen it or was stolen from.
func (db *DB) TurnSession(ctx context.Context, id ledger.ID, old, next []byte, expires time.Time) error {
	var stale bool
	err := db.do(ctx, func(ctx context.Context, c conn) error {
		n, err := c.exec(ctx, "UPDATE sessions SET before = refresh, refresh = ?, expires = ? WHERE id = ? AND refresh = ? AND expires >= ?", next, micros(expires), id[:], old, micros(db.now()))
		if err != nil || n > 0 {
			stale = false
			return err
		}
		stale = true
		_, err = c.exec(ctx, "DELETE FROM sessions WHERE id = ?", id[:])
		return err
	})
	if err == nil && stale {
		return fault.New(fault.Changed, "store.TurnSession", "", errors.New("the refresh token is not the session's"))
	}
	return err
}

// ProlongSession moves a session's end.
func (db *DB) ProlongSession(ctx context.Context, id ledger.ID, expires time.Time) error {
	return db.do(ctx, func(ctx context.Context, c conn) error {
		_, err := c.exec(ctx, "UPDATE sessions SET expires = ? WHERE id = ? AND expires < ?", micros(expires), id[:], micros(expires))
		return err
	})
}

// EndSession ends a user's session, fault.NotFound if they have none of the ID.
func (db *DB) EndSession(ctx context.Context, user, session ledger.ID) error {
	return db.do(ctx, func(ctx context.Context, c conn) error {
		n, err := c.exec(ctx, "DELETE FROM sessions WHERE id = ? AND owner = ?", session[:], user[:])
		return missing(err, n > 0, "store.EndSession", "session")
	})
}

// EndSessions ends all sessions of a user but one, which may be zero.
func (db *DB) EndSessions(ctx context.Context, user, but ledger.ID) error {
	return db.do(ctx, func(ctx context.Context, c conn) error {
		_, err := c.exec(ctx, "DELETE FROM sessions WHERE owner = ? AND id <> ?", user[:], but[:])
		return err
	})
}
