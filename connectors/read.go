package connectors

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/object"
)

// List yields each object once, see Driver. After a transient error it goes on
// behind the last key that was yielded.
func (s *Storage) List(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error] {
	return s.listing(ctx, "List", prefix, start, s.driver.List)
}

// ListVersions yields each version once, see VersionLister.
func (s *Storage) ListVersions(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error] {
	d, ok := s.driver.(VersionLister)
	if !ok || !s.caps.Versions {
		return func(yield func(object.Info, error) bool) {
			yield(object.Info{}, s.unsupported("ListVersions", ok))
		}
	}
	return s.listing(ctx, "ListVersions", prefix, start, d.ListVersions)
}

type lister func(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error]

func (s *Storage) listing(ctx context.Context, op, prefix, start string, list lister) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		if err := s.enter(op); err != nil {
			yield(object.Info{}, err)
			return
		}
		defer s.leave()
		l := &listed{after: start, again: retrier{repeat: transient, started: time.Now()}}
		for {
			begun, try := time.Now(), l.again.tries
			more, err := s.page(ctx, list(ctx, prefix, l.after), l, yield)
			s.obs.Observe(Call{Unit: s.unit.Name, Op: op, Err: err, Took: time.Since(begun), Try: try})
			if !more || err == nil {
				return
			}
			if !l.again.again(ctx, err) {
				yield(object.Info{}, err)
				return
			}
		}
	}
}

// listed is how far a listing got.
type listed struct {
	after string          // the last key of which nothing is missing
	key   string          // the key being listed
	seen  map[string]bool // its versions that were yielded
	gaps  map[string]bool
	n     int
	again retrier
}

// page runs one listing to its end or its first error. more is false when the
// consumer has had enough.
func (s *Storage) page(ctx context.Context, seq iter.Seq2[object.Info, error], l *listed, yield func(object.Info, error) bool) (more bool, err error) {
	if err := s.limit.wait(ctx); err != nil {
		return true, err
	}
	for info, err := range seq {
		var gap *Gap
		if errors.As(err, &gap) {
			if !l.gaps[gap.Prefix] && !yield(object.Info{}, err) {
				return false, nil
			}
			if l.gaps == nil {
				l.gaps = map[string]bool{}
			}
			if len(l.gaps) < keysPerCall {
				l.gaps[gap.Prefix] = true
			}
			continue
		}
		if err != nil {
			return true, err
		}
		if info.Key != l.key || l.seen == nil {
			if l.seen != nil {
				l.after = l.key
			}
			l.key = info.Key
			l.seen = map[string]bool{}
		}
		if l.seen[info.Version] {
			continue
		}
		l.seen[info.Version] = true
		l.again.tries, l.again.started = 0, time.Now() // progress
		if !yield(info, nil) {
			return false, nil
		}
		if l.n++; l.n%keysPerCall == 0 {
			if err := s.limit.wait(ctx); err != nil {
				return true, err
			}
		}
	}
	return true, nil
}

// Open reads exactly the version in ref, see Driver. The reader is a FileReader
// if the driver's is. Where one read is one version, a connection that breaks
// is taken up again at the byte where it broke.
func (s *Storage) Open(ctx context.Context, ref object.Ref, offset int64) (Reader, error) {
	var in Reader
	err := s.do(ctx, "Open", transient, func(int) (err error) {
		in, err = s.driver.Open(ctx, ref, offset)
		return err
	})
	if err != nil {
		return nil, err
	}
	if ref.Version == "" {
		ref.Version = in.Info().Version
	}
	r := &reader{Reader: in, ctx: ctx, s: s, ref: ref, pos: offset, from: offset, opened: time.Now(), release: s.Hold()}
	if f, ok := in.(FileReader); ok {
		return &fileReader{r, f}, nil
	}
	return r, nil
}

// A reader counts what it reads and resumes where that is safe.
type reader struct {
	Reader
	ctx     context.Context // of Open: the reader lives no longer, and a resume belongs to it
	s       *Storage
	ref     object.Ref
	pos     int64
	from    int64
	resumed int
	err     error // of the last Read
	opened  time.Time
	release func()
	once    sync.Once
}

func (r *reader) Read(p []byte) (int, error) {
	for {
		n, err := r.Reader.Read(p)
		r.pos += int64(n)
		r.err = err
		if n > 0 || err == nil || err == io.EOF {
			if err != io.EOF && n > 0 {
				err = nil // a lasting error comes again with the next Read
			}
			return n, err
		}
		if !r.resume(err) {
			return 0, err
		}
	}
}

// resume opens the same version again behind the last byte that was read.
func (r *reader) resume(err error) bool {
	if r.ctx.Err() != nil || r.resumed >= maxTries || !r.s.caps.ReadIsVersion || r.ref.Version == "" || !transient.allows(err) {
		return false
	}
	r.resumed++
	var in Reader
	if r.s.do(r.ctx, "Open", transient, func(int) (err error) {
		in, err = r.s.driver.Open(r.ctx, r.ref, r.pos)
		return err
	}) != nil {
		return false
	}
	_ = r.Reader.Close() // it has failed already
	r.Reader = in
	return true
}

func (r *reader) Close() error {
	err := r.Reader.Close()
	r.once.Do(func() {
		failed := r.err
		if failed == io.EOF {
			failed = nil
		}
		r.s.obs.Observe(Call{Unit: r.s.unit.Name, Op: "Read", Err: failed, Took: time.Since(r.opened), Bytes: r.pos - r.from})
		r.release()
	})
	return err
}

// A fileReader is a reader of a local file.
type fileReader struct {
	*reader
	file FileReader
}

func (r *fileReader) File() *os.File               { return r.file.File() }
func (r *fileReader) Restat() (object.Info, error) { return r.file.Restat() }
