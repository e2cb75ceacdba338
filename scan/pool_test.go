package scan

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

func unavailable() error { return fault.New(fault.Unavailable, "fake", "", nil) }

func throttled(after time.Duration) error {
	return &fault.Error{Op: "fake", Kind: fault.Throttled, After: after}
}

func instances(engines ...Engine) []*Instance {
	var ins []*Instance
	for i, e := range engines {
		ins = append(ins, &Instance{Name: string(rune('a' + i)), Engine: e})
	}
	return ins
}

func TestPoolFailsOver(t *testing.T) {
	a, b := newFake(), newFake()
	running(t, PoolOptions{Name: "p", Instances: instances(a, b)}, func(ctx context.Context, p *Pool) {
		if !p.Ready() {
			t.Fatalf("not ready: %+v", p.Status())
		}
		a.set(func() { a.err = unavailable() })
		for range 50 {
			if rep, err := p.Scan(ctx, stream(eicar())); err != nil || rep.Verdict != Infected || rep.Engine != "b" {
				t.Fatalf("%s by %s, %v", rep.Verdict, rep.Engine, err)
			}
		}
		st := p.Status()
		if st.Instances[0].Breaker != "open" || st.Instances[0].Failed != tripAfter || !st.Ready {
			t.Errorf("after 50 scans: %+v", st.Instances[0])
		}
		before := a.scans.Load()
		time.Sleep(time.Minute) // its probes are good, its canaries fail: it stays out
		if st := p.Status().Instances[0]; st.Ready || st.Breaker != "open" {
			t.Errorf("a is back: %+v", st)
		}
		t.Logf("canaries of an engine that answers probes only: %d a minute", a.scans.Load()-before)
		a.set(func() { a.err = nil })
		time.Sleep(time.Minute)
		if st := p.Status().Instances[0]; !st.Ready || st.Breaker != "closed" {
			t.Errorf("a is not back: %+v", st)
		}
	})
}

func TestPoolFailover(t *testing.T) {
	a, spare := newFake(), newFake()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		second := NewPool(PoolOptions{Name: "second", Instances: instances(spare)})
		first := NewPool(PoolOptions{Name: "first", Instances: instances(a), Failover: second})
		var wg sync.WaitGroup
		wg.Go(func() { first.Run(ctx) })
		wg.Go(func() { second.Run(ctx) })
		synctest.Wait()
		if got := first.Definitions(); got != "1/d1,failover:1/d1" {
			t.Errorf("definitions %q", got)
		}
		a.set(func() { a.down = unavailable() })
		for range 20 {
			if rep, err := first.Scan(ctx, stream(eicar())); err != nil || rep.Verdict != Infected {
				t.Fatalf("%s, %v", rep.Verdict, err)
			}
		}
		time.Sleep(10 * time.Second)
		if !first.Ready() || first.Status().Instances[0].Ready {
			t.Error("the failover pool does not make the first one ready")
		}
		done := make(chan error, 1)
		if err := first.Submit(ctx, stream(eicar()), func(_ Report, err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		spare.set(func() { spare.down = unavailable() })
		time.Sleep(10 * time.Second)
		if first.Ready() {
			t.Error("ready with nobody there")
		}
		_, err := first.Scan(ctx, stream(eicar()))
		if !fault.Is(err, fault.Unavailable) || fault.ReasonOf(err) != string(EngineUnavailable) {
			t.Errorf("with nobody there: %v", err)
		}
		woke := make(chan error, 1)
		go func() { woke <- first.Wait(ctx) }()
		synctest.Wait()
		spare.set(func() { spare.down = nil })
		if err := <-woke; err != nil {
			t.Error(err)
		}
		cancel()
		wg.Wait()
		first.Close()
		second.Close()
	})
}

// TestPoolSettles: after a start the failover pool waits for instances that
// have not proven themselves yet, until they have, have failed to, or the bound.
func TestPoolSettles(t *testing.T) {
	for name, c := range map[string]struct {
		slow time.Duration // of each canary
		down bool
		busy bool // good probes, no canaries
		by   string
		most time.Duration
	}{
		"slow to prove": {slow: 100 * time.Millisecond, by: "a", most: 24 * time.Second},
		"down":          {down: true, by: "spare"},
		"never ready":   {slow: time.Hour, by: "spare", most: settleWithin},
		"busy":          {busy: true, by: "spare", most: settleWithin},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(context.Background())
				a := newFake()
				a.slow = c.slow
				if c.down {
					a.down = unavailable()
				}
				if c.busy {
					a.err = throttled(0)
				}
				second := NewPool(PoolOptions{Name: "second", Instances: []*Instance{{Name: "spare", Engine: newFake()}}})
				time.Sleep(time.Hour) // units that are slow to open do not use up the bound
				first := NewPool(PoolOptions{Name: "first", Instances: instances(a), Failover: second})
				var wg sync.WaitGroup
				wg.Go(func() { second.Run(ctx) })
				synctest.Wait()
				began := time.Now()
				wg.Go(func() { first.Run(ctx) })
				scanned := make(chan string, 2)
				wg.Go(func() {
					rep, err := first.Scan(ctx, stream([]byte("x")))
					if err != nil {
						t.Error(err)
					}
					scanned <- rep.Engine
				})
				wg.Go(func() {
					err := first.Submit(ctx, stream([]byte("x")), func(rep Report, err error) { scanned <- rep.Engine })
					if err != nil {
						t.Error(err)
					}
				})
				synctest.Wait()
				if st := first.Status(); st.Ready != c.down || st.Clears != c.down {
					t.Errorf("right after the start: %+v", st)
				}
				if err := first.Wait(ctx); err != nil || !first.Ready() {
					t.Error(err)
				}
				if took := time.Since(began); took > c.most || c.most == settleWithin && took < c.most {
					t.Errorf("ready after %v", took)
				}
				for range 2 {
					if by := <-scanned; by != c.by {
						t.Errorf("scanned by %q, want %q", by, c.by)
					}
				}
				cancel()
				wg.Wait()
				first.Close()
				second.Close()
			})
		})
	}
}

func TestPoolThrottled(t *testing.T) {
	a := newFake()
	running(t, PoolOptions{Name: "p", Instances: instances(a)}, func(ctx context.Context, p *Pool) {
		a.set(func() { a.err = throttled(time.Minute) })
		began := time.Now()
		if _, err := p.Scan(ctx, stream(eicar())); !fault.Is(err, fault.Throttled) || fault.AfterOf(err) != time.Minute {
			t.Errorf("throttled: %v", err)
		}
		if p.Ready() {
			t.Error("ready though the engine asked for a pause")
		}
		if st := p.Status().Instances[0]; st.Limit != 32 || st.Until.Sub(began) != time.Minute {
			t.Errorf("limit %d until %v", st.Limit, st.Until)
		}
		if _, err := p.Scan(ctx, stream(eicar())); !fault.Is(err, fault.Throttled) || fault.AfterOf(err) <= 0 {
			t.Errorf("in the pause: %v", err)
		}
		asked := a.scans.Load()
		a.set(func() { a.err = nil })
		if err := p.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited != time.Minute || a.scans.Load() != asked {
			t.Errorf("waited %v, asked %d times meanwhile", waited, a.scans.Load()-asked)
		}
		if rep, err := p.Scan(ctx, stream(eicar())); err != nil || rep.Verdict != Infected {
			t.Errorf("after the pause: %s, %v", rep.Verdict, err)
		}
		// Without a time, every refusal halves the load, once a second at most.
		a.set(func() { a.err = throttled(0) })
		for range 10 {
			_, _ = p.Scan(ctx, stream(eicar()))
		}
		if st := p.Status().Instances[0]; st.Limit != 16 || !st.Ready {
			t.Errorf("limit %d, ready %v; want 16 and true", st.Limit, st.Ready)
		}
		for range 20 {
			time.Sleep(time.Second)
			_, _ = p.Scan(ctx, stream(eicar()))
		}
		if st := p.Status().Instances[0]; st.Limit != 1 {
			t.Errorf("limit %d, want 1", st.Limit)
		}
		a.set(func() { a.err = nil })
		for range 5000 {
			_, _ = p.Scan(ctx, stream([]byte("x")))
		}
		if st := p.Status().Instances[0]; st.Limit != 64 {
			t.Errorf("limit %d, want 64 again", st.Limit)
		}
	})
}

func TestPoolLimits(t *testing.T) {
	a, b := newFake(), newFake()
	ins := instances(a, b)
	ins[0].Limit, ins[1].Limit = 3, 5
	running(t, PoolOptions{Name: "p", Instances: ins}, func(ctx context.Context, p *Pool) {
		a.set(func() { a.slow = time.Second })
		b.set(func() { b.slow = time.Second })
		began := time.Now()
		var wg sync.WaitGroup
		for range 80 {
			wg.Go(func() {
				if rep, err := p.Scan(ctx, stream(eicar())); err != nil || rep.Verdict != Infected {
					t.Errorf("%s, %v", rep.Verdict, err)
				}
			})
		}
		synctest.Wait()
		if st := p.Status(); st.Waiting != 72 || st.Instances[0].InFlight != 3 || st.Instances[1].InFlight != 5 {
			t.Errorf("%d wait, %d and %d in flight", st.Waiting, st.Instances[0].InFlight, st.Instances[1].InFlight)
		}
		cctx, cancel := context.WithTimeout(ctx, time.Millisecond)
		if _, err := p.Scan(cctx, stream(eicar())); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting past its time: %v", err)
		}
		cancel()
		wg.Wait()
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("80 scans of a second, 8 at once, took %v", took)
		}
		if a.peak.Load() != 3 || b.peak.Load() != 5 {
			t.Errorf("at most %d and %d at once", a.peak.Load(), b.peak.Load())
		}
		if st := p.Status(); st.Waiting != 0 || st.Instances[0].InFlight != 0 {
			t.Errorf("left behind: %+v", st)
		}
	})
}

func TestUselessEngineIsNeverReady(t *testing.T) {
	for _, e := range []*fake{{blind: true}, {nervous: true}} {
		e.health = Health{Ready: true}
		running(t, PoolOptions{Name: "p", Instances: instances(e)}, func(ctx context.Context, p *Pool) {
			for range 60 {
				time.Sleep(time.Minute)
				if rep, err := p.Scan(ctx, stream(eicar())); p.Ready() || err == nil {
					t.Fatalf("ready: %s", rep.Verdict)
				}
			}
			if p.Status().Instances[0].Detail == "" {
				t.Error("no word why")
			}
			t.Logf("canaries a minute: %.1f", float64(e.scans.Load())/60)
		})
	}
}

// TestEngineTurnsBlind: bad definitions are noticed, new ones at once, by the
// hour otherwise.
func TestEngineTurnsBlind(t *testing.T) {
	a := newFake()
	running(t, PoolOptions{Name: "p", Instances: instances(a)}, func(ctx context.Context, p *Pool) {
		a.set(func() { a.blind, a.health.Definitions = true, "d2" })
		time.Sleep(10 * time.Second)
		if p.Ready() {
			t.Error("ready with blind definitions")
		}
		a.set(func() { a.blind, a.health.Definitions = false, "d3" })
		time.Sleep(10 * time.Second)
		if !p.Ready() || p.Definitions() != "1/d3" {
			t.Errorf("ready %v with %q", p.Ready(), p.Definitions())
		}
		a.set(func() { a.blind = true })
		time.Sleep(time.Hour + 10*time.Second)
		if p.Ready() {
			t.Error("ready an hour after it turned blind")
		}
	})
}

func TestDefinitions(t *testing.T) {
	a, b, mute := newFake(), newFake(), newFake()
	b.health.Definitions = "d0"
	mute.health.Definitions = ""
	running(t, PoolOptions{Name: "p", Instances: instances(a, b, newFake())}, func(_ context.Context, p *Pool) {
		if got := p.Definitions(); got != "1/d0,1/d1" {
			t.Errorf("definitions %q", got)
		}
	})
	running(t, PoolOptions{Name: "p", Instances: instances(a, mute)}, func(_ context.Context, p *Pool) {
		if got := p.Definitions(); got != "" {
			t.Errorf("definitions %q of an engine that does not say", got)
		}
	})
	if got := NewPool(PoolOptions{}).Definitions(); got != "" {
		t.Errorf("definitions %q of nobody", got)
	}
}

func TestStaleDefinitions(t *testing.T) {
	for _, unknown := range []bool{false, true} {
		a := newFake()
		running(t, PoolOptions{Name: "p", Instances: instances(a), MaxDefinitionsAge: 48 * time.Hour, AgeAsked: true}, func(ctx context.Context, p *Pool) {
			a.set(func() {
				if a.health.DefinedAt = time.Now().Add(-47 * time.Hour); unknown {
					a.health.DefinedAt = time.Time{}
				}
			})
			time.Sleep(10 * time.Second)
			want := Clean
			if unknown {
				want = NotScanned
			}
			if rep, err := p.Scan(ctx, stream([]byte("x"))); err != nil || rep.Verdict != want {
				t.Errorf("unknown %v, fresh: %s, %v", unknown, rep.Verdict, err)
			}
			time.Sleep(2 * time.Hour)
			if rep, err := p.Scan(ctx, stream([]byte("x"))); err != nil || rep.Verdict != NotScanned || rep.Reason != StaleDefinitions {
				t.Errorf("stale: %s (%s), %v", rep.Verdict, rep.Reason, err)
			}
			if rep, err := p.Scan(ctx, stream(eicar())); err != nil || rep.Verdict != Infected {
				t.Errorf("stale, EICAR: %s, %v", rep.Verdict, err)
			}
			if st := p.Status().Instances[0]; !st.Stale || !st.Ready {
				t.Errorf("status %+v", st)
			}
		})
	}
}

// TestUndatedDefinitions: what an unknown age, or an old one, means.
func TestUndatedDefinitions(t *testing.T) {
	for name, c := range map[string]struct {
		ageless, dated, asked bool
		bound                 time.Duration
		stale, undated        bool
	}{
		"no bound":                {},
		"undated, default bound":  {bound: time.Hour, undated: true},
		"undated, asked for":      {bound: time.Hour, asked: true, undated: true, stale: true},
		"old, default bound":      {bound: time.Hour, dated: true, stale: true},
		"ageless, default bound":  {bound: time.Hour, ageless: true},
		"ageless, asked for":      {bound: time.Hour, ageless: true, asked: true},
		"ageless old":             {bound: time.Hour, ageless: true, dated: true},
		"ageless old, asked for":  {bound: time.Hour, ageless: true, dated: true, asked: true, stale: true},
		"undated, asked for none": {asked: true},
	} {
		t.Run(name, func(t *testing.T) {
			var said bytes.Buffer
			a := newFake()
			a.health.DefinedAt, a.health.Ageless = time.Time{}, c.ageless
			if c.dated {
				a.health.DefinedAt = time.Unix(1, 0) // the clock below begins in 2000
			}
			o := PoolOptions{Name: "p", Instances: instances(a), MaxDefinitionsAge: c.bound, AgeAsked: c.asked, Log: slog.New(slog.NewTextHandler(&said, nil))}
			running(t, o, func(ctx context.Context, p *Pool) {
				want := Clean
				if c.stale {
					want = NotScanned
				}
				if rep, err := p.Scan(ctx, stream([]byte("x"))); err != nil || rep.Verdict != want {
					t.Errorf("%s (%s), %v", rep.Verdict, rep.Reason, err)
				}
				time.Sleep(time.Minute)
				st := p.Status()
				if in := st.Instances[0]; in.Stale != c.stale || in.Undated != c.undated || !in.Ready || (in.Detail != "") != (c.stale || c.undated) {
					t.Errorf("%+v", in)
				}
				if !st.Ready || st.Clears == c.stale {
					t.Errorf("ready %v, clears %v", st.Ready, st.Clears)
				}
				a.set(func() { a.down = unavailable() })
				time.Sleep(time.Minute)
				if in := p.Status().Instances[0]; in.Stale || in.Ready || in.Detail == "" {
					t.Errorf("dead: %+v", in)
				}
			})
			times := 0
			if c.stale || c.undated {
				times = 1
			}
			if n := strings.Count(said.String(), "max_definitions_age"); n != times {
				t.Errorf("said %d times:\n%s", n, &said)
			}
		})
	}
}

// TestReadErrorsAreNotTheEngines: a storage that is down does not open breakers.
func TestReadErrorsAreNotTheEngines(t *testing.T) {
	a, b := newFake(), newFake()
	running(t, PoolOptions{Name: "p", Instances: instances(a, b)}, func(ctx context.Context, p *Pool) {
		before := a.scans.Load() + b.scans.Load()
		boom := unavailable()
		for range 50 {
			_, err := p.Scan(ctx, Sample{Size: 5, Open: func(context.Context) (io.ReadCloser, error) { return nil, boom }})
			var r *readError
			if !errors.Is(err, boom) || errors.As(err, &r) {
				t.Fatalf("%v", err)
			}
		}
		if asked := a.scans.Load() + b.scans.Load() - before; asked != 50 {
			t.Errorf("%d scans for 50 samples", asked)
		}
		if st := p.Status(); st.Instances[0].Failed+st.Instances[1].Failed != 0 || !st.Ready {
			t.Errorf("the engines are blamed: %+v", st)
		}
	})
}

// TestSubmit: the same rules hold for samples that nobody waits for.
func TestSubmit(t *testing.T) {
	a := &batcher{fake: newFake()}
	a.loud = false
	deep := zipOf(t, func(w io.Writer) error { return nested(w, 5) })
	walked := atomic.Int64{}
	w := walkerFunc(func(Sample, Limits) (Facts, error) {
		walked.Add(1)
		return Facts{Kind: "zip", Reason: ArchiveDepth}, nil
	})
	samples := map[Reason]Sample{"": file(t, eicar()), ArchiveDepth: file(t, deep), TooLarge: file(t, make([]byte, 2<<20))}
	text, textStream := file(t, []byte("x")), stream([]byte("x"))
	running(t, PoolOptions{Name: "p", Instances: instances(a, newFake()), Walker: w}, func(ctx context.Context, p *Pool) {
		p.o.Instances[1].state.proven = false // only a is asked
		submit := func(s Sample) (Report, error) {
			type end struct {
				rep Report
				err error
			}
			done := make(chan end, 2)
			if err := p.Submit(ctx, s, func(rep Report, err error) { done <- end{rep, err} }); err != nil {
				return Report{}, err
			}
			e := <-done
			synctest.Wait()
			if len(done) > 0 {
				t.Error("done was called twice")
			}
			return e.rep, e.err
		}
		for reason, s := range samples {
			rep, err := submit(s)
			if err != nil || rep.Reason != reason || (rep.Verdict == Infected) != (reason == "") {
				t.Errorf("want %q: %s (%s), %v", reason, rep.Verdict, rep.Reason, err)
			}
		}
		if a.submitted.Load() != 1 || walked.Load() != 1 {
			t.Errorf("%d submitted, %d walked; want 1 and 1", a.submitted.Load(), walked.Load())
		}
		for _, s := range []Sample{text, textStream} {
			if rep, err := submit(s); err != nil || rep.Verdict != Clean {
				t.Errorf("%s, %v", rep.Verdict, err)
			}
		}
		a.set(func() { a.err = unavailable() })
		for range 2 * tripAfter {
			if _, err := submit(text); !fault.Is(err, fault.Unavailable) {
				t.Errorf("%v", err)
			}
		}
		if p.Status().Instances[0].InFlight != 0 || p.Ready() {
			t.Errorf("%+v", p.Status())
		}
	})
}

// TestAllEnginesDown is I10: nothing is called clean for two days, the engines
// are not hammered meanwhile, and what waited is let go with a ramp.
func TestAllEnginesDown(t *testing.T) {
	a, b := newFake(), newFake()
	running(t, PoolOptions{Name: "p", Instances: instances(a, b)}, func(ctx context.Context, p *Pool) {
		a.set(func() { a.down = unavailable() })
		b.set(func() { b.down = throttled(30 * time.Second) })
		var cases, falseClean int
		probes, scans := a.probes.Load()+b.probes.Load(), a.scans.Load()+b.scans.Load()
		const minutes = 48 * 60
		for range minutes {
			for range 5 {
				cases++
				if rep, err := p.Scan(ctx, stream([]byte("x"))); err == nil && rep.Verdict == Clean {
					falseClean++
				}
			}
			time.Sleep(time.Minute)
		}
		probes, scans = a.probes.Load()+b.probes.Load()-probes, a.scans.Load()+b.scans.Load()-scans
		if each := float64(probes+scans) / minutes / 2; each > 20 {
			t.Errorf("%.0f calls a minute and engine while down", each)
		}
		if falseClean > 0 {
			t.Errorf("%d of %d called clean", falseClean, cases)
		}
		t.Logf("cases=%d violations=%d seed=0: %.1f calls a minute and engine", cases, falseClean, float64(probes+scans)/minutes/2)

		a.set(func() { a.down, a.slow = nil, 100*time.Millisecond })
		if err := p.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		a.peak.Store(0)
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if rep, err := p.Scan(ctx, stream([]byte("x"))); err != nil || rep.Verdict != Clean {
					t.Errorf("%s, %v", rep.Verdict, err)
				}
			})
		}
		synctest.Wait()
		if a.peak.Load() > 8 {
			t.Errorf("%d at once right after the outage", a.peak.Load())
		}
		wg.Wait()
		if a.peak.Load() != 64 {
			t.Errorf("at most %d at once later, want 64", a.peak.Load())
		}
	})
}

func TestPools(t *testing.T) {
	var ps Pools
	if _, err := ps.Get("p"); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	a, b := NewPool(PoolOptions{Name: "p"}), NewPool(PoolOptions{Name: "p"})
	if old := ps.Put(a); old != nil {
		t.Error("replaced nothing")
	}
	if old := ps.Put(b); old != a {
		t.Error("did not replace a")
	}
	if got, err := ps.Get("p"); err != nil || got != b || len(ps.Status()) != 1 {
		t.Errorf("%v", err)
	}
	if ps.Remove("p") != b || ps.Remove("p") != nil {
		t.Error("not removed")
	}
}
