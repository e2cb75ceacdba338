package api

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// paths read requests whatever their case, as the product does: the words of a
// path and the names of queries become those that the operations have. Values
// stay as they are.
type paths struct {
	list map[int][]*path // by number of segments
}

type path struct {
	segments []string // "" = a parameter
	methods  []string
	queries  map[string]string // by lower case
}

// split takes a path apart; escaped slashes stay within their segment.
func split(p string) []string { return strings.Split(strings.Trim(p, "/"), "/") }

// add learns an operation's path.
func (ps *paths) add(method, pattern string, queries []string) error {
	segments := split(pattern)
	for i, s := range segments {
		if strings.HasPrefix(s, "{") {
			segments[i] = ""
		}
	}
	if ps.list == nil {
		ps.list = map[int][]*path{}
	}
	n := len(segments)
	i := slices.IndexFunc(ps.list[n], func(p *path) bool { return slices.Equal(p.segments, segments) })
	if i < 0 {
		ps.list[n] = append(ps.list[n], &path{segments: segments, queries: map[string]string{}})
		i = len(ps.list[n]) - 1
	}
	p := ps.list[n][i]
	if slices.Contains(p.methods, method) {
		return fmt.Errorf("%s %s: there are two operations", method, pattern)
	}
	p.methods = append(p.methods, method)
	for _, q := range queries {
		p.queries[strings.ToLower(q)] = q
	}
	return nil
}

// canonical rewrites the request to the words of the path that it means, and
// returns the methods that the path has; none if there is no such path.
func (ps *paths) canonical(r *http.Request) (methods []string) {
	segments := split(r.URL.EscapedPath())
	var best *path
	score := -1
	for _, p := range ps.list[len(segments)] {
		if s, ok := p.match(segments); ok {
			if slices.Contains(p.methods, r.Method) {
				s += 100 // the words decide among those that have the method
			}
			if s > score {
				best, score = p, s
			}
		}
	}
	if best == nil {
		return nil
	}
	for i, s := range best.segments {
		if s != "" {
			segments[i] = s
		}
	}
	raw := "/" + strings.Join(segments, "/")
	plain, err := url.PathUnescape(raw)
	if err != nil {
		return nil
	}
	r.URL.Path, r.URL.RawPath = plain, raw
	if r.URL.RawQuery != "" {
		r.URL.RawQuery = best.query(r.URL.RawQuery)
	}
	return best.methods
}

// match counts the words that are the same; ok if all are.
func (p *path) match(segments []string) (words int, ok bool) {
	for i, s := range p.segments {
		switch {
		case s == "" && segments[i] == "":
			return 0, false // a parameter cannot be empty
		case s == "":
		case !strings.EqualFold(s, segments[i]):
			return 0, false
		default:
			words++
		}
	}
	return words, true
}

// query gives the names of a query the case that the operation has.
func (p *path) query(raw string) string {
	parts := strings.Split(raw, "&")
	for i, part := range parts {
		name, value, has := strings.Cut(part, "=")
		plain, err := url.QueryUnescape(name)
		if err != nil {
			continue
		}
		plain = strings.TrimSuffix(plain, "[]")
		if known, ok := p.queries[strings.ToLower(plain)]; ok {
			parts[i] = known
			if has {
				parts[i] += "=" + value
			}
		}
	}
	return strings.Join(parts, "&")
}

// queryNames are the query parameters of an operation's input.
func queryNames[I any]() (names []string) {
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return
		}
		for i := range t.NumField() {
			f := t.Field(i)
			if q := f.Tag.Get("query"); q != "" {
				name, _, _ := strings.Cut(q, ",")
				names = append(names, name)
			} else if f.Anonymous {
				walk(f.Type)
			}
		}
	}
	walk(reflect.TypeFor[I]())
	return names
}
