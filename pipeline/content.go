package pipeline

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"
	"sync"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/scan"
)

// hashFirst is the size up to which a local file is hashed before an engine
// sees it, so that the verdict cache can answer; beyond, it is hashed beside.
const hashFirst = 1 << 20

// buffers are what bytes go through on their way.
var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// content is one version of one object on its way to engines. It hashes what
// they read; the first complete pass counts.
type content struct {
	st    *connectors.Storage
	ref   object.Ref
	size  int64
	first connectors.Reader // opened already; the first Open takes it over

	mu  sync.Mutex
	sum []byte // SHA-256 of a complete pass
	err error  // of the storage, while reading
}

func (c *content) open(ctx context.Context) (io.ReadCloser, error) {
	c.mu.Lock()
	rd := c.first
	c.first = nil
	c.mu.Unlock()
	if rd == nil {
		var err error
		if rd, err = c.st.Open(ctx, c.ref, 0); err != nil {
			c.fail(err)
			return nil, err
		}
	}
	return &pass{c: c, rd: rd, h: sha256.New()}, nil
}

func (c *content) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

func (c *content) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *content) hash() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sum
}

func (c *content) hashed(sum []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum = sum
}

// complete makes sure that the whole content was hashed, reading it if no
// engine did.
func (c *content) complete(ctx context.Context) error {
	if c.hash() != nil {
		return nil
	}
	rd, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer rd.Close()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		if _, err := rd.Read(*buf); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// pass is one reading from the first byte to the last.
type pass struct {
	c    *content
	rd   connectors.Reader
	h    hash.Hash
	n    int64
	done bool
}

func (p *pass) Read(b []byte) (int, error) {
	n, err := p.rd.Read(b)
	p.h.Write(b[:n])
	p.n += int64(n)
	switch {
	case err == io.EOF && p.c.size >= 0 && p.n < p.c.size:
		err = fault.New(fault.Changed, "pipeline.Read", p.c.ref.String(), io.ErrUnexpectedEOF)
		p.c.fail(err)
	case p.c.size >= 0 && p.n > p.c.size:
		err = fault.New(fault.Changed, "pipeline.Read", p.c.ref.String(), nil)
		p.c.fail(err)
	case err == io.EOF:
		if !p.done {
			p.done = true
			p.c.hashed(p.h.Sum(nil))
		}
	case err != nil:
		p.c.fail(err)
	}
	return n, err
}

func (p *pass) Close() error { return p.rd.Close() }

// engineFault marks an error as an engine's, not the storage's.
type engineFault struct{ err error }

func (e *engineFault) Error() string { return e.err.Error() }
func (e *engineFault) Unwrap() error { return e.err }

// inspect asks the workflow's pools, or the verdict cache, about c and fills in
// the hash of what was read. The worst report counts.
func (p *Pipeline) inspect(ctx context.Context, u *unit, e *ledger.Entry, c *content) (scan.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, p.o.Bounds.ScanTimeout)
	defer cancel()
	s := p.sample(u, e, c)
	var beside sync.WaitGroup
	defer beside.Wait()
	if f, ok := c.first.(connectors.FileReader); ok && c.size <= hashFirst {
		var err error
		if s.SHA256, err = c.lend(ctx, &s); err != nil {
			return scan.Report{}, err
		}
	} else if ok {
		s.File = f.File()
		c.first = nil // the worker keeps it: it rereads its token at the end
		beside.Go(func() {
			if sum, err := hashFile(ctx, s.File, c.size); err != nil {
				c.fail(err)
			} else {
				c.hashed(sum)
			}
		})
	}
	pools, names := p.pool(&u.Workflow)
	var worst scan.Report
	reports := make([]scan.Report, len(pools))
	for i, pool := range pools {
		rep, err := p.ask(ctx, pool, names[i], s)
		if serr := c.failed(); serr != nil {
			return rep, serr
		}
		if err != nil {
			return rep, err
		}
		reports[i] = rep
		if i == 0 || scan.Worse(worst.Verdict, rep.Verdict) != worst.Verdict {
			worst = rep
		}
	}
	beside.Wait()
	if err := c.complete(ctx); err != nil {
		return worst, err
	}
	if err := c.failed(); err != nil {
		return worst, err
	}
	e.SHA256 = c.hash()
	for i, pool := range pools {
		p.remember(pool, names[i], s, e.SHA256, reports[i])
	}
	return worst, nil
}

// sample is c as engines are asked about it.
func (p *Pipeline) sample(u *unit, e *ledger.Entry, c *content) scan.Sample {
	return scan.Sample{Name: object.Base(e.Key), Size: c.size, Open: c.open, Rule: u.Workflow.Rule, UserAgent: u.Workflow.UserAgent, Lookup: u.Workflow.HashLookup,
		Sanitize: u.Workflow.Disarms(), Priority: e.Priority, Passwords: p.passwords.of(e.ID)}
}

// lend puts the open local file into s and returns its hash. The worker keeps
// the reader: it rereads its token at the end.
func (c *content) lend(ctx context.Context, s *scan.Sample) ([]byte, error) {
	s.File = c.first.(connectors.FileReader).File()
	c.first = nil
	sum, err := hashFile(ctx, s.File, c.size)
	if err == nil {
		c.hashed(sum)
	}
	return sum, err
}

// cached is a pool's report about s from the cache, where that is allowed.
func (p *Pipeline) cached(pool Scanner, name string, s scan.Sample) (scan.Report, bool) {
	if s.SHA256 == nil || s.Sanitize || len(s.Passwords) > 0 {
		return scan.Report{}, false
	}
	return p.cache.get(cacheKey(name, pool.Definitions(), s, s.SHA256))
}

// ask gets a report of one pool, from the cache where that is allowed.
func (p *Pipeline) ask(ctx context.Context, pool Scanner, name string, s scan.Sample) (scan.Report, error) {
	if pool == nil {
		return scan.Report{}, &poolDown{fault.New(fault.NotFound, "pipeline.Scan", "pool "+name, nil)}
	}
	if rep, ok := p.cached(pool, name, s); ok {
		return rep, nil
	}
	rep, err := pool.Scan(ctx, s)
	return told(ctx, pool, name, rep, err)
}

// told says whose fault it is if a pool gave no report.
func told(ctx context.Context, pool Scanner, name string, rep scan.Report, err error) (scan.Report, error) {
	switch {
	case err == nil && rep.Verdict == scan.None:
		return rep, &engineFault{fault.New(fault.Internal, "pipeline.Scan", "pool "+name+" gave no verdict", nil)}
	case err == nil:
		return rep, nil
	case fault.Is(err, fault.Unavailable, fault.Throttled) && !pool.Ready():
		return rep, &poolDown{err}
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return rep, &engineFault{&fault.Error{Op: "pipeline.Scan", Kind: fault.Unavailable, Reason: string(scan.Timeout), Err: err}}
	}
	return rep, &engineFault{err}
}

// hashFile returns the SHA-256 of the first size bytes of f; fault.Changed if
// there are fewer, or more.
func hashFile(ctx context.Context, f *os.File, size int64) ([]byte, error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	h := sha256.New()
	for off := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := f.ReadAt(*buf, off)
		h.Write((*buf)[:n])
		off += int64(n)
		if err == io.EOF {
			if off != size {
				return nil, fault.New(fault.Changed, "pipeline.Hash", f.Name(), nil)
			}
			return h.Sum(nil), nil
		}
		if err != nil {
			return nil, fault.New(fault.Other, "pipeline.Hash", f.Name(), err)
		}
		if off > size {
			return nil, fault.New(fault.Changed, "pipeline.Hash", f.Name(), nil)
		}
	}
}
