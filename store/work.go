package store

import (
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
)

// A keyRef is a key of a unit.
type keyRef struct {
	unit int64
	key  string
}

// A job is an entry in work on this node.
type job struct {
	id   ledger.ID
	ref  keyRef
	slot uint8
}

// work knows what is in work on this node. As only this node works its slots,
// that is enough to keep a key to one entry at a time.
type work struct {
	mu     sync.Mutex
	byID   map[ledger.ID]*job
	byKey  map[keyRef]*job
	bySlot [slots]int
	behind map[keyRef]bool // keys of which entries are parked
}

func newWork() *work {
	return &work{byID: map[ledger.ID]*job{}, byKey: map[keyRef]*job{}, behind: map[keyRef]bool{}}
}

func (w *work) add(j *job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.byID[j.id], w.byKey[j.ref] = j, j
	w.bySlot[j.slot]++
}

func (w *work) remove(id ledger.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if j, ok := w.byID[id]; ok {
		delete(w.byID, id)
		if w.byKey[j.ref] == j { // a new job of the key may have begun in the same commit
			delete(w.byKey, j.ref)
		}
		w.bySlot[j.slot]--
	}
}

// taken reports whether an entry of the key is in work. Those in freed do not
// count: their end is about to be committed.
func (w *work) taken(ref keyRef, freed map[ledger.ID]bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	j, ok := w.byKey[ref]
	return ok && !freed[j.id]
}

// park remembers that entries of the key wait for the one in work, or that none
// does any more.
func (w *work) park(ref keyRef, waits bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if waits {
		w.behind[ref] = true
	} else {
		delete(w.behind, ref)
	}
}

func (w *work) parked(ref keyRef) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.behind[ref]
}

func (w *work) has(id ledger.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.byID[id]
	return ok
}

func (w *work) idle(slot uint8) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bySlot[slot] == 0
}

// A line is one lane of one unit.
type line struct {
	unit int64
	lane ledger.Lane
}

// ready keeps, by line, a time before which PickUp finds nothing. It may be too
// early, never too late: whoever finds nothing corrects it.
type ready struct {
	mu      sync.Mutex
	at      map[line]time.Time
	gen     map[line]uint64
	changed chan struct{}
}

func newReady() *ready {
	return &ready{at: map[line]time.Time{}, gen: map[line]uint64{}, changed: make(chan struct{}, 1)}
}

func (r *ready) signal() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// bring moves the time of a line forward.
func (r *ready) bring(l line, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gen[l]++
	if old, ok := r.at[l]; !ok || at.Before(old) {
		r.at[l] = at
	}
}

func (r *ready) generation(l line) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gen[l]
}

// settle says what a look into the database found: at is the next time, zero for
// none. What was brought forward since gen stays.
func (r *ready) settle(l line, gen uint64, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch old, ok := r.at[l]; {
	case r.gen[l] != gen && ok && (at.IsZero() || old.Before(at)):
	case at.IsZero():
		delete(r.at, l)
	default:
		r.at[l] = at
	}
}

func (r *ready) all() map[int64][3]time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[int64][3]time.Time, len(r.at))
	for l, at := range r.at {
		lanes := out[l.unit]
		lanes[l.lane%3] = at
		out[l.unit] = lanes
	}
	return out
}
