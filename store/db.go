// Package store is the ledger's state: entries, inventory, units, scans,
// workflows and quarantine, in SQLite by default and in PostgreSQL where many
// nodes share the work. What is said to the two is said once: a set is a
// statement for many rows, run row by row in SQLite and as one statement over
// arrays in PostgreSQL. All changes go through a writer that commits whatever
// queued up while it committed before.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// Options say where the ledger is.
type Options struct {
	Dir  string // the data directory: SQLite's file and the lock are there
	DSN  string // postgres://…: PostgreSQL instead of SQLite
	Node string // how this node is named to operators; default the host's name
	Log  *slog.Logger
	// Lease is how long slots of a silent node stay its own (PostgreSQL only);
	// default 15 s. The heartbeat is a fifth of it.
	Lease time.Duration
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Notices bounds how many wait in the outbox; default 100,000.
	Notices int
}

// A DB is an open ledger. Its methods are safe for concurrent use; those that
// change something return after the commit.
type DB struct {
	node    ledger.ID // of this process
	name    string
	log     *slog.Logger
	now     func() time.Time
	read    *sql.DB
	readers *readers // nil on PostgreSQL, and where nothing is written
	in      *writer  // of Intake
	work    *writer  // of all else
	lock    *os.File
	pg      *pgNode // nil on SQLite
	dollar  bool    // PostgreSQL's placeholders
	slots   *ownership
	busy    *work
	ready   *ready

	names  names
	outbox *outbox

	skew atomic.Int64 // how far the database's clock is ahead of ours, in microseconds

	closing sync.Once
	closed  error
}

// Open opens the ledger and brings its schema up to date. It returns
// fault.Exists if another process runs on the data directory, fault.Corrupt if
// the file is damaged, fault.Unsupported if a newer release wrote it.
// On PostgreSQL no slot is this node's before Run.
func Open(ctx context.Context, o Options) (*DB, error) {
	db := newDB(o)
	if o.DSN != "" {
		if err := db.openPG(ctx, o); err != nil {
			return nil, err
		}
		return db, nil
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fault.New(fault.Denied, "store.Open", o.Dir, err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	db.lock = lock
	if err := db.openLite(ctx, litePath(o.Dir)); err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

// OpenReadOnly opens the ledger for reading, beside a running daemon or without
// one. Methods that change something return fault.Denied.
func OpenReadOnly(ctx context.Context, o Options) (*DB, error) {
	db := newDB(o)
	if o.DSN != "" {
		if err := db.openPGRead(ctx, o); err != nil {
			return nil, err
		}
		return db, nil
	}
	path := litePath(o.Dir)
	if _, err := os.Stat(path); err != nil {
		return nil, fault.New(fault.NotFound, "store.OpenReadOnly", path, err)
	}
	var err error
	if db.read, err = sql.Open("sqlite", liteDSN(path, true)); err != nil {
		return nil, liteError("open", err)
	}
	db.read.SetMaxOpenConns(4)
	if err := db.checkSchema(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	db.refuseWrites()
	return db, nil
}

func newDB(o Options) *DB {
	db := &DB{node: ledger.NewID(), name: o.Node, log: o.Log, now: o.Now, slots: &ownership{}, busy: newWork(), ready: newReady(), outbox: newOutbox(o.Notices)}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if db.now == nil {
		db.now = time.Now
	}
	if db.name == "" {
		db.name, _ = os.Hostname()
	}
	return db
}

// clock is the time that entries are due by, in microseconds: the database's,
// where several nodes with clocks of their own share it.
func (db *DB) clock() int64 { return micros(db.now()) + db.skew.Load() }

// local turns a time of the ledger into one of ours, and remote the other way.
func (db *DB) local(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return fromMicros(at - db.skew.Load())
}

func (db *DB) remote(at time.Time) int64 { return micros(at) + db.skew.Load() }

// alone reports whether no other node can write to the ledger.
func (db *DB) alone() bool { return db.pg == nil }

func (db *DB) openLite(ctx context.Context, path string) error {
	// SQLite gives its log the mode of the file.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fault.New(fault.Denied, "store.Open", path, err)
	}
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return fault.New(fault.Denied, "store.Open", path, err)
	}
	wr, err := sql.Open("sqlite", liteDSN(path, false)+"&_pragma=cache_size(-16384)&_pragma=wal_autocheckpoint(4000)&_pragma=journal_size_limit(67108864)")
	if err != nil {
		return liteError("open", err)
	}
	wr.SetMaxOpenConns(1)
	if err := db.migrate(ctx, wr, dialectLite); err != nil {
		_ = wr.Close()
		return err
	}
	if db.read, err = sql.Open("sqlite", liteDSN(path, false)+"&_pragma=query_only(1)&_pragma=cache_size(-2048)"); err != nil {
		_ = wr.Close()
		return liteError("open", err)
	}
	db.read.SetMaxOpenConns(4 + maxReaders)
	db.read.SetMaxIdleConns(4)
	if db.readers, err = openReaders(ctx, db.read); err != nil {
		_ = wr.Close()
		return err
	}
	db.in = newWriter(db, 0, func(ctx context.Context) (conn, error) { return openLite(ctx, wr) })
	db.in.shut = wr.Close
	db.work = db.in
	go db.in.loop()
	return db.takeAll(ctx)
}

// Run owns what the ledger does by itself until ctx ends: on PostgreSQL the
// heartbeat, the slots and the listener; on SQLite nothing.
func (db *DB) Run(ctx context.Context) error {
	if db.pg == nil {
		<-ctx.Done()
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return db.pg.beat(ctx) })
	g.Go(func() error { return db.pg.listen(ctx) })
	return g.Wait()
}

// Check proves that the ledger takes writes now, by one.
func (db *DB) Check(ctx context.Context) error {
	return db.do(ctx, func(ctx context.Context, c conn) error {
		_, err := c.exec(ctx, "INSERT INTO meta (name, value) VALUES ('checked', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", db.now().UTC().Format(time.RFC3339Nano))
		return err
	})
}

// Close commits what is queued and closes the ledger. Entries in work stay so:
// whoever stops the workers gives them back before.
func (db *DB) Close() error {
	db.closing.Do(func() {
		var errs []error
		for _, w := range []*writer{db.in, db.work} {
			if w != nil {
				errs = append(errs, w.close())
			}
		}
		if db.readers != nil {
			errs = append(errs, db.readers.close())
		}
		if db.read != nil {
			errs = append(errs, db.read.Close())
		}
		if db.pg != nil {
			errs = append(errs, db.pg.close())
		}
		if db.lock != nil {
			errs = append(errs, db.lock.Close())
		}
		db.closed = errors.Join(errs...)
	})
	return db.closed
}

// query reads with ? for arguments.
func (db *DB) query(ctx context.Context, q string, f func(c cells) error, args ...any) error {
	if db.dollar {
		q = dollars(q)
	}
	rows, err := db.read.QueryContext(ctx, q, args...)
	if err != nil {
		return db.readError(err)
	}
	defer rows.Close()
	cols, err := rows.Columns()
	if err != nil {
		return db.readError(err)
	}
	c := make(cells, len(cols))
	to := make([]any, len(cols))
	for i := range c {
		to[i] = &c[i]
	}
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return db.readError(err)
		}
		if err := f(c); err != nil {
			return err
		}
	}
	return db.readError(rows.Err())
}

func (db *DB) readError(err error) error {
	if db.dollar {
		return pgError("read", err)
	}
	return liteError("read", err)
}

// lockDir makes this process the only one on the data directory.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.New(fault.Denied, "store.Open", path, err)
	}
	if err := flock(f); err != nil {
		b := make([]byte, 32)
		n, _ := f.Read(b)
		_ = f.Close()
		return nil, fault.New(fault.Exists, "store.Open", dir, fmt.Errorf("another landwaiter runs on this data directory (pid %s)", pidIn(b[:n])))
	}
	if err := writePID(f); err != nil {
		_ = f.Close()
		return nil, fault.New(fault.Unavailable, "store.Open", path, err)
	}
	return f, nil
}
