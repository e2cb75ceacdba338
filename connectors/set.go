package connectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// How long a storage that was replaced may still be used, and how long it must
// have been idle before it is closed.
const (
	drainMax  = time.Minute
	drainIdle = time.Second
)

// A Set holds the open units by name. Methods are safe for concurrent use.
type Set struct {
	mu       sync.Mutex
	units    map[string]place
	draining sync.WaitGroup
	closing  chan struct{}
	closed   bool
}

// A place is a unit that is open, or the error that keeps it from being so.
type place struct {
	storage *Storage
	err     error
}

// NewSet returns an empty set.
func NewSet() *Set { return &Set{units: map[string]place{}, closing: make(chan struct{})} }

// Get returns the open unit. fault.NotFound: there is none of that name;
// fault.Unavailable: it could not be opened, for the reason given.
func (s *Set) Get(name string) (*Storage, error) {
	s.mu.Lock()
	p, ok := s.units[name]
	s.mu.Unlock()
	switch {
	case !ok:
		return nil, fault.New(fault.NotFound, "connectors.Get", name, errors.New("no such unit"))
	case p.storage == nil:
		return nil, fault.New(fault.Unavailable, "connectors.Get", name, p.err)
	}
	return p.storage, nil
}

// Names returns the units' names, sorted.
func (s *Set) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.units))
}

// Open opens the unit with open and puts it in the place of what has its name.
// If that fails, an open one stays as it was; where there is none, Get tells
// the error until a later Open succeeds.
func (s *Set) Open(ctx context.Context, u Unit, open func(context.Context, Unit) (*Storage, error)) error {
	st, err := open(ctx, u)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.units[u.Name].storage == nil && !s.closed {
			s.units[u.Name] = place{err: err}
		}
		return fmt.Errorf("open unit %s: %w", u.Name, err)
	}
	return s.Swap(st)
}

// Swap puts st in the place of what has its name, which is closed once nobody
// has used it for a moment, within a minute at most.
func (s *Set) Swap(st *Storage) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errors.Join(fault.New(fault.Unavailable, "connectors.Swap", st.unit.Name, errors.New("the set is closed")), st.closeWithin(0))
	}
	old := s.units[st.unit.Name].storage
	s.units[st.unit.Name] = place{storage: st}
	s.drain(old)
	s.mu.Unlock()
	return nil
}

// Drop takes the unit out of the set and closes it as Swap does.
func (s *Set) Drop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.units[name].storage
	delete(s.units, name)
	if !s.closed {
		s.drain(old)
	}
}

// drain closes old in the background; Close waits for it. s.mu is held.
func (s *Set) drain(old *Storage) {
	if old == nil {
		return
	}
	old.stop() // a watch would never become idle
	s.draining.Go(func() {
		end := time.Now().Add(drainMax)
		tick := time.NewTicker(drainIdle / 4)
		defer tick.Stop()
		began := time.Now()
		for time.Now().Before(end) && !old.quiet(began) {
			select {
			case <-tick.C:
			case <-s.closing:
				end = time.Now()
			}
		}
		_ = old.closeWithin(0) // nothing is left to lose: what it held is released
	})
}

// quiet reports whether the storage has been unused for a moment since then.
func (s *Storage) quiet(since time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used.After(since) {
		since = s.used
	}
	return s.active == 0 && time.Since(since) >= drainIdle
}

// Close closes every unit, see Storage.Close, and waits for those that a reload
// replaced. The set takes no more units.
func (s *Set) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.closing)
	units := s.units
	s.units = map[string]place{}
	s.mu.Unlock()
	var errs []error
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, p := range units {
		if p.storage == nil {
			continue
		}
		wg.Go(func() {
			if err := p.storage.Close(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("close unit %s: %w", name, err))
			}
		})
	}
	wg.Wait()
	s.draining.Wait()
	return errors.Join(errs...)
}

// Overlap returns a fault.Invalid if the place of a unit contains or equals
// another's, naming both. What a unit excludes is not part of it, and disabled
// units have no place.
func Overlap(units []Unit) error {
	for _, pair := range Overlaps(units) {
		return fault.New(fault.Invalid, "connectors.Overlap", units[pair[0]].Name, fmt.Errorf(
			"its place overlaps that of unit %s; give folders of one place to one unit, as partitions", units[pair[1]].Name))
	}
	return nil
}

// Overlaps returns the pairs of units whose places overlap, by index, the lower
// first. Of more than two in one place it may leave out pairs, but no unit.
func Overlaps(units []Unit) (pairs [][2]int) {
	type at struct {
		root, path string
		i          int
	}
	places := make([]at, 0, len(units))
	for i, u := range units {
		if !u.Disabled {
			root, path := Place(u)
			places = append(places, at{root, path, i})
		}
	}
	slices.SortStableFunc(places, func(a, b at) int {
		return cmp.Or(strings.Compare(a.root, b.root), strings.Compare(a.path, b.path))
	})
	var around []at // places that contain the next one, the outermost first
	for _, p := range places {
		for len(around) > 0 {
			last := around[len(around)-1]
			if last.root == p.root && strings.HasPrefix(p.path, last.path) {
				break
			}
			around = around[:len(around)-1]
		}
		for _, a := range around {
			if !excludes(units[a.i], p.root, p.path) && (a.path != p.path || !excludes(units[p.i], a.root, a.path)) {
				pairs = append(pairs, [2]int{min(a.i, p.i), max(a.i, p.i)})
			}
		}
		around = append(around, p)
	}
	slices.SortFunc(pairs, func(a, b [2]int) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	return pairs
}

// excludes says whether a place is in a folder that u leaves out.
func excludes(u Unit, root, path string) bool {
	return root == "file:" && slices.ContainsFunc(u.Exclude, func(x string) bool { return strings.HasPrefix(path, folder(resolve(x))) })
}

// Place returns where a unit is, in a form that can be compared: the server and
// container, and the path in it, which ends in '/'. Local paths are absolute
// and without symbolic links where that can be found out. The order and the
// credentials of a URL's query do not count, an endpoint does.
func Place(u Unit) (root, path string) {
	loc, err := url.Parse(u.URL)
	if err != nil || loc.Scheme == "" || loc.Scheme == "file" {
		p := u.URL
		if err == nil && loc.Scheme == "file" {
			p = loc.Path
		}
		return "file:", folder(resolve(p))
	}
	endpoint := u.Options["endpoint"]
	if endpoint == "" {
		endpoint = loc.Query().Get("endpoint")
	}
	endpoint = strings.TrimSuffix(strings.ToLower(endpoint), "/")
	path = strings.Trim(loc.Path, "/")
	if path != "" {
		path += "/"
	}
	return loc.Scheme + "://" + strings.ToLower(loc.Host) + "?" + endpoint, path
}

func folder(p string) string { return strings.TrimSuffix(p, "/") + "/" }

// resolve returns p absolute and without symbolic links as far as it exists.
func resolve(p string) string {
	abs, err := filepath.Abs(p)
	if err != nil {
		return filepath.Clean(p)
	}
	for head, tail := abs, ""; ; head, tail = filepath.Dir(head), filepath.Join(filepath.Base(head), tail) {
		if real, err := filepath.EvalSymlinks(head); err == nil {
			return filepath.Join(real, tail)
		}
		if head == "/" {
			return abs
		}
	}
}
