package workflow

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

// MaxDestinations is how many a remedy may have.
const MaxDestinations = 5

// The names that Remedy.OnConflict knows. "" means Rename.
const (
	Rename    = "rename"
	Overwrite = "overwrite"
	Fail      = "fail"
)

// Validate says everything that is wrong with w, each with the name of its
// field, as one fault of kind Invalid; or nil.
func (w Workflow) Validate() error {
	var c checks
	c.that(w.Name != "" && len(w.Name) <= 200 && utf8.ValidString(w.Name), "name", "must have 1 to 200 bytes of UTF-8")
	for i, p := range w.Pools {
		c.that(p != "", at("pools", i), "must not be empty")
		c.that(!slices.Contains(w.Pools[:i], p), at("pools", i), "%q stands there twice", p)
	}
	c.that(w.Failover == "" || !slices.Contains(w.Pools, w.Failover), "failover", "%q is asked already", w.Failover)
	w.Filters.check(&c)
	for reason, d := range w.NotScanned {
		field := "not_scanned." + string(reason)
		c.that(known(reason), field, "unknown reason; the reasons are %v", scan.Reasons)
		c.that(d == Held || d == Blocked || d == Allowed, field, "%q is none of held, blocked, allowed", d)
	}
	if !w.Definition.Configurable {
		c.that(!w.Definition.Sensitive, "file_definition.sensitive", "only counts with configurable: true")
		c.that(!w.Definition.Vulnerabilities, "file_definition.vulnerabilities", "only counts with configurable: true")
	}
	w.Tagging.check(&c)
	w.Sanitized.check(&c, "sanitized", Keep, Move)
	w.BlockedSanitized.check(&c, "blocked_sanitized", Keep, Move)
	w.Blocked.check(&c, "blocked", Keep, Copy, Move, Delete)
	w.Allowed.check(&c, "allowed", Keep, Copy, Move, Delete)
	c.that(w.Quarantine.Expiry >= 0, "quarantine.expiry", "must not be negative")
	if len(c) == 0 {
		return nil
	}
	// Maps have no order, messages must have one.
	slices.SortFunc(c, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return fault.New(fault.Invalid, "workflow.Validate", w.Name, errors.Join(c...))
}

func (f Filters) check(c *checks) {
	c.that(f.MinSize >= 0, "filters.min_size", "must not be negative")
	c.that(f.MaxSize >= 0, "filters.max_size", "must not be negative")
	c.that(f.MaxSize == 0 || f.MinSize <= f.MaxSize, "filters.min_size", "is more than max_size, so nothing would be looked at")
	for field, t := range map[string]time.Time{"filters.after": f.After, "filters.before": f.Before} {
		c.that(t.UTC().Year() >= 1 && t.UTC().Year() <= 9999, field, "the year must have four digits")
	}
	c.that(f.After.IsZero() || f.Before.IsZero() || f.After.Before(f.Before), "filters.after", "is not before before, so nothing would be looked at")
	for i, g := range f.Include {
		err := checkGlob(g)
		c.that(err == nil, at("filters.include", i), "%v", err)
	}
	for i, g := range f.Exclude {
		err := checkGlob(g)
		c.that(err == nil, at("filters.exclude", i), "%v", err)
	}
}

func (t Tagging) check(c *checks) {
	keys := []struct{ field, key string }{
		{"result_key", t.ResultKey}, {"file_id_key", t.FileIDKey}, {"timestamp_key", t.TimestampKey}, {"version_key", t.VersionKey},
	}
	on, seen := 0, map[string]string{}
	for _, k := range keys {
		field := "tagging." + k.field
		if k.key != Off {
			on++
		}
		if k.key == "" || k.key == Off {
			continue
		}
		// https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
		c.that(len(k.key) <= 128 && tagText(k.key) && !strings.HasPrefix(strings.ToLower(k.key), "aws:"), field,
			"%q must have 1 to 128 letters, digits, spaces or + - = . _ : / @, and not begin with aws:", k.key)
		c.that(seen[k.key] == "", field, "%q is the name of %s too", k.key, seen[k.key])
		seen[k.key] = k.field
	}
	c.that(!t.Enabled || on > 0, "tagging", "at least one key must be on")
	for name, v := range t.Values {
		field := "tagging.values." + name
		_, ok := scan.ParseVerdict(name)
		c.that(ok, field, "unknown verdict; they are clean, suspicious, infected, not_scanned")
		c.that(v != "" && len(v) <= 256 && tagText(v), field, "must have 1 to 256 letters, digits, spaces or + - = . _ : / @")
	}
}

func (r Remedy) check(c *checks, field string, allowed ...Handling) {
	h := r.Handling
	if h == "" {
		h = Keep
	}
	c.that(slices.Contains(allowed, h), field+".handling", "%q is none of %v", h, allowed)
	n := len(r.Destinations)
	if h == Copy || h == Move {
		c.that(n > 0, field+".destinations", "%s needs at least one", h)
	} else {
		c.that(n == 0, field+".destinations", "%s has none; only copy and move do", h)
	}
	c.that(n <= MaxDestinations, field+".destinations", "there are %d; at most %d are possible", n, MaxDestinations)
	for i, d := range r.Destinations {
		name := at(field+".destinations", i)
		c.that(d.Unit != "", name+".unit", "must not be empty")
		folder := strings.Trim(d.Folder, "/")
		for elem := range strings.SplitSeq(folder, "/") {
			c.that(folder == "" || elem != "" && elem != "." && elem != "..", name+".folder", "%q holds an element that is empty, . or ..", d.Folder)
		}
		c.that(!strings.Contains(folder, "\x00"), name+".folder", "holds a zero byte")
		for _, e := range r.Destinations[:i] {
			c.that(d.Unit != e.Unit || folder != strings.Trim(e.Folder, "/"), name, "stands there twice")
		}
	}
	switch r.OnConflict {
	case "", Rename, Overwrite, Fail:
	default:
		c.that(false, field+".on_conflict", "%q is none of rename, overwrite, fail", r.OnConflict)
	}
}

// checks collects what is wrong.
type checks []error

func (c *checks) that(ok bool, field, format string, args ...any) {
	if !ok {
		*c = append(*c, fmt.Errorf("%s: "+format, append([]any{field}, args...)...))
	}
}

func at(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

// tagText reports whether every vendor takes s as a tag's value.
func tagText(s string) bool {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune(" +-=._:/@", r):
		default:
			return false
		}
	}
	return true
}
