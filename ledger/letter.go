package ledger

import "time"

// A Letter is a message of a source of events that made no sense, or was
// refused again and again: it was acknowledged and is kept for the operator.
type Letter struct {
	ID      ID
	Source  string // name of the source or hook
	Message string // the vendor's id of it; "" = none
	Body    []byte
	Why     string
	Tries   int // deliveries, 0 = not told
	At      time.Time
}
