// Package all is the table of engines: URL scheme → open. Only what puts the
// program together imports it.
package all

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/builtin"
	"github.com/landwaiter/landwaiter/scan/clamd"
	"github.com/landwaiter/landwaiter/scan/mdcore"
)

// Options are what engines need besides their URL, secrets above all. The URL
// wins where it says the same.
type Options struct {
	Builtin builtin.Options
	Clamd   clamd.Options
	MDCore  mdcore.Options
}

type opener func(context.Context, string, Options) (scan.Engine, error)

// table returns the engines by URL scheme.
func table() map[string]opener {
	core := func(ctx context.Context, raw string, o Options) (scan.Engine, error) {
		o.MDCore.URL = raw
		return open(mdcore.Open(ctx, o.MDCore))
	}
	return map[string]opener{
		"builtin": func(ctx context.Context, raw string, o Options) (scan.Engine, error) {
			if raw != "builtin:" {
				return nil, fault.New(fault.Invalid, "all.Open", raw, fmt.Errorf("nothing may follow builtin: in its URL"))
			}
			return open(builtin.Open(ctx, o.Builtin))
		},
		"clamd": func(ctx context.Context, raw string, o Options) (scan.Engine, error) {
			co, err := clamd.ParseURL(raw, o.Clamd)
			if err != nil {
				return nil, err
			}
			return open(clamd.Open(ctx, co))
		},
		"mdcore":  core,
		"mdcores": core,
	}
}

// open keeps a nil engine from becoming an interface that is not nil.
func open[E scan.Engine](e E, err error) (scan.Engine, error) {
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Schemes returns the URL schemes that Open knows, in order.
func Schemes() []string {
	var names []string
	for name := range table() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Open returns the engine at a URL: builtin:, clamd:///socket,
// clamd://host:port, mdcore://host:port, mdcores://host:port. A server need not
// be there yet. Anything else is fault.Invalid.
func Open(ctx context.Context, raw string, o Options) (scan.Engine, error) {
	scheme, _, ok := strings.Cut(raw, ":")
	if f := table()[strings.ToLower(scheme)]; ok && f != nil {
		return f(ctx, raw, o)
	}
	return nil, fault.New(fault.Invalid, "all.Open", redact(raw), fmt.Errorf("want a URL that begins with one of %s", strings.Join(Schemes(), ", ")))
}

// Check says what is wrong with the URL and the options of an engine by
// themselves, without talking to it: fault.Invalid. It reads no file.
func Check(ctx context.Context, raw string, o Options) error {
	if raw == "builtin:" { // which would start its box
		return nil
	}
	e, err := Open(ctx, raw, o)
	if err != nil {
		return err
	}
	return e.Close()
}

// Instance returns an instance for a pool, named name, with the engine at raw.
// limit is how many samples it gets at once; 0 = 64.
func Instance(ctx context.Context, name, raw string, limit int, o Options) (*scan.Instance, error) {
	e, err := Open(ctx, raw, o)
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", name, err)
	}
	return &scan.Instance{Name: name, URL: redact(raw), Engine: e, Limit: limit}, nil
}

// redact takes user information out of a URL, though none belongs there.
func redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(not a URL)"
	}
	if u.User != nil {
		u.User = url.User("***")
	}
	return u.String()
}
