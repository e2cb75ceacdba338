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
	return s.listing(ctx, "List", &listed{after: start}, func(start string) iter.Seq2[object.Info, error] {
		return s.driver.List(ctx, prefix, start)
	})
}

// ListVersions yields each version once, see VersionLister.
func (s *Storage) ListVersions(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error] {
	d, ok := s.driver.(VersionLister)
	if !ok || !s.caps.Versions {
		return func(yield func(object.Info, error) bool) {
			yield(object.Info{}, s.unsupported("ListVersions", ok))
		}
	}
	return s.listing(ctx, "ListVersions", &listed{after: start, seen: map[string]bool{}}, func(start string) iter.Seq2[object.Info, error] {
		return d.ListVersions(ctx, prefix, start)
	})
}

// listed is how far a listing got.
type listed struct {
	after string          // the last key of which nothing is missing
	key   string          // the key whose versions are being listed
	seen  map[string]bool // its versions that were yielded; nil = keys have one
	gaps  map[string]bool // that were yielded
	n     int
	again retrier
}

// listing runs list from l.after on, again after errors that pass.
func (s *Storage) listing(ctx context.Context, op string, l *listed, list func(start string) iter.Seq2[object.Info, error]) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		if err := s.enter(op); err != nil {
			yield(object.Info{}, err)
			return
		}
		defer s.leave()
		l := *l // a sequence may be run again
		l.again = retrier{repeat: transient, started: time.Now()}
		for {
			begun, try, n := time.Now(), l.again.tries, l.n
			more, err := s.run(ctx, list(l.after), &l, yield)
			s.obs.Observe(Call{Unit: s.unit.Name, Op: op, Err: err, Took: time.Since(begun), Try: try})
			if !more || err == nil {
				return
			}
			if l.n > n { // the bounds are for standing still
				l.again.tries, l.again.started = 0, time.Now()
			}
			if !l.again.again(ctx, err) {
				yield(object.Info{}, err)
				return
			}
		}
	}
}

// run is one listing to its end or its first error. more is false when the
// consumer has had enough.
func (s *Storage) run(ctx context.Context, seq iter.Seq2[object.Info, error], l *listed, yield func(object.Info, error) bool) (more bool, err error) {
	if err := s.limit.wait(ctx); err != nil {
		return true, err
	}
	for info, err := range seq {
		var gap *Gap
		switch {
		case err == nil:
		case errors.As(err, &gap):
			if !l.newGap(gap.Prefix) {
				continue
			}
			if !yield(object.Info{}, err) {
				return false, nil
			}
			continue
		default:
			return true, err
		}
		if !l.next(info) {
			continue
		}
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

// next notes what comes next and reports whether it is new.
func (l *listed) next(i object.Info) bool {
	if l.seen == nil {
		l.after = i.Key
		return true
	}
	if i.Key != l.key || l.n == 0 {
		if l.n > 0 {
			l.after = l.key
		}
		l.key = i.Key
		clear(l.seen)
	}
	if l.seen[i.Version] {
		return false
	}
	l.seen[i.Version] = true
	return true
}

// newGap reports whether a gap was not yielded yet. Only some are remembered:
// one more costs the consumer nothing.
func (l *listed) newGap(prefix string) bool {
	if l.gaps[prefix] {
		return false
	}
	if l.gaps == nil {
		l.gaps = map[string]bool{}
	}
	if len(l.gaps) < keysPerCall {
		l.gaps[prefix] = true
	}
	return true
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
	switch f := in.(type) {
	case SettledReader:
		return &settledReader{&fileReader{r, f}, f}, nil
	case FileReader:
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
	pending error // that came with bytes: the next Read's
	opened  time.Time
	release func()
	once    sync.Once
}

func (r *reader) Read(p []byte) (n int, err error) {
	for {
		if err = r.pending; err != nil {
			r.pending = nil
		} else {
			n, err = r.Reader.Read(p)
		}
		r.pos += int64(n)
		r.err = err
		switch {
		case err == nil || err == io.EOF:
			return n, err
		case n > 0:
			r.pending = err
			return n, nil
		case !r.resume(err):
			r.pending = err // it does not get better
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

// A settledReader is a reader of a local file that knows whether it is written to.
type settledReader struct {
	*fileReader
	settled SettledReader
}

func (r *settledReader) Settled() (time.Duration, error) { return r.settled.Settled() }
