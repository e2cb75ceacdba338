package connectortest

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Faults is a Driver that makes another fail. Before is asked with the method's
// name before each call, After behind it where it succeeded: an error that
// they return is the call's (After: an answer that was lost). Listings and
// readers are asked for each key and each Read too ("List", "Read"). Its
// capabilities are those of the driver inside.
type Faults struct {
	connectors.Driver
	Before, After func(op, key string) error
}

// Unwrap returns the driver inside.
func (f *Faults) Unwrap() connectors.Driver { return f.Driver }

func ask(hook func(op, key string) error, op, key string) error {
	if hook == nil {
		return nil
	}
	return hook(op, key)
}

// around makes one call between the two questions.
func around[T any](f *Faults, op, key string, call func() (T, error)) (T, error) {
	var none T
	if err := ask(f.Before, op, key); err != nil {
		return none, err
	}
	out, err := call()
	if err != nil {
		return out, err
	}
	if err := ask(f.After, op, key); err != nil {
		if c, ok := any(out).(io.Closer); ok {
			_ = c.Close() // the caller never sees it
		}
		return none, err
	}
	return out, nil
}

// optional makes one call of a capability that the driver inside may lack.
func optional[I, T any](f *Faults, op, key string, call func(I) (T, error)) (T, error) {
	in, ok := f.Driver.(I)
	if !ok {
		var none T
		return none, fault.New(fault.Unsupported, "faults."+op, key, nil)
	}
	return around(f, op, key, func() (T, error) { return call(in) })
}

// List implements connectors.Driver.
func (f *Faults) List(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error] {
	return f.listing("List", f.Driver.List(ctx, prefix, start))
}

// ListVersions implements connectors.VersionLister.
func (f *Faults) ListVersions(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error] {
	in, ok := f.Driver.(connectors.VersionLister)
	if !ok {
		return func(yield func(object.Info, error) bool) {
			yield(object.Info{}, fault.New(fault.Unsupported, "faults.ListVersions", prefix, nil))
		}
	}
	return f.listing("ListVersions", in.ListVersions(ctx, prefix, start))
}

func (f *Faults) listing(op string, seq iter.Seq2[object.Info, error]) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		for info, err := range seq {
			if err == nil {
				if broken := ask(f.Before, op, info.Key); broken != nil {
					yield(object.Info{}, broken)
					return
				}
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// Stat implements connectors.Driver.
func (f *Faults) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	return around(f, "Stat", ref.Key, func() (object.Info, error) { return f.Driver.Stat(ctx, ref) })
}

// Open implements connectors.Driver.
func (f *Faults) Open(ctx context.Context, ref object.Ref, offset int64) (connectors.Reader, error) {
	r, err := around(f, "Open", ref.Key, func() (connectors.Reader, error) { return f.Driver.Open(ctx, ref, offset) })
	if err != nil {
		return nil, err
	}
	if file, ok := r.(connectors.FileReader); ok {
		return &faultyFile{file, f, ref.Key}, nil
	}
	return &faultyReader{r, f, ref.Key}, nil
}

type faultyReader struct {
	connectors.Reader
	f   *Faults
	key string
}

func (r *faultyReader) Read(p []byte) (int, error) {
	if err := ask(r.f.Before, "Read", r.key); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

type faultyFile struct {
	connectors.FileReader
	f   *Faults
	key string
}

func (r *faultyFile) Read(p []byte) (int, error) {
	if err := ask(r.f.Before, "Read", r.key); err != nil {
		return 0, err
	}
	return r.FileReader.Read(p)
}

func (r *faultyFile) Restat() (object.Info, error) {
	return around(r.f, "Restat", r.key, r.FileReader.Restat)
}

// Watch implements connectors.Watcher.
func (f *Faults) Watch(ctx context.Context, cursor string, emit connectors.Emit) error {
	_, err := optional(f, "Watch", "", func(w connectors.Watcher) (struct{}, error) {
		return struct{}{}, w.Watch(ctx, cursor, emit)
	})
	return err
}

// Settled implements connectors.Settler.
func (f *Faults) Settled(ctx context.Context, info object.Info) (time.Duration, error) {
	return optional(f, "Settled", info.Key, func(s connectors.Settler) (time.Duration, error) { return s.Settled(ctx, info) })
}

// Put implements connectors.Putter.
func (f *Faults) Put(ctx context.Context, key string, r io.Reader, opt connectors.PutOptions) (object.Info, error) {
	return optional(f, "Put", key, func(p connectors.Putter) (object.Info, error) { return p.Put(ctx, key, r, opt) })
}

// Copy implements connectors.Copier.
func (f *Faults) Copy(ctx context.Context, src object.Ref, key string, opt connectors.PutOptions) (object.Info, error) {
	return optional(f, "Copy", src.Key, func(c connectors.Copier) (object.Info, error) { return c.Copy(ctx, src, key, opt) })
}

// Remove implements connectors.Remover.
func (f *Faults) Remove(ctx context.Context, ref object.Ref, fence connectors.Fence) (connectors.Removed, error) {
	return optional(f, "Remove", ref.Key, func(r connectors.Remover) (connectors.Removed, error) { return r.Remove(ctx, ref, fence) })
}

// Tags implements connectors.Tagger.
func (f *Faults) Tags(ctx context.Context, ref object.Ref) (map[string]string, error) {
	return optional(f, "Tags", ref.Key, func(t connectors.Tagger) (map[string]string, error) { return t.Tags(ctx, ref) })
}

// Tag implements connectors.Tagger.
func (f *Faults) Tag(ctx context.Context, ref object.Ref, set map[string]string) (object.Info, error) {
	return optional(f, "Tag", ref.Key, func(t connectors.Tagger) (object.Info, error) { return t.Tag(ctx, ref, set) })
}

// Prune implements connectors.Pruner.
func (f *Faults) Prune(ctx context.Context, key string) (int, error) {
	return optional(f, "Prune", key, func(p connectors.Pruner) (int, error) { return p.Prune(ctx, key) })
}

// MetadataOnly implements connectors.Comparer.
func (f *Faults) MetadataOnly(a, b string) bool {
	c, ok := f.Driver.(connectors.Comparer)
	return ok && c.MetadataOnly(a, b)
}

// Probe implements connectors.Prober.
func (f *Faults) Probe(ctx context.Context, prefix string) (connectors.Caps, error) {
	return optional(f, "Probe", prefix, func(p connectors.Prober) (connectors.Caps, error) { return p.Probe(ctx, prefix) })
}
