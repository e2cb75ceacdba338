package connectortest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// until polls ok until it holds.
func (s suite) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// A Collector is an Emit that keeps what it is given.
type Collector struct {
	mu     sync.Mutex
	events []object.Event
	cursor string
}

// Emit implements connectors.Emit.
func (c *Collector) Emit(_ context.Context, events []object.Event, next string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, events...)
	c.cursor = next
	return nil
}

// Events returns what was emitted so far.
func (c *Collector) Events() []object.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]object.Event(nil), c.events...)
}

// Cursor returns where a later Watch resumes.
func (c *Collector) Cursor() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cursor
}

// Saw reports whether an event of that kind came for key. An overflow whose
// prefix holds the key counts as a Look.
func (c *Collector) Saw(key string, op object.Op) bool {
	for _, e := range c.Events() {
		if e.Key == key && e.Op == op && e.Cause != "overflow" {
			return true
		}
	}
	return false
}

// Watching runs d.Watch until the test ends or stop is called.
func Watching(t *testing.T, d connectors.Watcher, cursor string) (c *Collector, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c = &Collector{}
	ended := make(chan error, 1)
	go func() { ended <- d.Watch(ctx, cursor, c.Emit) }()
	stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			t.Error("Watch goes on after its context has ended")
			return nil
		}
	})
	t.Cleanup(func() { _ = stop() })
	return c, stop
}

func (s suite) watch(t *testing.T) {
	d := s.open(t)
	w := d.(connectors.Watcher)
	c, stop := Watching(t, w, "")
	// "From now" begins at some moment after the call: write until it is seen.
	s.until(t, "the first event", func() bool {
		s.Write(t, "probe", []byte(time.Now().String()))
		return c.Saw("probe", object.Look)
	})
	for _, key := range oddKeys {
		if s.Refuses == nil || !s.Refuses(key) {
			s.Write(t, key, []byte(key))
		}
	}
	for _, key := range oddKeys {
		if s.Refuses == nil || !s.Refuses(key) {
			s.until(t, "an event for "+object.FormatKey(key), func() bool { return c.Saw(key, object.Look) })
		}
	}
	s.Remove(t, "plain.txt")
	s.until(t, "a delete event", func() bool { return c.Saw("plain.txt", object.Delete) })
	for _, e := range c.Events() {
		if e.Cause == "" {
			t.Errorf("event %+v has no cause", e)
		}
	}
	cursor := c.Cursor()
	if err := stop(); err != nil && !fault.Canceled(err) {
		t.Errorf("Watch ended with %v", err)
	}
	if cursor == "" {
		return // no resumption: a sweep finds what was missed
	}
	s.Write(t, "while-away", []byte("x"))
	c, _ = Watching(t, w, cursor)
	s.until(t, "what happened while away", func() bool { return c.Saw("while-away", object.Look) })
	c2, _ := Watching(t, w, cursor) // the same cursor again: events may come twice, never not at all
	s.until(t, "it again", func() bool { return c2.Saw("while-away", object.Look) })
}
