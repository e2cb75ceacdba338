package store

import (
	"context"
	"errors"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
)

var (
	errTokens = errors.New("too many tokens of this kind wait")
	errSoon   = errors.New("the last one was made a moment ago")
	errUsed   = errors.New("it was used before")
)

// AddToken writes a token. fault.Exists if there is one of its hash,
// fault.Throttled if the limit says so.
func (db *DB) AddToken(ctx context.Context, t account.Token, l account.TokenLimit) error {
	return db.do(ctx, func(ctx context.Context, c conn) error {
		if err := db.lockUsers(ctx, c); err != nil {
			return err
		}
		if _, err := c.exec(ctx, "DELETE FROM tokens WHERE expires < ?", micros(db.now())); err != nil {
			return err
		}
		var same, many, late int64
		if err := c.query(ctx, `SELECT coalesce(sum(CASE WHEN hash = ? THEN 1 ELSE 0 END), 0), coalesce(sum(CASE WHEN kind = ? THEN 1 ELSE 0 END), 0),
			coalesce(sum(CASE WHEN kind = ? AND owner = ? AND expires > ? THEN 1 ELSE 0 END), 0) FROM tokens`, func(c cells) error {
			same, many, late = c.i(0), c.i(1), c.i(2)
			return nil
		}, t.Hash, []byte(t.Kind), []byte(t.Kind), t.Owner[:], micros(t.Expires.Add(-l.Gap))); err != nil {
			return err
		}
		switch {
		case same > 0:
			return fault.New(fault.Exists, "store.AddToken", t.Kind, errUsed)
		case l.Most > 0 && many >= int64(l.Most):
			return fault.New(fault.Throttled, "store.AddToken", t.Kind, errTokens)
		case l.Gap > 0 && late > 0:
			return fault.New(fault.Throttled, "store.AddToken", t.Kind, errSoon)
		}
		if l.Gap > 0 {
			if _, err := c.exec(ctx, "DELETE FROM tokens WHERE kind = ? AND owner = ?", []byte(t.Kind), t.Owner[:]); err != nil {
				return err
			}
		}
		_, err := c.exec(ctx, "INSERT INTO tokens (hash, kind, owner, body, expires) VALUES (?, ?, ?, ?, ?)",
			t.Hash, []byte(t.Kind), t.Owner[:], append([]byte{}, t.Body...), micros(t.Expires))
		return err
	})
}

// TakeToken uses a token up: fault.NotFound if there is none, or it is over.
func (db *DB) TakeToken(ctx context.Context, kind string, hash []byte) (t account.Token, err error) {
	err = db.do(ctx, func(ctx context.Context, c conn) (err error) {
		t, err = db.takeToken(ctx, c, kind, hash)
		return err
	})
	return t, err
}

func (db *DB) takeToken(ctx context.Context, c conn, kind string, hash []byte) (t account.Token, err error) {
	if err := c.query(ctx, "SELECT hash, kind, owner, body, expires FROM tokens WHERE hash = ? AND kind = ? AND expires >= ?", func(c cells) error {
		t = account.Token{Hash: c.b(0), Kind: c.s(1), Owner: toID(nullable(c, 2)), Body: nullable(c, 3), Expires: fromMicros(c.i(4))}
		return nil
	}, hash, []byte(kind), micros(db.now())); err != nil {
		return t, err
	}
	// Of two who take it at once, one removes the row.
	n, err := c.exec(ctx, "DELETE FROM tokens WHERE hash = ? AND kind = ? AND expires >= ?", hash, []byte(kind), micros(db.now()))
	return t, missing(err, n > 0 && t.Hash != nil, "store.TakeToken", "token")
}
