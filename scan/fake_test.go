package scan

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is an engine that really looks: it finds EICAR in content and in zips,
// within its limits. Beyond them it is silent unless loud.
type fake struct {
	lim      Limits
	loud     bool
	blind    bool // finds nothing
	nervous  bool // finds everything
	noZip    bool
	slow     time.Duration
	scans    atomic.Int64
	probes   atomic.Int64
	inFlight atomic.Int64
	peak     atomic.Int64

	mu     sync.Mutex
	err    error // of Scan
	down   error // of Probe and Scan
	health Health
}

func newFake() *fake {
	return &fake{lim: Limits{Size: 1 << 20, Expanded: 2 << 20, Depth: 3, Entries: 100}, loud: true, health: Health{Ready: true, Version: "1", Definitions: "d1", DefinedAt: time.Now()}}
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) Probe(context.Context) (Health, error) {
	f.probes.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.health
	h.Limits = f.lim
	return h, f.down
}

func (f *fake) Close() error { return nil }

func (f *fake) Scan(ctx context.Context, s Sample) (Report, error) {
	f.scans.Add(1)
	n := f.inFlight.Add(1)
	defer f.inFlight.Add(-1)
	for p := f.peak.Load(); n > p && !f.peak.CompareAndSwap(p, n); p = f.peak.Load() {
	}
	f.mu.Lock()
	err := errors.Join(f.err, f.down)
	if f.err != nil {
		err = f.err
	} else if f.down != nil {
		err = f.down
	}
	slow, blind := f.slow, f.blind
	f.mu.Unlock()
	if err != nil {
		return Report{}, err
	}
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return Report{}, ctx.Err()
		}
	}
	var content []byte
	if f.lim.Size > 0 && s.Size > f.lim.Size {
		content = nil // not looked at
		if f.loud {
			return Report{Verdict: NotScanned, Reason: TooLarge}, nil
		}
		if s.File == nil {
			r, err := s.Open(ctx)
			if err != nil {
				return Report{}, err
			}
			defer r.Close()
			if _, err := io.Copy(io.Discard, r); err != nil {
				return Report{}, err
			}
		}
	} else if s.File != nil {
		content, err = io.ReadAll(io.NewSectionReader(s.File, 0, s.Size))
	} else {
		var r io.ReadCloser
		if r, err = s.Open(ctx); err == nil {
			content, err = io.ReadAll(r)
			r.Close()
		}
	}
	if err != nil {
		return Report{}, err
	}
	l := &look{f: f}
	v, reason := l.at(content, 0)
	switch {
	case blind:
		v = Clean
	case f.nervous:
		v = Infected
	}
	rep := Report{Verdict: v, Reason: reason}
	if v == Infected {
		rep.Threat = "EICAR"
	}
	return rep, nil
}

// look is one object being looked at.
type look struct {
	f        *fake
	entries  int
	expanded int64
}

func (l *look) beyond(r Reason) (Verdict, Reason) {
	if l.f.loud {
		return NotScanned, r
	}
	return Clean, ""
}

func (l *look) at(content []byte, depth int) (Verdict, Reason) {
	lim := l.f.lim
	if bytes.Equal(content, eicar()) {
		return Infected, ""
	}
	z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil || l.f.noZip {
		return Clean, ""
	}
	if depth++; lim.Depth > 0 && depth > lim.Depth {
		return l.beyond(ArchiveDepth)
	}
	worst, why := Clean, Reason("")
	for _, m := range z.File {
		if l.entries++; lim.Entries > 0 && l.entries > lim.Entries {
			return l.beyond(ArchiveFiles)
		}
		if l.expanded += int64(m.UncompressedSize64); lim.Expanded > 0 && l.expanded > lim.Expanded {
			return l.beyond(ArchiveSize)
		}
		if lim.Size > 0 && int64(m.UncompressedSize64) > lim.Size {
			return l.beyond(TooLarge)
		}
		if m.Flags&1 != 0 {
			v, r := l.beyond(Encrypted)
			if Worse(worst, v) != worst {
				worst, why = v, r
			}
			continue
		}
		r, err := m.Open()
		if err != nil {
			return NotScanned, EngineError
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return NotScanned, EngineError
		}
		v, reason := l.at(b, depth)
		if Worse(worst, v) != worst {
			worst, why = v, reason
		}
	}
	return worst, why
}

// batcher is a fake that is a Batcher, too.
type batcher struct {
	*fake
	submitted atomic.Int64
	wg        sync.WaitGroup
}

func (b *batcher) Submit(ctx context.Context, s Sample, done func(Report, error)) error {
	b.submitted.Add(1)
	b.wg.Go(func() { done(b.Scan(ctx, s)) })
	return nil
}

func (b *batcher) Close() error { b.wg.Wait(); return nil }

// stream and file make samples.
func stream(content []byte) Sample {
	return Sample{Name: "a", Size: int64(len(content)), Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}}
}

func file(t *testing.T, content []byte) Sample {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	s := stream(content)
	s.File = f
	return s
}

func zipOf(t *testing.T, write func(io.Writer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// running runs a pool in a bubble of fake time and waits until it has settled.
func running(t *testing.T, o PoolOptions, test func(context.Context, *Pool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		p := NewPool(o)
		ended := make(chan error)
		go func() { ended <- p.Run(ctx) }()
		synctest.Wait()
		test(ctx, p)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}
