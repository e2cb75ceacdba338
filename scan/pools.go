package scan

import (
	"sync"

	"github.com/landwaiter/landwaiter/fault"
)

// Pools are the pools by name. The zero value is empty and ready to use.
type Pools struct {
	mu sync.RWMutex
	m  map[string]*Pool
}

// Get returns the pool of that name, or fault.NotFound.
func (ps *Pools) Get(name string) (*Pool, error) {
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	if p, ok := ps.m[name]; ok {
		return p, nil
	}
	return nil, fault.New(fault.NotFound, "scan.Pools", name, nil)
}

// Put adds p under its name and returns the pool that it replaces, or nil. That
// one is to be closed when nobody uses it any more.
func (ps *Pools) Put(p *Pool) (old *Pool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.m == nil {
		ps.m = make(map[string]*Pool)
	}
	old = ps.m[p.Name()]
	ps.m[p.Name()] = p
	return old
}

// Remove takes the pool of that name out and returns it, or nil.
func (ps *Pools) Remove(name string) *Pool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.m[name]
	delete(ps.m, name)
	return p
}

// Status returns what every pool knows, in no order.
func (ps *Pools) Status() []PoolStatus {
	ps.mu.RLock()
	pools := make([]*Pool, 0, len(ps.m))
	for _, p := range ps.m {
		pools = append(pools, p)
	}
	ps.mu.RUnlock()
	out := make([]PoolStatus, 0, len(pools))
	for _, p := range pools {
		out = append(out, p.Status())
	}
	return out
}
