package workflow

import (
	"fmt"
	"path"
	"strings"
	"time"
)

// Excluded says whether the filters leave an object out, and why. An unknown
// size (-1) or time (zero) is not excluded by size or date: what cannot be told
// is looked at.
func (w Workflow) Excluded(key string, size int64, mod time.Time) (why string, excluded bool) {
	f := w.Filters
	switch {
	case size >= 0 && size < f.MinSize:
		return fmt.Sprintf("filter min_size: %d bytes are fewer than %d", size, f.MinSize), true
	case f.MaxSize > 0 && size > f.MaxSize:
		return fmt.Sprintf("filter max_size: %d bytes are more than %d", size, f.MaxSize), true
	case !mod.IsZero() && !f.After.IsZero() && mod.Before(f.After):
		return "filter after: modified before " + f.After.UTC().Format(time.RFC3339), true
	case !mod.IsZero() && !f.Before.IsZero() && !mod.Before(f.Before):
		return "filter before: modified not before " + f.Before.UTC().Format(time.RFC3339), true
	}
	for _, g := range f.Exclude {
		if Match(g, key) {
			return fmt.Sprintf("filter exclude: %q", g), true
		}
	}
	if len(f.Include) == 0 {
		return "", false
	}
	for _, g := range f.Include {
		if Match(g, key) {
			return "", false
		}
	}
	return "filter include: no pattern names it", true
}

// Match reports whether the glob names the whole key. Elements are separated by
// '/'. Within one, the syntax is that of path.Match; an element "**" stands for
// any number of elements, none included, so "**/*.log" names "a.log" as well.
// A malformed glob names nothing; Validate refuses it.
//
// The time is bounded by the product of both lengths: keys are chosen by
// strangers.
func Match(glob, key string) bool {
	globs, elems := strings.Split(glob, "/"), strings.Split(key, "/")
	g, e := 0, 0
	backG, backE := -1, 0 // where the last ** stood, and how much it took
	for e < len(elems) {
		if g < len(globs) && globs[g] == "**" {
			backG, backE = g, e
			g++
			continue
		}
		if g < len(globs) {
			if ok, err := path.Match(globs[g], elems[e]); err == nil && ok {
				g++
				e++
				continue
			}
		}
		if backG < 0 {
			return false
		}
		backE++ // let the last ** take one element more
		g, e = backG+1, backE
	}
	for g < len(globs) && globs[g] == "**" {
		g++
	}
	return g == len(globs)
}

// checkGlob says what is wrong with a glob, or nil.
func checkGlob(glob string) error {
	if glob == "" {
		return fmt.Errorf("an empty pattern names nothing")
	}
	for elem := range strings.SplitSeq(glob, "/") {
		if elem != "**" && strings.Contains(elem, "**") {
			return fmt.Errorf("%q: ** must stand alone between slashes", glob)
		}
		if _, err := path.Match(elem, ""); err != nil {
			return fmt.Errorf("%q: %w", glob, err)
		}
	}
	return nil
}
