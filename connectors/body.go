package connectors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// A Body is the Reader of one GET. A call or read that makes no progress for too
// long, and a body that ends early, are Unavailable: the rest can be opened
// again.
type Body struct {
	op, key string
	caller  context.Context // of Open: the body's life is its call's
	info    object.Info
	r       io.ReadCloser
	pos     int64 // of the next byte
	end     int64 // size of the object; -1 if the server did not tell
	cancel  context.CancelFunc
	stall   time.Duration
	watch   *time.Timer // ends a call or read that makes no progress
	stalled atomic.Bool
	err     error // how it ended
	closed  bool
}

// NewBody prepares a GET of key from offset on, and returns the context to make
// it with, which lasts until Close. The reply must come within the time of call,
// and then each read within that of stall. op is what its errors name.
func NewBody(ctx context.Context, op, key string, offset int64, call, stall time.Duration) (context.Context, *Body) {
	b := &Body{op: op, key: key, caller: ctx, r: http.NoBody, pos: offset, end: -1, stall: stall}
	ctx, b.cancel = context.WithCancel(ctx)
	b.watch = time.AfterFunc(call, func() {
		b.stalled.Store(true)
		b.cancel()
	})
	return ctx, b
}

// Came notes that the reply came, and with it r.
func (b *Body) Came(r io.ReadCloser) {
	b.watch.Stop()
	b.r = r
}

// Is notes what the reply's own headers say of the object. Its size, unless -1,
// is where the body must end.
func (b *Body) Is(info object.Info) { b.info, b.end = info, info.Size }

// AtEnd opens an object at its end, where vendors refuse a range as they do
// beyond it: that is Invalid.
func AtEnd(ctx context.Context, op string, info object.Info, offset int64) (Reader, error) {
	if offset > info.Size {
		return nil, fault.New(fault.Invalid, op, object.FormatKey(info.Key), fmt.Errorf("offset %d of %d bytes", offset, info.Size))
	}
	_, b := NewBody(ctx, op, info.Key, offset, time.Minute, time.Minute)
	b.Came(http.NoBody)
	b.info, b.end = info, offset
	return b, nil
}

// RangeSize reads the header Content-Range of a reply that begins at offset, and
// returns the size of the whole.
func RangeSize(header string, offset int64) (size int64, err error) {
	var from, to int64
	if n, _ := fmt.Sscanf(header, "bytes %d-%d/%d", &from, &to, &size); n != 3 || from != offset {
		return 0, errors.New("the server sent another range than asked for")
	}
	return size, nil
}

// Info returns what the GET's own headers say.
func (b *Body) Info() object.Info { return b.info }

// Read reads on. It returns io.EOF only when all bytes that the headers
// announced have come.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.closed {
		return 0, errors.New("read of a closed object")
	}
	b.watch.Reset(b.stall)
	n, err := b.r.Read(p)
	b.watch.Stop()
	b.pos += int64(n)
	switch {
	case err == nil:
		return n, nil
	case b.caller.Err() != nil:
		b.err = context.Cause(b.caller)
	case err == io.EOF && (b.end < 0 || b.pos == b.end):
		b.err = io.EOF
	case fault.KindOf(err) != fault.Other:
		b.err = err
	default:
		if err == io.EOF {
			err = errors.New("the reply ended early")
		}
		if b.stalled.Load() {
			err = fmt.Errorf("no byte came for %v", b.stall)
		}
		b.err = fault.New(fault.Unavailable, b.op, object.FormatKey(b.key), err)
	}
	return n, b.err
}

// maxDrain is how much of an unread body Close reads, in bytes, to keep the
// connection: about what a new one costs.
const maxDrain = 64 << 10

// Close releases the connection. It may be called twice, and before the reply
// came.
func (b *Body) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	if b.err == nil && b.end >= 0 && b.end-b.pos <= maxDrain && b.caller.Err() == nil {
		b.watch.Reset(time.Second)
		_, _ = io.CopyN(io.Discard, b.r, b.end-b.pos+1)
	}
	b.watch.Stop()
	err := b.r.Close()
	b.cancel()
	if err != nil && b.caller.Err() == nil && b.err != nil && b.err != io.EOF {
		return nil // Read has told it already
	}
	return err
}
