package connectors

import "time"

// A Call is one call of a driver, as an Observer sees it.
type Call struct {
	Unit  string
	Op    string // the method: "Stat"
	Err   error
	Took  time.Duration
	Try   int   // 0 for the first
	Bytes int64 // read or written; a Read call is counted once, when its reader closes
}

// An Observer counts calls. It is called from many goroutines and must not block.
type Observer interface{ Observe(Call) }

// discard is the Observer of a storage that has none.
type discard struct{}

func (discard) Observe(Call) {}
