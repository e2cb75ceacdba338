package store

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// defaultTenant is the one tenant that there is so far.
const defaultTenant = 1

// names keep what every entry refers to by number. None of it changes but a
// unit's settings and a scan's workflow; other nodes' changes come by notice.
type names struct {
	mu        sync.RWMutex
	units     map[int64]*unitRow
	byName    map[string]*unitRow
	scans     map[int64]*scanRow
	byID      map[ledger.ID]*scanRow
	workflows map[int64]ledger.Hash
	gen       uint64 // how often it was forgotten: what was read before is not kept after
}

type unitRow struct {
	id, tenant  int64
	name        string
	allVersions bool
	unit        connectors.Unit
}

// forget drops what is cached of units and scans.
func (n *names) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.units, n.byName, n.scans, n.byID = nil, nil, nil, nil
	n.gen++
}

func (n *names) generation() uint64 {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.gen
}

func cached[K comparable, V any](mu *sync.RWMutex, m *map[K]V, k K) (V, bool) {
	mu.RLock()
	defer mu.RUnlock()
	v, ok := (*m)[k]
	return v, ok
}

func keep[K comparable, V any](n *names, gen uint64, m *map[K]V, k K, v V) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.gen != gen {
		return
	}
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}

const unitColumns = "id, tenant, name, workflow, config, managed, disabled, client"

func readUnit(c cells) (*unitRow, error) {
	u := &unitRow{id: c.i(0), tenant: c.i(1), name: c.s(2)}
	if err := json.Unmarshal(c.b(4), &u.unit); err != nil {
		return nil, fault.New(fault.Corrupt, "store", "unit "+u.name, err)
	}
	u.unit.ID, u.unit.Name, u.unit.Workflow = u.id, u.name, c.s(3)
	u.unit.Managed, u.unit.Disabled = c.i(5) != 0, c.i(6) != 0
	u.unit.Client, u.unit.Tenant = toID(c.b(7)), u.tenant
	u.allVersions = u.unit.Versions == "all"
	return u, nil
}

// unit returns fault.NotFound if there is no such unit.
func (db *DB) unit(ctx context.Context, id int64) (*unitRow, error) {
	if u, ok := cached(&db.names.mu, &db.names.units, id); ok {
		return u, nil
	}
	return db.loadUnit(ctx, "id = ?", id)
}

func (db *DB) unitNamed(ctx context.Context, name string) (*unitRow, error) {
	if u, ok := cached(&db.names.mu, &db.names.byName, name); ok {
		return u, nil
	}
	return db.loadUnit(ctx, "name = ?", []byte(name))
}

func (db *DB) loadUnit(ctx context.Context, where string, arg any) (u *unitRow, err error) {
	gen := db.names.generation()
	err = db.query(ctx, "SELECT "+unitColumns+" FROM units WHERE "+where, func(c cells) (err error) {
		u, err = readUnit(c)
		return err
	}, arg)
	if err != nil {
		return nil, err
	}
	if u == nil {
		return nil, fault.New(fault.NotFound, "store", "unit", nil)
	}
	keep(&db.names, gen, &db.names.units, u.id, u)
	keep(&db.names, gen, &db.names.byName, u.name, u)
	return u, nil
}

// EnsureUnit writes the unit's settings under its name and returns its number.
// Its options, which may be secrets, stay where they came from. A unit with a
// Client is known by that: it may have had another name.
func (db *DB) EnsureUnit(ctx context.Context, u connectors.Unit) (id int64, err error) {
	if u.Name == "" {
		return 0, fault.New(fault.Invalid, "store.EnsureUnit", "", nil)
	}
	kept := u
	kept.Options = nil
	tenant, client := cmp.Or(u.Tenant, int64(defaultTenant)), u.Client
	if client == (ledger.ID{}) {
		client = ledger.NewID()
	}
	config, err := json.Marshal(kept)
	if err != nil {
		return 0, fault.New(fault.Internal, "store.EnsureUnit", u.Name, err)
	}
	vendor := ""
	if at, err := url.Parse(u.URL); err == nil {
		vendor = at.Scheme
	}
	now := micros(db.now())
	err = db.do(ctx, func(ctx context.Context, c conn) error {
		if u.Client != (ledger.ID{}) {
			if err := takeName(ctx, c, client, u.Name); err != nil {
				return err
			}
		}
		if _, err := c.exec(ctx, `INSERT INTO units (client, tenant, name, vendor, workflow, config, managed, disabled, created, changed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (tenant, name) DO UPDATE SET vendor = excluded.vendor, workflow = excluded.workflow, config = excluded.config, managed = excluded.managed,
			disabled = excluded.disabled, changed = excluded.changed`,
			client[:], tenant, []byte(u.Name), []byte(vendor), []byte(u.Workflow), config, flag(u.Managed), flag(u.Disabled), now, now); err != nil {
			return err
		}
		if err := c.query(ctx, "SELECT id FROM units WHERE name = ?", func(c cells) error { id = c.i(0); return nil }, []byte(u.Name)); err != nil {
			return err
		}
		return db.announce(ctx, c)
	})
	db.names.forget()
	return id, err
}

// takeName gives the unit that is known by client its name. A unit that had the
// name before and is no longer served keeps what is known of it under another.
func takeName(ctx context.Context, c conn, client ledger.ID, name string) error {
	if _, err := c.exec(ctx, "UPDATE units SET name = ? WHERE name = ? AND client <> ? AND disabled = 1",
		[]byte(name+"#"+ledger.NewID().String()), []byte(name), client[:]); err != nil {
		return err
	}
	_, err := c.exec(ctx, "UPDATE units SET name = ? WHERE client = ?", []byte(name), client[:])
	return err
}

// Unit returns the settings of a unit by name, fault.NotFound if there is none.
func (db *DB) Unit(ctx context.Context, name string) (connectors.Unit, error) {
	u, err := db.loadUnit(ctx, "name = ?", []byte(name))
	if err != nil {
		return connectors.Unit{}, fault.New(fault.Other, "store.Unit", name, err)
	}
	return u.unit, nil
}

// Units returns all units, disabled ones too, by number.
func (db *DB) Units(ctx context.Context) ([]connectors.Unit, error) {
	var out []connectors.Unit
	err := db.query(ctx, "SELECT "+unitColumns+" FROM units ORDER BY id", func(c cells) error {
		u, err := readUnit(c)
		if err == nil {
			out = append(out, u.unit)
		}
		return err
	})
	return out, err
}

// Gone returns the disabled units, by number, and since when they are.
func (db *DB) Gone(ctx context.Context) (map[int64]time.Time, error) {
	m := map[int64]time.Time{}
	err := db.query(ctx, "SELECT id, changed FROM units WHERE disabled = 1", func(c cells) error {
		m[c.i(0)] = fromMicros(c.i(1))
		return nil
	})
	return m, err
}

// DisableUnit leaves a unit and all that is known of it in the ledger, but out
// of work. EnsureUnit enables it again.
func (db *DB) DisableUnit(ctx context.Context, id int64) error {
	err := db.do(ctx, func(ctx context.Context, c conn) error {
		n, err := c.exec(ctx, "UPDATE units SET disabled = 1, changed = ? WHERE id = ?", micros(db.now()), id)
		if err == nil && n == 0 {
			return fault.New(fault.NotFound, "store.DisableUnit", "", nil)
		}
		if err != nil {
			return err
		}
		return db.announce(ctx, c)
	})
	db.names.forget()
	return err
}

// UnitState is ledger.UnitState.
type UnitState = ledger.UnitState

// UnitState returns the state of a unit, zero if nothing happened yet.
func (db *DB) UnitState(ctx context.Context, unit int64) (s UnitState, err error) {
	err = db.query(ctx, "SELECT last_event, sweep_start, sweep_end, probed, probe, error, error_at, covered, listed, gaps FROM unit_states WHERE unit = ?", func(c cells) error {
		s = UnitState{LastEvent: fromMicros(c.i(0)), SweepStart: fromMicros(c.i(1)), SweepEnd: fromMicros(c.i(2)), Probed: fromMicros(c.i(3)),
			Probe: nullable(c, 4), Error: c.s(5), ErrorAt: fromMicros(c.i(6)), Covered: fromMicros(c.i(7)), Listed: c.i(8), Gaps: c.i(9)}
		return nil
	}, unit)
	return s, err
}

// SetUnitState merges s into the state of a unit: zero times and an empty probe
// leave what is there. Listed and Gaps go with Covered. Error and ErrorAt are written if ErrorAt is set, so that
// an empty Error with a time says that the unit works again.
func (db *DB) SetUnitState(ctx context.Context, unit int64, s UnitState) error {
	return db.do(ctx, func(ctx context.Context, c conn) error {
		if _, err := c.exec(ctx, "INSERT INTO unit_states (unit) VALUES (?) ON CONFLICT (unit) DO NOTHING", unit); err != nil {
			return err
		}
		for _, f := range []struct {
			sql string
			at  time.Time
		}{{"last_event", s.LastEvent}, {"sweep_start", s.SweepStart}, {"sweep_end", s.SweepEnd}} {
			if f.at.IsZero() {
				continue
			}
			if _, err := c.exec(ctx, "UPDATE unit_states SET "+f.sql+" = ? WHERE unit = ?", micros(f.at), unit); err != nil {
				return err
			}
		}
		if len(s.Probe) > 0 {
			if _, err := c.exec(ctx, "UPDATE unit_states SET probe = ?, probed = ? WHERE unit = ?", []byte(s.Probe), micros(s.Probed), unit); err != nil {
				return err
			}
		}
		if !s.Covered.IsZero() {
			if _, err := c.exec(ctx, "UPDATE unit_states SET covered = ?, listed = ?, gaps = ? WHERE unit = ?", micros(s.Covered), s.Listed, s.Gaps, unit); err != nil {
				return err
			}
		}
		if s.ErrorAt.IsZero() {
			return nil
		}
		_, err := c.exec(ctx, "UPDATE unit_states SET error = ?, error_at = ? WHERE unit = ?", text(s.Error), micros(s.ErrorAt), unit)
		return err
	})
}
