package pipeline

import (
	"errors"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// maxLocked bounds the entries whose passwords are kept at once.
const maxLocked = 1000

// passwords are what operators gave for encrypted archives, by entry. They are in
// memory alone, until the entry is finished.
type passwords struct {
	mu   sync.Mutex
	list map[ledger.ID][]string
}

func (w *passwords) of(id ledger.ID) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.list[id]
}

func (w *passwords) forget(id ledger.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.list, id)
}

// Unlock hands passwords to the engines for e's next examination.
// fault.Unavailable if another node does that, fault.Throttled if too many wait.
func (p *Pipeline) Unlock(e *ledger.Entry, list []string) error {
	if p.o.Ledger.Lease(ledger.SlotOf(e.Unit, e.Key)).Before(time.Now()) {
		return fault.New(fault.Unavailable, "pipeline.Unlock", "", errors.New("another node works on this object, and passwords are not passed on"))
	}
	w := &p.passwords
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.list[e.ID]; !ok && len(w.list) >= maxLocked {
		return fault.New(fault.Throttled, "pipeline.Unlock", "", errors.New("too many files wait with passwords"))
	}
	if w.list == nil {
		w.list = map[ledger.ID][]string{}
	}
	w.list[e.ID] = list
	return nil
}
