package events

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// An OptionError says what is wrong with one option of a source, by its name in
// the source's options or its URL's query.
type OptionError struct {
	Name string
	Err  error
}

// Error returns "option NAME: …".
func (e *OptionError) Error() string { return "option " + e.Name + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *OptionError) Unwrap() error { return e.Err }

// A Place is a source's URL taken apart: SCHEME://HOST[,HOST…]/PART/…?NAME=VALUE,
// with the options in Values. Each reader of a value takes it away; what is
// left at the end is unknown.
type Place struct {
	Scheme string
	Hosts  []string // host or host:port
	Path   []string
	values map[string]string
	known  []string
	faults []error
}

// Secret reports whether an option may not stand in a URL, which is shown.
func secret(name string) bool {
	for _, end := range []string{"key", "token", "password", "secret", "credentials"} {
		if name == end || strings.HasSuffix(name, "_"+end) {
			return true
		}
	}
	return false
}

// Parse takes the URL of o apart. It is not a URL of one host, as net/url wants
// it: brokers are lists.
func Parse(o Options) (*Place, error) {
	rest, query, _ := strings.Cut(o.URL, "?")
	scheme, rest, ok := strings.Cut(rest, "://")
	if !ok || scheme == "" || strings.ContainsAny(rest, "@#") {
		return nil, fmt.Errorf("want SCHEME://host/…, and credentials as options")
	}
	hosts, path, _ := strings.Cut(rest, "/")
	p := &Place{Scheme: scheme, values: make(map[string]string)}
	for h := range strings.SplitSeq(hosts, ",") {
		if u, err := url.Parse("x://" + h); err != nil || u.Hostname() == "" || u.Path != "" {
			return nil, fmt.Errorf("%q is not host or host:port", h)
		}
		p.Hosts = append(p.Hosts, h)
	}
	if path != "" {
		for part := range strings.SplitSeq(path, "/") {
			text, err := url.PathUnescape(part)
			if err != nil || text == "" {
				return nil, errors.New("an empty or badly encoded part in the path")
			}
			p.Path = append(p.Path, text)
		}
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("the query is not NAME=VALUE&…")
	}
	for name, v := range values {
		if secret(name) {
			return nil, &OptionError{Name: name, Err: errors.New("must not stand in the URL, which is shown: make it an option")}
		}
		p.values[name] = v[len(v)-1]
	}
	maps.Copy(p.values, o.Options)
	return p, nil
}

// Text takes a text.
func (p *Place) Text(name, otherwise string) string {
	p.known = append(p.known, name)
	v, ok := p.values[name]
	if !ok {
		return otherwise
	}
	delete(p.values, name)
	return v
}

// Number takes a whole number from low to high.
func (p *Place) Number(name string, otherwise, low, high int) int {
	v := p.Text(name, "")
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		p.Fault(name, fmt.Errorf("want a number from %d to %d", low, high))
	}
	return n
}

// Span takes a length of time from low to high.
func (p *Place) Span(name string, otherwise, low, high time.Duration) time.Duration {
	v := p.Text(name, "")
	if v == "" {
		return otherwise
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < low || d > high {
		p.Fault(name, fmt.Errorf("want a time from %v to %v", low, high))
	}
	return d
}

// Flag takes true or false.
func (p *Place) Flag(name string) bool {
	v := p.Text(name, "false")
	b, err := strconv.ParseBool(v)
	if err != nil {
		p.Fault(name, errors.New("want true or false"))
	}
	return b
}

// Fault notes what is wrong with an option.
func (p *Place) Fault(name string, err error) {
	p.faults = append(p.faults, &OptionError{Name: name, Err: err})
}

// End returns what was wrong, unknown options included: fault.Invalid or nil.
func (p *Place) End(op, source string) error {
	slices.Sort(p.known)
	for _, name := range slices.Sorted(maps.Keys(p.values)) {
		p.Fault(name, fmt.Errorf("unknown option; known: %s", strings.Join(p.known, ", ")))
	}
	if err := errors.Join(p.faults...); err != nil {
		return fault.New(fault.Invalid, op, source, err)
	}
	return nil
}
