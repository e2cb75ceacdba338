package daemon

import (
	"iter"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/pipeline"
)

// An index finds the units that a notice speaks of. It is made once for each
// set of served units and does not change, so that the many notices between two
// configurations cost a few look-ups each, however many units there are.
type index struct {
	named   map[string]*spot  // by unit
	numbers map[int64]string  // the units' names by number
	at      map[place][]*spot // more than one where a notice names no account
	deep    int               // slashes in the deepest root
}

// A spot is a unit as notices need it.
type spot struct {
	unit  connectors.Unit
	probe string // where its probes write, "" = nowhere
}

// A place is where a unit begins, in the words of notices.
type place struct {
	vendor, account string // the account folded; "" where the vendor has none, or the notice names none
	container, root string // root is "" or ends in '/'
}

// newIndex indexes the units that are served.
func newIndex(units map[string]pipeline.Unit) *index {
	x := &index{named: make(map[string]*spot, len(units)), numbers: make(map[int64]string, len(units)), at: make(map[place][]*spot, len(units))}
	for _, u := range units {
		s := &spot{unit: u.Unit, probe: u.Probe}
		switch u.Probe {
		case "":
			s.probe = connectors.DefaultProbePrefix
		case "off":
			s.probe = ""
		}
		x.named[u.Name], x.numbers[u.ID] = s, u.Name
		for _, p := range placesOf(u.URL) {
			x.at[p] = append(x.at[p], s)
			x.deep = max(x.deep, strings.Count(p.root, "/"))
		}
	}
	return x
}

// placesOf are the places under which notices may name the unit at a URL.
func placesOf(raw string) []place {
	loc, err := url.Parse(raw)
	if err != nil {
		return nil
	}
	p := place{vendor: all.Scheme(raw), container: loc.Host, root: strings.Trim(loc.Path, "/")}
	accounts := []string{""}
	if accounted(p.vendor) {
		p.container, p.root, _ = strings.Cut(p.root, "/")
		accounts = append(accounts, fold(loc.Host), fold(loc.Hostname()))
		slices.Sort(accounts)
	}
	if p.root != "" {
		p.root += "/"
	}
	var list []place
	for _, a := range slices.Compact(accounts) {
		p.account = a
		list = append(list, p)
	}
	return list
}

// accounted says whether an account, or a server, comes before the container in
// the URLs of a vendor's units.
func accounted(vendor string) bool { return vendor == "azblob" || vendor == "smb" }

// find yields the units in whose places a notice's object lies, each with the
// key that it has there.
func (x *index) find(n *events.Notice) iter.Seq2[*spot, string] {
	return func(yield func(*spot, string) bool) {
		if n.Key == "" {
			return
		}
		if n.Vendor == events.ByUnit {
			if s := x.named[n.Container]; s != nil {
				yield(s, n.Key)
			}
			return
		}
		for p := range x.looks(n) {
			key := n.Key[len(p.root):]
			if key == "" {
				return // the folder itself
			}
			for _, s := range x.at[p] {
				if !yield(s, key) {
					return
				}
			}
		}
	}
}

// looks yields the places at which units that hold the object of a notice can
// begin: the container, and each folder on the way to the object, as deep as
// the deepest root goes.
func (x *index) looks(n *events.Notice) iter.Seq[place] {
	return func(yield func(place) bool) {
		p := place{vendor: n.Vendor, container: n.Container}
		if accounted(n.Vendor) {
			p.account = fold(n.Account)
		}
		end := 0
		for range x.deep + 1 {
			p.root = n.Key[:end]
			if !yield(p) {
				return
			}
			next := strings.IndexByte(n.Key[end:], '/')
			if next < 0 {
				return
			}
			end += next + 1
		}
	}
}

// probed says whether a key is where the probes of the unit write: their own
// events would fill the ledger. It hides nothing, for sweeps list it.
func (s *spot) probed(key string) bool { return s.probe != "" && strings.HasPrefix(key, s.probe) }

// fold makes equal what strings.EqualFold calls equal: each letter becomes the
// least of those that differ from it only in case.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for o := unicode.SimpleFold(r); o != r; o = unicode.SimpleFold(o) {
			least = min(least, o)
		}
		return least
	}, s)
}
