package smb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	smb2 "github.com/hirochachacha/go-smb2"

	"github.com/landwaiter/landwaiter/fault"
)

// Bounds of a unit's sessions.
const (
	maxSessions = 4
	// maxCalls is how many calls one session has under way. A session starts with
	// 128 credits, and the library sends a request for 1 MiB even if it could not
	// get the 16 that it costs, which servers refuse.
	maxCalls = 6
)

// A pool holds the sessions of a unit: the first serves as long as it is idle,
// the others are opened when several calls are under way. One that ended is
// replaced when it is next needed.
type pool struct {
	o       options
	ctx     context.Context // of the sessions; ends with close
	cancel  context.CancelFunc
	mu      sync.Mutex
	slots   [maxSessions]slot
	closed  bool
	running sync.WaitGroup // calls, the abandoned ones too
	refusal error          // of the last try to open a session
}

// A slot is the place of one session.
type slot struct {
	load    int           // calls and open files
	opening chan struct{} // holds a token while nobody opens a session here
	s       *session
}

// A session is a connection with a mounted share.
type session struct {
	wire  *wire
	share *smb2.Share
	calls chan struct{}
	ended context.Context
}

func newPool(o options) *pool {
	p := &pool{o: o}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	for i := range p.slots {
		p.slots[i].opening = make(chan struct{}, 1)
		p.slots[i].opening <- struct{}{}
	}
	return p
}

// close ends the sessions and waits for the calls.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.running.Wait()
}

var errClosed = errors.New("the unit was closed")

// enter counts a call, unless the pool is closed.
func (p *pool) enter() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fault.New(fault.Unavailable, "", "", errClosed)
	}
	p.running.Add(1)
	return nil
}

// A lease is the use of a session.
type lease struct {
	*session
	p    *pool
	slot *slot
}

func (l *lease) release() {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	l.slot.load--
}

// acquire returns the session with the least to do, and opens one if all are busy and
// there may be another.
func (p *pool) acquire(ctx context.Context) (*lease, error) {
	p.mu.Lock()
	best, cost := (*slot)(nil), 0
	for i := range p.slots {
		at := &p.slots[i]
		c := 2 * at.load
		if !at.s.alive() {
			c++ // a new session costs more than an idle one, and less than to share
		}
		if best == nil || c < cost {
			best, cost = at, c
		}
	}
	best.load++
	p.mu.Unlock()
	l := &lease{p: p, slot: best}
	select {
	case <-best.opening:
	case <-ctx.Done():
		l.release()
		return nil, ctx.Err()
	}
	defer func() { best.opening <- struct{}{} }()
	if best.s.alive() {
		l.session = best.s
		return l, nil
	}
	s, err := p.dial(ctx)
	p.mu.Lock()
	p.refusal = err
	if err == nil {
		best.s = s
	} else if ctx.Err() != nil {
		p.refusal, err = nil, ctx.Err()
	}
	p.mu.Unlock()
	if err != nil {
		l.release()
		return nil, err
	}
	l.session = s
	return l, nil
}

// first opens the first session, for Open.
func (p *pool) first(ctx context.Context) error {
	l, err := p.acquire(ctx)
	if err != nil {
		return err
	}
	l.release()
	return nil
}

func (p *pool) lastRefusal() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refusal
}

// alive reports whether the connection stands, as far as is known.
func (s *session) alive() bool { return s != nil && s.ended.Err() == nil }

// dial opens a session with the share mounted, within the timeout.
func (p *pool) dial(ctx context.Context) (*session, error) {
	return dial(ctx, p, func(s *smb2.Session, in context.Context) (*smb2.Share, error) {
		share, err := s.WithContext(in).Mount(`\\` + p.o.host + `\` + p.o.share)
		if err != nil {
			return nil, err
		}
		share = share.WithContext(in)
		// The first request that must be protected.
		if _, err := share.Stat(""); err != nil && broken(err) {
			return nil, err
		}
		return share, nil
	})
}

// dial opens a connection, logs in, and has begin do what the session is for.
//
// The library is given a context that ends when the connection does, and only
// then: a call that it drops half-way keeps its credits and shifts the answers
// of the connection's writer, so calls are abandoned by us instead (see do). Nor
// does it log off, for a file that was not closed would then block the runtime's
// finalizers; a server takes the end of the connection as a log-off.
func dial(ctx context.Context, p *pool, begin func(*smb2.Session, context.Context) (*smb2.Share, error)) (_ *session, err error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.running.Done()
	ctx, stop := context.WithTimeoutCause(ctx, p.o.timeout, fmt.Errorf("the server did not let us in within %v", p.o.timeout))
	defer stop()
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	conn, err := dialer.DialContext(ctx, "tcp", p.o.addr())
	if err != nil {
		return nil, fault.New(fault.Unavailable, "", "", err)
	}
	ended, end := context.WithCancel(p.ctx)
	w := newWire(conn, &p.o, end)
	defer context.AfterFunc(ctx, w.kill)() // the login takes too long
	context.AfterFunc(ended, w.kill)       // the unit is closed
	s := &session{wire: w, ended: ended, calls: make(chan struct{}, maxCalls)}
	s.share, err = caught(func() (*smb2.Share, error) { return p.login(ended, w, begin) })
	if err == nil {
		return s, nil
	}
	w.kill()
	switch cause := context.Cause(ctx); {
	case w.why() != nil:
		return nil, w.why()
	case cause != nil:
		return nil, fault.New(fault.Unavailable, "", "", cause)
	}
	return nil, wrap("", "", err)
}

func (p *pool) login(ctx context.Context, w *wire, begin func(*smb2.Session, context.Context) (*smb2.Share, error)) (*smb2.Share, error) {
	d := smb2.Dialer{
		Negotiator: smb2.Negotiator{RequireMessageSigning: p.o.sign || p.o.encrypt},
		Initiator:  &smb2.NTLMInitiator{User: p.o.user, Password: p.o.password, Domain: p.o.domain},
	}
	s, err := d.DialContext(ctx, w)
	if err != nil {
		return nil, err
	}
	return begin(s, ctx)
}
