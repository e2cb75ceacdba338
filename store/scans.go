package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

type scanRow struct {
	n, unit  int64
	id       ledger.ID
	typ      ledger.ScanType
	workflow int64
	scan     ledger.Scan
}

const scanColumns = "s.n, s.id, s.tenant, s.unit, s.type, s.part, s.workflow, s.start_date, s.started, s.ended, s.state, w.hash, " +
	"s.name, s.priority, s.by_id, s.by_name, s.flow, s.events, s.next, s.listed, s.why"

const scanTables = " FROM scans s JOIN workflows w ON w.n = s.workflow "

func readScan(c cells) *scanRow {
	s := &scanRow{n: c.i(0), id: toID(c.b(1)), unit: c.i(3), typ: ledger.ScanType(c.i(4)), workflow: c.i(6)}
	s.scan = ledger.Scan{ID: s.id, Tenant: c.i(2), Unit: s.unit, Type: s.typ, Partition: c.s(5), Workflow: toHash(c.b(11)), StartDate: fromMicros(c.i(7)),
		Started: fromMicros(c.i(8)), Ended: fromMicros(c.i(9)), State: c.s(10),
		Name: c.s(12), Priority: int(c.i(13)), By: toID(nullable(c, 14)), ByName: c.s(15), Flow: toID(nullable(c, 16)), Events: c.i(17) != 0,
		Next: c.s(18), Listed: c.i(19) != 0, Error: c.s(20)}
	return s
}

func toHash(b []byte) (h ledger.Hash) {
	copy(h[:], b)
	return h
}

func (db *DB) scan(ctx context.Context, id ledger.ID) (*scanRow, error) {
	if s, ok := cached(&db.names.mu, &db.names.byID, id); ok {
		return s, nil
	}
	return db.loadScan(ctx, "s.id = ?", id[:])
}

func (db *DB) scanNumber(ctx context.Context, n int64) (*scanRow, error) {
	if s, ok := cached(&db.names.mu, &db.names.scans, n); ok {
		return s, nil
	}
	return db.loadScan(ctx, "s.n = ?", n)
}

func (db *DB) loadScan(ctx context.Context, where string, arg any) (s *scanRow, err error) {
	gen := db.names.generation()
	err = db.query(ctx, "SELECT "+scanColumns+scanTables+"WHERE "+where, func(c cells) error {
		s = readScan(c)
		return nil
	}, arg)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, fault.New(fault.NotFound, "store", "scan", nil)
	}
	keep(&db.names, gen, &db.names.scans, s.n, s)
	keep(&db.names, gen, &db.names.byID, s.id, s)
	return s, nil
}

// SaveWorkflow keeps a workflow's JSON under its SHA-256 and returns that.
func (db *DB) SaveWorkflow(ctx context.Context, json []byte) (ledger.Hash, error) {
	h := ledger.Hash(sha256.Sum256(json))
	err := db.do(ctx, func(ctx context.Context, c conn) error {
		_, err := c.exec(ctx, "INSERT INTO workflows (hash, json, created) VALUES (?, ?, ?) ON CONFLICT (hash) DO NOTHING", h[:], json, micros(db.now()))
		return err
	})
	return h, err
}

// Workflow returns the JSON that SaveWorkflow kept, fault.NotFound if there is none.
func (db *DB) Workflow(ctx context.Context, h ledger.Hash) (json []byte, err error) {
	err = db.query(ctx, "SELECT json FROM workflows WHERE hash = ?", func(c cells) error {
		json = c.b(0)
		return nil
	}, h[:])
	if err == nil && json == nil {
		err = fault.New(fault.NotFound, "store.Workflow", h.String(), nil)
	}
	return json, err
}

func (db *DB) workflowHash(ctx context.Context, n int64) (ledger.Hash, error) {
	if h, ok := cached(&db.names.mu, &db.names.workflows, n); ok {
		return h, nil
	}
	var h ledger.Hash
	gen := db.names.generation()
	err := db.query(ctx, "SELECT hash FROM workflows WHERE n = ?", func(c cells) error {
		h = toHash(c.b(0))
		return nil
	}, n)
	if err == nil {
		keep(&db.names, gen, &db.names.workflows, n, h)
	}
	return h, err
}

// EnsureRealTimeScan is EnsureScan of a scan that says no more.
func (db *DB) EnsureRealTimeScan(ctx context.Context, unit int64, partition string, workflow ledger.Hash, startDate time.Time) (ledger.Scan, error) {
	return db.EnsureScan(ctx, ledger.Scan{Unit: unit, Partition: partition, Workflow: workflow, StartDate: startDate})
}

// EnsureScan returns the RealTime scan of the unit's partition ("" = all of it)
// and makes it the one that s describes. A unit has at most one of a partition.
func (db *DB) EnsureScan(ctx context.Context, s ledger.Scan) (ledger.Scan, error) {
	s.ID, s.Type, s.Started = ledger.NewID(), ledger.RealTime, db.now()
	var out ledger.Scan
	err := db.do(ctx, func(ctx context.Context, c conn) error {
		if err := insertScan(ctx, c, s,
			`ON CONFLICT (unit, part) WHERE type = 2 DO UPDATE SET workflow = excluded.workflow, start_date = excluded.start_date, ended = 0, state = excluded.state,
			name = excluded.name, priority = excluded.priority, by_id = excluded.by_id, by_name = excluded.by_name, flow = excluded.flow, events = excluded.events, removed = 0`); err != nil {
			return err
		}
		if err := c.query(ctx, "SELECT "+scanColumns+scanTables+"WHERE s.unit = ? AND s.part = ? AND s.type = 2", func(c cells) error {
			out = readScan(c).scan
			return nil
		}, s.Unit, []byte(s.Partition)); err != nil {
			return err
		}
		return db.announce(ctx, c)
	})
	db.names.forget()
	return out, err
}

// The states of a scan.
const (
	ScanRunning   = "running"
	ScanStopped   = "stopped"
	ScanCompleted = "completed"
	ScanFailed    = "failed"
	ScanStopping  = "stopping" // of a ScanFilter: stopped, and some entry is not finished
)

func insertScan(ctx context.Context, c conn, s ledger.Scan, conflict string) error {
	var workflow int64
	if err := c.query(ctx, "SELECT n FROM workflows WHERE hash = ?", func(c cells) error { workflow = c.i(0); return nil }, s.Workflow[:]); err != nil {
		return err
	}
	if workflow == 0 {
		return fault.New(fault.NotFound, "store", "workflow "+s.Workflow.String(), nil)
	}
	tenant := s.Tenant
	if err := c.query(ctx, "SELECT tenant FROM units WHERE id = ?", func(c cells) error { tenant = c.i(0); return nil }, s.Unit); err != nil {
		return err
	}
	_, err := c.exec(ctx, `INSERT INTO scans (id, tenant, unit, type, part, workflow, start_date, started, state, name, priority, by_id, by_name, flow, events)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) `+conflict,
		s.ID[:], cmp.Or(tenant, int64(defaultTenant)), s.Unit, int64(s.Type), []byte(s.Partition), workflow, micros(s.StartDate), micros(s.Started), []byte(ScanRunning),
		[]byte(s.Name), int64(s.Priority), idOrNull(s.By), []byte(s.ByName), idOrNull(s.Flow), flag(s.Events))
	return err
}

// StartScan begins an Instant or Scheduled scan and returns it with its ID, a new
// one if s has none. It returns fault.Exists if one of them runs over the same part of the unit.
func (db *DB) StartScan(ctx context.Context, s ledger.Scan) (ledger.Scan, error) {
	u, err := db.unit(ctx, s.Unit)
	if err != nil {
		return s, err
	}
	if s.ID == (ledger.ID{}) {
		s.ID = ledger.NewID()
	}
	s.Tenant, s.State, s.Ended = u.tenant, ScanRunning, time.Time{}
	if s.Started.IsZero() {
		s.Started = fromMicros(micros(db.now()))
	}
	if s.Type == ledger.RealTime {
		return s, fault.New(fault.Invalid, "store.StartScan", "", nil)
	}
	err = db.do(ctx, func(ctx context.Context, c conn) error {
		var other *scanRow
		if err := db.lockUnit(ctx, c, s.Unit); err != nil {
			return err
		}
		err := c.query(ctx, "SELECT "+scanColumns+scanTables+"WHERE s.unit = ? AND s.type <> 2 AND s.state = ?", func(c cells) error {
			o := readScan(c)
			if ledger.Overlap(o.scan.Partition, s.Partition) {
				other = o
			}
			return nil
		}, s.Unit, []byte(ScanRunning))
		if err != nil {
			return err
		}
		if other != nil {
			return fault.New(fault.Exists, "store.StartScan", "", fmt.Errorf("scan %s runs over the same part of the unit", other.id))
		}
		if err := insertScan(ctx, c, s, ""); err != nil {
			return err
		}
		return db.announce(ctx, c)
	})
	return s, err
}

// lockUnit lets no other node start a scan of the unit until the commit.
func (db *DB) lockUnit(ctx context.Context, c conn, unit int64) error {
	if db.alone() {
		return nil
	}
	return c.query(ctx, "SELECT id FROM units WHERE id = ? FOR UPDATE", func(cells) error { return nil }, unit)
}

func idOrNull(id ledger.ID) any {
	if id == (ledger.ID{}) {
		return nil
	}
	return id[:]
}

// EndScan ends a scan in the state given (ScanStopped, ScanCompleted, ScanFailed).
func (db *DB) EndScan(ctx context.Context, id ledger.ID, state string) error {
	err := db.do(ctx, func(ctx context.Context, c conn) error {
		var s *scanRow
		if err := c.query(ctx, "SELECT "+scanColumns+scanTables+"WHERE s.id = ?", func(c cells) error { s = readScan(c); return nil }, id[:]); err != nil {
			return err
		}
		if s == nil {
			return fault.New(fault.NotFound, "store.EndScan", id.String(), nil)
		}
		was := s.scan.State
		s.scan.State, s.scan.Ended = state, fromMicros(micros(db.now()))
		if _, err := c.exec(ctx, "UPDATE scans SET state = ?, ended = ? WHERE id = ?", []byte(state), micros(s.scan.Ended), id[:]); err != nil {
			return err
		}
		if was == ScanRunning && s.typ != ledger.RealTime {
			if err := db.scanNews(ctx, c, s); err != nil {
				return err
			}
		}
		return db.announce(ctx, c)
	})
	db.names.forget()
	return err
}

// Scans returns the scans of the unit (0 = of all units), the oldest first.
func (db *DB) Scans(ctx context.Context, unit int64) ([]ledger.Scan, error) {
	var out []ledger.Scan
	err := db.query(ctx, "SELECT "+scanColumns+scanTables+"WHERE s.removed = 0 AND (? = 0 OR s.unit = ?) ORDER BY s.n", func(c cells) error {
		out = append(out, readScan(c).scan)
		return nil
	}, unit, unit)
	return out, err
}
