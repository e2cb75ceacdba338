package servers

import (
	"slices"
	"sync"
	"testing"
)

// A stoppable is a test whose clean-up can be had earlier: start with it begins
// a process that Stop ends before the test does.
type stoppable struct {
	testing.TB
	mu   sync.Mutex
	ends []func()
}

func newStoppable(t testing.TB) *stoppable {
	s := &stoppable{TB: t}
	t.Cleanup(s.Stop)
	return s
}

// Cleanup notes f for Stop.
func (s *stoppable) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = append(s.ends, f)
}

// Stop does what is noted, once.
func (s *stoppable) Stop() {
	s.mu.Lock()
	ends := s.ends
	s.ends = nil
	s.mu.Unlock()
	for _, f := range slices.Backward(ends) {
		f()
	}
}
