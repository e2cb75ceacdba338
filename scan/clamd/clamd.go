// Package clamd asks ClamAV's daemon. Small local files go by descriptor over
// one session with many in flight; large ones, and streams, over connections
// of their own, so that they do not stand in the way.
//
// The protocol is that of clamd(8): commands and replies end in NUL, a session
// (IDSESSION) numbers its commands from 1 and its replies come in any order.
// SCAN is never used: clamd does not follow symlinks, so that a path of
// /proc/self/fd would be called clean without a look.
package clamd

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

// Options say where clamd is and how to use it.
type Options struct {
	Network string // "unix" or "tcp"
	Address string // path of the socket, or host:port
	Conf    string // clamd.conf of that clamd; "" = look in the well-known places

	InFlight int           // small files at once on the session; default 64, less than clamd's MaxQueue
	Small    int64         // bytes up to which a local file is small; default 1 MiB
	Timeout  time.Duration // for one object, from when clamd has it; default 5 min
	Stall    time.Duration // without a reply before clamd must answer a PING; default 20 s
	Idle     time.Duration // before an unused connection is closed; default 10 s, clamd's own bound is 30 s
	Limits   scan.Limits   // of that clamd, where its clamd.conf cannot be read; zero fields: not known
}

func (o *Options) defaults() {
	if o.InFlight <= 0 {
		o.InFlight = 64
	}
	if o.Small <= 0 {
		o.Small = 1 << 20
	}
	for p, d := range map[*time.Duration]time.Duration{
		&o.Timeout: 5 * time.Minute, &o.Stall: 20 * time.Second, &o.Idle: 10 * time.Second,
	} {
		if *p <= 0 {
			*p = d
		}
	}
}

// An Engine is one clamd. It implements scan.Engine and scan.Batcher.
type Engine struct {
	o     Options
	name  string
	slots chan struct{} // places on the session
	large chan struct{} // places for large objects
	known atomic.Pointer[knowledge]

	mu      sync.Mutex
	session *session           // with the small files, or nil
	idle    []*conn            // for streams, most recent last
	busy    map[*conn]struct{} // connections in use
	closed  bool
	wg      sync.WaitGroup
}

// knowledge is what the last probe learned.
type knowledge struct {
	defs    string
	defined time.Time
}

// Bounds of an engine.
const (
	dialTimeout = 5 * time.Second
	maxIdle     = 16
)

// Open returns the engine at o. It does not need clamd to be there yet.
func Open(_ context.Context, o Options) (*Engine, error) {
	if o.Network != "unix" && o.Network != "tcp" || o.Address == "" {
		return nil, fault.New(fault.Invalid, "clamd.Open", o.Network+":"+o.Address, errors.New("want a unix socket or a TCP address"))
	}
	o.defaults()
	e := &Engine{
		o: o, name: "clamd@" + o.Address,
		slots: make(chan struct{}, o.InFlight),
		large: make(chan struct{}, max(4, 2*runtime.NumCPU())),
		busy:  make(map[*conn]struct{}),
	}
	e.known.Store(&knowledge{})
	return e, nil
}

// Scan inspects s: a local file by its descriptor, anything else as a stream.
func (e *Engine) Scan(ctx context.Context, s scan.Sample) (scan.Report, error) {
	if err := ctx.Err(); err != nil {
		return scan.Report{}, err
	}
	if !e.batches(s) {
		return e.alone(ctx, s)
	}
	ended := make(chan struct{})
	var rep scan.Report
	var err error
	r := &request{file: s.File, done: func(got scan.Report, failed error) {
		rep, err = got, failed
		close(ended)
	}}
	if err := e.submit(ctx, r); err != nil {
		return scan.Report{}, err
	}
	select {
	case <-ended:
		return rep, err
	case <-ctx.Done():
		if r.settle() {
			return scan.Report{}, ctx.Err()
		}
		<-ended // it has just come
		return rep, err
	}
}

// Submit is Scan without a goroutine for each small local file: scan.Batcher.
func (e *Engine) Submit(ctx context.Context, s scan.Sample, done func(scan.Report, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !e.batches(s) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.closed {
			return e.fault(fault.Unavailable, errClosed)
		}
		e.wg.Go(func() { done(e.alone(ctx, s)) })
		return nil
	}
	r := &request{file: s.File, done: done}
	if ctx.Done() != nil {
		r.stop = context.AfterFunc(ctx, func() {
			if r.settle() {
				done(scan.Report{}, ctx.Err())
			}
		})
	}
	err := e.submit(ctx, r)
	if err != nil && r.settle() {
		r.release()
		return err
	}
	return nil // or done was called already, by the end of ctx
}

// batches says whether s goes over the shared session.
func (e *Engine) batches(s scan.Sample) bool {
	return s.File != nil && e.o.Network == "unix" && s.Size <= e.o.Small
}

var errClosed = errors.New("the engine is closed")

// fault returns an error about this clamd.
func (e *Engine) fault(k fault.Kind, err error) error {
	return &fault.Error{Op: "clamd.Scan", On: e.o.Address, Kind: k, Err: err}
}

// report starts a report.
func (e *Engine) report(began time.Time) scan.Report {
	k := e.known.Load()
	return scan.Report{
		Engine: e.name, Definitions: k.defs, DefinedAt: k.defined,
		Engines: 1, Took: time.Since(began),
	}
}

// Close ends the connections; what is in flight fails with fault.Unavailable.
// It returns when all of it has been told.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	s := e.session
	e.session = nil
	var err error
	for _, c := range e.idle {
		err = errors.Join(err, c.Close())
	}
	e.idle = nil
	for c := range e.busy {
		_ = c.Close() // who uses it sees that
	}
	e.mu.Unlock()
	if s != nil {
		s.end(e.fault(fault.Unavailable, errClosed))
	}
	e.wg.Wait()
	return err
}
