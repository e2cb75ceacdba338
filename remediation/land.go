package remediation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/workflow"
)

// A content is what is to lie at a destination, and how it gets there: write
// creates the key (ifVersion "") or replaces that version.
type content struct {
	size  int64
	sum   []byte
	write func(ctx context.Context, dst Storage, ifVersion string) (object.Info, error)
}

// land brings content to the step's key under its conflict rule, or finds that
// an earlier run did. The name it takes is durable before anything is written
// there, so a crash leaves no copy that the next run would not find.
func (r *run) land(ctx context.Context, i int, s *Step, c content) ([]Own, error) {
	dst, err := r.Storage(s.Unit)
	if fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.Unsupported, "remediation.Copy", s.Unit, err)
	}
	if err != nil {
		return nil, err
	}
	if !dst.Caps().FencedPut && !s.Unfenced {
		return nil, fault.New(fault.Unsupported, "remediation.Copy", s.Unit, errors.New("it cannot write without the risk of replacing another object"))
	}
	for range 2 * MaxCandidates { // each name once, and once more if somebody was faster
		at := object.Ref{Unit: s.Unit, Key: string(s.Key)}
		there, err := dst.Stat(ctx, at)
		free := fault.Is(err, fault.NotFound)
		if err != nil && !free {
			return nil, gone(err)
		}
		ifVersion := ""
		switch {
		case s.IfThere != "" && (free || there.Version == s.IfThere):
			// Where the vendor has no precondition, an interrupted run may have moved
			// it aside: only a call with the same names finds that.
			ifVersion = s.IfThere
		case !free:
			ours, err := r.ours(ctx, dst, s, there, c)
			if err != nil {
				return nil, err
			}
			if ours {
				r.tidy(ctx, dst, s, c)
				return r.landed(s, there, c), nil
			}
			if err := s.evade(); err != nil {
				return nil, err
			}
			continue
		}
		if err := r.claim(ctx, i, s); err != nil {
			return nil, err
		}
		info, err := c.write(ctx, dst, ifVersion)
		switch {
		case err == nil:
			info.Size = c.size
			return r.landed(s, info, c), nil
		case fault.Is(err, fault.Exists) && ifVersion != "" && free:
			s.IfThere = "" // it is gone indeed
		case fault.Is(err, fault.Exists) && free:
			// Taken since we looked, or by what Stat does not see (a folder). If it
			// is an object, the next round looks at it.
			if _, err := dst.Stat(ctx, at); fault.Is(err, fault.NotFound) {
				if err := s.evade(); err != nil {
					return nil, err
				}
			}
		default:
			return nil, err
		}
	}
	return nil, fault.New(fault.Exists, "remediation.Copy", s.Target().Unit, errors.New("names are taken faster than they are found"))
}

// claim makes the name durable.
func (r *run) claim(ctx context.Context, i int, s *Step) error {
	if s.Claimed {
		return nil
	}
	s.Claimed = true
	return r.record(ctx, i, *s, nil, false)
}

// evade takes the next name, if the conflict rule has one.
func (s *Step) evade() error {
	on := s.Unit + ":" + object.FormatKey(string(s.Key))
	switch {
	case s.Conflict == workflow.Overwrite:
		return replaced(s)
	case s.Conflict != workflow.Rename:
		return fault.New(fault.Exists, "remediation.Copy", on, errors.New("there is an object of this name already"))
	case len(s.Wanted) == 0:
		s.Wanted = s.Key
	}
	for n := range MaxCandidates - 1 {
		if Candidate(string(s.Wanted), n) == string(s.Key) {
			s.Key, s.Claimed = []byte(Candidate(string(s.Wanted), n+1)), false
			return nil
		}
	}
	return fault.New(fault.Exists, "remediation.Copy", on, fmt.Errorf("%d names like it are taken", MaxCandidates))
}

// replaced is the error of a destination that is not the one to be overwritten.
func replaced(s *Step) error {
	return fault.New(fault.Exists, "remediation.Copy", s.Unit+":"+object.FormatKey(string(s.Key)),
		errors.New("what was to be overwritten has been replaced since the plan was made"))
}

// ours reports whether what lies at the destination was put there by an earlier
// run of this step: it has the hash, and our entry's name or, where metadata is
// not kept, no entry's name under a key that we claimed.
func (r *run) ours(ctx context.Context, dst Storage, s *Step, there object.Info, c content) (bool, error) {
	entry, named := there.Meta[MetaEntry]
	if there.Size != c.size || entry != r.job.Entry && (named || !s.Claimed) {
		return false, nil
	}
	sum, err := hashOf(ctx, dst, object.Ref{Unit: s.Unit, Key: there.Key, Version: there.Version}, c.size)
	if err != nil {
		return false, lost(err)
	}
	return bytes.Equal(sum, c.sum), nil
}

// tidy lets a driver without a vendor's precondition clear away what an
// overwriting run moved aside before it was interrupted: it looks there before
// it reads, and there is nothing to read.
func (r *run) tidy(ctx context.Context, dst Storage, s *Step, c content) {
	if s.IfThere == "" {
		return
	}
	nothing := noBytes{}
	_, _ = dst.Put(ctx, string(s.Key), nothing, connectors.PutOptions{IfVersion: s.IfThere, Size: c.size, SHA256: c.sum, TempName: s.Aside})
}

type noBytes struct{}

func (noBytes) Read([]byte) (int, error) { return 0, errors.New("there is nothing to write") }

// landed notes what lies at the destination now.
func (r *run) landed(s *Step, info object.Info, c content) []Own {
	s.Version = info.Version
	return []Own{{Unit: s.Unit, Key: string(s.Key), Version: info.Version, Size: c.size, Sanitized: s.Action == Sanitized}}
}

// lost says of a destination that moved under our eyes that it is worth another
// try: NotFound and Changed speak of the source alone.
func lost(err error) error {
	if fault.Is(err, fault.NotFound, fault.Changed) {
		return fault.New(fault.Unavailable, "remediation.Copy", "", err)
	}
	return err
}

// gone says of a destination's error what a step must know: a bucket that is
// not there will not be there soon.
func gone(err error) error {
	if fault.Is(err, fault.NotFound) {
		return fault.New(fault.Invalid, "remediation.Copy", "", err)
	}
	return lost(err)
}

// The bounds of what a copy carries over; the narrowest are S3's.
const (
	maxMeta = 40
	maxTags = 10
)

// portable returns the pairs that every vendor can hold, in the order of their
// names up to n of them and size bytes, less ours. dropped counts the others.
func portable(pairs map[string]string, n, size int) (kept map[string]string, dropped int) {
	kept = map[string]string{}
	size -= 128 // for our own
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		v := pairs[name]
		switch {
		case strings.HasPrefix(name, "landwaiter-"):
		case len(kept) >= n, len(name)+len(v) > size, len(name) > 128, len(v) > 256 && n == maxTags, !printable(name), !printable(v):
			dropped++
		default:
			kept[name] = v
			size -= len(name) + len(v)
		}
	}
	return kept, dropped
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
