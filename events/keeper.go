package events

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// A Keeper keeps messages that a source holds from being delivered to others:
// it calls Beat for each before its time is over, from the moment of receipt
// and whether or not anybody has begun with it.
type Keeper[M comparable] struct {
	Span time.Duration // how long the vendor waits after receipt or a beat
	// Beat tells the vendor that these messages are still held. Those it returns
	// are held no more: the vendor has taken them back. After an error it is
	// called again soon.
	Beat func(ctx context.Context, held []M) (lost []M, err error)

	mu   sync.Mutex
	held map[M]time.Time // → when the next beat is due
}

// Hold holds messages received at that time.
func (k *Keeper[M]) Hold(at time.Time, msgs ...M) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held == nil {
		k.held = make(map[M]time.Time)
	}
	for _, m := range msgs {
		k.held[m] = at.Add(k.Span / 3)
	}
}

// Drop ends the beats of a message. A beat that is under way may still reach
// the vendor: acknowledge after Drop or before, both is harmless.
func (k *Keeper[M]) Drop(m M) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.held, m)
}

// Run beats until ctx ends.
func (k *Keeper[M]) Run(ctx context.Context) {
	tick := time.NewTicker(max(k.Span/12, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		due := k.due(time.Now())
		if len(due) == 0 {
			continue
		}
		lost, err := k.Beat(ctx, due)
		for _, m := range lost {
			k.Drop(m)
		}
		if err != nil {
			k.again(due)
		}
	}
}

// due returns the messages whose beat is due, and puts the next one off.
func (k *Keeper[M]) due(now time.Time) []M {
	k.mu.Lock()
	defer k.mu.Unlock()
	var due []M
	for m, at := range k.held {
		if !now.Before(at) {
			due = append(due, m)
			k.held[m] = now.Add(k.Span / 3)
		}
	}
	return due
}

// again makes the beat of those that are still held due at once.
func (k *Keeper[M]) again(msgs []M) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range msgs {
		if _, held := k.held[m]; held {
			k.held[m] = time.Time{}
		}
	}
}

// jitter returns from half of d to d.
func jitter(d time.Duration) time.Duration {
	if d <= 1 {
		return d
	}
	return d/2 + rand.N(d/2+1)
}
