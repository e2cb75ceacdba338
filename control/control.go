package control

import (
	"context"
	"errors"
	"iter"
	"os/user"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/outbound"
	"github.com/landwaiter/landwaiter/internal/seal"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/remediation/quarantine"
	"github.com/landwaiter/landwaiter/scan"
)

// A Store is what control needs of the ledger's state.
type Store interface {
	Units(ctx context.Context) ([]connectors.Unit, error)
	UnitState(ctx context.Context, unit int64) (ledger.UnitState, error)
	Counts(ctx context.Context, unit int64) ([]ledger.Count, error)
	Backlog(ctx context.Context, unit int64) (int64, error)
	Entries(ctx context.Context, f ledger.Filter) (ledger.Page, error)
	History(ctx context.Context, unit int64, key string) ([]ledger.Entry, error)
	Row(ctx context.Context, unit int64, key string) (ledger.Row, bool, error)
	Replay(ctx context.Context, by string, ids ...ledger.ID) (int, error)
	QuarantineGet(ctx context.Context, id ledger.ID) (ledger.QuarantineItem, error)
	QuarantineList(ctx context.Context, f ledger.QuarantineFilter) ([]ledger.QuarantineItem, error)
	QuarantineSet(ctx context.Context, id ledger.ID, state ledger.QuarantineState, by string) error
	Allow(ctx context.Context, a ledger.AllowanceRow) error
	Allowance(ctx context.Context, unit int64, sha256 []byte, now time.Time) (by string, ok bool, err error)
	Disallow(ctx context.Context, unit int64, sha256 []byte) error
	Letters(ctx context.Context, source string, after ledger.ID, n int) ([]ledger.Letter, error)
	DropLetter(ctx context.Context, id ledger.ID) error
	NounStore
	UserStore
	AuditStore
	OutboxStore
	RetentionStore
}

// Engines are the pools as operators see them.
type Engines interface {
	Status() []scan.PoolStatus
	// Test shows the pool's instances the canaries ("" = all pools).
	Test(ctx context.Context, pool string) iter.Seq2[Tested, error]
}

// A Control does what operators ask for. Every rule of theirs is here; the
// command line and the daemon's socket call it. Methods are safe for
// concurrent use.
type Control struct {
	Store Store
	// Open returns an open unit.
	Open    func(ctx context.Context, unit string) (*connectors.Storage, error)
	Vault   *quarantine.Vault
	Engines Engines
	// Fault says why a unit does not work now; nil where no daemon runs.
	Fault func(unit int64) error
	// Feeds tells how sources and hooks go; nil where no daemon runs.
	Feeds func() []Feed
	// Apply makes the daemon serve what the nouns say now: all of it, or nothing
	// with an error; nil where no daemon runs.
	Apply func(ctx context.Context) error
	// Seal keeps secrets in nouns, Tokens signs what logins give.
	Seal   *seal.Box
	Tokens *account.Tokens
	// Guard says which addresses operators may have the daemon reach.
	Guard outbound.Guard

	changing sync.Mutex // held while a noun is changed and put into force
}

// QuarantineUnit is the name of the unit that holds what is put away.
const QuarantineUnit = "quarantine"

// page is how many rows are read at once.
const page = 1000

// unit finds a unit by name.
func (c *Control) unit(ctx context.Context, name string) (connectors.Unit, error) {
	units, err := c.Store.Units(ctx)
	if err != nil {
		return connectors.Unit{}, err
	}
	for _, u := range units {
		if u.Name == name {
			return u, nil
		}
	}
	return connectors.Unit{}, fault.New(fault.NotFound, "control", name, errors.New("there is no unit of this name"))
}

func (c *Control) names(ctx context.Context) (map[int64]string, error) {
	units, err := c.Store.Units(ctx)
	m := make(map[int64]string, len(units))
	for _, u := range units {
		m[u.ID] = u.Name
	}
	return m, err
}

// Entries lists entries: those that are not finished first, then the last
// finished first. fault.NotFound if q names a unit that is not there.
func (c *Control) Entries(ctx context.Context, q EntryQuery) iter.Seq2[ledger.Record, error] {
	return func(yield func(ledger.Record, error) bool) {
		f := ledger.Filter{Since: q.Since, Outcome: q.Outcome}
		fail := func(err error) { yield(ledger.Record{}, err) }
		if q.Unit != "" {
			u, err := c.unit(ctx, q.Unit)
			if err != nil {
				fail(err)
				return
			}
			f.Unit = u.ID
		}
		if q.Verdict != "" {
			v, ok := scan.ParseVerdict(q.Verdict)
			if !ok {
				fail(fault.New(fault.Invalid, "control.Entries", q.Verdict, errors.New("no such verdict")))
				return
			}
			f.Verdict = v
		}
		state, ok := ledger.ParseState(q.State)
		if q.State != "" && !ok {
			fail(fault.New(fault.Invalid, "control.Entries", q.State, errors.New("no such state")))
			return
		}
		prefix, err := object.ParseKey(q.Prefix)
		if err != nil {
			fail(fault.New(fault.Invalid, "control.Entries", "", err))
			return
		}
		f.Search = prefix
		left := q.Limit
		list := func(f ledger.Filter) bool {
			for {
				f.Limit = page
				got, err := c.Store.Entries(ctx, f)
				if err != nil {
					fail(err)
					return false
				}
				for i := range got.Entries {
					e := &got.Entries[i]
					if !strings.HasPrefix(e.Key, prefix) || q.State != "" && e.State != state ||
						e.State != ledger.Finished && e.Discovered.Before(q.Since) || q.Refused && !refused(e.Plan) {
						continue
					}
					if !yield(e.Record(), nil) {
						return false
					}
					if left--; left == 0 {
						return false
					}
				}
				if got.Next == "" {
					return true
				}
				f.After = got.Next
			}
		}
		ended := q.Verdict != "" || q.Outcome != "" // only what is finished has these
		if !ended && (q.State == "" || state != ledger.Finished) {
			open := f
			open.Unfinished = true
			if !list(open) {
				return
			}
		}
		if q.State == "" || state == ledger.Finished {
			list(f)
		}
	}
}

// refused reports whether a step was not done.
func refused(p remediation.Plan) bool {
	return slices.ContainsFunc(p, func(s remediation.Step) bool { return s.State == remediation.Refused || s.State == remediation.Failed })
}

// Explain tells an object's whole story. fault.NotFound if nothing is known of
// the key.
func (c *Control) Explain(ctx context.Context, unit, key string) (Story, error) {
	u, err := c.unit(ctx, unit)
	if err != nil {
		return Story{}, err
	}
	s := Story{Unit: unit, Key: object.FormatKey(key), Entries: []Chapter{}}
	row, ok, err := c.Store.Row(ctx, u.ID, key)
	if err != nil {
		return Story{}, err
	}
	if ok {
		s.Known = &Known{Version: row.Version, Verdict: row.Verdict.String(), Reason: row.Reason, Size: row.Size, Baseline: row.Baseline}
	}
	entries, err := c.Store.History(ctx, u.ID, key)
	if err != nil {
		return Story{}, err
	}
	for i := range entries {
		e := &entries[i]
		s.Entries = append(s.Entries, Chapter{Record: e.Record(), Discovered: e.Discovered, Started: e.Started, Finished: e.Finished,
			Workflow: e.Workflow.String(), Report: e.Report, Events: e.Story})
	}
	if err := c.kept(ctx, u.ID, s.Entries); err != nil {
		return Story{}, err
	}
	if !ok && len(entries) == 0 {
		return Story{}, fault.New(fault.NotFound, "control.Explain", unit+":"+s.Key, errors.New("nothing is known of this object"))
	}
	return s, nil
}

// Replay takes a failed entry back to pending.
func (c *Control) Replay(ctx context.Context, id string) (Effect, error) {
	eid, err := parseID(id)
	if err != nil {
		return Effect{}, err
	}
	n, err := c.Store.Replay(ctx, who(), eid)
	if err != nil {
		return Effect{}, err
	}
	if n == 0 {
		return Effect{}, fault.New(fault.NotFound, "control.Replay", id, errors.New("no finished entry has this id"))
	}
	return Effect{ID: id, State: "done", Detail: "pending again"}, nil
}

// Storages lists the units.
func (c *Control) Storages(ctx context.Context) ([]Storage, error) {
	units, err := c.Store.Units(ctx)
	if err != nil {
		return nil, err
	}
	list := []Storage{}
	for _, u := range units {
		s := Storage{Unit: u.Name, URL: u.URL, Workflow: u.Workflow, State: "ok", Sweep: u.SweepEvery, Caps: []string{}}
		if u.Name == QuarantineUnit {
			continue
		}
		st, err := c.Store.UnitState(ctx, u.ID)
		if err != nil {
			return nil, err
		}
		s.Swept = st.SweepEnd
		if s.Pending, err = c.Store.Backlog(ctx, u.ID); err != nil {
			return nil, err
		}
		switch {
		case u.Disabled:
			s.State = "disabled"
		case c.Fault == nil:
			s.State, s.Detail = "unknown", "no daemon runs on this data folder; landwaiter doctor opens the units"
		default:
			if open, err := c.Open(ctx, u.Name); err != nil {
				s.State, s.Detail = "down", err.Error()
			} else {
				s.Caps = open.Caps().Names()
				if err := c.Fault(u.ID); err != nil {
					s.State, s.Detail = "down", err.Error()
				} else if err := open.Degraded(); err != nil {
					s.State, s.Detail = "degraded", err.Error()
				}
			}
		}
		list = append(list, s)
	}
	return list, nil
}

// Coverage counts, for each unit, what has which verdict.
func (c *Control) Coverage(ctx context.Context) ([]Coverage, error) {
	units, err := c.Store.Units(ctx)
	if err != nil {
		return nil, err
	}
	list := []Coverage{}
	for _, u := range units {
		if u.Disabled || u.Name == QuarantineUnit {
			continue
		}
		st, err := c.Store.UnitState(ctx, u.ID)
		if err != nil {
			return nil, err
		}
		counts, err := c.Store.Counts(ctx, u.ID)
		if err != nil {
			return nil, err
		}
		cov := Coverage{Unit: u.Name, Event: st.LastEvent, Swept: st.SweepEnd, Listed: st.Listed, Gaps: st.Gaps, Promise: u.SweepEvery, Counts: []Count{}}
		if cov.Pending, err = c.Store.Backlog(ctx, u.ID); err != nil {
			return nil, err
		}
		if !st.Covered.IsZero() {
			cov.Lag = time.Since(st.Covered).Round(time.Millisecond)
			cov.Within = cov.Lag <= u.SweepEvery+st.SweepEnd.Sub(st.Covered)+time.Minute
		}
		for _, n := range counts {
			verdict := n.Verdict.String()
			if n.Baseline {
				verdict = ""
			}
			cov.Keys += n.Objects
			if n.Baseline || n.Verdict == scan.NotScanned || n.Verdict == scan.None {
				cov.Unscanned += n.Objects
			}
			cov.Counts = append(cov.Counts, Count{Verdict: verdict, Reason: n.Reason, Keys: n.Objects})
		}
		cov.Missing = max(0, cov.Listed-cov.Keys-cov.Pending)
		list = append(list, cov)
	}
	return list, nil
}

// Pools tells how the engines are.
func (c *Control) Pools(context.Context) ([]scan.PoolStatus, error) {
	if c.Engines == nil {
		return nil, noDaemon("engine list")
	}
	return c.Engines.Status(), nil
}

// TestEngines shows the canaries to the engines of a pool, or of all.
func (c *Control) TestEngines(ctx context.Context, pool string) iter.Seq2[Tested, error] {
	if c.Engines == nil {
		return func(yield func(Tested, error) bool) { yield(Tested{}, noDaemon("engine test")) }
	}
	return c.Engines.Test(ctx, pool)
}

func noDaemon(what string) error {
	return fault.New(fault.Unavailable, "control", what, errors.New("no daemon runs on this data folder"))
}

func parseID(s string) (id ledger.ID, err error) {
	if err := id.UnmarshalText([]byte(s)); err != nil {
		return id, fault.New(fault.Invalid, "control", s, errors.New("not an id"))
	}
	return id, nil
}

// who names the operator: the user that this process runs as.
func who() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "operator"
}
