package store

import (
	"context"
	"fmt"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

const nounColumns = "id, tenant, kind, name, parent, managed, disabled, rev, body, created, changed"

func readNoun(c cells) ledger.Noun {
	return ledger.Noun{ID: toID(c.b(0)), Tenant: c.i(1), Kind: ledger.Kind(c.s(2)), Name: c.s(3), Parent: toID(nullable(c, 4)), Managed: c.i(5) != 0,
		Disabled: c.i(6) != 0, Rev: c.i(7), Body: c.b(8), Created: fromMicros(c.i(9)), Changed: fromMicros(c.i(10))}
}

// Nouns returns a tenant's nouns of a kind by name; of all tenants for 0.
func (db *DB) Nouns(ctx context.Context, tenant int64, kind ledger.Kind) (list []ledger.Noun, err error) {
	err = db.query(ctx, "SELECT "+nounColumns+" FROM nouns WHERE kind = ? AND (? = 0 OR tenant = ?) ORDER BY tenant, name", func(c cells) error {
		list = append(list, readNoun(c))
		return nil
	}, []byte(kind), tenant, tenant)
	return list, err
}

// Noun returns a tenant's noun by its ID, fault.NotFound if there is none of the
// kind or it is another tenant's; of any tenant for 0.
func (db *DB) Noun(ctx context.Context, tenant int64, kind ledger.Kind, id ledger.ID) (n ledger.Noun, err error) {
	found := false
	err = db.query(ctx, "SELECT "+nounColumns+" FROM nouns WHERE id = ? AND kind = ? AND (? = 0 OR tenant = ?)", func(c cells) error {
		n, found = readNoun(c), true
		return nil
	}, id[:], []byte(kind), tenant, tenant)
	return n, missing(err, found, "store.Noun", string(kind))
}

// NounNamed is Noun by name.
func (db *DB) NounNamed(ctx context.Context, tenant int64, kind ledger.Kind, name string) (n ledger.Noun, err error) {
	found := false
	err = db.query(ctx, "SELECT "+nounColumns+" FROM nouns WHERE tenant = ? AND kind = ? AND name = ?", func(c cells) error {
		n, found = readNoun(c), true
		return nil
	}, tenant, []byte(kind), []byte(name))
	return n, missing(err, found, "store.Noun", name)
}

func missing(err error, found bool, op, on string) error {
	if err == nil && !found {
		return fault.New(fault.NotFound, op, on, nil)
	}
	return err
}

// AddNoun writes a new noun; a zero ID or Tenant is filled in. fault.Exists if
// the tenant has one of the kind and name.
func (db *DB) AddNoun(ctx context.Context, n ledger.Noun) (ledger.Noun, error) {
	if n.ID == (ledger.ID{}) {
		n.ID = ledger.NewID()
	}
	if n.Tenant == 0 {
		n.Tenant = defaultTenant
	}
	n.Rev, n.Created = 1, fromMicros(micros(db.now()))
	n.Changed = n.Created
	err := db.do(ctx, func(ctx context.Context, c conn) error {
		added, err := c.exec(ctx, "INSERT INTO nouns ("+nounColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
			n.ID[:], n.Tenant, []byte(n.Kind), []byte(n.Name), parentOf(n), flag(n.Managed), flag(n.Disabled), n.Rev, []byte(n.Body), micros(n.Created), micros(n.Changed))
		if err == nil && added == 0 {
			return fault.New(fault.Exists, "store.AddNoun", n.Name, fmt.Errorf("there is a %s of this name", n.Kind))
		}
		if err != nil {
			return err
		}
		return db.announce(ctx, c)
	})
	return n, err
}

func parentOf(n ledger.Noun) any {
	if n.Parent == (ledger.ID{}) {
		return nil
	}
	return n.Parent[:]
}

// SetNoun writes name, parent, flags and body of a noun that is as n.Rev says:
// fault.Changed if it was changed since, fault.NotFound if it is gone,
// fault.Exists if another has the name.
func (db *DB) SetNoun(ctx context.Context, n ledger.Noun) (ledger.Noun, error) {
	rev := n.Rev
	n.Rev, n.Changed = rev+1, fromMicros(micros(db.now()))
	err := db.do(ctx, func(ctx context.Context, c conn) error {
		var taken, there int64
		if err := c.query(ctx, "SELECT count(*) FROM nouns WHERE tenant = ? AND kind = ? AND name = ? AND id <> ?", func(c cells) error { taken = c.i(0); return nil },
			n.Tenant, []byte(n.Kind), []byte(n.Name), n.ID[:]); err != nil {
			return err
		}
		if taken > 0 {
			return fault.New(fault.Exists, "store.SetNoun", n.Name, fmt.Errorf("there is a %s of this name", n.Kind))
		}
		hit, err := c.exec(ctx, "UPDATE nouns SET name = ?, parent = ?, managed = ?, disabled = ?, body = ?, rev = ?, changed = ? WHERE id = ? AND tenant = ? AND kind = ? AND rev = ?",
			[]byte(n.Name), parentOf(n), flag(n.Managed), flag(n.Disabled), []byte(n.Body), n.Rev, micros(n.Changed), n.ID[:], n.Tenant, []byte(n.Kind), rev)
		if err != nil {
			return err
		}
		if hit > 0 {
			return db.announce(ctx, c)
		}
		if err := c.query(ctx, "SELECT count(*) FROM nouns WHERE id = ? AND tenant = ? AND kind = ?", func(c cells) error { there = c.i(0); return nil },
			n.ID[:], n.Tenant, []byte(n.Kind)); err != nil {
			return err
		}
		if there == 0 {
			return fault.New(fault.NotFound, "store.SetNoun", n.Name, nil)
		}
		return fault.New(fault.Changed, "store.SetNoun", n.Name, fmt.Errorf("somebody changed it meanwhile"))
	})
	return n, err
}

// DeleteNoun removes a tenant's noun, fault.NotFound if there is none.
func (db *DB) DeleteNoun(ctx context.Context, tenant int64, kind ledger.Kind, id ledger.ID) error {
	return db.do(ctx, func(ctx context.Context, c conn) error {
		n, err := c.exec(ctx, "DELETE FROM nouns WHERE id = ? AND tenant = ? AND kind = ?", id[:], tenant, []byte(kind))
		if err = missing(err, n > 0, "store.DeleteNoun", string(kind)); err != nil {
			return err
		}
		return db.announce(ctx, c)
	})
}

// NounsMark is something that differs once any noun has changed.
func (db *DB) NounsMark(ctx context.Context) (mark string, err error) {
	err = db.query(ctx, "SELECT count(*), CAST(coalesce(sum(rev), 0) AS BIGINT), coalesce(max(changed), 0) FROM nouns", func(c cells) error {
		mark = fmt.Sprint(c.i(0), c.i(1), c.i(2))
		return nil
	})
	return mark, err
}
