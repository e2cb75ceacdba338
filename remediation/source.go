package remediation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// onSource calls f with the source. If its token moved in nothing but what
// metadata can move (our own tags before a crash, somebody's chmod), and the
// bytes still have the scanned hash, f is called again with the new token.
func (r *run) onSource(ctx context.Context, f func(object.Ref) error) error {
	err := f(r.ref())
	if !fault.Is(err, fault.Changed) {
		return err
	}
	same, why := r.confirm(ctx)
	if why != nil {
		return why
	}
	if !same {
		return err
	}
	return f(r.ref())
}

// confirm reports whether the source is still what was scanned under a new
// token, and takes that token over.
func (r *run) confirm(ctx context.Context) (bool, error) {
	now, err := r.src.Stat(ctx, object.Ref{Unit: r.job.Unit, Key: r.job.Key})
	if err != nil {
		return false, err
	}
	if now.Size != r.job.Size || now.Version == r.version || !r.src.MetadataOnly(r.version, now.Version) {
		return false, nil
	}
	ref := object.Ref{Unit: r.job.Unit, Key: r.job.Key, Version: now.Version}
	sum, err := hashOf(ctx, r.src, ref, r.job.Size)
	if fault.Is(err, fault.Changed) {
		return false, nil // it moves on and on: the next event is about it
	}
	if err != nil || !bytes.Equal(sum, r.job.SHA256) {
		return false, err
	}
	r.version = now.Version
	return true, nil
}

// open opens the source. Its reader fails with fault.Changed unless the bytes
// are those that were scanned.
func (r *run) open(ctx context.Context) (in connectors.Reader, c *checked, err error) {
	err = r.onSource(ctx, func(ref object.Ref) error {
		in, err = r.src.Open(ctx, ref, 0)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return in, check(in, r.job.Size, r.job.SHA256), nil
}

// hashOf returns the SHA-256 of a version. It reads no more than size bytes and
// one, so that an object that grew cannot keep it busy.
func hashOf(ctx context.Context, st Storage, ref object.Ref, size int64) ([]byte, error) {
	in, err := st.Open(ctx, ref, 0)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(in, size+1)); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}

// checked yields a reader's bytes if they have the size and hash expected. The
// last of them is held back until that is known, so that nobody who counts can
// take a wrong object for complete.
type checked struct {
	r    io.Reader
	h    hash.Hash
	left int64
	want []byte
	ok   bool  // all was read and is right
	err  error // why not
}

func check(r io.Reader, size int64, sum []byte) *checked {
	return &checked{r: r, h: sha256.New(), left: size, want: sum}
}

func (c *checked) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.r.Read(p)
	if int64(n) > c.left {
		return 0, c.fail("there are more bytes than were scanned")
	}
	c.left -= int64(n)
	c.h.Write(p[:n])
	switch {
	case err != nil && err != io.EOF:
		c.err = err
	case c.left > 0 && err == io.EOF:
		return 0, c.fail("there are fewer bytes than were scanned")
	case c.left == 0 && (n > 0 || err == io.EOF) && !c.ok:
		if !bytes.Equal(c.h.Sum(nil), c.want) {
			return 0, c.fail("the bytes are not those that were scanned")
		}
		c.ok = true
	}
	return n, err
}

func (c *checked) fail(why string) error {
	c.err = fault.New(fault.Changed, "remediation.Read", "", errors.New(why))
	return c.err
}

// after judges the outcome of a write that read from c: why the source failed
// counts before what the destination made of it.
func (c *checked) after(err error) error {
	switch {
	case c.err != nil:
		return c.err
	case err == nil && !c.ok && c.left > 0:
		return fault.New(fault.Internal, "remediation.Write", "", fmt.Errorf("the write succeeded with %d bytes unread", c.left))
	}
	return err
}
