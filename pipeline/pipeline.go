package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/workflow"
)

// Bounds are the numbers that keep the pipeline bounded. Zero means the default.
type Bounds struct {
	Workers      int           // small objects in work at once; default 16
	LargeWorkers int           // large objects in work at once; default 4
	LargeSize    int64         // bytes from which an object is large; default 8 MiB
	BytesInWork  int64         // bytes of objects in work, large ones counted with LargeSize; default 256 MiB
	Backlog      int64         // pending entries of a unit at which discovery stops; default 50,000
	PushBacklog  int64         // pending entries of all units at which sources are held; default 2,000,000
	Attempts     int           // default 20
	AttemptsFor  time.Duration // default 24 h
	ScanTimeout  time.Duration // of one scan; default 10 min
	Crashes      int           // runs that may die with the process before not_scanned(engine_crash); default 3
}

func (b *Bounds) defaults() {
	set := func(p *int, d int) {
		if *p <= 0 {
			*p = d
		}
	}
	set64 := func(p *int64, d int64) {
		if *p <= 0 {
			*p = d
		}
	}
	setd := func(p *time.Duration, d time.Duration) {
		if *p <= 0 {
			*p = d
		}
	}
	set(&b.Workers, 16)
	set(&b.LargeWorkers, 4)
	set64(&b.LargeSize, 8<<20)
	set64(&b.BytesInWork, 256<<20)
	set64(&b.Backlog, 50_000)
	set64(&b.PushBacklog, 2_000_000)
	set(&b.Attempts, 20)
	setd(&b.AttemptsFor, 24*time.Hour)
	setd(&b.ScanTimeout, 10*time.Minute)
	set(&b.Crashes, 3)
}

// A Scanner is a pool of engines as the pipeline sees it.
type Scanner interface {
	Scan(ctx context.Context, s scan.Sample) (scan.Report, error)
	// Ready says whether some instance can take work now.
	Ready() bool
	// Definitions names what the pool knows; "" = unknown: nothing is cached.
	Definitions() string
}

// An Executor carries out plans.
type Executor interface {
	Run(ctx context.Context, job remediation.Job, j remediation.Journal) error
}

// A Unit is a unit that the pipeline serves, with what it needs to know of it.
type Unit struct {
	connectors.Unit
	Workflow workflow.Workflow
	Hash     ledger.Hash
	Scans    []ledger.Scan // its RealTime scans, one a partition
}

// Options are what a Pipeline is made of.
type Options struct {
	Ledger   Ledger
	Storages *connectors.Set
	Pools    map[string]Scanner
	Executor Executor
	// Quarantine is the name of the unit that holds what is put away, "" = none.
	Quarantine string
	Bounds     Bounds
	Log        *slog.Logger
	Now        func() time.Time // default time.Now
	// Finished is called with each finished entry, after its commit. It must be quick.
	Finished func(*ledger.Entry)
	// Heard is called with each batch that a source of a unit has delivered, after
	// its commit. It must be quick.
	Heard func(unit int64)
	// Swept is called when a sweep of a unit ended.
	Swept func(unit string, s SweepStats, err error)
	// Shared: other nodes write to the ledger too, so that an event's intake may
	// pass the end of the entry that makes it known.
	Shared bool
	// Full says whether the disk under the ledger is too full for more events.
	Full func() bool
}

// A Pipeline carries entries from intake to Finish. Make one with New, give it
// units with Serve, run it with Run.
type Pipeline struct {
	o     Options
	log   *slog.Logger
	now   func() time.Time
	bytes *semaphore.Weighted
	cache cache
	load  load // of all units

	ready [3]chan job // by lane, picked up and waiting for a worker
	burst *burst
	ends  Ender         // the ledger, nil = entries end one by one: no bursts
	freed chan struct{} // a worker took one from ready
	alone atomic.Bool   // the lane Alone is taken

	mu    sync.RWMutex
	units map[int64]*unit
	pools map[string]Scanner
	added chan struct{} // a unit came or went: for runUnits
	moved chan struct{} // the same, and pools: for dispatch
}

// unit is a served unit with its running state.
type unit struct {
	Unit
	sweep  chan string   // prefixes to sweep, bounded
	cancel chan struct{} // closed when the unit is taken out
	once   sync.Once

	receives atomic.Bool // some workflow in force writes to this unit

	mu       sync.Mutex
	down     time.Time // not before: the unit cannot be reached
	backoff  time.Duration
	fault    error
	swept    bool // a whole sweep has ended since the start
	sweeping int

	load load
}

// New returns a pipeline that serves no unit yet.
func New(o Options) *Pipeline {
	o.Bounds.defaults()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &Pipeline{o: o, log: o.Log, now: o.Now, bytes: semaphore.NewWeighted(o.Bounds.BytesInWork),
		freed: make(chan struct{}, 1), units: map[int64]*unit{}, pools: o.Pools, added: make(chan struct{}, 1), moved: make(chan struct{}, 1)}
	p.cache.init(cacheSize)
	p.ready[ledger.Small] = make(chan job, 4*o.Bounds.Workers)
	p.ready[ledger.Large] = make(chan job, o.Bounds.LargeWorkers)
	p.ready[ledger.Alone] = make(chan job)
	p.burst = newBurst(4 * o.Bounds.Workers)
	p.ends, _ = o.Ledger.(Ender)
	return p
}

// Serve adds units, or replaces those of the same number, while the pipeline runs or before.
func (p *Pipeline) Serve(units ...Unit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range units {
		if old := p.units[u.ID]; old != nil {
			old.once.Do(func() { close(old.cancel) })
		}
		p.units[u.ID] = &unit{Unit: u, sweep: make(chan string, 16), cancel: make(chan struct{})}
	}
	to := map[string]bool{}
	for _, u := range p.units {
		for _, r := range []workflow.Remedy{u.Workflow.Sanitized, u.Workflow.Blocked, u.Workflow.Allowed} {
			for _, d := range r.Destinations {
				to[d.Unit] = true
			}
		}
	}
	for _, u := range p.units {
		u.receives.Store(to[u.Name])
	}
	signal(p.added)
	signal(p.moved)
}

// Drop stops serving a unit: its entries stay pending.
func (p *Pipeline) Drop(id int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u := p.units[id]; u != nil {
		u.once.Do(func() { close(u.cancel) })
		delete(p.units, id)
	}
	signal(p.added)
	signal(p.moved)
}

// SetPools replaces the pools (reload).
func (p *Pipeline) SetPools(pools map[string]Scanner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pools = pools
	signal(p.added)
	signal(p.moved)
}

// Sweep asks for a sweep of a unit's prefix now. It is false if the unit is not
// served; asking for what is asked for already is fine.
func (p *Pipeline) Sweep(id int64, prefix string) bool {
	u := p.unit(id)
	if u == nil {
		return false
	}
	u.ask(prefix)
	return true
}

// Idle reports whether every served unit was swept since the start and has
// nothing pending, acting or in work.
func (p *Pipeline) Idle(ctx context.Context) (bool, error) {
	for _, u := range p.list() {
		u.mu.Lock()
		busy := !u.swept || u.sweeping > 0 || len(u.sweep) > 0
		u.mu.Unlock()
		if busy {
			return false, nil
		}
		n, err := p.o.Ledger.Backlog(ctx, u.ID)
		if err != nil || n > 0 {
			return false, err
		}
	}
	return true, nil
}

// Fault returns why a unit cannot be worked on now, or nil.
func (p *Pipeline) Fault(id int64) error {
	u := p.unit(id)
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.fault
}

// Run serves the units until ctx ends: sources stop first, then what was
// picked up is given back, then the work in hand ends or is given back.
func (p *Pipeline) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.runUnits(gctx) })
	g.Go(func() error { return p.dispatch(gctx) })
	g.Go(func() error {
		p.runBurst(gctx)
		close(p.ready[ledger.Small]) // what is not plain goes on there
		return nil
	})
	for range p.o.Bounds.Workers {
		g.Go(func() error { p.work(gctx, ledger.Small); return nil })
	}
	for range p.o.Bounds.LargeWorkers {
		g.Go(func() error { p.work(gctx, ledger.Large); return nil })
	}
	g.Go(func() error { p.work(gctx, ledger.Alone); return nil })
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("pipeline: %w", err)
	}
	return nil
}

// runUnits keeps one group of goroutines for each served unit.
func (p *Pipeline) runUnits(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	running := map[*unit]bool{}
	for {
		for _, u := range p.list() {
			if !running[u] {
				running[u] = true
				wg.Go(func() { p.runUnit(ctx, u) })
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.added:
		}
	}
}

func (p *Pipeline) unit(id int64) *unit {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.units[id]
}

func (p *Pipeline) list() []*unit {
	p.mu.RLock()
	defer p.mu.RUnlock()
	l := make([]*unit, 0, len(p.units))
	for _, u := range p.units {
		l = append(l, u)
	}
	return l
}

// pool returns the pools that a workflow asks, by name; "default" if it names none.
func (p *Pipeline) pool(w *workflow.Workflow) ([]Scanner, []string) {
	names := w.Pools
	if len(names) == 0 {
		names = []string{"default"}
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	l := make([]Scanner, len(names))
	for i, n := range names {
		l[i] = p.pools[n]
	}
	return l, names
}

// poolsReady says whether every pool that w asks can take work.
func (p *Pipeline) poolsReady(w *workflow.Workflow) bool {
	l, _ := p.pool(w)
	for _, s := range l {
		if s == nil || !s.Ready() {
			return false
		}
	}
	return true
}

// signal wakes the one who waits on c, if it is not woken already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
