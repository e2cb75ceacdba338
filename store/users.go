package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

const userColumns = "id, tenant, login, name, email, role, password, sso, apikey, failures, failed, body, created, changed"

// userBody is what is kept of a user and never searched.
type userBody struct {
	Tours map[int]time.Time `json:"tours,omitempty"`
}

func readUser(c cells) (account.User, error) {
	u := account.User{ID: toID(c.b(0)), Tenant: c.i(1), Login: c.s(2), Name: c.s(3), Email: c.s(4), Role: account.Role(c.i(5)), Password: string(nullable(c, 6)),
		SSO: string(nullable(c, 7)), APIKey: nullable(c, 8), Failures: int(c.i(9)), Failed: fromMicros(c.i(10)), Created: fromMicros(c.i(12)), Changed: fromMicros(c.i(13))}
	var b userBody
	if err := json.Unmarshal(c.b(11), &b); err != nil {
		return u, fault.New(fault.Corrupt, "store", "user "+u.Login, err)
	}
	u.Tours = b.Tours
	return u, nil
}

func (db *DB) oneUser(ctx context.Context, where string, arg any) (u account.User, err error) {
	found := false
	err = db.query(ctx, "SELECT "+userColumns+" FROM users WHERE "+where, func(c cells) (err error) {
		found = true
		u, err = readUser(c)
		return err
	}, arg)
	return u, missing(err, found, "store.User", "")
}

// User returns a user by ID, fault.NotFound if there is none.
func (db *DB) User(ctx context.Context, id ledger.ID) (account.User, error) {
	return db.oneUser(ctx, "id = ?", id[:])
}

// UserOf returns a user by login, which is in lower case.
func (db *DB) UserOf(ctx context.Context, login string) (account.User, error) {
	return db.oneUser(ctx, "login = ?", []byte(login))
}

// UserByKey returns the user with an API key, by its hash.
func (db *DB) UserByKey(ctx context.Context, sum []byte) (account.User, error) {
	return db.oneUser(ctx, "apikey = ?", sum)
}

// UserBySSO returns the user whom a provider calls so.
func (db *DB) UserBySSO(ctx context.Context, name string) (account.User, error) {
	return db.oneUser(ctx, "sso = ?", []byte(name))
}

// Users returns a tenant's users by login; of all tenants for 0.
func (db *DB) Users(ctx context.Context, tenant int64) (list []account.User, err error) {
	err = db.query(ctx, "SELECT "+userColumns+" FROM users WHERE ? = 0 OR tenant = ? ORDER BY login", func(c cells) error {
		u, err := readUser(c)
		list = append(list, u)
		return err
	}, tenant, tenant)
	return list, err
}

var errLogin = errors.New("there is a user of this name")

// PutUser writes a user, new or known by ID. fault.Exists if somebody else has
// the login, the provider's name or the key.
func (db *DB) PutUser(ctx context.Context, u account.User) (account.User, error) {
	if u.ID == (ledger.ID{}) {
		u.ID = ledger.NewID()
	}
	if u.Tenant == 0 {
		u.Tenant = defaultTenant
	}
	now := fromMicros(micros(db.now()))
	if u.Created.IsZero() {
		u.Created = now
	}
	u.Changed = now
	body, err := json.Marshal(userBody{u.Tours})
	if err != nil {
		return u, fault.New(fault.Internal, "store.PutUser", u.Login, err)
	}
	err = db.do(ctx, func(ctx context.Context, c conn) error {
		var taken int64
		if err := c.query(ctx, "SELECT count(*) FROM users WHERE id <> ? AND (login = ? OR sso = ? OR apikey = ?)", func(c cells) error { taken = c.i(0); return nil },
			u.ID[:], []byte(u.Login), orNull(u.SSO), keyOrNull(u.APIKey)); err != nil {
			return err
		}
		if taken > 0 {
			return fault.New(fault.Exists, "store.PutUser", u.Login, errLogin)
		}
		_, err := c.exec(ctx, "INSERT INTO users ("+userColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, login = excluded.login, name = excluded.name, email = excluded.email, role = excluded.role,
			password = excluded.password, sso = excluded.sso, apikey = excluded.apikey, failures = excluded.failures, failed = excluded.failed, body = excluded.body, changed = excluded.changed`,
			u.ID[:], u.Tenant, []byte(u.Login), []byte(u.Name), []byte(u.Email), int64(u.Role), orNull(u.Password), orNull(u.SSO), keyOrNull(u.APIKey),
			int64(u.Failures), micros(u.Failed), body, micros(u.Created), micros(u.Changed))
		return err
	})
	return u, err
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return []byte(s)
}

func keyOrNull(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

// NoteLogin counts a failed login, or, with ok, sets the count back.
func (db *DB) NoteLogin(ctx context.Context, id ledger.ID, ok bool) error {
	return db.do(ctx, func(ctx context.Context, c conn) (err error) {
		if ok {
			_, err = c.exec(ctx, "UPDATE users SET failures = 0 WHERE id = ? AND failures > 0", id[:])
		} else {
			_, err = c.exec(ctx, "UPDATE users SET failures = failures + 1, failed = ? WHERE id = ?", micros(db.now()), id[:])
		}
		return err
	})
}

// DeleteUser removes a user and ends their sessions, fault.NotFound if there is none.
func (db *DB) DeleteUser(ctx context.Context, id ledger.ID) error {
	return db.do(ctx, func(ctx context.Context, c conn) error {
		for _, sql := range []string{"DELETE FROM sessions WHERE owner = ?", "DELETE FROM tokens WHERE owner = ?"} {
			if _, err := c.exec(ctx, sql, id[:]); err != nil {
				return err
			}
		}
		n, err := c.exec(ctx, "DELETE FROM users WHERE id = ?", id[:])
		return missing(err, n > 0, "store.DeleteUser", id.String())
	})
}

const sessionColumns = "id, owner, refresh, before, created, expires"

func readSession(c cells) account.Session {
	return account.Session{ID: toID(c.b(0)), User: toID(c.b(1)), Refresh: c.b(2), Before: nullable(c, 3), Created: fromMicros(c.i(4)), Expires: fromMicros(c.i(5))}
}

// maxSessions bounds the sessions of one user: the oldest ends for a new one.
const maxSessions = 100

// AddSession writes a new session, and ends those that are over.
func (db *DB) AddSession(ctx context.Context, s account.Session) error {
	return db.do(ctx, func(ctx context.Context, c conn) error {
		if _, err := c.exec(ctx, "DELETE FROM sessions WHERE expires < ?", micros(db.now())); err != nil {
			return err
		}
		if _, err := c.exec(ctx, "DELETE FROM sessions WHERE owner = ? AND id <= (SELECT id FROM sessions WHERE owner = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
			s.User[:], s.User[:], int64(maxSessions-1)); err != nil {
			return err
		}
		_, err := c.exec(ctx, "INSERT INTO sessions ("+sessionColumns+") VALUES (?, ?, ?, ?, ?, ?)", s.ID[:], s.User[:], s.Refresh, keyOrNull(s.Before), micros(s.Created), micros(s.Expires))
		return err
	})
}

// Session returns a session that is not over, fault.NotFound otherwise.
func (db *DB) Session(ctx context.Context, id ledger.ID) (s account.Session, err error) {
	found := false
	err = db.query(ctx, "SELECT "+sessionColumns+" FROM sessions WHERE id = ? AND expires >= ?", func(c cells) error { s, found = readSession(c), true; return nil }, id[:], micros(db.now()))
	return s, missing(err, found, "store.Session", "")
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

// EndSessions ends a session, or all of a user for a zero session.
func (db *DB) EndSessions(ctx context.Context, user, session ledger.ID) error {
	return db.do(ctx, func(ctx context.Context, c conn) (err error) {
		if session != (ledger.ID{}) {
			_, err = c.exec(ctx, "DELETE FROM sessions WHERE id = ? AND owner = ?", session[:], user[:])
		} else {
			_, err = c.exec(ctx, "DELETE FROM sessions WHERE owner = ?", user[:])
		}
		return err
	})
}
