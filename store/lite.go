package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/landwaiter/landwaiter/fault"
)

// liteDSN is how the ledger's file is opened. FULL makes each commit survive a
// loss of power.
func liteDSN(path string, readOnly bool) string {
	q := url.Values{}
	q.Add("_pragma", "busy_timeout(10000)")
	q.Add("_pragma", "synchronous(FULL)")
	q.Add("_pragma", "temp_store(MEMORY)")
	if readOnly {
		q.Set("mode", "rw")
		q.Add("_pragma", "query_only(1)")
	} else {
		q.Add("_pragma", "journal_mode(WAL)")
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// litePath is absolute: a relative path in a file: URL would be its host.
func litePath(dir string) string {
	path := filepath.Join(dir, "ledger.db")
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// lite is the writer's connection to SQLite, below database/sql: for statements
// of some microseconds its bookkeeping is a good part of the time.
type lite struct {
	sc    *sql.Conn
	dc    driver.Conn
	stmts map[string]driver.Stmt
	sets  map[*set]liteSet
	args  []driver.NamedValue
	cols  []any
	inTx  bool
}

// A liteSet is a prepared set.
type liteSet struct {
	st    driver.Stmt
	order []int // of the row's columns in the parameters
}

func openLite(ctx context.Context, db *sql.DB) (*lite, error) {
	sc, err := db.Conn(ctx)
	if err != nil {
		return nil, liteError("open", err)
	}
	l := &lite{sc: sc, stmts: map[string]driver.Stmt{}, sets: map[*set]liteSet{}}
	err = sc.Raw(func(dc any) error {
		l.dc = dc.(driver.Conn)
		return nil
	})
	if err != nil {
		return nil, liteError("open", err)
	}
	return l, nil
}

func (l *lite) close() error {
	for _, s := range l.stmts {
		_ = s.Close()
	}
	return l.sc.Close()
}

func (l *lite) prepare(text string) (driver.Stmt, error) {
	s, ok := l.stmts[text]
	if !ok {
		var err error
		if s, err = l.dc.Prepare(text); err != nil {
			return nil, fmt.Errorf("prepare %q: %w", text, err)
		}
		l.stmts[text] = s
	}
	return s, nil
}

func (l *lite) prepareSet(s *set) (liteSet, error) {
	ls, ok := l.sets[s]
	if !ok {
		text, order := s.lite()
		st, err := l.prepare(text)
		if err != nil {
			return ls, err
		}
		ls = liteSet{st, order}
		l.sets[s] = ls
	}
	return ls, nil
}

// row puts a row's columns in the order of the parameters; good until the next.
func (l *lite) row(ls liteSet, r []any) []any {
	l.cols = l.cols[:0]
	for _, i := range ls.order {
		l.cols = append(l.cols, r[i])
	}
	return l.cols
}

// bind lends the arguments; they are good until the next bind.
func (l *lite) bind(args []any) []driver.NamedValue {
	for len(l.args) < len(args) {
		l.args = append(l.args, driver.NamedValue{Ordinal: len(l.args) + 1})
	}
	for i, a := range args {
		switch v := a.(type) {
		case int:
			a = int64(v)
		case uint8:
			a = int64(v)
		}
		l.args[i].Value = a
	}
	return l.args[:len(args)]
}

// The statements run without a context: a commit takes milliseconds, and one
// that is interrupted halfway would fail its neighbours in the batch.
func (l *lite) run(st driver.Stmt, args []any) (int64, error) {
	r, err := st.(driver.StmtExecContext).ExecContext(context.Background(), l.bind(args))
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (l *lite) rows(st driver.Stmt, args []any, f func(c cells) error) error {
	rows, err := st.(driver.StmtQueryContext).QueryContext(context.Background(), l.bind(args))
	if err != nil {
		return err
	}
	c := make([]driver.Value, len(rows.Columns()))
	view := make(cells, len(c))
	for {
		if err = rows.Next(c); err != nil {
			break
		}
		for i := range c {
			view[i] = c[i]
		}
		if err = f(view); err != nil {
			break
		}
	}
	if cerr := rows.Close(); errors.Is(err, io.EOF) {
		err = cerr
	}
	return err
}

func (l *lite) begin(context.Context) error {
	_, err := l.exec(context.Background(), "BEGIN IMMEDIATE")
	l.inTx = err == nil
	return err
}

func (l *lite) commit(context.Context) error {
	_, err := l.exec(context.Background(), "COMMIT")
	if err == nil {
		l.inTx = false
	}
	return err
}

func (l *lite) rollback() {
	if l.inTx {
		// It fails where SQLite has rolled back by itself.
		_, _ = l.exec(context.Background(), "ROLLBACK")
		l.inTx = false
	}
}

func (l *lite) each(_ context.Context, s *set, rows [][]any) ([]bool, error) {
	ls, err := l.prepareSet(s)
	if err != nil {
		return nil, liteError("prepare", err)
	}
	hit := make([]bool, len(rows))
	for i, r := range rows {
		n, err := l.run(ls.st, l.row(ls, r))
		if err != nil {
			return nil, liteError("write", err)
		}
		hit[i] = n > 0
	}
	return hit, nil
}

func (l *lite) look(_ context.Context, s *set, rows [][]any, f func(int, cells) error) error {
	ls, err := l.prepareSet(s)
	if err != nil {
		return liteError("prepare", err)
	}
	for i, r := range rows {
		if err := l.rows(ls.st, l.row(ls, r), func(c cells) error { return f(i, c) }); err != nil {
			return liteError("read", err)
		}
	}
	return nil
}

func (l *lite) exec(_ context.Context, sql string, args ...any) (int64, error) {
	st, err := l.prepare(sql)
	if err != nil {
		return 0, liteError("prepare", err)
	}
	n, err := l.run(st, args)
	return n, liteError("write", err)
}

func (l *lite) query(_ context.Context, sql string, f func(cells) error, args ...any) error {
	st, err := l.prepare(sql)
	if err != nil {
		return liteError("prepare", err)
	}
	return liteError("read", l.rows(st, args, f))
}

// liteError gives an error of SQLite its kind. https://sqlite.org/rescode.html
func liteError(op string, err error) error {
	var e *sqlite.Error
	if err == nil || fault.Canceled(err) || !errors.As(err, &e) {
		return err
	}
	kind := fault.Invalid // the row or the statement is at fault
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT:
		kind = fault.Unavailable
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
		kind = fault.Denied
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fault.New(fault.Corrupt, "store."+op, "", fmt.Errorf("the ledger is damaged: stop landwaiter and run `landwaiter fsck`: %w", err))
	}
	return fault.New(kind, "store."+op, "", err)
}
