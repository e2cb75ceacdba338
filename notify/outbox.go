package notify

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/landwaiter/landwaiter/internal/seal"
	"github.com/landwaiter/landwaiter/ledger"
)

// Options are what an Outbox is made of.
type Options struct {
	Store  Store
	Lines  func(ctx context.Context) ([]Line, error) // what is to be served now
	Seal   *seal.Box                                 // for texts of mails
	Bounds Bounds
	Log    *slog.Logger
}

// An Outbox delivers notices. Several nodes may run one each on the same ledger.
type Outbox struct {
	o     Options
	wake  chan struct{}
	mu    sync.Mutex
	lines map[key]*line // nil while Run does not run
	shown map[key]bool  // what is switched on; nil until that is known
	pumps sync.WaitGroup
}

type key struct {
	tenant  int64
	channel string
}

// A line is an open Line. A channel is closed after its last notice.
type line struct {
	Line
	channel Channel
	busy    atomic.Bool
	uses    sync.WaitGroup
}

// The outbox's own pace.
const (
	batch      = 10               // notices claimed at once, for each that is delivered at a time
	lease      = 6 * time.Minute  // of a claim; longer than a batch takes
	within     = 30 * time.Second // one delivery
	look       = time.Second      // for what became due, and for other nodes' notices
	breath     = 20 * time.Millisecond
	reread     = 5 * time.Second // what other nodes set
	tendEvery  = 30 * time.Second
	dropAtOnce = 1000
)

// New returns an outbox; nothing is delivered before Run.
func New(o Options) *Outbox {
	o.Bounds = o.Bounds.filled()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Outbox{o: o, wake: make(chan struct{}, 1)}
}

// Refresh reads which channels there are, and opens and closes what changed. It
// does nothing while Run does not run.
func (b *Outbox) Refresh(ctx context.Context) error {
	list, err := b.o.Lines(ctx)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lines == nil {
		return nil
	}
	subs, next := map[int64][]ledger.Subscription{}, map[key]*line{}
	b.shown = map[key]bool{}
	for _, l := range list {
		k := key{l.Tenant, l.Channel}
		b.shown[k] = true
		if old, ok := b.lines[k]; ok && old.Mark == l.Mark {
			next[k] = old
		} else if next[k] = b.open(l); next[k] == nil {
			delete(next, k)
			continue
		}
		subs[l.Tenant] = append(subs[l.Tenant], l.Subscription)
	}
	for k, old := range b.lines {
		if next[k] != old {
			b.pumps.Go(func() { b.shut(old) })
		}
	}
	b.lines = next
	b.o.Store.Subscribe(subs)
	return nil
}

// open opens a line, nil if that cannot be.
func (b *Outbox) open(l Line) *line {
	if l.Open == nil {
		return nil
	}
	c, err := l.Open()
	if err != nil {
		b.o.Log.Error("a channel of notices cannot be opened", "tenant", l.Tenant, "channel", l.Channel, "err", err)
		return nil
	}
	return &line{Line: l, channel: c}
}

// shut closes a line when nothing uses it any more.
func (b *Outbox) shut(l *line) {
	l.uses.Wait()
	if err := l.channel.Close(); err != nil {
		b.o.Log.Warn("close a channel of notices", "channel", l.Channel, "err", err)
	}
}

// Run delivers until ctx ends.
func (b *Outbox) Run(ctx context.Context) error {
	b.mu.Lock()
	b.lines = map[key]*line{}
	b.mu.Unlock()
	defer b.stop()
	if err := b.Refresh(ctx); err != nil && ctx.Err() == nil {
		b.o.Log.Warn("read channels of notices", "err", err)
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	var read, tended time.Time
	for ctx.Err() == nil {
		now := time.Now()
		var errs []error
		if now.Sub(read) >= reread {
			read = now
			errs = append(errs, b.Refresh(ctx))
		}
		if now.Sub(tended) >= tendEvery {
			tended = now
			errs = append(errs, b.o.Store.TendOutbox(ctx, b.isOn, dropAtOnce))
		}
		errs = append(errs, b.round(ctx))
		if err := errors.Join(errs...); err != nil && ctx.Err() == nil {
			b.o.Log.Warn("notices", "err", err)
		}
		pause(ctx, breath) // what came meanwhile is taken together
		select {
		case <-ctx.Done():
		case <-b.o.Store.Noticed():
		case <-b.wake:
		case <-tick.C:
		}
	}
	return ctx.Err()
}

// stop waits for what is being delivered, and closes the channels.
func (b *Outbox) stop() {
	b.mu.Lock()
	lines := b.lines
	b.lines, b.shown = nil, nil
	b.mu.Unlock()
	for _, l := range lines {
		b.shut(l)
	}
	b.pumps.Wait()
}

func (b *Outbox) has(tenant int64, channel string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.lines[key{tenant, channel}]
	return ok
}

// isOn reports whether a channel is switched on, as far as that is known: what
// cannot be read now must not cost a notice.
func (b *Outbox) isOn(tenant int64, channel string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.shown == nil || b.shown[key{tenant, channel}]
}

// round starts a pump for each channel that has something due and none.
func (b *Outbox) round(ctx context.Context) error {
	due, err := b.o.Store.DueChannels(ctx)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range due {
		l, ok := b.lines[key{d.Tenant, d.Channel}]
		if !ok || !l.busy.CompareAndSwap(false, true) {
			continue
		}
		l.uses.Add(1)
		b.pumps.Go(func() {
			defer l.uses.Done()
			b.pump(ctx, l)
			l.busy.Store(false)
			select {
			case b.wake <- struct{}{}: // what came as the pump ended
			default:
			}
		})
	}
	return nil
}

// pump delivers what is due on a line until nothing is, or nobody answers.
func (b *Outbox) pump(ctx context.Context, l *line) {
	n := batch * max(l.Parallel, 1)
	for ctx.Err() == nil {
		list, err := b.o.Store.ClaimNotices(ctx, l.Tenant, l.Channel, n, lease)
		if err != nil || len(list) == 0 {
			if err != nil && ctx.Err() == nil {
				b.o.Log.Warn("claim notices", "channel", l.Channel, "err", err)
			}
			return
		}
		ends, failed := b.deliver(ctx, l, list)
		// What was delivered is written down even if we are to stop: else it goes out again.
		if err := b.o.Store.SettleNotices(context.WithoutCancel(ctx), ends); err != nil {
			b.o.Log.Warn("settle notices", "channel", l.Channel, "err", err)
			return
		}
		if failed || len(list) < n {
			return
		}
	}
}

// deliver tries a batch. After a failure that will meet the others too, what was
// not begun is given back.
func (b *Outbox) deliver(ctx context.Context, l *line, list []ledger.Notice) (ends []ledger.Settled, failed bool) {
	ends = make([]ledger.Settled, len(list))
	var down atomic.Pointer[time.Time]
	var g errgroup.Group
	g.SetLimit(max(l.Parallel, 1))
	for i, n := range list {
		g.Go(func() error {
			if until := down.Load(); until != nil || ctx.Err() != nil {
				n.Due = time.Now()
				if until != nil {
					n.Due = *until
				}
				ends[i] = ledger.Settled{Notice: n, End: ledger.Untried}
				return nil
			}
			dctx, cancel := context.WithTimeout(ctx, within)
			defer cancel()
			err := l.channel.Deliver(dctx, n)
			ends[i] = b.o.Bounds.end(n, err, time.Now())
			if err != nil && ctx.Err() != nil { // we are to stop: that says nothing of the receiver
				n.Due = time.Now()
				ends[i] = ledger.Settled{Notice: n, End: ledger.Untried}
				return nil
			}
			if ends[i].End == ledger.Later {
				due := ends[i].Due
				down.Store(&due)
				b.o.Log.Warn("a notice was not delivered", "tenant", l.Tenant, "channel", l.Channel, "id", n.ID, "attempt", n.Attempts, "err", err)
			}
			return nil
		})
	}
	_ = g.Wait() // none fails: what went wrong is in ends
	return ends, down.Load() != nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
