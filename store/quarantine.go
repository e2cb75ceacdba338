package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// QuarantineState is ledger.QuarantineState.
type QuarantineState = ledger.QuarantineState

// The states of an item.
const (
	QuarantineHeld     = ledger.QuarantineHeld
	QuarantineRestored = ledger.QuarantineRestored
	QuarantinePurged   = ledger.QuarantinePurged
)

// QuarantineItem is ledger.QuarantineItem.
type QuarantineItem = ledger.QuarantineItem

// QuarantinePut records an item as held; a zero ID or At is filled in. The same
// place and object again is the same item: its ID is returned and nothing changes.
func (db *DB) QuarantinePut(ctx context.Context, q QuarantineItem) (ledger.ID, error) {
	if q.ID == (ledger.ID{}) {
		q.ID = ledger.NewID()
	}
	if q.At.IsZero() {
		q.At = db.now()
	}
	id := q.ID
	err := db.do(ctx, func(ctx context.Context, c conn) error {
		ikey, tail := indexKey(q.Key)
		if _, err := c.exec(ctx, `INSERT INTO quarantine (id, unit, ikey, tail, version, sha256, size, entry, place, object, reason, threat, at, expires)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (place, object) DO NOTHING`,
			q.ID[:], q.Unit, ikey, blob(tail), []byte(q.Version), notNil(q.SHA256), q.Size, q.Entry[:], q.Place, []byte(q.Object),
			text(q.Reason), text(q.Threat), micros(q.At), micros(q.Expires)); err != nil {
			return err
		}
		return c.query(ctx, "SELECT id FROM quarantine WHERE place = ? AND object = ?", func(c cells) error { id = toID(c.b(0)); return nil }, q.Place, []byte(q.Object))
	})
	return id, err
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

const quarantineColumns = "id, tenant, unit, ikey, tail, version, sha256, size, entry, place, object, reason, threat, at, expires, state, changed, changed_by"

func readItem(c cells) QuarantineItem {
	return QuarantineItem{ID: toID(c.b(0)), Tenant: c.i(1), Unit: c.i(2), Key: wholeKey(c.b(3), nullable(c, 4)), Version: c.s(5), SHA256: c.b(6), Size: c.i(7),
		Entry: toID(c.b(8)), Place: c.i(9), Object: c.s(10), Reason: c.s(11), Threat: c.s(12), At: fromMicros(c.i(13)), Expires: fromMicros(c.i(14)),
		State: wordOf(quarantineStates[:], c.i(15)), Changed: fromMicros(c.i(16)), By: c.s(17)}
}

// QuarantineGet returns an item, fault.NotFound if there is none.
func (db *DB) QuarantineGet(ctx context.Context, id ledger.ID) (q QuarantineItem, err error) {
	err = db.query(ctx, "SELECT "+quarantineColumns+" FROM quarantine WHERE id = ?", func(c cells) error { q = readItem(c); return nil }, id[:])
	if err == nil && q.ID != id {
		err = fault.New(fault.NotFound, "store.QuarantineGet", id.String(), nil)
	}
	return q, err
}

// QuarantineFilter is ledger.QuarantineFilter.
type QuarantineFilter = ledger.QuarantineFilter

// QuarantineList returns a page of items, the newest first.
func (db *DB) QuarantineList(ctx context.Context, f QuarantineFilter) ([]QuarantineItem, error) {
	where, args := []string{"1 = 1"}, []any{}
	also := func(sql string, arg any) { where, args = append(where, sql), append(args, arg) }
	if f.Unit != 0 {
		also("unit = ?", f.Unit)
	}
	if f.State != "" {
		also("state = ?", codeOf(quarantineStates[:], f.State))
	}
	if !f.Expired.IsZero() {
		also("state = 0 AND expires > 0 AND expires < ?", micros(f.Expired))
	}
	if f.After != (ledger.ID{}) {
		also("id < ?", f.After[:])
	}
	var out []QuarantineItem
	err := db.query(ctx, "SELECT "+quarantineColumns+" FROM quarantine WHERE "+strings.Join(where, " AND ")+" ORDER BY id DESC LIMIT ?",
		func(c cells) error { out = append(out, readItem(c)); return nil }, append(args, pageSize(f.Limit))...)
	return out, err
}

func pageSize(n int) int64 {
	if n <= 0 {
		return 100
	}
	return int64(min(n, 1000))
}

// QuarantineSet takes a held item to another state. It returns fault.NotFound if
// there is no such item and fault.Changed if it is not held any more.
func (db *DB) QuarantineSet(ctx context.Context, id ledger.ID, state QuarantineState, by string) error {
	code := codeOf(quarantineStates[:], state)
	if !slices.Contains(quarantineStates[:], state) {
		return fault.New(fault.Invalid, "store.QuarantineSet", string(state), nil)
	}
	return db.do(ctx, func(ctx context.Context, c conn) error {
		n, err := c.exec(ctx, "UPDATE quarantine SET state = ?, changed = ?, changed_by = ? WHERE id = ? AND state = 0", code, micros(db.now()), text(by), id[:])
		if err != nil || n > 0 {
			return err
		}
		kind := fault.NotFound
		err = c.query(ctx, "SELECT state FROM quarantine WHERE id = ?", func(cells) error { kind = fault.Changed; return nil }, id[:])
		if err != nil {
			return err
		}
		return fault.New(kind, "store.QuarantineSet", id.String(), nil)
	})
}

// AllowanceRow is ledger.AllowanceRow.
type AllowanceRow = ledger.AllowanceRow

// Allow allow-lists the hash for the unit. A later call replaces an earlier.
func (db *DB) Allow(ctx context.Context, a AllowanceRow) error {
	if len(a.SHA256) != 32 || a.By == "" || a.Until.IsZero() {
		return fault.New(fault.Invalid, "store.Allow", "", nil)
	}
	if a.At.IsZero() {
		a.At = db.now()
	}
	return db.do(ctx, func(ctx context.Context, c conn) error {
		_, err := c.exec(ctx, `INSERT INTO allowances (unit, sha256, allowed_by, at, until) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (unit, sha256) DO UPDATE SET allowed_by = excluded.allowed_by, at = excluded.at, until = excluded.until`,
			a.Unit, a.SHA256, []byte(a.By), micros(a.At), micros(a.Until))
		return err
	})
}

// Disallow takes a hash off the unit's allow-list.
func (db *DB) Disallow(ctx context.Context, unit int64, sha256 []byte) error {
	return db.do(ctx, func(ctx context.Context, c conn) error {
		_, err := c.exec(ctx, "DELETE FROM allowances WHERE unit = ? AND sha256 = ?", unit, sha256)
		return err
	})
}

// Allowances returns the unit's allow-list, those that ended too.
func (db *DB) Allowances(ctx context.Context, unit int64) ([]AllowanceRow, error) {
	var out []AllowanceRow
	err := db.query(ctx, "SELECT unit, sha256, allowed_by, at, until FROM allowances WHERE unit = ? ORDER BY at", func(c cells) error {
		out = append(out, AllowanceRow{Unit: c.i(0), SHA256: c.b(1), By: c.s(2), At: fromMicros(c.i(3)), Until: fromMicros(c.i(4))})
		return nil
	}, unit)
	return out, err
}

// Allowance says whether the hash is allow-listed for the unit now, and by whom
// until when, in words.
func (db *DB) Allowance(ctx context.Context, unit int64, sha256 []byte, now time.Time) (by string, ok bool, err error) {
	err = db.query(ctx, "SELECT allowed_by, until FROM allowances WHERE unit = ? AND sha256 = ? AND until > ?", func(c cells) error {
		by, ok = fmt.Sprintf("allow-list: %s until %s", c.s(0), fromMicros(c.i(1)).Format(time.RFC3339)), true
		return nil
	}, unit, sha256, micros(now))
	return by, ok, err
}
