// Package box opens archives in child processes that hold nothing worth
// having: no file, no socket, no other process, little memory and little time.
// A child is this program again (see Main); it is given the content as a
// descriptor and answers with what it saw. Its death is the object's, and
// nobody else's: scan.EngineCrash.
package box

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/archive"
)

// Options are a pool's bounds. Zero fields have the defaults given.
type Options struct {
	Size     int           // children at most; the number of cores
	Dir      string        // for unlinked temporary files; os.TempDir
	Memory   int64         // bytes of data for a child; 512 MiB
	Timeout  time.Duration // for one content, where its Limits give none; 5 min
	Idle     time.Duration // after which an unused child is ended; 1 min
	Uses     int           // contents after which a child is replaced; 1,000
	Spool    int64         // bytes a child may put on disk; 1 GiB
	Budget   int64         // bytes of streams on disk, all children together; 4 GiB
	Required bool          // refuse to open if the sandbox is not complete
	Log      *slog.Logger  // nil = none
}

// tries is how many children one content may kill before it is given up.
const tries = 3

// memoryFile is the size up to which a stream is kept in memory, not on disk.
const memoryFile = 16 << 20

// A Pool is a bounded number of children. It is a scan.Walker. Methods are
// safe for concurrent use.
type Pool struct {
	opts   Options
	log    *slog.Logger
	status Status
	slots  *semaphore.Weighted // children
	memory *semaphore.Weighted // bytes of streams in memory
	disk   *semaphore.Weighted // bytes of streams on disk

	mu     sync.Mutex
	closed bool
	idle   []*child
	live   map[*child]struct{}
	ends   sync.WaitGroup // one for each in live
}

// Open starts one child, so that what its sandbox is worth is known: see
// Status. It returns fault.Unsupported where that is not complete but required.
func Open(ctx context.Context, o Options) (*Pool, error) {
	o.Size = cmp.Or(o.Size, runtime.NumCPU())
	o.Dir = cmp.Or(o.Dir, os.TempDir())
	o.Memory = cmp.Or(o.Memory, 512<<20)
	o.Timeout = cmp.Or(o.Timeout, 5*time.Minute)
	o.Idle = cmp.Or(o.Idle, time.Minute)
	o.Uses = cmp.Or(o.Uses, 1000)
	o.Spool = cmp.Or(o.Spool, 1<<30)
	o.Budget = cmp.Or(o.Budget, 4<<30)
	p := &Pool{
		opts: o, log: o.Log, live: map[*child]struct{}{},
		slots:  semaphore.NewWeighted(int64(o.Size)),
		memory: semaphore.NewWeighted(memoryFile * int64(o.Size)),
		disk:   semaphore.NewWeighted(o.Budget),
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	c, err := p.start(ctx)
	if err != nil {
		return nil, err
	}
	p.status = c.status
	if o.Required && !c.status.Complete() {
		c.end()
		p.ends.Wait()
		return nil, fault.New(fault.Unsupported, "box.Open", "sandbox", errors.New(cmp.Or(c.status.why(), "incomplete")))
	}
	p.put(c)
	return p, nil
}

// Status says which walls stand around the children.
func (p *Pool) Status() Status { return p.status }

// Close ends all children, also those at work, and waits for them.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	for _, c := range p.idle {
		c.timer.Stop()
	}
	p.idle = nil
	for c := range p.live {
		c.kill()
	}
	p.mu.Unlock()
	p.ends.Wait()
	return nil
}

// errClosed is for work that finds the pool closed.
var errClosed = fault.New(fault.Unavailable, "box.Pool", "", os.ErrClosed)

// Ask is what to look for in the members of an archive.
type Ask struct {
	Needle  []byte          // a string of at most 1 KiB that makes a member infected; may be empty
	Threat  string          // the needle's name
	Digests archive.Digests // what Match wants to see
	// Match says whether a content is listed, and as what. May be nil.
	Match func(sums *archive.Sums, size int64) (threat string, ok bool)
}

// A Result is what a child saw.
type Result struct {
	Facts    scan.Facts
	Infected []scan.Member // at most scan.MaxDetails; Path is raw bytes
}

// Inspect looks into the size bytes of f, which is only read with pread, and
// may be infected even with an error. The error is a fault with Reason
// engine_crash, when the content killed a child several times, or timeout; or
// the end of ctx; or a failure to read f or to start a child.
func (p *Pool) Inspect(ctx context.Context, f *os.File, size int64, l scan.Limits, ask Ask) (Result, error) {
	if err := p.slots.Acquire(ctx, 1); err != nil {
		return Result{}, err
	}
	defer p.slots.Release(1)
	timeout := cmp.Or(l.Timeout, p.opts.Timeout)
	l.Timeout = 0
	req := request{Size: size, Limits: l, Timeout: timeout, Memory: p.opts.Memory * 3 / 8, SpoolMax: p.opts.Spool,
		Digests: ask.Digests, Needle: ask.Needle}
	if ask.Match == nil {
		req.Digests = 0
	}
	f, release, err := readOnly(f)
	if err != nil {
		return Result{}, fault.New(fault.Other, "box.Inspect", "", err)
	}
	defer release()
	for try := 1; ; try++ {
		c, err := p.take(ctx)
		if err != nil {
			return Result{}, err
		}
		res, err := c.ask(ctx, f, req, ask)
		if c.broken {
			c.end()
		} else {
			p.put(c)
		}
		if !errors.Is(err, errCrash) || try == tries || len(res.Infected) > 0 {
			return res, err
		}
	}
}

// Walk is the scan.Walker. Only what looks like an archive is given to a
// child; where it is a stream, and not a file, it is put aside first.
func (p *Pool) Walk(ctx context.Context, s scan.Sample, l scan.Limits) (scan.Facts, error) {
	if l.Size > 0 && s.Size > l.Size {
		return scan.Facts{Reason: scan.TooLarge}, nil
	}
	f := s.File
	if f == nil {
		sp, found, err := p.Fetch(ctx, s)
		if errors.Is(err, ErrFull) {
			return scan.Facts{Kind: string(found.Kind()), Reason: scan.TooLarge}, nil
		}
		if err != nil || sp == nil {
			return scan.Facts{}, err
		}
		defer sp.Close()
		f = sp.File
	} else {
		head, tail := make([]byte, min(s.Size, archive.HeadSize)), make([]byte, min(s.Size, archive.TailSize))
		if _, err := f.ReadAt(head, 0); err != nil && err != io.EOF {
			return scan.Facts{}, fault.New(fault.Other, "box.Walk", s.Name, err)
		}
		if _, err := f.ReadAt(tail, s.Size-int64(len(tail))); err != nil && err != io.EOF {
			return scan.Facts{}, fault.New(fault.Other, "box.Walk", s.Name, err)
		}
		found := archive.Sniff(head, tail)
		if !found.Any() && !archive.IsProgram(head) {
			at, err := scan.FindTar(f, s.Size, tail)
			if err != nil {
				return scan.Facts{}, fault.New(fault.Other, "box.Walk", s.Name, err)
			}
			if at == 0 {
				return scan.Facts{}, nil
			}
		}
	}
	res, err := p.Inspect(ctx, f, s.Size, l, Ask{})
	return res.Facts, err
}

// take returns an idle child, or a new one. The caller has a slot.
func (p *Pool) take(ctx context.Context) (*child, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		c.timer.Stop()
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	return p.start(ctx)
}

// put keeps c for the next content, or ends it: it has served long enough, or
// is not needed for a while.
func (p *Pool) put(c *child) {
	p.mu.Lock()
	if p.closed || c.uses >= p.opts.Uses || c.cpu > p.opts.Timeout {
		p.mu.Unlock()
		c.end()
		return
	}
	p.idle = append(p.idle, c)
	if c.timer == nil {
		c.timer = time.AfterFunc(p.opts.Idle, func() { p.retire(c) })
	} else {
		c.timer.Reset(p.opts.Idle)
	}
	p.mu.Unlock()
}

func (p *Pool) retire(c *child) {
	p.mu.Lock()
	for i, x := range p.idle {
		if x == c {
			p.idle = append(p.idle[:i:i], p.idle[i+1:]...)
			p.mu.Unlock()
			c.end()
			return
		}
	}
	p.mu.Unlock()
}
