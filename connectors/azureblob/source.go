package azureblob

import (
	"bytes"
	"context"
	"errors"
	"hash"
	"io"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// A source is what a Put reads. It counts and hashes, and does not end well
// unless all is what was announced.
type source struct {
	ctx  context.Context // of the Put that it is part of
	r    io.Reader
	hash hash.Hash
	want []byte // SHA-256, or nil
	left int64  // bytes that must still come; -1 if unknown
	read int64
	err  error // how it ended; io.EOF if well
}

var (
	errShort = errors.New("the content is shorter than announced")
	errLong  = errors.New("the content is longer than announced")
	errHash  = errors.New("the content is not what was announced: SHA-256 differs")
)

// Read reads on.
func (s *source) Read(p []byte) (int, error) {
	if s.err != nil || len(p) == 0 {
		return 0, s.err
	}
	if s.err = s.ctx.Err(); s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	s.hash.Write(p[:n])
	s.read += int64(n)
	if s.left >= 0 {
		if s.left -= int64(n); s.left < 0 {
			s.err = errLong
			return 0, s.err
		}
	}
	switch {
	case err == nil:
		return n, nil
	case err != io.EOF:
		s.err = err
	case s.left > 0:
		s.err = errShort
	case s.want != nil && !bytes.Equal(s.hash.Sum(nil), s.want):
		s.err = errHash
	default:
		s.err = io.EOF
		return n, io.EOF
	}
	return 0, s.err
}

// failure is the error of a source that did not end well.
func (s *source) failure(op, key string) error {
	if errors.Is(s.err, errHash) || errors.Is(s.err, errShort) || errors.Is(s.err, errLong) {
		return fault.New(fault.Changed, op, object.FormatKey(key), s.err)
	}
	if fault.KindOf(s.err) != fault.Other || fault.Canceled(s.err) {
		return s.err
	}
	return fault.New(fault.Unavailable, op, object.FormatKey(key), s.err)
}

// moving ends a call whose content makes no progress.
type moving struct {
	caller context.Context // whose end is not ours
	cancel context.CancelFunc
	timer  *time.Timer
	stall  time.Duration
}

func (d *Driver) watched(ctx context.Context) (context.Context, *moving) {
	m := &moving{caller: ctx, stall: d.limits.stall}
	ctx, m.cancel = context.WithCancel(withSmallBody(ctx))
	m.timer = time.AfterFunc(m.stall, m.cancel)
	return ctx, m
}

func (m *moving) stop() {
	m.timer.Stop()
	m.cancel()
}

// progress is content whose reading counts as progress.
type progress struct {
	r *bytes.Reader
	m *moving
}

func (p progress) Read(b []byte) (int, error) {
	p.m.timer.Reset(p.m.stall)
	return p.r.Read(b)
}

func (p progress) Seek(offset int64, whence int) (int64, error) { return p.r.Seek(offset, whence) }
