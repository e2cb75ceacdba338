package store

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/landwaiter/landwaiter/fault"
)

// assignmentLock is the advisory lock that work on entries shares and a change
// of who owns which slot takes alone: a slot never moves under a transaction.
const assignmentLock = 7_215_046_801

// callTimeout bounds one statement, so that a server that went away without a
// word does not stop the writer for ever. The server's own bound is below it.
const callTimeout = 70 * time.Second

const (
	pgTop = `SELECT e.priority, min(e.due) FROM unnest(?::bigint[]) s(slot) CROSS JOIN LATERAL (SELECT priority, due FROM entries
		WHERE slot = s.slot AND ` + waitingSQL + ` AND priority < ? ORDER BY priority DESC, due LIMIT 1) e GROUP BY e.priority`
	pgHeads = "SELECT " + briefColumns + ", CASE WHEN e.state = 0 THEN " + behindSQL + " ELSE false END, e.started > 0 OR e.story FROM unnest(?::bigint[]) s(slot) CROSS JOIN LATERAL (SELECT " +
		briefColumns + ", e.story IS NOT NULL AS story FROM entries e WHERE slot = s.slot AND " + waitingSQL + " ORDER BY priority DESC, due LIMIT ?) e ORDER BY e.priority DESC, e.due LIMIT ?"
	pgPick = "SELECT " + briefColumns + ", CASE WHEN e.state = 0 THEN " + behindSQL + " ELSE false END, e.started > 0 OR e.story IS NOT NULL FROM unnest(?::bigint[]) s(slot) CROSS JOIN LATERAL (SELECT * FROM entries WHERE slot = s.slot AND " +
		waitingSQL + " AND priority = ? AND due <= ? ORDER BY due LIMIT ?) e ORDER BY e.due LIMIT ?"
)

// pgConfig is how we connect. Plans are made for the arguments at hand: one
// made while a table was empty may be hundreds of times slower.
func pgConfig(dsn string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fault.New(fault.Invalid, "store.Open", "", errors.New("the PostgreSQL address cannot be read"))
	}
	for name, value := range map[string]string{"application_name": "landwaiter", "plan_cache_mode": "force_custom_plan",
		"statement_timeout": "60000", "idle_in_transaction_session_timeout": "10000", "lock_timeout": "30000"} {
		cfg.RuntimeParams[name] = value
	}
	return cfg, nil
}

// pgConn is one connection to PostgreSQL.
type pgConn struct {
	c      *pgx.Conn
	shared bool // transactions share the assignment lock
	sets   map[*set]pgSet

	buf    []byte // of encode, kept for their memory
	params [][]byte
	ends   []int
}

// openPGConn connects for writing. Sets are looked up by index whatever the
// statistics of a young table say, and a commit is on disk when it returns.
func openPGConn(ctx context.Context, cfg *pgx.ConnConfig, shared bool) (*pgConn, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, pgError("connect", err)
	}
	p := &pgConn{c: c, shared: shared, sets: map[*set]pgSet{}}
	err = p.simple(ctx, `SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;
		SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`)
	if err != nil {
		_ = c.Close(ctx)
		return nil, err
	}
	return p, nil
}

func (p *pgConn) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return p.c.Close(ctx)
}

// simple runs statements without arguments in one round trip.
func (p *pgConn) simple(ctx context.Context, text string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := p.c.PgConn().Exec(ctx, text).ReadAll()
	return pgError("write", err)
}

func (p *pgConn) begin(ctx context.Context) error {
	if p.shared {
		return p.simple(ctx, "BEGIN; SELECT pg_advisory_xact_lock_shared("+strconv.Itoa(assignmentLock)+")")
	}
	return p.simple(ctx, "BEGIN")
}

func (p *pgConn) commit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := p.c.PgConn().Exec(ctx, "COMMIT").ReadAll()
	if err != nil {
		return pgError("commit", err)
	}
	if len(r) != 1 || r[0].CommandTag.String() != "COMMIT" {
		return fault.New(fault.Internal, "store.commit", "", errors.New("the transaction had failed before"))
	}
	return nil
}

func (p *pgConn) rollback() {
	if !p.c.IsClosed() {
		_ = p.simple(context.Background(), "ROLLBACK")
	}
}

// A pgSet is a prepared set.
type pgSet struct {
	*pgconn.StatementDescription
	types []byte
}

func (p *pgConn) prepare(ctx context.Context, s *set) (pgSet, error) {
	st, ok := p.sets[s]
	if !ok {
		sd, err := p.c.Prepare(ctx, fmt.Sprint("set", len(p.sets)), s.postgres())
		if err != nil {
			return st, pgError("prepare", err)
		}
		_, types := s.names()
		st = pgSet{sd, types}
		p.sets[s] = st
	}
	return st, nil
}

// encode puts rows into arrays, one a column, in the form that PostgreSQL reads
// them: with hundreds of rows of dozens of columns, the general way by type is
// most of a commit's work. They are good until the next encode.
func (p *pgConn) encode(types []byte, rows [][]any) [][]byte {
	out, ends := p.params[:0], p.ends[:0]
	buf := p.buf[:0]
	put := func(n int) { buf = binary.BigEndian.AppendUint32(buf, uint32(int32(n))) }
	for i, k := range types {
		oid := pgtype.Int8OID
		if k == 'b' {
			oid = pgtype.ByteaOID
		}
		for _, n := range [...]int{1, 1, oid, len(rows), 1} { // dimensions, may have NULLs, type, length, first index
			put(n)
		}
		for _, r := range rows {
			switch v := r[i].(type) {
			case int64:
				put(8)
				buf = binary.BigEndian.AppendUint64(buf, uint64(v))
			case []byte:
				if v == nil {
					put(-1)
					continue
				}
				put(len(v))
				buf = append(buf, v...)
			case nil:
				put(-1)
			default:
				panic(fmt.Sprintf("store: a %T in a row", v)) // a statement of ours is wrong
			}
		}
		ends = append(ends, len(buf))
	}
	start := 0
	for _, end := range ends {
		out = append(out, buf[start:end:end])
		start = end
	}
	p.buf, p.params, p.ends = buf, out, ends
	return out
}

// run carries a set out for rows; f gets its results.
func (p *pgConn) run(ctx context.Context, s *set, rows [][]any, f func(c cells) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	st, err := p.prepare(ctx, s)
	if err != nil {
		return err
	}
	binaryFormat := []int16{1}
	rr := p.c.PgConn().ExecPrepared(ctx, st.Name, p.encode(st.types, rows), binaryFormat, binaryFormat)
	fields := rr.FieldDescriptions()
	c := make(cells, len(fields))
	var ferr error
	for rr.NextRow() {
		if ferr != nil {
			continue
		}
		if ferr = decodeCells(c, fields, rr.Values()); ferr == nil {
			ferr = f(c)
		}
	}
	if _, err := rr.Close(); err != nil {
		return pgError("write", err)
	}
	return ferr
}

// decodeCells reads what our statements return: integers, bytes and truth values.
func decodeCells(c cells, fields []pgconn.FieldDescription, raw [][]byte) error {
	for i, b := range raw {
		switch {
		case b == nil:
			c[i] = nil
		case fields[i].Format != 1:
			return fault.New(fault.Internal, "store", fields[i].Name, errors.New("not in binary form"))
		case fields[i].DataTypeOID == pgtype.Int8OID && len(b) == 8:
			c[i] = int64(binary.BigEndian.Uint64(b))
		case fields[i].DataTypeOID == pgtype.Int4OID && len(b) == 4:
			c[i] = int64(int32(binary.BigEndian.Uint32(b)))
		case fields[i].DataTypeOID == pgtype.Int2OID && len(b) == 2:
			c[i] = int64(int16(binary.BigEndian.Uint16(b)))
		case fields[i].DataTypeOID == pgtype.BoolOID && len(b) == 1:
			c[i] = b[0] != 0
		case fields[i].DataTypeOID == pgtype.ByteaOID, fields[i].DataTypeOID == pgtype.TextOID:
			c[i] = append(make([]byte, 0, len(b)), b...)
		default:
			return fault.New(fault.Internal, "store", fields[i].Name, errors.New("a type that no statement of ours returns"))
		}
	}
	return nil
}

func (p *pgConn) each(ctx context.Context, s *set, rows [][]any) ([]bool, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	hit := make([]bool, len(rows))
	if !s.tells() {
		for i := range hit {
			hit[i] = true
		}
	}
	var byFirst map[string]int
	err := p.run(ctx, s, rows, func(c cells) error {
		first, ok := c[0].([]byte)
		if !ok {
			hit[c.i(0)-1] = true
			return nil
		}
		if byFirst == nil {
			byFirst = make(map[string]int, len(rows))
			for i, r := range rows {
				byFirst[string(r[0].([]byte))] = i
			}
		}
		hit[byFirst[string(first)]] = true
		return nil
	})
	return hit, err
}

// tells reports whether s says which rows it hit.
func (s *set) tells() bool { return strings.Contains(s.sql, "{back") }

func (p *pgConn) look(ctx context.Context, s *set, rows [][]any, f func(int, cells) error) error {
	if len(rows) == 0 {
		return nil
	}
	return p.run(ctx, s, rows, func(c cells) error { return f(int(c.i(0))-1, c[1:]) })
}

func (p *pgConn) exec(ctx context.Context, q string, args ...any) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	tag, err := p.c.Exec(ctx, dollars(q), args...)
	return tag.RowsAffected(), pgError("write", err)
}

func (p *pgConn) query(ctx context.Context, q string, f func(cells) error, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	rows, err := p.c.Query(ctx, dollars(q), args...)
	if err != nil {
		return pgError("query", err)
	}
	defer rows.Close()
	c := make(cells, len(rows.FieldDescriptions()))
	for rows.Next() {
		if err := decodeCells(c, rows.FieldDescriptions(), rows.RawValues()); err != nil {
			return err
		}
		if err := f(c); err != nil {
			return err
		}
	}
	return pgError("query", rows.Err())
}

// pgError gives an error of PostgreSQL its kind by SQLSTATE.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
func pgError(op string, err error) error {
	if err == nil || fault.KindOf(err) != fault.Other {
		return err
	}
	op = "store." + op
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		if errors.Is(err, context.Canceled) {
			return err
		}
		return fault.New(fault.Unavailable, op, "", fmt.Errorf("%w: %w", errLost, err))
	}
	switch {
	case e.Code == "40001", e.Code == "40P01", e.Code == "55P03":
		return fault.New(fault.Unavailable, op, "", fmt.Errorf("%w: %w", errConflict, err))
	case e.Code == "23505": // a row that another transaction wrote first, or one that can never be
		return fault.New(fault.Invalid, op, "", fmt.Errorf("%w: %w", errConflict, err))
	case e.Code == "XX001", e.Code == "XX002":
		return fault.New(fault.Corrupt, op, "", err)
	case e.Code == "42501", strings.HasPrefix(e.Code, "28"):
		return fault.New(fault.Denied, op, "", err)
	case strings.HasPrefix(e.Code, "57P"), strings.HasPrefix(e.Code, "08"), e.Code == "25P03":
		return fault.New(fault.Unavailable, op, "", fmt.Errorf("%w: %w", errLost, err))
	case strings.HasPrefix(e.Code, "53"), strings.HasPrefix(e.Code, "57"), strings.HasPrefix(e.Code, "58"), e.Code == "25006":
		return fault.New(fault.Unavailable, op, "", err)
	}
	return fault.New(fault.Invalid, op, "", err)
}

func (db *DB) openPG(ctx context.Context, o Options) error {
	cfg, err := pgConfig(o.DSN)
	if err != nil {
		return err
	}
	db.dollar = true
	db.read = stdlib.OpenDB(*cfg)
	db.read.SetMaxOpenConns(6)
	db.read.SetMaxIdleConns(3)
	n := newPGNode(db, cfg, o.Lease)
	if err = db.migratePG(ctx); err == nil {
		err = n.register(ctx)
	}
	if err != nil {
		_ = db.read.Close()
		return err
	}
	db.pg = n
	db.in = newWriter(db, 2*n.number, func(ctx context.Context) (conn, error) { return asConn(openPGConn(ctx, cfg, false)) })
	db.work = newWriter(db, 2*n.number+1, func(ctx context.Context) (conn, error) { return asConn(openPGConn(ctx, cfg, true)) })
	go db.in.loop()
	go db.work.loop()
	return nil
}

// asConn keeps a nil *pgConn from becoming a conn that is not nil.
func asConn(p *pgConn, err error) (conn, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (db *DB) openPGRead(ctx context.Context, o Options) error {
	cfg, err := pgConfig(o.DSN)
	if err != nil {
		return err
	}
	cfg.RuntimeParams["default_transaction_read_only"] = "on"
	db.dollar = true
	db.read = stdlib.OpenDB(*cfg)
	db.read.SetMaxOpenConns(4)
	if err := db.checkSchema(ctx); err != nil {
		_ = db.read.Close()
		return err
	}
	db.refuseWrites()
	return nil
}

// refuseWrites answers all changes with fault.Denied.
func (db *DB) refuseWrites() {
	db.in = newWriter(db, 0, func(context.Context) (conn, error) {
		return nil, fault.New(fault.Denied, "store", "", errors.New("the ledger is open for reading only"))
	})
	db.work = db.in
	go db.in.loop()
}

// channel is what nodes tell each other on: to wake up, never what happened.
const channel = "landwaiter"

// notify tells the other nodes, in the transaction of c, that entries of units
// became due in slots that are not ours.
func (db *DB) notify(ctx context.Context, c conn, units map[int64]bool) error {
	if db.alone() || len(units) == 0 {
		return nil
	}
	var list []string
	for u := range units {
		if list = append(list, strconv.FormatInt(u, 10)); len(list) == 200 { // a payload is at most 8,000 bytes
			break
		}
	}
	return db.tell(ctx, c, "due "+strings.Join(list, ","))
}

// announce tells the other nodes that units or scans changed.
func (db *DB) announce(ctx context.Context, c conn) error {
	if db.alone() {
		return nil
	}
	return db.tell(ctx, c, "names")
}

func (db *DB) tell(ctx context.Context, c conn, what string) error {
	_, err := c.exec(ctx, "SELECT pg_notify('"+channel+"', ?)", hex.EncodeToString(db.node[:])+" "+what)
	return err
}
