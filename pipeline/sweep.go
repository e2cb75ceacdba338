package pipeline

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
)

const (
	sweepPage  = 1000 // inventory rows read at once
	sweepBatch = 500  // events written at once
)

// SweepStats say what a sweep found.
type SweepStats struct {
	Listed, New, Changed, Missing, Gaps int64
	// Resumed: it began where an earlier one was cut short, so that what changed
	// before that place meanwhile was not seen.
	Resumed bool
	Prefix  string // "" = the whole unit
	Began   time.Time
	Took    time.Duration
}

// sweep merges a listing of the unit below prefix against the inventory, in
// key order, and emits events for what is new, other or missing. It holds no
// transaction between pages and stops while the backlog is full. A sweep of
// the whole unit that was cut short resumes where its last batch was committed.
func (p *Pipeline) sweep(ctx context.Context, u *unit, prefix string) (s SweepStats, err error) {
	s.Began, s.Prefix = p.now(), prefix
	defer func() { s.Took = p.now().Sub(s.Began) }()
	st, err := p.o.Storages.Get(u.Name)
	if err != nil {
		return s, err
	}
	start := ""
	if prefix == "" {
		if start, err = p.o.Ledger.Cursor(ctx, u.ID, "sweep"); err != nil {
			return s, err
		}
	}
	s.Resumed = start != ""
	held, err := p.o.Ledger.Held(ctx, u.ID)
	if err != nil {
		return s, err
	}
	m := &merge{p: p, u: u, st: st, stats: &s, whole: prefix == "", inv: inventory{l: p.o.Ledger, unit: u.ID, prefix: prefix, after: start}}
	list := st.List
	if u.Versions == "all" {
		list = st.ListVersions
	}
	for info, lerr := range list(ctx, prefix, start) {
		if lerr != nil {
			var gap *connectors.Gap
			if !errors.As(lerr, &gap) {
				return s, errors.Join(lerr, m.flush(ctx))
			}
			p.log.Warn("cannot list", "unit", u.Name, "prefix", object.FormatKey(gap.Prefix), "err", gap.Err)
			s.Gaps++
			m.gaps = append(m.gaps, gap.Prefix)
			continue
		}
		if held[info.Key] {
			continue
		}
		s.Listed++
		if u.Versions == "all" {
			err = m.version(ctx, info)
		} else {
			err = m.saw(ctx, info)
		}
		if err != nil {
			return s, err
		}
	}
	if err := ctx.Err(); err != nil {
		return s, err
	}
	if err := errors.Join(m.older(ctx), m.rest(ctx)); err != nil {
		return s, err
	}
	if m.whole && (start != "" || m.marked) {
		err = p.o.Ledger.SetCursor(ctx, ledger.Cursor{Unit: u.ID, Source: "sweep"})
	}
	return s, err
}

// merge walks listing and inventory side by side.
type merge struct {
	p      *Pipeline
	u      *unit
	st     *connectors.Storage
	stats  *SweepStats
	whole  bool
	marked bool // a cursor of this sweep is stored
	inv    inventory
	gaps   []string
	batch  []ledger.Arrival
	last   string
	past   []object.Info // versions of one key that are not current, where all are wanted
}

// maxPast bounds the older versions of one key that are looked up at once.
const maxPast = 1000

// version takes the next of a listing of all versions: the current one of a key
// is compared with the inventory, older ones with the entries.
func (m *merge) version(ctx context.Context, info object.Info) error {
	if len(m.past) > 0 && (m.past[0].Key != info.Key || len(m.past) >= maxPast) {
		if err := m.older(ctx); err != nil {
			return err
		}
	}
	switch {
	case info.Kind == object.Marker: // no content: a current one leaves its key to be found missing
	case info.Latest:
		return m.saw(ctx, info)
	default:
		m.past = append(m.past, info)
	}
	return nil
}

// older emits events for the older versions of a key that have no entry yet.
func (m *merge) older(ctx context.Context) error {
	if len(m.past) == 0 {
		return nil
	}
	key := m.past[0].Key
	known, err := m.p.o.Ledger.Versions(ctx, m.u.ID, key)
	if err != nil {
		return err
	}
	for _, info := range m.past {
		if !known[info.Version] {
			m.stats.New++
			if err := m.add(ctx, m.event(info)); err != nil {
				return err
			}
		}
	}
	m.past = m.past[:0]
	return nil
}

// saw takes the listing's next object.
func (m *merge) saw(ctx context.Context, info object.Info) error {
	for {
		row, ok, err := m.inv.peek(ctx)
		if err != nil {
			return err
		}
		if !ok || row.Key > info.Key {
			m.stats.New++
			return m.add(ctx, m.event(info))
		}
		m.inv.next()
		if row.Key < info.Key {
			if err := m.missing(ctx, row); err != nil {
				return err
			}
			continue
		}
		if row.Version != info.Version {
			m.stats.Changed++
			return m.add(ctx, m.event(info))
		}
		return nil
	}
}

// rest takes what the inventory has after the listing's end.
func (m *merge) rest(ctx context.Context) error {
	for {
		row, ok, err := m.inv.peek(ctx)
		if err != nil {
			return err
		}
		if !ok {
			return m.flush(ctx)
		}
		m.inv.next()
		if err := m.missing(ctx, row); err != nil {
			return err
		}
	}
}

func (m *merge) missing(ctx context.Context, row ledger.Row) error {
	for _, g := range m.gaps {
		if strings.HasPrefix(row.Key, g) {
			return nil
		}
	}
	// A listing may be older than the row: only what a look now does not find is missing.
	_, err := m.st.Stat(ctx, object.Ref{Unit: m.u.Name, Key: row.Key})
	if err == nil || !fault.Is(err, fault.NotFound) {
		if fault.Canceled(err) {
			return err
		}
		return nil
	}
	m.stats.Missing++
	return m.add(ctx, object.Event{Ref: object.Ref{Unit: m.u.Name, Key: row.Key, Version: row.Version},
		Op: object.Delete, Size: -1, Cause: "sweep"})
}

func (m *merge) event(info object.Info) object.Event {
	return object.Event{Ref: object.Ref{Unit: m.u.Name, Key: info.Key, Version: info.Version}, Size: info.Size,
		Time: info.ModTime, Cause: "sweep"}
}

func (m *merge) add(ctx context.Context, ev object.Event) error {
	for i := range m.u.Scans {
		sc := &m.u.Scans[i]
		if ledger.Within(sc.Partition, ev.Key) {
			ev.Priority = sc.Priority
			ev.Baseline = ev.Op == object.Look && !sc.StartDate.IsZero() && !ev.Time.IsZero() && ev.Time.Before(sc.StartDate)
			m.batch = append(m.batch, ledger.Arrival{Event: ev, Scan: sc.ID})
		}
	}
	m.last = ev.Key
	if len(m.batch) < sweepBatch {
		return nil
	}
	return m.flush(ctx)
}

func (m *merge) flush(ctx context.Context) error {
	if len(m.batch) == 0 {
		return nil
	}
	if err := m.p.waitRoom(ctx, m.u, m.p.o.Bounds.Backlog); err != nil {
		return err
	}
	var cur *ledger.Cursor
	if m.whole && len(m.gaps) == 0 {
		cur = &ledger.Cursor{Unit: m.u.ID, Source: "sweep", Next: m.last}
		m.marked = true
	}
	err := m.p.intake(ctx, m.u, m.batch, cur)
	m.batch = m.batch[:0]
	return err
}

// inventory reads the rows below prefix in pages.
type inventory struct {
	l      Ledger
	unit   int64
	prefix string
	after  string
	page   []ledger.Row
	done   bool
}

func (v *inventory) peek(ctx context.Context) (ledger.Row, bool, error) {
	for len(v.page) == 0 {
		if v.done {
			return ledger.Row{}, false, nil
		}
		if v.after < v.prefix {
			v.after = before(v.prefix)
		}
		page, err := v.l.Inventory(ctx, v.unit, v.after, sweepPage)
		if err != nil {
			return ledger.Row{}, false, err
		}
		v.done = len(page) < sweepPage
		if n := len(page); n > 0 {
			v.after = page[n-1].Key
		}
		for len(page) > 0 && !strings.HasPrefix(page[0].Key, v.prefix) {
			if page[0].Key > v.prefix {
				v.done, page = true, nil
				break
			}
			page = page[1:]
		}
		v.page = page
	}
	if !strings.HasPrefix(v.page[0].Key, v.prefix) {
		v.page, v.done = nil, true
		return ledger.Row{}, false, nil
	}
	return v.page[0], true, nil
}

func (v *inventory) next() { v.page = v.page[1:] }

// before returns a key that sorts before prefix with nothing but shorter
// stretches between, so that reading after it begins at prefix.
func before(prefix string) string {
	if prefix == "" {
		return ""
	}
	b := []byte(prefix)
	if b[len(b)-1] == 0 {
		return string(b[:len(b)-1])
	}
	b[len(b)-1]--
	return string(append(b, 0xff))
}
