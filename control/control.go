package control

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"os/user"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/outbound"
	"github.com/landwaiter/landwaiter/internal/seal"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/remediation/quarantine"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/workflow"
)

// A Store is what control needs of the ledger's state.
type Store interface {
	Units(ctx context.Context) ([]connectors.Unit, error)
	UnitState(ctx context.Context, unit int64) (ledger.UnitState, error)
	Gone(ctx context.Context) (map[int64]time.Time, error)
	Counts(ctx context.Context, unit int64) ([]ledger.Count, error)
	Backlog(ctx context.Context, unit int64) (int64, error)
	Entries(ctx context.Context, f ledger.Filter) (ledger.Page, error)
	History(ctx context.Context, unit int64, key string) ([]ledger.Entry, error)
	Row(ctx context.Context, unit int64, key string) (ledger.Row, bool, error)
	Entry(ctx context.Context, id ledger.ID) (ledger.Entry, error)
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
	StorageStore
	UserStore
	AuditStore
	OutboxStore
	RetentionStore
	TenantStore
	ScanStore
	FileStore
}

// Engines are the pools as operators see them.
type Engines interface {
	Status() []scan.PoolStatus
	// Test shows the pool's instances the canaries ("" = all pools).
	Test(ctx context.Context, pool string) iter.Seq2[Tested, error]
	// Pool tells how the pool is that workflows know by a name.
	Pool(name string) (scan.PoolStatus, bool)
	// CheckEngine says what is wrong with an engine's settings, without asking it.
	CheckEngine(ctx context.Context, e EngineSpec) error
	// Try connects to an engine: an error says what keeps it from being used.
	Try(ctx context.Context, e EngineSpec, userAgent string) (Trial, error)
	// Offers asks the engines of a pool what they can do, see scan.Describe.
	Offers(ctx context.Context, name string) ([]string, error)
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
	// Connect reaches storages; nil where no daemon runs.
	Connect Connect
	// Reach refuses addresses that users may not make the daemon call; nil
	// refuses none.
	Reach func(ctx context.Context, rawURL string) error
	// Hear takes an event of a unit into the ledger, and says which keys of the
	// unit it speaks of; nil where no daemon runs.
	Hear func(ctx context.Context, unit connectors.Unit, n events.Notice) (key string, err error)
	// Resweep asks for a look at everything below a folder of a unit.
	Resweep func(unit int64, folder string) bool
	// Stream tells of what finishes; the daemon publishes to it.
	Stream Stream
	// Flow is the workflow of a name that a scan of the unit is to be under; "" = the
	// unit's. Look tells that scans began or ended. Nil where no daemon runs.
	Flow func(unit, workflow string) (workflow.Workflow, error)
	Look func()
	// Unlock hands passwords to the engines for a file's next examination:
	// fault.Unsupported if none of them would take any.
	Unlock func(e *ledger.Entry, passwords []string) error
	// Seal keeps secrets in nouns with the key that Keeper keeps; Tokens signs what
	// logins give.
	Seal   *seal.Box
	Keeper Keeper
	Tokens *account.Tokens
	// Guard says which addresses operators may have the daemon reach.
	Guard outbound.Guard
	// Checks looks at the parts of the daemon; nil where none runs.
	Checks func(ctx context.Context) []Part

	// Mail sends mail; nil where that is not set up.
	Mail Mailer

	// Through makes connections to URLs that users name: identity providers.
	// nil = directly.
	Through http.RoundTripper

	// Standing are the nouns of a kind that stand in the configuration file; nil where
	// no daemon runs.
	Standing func(kind ledger.Kind) []ledger.Noun
	// NoLoopback: engines at this machine's own addresses are refused.
	NoLoopback bool

	providers providers
	strangers quota // of audit rows of those who are nobody
	refusals  quota // of those who may not
	logins    turns
	ghosts    ghosts
	placing   sync.Mutex // held while a storage is given a place that must be free
	changing  sync.Mutex // held while a noun is changed and put into force
}

// QuarantineUnit is the name of the unit that holds what is put away.
const QuarantineUnit = "quarantine"

// page is how many rows are read at once.
const page = 1000

// units are those that the caller may see, which of the machine's operator are
// all, with the names that the caller gave them.
func (c *Control) units(ctx context.Context) ([]connectors.Unit, error) {
	units, err := c.Store.Units(ctx)
	who, _ := account.From(ctx)
	if err != nil || who.IsMachine() {
		return units, err
	}
	mine := units[:0:0]
	for _, u := range units {
		if u.Tenant == who.Tenant {
			u.Name = shownName(u)
			mine = append(mine, u)
		}
	}
	return mine, nil
}

// shownName is a unit's name within its tenant.
func shownName(u connectors.Unit) string { return strings.TrimPrefix(u.Name, UnitName(u.Tenant, "")) }

// unit finds a unit of the caller's by name.
func (c *Control) unit(ctx context.Context, name string) (connectors.Unit, error) {
	units, err := c.units(ctx)
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

// names are the caller's names of units; what is not here is not theirs.
func (c *Control) names(ctx context.Context) (map[int64]string, error) {
	units, err := c.units(ctx)
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
		if err := Allowed(ctx, "entry.list"); err != nil {
			fail(err)
			return
		}
		names, err := c.names(ctx)
		if err != nil {
			fail(err)
			return
		}
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
					name, mine := names[e.Unit]
					if !mine {
						continue
					}
					e.UnitName = name
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
	return get(ctx, c, act{action: "entry.explain", target: unit}, func(ctx context.Context, _ account.Caller) (Story, error) { return c.explain(ctx, unit, key) })
}

func (c *Control) explain(ctx context.Context, unit, key string) (Story, error) {
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
		e.UnitName = unit
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
	return get(ctx, c, act{action: "entry.replay", target: clip(id)}, func(ctx context.Context, who account.Caller) (Effect, error) {
		none := fault.New(fault.NotFound, "control.Replay", clip(id), errors.New("no finished entry has this id"))
		eid, err := parseID(id)
		if err != nil {
			return Effect{}, err
		}
		if !who.IsMachine() {
			names, err := c.names(ctx)
			if err != nil {
				return Effect{}, err
			}
			e, err := c.Store.Entry(ctx, eid)
			if err != nil && !fault.Is(err, fault.NotFound) {
				return Effect{}, err
			}
			if _, mine := names[e.Unit]; err != nil || !mine {
				return Effect{}, none
			}
		}
		n, err := c.Store.Replay(ctx, who.Name, eid)
		if err != nil {
			return Effect{}, err
		}
		if n == 0 {
			return Effect{}, none
		}
		return Effect{ID: id, State: "done", Detail: "pending again"}, nil
	})
}

// Storages lists the units, those that are gone too.
func (c *Control) Storages(ctx context.Context) ([]Storage, error) {
	return get(ctx, c, act{action: "storage.list"}, func(ctx context.Context, _ account.Caller) ([]Storage, error) { return c.storages(ctx) })
}

func (c *Control) storages(ctx context.Context) ([]Storage, error) {
	units, err := c.units(ctx)
	if err != nil {
		return nil, err
	}
	gone, err := c.Store.Gone(ctx)
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
			s.State, s.Gone, s.Detail = "gone", gone[u.ID], "neither the configuration nor an account names it any more; what is known of it stays"
		case c.Fault == nil:
			s.State, s.Detail = "unknown", "no daemon runs on this data folder; landwaiter doctor opens the units"
		default:
			if open, err := c.Open(ctx, servedName(u)); err != nil {
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

// Coverage counts, for each unit, what has which verdict; of those that are
// gone, what had one.
func (c *Control) Coverage(ctx context.Context) ([]Coverage, error) {
	return get(ctx, c, act{action: "storage.list"}, func(ctx context.Context, _ account.Caller) ([]Coverage, error) { return c.coverage(ctx) })
}

func (c *Control) coverage(ctx context.Context) ([]Coverage, error) {
	units, err := c.units(ctx)
	if err != nil {
		return nil, err
	}
	gone, err := c.Store.Gone(ctx)
	if err != nil {
		return nil, err
	}
	list := []Coverage{}
	for _, u := range units {
		if u.Name == QuarantineUnit {
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
		cov := Coverage{Unit: u.Name, Gone: gone[u.ID], Event: st.LastEvent, Swept: st.SweepEnd, Listed: st.Listed, Gaps: st.Gaps, Promise: u.SweepEvery, Counts: []Count{}}
		if cov.Pending, err = c.Store.Backlog(ctx, u.ID); err != nil {
			return nil, err
		}
		if !st.Covered.IsZero() && !u.Disabled {
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

func noDaemon(what string) error {
	return fault.New(fault.Unavailable, "control", what, errors.New("no daemon runs on this data folder"))
}

// ParseKey reads a key in the form of object.FormatKey, fault.Invalid if it is none.
func ParseKey(s string) (string, error) {
	key, err := object.ParseKey(s)
	if err != nil {
		return "", fault.New(fault.Invalid, "control", "", err)
	}
	return key, nil
}

// FormatKey writes what ParseKey reads.
func FormatKey(key string) string { return object.FormatKey(key) }

func parseID(s string) (id ledger.ID, err error) {
	if err := id.UnmarshalText([]byte(s)); err != nil {
		return id, fault.New(fault.Invalid, "control", s, errors.New("not an id"))
	}
	return id, nil
}

// servedName is the name that the running parts know a unit by, of which shownName
// is what its tenant sees.
func servedName(u connectors.Unit) string {
	if strings.HasPrefix(u.Name, UnitName(u.Tenant, "")) {
		return u.Name
	}
	return UnitName(u.Tenant, u.Name)
}

// AsMachine is ctx as of the operator of the machine: the user that this process
// runs as.
func AsMachine(ctx context.Context) context.Context {
	name := "operator"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return account.With(ctx, account.Machine(name))
}
