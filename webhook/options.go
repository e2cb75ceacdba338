package webhook

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/landwaiter/landwaiter/connectors"
)

// minSecret is the shortest token that is taken, in bytes.
const minSecret = 16

// values are a hook's options while its kind reads them. What nobody asked for
// is unknown; all that is wrong is told at once.
type values struct {
	given map[string]string
	asked []string
	errs  []error
}

func newValues(given map[string]string) *values { return &values{given: given} }

// text returns the option name, "" if it is not given.
func (v *values) text(name string) string {
	v.asked = append(v.asked, name)
	return v.given[name]
}

// need returns the option name, which must be there.
func (v *values) need(name, what string) string {
	s := v.text(name)
	if s == "" {
		v.wrong(name, errors.New("required: "+what))
	}
	return s
}

// list returns the elements of the option name, which commas separate.
func (v *values) list(name string) []string {
	var out []string
	for s := range strings.SplitSeq(v.text(name), ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// number returns the option name within its bounds.
func (v *values) number(name string, standard, least, most int) int {
	s := v.text(name)
	if s == "" {
		return standard
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		v.wrong(name, fmt.Errorf("want a number from %d to %d", least, most))
		return standard
	}
	return n
}

// secrets returns the options name and previous_name: while a secret is being
// replaced at the vendor, both are good.
func (v *values) secrets(name string) []string {
	var out []string
	for _, n := range []string{name, "previous_" + name} {
		s := v.text(n)
		if s == "" {
			continue
		}
		if len(s) < minSecret || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			v.wrong(n, fmt.Errorf("want at least %d printable characters without spaces", minSecret))
		}
		out = append(out, s)
	}
	return out
}

func (v *values) wrong(name string, err error) {
	v.errs = append(v.errs, &connectors.OptionError{Name: name, Err: err})
}

// done returns all that is wrong, unknown options included.
func (v *values) done() error {
	slices.Sort(v.asked)
	for _, name := range slices.Sorted(maps.Keys(v.given)) {
		if !slices.Contains(v.asked, name) {
			v.wrong(name, fmt.Errorf("unknown option; known: %s", strings.Join(v.asked, ", ")))
		}
	}
	return errors.Join(v.errs...)
}
