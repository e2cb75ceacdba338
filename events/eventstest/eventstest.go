// Package eventstest is what tests of sources have in common: a sink that
// remembers and can be made to say no, and a source that runs beside the test.
package eventstest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/events"
)

// A Sink remembers what it took.
type Sink struct {
	// Before is called before a delivery is taken, if not nil; its error is the
	// answer. It may block.
	Before func(ctx context.Context, notices []events.Notice) error
	// BeforeBury is the same for letters.
	BeforeBury func(ctx context.Context, l events.Letter) error

	mu      sync.Mutex
	calls   int
	notices []events.Notice
	letters []events.Letter
}

// Deliver takes notices.
func (s *Sink) Deliver(ctx context.Context, _ string, notices []events.Notice) error {
	s.mu.Lock()
	s.calls++
	s.mu.Unlock()
	if s.Before != nil {
		if err := s.Before(ctx, notices); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notices = append(s.notices, notices...)
	return nil
}

// Bury takes a letter.
func (s *Sink) Bury(ctx context.Context, l events.Letter) error {
	if s.BeforeBury != nil {
		if err := s.BeforeBury(ctx, l); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.letters = append(s.letters, l)
	return nil
}

// Calls returns how often Deliver was called.
func (s *Sink) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// Notices returns what was taken, in order.
func (s *Sink) Notices() []events.Notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.notices)
}

// Letters returns what was buried, in order.
func (s *Sink) Letters() []events.Letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.letters)
}

// Keys counts what was taken by key.
func (s *Sink) Keys() map[string]int {
	keys := make(map[string]int)
	for _, n := range s.Notices() {
		keys[n.Key]++
	}
	return keys
}

// patience is how long things may take on a busy machine.
const patience = 30 * time.Second

// Until waits until done.
func Until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v until %s", patience, what)
		}
	}
}

// Start opens a source and runs it until stop, which waits for its end, or
// until the test ends.
func Start(t testing.TB, open events.Opener, o events.Options, sink events.Sink) (src events.Source, stop func()) {
	t.Helper()
	src, err := open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- src.Run(ctx, sink) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Errorf("Run did not end within %v", patience)
		}
		if err := src.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if src.Status().Connected {
			t.Error("it says connected after its end")
		}
	})
	t.Cleanup(stop)
	return src, stop
}
