package store

import (
	"context"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// Bounds of what is kept of messages that made no sense: whoever can send one
// can send many.
const (
	maxLetters = 10_000
	maxLetter  = 64 << 10 // bytes of a body
)

// Bury keeps a letter. The same message again is the same letter. Of the bodies
// the first 64 KiB are kept, and of the letters the newest 10,000.
func (db *DB) Bury(ctx context.Context, l ledger.Letter) error {
	l.ID = ledger.NewID()
	if l.At.IsZero() {
		l.At = db.now()
	}
	message := []byte(l.Message)
	if len(message) == 0 {
		message = l.ID[:]
	}
	body := notNil(l.Body[:min(len(l.Body), maxLetter)])
	return db.do(ctx, func(ctx context.Context, c conn) error {
		_, err := c.exec(ctx, `INSERT INTO letters (id, source, message, body, why, tries, at) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (source, message) DO UPDATE SET tries = excluded.tries, at = excluded.at, why = excluded.why`,
			l.ID[:], []byte(l.Source), message, body, []byte(l.Why), int64(l.Tries), micros(l.At))
		if err != nil {
			return err
		}
		_, err = c.exec(ctx, "DELETE FROM letters WHERE id <= (SELECT id FROM letters ORDER BY id DESC LIMIT 1 OFFSET ?)", int64(maxLetters))
		return err
	})
}

// Letters returns up to n letters, the newest first, those before the letter
// after (zero = from the newest on); of one source, or of all for "".
func (db *DB) Letters(ctx context.Context, source string, after ledger.ID, n int) (list []ledger.Letter, err error) {
	where, args := "1 = 1", []any{}
	if source != "" {
		where, args = where+" AND source = ?", append(args, []byte(source))
	}
	if after != (ledger.ID{}) {
		where, args = where+" AND id < ?", append(args, after[:])
	}
	err = db.query(ctx, "SELECT id, source, message, body, why, tries, at FROM letters WHERE "+where+" ORDER BY id DESC LIMIT ?", func(c cells) error {
		l := ledger.Letter{ID: toID(c.b(0)), Source: c.s(1), Message: c.s(2), Body: c.b(3), Why: c.s(4), Tries: int(c.i(5)), At: fromMicros(c.i(6))}
		if l.Message == string(l.ID[:]) {
			l.Message = ""
		}
		list = append(list, l)
		return nil
	}, append(args, pageSize(n))...)
	return list, err
}

// DropLetter forgets a letter, fault.NotFound if there is none.
func (db *DB) DropLetter(ctx context.Context, id ledger.ID) error {
	return db.do(ctx, func(ctx context.Context, c conn) error {
		n, err := c.exec(ctx, "DELETE FROM letters WHERE id = ?", id[:])
		if err == nil && n == 0 {
			err = fault.New(fault.NotFound, "store.DropLetter", id.String(), nil)
		}
		return err
	})
}
