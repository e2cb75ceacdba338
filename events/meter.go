package events

import (
	"context"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// A Meter keeps a source's Status and carries messages to a Sink. The zero
// value is ready.
type Meter struct {
	mu     sync.Mutex
	status Status
}

// Status says how it goes.
func (m *Meter) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status
}

// Connected notes that the server answered.
func (m *Meter) Connected() { m.change(func(s *Status) { s.Connected, s.Error = true, "" }) }

// Lost notes that the server does not answer, or not as it should.
func (m *Meter) Lost(err error) {
	m.change(func(s *Status) { s.Connected, s.Error = false, short(err.Error()) })
}

// Refused notes that the sink, or the server for one message, said no.
func (m *Meter) Refused(err error) { m.change(func(s *Status) { s.Error = short(err.Error()) }) }

// Closed notes that the source runs no more.
func (m *Meter) Closed() { m.change(func(s *Status) { s.Connected = false }) }

// Received notes messages that came.
func (m *Meter) Received(n int) {
	m.change(func(s *Status) { s.Received += int64(n); s.Last = time.Now().UTC() })
}

// Acked notes messages that the server will not deliver again.
func (m *Meter) Acked(n int) { m.change(func(s *Status) { s.Acked += int64(n) }) }

func (m *Meter) change(f func(*Status)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.status)
}

// A Message is what Take needs of one.
type Message struct {
	ID    string
	Body  []byte
	Tries int // how often the vendor delivered it, this time included; 0 = not told
	Parse func() ([]Notice, error)
}

// Take carries a message to sink. When it returns a nil error the message may
// be acknowledged; buried says that it made no sense, or that the sink refused
// it as Invalid, or again when it had come more than most times (0 = no bound).
// A message is tried once more before it is buried for that: what kept it back
// may have been an outage of ours.
func (m *Meter) Take(ctx context.Context, sink Sink, source string, msg Message, most int) (buried bool, err error) {
	came := time.Now().UTC()
	notices, bad := msg.Parse()
	if bad == nil && len(notices) == 0 {
		return false, nil
	}
	if len(notices) > 0 { // what makes sense is not held back by the rest
		err = sink.Deliver(ctx, source, notices)
		switch {
		case err == nil && bad == nil:
			return false, nil
		case ctx.Err() != nil:
			return false, ctx.Err()
		case err != nil && !fault.Is(err, fault.Invalid) && (most == 0 || msg.Tries <= most):
			m.Refused(err)
			return false, err
		}
	}
	if err == nil {
		err = bad
	}
	l := Letter{Source: source, ID: short(msg.ID), Body: msg.Body[:min(len(msg.Body), MaxBody)], Why: short(err.Error()), Tries: msg.Tries, At: came}
	if err := sink.Bury(ctx, l); err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		m.Refused(err)
		return false, err
	}
	m.change(func(s *Status) { s.Buried++ })
	return true, nil
}

// CallLimit is how long a call of a source may take, unless it waits for messages.
const CallLimit = 15 * time.Second

// Detached returns a context for what must be said even when ctx has ended,
// which is then said briefly.
func Detached(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := CallLimit
	if ctx.Err() != nil {
		limit = 5 * time.Second
	}
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}

// Settle tells the vendor, by say, what the sink has, after the end of ctx too.
// What cannot be told comes again, and changes nothing then; so it is tried a
// few times and no more, and not if the vendor has taken it back (Changed).
func (m *Meter) Settle(ctx context.Context, say func(context.Context) error) {
	back := Backoff{First: 200 * time.Millisecond, Most: 5 * time.Second}
	for try := 1; ; try++ {
		bounded, cancel := Detached(ctx)
		err := say(bounded)
		cancel()
		if err == nil {
			return
		}
		m.Refused(err)
		if try == 5 || fault.Is(err, fault.Changed) || ctx.Err() != nil || back.Wait(ctx, err) != nil {
			return
		}
	}
}

// A Backoff is how long to wait after failures in a row: from First, twice as
// long each time, up to Most, half of it by chance.
type Backoff struct {
	First, Most time.Duration
	failures    int
}

// Wait waits, and returns ctx's error if that ends first.
func (b *Backoff) Wait(ctx context.Context, err error) error {
	return pause(ctx, max(b.Next(), min(fault.AfterOf(err), b.Most)))
}

// pause waits, and returns ctx's error if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Next returns how long to wait after one more failure.
func (b *Backoff) Next() time.Duration {
	d := b.First
	for range min(b.failures, 30) {
		if d *= 2; d >= b.Most {
			d = b.Most
			break
		}
	}
	b.failures++
	return jitter(d)
}

// Reset forgets the failures.
func (b *Backoff) Reset() { b.failures = 0 }
