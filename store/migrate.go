package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/landwaiter/landwaiter/fault"
)

//go:embed migrations
var migrations embed.FS

type dialect struct {
	dir  string
	name goose.Dialect
	kind func(op string, err error) error
}

var (
	dialectLite = dialect{"migrations/sqlite", goose.DialectSQLite3, liteError}
	dialectPG   = dialect{"migrations/postgres", goose.DialectPostgres, pgError}
)

// migrate brings the schema up to date. It only goes forward, and refuses a
// schema that a newer release wrote.
func (db *DB) migrate(ctx context.Context, to *sql.DB, d dialect) error {
	dir, err := fs.Sub(migrations, d.dir)
	if err != nil {
		return fault.New(fault.Internal, "store.migrate", "", err)
	}
	opts := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithTableName("schema_version")}
	if d.name == goose.DialectPostgres { // two nodes may start at once
		l, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return fault.New(fault.Internal, "store.migrate", "", err)
		}
		opts = append(opts, goose.WithSessionLocker(l))
	}
	p, err := goose.NewProvider(d.name, to, dir, opts...)
	if err != nil {
		return d.kind("migrate", err)
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return d.kind("migrate", err)
	}
	if have > want {
		return newerSchema(have, want)
	}
	if have == want {
		return nil
	}
	if _, err := p.Up(ctx); err != nil {
		return d.kind("migrate", err)
	}
	return nil
}

// migratePG is migrate where another node may do the same at this moment: the
// very first table is made before there is anything to lock.
func (db *DB) migratePG(ctx context.Context) (err error) {
	for range retries {
		if err = db.migrate(ctx, db.read, dialectPG); !errors.Is(err, errConflict) {
			break
		}
	}
	return err
}

func newerSchema(have, want int64) error {
	return fault.New(fault.Unsupported, "store.Open", "", fmt.Errorf("a newer landwaiter wrote this ledger (schema %d, this release knows %d): use that release", have, want))
}

// checkSchema refuses what migrate would have to change, for readers.
func (db *DB) checkSchema(ctx context.Context) error {
	var have int64
	err := db.query(ctx, "SELECT max(version_id) FROM schema_version", func(c cells) error {
		have = c.i(0)
		return nil
	})
	if err != nil {
		return err
	}
	list, err := fs.ReadDir(migrations, dialectLite.dir)
	if err != nil {
		return fault.New(fault.Internal, "store.Open", "", err)
	}
	want, err := goose.NumericComponent(list[len(list)-1].Name()) // they are in order
	if err != nil {
		return fault.New(fault.Internal, "store.Open", "", err)
	}
	switch {
	case have > want:
		return newerSchema(have, want)
	case have < want:
		return fault.New(fault.Unsupported, "store.Open", "", fmt.Errorf("an older landwaiter wrote this ledger (schema %d, this release needs %d): start `landwaiter serve` once", have, want))
	}
	return nil
}
