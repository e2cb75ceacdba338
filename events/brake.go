package events

import (
	"context"
	"sync"
	"time"
)

// A Brake holds a source back after its sink refused a message: an outage of
// ours is not the fault of the messages, whose receipts their vendors count.
type Brake struct {
	Retry time.Duration // until a refused message may come again, the first time

	mu    sync.Mutex
	pause Backoff
	until time.Time
}

// longest is how long a refused message stays away at most, unless Retry is longer.
const longest = 5 * time.Minute

// Wait waits while the source is to receive nothing.
func (b *Brake) Wait(ctx context.Context) error {
	b.mu.Lock()
	left := time.Until(b.until)
	b.mu.Unlock()
	return pause(ctx, left)
}

// Refused notes that the sink refused a message that came the given time, and
// returns after which time it may come again.
func (b *Brake) Refused(tries int) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := time.Now(); now.After(b.until) { // one pause for all that came together
		b.pause.First, b.pause.Most = b.Retry/5, b.Retry*6
		b.until = now.Add(b.pause.Next())
	}
	again := Backoff{First: b.Retry, Most: max(b.Retry, longest), failures: max(tries-1, 0)}
	return again.Next()
}

// Took notes that the sink took a message.
func (b *Brake) Took() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pause.Reset()
}
