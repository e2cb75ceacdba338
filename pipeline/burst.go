package pipeline

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/workflow"
)

// At thousands of small local files a second, waking a worker three times for
// each is most of the cost. So where the engine takes work without a goroutine
// for each sample, such files go through in bursts: a few starters open and
// submit them, one ender rechecks those that came back and ends them together.
// Whatever is not plainly clean goes on with a worker, from where it is.
const (
	starters   = 2
	burstMost  = 256                  // entries between a starter and the ender
	gather     = 2 * time.Millisecond // let answers come together …
	gatherFrom = 32                   // … while so many are due
)

// A Batcher is a Scanner that may take samples in bursts. It bounds the time of
// each itself.
type Batcher interface {
	Scanner
	scan.Batcher
	// Batches says whether Submit needs no goroutine for each sample.
	Batches() bool
}

// burst is what the starters and the ender share.
type burst struct {
	in    chan job
	slots chan struct{} // one for each entry between a starter and the ender
	wake  chan struct{}

	mu    sync.Mutex
	ended []*exam
}

func newBurst(ready int) *burst {
	return &burst{in: make(chan job, ready), slots: make(chan struct{}, burstMost), wake: make(chan struct{}, 1)}
}

// put gives x to the ender; it never blocks.
func (b *burst) put(x *exam) {
	b.mu.Lock()
	b.ended = append(b.ended, x)
	b.mu.Unlock()
	signal(b.wake)
}

// take returns what has ended, with room for the next.
func (b *burst) take(spare []*exam) []*exam {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.ended
	b.ended = spare[:0]
	return l
}

// bursts says whether small objects of u go through in bursts.
func (p *Pipeline) bursts(u *unit) bool {
	if p.ends == nil || u.Versions == "all" {
		return false
	}
	if pool, _ := p.batcher(u); pool == nil {
		return false
	}
	st, err := p.o.Storages.Get(u.Name)
	return err == nil && st.Caps().Settle && !st.Caps().ReadIsVersion
}

// batcher returns the only pool that u asks, nil if it takes no bursts.
func (p *Pipeline) batcher(u *unit) (Batcher, string) {
	pools, names := p.pool(&u.Workflow)
	if len(pools) != 1 {
		return nil, ""
	}
	if b, ok := pools[0].(Batcher); ok && b.Batches() {
		return b, names[0]
	}
	return nil, ""
}

// runBurst runs starters and ender until what was picked up is through.
func (p *Pipeline) runBurst(ctx context.Context) {
	var starting, ending sync.WaitGroup
	over := make(chan struct{})
	for range starters {
		starting.Go(func() {
			for j := range p.burst.in {
				if len(p.burst.in) <= cap(p.burst.in)/2 {
					signal(p.freed)
				}
				p.start(ctx, j.e)
			}
		})
	}
	ending.Go(func() { p.end(ctx, over) })
	starting.Wait()
	for range burstMost { // all slots back: nothing is under way
		p.burst.slots <- struct{}{}
	}
	close(over)
	ending.Wait()
}

// start takes e as far as the engine.
func (p *Pipeline) start(ctx context.Context, e *ledger.Entry) {
	select {
	case p.burst.slots <- struct{}{}:
	case <-ctx.Done():
		p.leave(job{e: e})
		return
	}
	if ctx.Err() != nil { // both were so, and chance took the slot
		<-p.burst.slots
		p.leave(job{e: e})
		return
	}
	x := p.submit(ctx, e)
	if x == nil {
		return // the engine has it
	}
	<-p.burst.slots
	p.slowly(ctx, job{e, x})
}

// submit opens e's object and hands it to the engine. It returns nil if that or
// the ender has it, else how far it came.
func (p *Pipeline) submit(ctx context.Context, e *ledger.Entry) *exam {
	nothing := &exam{}
	u := p.unit(e.Unit)
	if u == nil || e.State != ledger.Pending || len(p.passwords.of(e.ID)) > 0 {
		return nothing
	}
	u, err := p.under(ctx, u, e)
	if err != nil {
		return nothing
	}
	st, err := p.o.Storages.Get(u.Name)
	if err != nil {
		return nothing
	}
	pool, name := p.batcher(u)
	if pool == nil {
		return nothing
	}
	x, end, err := p.prepare(ctx, st, u, e)
	if x == nil {
		return &exam{stage: concluded, end: end, err: err}
	}
	if _, ok := x.rd.(connectors.FileReader); !ok || x.info.Size > hashFirst {
		return x
	}
	x.e, x.u, x.st = e, u, st
	s := p.sample(u, e, x.c)
	if s.SHA256, err = x.c.lend(ctx, &s); err != nil {
		x.stage, x.err = scanned, err
		return x
	}
	x.stage = scanned
	if rep, ok := p.cached(pool, name, s); ok {
		x.rep, e.SHA256 = rep, s.SHA256
		p.burst.put(x)
		return nil
	}
	err = pool.Submit(ctx, s, func(rep scan.Report, err error) {
		x.rep, x.err = told(ctx, pool, name, rep, err)
		if serr := x.c.failed(); serr != nil {
			x.err = serr
		}
		if x.err == nil {
			e.SHA256 = s.SHA256
			p.remember(pool, name, s, s.SHA256, rep)
		}
		p.burst.put(x)
	})
	if err == nil {
		return nil
	}
	_, x.err = told(ctx, pool, name, scan.Report{}, err)
	return x
}

// end ends what comes back from the engines, together, until over is closed.
func (p *Pipeline) end(ctx context.Context, over <-chan struct{}) {
	var spare []*exam
	for {
		select {
		case <-p.burst.wake:
		case <-over:
			return
		}
		if len(p.burst.slots) >= gatherFrom {
			time.Sleep(gather)
		}
		list := p.burst.take(spare)
		p.endAll(ctx, list)
		clear(list)
		spare = list
	}
}

func (p *Pipeline) endAll(ctx context.Context, list []*exam) {
	var plain []*exam
	var entries []*ledger.Entry
	var ends []ledger.End
	for _, x := range list {
		if x.err == nil && x.rep.Verdict == scan.Clean && !acts(&x.u.Workflow) {
			end, err := p.conclude(ctx, x.st, x.u, x.e, x)
			x.release()
			x.stage, x.end, x.err = concluded, end, err
		}
		if x.stage != concluded || x.err != nil || x.e.Decision == workflow.Held {
			<-p.burst.slots
			p.slowly(ctx, job{x.e, x})
			continue
		}
		x.e.Finished = p.now()
		plain, entries, ends = append(plain, x), append(entries, x.e), append(ends, x.end)
	}
	if len(plain) == 0 {
		return
	}
	for i, err := range p.ends.FinishAll(ctx, entries, ends) {
		x := plain[i]
		<-p.burst.slots
		switch {
		case err == nil:
			x.u.well()
			if p.o.Finished != nil {
				p.o.Finished(x.e)
			}
		case errors.Is(err, ledger.ErrMoved):
			x.stage = moved
			p.slowly(ctx, job{x.e, x})
		default:
			x.err = err
			p.slowly(ctx, job{x.e, x})
		}
	}
}

// slowly gives j to a worker.
func (p *Pipeline) slowly(ctx context.Context, j job) {
	select {
	case p.ready[ledger.Small] <- j:
	case <-ctx.Done():
		p.leave(j)
	}
}

// leave gives j's entry back to the ledger as if it had not been picked up.
func (p *Pipeline) leave(j job) {
	j.x.release()
	ctx, cancel := context.WithTimeout(context.Background(), giveBackWithin)
	defer cancel()
	if err := p.o.Ledger.GiveBack(ctx, j.e, p.now(), false); err != nil && !fault.Is(err, fault.Stale) {
		p.log.Warn("give back", "entry", j.e.ID, "err", err)
	}
}
