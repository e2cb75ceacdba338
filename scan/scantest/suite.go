// Package scantest is the contract of scan.Engine as a suite: each engine's
// tests run it against the real thing. Its rule above all: what was not
// scanned in full is never clean.
package scantest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/scan"
)

// A Harness says how to get an engine.
type Harness struct {
	// Open returns an engine that is ready and knows EICAR. The suite closes it.
	Open func(t *testing.T) scan.Engine
	// Within bounds one scan of a small object; default 10 s.
	Within time.Duration
}

// EICAR returns the test file that every engine knows, put together at run time.
func EICAR() []byte {
	return []byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!" + `$H+H*`)
}

// Benign returns n bytes that are nothing, other ones each time.
func Benign(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz \n"[rand.IntN(28)]
	}
	return b
}

// Stream returns a sample that can only be read through Open.
func Stream(content []byte) scan.Sample {
	return scan.Sample{Name: "sample.bin", Size: int64(len(content)), Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}}
}

// File returns a sample in a local file that is open until the test ends.
func File(t testing.TB, content []byte) scan.Sample {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sample.bin")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return scan.Sample{Name: "sample.bin", Size: int64(len(content)), File: f, Open: func(context.Context) (io.ReadCloser, error) {
		return os.Open(path)
	}}
}

// Run tests the engine of h against the contract.
func Run(t *testing.T, h Harness) {
	if h.Within <= 0 {
		h.Within = 10 * time.Second
	}
	for _, c := range []struct {
		name string
		test func(suite, *testing.T)
	}{
		{"probe", suite.probe}, {"verdicts", suite.verdicts}, {"empty", suite.empty},
		{"broken readers", suite.readers}, {"cancel before", suite.canceled}, {"cancel while reading", suite.canceledReading},
		{"concurrent", suite.concurrent}, {"submit", suite.submit}, {"canaries", suite.canaries}, {"close", suite.close},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := suite{h: h, engine: h.Open(t)}
			defer func() {
				if err := s.engine.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			c.test(s, t)
		})
	}
}

type suite struct {
	h      Harness
	engine scan.Engine
}

func (s suite) scan(t *testing.T, smp scan.Sample) (scan.Report, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), s.h.Within)
	defer cancel()
	return s.engine.Scan(ctx, smp)
}

func (s suite) probe(t *testing.T) {
	h, err := s.engine.Probe(context.Background())
	if err != nil || !h.Ready {
		t.Fatalf("Probe = %+v, %v; want ready", h, err)
	}
	if h.Load < 0 || h.Load > 1 {
		t.Errorf("load %v is not within 0 … 1", h.Load)
	}
}

func (s suite) verdicts(t *testing.T) {
	for _, c := range []struct {
		name string
		smp  scan.Sample
		want scan.Verdict
	}{
		{"EICAR as a stream", Stream(EICAR()), scan.Infected},
		{"EICAR as a file", File(t, EICAR()), scan.Infected},
		{"text as a stream", Stream(Benign(4 << 10)), scan.Clean},
		{"text as a file", File(t, Benign(4<<10)), scan.Clean},
		{"one byte", Stream([]byte{'x'}), scan.Clean},
		{"3 MiB as a stream", Stream(Benign(3 << 20)), scan.Clean},
		{"3 MiB as a file", File(t, Benign(3<<20)), scan.Clean},
		{"a chunk to the byte", Stream(Benign(128 << 10)), scan.Clean},
	} {
		rep, err := s.scan(t, c.smp)
		if err != nil || rep.Verdict != c.want {
			t.Errorf("%s: %s (%s), %v; want %s", c.name, rep.Verdict, rep.Reason, err, c.want)
			continue
		}
		if c.want == scan.Infected && (rep.Threat == "" || rep.Code != 1) {
			t.Errorf("%s: threat %q, code %d; want a name and 1", c.name, rep.Threat, rep.Code)
		}
		if rep.Engine == "" {
			t.Errorf("%s: the report does not name its engine", c.name)
		}
	}
}

// empty objects hold nothing: clean, or refused with a reason.
func (s suite) empty(t *testing.T) {
	for _, smp := range []scan.Sample{Stream(nil), File(t, nil)} {
		rep, err := s.scan(t, smp)
		if err == nil && rep.Verdict != scan.Clean && (rep.Verdict != scan.NotScanned || rep.Reason == "") {
			t.Errorf("an empty object is %s (%s), want clean or not_scanned", rep.Verdict, rep.Reason)
		}
	}
}

var errReader = errors.New("the storage went away")

// failing yields n bytes of content, then err.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if errors.Is(err, io.EOF) {
		err = f.err
	}
	return n, err
}

func (f *failing) Close() error { return nil }

func (s suite) readers(t *testing.T) {
	body := Benign(300 << 10)
	for _, c := range []struct {
		name string
		open func(context.Context) (io.ReadCloser, error)
		want error
	}{
		{"fails at open", func(context.Context) (io.ReadCloser, error) { return nil, errReader }, errReader},
		{"fails at once", func(context.Context) (io.ReadCloser, error) {
			return &failing{bytes.NewReader(nil), errReader}, nil
		}, errReader},
		{"fails in the middle", func(context.Context) (io.ReadCloser, error) {
			return &failing{bytes.NewReader(body[:200<<10]), errReader}, nil
		}, errReader},
		{"fails at the last byte", func(context.Context) (io.ReadCloser, error) {
			return &failing{bytes.NewReader(body[:len(body)-1]), errReader}, nil
		}, errReader},
		{"ends early", func(context.Context) (io.ReadCloser, error) {
			return &failing{bytes.NewReader(body[:200<<10]), io.EOF}, nil
		}, nil},
		{"goes on", func(context.Context) (io.ReadCloser, error) {
			return &failing{io.MultiReader(bytes.NewReader(body), bytes.NewReader(body)), io.EOF}, nil
		}, nil},
	} {
		rep, err := s.scan(t, scan.Sample{Name: "a", Size: int64(len(body)), Open: c.open})
		switch {
		case err == nil && rep.Verdict != scan.NotScanned:
			t.Errorf("reader that %s: %s, want an error", c.name, rep.Verdict)
		case c.want != nil && !errors.Is(err, c.want):
			t.Errorf("reader that %s: %v, want its own error", c.name, err)
		}
	}
	if rep, err := s.scan(t, Stream(EICAR())); err != nil || rep.Verdict != scan.Infected {
		t.Errorf("after that EICAR is %s, %v", rep.Verdict, err)
	}
}

func (s suite) canceled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, smp := range []scan.Sample{Stream(EICAR()), File(t, EICAR())} {
		if rep, err := s.engine.Scan(ctx, smp); !errors.Is(err, context.Canceled) {
			t.Errorf("Scan of a canceled context = %s, %v", rep.Verdict, err)
		}
	}
}

// blocking yields one part of the content and then waits for the context.
type blocking struct {
	ctx     context.Context
	content io.Reader
	blocked chan struct{}
	once    sync.Once
}

func (b *blocking) Read(p []byte) (int, error) {
	if n, err := b.content.Read(p); err == nil {
		return n, nil
	}
	b.once.Do(func() { close(b.blocked) })
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

func (b *blocking) Close() error { return nil }

// canceledReading ends one scan in its middle; others must not notice.
func (s suite) canceledReading(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	blocked := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		_, err := s.engine.Scan(ctx, scan.Sample{Name: "slow", Size: 4 << 20, Open: func(ctx context.Context) (io.ReadCloser, error) {
			return &blocking{ctx: ctx, content: bytes.NewReader(Benign(1 << 20)), blocked: blocked}, nil
		}})
		ended <- err
	}()
	<-blocked
	if rep, err := s.scan(t, Stream(EICAR())); err != nil || rep.Verdict != scan.Infected {
		t.Errorf("beside a slow reader EICAR is %s, %v", rep.Verdict, err)
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("canceled scan = %v", err)
		}
	case <-time.After(s.h.Within):
		t.Fatal("a canceled scan goes on")
	}
	if rep, err := s.scan(t, File(t, Benign(1000))); err != nil || rep.Verdict != scan.Clean {
		t.Errorf("after a cancel text is %s, %v", rep.Verdict, err)
	}
}

// mixed returns sample i of a mixture, and what is to become of it; None means
// the reader's own error.
func mixed(t *testing.T, i int) (scan.Sample, scan.Verdict) {
	switch i % 5 {
	case 0:
		return Stream(EICAR()), scan.Infected
	case 1:
		return File(t, EICAR()), scan.Infected
	case 2:
		return Stream(Benign(i * 1000)), scan.Clean
	case 3:
		return File(t, Benign(1+i*1000)), scan.Clean
	}
	return scan.Sample{Name: "broken", Size: 100_000, Open: func(context.Context) (io.ReadCloser, error) {
		return &failing{bytes.NewReader(Benign(i * 1000)), errReader}, nil
	}}, scan.None
}

func judge(got scan.Report, err error, want scan.Verdict) error {
	switch {
	case want == scan.None && !errors.Is(err, errReader):
		return fmt.Errorf("got %s, %w; want the reader's error", got.Verdict, err)
	case want != scan.None && (err != nil || got.Verdict != want):
		return fmt.Errorf("got %s (%s), %w; want %s", got.Verdict, got.Reason, err, want)
	}
	return nil
}

func (s suite) concurrent(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 64 {
		smp, want := mixed(t, i)
		wg.Go(func() {
			for range 3 {
				ctx, cancel := context.WithTimeout(context.Background(), 6*s.h.Within)
				rep, err := s.engine.Scan(ctx, smp)
				cancel()
				if err := judge(rep, err, want); err != nil {
					t.Errorf("sample %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
}

// submit holds the same for an engine that takes samples without waiting: done
// is called once for each.
func (s suite) submit(t *testing.T) {
	b, ok := s.engine.(scan.Batcher)
	if !ok {
		t.Skip("the engine is no scan.Batcher")
	}
	type end struct {
		i   int
		rep scan.Report
		err error
	}
	const n = 100
	ends, wants := make(chan end, 2*n), make([]scan.Verdict, n)
	for i := range n {
		var smp scan.Sample
		smp, wants[i] = mixed(t, i)
		if err := b.Submit(context.Background(), smp, func(rep scan.Report, err error) { ends <- end{i, rep, err} }); err != nil {
			t.Fatal(err)
		}
	}
	seen := make([]bool, n)
	for range n {
		select {
		case e := <-ends:
			if seen[e.i] {
				t.Errorf("done was called twice for sample %d", e.i)
			}
			seen[e.i] = true
			if err := judge(e.rep, e.err, wants[e.i]); err != nil {
				t.Errorf("sample %d: %v", e.i, err)
			}
		case <-time.After(6 * s.h.Within):
			t.Fatal("done is missing for some samples")
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	called := make(chan error, 1)
	if err := b.Submit(ctx, File(t, EICAR()), func(_ scan.Report, err error) { called <- err }); err == nil {
		err = <-called
		if !errors.Is(err, context.Canceled) {
			t.Errorf("submitted with a canceled context: %v", err)
		}
	}
}

// canaries: the engine must be fit for a pool.
func (s suite) canaries(t *testing.T) {
	h, err := s.engine.Probe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	proof, err := scan.Prove(context.Background(), s.engine, h.Limits)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range proof.Results {
		t.Logf("%-9s %-7s %d %s", r.Case, r.Outcome, r.Bound, r.Detail)
	}
	t.Logf("took %v", proof.Took)
}

// close: a closed engine has no verdicts.
func (s suite) close(t *testing.T) {
	if err := s.engine.Close(); err != nil {
		t.Fatal(err)
	}
	for _, smp := range []scan.Sample{Stream(Benign(10)), File(t, Benign(10))} {
		if rep, err := s.scan(t, smp); err == nil && rep.Verdict != scan.NotScanned {
			t.Errorf("a closed engine says %s", rep.Verdict)
		}
	}
}
