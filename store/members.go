package store

import (
	"context"
	"errors"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// The refusals of changes of users.
var (
	errLast    = errors.New("this is the last administrator: make another one first")
	errNotOurs = errors.New("there is no such tenant")
	errFirst   = errors.New("there is an administrator already")
	errWaiting = errors.New("too many users wait to be let in")
)

// AddUser writes a new user on the terms of adm. fault.Exists if there is one of
// the login, or, with a setup token, an administrator; fault.NotFound if the
// tenant or the setup token is not there; fault.Throttled if too many wait.
func (db *DB) AddUser(ctx context.Context, u account.User, adm account.Admission) (account.User, error) {
	u = db.fresh(u)
	return u, db.do(ctx, func(ctx context.Context, c conn) error {
		if err := db.lockUsers(ctx, c); err != nil {
			return err
		}
		there, err := number(ctx, c, "SELECT count(*) FROM tenants WHERE id = ? AND gone = 0", u.Tenant)
		if err != nil {
			return err
		}
		if there == 0 {
			return fault.New(fault.NotFound, "store.AddUser", "", errNotOurs)
		}
		if err := db.admit(ctx, c, u, adm); err != nil {
			return err
		}
		return writeUser(ctx, c, u)
	})
}

// admit keeps the terms of adm.
func (db *DB) admit(ctx context.Context, c conn, u account.User, adm account.Admission) error {
	if adm.Setup != nil {
		n, err := roots(ctx, c, ledger.ID{})
		if err != nil {
			return err
		}
		if n > 0 {
			return fault.New(fault.Exists, "store.AddUser", "", errFirst)
		}
		if _, err := db.takeToken(ctx, c, account.TokenSetup, adm.Setup); err != nil {
			return err
		}
		_, err = c.exec(ctx, "DELETE FROM tokens WHERE kind = ?", []byte(account.TokenSetup))
		return err
	}
	if u.Role == account.None && adm.Waiting > 0 {
		n, err := number(ctx, c, "SELECT count(*) FROM users WHERE role = ?", int64(account.None))
		if err != nil {
			return err
		}
		if n >= int64(adm.Waiting) {
			return fault.New(fault.Throttled, "store.AddUser", "", errWaiting)
		}
	}
	return nil
}

// roots counts the users who can let others in again, but for one.
func roots(ctx context.Context, c conn, but ledger.ID) (int64, error) {
	return number(ctx, c, "SELECT count(*) FROM users WHERE role = ? AND tenant = ? AND id <> ?", int64(account.Administrator), int64(defaultTenant), but[:])
}

// HasAdministrator tells whether somebody can let others in.
func (db *DB) HasAdministrator(ctx context.Context) (has bool, err error) {
	err = db.query(ctx, "SELECT count(*) FROM users WHERE role = ? AND tenant = ?", func(c cells) error { has = c.i(0) > 0; return nil },
		int64(account.Administrator), int64(defaultTenant))
	return has, err
}

// keepsOne refuses to do without the last administrator.
func keepsOne(ctx context.Context, c conn, u account.User) error {
	n, err := roots(ctx, c, u.ID)
	if err == nil && n == 0 {
		err = fault.New(fault.Exists, "store.Users", u.Login, errLast)
	}
	return err
}

// ChangeUser changes a user as change says, on what they are at that moment.
// Another role or password ends the user's sessions. fault.NotFound if there is
// no such user, fault.Exists if another has the login or key, or this is the
// last administrator and would be none.
func (db *DB) ChangeUser(ctx context.Context, id ledger.ID, change func(u *account.User) error) (u account.User, err error) {
	err = db.do(ctx, func(ctx context.Context, c conn) error {
		if err := db.lockUsers(ctx, c); err != nil {
			return err
		}
		before, err := userIn(ctx, c, id)
		if err != nil {
			return err
		}
		u = before
		if err := change(&u); err != nil {
			return err
		}
		if before.IsRoot() && !u.IsRoot() {
			if err := keepsOne(ctx, c, u); err != nil {
				return err
			}
		}
		u.Changed = fromMicros(micros(db.now()))
		if !u.Changed.After(before.Changed) {
			u.Changed = fromMicros(micros(before.Changed) + 1) // each change is told from the one before
		}
		if err := writeUser(ctx, c, u); err != nil {
			return err
		}
		if before.Role == u.Role && before.Password == u.Password {
			return nil
		}
		return endAll(ctx, c, id)
	})
	return u, err
}

func userIn(ctx context.Context, c conn, id ledger.ID) (u account.User, err error) {
	found := false
	err = c.query(ctx, "SELECT "+userColumns+" FROM users WHERE id = ?", func(c cells) (err error) {
		found = true
		u, err = readUser(c)
		return err
	}, id[:])
	return u, missing(err, found, "store.User", "user")
}

// endAll ends a user's sessions and the tokens that would set a password.
func endAll(ctx context.Context, c conn, id ledger.ID) error {
	for _, sql := range []string{"DELETE FROM sessions WHERE owner = ?", "DELETE FROM tokens WHERE owner = ?"} {
		if _, err := c.exec(ctx, sql, id[:]); err != nil {
			return err
		}
	}
	return nil
}

// DeleteUser removes a user and ends their sessions. fault.NotFound if there is
// no such user, fault.Exists if this is the last administrator.
func (db *DB) DeleteUser(ctx context.Context, id ledger.ID) error {
	return db.do(ctx, func(ctx context.Context, c conn) error {
		if err := db.lockUsers(ctx, c); err != nil {
			return err
		}
		u, err := userIn(ctx, c, id)
		if err != nil {
			return err
		}
		if u.IsRoot() {
			if err := keepsOne(ctx, c, u); err != nil {
				return err
			}
		}
		if err := endAll(ctx, c, id); err != nil {
			return err
		}
		_, err = c.exec(ctx, "DELETE FROM users WHERE id = ?", id[:])
		return err
	})
}
