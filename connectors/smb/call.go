package smb

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	smb2 "github.com/hirochachacha/go-smb2"

	"github.com/landwaiter/landwaiter/fault"
)

// do makes a call on any session. See call.
func do[T any](ctx context.Context, d *Driver, op, key string, drop func(T), f func(*smb2.Share) (T, error)) (T, error) {
	var none T
	l, err := d.session(ctx, op, key)
	if err != nil {
		return none, err
	}
	defer l.release()
	v, err := call(ctx, l, drop, f)
	return v, wrap(op, d.on(key), err)
}

// on names a key in an error, or the folder itself.
func (d *Driver) on(key string) string {
	if key == "" {
		return d.where
	}
	return short(key)
}

// session acquires a session. One that cannot be had is the unit's trouble and
// not the object's: fault.Unavailable, whatever keeps it away.
func (d *Driver) session(ctx context.Context, op, key string) (*lease, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l, err := d.pool.acquire(ctx)
	if err != nil && ctx.Err() == nil {
		return nil, fault.New(fault.Unavailable, op, d.on(key), err)
	}
	return l, err
}

// call runs f, which makes calls of the library on the session of l. It returns
// when f does or when ctx ends; then f goes on by itself, and what it returns
// goes to drop. An f that takes longer than the timeout loses the connection,
// so nothing goes on for longer; Close waits for it. After an error that is
// about the session, that is given up.
func call[T any](ctx context.Context, l *lease, drop func(T), f func(*smb2.Share) (T, error)) (T, error) {
	var none T
	select {
	case l.calls <- struct{}{}:
	case <-ctx.Done():
		return none, ctx.Err()
	case <-l.ended.Done():
		return none, fault.New(fault.Unavailable, "", "", fmt.Errorf("the session has ended"))
	}
	if err := l.p.enter(); err != nil {
		<-l.calls
		return none, err
	}
	type result struct {
		v   T
		err error
	}
	var decided atomic.Bool // who comes second learns that the other was first
	done := make(chan result, 1)
	go func(s *session, p *pool) {
		defer p.running.Done()
		defer func() { <-s.calls }()
		late := time.AfterFunc(p.o.timeout, s.wire.kill)
		defer late.Stop()
		v, err := caught(func() (T, error) { return f(s.share) })
		if err != nil && broken(err) {
			s.wire.kill()
			if why := s.wire.why(); why != nil {
				err = fault.New(fault.Unavailable, "", "", why)
			}
		}
		if decided.CompareAndSwap(false, true) {
			done <- result{v, err}
		} else if err == nil && drop != nil {
			drop(v)
		}
	}(l.session, l.p)
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
	}
	if decided.CompareAndSwap(false, true) {
		return none, ctx.Err()
	}
	r := <-done
	return r.v, r.err
}

// caught turns a panic of the library over what a server sent into an error.
func caught[T any](f func() (T, error)) (v T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fault.New(fault.Unavailable, "", "", fmt.Errorf("the server's answer cannot be read: %v", r))
		}
	}()
	return f()
}

// finish returns a context for what must be done even if ctx has ended: to put a
// file back, to remove a temporary one.
func (d *Driver) finish(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), d.pool.o.timeout)
}

// closeFile gives a handle back, even if ctx has ended. With a session that is
// gone its handles are too.
func (d *Driver) closeFile(ctx context.Context, l *lease, f *smb2.File) error {
	if !l.alive() {
		return nil
	}
	ctx, cancel := d.finish(ctx)
	defer cancel()
	_, err := call(ctx, l, nil, func(*smb2.Share) (struct{}, error) { return struct{}{}, f.Close() })
	return err
}

// closeFile is for a handle that nobody waits for any more.
func closeFile(f *smb2.File) { _ = f.Close() }
