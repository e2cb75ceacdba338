package daemon

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
)

// A router is the events.Sink of all sources and hooks: it finds the units that
// a notice speaks of and hands it to the pipeline.
type router struct {
	d   *Daemon
	may map[string]map[string]bool // by source: the units that it may speak of; absent = all

	mu    sync.Mutex
	stray map[string]int64 // by source: notices of places that are no unit's
}

// Deliver writes notices into the ledger, as events of the units whose places
// they name. What names no place of ours is counted and forgotten: a queue may
// well be shared with others.
func (r *router) Deliver(ctx context.Context, source string, notices []events.Notice) error {
	cause := "queue"
	if strings.HasPrefix(source, hookSource) {
		cause = "hook"
	}
	x, may := r.d.indexed(), r.may[source]
	found := map[int64][]object.Event{}
	for i := range notices {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := &notices[i]
		matched := false
		for s, key := range x.find(n) {
			if may != nil && !may[s.unit.Name] {
				continue
			}
			matched = true
			if !s.probed(key) {
				found[s.unit.ID] = append(found[s.unit.ID], eventOf(s.unit.Name, key, n, cause))
			}
		}
		r.d.metrics.notice(source, matched)
		if !matched {
			r.strayed(source, n)
		}
	}
	return r.hand(ctx, source, found)
}

// hand gives events to the pipeline, by unit. A unit that has no room must not
// keep out the others: they are first, and a hook's caller, who would hold a
// place of the hook meanwhile, comes again. A queue's messages wait with us:
// vendors count how often they deliver one.
func (r *router) hand(ctx context.Context, source string, found map[int64][]object.Event) (err error) {
	for id, list := range found {
		oerr := r.taken(source, id, len(list), r.d.pipe.Offer(ctx, id, source, list))
		if oerr == nil {
			delete(found, id)
		} else if err == nil || !fault.Is(oerr, fault.Throttled) {
			err = oerr
		}
	}
	if err == nil || strings.HasPrefix(source, hookSource) || !fault.Is(err, fault.Throttled) {
		return err
	}
	for id, list := range found {
		if err := r.taken(source, id, len(list), r.d.pipe.Emit(ctx, id, source, list)); err != nil {
			return err
		}
	}
	return nil
}

// taken passes on what the pipeline said of n events of a unit that was served
// a moment ago. If it is not any more, they are nobody's; if it is again, or not
// quite yet, they must come again.
func (r *router) taken(source string, id int64, n int, err error) error {
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	if r.d.indexed().numbers[id] != "" {
		return fault.New(fault.Unavailable, "daemon.Deliver", source, errors.New("the unit is being opened"))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stray[source] += int64(n)
	return nil
}

// strayed counts a notice of a place that is no unit's, and tells of the first.
func (r *router) strayed(source string, n *events.Notice) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stray[source]++; r.stray[source] == 1 {
		r.d.log.Warn("a source tells of a place that is no unit's: such notices are counted and forgotten", "source", source,
			"vendor", n.Vendor, "account", n.Account, "container", n.Container)
	}
}

func (r *router) strays(source string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stray[source]
}

// hookSource is what the sources begin with that are hooks.
const hookSource = "hooks/"

// Bury keeps a message that made no sense.
func (r *router) Bury(ctx context.Context, l events.Letter) error {
	if !strings.HasPrefix(l.Source, hookSource) { // hooks say so themselves
		r.d.log.Warn("a message makes no sense: see landwaiter dlq messages", "source", l.Source, "message", l.ID, "why", l.Why)
	}
	if r.d.disk.full() {
		return fault.New(fault.Unavailable, "daemon.Bury", l.Source, errors.New("the disk is too full"))
	}
	return r.d.db.Bury(ctx, ledger.Letter{Source: l.Source, Message: l.ID, Body: l.Body, Why: l.Why, Tries: l.Tries, At: l.At})
}

// eventOf is n in the words of the pipeline: always a look, with our own
// credentials. A deletion that is told late, or forged, must not hide an object,
// and the version that it names is not the one to be found.
func eventOf(unit, key string, n *events.Notice, cause string) object.Event {
	ev := object.Event{Ref: object.Ref{Unit: unit, Key: key}, Op: object.Look, Size: n.Size, Time: n.Time, Cause: cause}
	if n.Op == object.Look {
		ev.Version = all.Hint(n.Vendor, n.Version)
	}
	return ev
}
