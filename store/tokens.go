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
		if err := mayAdd(ctx, c, t, l); err != nil {
			return err
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

// mayAdd says what stands against a new token.
func mayAdd(ctx context.Context, c conn, t account.Token, l account.TokenLimit) error {
	same, err := number(ctx, c, "SELECT count(*) FROM tokens WHERE hash = ?", t.Hash)
	if err == nil && same > 0 {
		err = fault.New(fault.Exists, "store.AddToken", t.Kind, errUsed)
	}
	if err == nil && l.Most > 0 {
		var many int64
		if many, err = number(ctx, c, "SELECT count(*) FROM tokens WHERE kind = ?", []byte(t.Kind)); err == nil && many >= int64(l.Most) {
			err = fault.New(fault.Throttled, "store.AddToken", t.Kind, errTokens)
		}
	}
	if err == nil && l.Gap > 0 {
		var late int64
		if late, err = number(ctx, c, "SELECT count(*) FROM tokens WHERE kind = ? AND owner = ? AND expires > ?", []byte(t.Kind), t.Owner[:], micros(t.Expires.Add(-l.Gap))); err == nil && late > 0 {
			err = fault.New(fault.Throttled, "store.AddToken", t.Kind, errSoon)
		}
	}
	return err
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
