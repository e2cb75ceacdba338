package remediation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/scan"
)

// A Storage is what the executor needs of an open unit; *connectors.Storage is one.
type Storage interface {
	Caps() connectors.Caps
	Stat(ctx context.Context, ref object.Ref) (object.Info, error)
	Open(ctx context.Context, ref object.Ref, offset int64) (connectors.Reader, error)
	Put(ctx context.Context, key string, r io.Reader, opt connectors.PutOptions) (object.Info, error)
	Copy(ctx context.Context, src object.Ref, key string, opt connectors.PutOptions) (object.Info, error)
	Remove(ctx context.Context, ref object.Ref, f connectors.Fence) (connectors.Removed, error)
	Tags(ctx context.Context, ref object.Ref) (map[string]string, error)
	Tag(ctx context.Context, ref object.Ref, set map[string]string) (object.Info, error)
	Prune(ctx context.Context, key string) (removed int, err error)
	MetadataOnly(a, b string) bool
}

// A Vault keeps objects neutralised. Store writes one durably before it returns
// its version; r yields exactly c.Size bytes or fails. What an earlier run of
// the same step stored is found and not stored twice.
type Vault interface {
	Store(ctx context.Context, c Caught, r io.Reader) (version string, err error)
}

// A Caught object is what a Vault keeps, and what is known of it.
type Caught struct {
	Name        string // under which the vault keeps it: Step.Key
	TempName    string // for a driver that needs one: Step.Aside
	Entry       string
	Unit        string
	Key         string
	Version     string
	Size        int64
	SHA256      []byte
	ContentType string
	ModTime     time.Time
	Meta        map[string]string
	Tags        map[string]string
	Verdict     scan.Verdict
	Threat      string
	At          time.Time
	Expiry      time.Time // zero = kept until purged
}

// A Job is a plan to carry out and what it is about. Run changes the steps in
// Plan.
type Job struct {
	Entry       string // id
	Unit        string
	Key         string
	Version     string // that was scanned
	Size        int64  // bytes that were scanned
	SHA256      []byte // of the bytes that were scanned
	ContentType string // "" = as the storage says when the source is opened
	Report      scan.Report
	Verdict     scan.Verdict
	Plan        Plan
	// Lease is until when, by the monotonic clock, the entry is ours to work on;
	// it is asked again and again, since it is renewed. Nil: for ever.
	Lease func() time.Time
}

// An Own is a version that a step produced: it guards against our own events.
type Own struct {
	Unit    string
	Key     string
	Version string
	Size    int64
	Gone    bool // the step removed the key
	// Sanitized: the key holds a disarmed copy, which nobody scanned: the entry's
	// verdict is not its own.
	Sanitized bool
}

// A Journal makes a step's state durable. Step is called after each effect and
// before the next, with Job.Plan as it is now; release says that the keys in own
// need no longer be held.
type Journal interface {
	Step(ctx context.Context, i int, own []Own, release bool) error
}

// An Executor carries out plans. It is safe for concurrent use; its fields must
// not change while it is used.
type Executor struct {
	Storage   func(unit string) (Storage, error) // fault.NotFound: there is no such unit
	Vault     Vault                              // nil: quarantine is refused
	Sanitizer scan.Sanitizer                     // nil: sanitised copies are refused
	// Timeout bounds a step, beside the time that its bytes take at 256 KiB/s. A
	// step starts only while the lease outlasts it. 0 = 10 s.
	Timeout time.Duration
	Now     func() time.Time // nil = time.Now
}

// Run does the open steps of job.Plan in order. It may be called again after an
// error or a crash at any point: what was done is found and not done twice.
//
// It returns nil when no step is open any more; a step that failed for good ends
// the plan (Plan.Failure), one that cannot be done safely is refused and the
// plan goes on, but what relies on it is refused too. fault.Changed and
// fault.NotFound mean that the source is not, or no longer, what was scanned:
// the steps done stay. fault.Stale means that the lease or the journal is no
// longer ours. All other errors are worth another try.
func (x *Executor) Run(ctx context.Context, job Job, journal Journal) error {
	if !job.Plan.Open() {
		return nil
	}
	if len(job.SHA256) != 32 || job.Size < 0 || job.Version == "" {
		return fault.New(fault.Internal, "remediation.Run", job.Entry, errors.New("a plan needs the version, size and SHA-256 that were scanned"))
	}
	src, err := x.Storage(job.Unit)
	if fault.Is(err, fault.NotFound) { // the unit, not the object
		return fault.New(fault.Unavailable, "remediation.Run", job.Unit, err)
	}
	if err != nil {
		return err
	}
	r := &run{Executor: x, job: job, journal: journal, src: src, version: job.Plan.SourceVersion(job.Version)}
	for i := range job.Plan {
		if job.Plan[i].State != Planned {
			continue
		}
		if err := r.step(ctx, i); err != nil {
			return err
		}
		if job.Plan[i].State == Failed {
			return nil
		}
	}
	return nil
}

// A run is one call of Run.
type run struct {
	*Executor
	job     Job
	journal Journal
	src     Storage
	version string // the token that the source has now
}

// ref names the source as the last step left it.
func (r *run) ref() object.Ref {
	return object.Ref{Unit: r.job.Unit, Key: r.job.Key, Version: r.version}
}

// step does one step and records what came of it.
func (r *run) step(ctx context.Context, i int) error {
	s := r.job.Plan[i]
	own, err := r.leased(ctx, s, func(ctx context.Context) ([]Own, error) {
		switch s.Action {
		case Tag:
			return r.tag(ctx, &s)
		case Copy:
			return r.copy(ctx, i, &s)
		case Sanitized:
			return r.sanitized(ctx, i, &s)
		case Put:
			return r.quarantine(ctx, &s)
		case Remove:
			return r.remove(ctx, i, &s)
		case Prune:
			return r.prune(ctx, &s)
		}
		return nil, fault.New(fault.Unsupported, "remediation.Run", string(s.Action), errors.New("unknown step"))
	})
	if err == nil {
		if s.State == Planned {
			s.State = Done
		}
		// The source's key stays held while steps on it may follow.
		return r.record(ctx, i, s, own, s.Action != Tag)
	}
	switch kind := fault.KindOf(err); {
	case fault.Canceled(err):
		return err
	case kind == fault.Unsupported, s.Action == Tag && (kind == fault.Denied || kind == fault.Invalid):
		// A tag that cannot be written must not keep a threat from being put away.
		s.State = Refused
	case kind == fault.Denied, kind == fault.Invalid, kind == fault.Exists, kind == fault.Corrupt:
		s.State = Failed
	default:
		return err
	}
	s.Detail = cut(err.Error(), 1000)
	return r.record(ctx, i, s, nil, false)
}

// record makes the step's state durable. Without that it did not happen: the
// next run finds the effect by itself.
func (r *run) record(ctx context.Context, i int, s Step, own []Own, release bool) error {
	before := append(Plan(nil), r.job.Plan[i:]...)
	r.job.Plan[i] = s
	if s.State == Failed {
		for j := i + 1; j < len(r.job.Plan); j++ {
			if left := &r.job.Plan[j]; left.State == Planned {
				left.State, left.Detail = Skipped, "not done, because an earlier step failed"
			}
		}
	}
	if err := r.journal.Step(ctx, i, own, release); err != nil {
		copy(r.job.Plan[i:], before)
		return fmt.Errorf("record step %d: %w", i, err)
	}
	return nil
}

// now returns the time.
func (r *run) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}
