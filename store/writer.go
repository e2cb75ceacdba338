package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

const (
	maxRows  = 500  // rows of one commit; more make everyone in it wait longer for no gain
	maxQueue = 4096 // operations that wait for a commit
	retries  = 5    // of a batch that another node's commit got in the way of
)

// An op is what one caller wants committed. Exactly one of its parts is set.
type op struct {
	intake *intakeOp
	pick   *pickOp
	save   *saveOp
	do     func(ctx context.Context, c conn) error // runs in a transaction of its own
	rows   int
	err    error
	done   chan struct{}
}

// A writer commits whatever queued up while it committed before: no timer, so
// one caller alone waits for nothing, and a thousand share one fsync.
type writer struct {
	db    *DB
	shard int64 // of the counts that it keeps; no two writers share a row
	open  func(ctx context.Context) (conn, error)
	shut  func() error // closes what open opens from
	queue chan *op
	stop  chan struct{}
	ended chan struct{}
	once  sync.Once

	c     conn
	doubt bool        // a commit's outcome is unknown
	found []candidate // kept for its memory
}

func newWriter(db *DB, shard int64, open func(ctx context.Context) (conn, error)) *writer {
	return &writer{db: db, shard: shard, open: open, queue: make(chan *op, maxQueue), stop: make(chan struct{}), ended: make(chan struct{})}
}

// submit returns after o is committed or refused. Once queued it waits for the
// answer even if ctx ends: what a commit did must not be lost.
func (w *writer) submit(ctx context.Context, o *op) error {
	if err := w.enqueue(ctx, o); err != nil {
		return err
	}
	return w.wait(o)
}

// enqueue puts o before the next commit; wait tells how it went.
func (w *writer) enqueue(ctx context.Context, o *op) error {
	o.done = make(chan struct{})
	select {
	case w.queue <- o:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.stop:
		return errClosed
	}
	return nil
}

func (w *writer) wait(o *op) error {
	select {
	case <-o.done:
	case <-w.ended:
		select {
		case <-o.done:
		default:
			return errClosed
		}
	}
	return o.err
}

var errClosed = &fault.Error{Op: "store", Kind: fault.Unavailable, Err: errors.New("the ledger is closed")}

// close ends the loop after what is queued, and waits for it.
func (w *writer) close() (err error) {
	w.once.Do(func() {
		close(w.stop)
		<-w.ended
		if w.shut != nil {
			err = w.shut()
		}
	})
	return err
}

func (w *writer) loop() {
	defer close(w.ended)
	defer func() {
		if w.c != nil {
			_ = w.c.close()
		}
	}()
	for {
		var first *op
		select {
		case first = <-w.queue:
		case <-w.stop:
			w.drain()
			return
		}
		w.commit(w.gather(first))
	}
}

// drain answers what was queued when the writer was told to stop.
func (w *writer) drain() {
	for {
		select {
		case o := <-w.queue:
			w.commit(w.gather(o))
		default:
			return
		}
	}
}

func (w *writer) gather(first *op) []*op {
	batch, rows := []*op{first}, first.rows
	for rows < maxRows && first.do == nil {
		select {
		case o := <-w.queue:
			if o.do != nil {
				w.commit(batch)
				return []*op{o}
			}
			batch, rows = append(batch, o), rows+o.rows
		default:
			return batch
		}
	}
	return batch
}

// commit carries batch out and answers every op. A row that the database
// refuses fails alone: the batch is halved until it is found.
func (w *writer) commit(batch []*op) {
	err := w.try(batch)
	if err != nil && len(batch) > 1 && refused(err) {
		w.commit(batch[:len(batch)/2])
		w.commit(batch[len(batch)/2:])
		return
	}
	if err != nil && refused(err) && batch[0].intake != nil && len(batch[0].intake.arrivals) > 1 {
		batch[0].err = batch[0].intake.halve(w)
		close(batch[0].done)
		return
	}
	for _, o := range batch {
		if err != nil {
			o.err = err
		}
		close(o.done)
	}
}

// refused reports whether the data is at fault and not the database's state.
func refused(err error) bool { return fault.Is(err, fault.Invalid, fault.Internal, fault.Other) }

// try runs batch in one transaction, again if another transaction was in its way.
func (w *writer) try(batch []*op) error {
	// No caller's context reaches here: one that ends must not fail its
	// neighbours. The statement timeout of the connection is the bound.
	ctx := context.Background()
	var err error
	for attempt := range retries {
		if err = w.ready(ctx); err != nil {
			return err
		}
		err = w.turn(ctx, batch)
		if err == nil || !errors.Is(err, errConflict) {
			break
		}
		time.Sleep(time.Duration(attempt*attempt) * time.Millisecond)
	}
	if errors.Is(err, errLost) {
		_ = w.c.close()
		w.c, w.doubt = nil, true
	}
	return err
}

// ready makes sure of a connection, and that what is in work there is what is in
// work here: the answer to an earlier commit may have been lost.
func (w *writer) ready(ctx context.Context) error {
	if w.c == nil {
		c, err := w.open(ctx)
		if err != nil {
			return err
		}
		w.c = c
	}
	if w.doubt && w == w.db.work {
		if err := w.db.reconcile(ctx, w.c); err != nil {
			if errors.Is(err, errLost) {
				_ = w.c.close()
				w.c = nil
			}
			return err
		}
		w.doubt = false
	}
	return nil
}

func (w *writer) turn(ctx context.Context, batch []*op) error {
	if err := w.c.begin(ctx); err != nil {
		return err
	}
	if do := batch[0].do; do != nil {
		if err := do(ctx, w.c); err != nil {
			w.c.rollback()
			return err
		}
		return w.commitTx(ctx)
	}
	t := &turn{db: w.db, w: w, c: w.c, shard: w.shard, now: w.db.clock(),
		hints: map[line]int64{}, foreign: map[int64]bool{}, freed: map[ledger.ID]bool{}}
	if err := t.run(ctx, batch); err != nil {
		w.c.rollback()
		return err
	}
	if err := w.commitTx(ctx); err != nil {
		return err
	}
	for _, f := range t.after {
		f()
	}
	for l, at := range t.hints {
		w.db.ready.bring(l, w.db.local(at))
	}
	if len(t.hints) > 0 {
		w.db.ready.signal()
	}
	return nil
}

func (w *writer) commitTx(ctx context.Context) error {
	if err := w.c.commit(ctx); err != nil {
		w.c.rollback()
		w.doubt = true
		return err
	}
	return nil
}

// do runs f in a transaction of its own between the batches. f may run more
// than once.
func (db *DB) do(ctx context.Context, f func(ctx context.Context, c conn) error) error {
	return db.work.submit(ctx, &op{do: f, rows: 1})
}

// errConflict marks errors of transactions that got in each other's way, and
// errLost those of a connection that is gone.
var (
	errConflict = errors.New("another transaction was in the way")
	errLost     = errors.New("the connection is lost")
)

// A turn is one transaction of a batch.
type turn struct {
	db    *DB
	w     *writer
	c     conn
	shard int64
	now   int64
	own   [slots]int64 // the epochs of the slots that are ours until the commit, else 0

	counts  counts
	hints   map[line]int64     // what became due, and when
	foreign map[int64]bool     // units of which entries became due in slots that are not ours
	freed   map[ledger.ID]bool // entries that go out of work with this commit
	after   []func()           // what the commit means for this process
}

// due notes that an entry may be picked up from at on, once this is committed.
func (t *turn) due(unit int64, lane ledger.Lane, at int64, slot uint8) {
	if !t.db.slots.ours(slot) {
		t.foreign[unit] = true
		return
	}
	l := line{unit, lane}
	if old, ok := t.hints[l]; !ok || at < old {
		t.hints[l] = at
	}
}

func (t *turn) run(ctx context.Context, batch []*op) error {
	var in []*intakeOp
	var saves []*saveOp
	var picks []*pickOp
	for _, o := range batch {
		o.err = nil
		switch {
		case o.intake != nil:
			in = append(in, o.intake)
		case o.save != nil:
			saves = append(saves, o.save)
		case o.pick != nil:
			picks = append(picks, o.pick)
		}
	}
	if err := t.intake(ctx, in); err != nil {
		return err
	}
	if len(saves)+len(picks) > 0 {
		var err error
		if t.own, err = t.db.owned(ctx, t.c); err != nil {
			return err
		}
	}
	if err := t.save(ctx, saves); err != nil {
		return err
	}
	for _, p := range picks {
		if err := t.pick(ctx, p); err != nil {
			return err
		}
	}
	if err := t.counts.write(ctx, t.c, t.shard); err != nil {
		return err
	}
	return t.db.notify(ctx, t.c, t.foreign)
}
