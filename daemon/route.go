package daemon

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"

	"github.com/landwaiter/landwaiter/connectors"
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
	units := r.d.list()
	found := map[int64][]object.Event{}
	for i := range notices {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := &notices[i]
		matched := false
		for _, u := range units {
			if may := r.may[source]; may != nil && !may[u.Name] {
				continue
			}
			if key, ok := keyIn(u, n); ok {
				matched = true
				if probed(u, key) {
					continue
				}
				found[u.ID] = append(found[u.ID], eventOf(u, key, n, cause))
			}
		}
		r.d.metrics.notice(source, matched)
		if !matched {
			r.strayed(source, n)
		}
	}
	for id, list := range found {
		if err := r.d.pipe.Emit(ctx, id, source, list); err != nil && !fault.Is(err, fault.NotFound) { // taken out meanwhile: nobody's any more
			return err
		}
	}
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

// probed says whether a key is where the probes of a unit write: their own
// events would fill the ledger. It hides nothing, for sweeps list it.
func probed(u connectors.Unit, key string) bool {
	prefix := u.Probe
	if prefix == "" {
		prefix = connectors.DefaultProbePrefix
	}
	return prefix != "off" && strings.HasPrefix(key, prefix)
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

// keyIn returns the key that a notice's object has in u, if it lies there.
func keyIn(u connectors.Unit, n *events.Notice) (string, bool) {
	if n.Vendor == events.ByUnit {
		return n.Key, n.Container == u.Name && n.Key != ""
	}
	if all.Scheme(u.URL) != n.Vendor {
		return "", false
	}
	loc, err := url.Parse(u.URL)
	if err != nil {
		return "", false
	}
	container, root := loc.Host, strings.Trim(loc.Path, "/")
	if n.Vendor == "azblob" || n.Vendor == "smb" { // the account, or the server, comes before the place
		if n.Account != "" && !strings.EqualFold(n.Account, loc.Host) && !strings.EqualFold(n.Account, loc.Hostname()) {
			return "", false
		}
		container, root, _ = strings.Cut(root, "/")
	}
	if container != n.Container {
		return "", false
	}
	if root != "" {
		root += "/"
	}
	key, ok := strings.CutPrefix(n.Key, root)
	return key, ok && key != ""
}

// eventOf is n in the words of the pipeline: always a look, with our own
// credentials. A deletion that is told late, or forged, must not hide an object,
// and the version that it names is not the one to be found.
func eventOf(u connectors.Unit, key string, n *events.Notice, cause string) object.Event {
	ev := object.Event{Ref: object.Ref{Unit: u.Name, Key: key}, Op: object.Look, Size: n.Size, Time: n.Time, Cause: cause}
	if n.Op == object.Look {
		ev.Version = all.Hint(n.Vendor, n.Version)
	}
	return ev
}
