// Package webhook takes vendors' HTTP calls about objects. A call is bounded,
// verified, parsed and given to the sink, in this order, and answered 2xx only
// after the sink has it. What cannot be verified changes nothing; what is
// verified and makes no sense is buried. Each kind of hook knows which statuses
// make its vendor try again: docs/webhooks.md has the table.
package webhook

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// Prefix is where the hooks live: the hook NAME takes calls at Prefix + NAME.
const Prefix = "/hooks/"

// The bounds of one call. The first two together stay below the 15 s that the
// most impatient vendor (SNS) waits for a reply.
const (
	readWithin    = 5 * time.Second // the whole body
	deliverWithin = 8 * time.Second // the sink; after that the vendor shall come again
	retryAfter    = 5 * time.Second // what we ask for with 503
	inFlight      = 64              // calls of one hook at a time
	defaultRate   = 20_000          // notices a second of one hook
)

// A Hook is one configured address that a vendor calls.
type Hook struct {
	Name    string            // the last element of its path
	Kind    string            // sns, eventgrid, pubsub, s3, standard
	Options map[string]string // secrets included
}

// A Handler serves all hooks. It starts no goroutines of its own.
type Handler struct {
	hooks map[string]*hook
	names []string // sorted
}

// world is what hooks need from outside.
type world struct {
	sink  events.Sink
	log   *slog.Logger
	now   func() time.Time
	fetch fetch // certificates and key sets
}

// New checks the hooks and returns their handler; it calls nobody yet.
// fault.Invalid: a hook cannot work as given; options by connectors.OptionError.
func New(hooks []Hook, sink events.Sink, log *slog.Logger, now func() time.Time) (*Handler, error) {
	return build(hooks, world{sink: sink, log: log, now: now, fetch: fetchHTTPS()})
}

var hookName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func build(hooks []Hook, w world) (*Handler, error) {
	h := &Handler{hooks: make(map[string]*hook)}
	for _, c := range hooks {
		if !hookName.MatchString(c.Name) {
			return nil, fault.New(fault.Invalid, "webhook.New", c.Name, errors.New("a hook's name is of letters, digits, dots, dashes and underscores, 64 at most"))
		}
		if h.hooks[c.Name] != nil {
			return nil, fault.New(fault.Invalid, "webhook.New", c.Name, errors.New("two hooks of this name"))
		}
		one, err := newHook(c, w)
		if err != nil {
			return nil, fault.New(fault.Invalid, "webhook.New", c.Name, err)
		}
		h.hooks[c.Name] = one
		h.names = append(h.names, c.Name)
	}
	slices.Sort(h.names)
	return h, nil
}

// newHook makes the kind that c names and reads its options.
func newHook(c Hook, w world) (*hook, error) {
	v := newValues(c.Options)
	var k kind
	switch c.Kind {
	case "sns":
		k = newSNS(v, w, c.Name)
	case "eventgrid":
		k = newEventGrid(v, w, c.Name)
	case "pubsub":
		k = newPubSub(v, w)
	case "s3":
		k = newS3(v)
	case "standard":
		k = newStandard(v, w)
	default:
		return nil, &connectors.OptionError{Name: "kind", Err: fmt.Errorf("%q: want sns, eventgrid, pubsub, s3 or standard", c.Kind)}
	}
	h := open(c, k, w, v.number("concurrency", inFlight, 1, 4096), v.number("rate", defaultRate, 1, 1_000_000))
	return h, v.done()
}

// ServeHTTP takes calls at Prefix + NAME. Any other path gets what every unknown
// path of the standard library's mux gets, whatever the method.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, below := strings.CutPrefix(r.URL.Path, Prefix)
	one := h.hooks[name]
	if !below || one == nil {
		http.NotFound(w, r)
		return
	}
	one.serve(w, r)
}

// Status says how each hook goes, by name.
func (h *Handler) Status() []Status {
	out := make([]Status, 0, len(h.names))
	for _, name := range h.names {
		out = append(out, h.hooks[name].status())
	}
	return out
}
