package connectors

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Storage is an open unit. Its capabilities are those of the driver that the
// probe proved and the unit's grant allows; the others return
// fault.Unsupported without a call. It retries what is safe to repeat, keeps
// to the unit's rate and tells its Observer of every call. Methods are safe for
// concurrent use.
type Storage struct {
	unit   Unit
	driver Driver
	caps   Caps
	probed Probed
	limit  limit
	obs    Observer

	mu      sync.Mutex
	active  int           // calls, readers, holds
	used    time.Time     // when active last fell to 0
	idle    chan struct{} // closed and renewed when active falls to 0
	closing context.Context
	stop    context.CancelFunc // ends what runs for long: watches
	closed  bool
}

// Options of a Storage. The zero value has no probe and no observer.
type Options struct {
	Probed   *Probed // nil: a capability that must be proven counts as absent
	Observer Observer
}

// NewStorage returns the unit u, spoken to through d, which it closes.
func NewStorage(u Unit, d Driver, o Options) *Storage {
	s := &Storage{unit: u, driver: d, limit: newLimit(u.Rate), obs: o.Observer, idle: make(chan struct{})}
	if o.Probed != nil {
		s.probed = *o.Probed
	} else {
		s.probed = Probed{Caps: Derive(d), Error: "not probed"}
	}
	s.caps = effective(u, d, o.Probed)
	if s.obs == nil {
		s.obs = discard{}
	}
	s.closing, s.stop = context.WithCancel(context.Background())
	return s
}

// Unit returns the unit's configuration.
func (s *Storage) Unit() Unit { return s.unit }

// Caps returns what may be used.
func (s *Storage) Caps() Caps { return s.caps }

// Probed returns the probe's result that Caps rests on.
func (s *Storage) Probed() Probed { return s.probed }

// Degraded says what works worse than it should right now (folders that could
// not be watched), nil if nothing does.
func (s *Storage) Degraded() error {
	if d, ok := s.driver.(Degrader); ok {
		return d.Degraded()
	}
	return nil
}

// MetadataOnly reports whether two version tokens differ only in what a change
// of metadata can move. It is false where the vendor's tokens cannot tell.
func (s *Storage) MetadataOnly(a, b string) bool {
	c, ok := s.driver.(Comparer)
	return ok && c.MetadataOnly(a, b)
}

// Hold keeps the storage from being closed by a reload until release is called.
func (s *Storage) Hold() (release func()) {
	s.mu.Lock()
	s.active++
	s.mu.Unlock()
	return sync.OnceFunc(s.leave)
}

func (s *Storage) enter(op string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.gone(op)
	}
	s.active++
	return nil
}

// gone is the error of a storage that was closed, mostly because a reload put
// another in its place.
func (s *Storage) gone(op string) error {
	return fault.New(fault.Unavailable, "connectors."+op, s.unit.Name, errors.New("the unit was closed"))
}

func (s *Storage) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active--; s.active == 0 {
		s.used = time.Now()
		close(s.idle)
		s.idle = make(chan struct{})
	}
}

// final marks an error after which do must not try again, whatever its kind.
type final struct{ error }

// do makes one call: within the rate, observed, and again where repeat allows.
func (s *Storage) do(ctx context.Context, op string, r repeat, f func(try int) error) error {
	if err := s.enter(op); err != nil {
		return err
	}
	defer s.leave()
	again := retrier{repeat: r, started: time.Now()}
	for {
		if err := s.limit.wait(ctx); err != nil {
			return err
		}
		start, try := time.Now(), again.tries
		err := f(try)
		var last final
		if errors.As(err, &last) {
			err = last.error
		}
		s.obs.Observe(Call{Unit: s.unit.Name, Op: op, Err: err, Took: time.Since(start), Try: try})
		if err == nil || last.error != nil || !again.again(ctx, err) {
			return err
		}
	}
}

// unsupported is the error of a capability that the storage does not have.
func (s *Storage) unsupported(op string, has bool) error {
	why := "the vendor cannot do this"
	switch {
	case has && s.unit.ReadOnly:
		why = "the unit is read-only"
	case has:
		why = "the probe found that the server cannot do this"
	}
	return fault.New(fault.Unsupported, "connectors."+op, s.unit.Name, errors.New(why))
}

// Stat describes ref, see Driver.
func (s *Storage) Stat(ctx context.Context, ref object.Ref) (info object.Info, err error) {
	err = s.do(ctx, "Stat", transient, func(int) error {
		info, err = s.driver.Stat(ctx, ref)
		return err
	})
	return info, err
}

// Settled says whether the object is fully written, see Settler. Objects of
// vendors where they appear whole always are.
func (s *Storage) Settled(ctx context.Context, info object.Info) (wait time.Duration, err error) {
	d, ok := s.driver.(Settler)
	if !ok || !s.caps.Settle {
		return 0, nil
	}
	err = s.do(ctx, "Settled", transient, func(int) error {
		wait, err = d.Settled(ctx, info)
		return err
	})
	return wait, err
}

// Watch delivers events until ctx ends or the storage closes, see Watcher. In
// the latter case it returns fault.Unavailable: the unit was reopened. It is not
// retried: whoever watches decides when to start again, and from where.
func (s *Storage) Watch(ctx context.Context, cursor string, emit Emit) error {
	d, ok := s.driver.(Watcher)
	if !ok || !s.caps.Watch {
		return s.unsupported("Watch", ok)
	}
	if err := s.enter("Watch"); err != nil {
		return err
	}
	defer s.leave()
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	start := time.Now()
	err := d.Watch(watching, cursor, emit)
	if err != nil && ctx.Err() == nil && s.closing.Err() != nil {
		err = s.gone("Watch")
	}
	s.obs.Observe(Call{Unit: s.unit.Name, Op: "Watch", Err: err, Took: time.Since(start)})
	return err
}

// closeGrace is how long Close waits for calls that are under way.
const closeGrace = 10 * time.Second

// Close ends watches, waits up to ten seconds for calls and readers that are
// under way, and closes the driver. The storage is unusable from its start on.
func (s *Storage) Close() error { return s.closeWithin(closeGrace) }

func (s *Storage) closeWithin(grace time.Duration) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.stop()
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	for {
		s.mu.Lock()
		active, idle := s.active, s.idle
		s.mu.Unlock()
		if active == 0 {
			return s.driver.Close()
		}
		select {
		case <-idle:
		case <-deadline.C:
			return s.driver.Close()
		}
	}
}
