package connectors

import (
	"context"
	"errors"
	"io"
	"maps"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Put writes an object, see Putter. It is repeated only where the vendor
// refused the call before a byte of r was read, or r can be rewound.
func (s *Storage) Put(ctx context.Context, key string, r io.Reader, opt PutOptions) (info object.Info, err error) {
	d, ok := s.driver.(Putter)
	if !ok || !s.caps.Put {
		return info, s.unsupported("Put", ok)
	}
	in := &source{r: r}
	err = s.do(ctx, "Put", refused, func(int) error {
		if err := in.rewind(); err != nil {
			return err
		}
		info, err = d.Put(ctx, key, in.reader(), opt)
		if err != nil && !in.canRewind() {
			return final{err}
		}
		return err
	})
	s.obs.Observe(Call{Unit: s.unit.Name, Op: "Write", Err: err, Bytes: in.n})
	return info, err
}

// Copy copies within the unit, see Copier.
func (s *Storage) Copy(ctx context.Context, src object.Ref, key string, opt PutOptions) (info object.Info, err error) {
	d, ok := s.driver.(Copier)
	if !ok || !s.caps.Copy {
		return info, s.unsupported("Copy", ok)
	}
	err = s.do(ctx, "Copy", refused, func(int) error {
		info, err = d.Copy(ctx, src, key, opt)
		return err
	})
	return info, err
}

// Remove deletes exactly ref.Version, see Remover. Where the vendor cannot make
// it conditional it is refused, unless the unit allows unfenced acts: then
// Removed says so. An object that is gone when an unclear earlier try is
// repeated counts as removed by it.
func (s *Storage) Remove(ctx context.Context, ref object.Ref, f Fence) (rem Removed, err error) {
	d, ok := s.driver.(Remover)
	if !ok || !s.caps.Remove {
		return rem, s.unsupported("Remove", ok)
	}
	if ref.Version == "" {
		return rem, fault.New(fault.Invalid, "connectors.Remove", ref.String(), errors.New("no version named"))
	}
	if !s.caps.FencedRemove && !s.unit.Unfenced {
		return rem, fault.New(fault.Unsupported, "connectors.Remove", ref.String(), errors.New(
			"the storage cannot make a removal conditional on the version that was scanned; "+
				"the unit may say \"unfenced: true\" to remove all the same"))
	}
	err = s.do(ctx, "Remove", transient, func(try int) error {
		rem, err = d.Remove(ctx, ref, f)
		if try > 0 && fault.Is(err, fault.NotFound) {
			rem, err = Removed{Already: true}, nil
		}
		return err
	})
	if err == nil && !s.caps.FencedRemove {
		rem.Unfenced = true
	}
	return rem, err
}

// Tags reads the tags of ref, see Tagger.
func (s *Storage) Tags(ctx context.Context, ref object.Ref) (tags map[string]string, err error) {
	d, ok := s.driver.(Tagger)
	if !ok {
		return nil, s.unsupported("Tags", ok)
	}
	err = s.do(ctx, "Tags", transient, func(int) error {
		tags, err = d.Tags(ctx, ref)
		return err
	})
	return tags, err
}

// Tag merges set into the tags of ref, see Tagger. Only a refused call is
// repeated: an unclear one may have moved the version token.
func (s *Storage) Tag(ctx context.Context, ref object.Ref, set map[string]string) (info object.Info, err error) {
	d, ok := s.driver.(Tagger)
	if !ok || !s.caps.Tag {
		return info, s.unsupported("Tag", ok)
	}
	err = s.do(ctx, "Tag", refused, func(int) error {
		info, err = d.Tag(ctx, ref, set)
		return err
	})
	return info, err
}

// Prune removes folders that are empty above key, see Pruner.
func (s *Storage) Prune(ctx context.Context, key string) (removed int, err error) {
	d, ok := s.driver.(Pruner)
	if !ok || !s.caps.Prune {
		return 0, s.unsupported("Prune", ok)
	}
	err = s.do(ctx, "Prune", transient, func(int) error {
		n, err := d.Prune(ctx, key)
		removed += n
		return err
	})
	return removed, err
}

// A source is what a Put reads: it knows whether it can start again.
type source struct {
	r    io.Reader
	n    int64 // bytes read since the last rewind
	from int64 // where a seekable r began
	seen bool
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	return n, err
}

// reader hides WriterTo and the like, but shows Seek where r has it: SDKs size
// and sign a body by seeking.
func (s *source) reader() io.Reader {
	if sk, ok := s.r.(io.Seeker); ok {
		return struct {
			io.Reader
			io.Seeker
		}{s, sk}
	}
	return s
}

func (s *source) canRewind() bool {
	_, ok := s.r.(io.Seeker)
	return ok || s.n == 0
}

func (s *source) rewind() (err error) {
	sk, ok := s.r.(io.Seeker)
	switch {
	case !ok:
		return nil
	case !s.seen:
		s.seen = true
		s.from, err = sk.Seek(0, io.SeekCurrent)
		return err
	}
	s.n = 0
	_, err = sk.Seek(s.from, io.SeekStart)
	return err
}

// MergeTags returns old with set in it; "" removes a key.
func MergeTags(old, set map[string]string) map[string]string {
	m := maps.Clone(old)
	if m == nil {
		m = make(map[string]string, len(set))
	}
	for k, v := range set {
		if v == "" {
			delete(m, k)
		} else {
			m[k] = v
		}
	}
	return m
}
