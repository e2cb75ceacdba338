package daemon

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever the share of free space, a disk with this much room is not full.
const plenty = 10 << 30

// disk watches the free space under the ledger. It is full below a share of
// the disk, and until there is twice that.
type disk struct {
	dir  string
	free int // percent; 0 = never full

	mu     sync.Mutex
	looked time.Time
	isFull bool
}

// full says whether events must wait; it looks at most once a second.
func (d *disk) full() bool {
	if d.free <= 0 {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.looked) < time.Second {
		return d.isFull
	}
	d.looked = time.Now()
	var s unix.Statfs_t
	if unix.Statfs(d.dir, &s) != nil || s.Blocks == 0 {
		return d.isFull
	}
	room := s.Bavail * uint64(s.Bsize)
	percent := int(100 * s.Bavail / s.Blocks)
	if d.isFull {
		d.isFull = percent < 2*d.free && room < plenty
	} else {
		d.isFull = percent < d.free && room < plenty
	}
	return d.isFull
}
