package scan

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// TestDrain: what is in work comes to its end, what waits for room and what comes
// later is sent away at once, and the failover pool is not asked in its place.
func TestDrain(t *testing.T) {
	e, spare := newFake(), newFake()
	in := instances(e)
	in[0].Limit = 1
	other := NewPool(PoolOptions{Name: "spare", Instances: instances(spare)})
	running(t, PoolOptions{Name: "p", Instances: in, Failover: other}, func(ctx context.Context, p *Pool) {
		if !other.Check(ctx) || !p.Ready() || !p.Settled() {
			t.Fatal("not ready")
		}
		asked := spare.scans.Load()
		e.set(func() { e.slow = 10 * time.Second })
		ended, waited := make(chan error, 1), make(chan error, 1)
		go func() { _, err := p.Scan(ctx, stream([]byte("in work"))); ended <- err }()
		synctest.Wait()
		go func() { _, err := p.Scan(ctx, stream([]byte("waits for room"))); waited <- err }()
		synctest.Wait()
		began := time.Now()
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := p.Drain(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with work in it: %v", err)
		}
		for what, err := range map[string]error{"waiting": <-waited, "new": second(p.Scan(ctx, stream([]byte("new")))),
			"submitted": p.Submit(ctx, stream([]byte("new")), func(Report, error) { t.Error("it was taken") })} {
			if !fault.Is(err, fault.Unavailable) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if p.Ready() || spare.scans.Load() != asked {
			t.Error("a pool that leaves sends work elsewhere")
		}
		if err := p.Drain(ctx); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil || time.Since(began) != 10*time.Second {
			t.Errorf("what was in work: %v after %s", err, time.Since(began))
		}
		if err := p.Drain(ctx); err != nil {
			t.Errorf("an idle pool: %v", err)
		}
	})
}

func second(_ Report, err error) error { return err }

// TestOffers: a pool offers what each of its instances does.
func TestOffers(t *testing.T) {
	ctx := t.Context()
	down := newFake()
	down.down = unavailable()
	all, some := &teller{newFake(), []string{DeepCDR, Multiscanning}}, newFake()
	for _, tt := range []struct {
		name    string
		engines []Engine
		want    int
	}{{"one", []Engine{all}, 2}, {"two", []Engine{all, some}, 1}, {"one is down", []Engine{down, all}, 2}} {
		got, err := NewPool(PoolOptions{Instances: instances(tt.engines...)}).Offers(ctx)
		if err != nil || len(got) != tt.want {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
	if _, err := NewPool(PoolOptions{Instances: instances(down)}).Offers(ctx); !fault.Is(err, fault.Unavailable) {
		t.Errorf("all down: %v", err)
	}
}

// A teller is an engine that can describe itself.
type teller struct {
	*fake
	technologies []string
}

func (e *teller) Describe(context.Context, string) (Description, error) {
	return Description{Technologies: e.technologies}, nil
}
