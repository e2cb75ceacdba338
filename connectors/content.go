package connectors

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// A Content is what a Put reads. It counts and hashes, and holds back the end
// until it is known to be right: the vendor never gets a whole object that is
// not the one announced.
type Content struct {
	ctx  context.Context // of the Put that it is part of
	r    io.Reader
	hash hash.Hash
	want []byte // SHA-256, or nil
	left int64  // bytes that must still come; -1 if unknown
	read int64
	err  error // how it ended; io.EOF if well
}

// NewContent returns what a Put under ctx reads of r, as opt announces it.
func NewContent(ctx context.Context, r io.Reader, opt PutOptions) *Content {
	return &Content{ctx: ctx, r: r, hash: sha256.New(), want: opt.SHA256, left: max(opt.Size, -1)}
}

var (
	errShort = errors.New("the content is shorter than announced")
	errLong  = errors.New("the content is longer than announced")
	errHash  = errors.New("the content is not what was announced: SHA-256 differs")
)

// Read reads on.
func (c *Content) Read(p []byte) (int, error) {
	if c.err != nil || len(p) == 0 {
		return 0, c.err
	}
	if c.err = c.ctx.Err(); c.err != nil {
		return 0, c.err
	}
	n, err := c.r.Read(p)
	c.hash.Write(p[:n])
	c.read += int64(n)
	if c.left >= 0 {
		if c.left -= int64(n); c.left < 0 {
			c.err = errLong
			return 0, c.err
		}
		if c.left == 0 && err == nil {
			err = c.atEnd()
		}
	}
	switch {
	case err == nil:
		return n, nil
	case err != io.EOF:
		c.err = err
	case c.left > 0:
		c.err = errShort
	case c.want != nil && !bytes.Equal(c.hash.Sum(nil), c.want):
		c.err = errHash
	default:
		c.err = io.EOF
		return n, io.EOF
	}
	return 0, c.err
}

// atEnd makes sure that nothing follows the announced size.
func (c *Content) atEnd() error {
	var one [1]byte
	for range 100 {
		switch n, err := c.r.Read(one[:]); {
		case n > 0:
			return errLong
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

// Size returns how many bytes came so far.
func (c *Content) Size() int64 { return c.read }

// Err returns how it ended, nil if well or not yet.
func (c *Content) Err() error {
	if c.err == io.EOF {
		return nil
	}
	return c.err
}

// Failure is the error of a Put whose content did not end well: Changed if it
// was not what was announced. It is nil if the content is not to blame.
func (c *Content) Failure(op, key string) error {
	switch err := c.Err(); {
	case err == nil, c.ctx.Err() != nil:
		return nil
	case errors.Is(err, errHash), errors.Is(err, errShort), errors.Is(err, errLong):
		return fault.New(fault.Changed, op, object.FormatKey(key), err)
	case fault.KindOf(err) != fault.Other, fault.Canceled(err):
		return err
	default:
		return fault.New(fault.Unavailable, op, object.FormatKey(key), err)
	}
}

// A Moving ends a call whose content makes no progress.
type Moving struct {
	cancel context.CancelFunc
	timer  *time.Timer
	stall  time.Duration
}

// Watch returns the context for a call that sends content. It ends when nothing
// moves for the time of stall, and with Stop.
func Watch(ctx context.Context, stall time.Duration) (context.Context, *Moving) {
	ctx, cancel := context.WithCancel(ctx)
	return ctx, &Moving{cancel: cancel, timer: time.AfterFunc(stall, cancel), stall: stall}
}

// Moved notes progress.
func (m *Moving) Moved() { m.timer.Reset(m.stall) }

// Stop ends the watch, and the context.
func (m *Moving) Stop() {
	m.timer.Stop()
	m.cancel()
}

// Reader returns r; what is read of it counts as progress.
func (m *Moving) Reader(r io.Reader) io.Reader { return movingReader{r, m} }

// Part is Reader for content in memory, which SDKs want to seek in.
func (m *Moving) Part(b []byte) io.ReadSeeker {
	r := bytes.NewReader(b)
	return struct {
		io.Reader
		io.Seeker
	}{m.Reader(r), r}
}

type movingReader struct {
	r io.Reader
	m *Moving
}

func (r movingReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.m.Moved()
	return n, err
}
