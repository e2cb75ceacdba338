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

// UsersByEmail returns the users of an address, which is in lower case: two at
// most, for more than one is none in particular.
func (db *DB) UsersByEmail(ctx context.Context, email string) (list []account.User, err error) {
	err = db.query(ctx, "SELECT "+userColumns+" FROM users WHERE email = ? LIMIT 2", func(c cells) error {
		u, err := readUser(c)
		list = append(list, u)
		return err
	}, []byte(email))
	return list, err
}

var errLogin = errors.New("there is a user of this name")

// PutUser writes a user, new or known by ID, whatever was there. fault.Exists if
// somebody else has the login, the provider's name or the key.
func (db *DB) PutUser(ctx context.Context, u account.User) (account.User, error) {
	u = db.fresh(u)
	return u, db.do(ctx, func(ctx context.Context, c conn) error {
		if err := db.lockUsers(ctx, c); err != nil {
			return err
		}
		return writeUser(ctx, c, u)
	})
}

// fresh fills in what a new user lacks.
func (db *DB) fresh(u account.User) account.User {
	if u.ID == (ledger.ID{}) {
		u.ID = ledger.NewID()
	}
	if u.Tenant == 0 {
		u.Tenant = defaultTenant
	}
	u.Changed = fromMicros(micros(db.now()))
	if u.Created.IsZero() {
		u.Created = u.Changed
	}
	return u
}

// userLock makes PostgreSQL change users one after the other: what was counted
// holds until the commit.
const userLock = 0x6c770002

func (db *DB) lockUsers(ctx context.Context, c conn) error {
	if !db.dollar {
		return nil // SQLite has one writer
	}
	_, err := c.exec(ctx, "SELECT pg_advisory_xact_lock(?)", int64(userLock))
	return err
}

func writeUser(ctx context.Context, c conn, u account.User) error {
	body, err := json.Marshal(userBody{u.Tours})
	if err != nil {
		return fault.New(fault.Internal, "store.PutUser", u.Login, err)
	}
	taken, err := number(ctx, c, "SELECT count(*) FROM users WHERE id <> ? AND (login = ? OR sso = ? OR apikey = ?)",
		u.ID[:], []byte(u.Login), orNull(u.SSO), keyOrNull(u.APIKey))
	if err != nil {
		return err
	}
	if taken > 0 {
		return fault.New(fault.Exists, "store.PutUser", u.Login, errLogin)
	}
	_, err = c.exec(ctx, "INSERT INTO users ("+userColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, login = excluded.login, name = excluded.name, email = excluded.email, role = excluded.role,
		password = excluded.password, sso = excluded.sso, apikey = excluded.apikey, failures = excluded.failures, failed = excluded.failed, body = excluded.body, changed = excluded.changed`,
		u.ID[:], u.Tenant, []byte(u.Login), []byte(u.Name), []byte(u.Email), int64(u.Role), orNull(u.Password), orNull(u.SSO), keyOrNull(u.APIKey),
		int64(u.Failures), micros(u.Failed), body, micros(u.Created), micros(u.Changed))
	return err
}

// number reads one number.
func number(ctx context.Context, c conn, sql string, args ...any) (n int64, err error) {
	err = c.query(ctx, sql, func(c cells) error { n = c.i(0); return nil }, args...)
	return n, err
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
