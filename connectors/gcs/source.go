package gcs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"hash/crc32"
	"io"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// A source is what a Put reads. It counts and hashes, and holds back the end
// until it is known to be right: the server never gets a whole object that is
// not the one announced.
type source struct {
	ctx   context.Context // of the Put that it is part of
	r     io.Reader
	hash  hash.Hash
	table *crc32.Table
	crc   uint32 // CRC-32C so far
	want  []byte // SHA-256, or nil
	left  int64  // bytes that must still come; -1 if unknown
	read  int64
	err   error // how it ended; io.EOF if well
}

func newSource(ctx context.Context, r io.Reader, opt connectors.PutOptions) *source {
	return &source{ctx: ctx, r: r, hash: sha256.New(), table: castagnoli(), want: opt.SHA256, left: max(opt.Size, -1)}
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
	s.crc = crc32.Update(s.crc, s.table, p[:n])
	s.read += int64(n)
	if s.left >= 0 {
		if s.left -= int64(n); s.left < 0 {
			s.err = errLong
			return 0, s.err
		}
		if s.left == 0 && err == nil {
			err = s.atEnd()
		}
	}
	switch {
	case err == nil:
		return n, nil
	case err != io.EOF:
		s.err = err
		return 0, err
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

// atEnd makes sure that nothing follows the announced size.
func (s *source) atEnd() error {
	var one [1]byte
	for range 100 {
		switch n, err := s.r.Read(one[:]); {
		case n > 0:
			return errLong
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
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
