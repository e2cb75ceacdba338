package control

import (
	"context"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// Bounds of a stream of what finishes.
const (
	streamQueue  = 256 // that a slow reader may be behind
	maxListeners = 200
)

// A Stream tells listeners what finishes, as it does. It never waits for them:
// who is too far behind misses some, and is told so.
type Stream struct {
	mu        sync.Mutex
	listeners map[*listener]struct{}
	closed    bool
}

type listener struct {
	queue  chan heard
	over   chan struct{} // closed when the stream is
	missed bool
}

type heard struct {
	unit   int64
	record ledger.Record
}

// Publish tells the listeners of a finished entry. It does not wait, and costs
// nothing where nobody listens.
func (s *Stream) Publish(e *ledger.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.listeners) == 0 {
		return
	}
	h := heard{e.Unit, e.Record()}
	for l := range s.listeners {
		select {
		case l.queue <- h:
		default:
			l.missed = true
		}
	}
}

func (s *Stream) join() (*listener, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.listeners) >= maxListeners {
		return nil, false
	}
	if s.listeners == nil {
		s.listeners = map[*listener]struct{}{}
	}
	l := &listener{queue: make(chan heard, streamQueue), over: make(chan struct{})}
	s.listeners[l] = struct{}{}
	return l, true
}

// Close ends every listening: the daemon stops.
func (s *Stream) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for l := range s.listeners {
		close(l.over)
	}
	s.listeners = nil
}

func (s *Stream) leave(l *listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

func (s *Stream) missed(l *listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := l.missed
	l.missed = false
	return was
}

// A Happening is what a stream tells: a finished entry, that some were missed,
// or, with neither, that it is still there.
type Happening struct {
	Entry  *ledger.Record
	Missed bool
}

// beat is how often a quiet stream says that it is still there.
const beat = 15 * time.Second

// Follow gives f what finishes in the caller's units, after begin, until ctx
// ends, f fails, or the caller is no longer who they were. fault.Throttled if too many listen.
func (c *Control) Follow(ctx context.Context, begin func() error, f func(Happening) error) error {
	if err := Allowed(ctx, "entry.list"); err != nil {
		return err
	}
	l, ok := c.Stream.join()
	if !ok {
		return &fault.Error{Op: "control.Follow", Kind: fault.Throttled, After: beat}
	}
	defer c.Stream.leave(l)
	names, err := c.names(ctx)
	if err != nil {
		return err
	}
	if err := begin(); err != nil {
		return err
	}
	looked := time.Now()
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.over:
			return nil
		case <-tick.C:
			if err := c.Still(ctx); err != nil {
				return err
			}
			if err := f(Happening{}); err != nil {
				return err
			}
		case h := <-l.queue:
			name, mine := names[h.unit]
			if !mine && time.Since(looked) > time.Second { // it may be a new unit
				if names, err = c.names(ctx); err != nil {
					return err
				}
				looked = time.Now()
				name, mine = names[h.unit]
			}
			if c.Stream.missed(l) {
				if err := f(Happening{Missed: true}); err != nil {
					return err
				}
			}
			if !mine {
				continue
			}
			h.record.Unit = name
			if err := f(Happening{Entry: &h.record}); err != nil {
				return err
			}
		}
	}
}

// Still tells whether the caller in ctx is still who they were when they came.
func (c *Control) Still(ctx context.Context) error {
	who, _ := account.From(ctx)
	u, err := c.Store.User(ctx, who.ID)
	if err == nil && who.Session != (ledger.ID{}) {
		_, err = c.Store.Session(ctx, who.Session)
	}
	if err == nil && (u.Role != who.Role || u.Tenant != who.Tenant) {
		return Unknown("control.Still", errUnnamed)
	}
	return unknownIf("control.Still", err)
}
