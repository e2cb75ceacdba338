package store

import (
	"context"
	"errors"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

const tenantColumns = "id, uuid, name, created, changed"

func readTenant(c cells) ledger.Tenant {
	return ledger.Tenant{N: c.i(0), ID: toID(c.b(1)), Name: c.s(2), Created: fromMicros(c.i(3)), Changed: fromMicros(c.i(4))}
}

// Tenants returns all tenants by name.
func (db *DB) Tenants(ctx context.Context) (list []ledger.Tenant, err error) {
	err = db.query(ctx, "SELECT "+tenantColumns+" FROM tenants WHERE gone = 0 ORDER BY name", func(c cells) error { list = append(list, readTenant(c)); return nil })
	return list, err
}

// Tenant returns a tenant by ID, fault.NotFound if there is none.
func (db *DB) Tenant(ctx context.Context, id ledger.ID) (t ledger.Tenant, err error) {
	found := false
	err = db.query(ctx, "SELECT "+tenantColumns+" FROM tenants WHERE uuid = ? AND gone = 0", func(c cells) error { t, found = readTenant(c), true; return nil }, id[:])
	return t, missing(err, found, "store.Tenant", "tenant")
}

var (
	errTenant  = errors.New("there is a tenant of this name")
	errTenants = errors.New("there are too many tenants")
	errInUse   = errors.New("users, storages or settings belong to it: remove them first")
	errDefault = errors.New("the tenant that there is from the start stays")
)

// AddTenant writes a new tenant if there are fewer than most: its number and ID
// are made. fault.Exists if there is one of the name.
func (db *DB) AddTenant(ctx context.Context, name string, most int) (t ledger.Tenant, err error) {
	id := ledger.NewID()
	err = db.do(ctx, func(ctx context.Context, c conn) error {
		if err := db.lockUsers(ctx, c); err != nil {
			return err
		}
		if err := freeTenant(ctx, c, name, ledger.ID{}); err != nil {
			return err
		}
		many, err := number(ctx, c, "SELECT count(*) FROM tenants WHERE gone = 0")
		if err != nil {
			return err
		}
		if many >= int64(most) {
			return fault.New(fault.Throttled, "store.AddTenant", name, errTenants)
		}
		// Rows of tenants that are gone stay, so that no number comes again.
		last, err := number(ctx, c, "SELECT max(id) FROM tenants")
		if err != nil {
			return err
		}
		now := fromMicros(micros(db.now()))
		t = ledger.Tenant{N: last + 1, ID: id, Name: name, Created: now, Changed: now}
		_, err = c.exec(ctx, "INSERT INTO tenants (id, uuid, name, created, changed) VALUES (?, ?, ?, ?, ?)", t.N, id[:], []byte(name), micros(now), micros(now))
		return err
	})
	return t, err
}

func freeTenant(ctx context.Context, c conn, name string, but ledger.ID) error {
	n, err := number(ctx, c, "SELECT count(*) FROM tenants WHERE name = ? AND uuid <> ?", []byte(name), but[:])
	if err == nil && n > 0 {
		err = fault.New(fault.Exists, "store.Tenants", name, errTenant)
	}
	return err
}

// SetTenant gives a tenant another name.
func (db *DB) SetTenant(ctx context.Context, id ledger.ID, name string) error {
	return db.do(ctx, func(ctx context.Context, c conn) error {
		if err := db.lockUsers(ctx, c); err != nil {
			return err
		}
		if err := freeTenant(ctx, c, name, id); err != nil {
			return err
		}
		n, err := c.exec(ctx, "UPDATE tenants SET name = ?, changed = ? WHERE uuid = ? AND gone = 0", []byte(name), micros(db.now()), id[:])
		return missing(err, n > 0, "store.SetTenant", "tenant")
	})
}

// DeleteTenant removes a tenant to which nothing belongs: fault.Exists if
// something does, fault.NotFound if there is none.
func (db *DB) DeleteTenant(ctx context.Context, id ledger.ID) error {
	return db.do(ctx, func(ctx context.Context, c conn) error {
		if err := db.lockUsers(ctx, c); err != nil {
			return err
		}
		n, err := number(ctx, c, "SELECT coalesce(max(id), 0) FROM tenants WHERE uuid = ? AND gone = 0", id[:])
		switch {
		case err != nil:
			return err
		case n == 0:
			return fault.New(fault.NotFound, "store.DeleteTenant", "tenant", nil)
		case n == defaultTenant:
			return fault.New(fault.Exists, "store.DeleteTenant", "", errDefault)
		}
		used, err := number(ctx, c, "SELECT (SELECT count(*) FROM users WHERE tenant = ?) + (SELECT count(*) FROM nouns WHERE tenant = ?)", n, n)
		if err != nil {
			return err
		}
		if used > 0 {
			return fault.New(fault.Exists, "store.DeleteTenant", "", errInUse)
		}
		_, err = c.exec(ctx, "UPDATE tenants SET gone = 1, name = ?, changed = ? WHERE id = ?", id[:], micros(db.now()), n)
		return err
	})
}
