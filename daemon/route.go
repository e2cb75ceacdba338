package daemon

import (
	"context"
	"net/url"
	"strings"

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
		n := &notices[i]
		matched := false
		for _, u := range units {
			if may := r.may[source]; may != nil && !may[u.Name] {
				continue
			}
			if key, ok := keyIn(u, n); ok {
				matched = true
				found[u.ID] = append(found[u.ID], eventOf(u, key, n, cause))
			}
		}
		r.d.metrics.notice(source, matched)
	}
	for id, list := range found {
		if err := r.d.pipe.Emit(ctx, id, source, list); err != nil && !fault.Is(err, fault.NotFound) { // taken out meanwhile: nobody's any more
			return err
		}
	}
	return nil
}

// hookSource is what the sources begin with that are hooks.
const hookSource = "hooks/"

// Bury keeps a message that made no sense.
func (r *router) Bury(ctx context.Context, l events.Letter) error {
	r.d.log.Warn("a message makes no sense: see landwaiter dlq messages", "source", l.Source, "message", l.ID, "why", l.Why)
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
	if n.Vendor == "azblob" {
		if n.Account != "" && !strings.EqualFold(n.Account, loc.Host) {
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
