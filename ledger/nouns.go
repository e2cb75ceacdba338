package ledger

import (
	"encoding/json"
	"time"

	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/workflow"
)

// A QuarantineState is what became of an item.
type QuarantineState string

// A QuarantineItem is an object that was put away.
type QuarantineItem struct {
	ID      ID
	Tenant  int64
	Unit    int64 // where it came from
	Key     string
	Version string
	SHA256  []byte // of the original bytes
	Size    int64  // of the original
	Entry   ID
	Place   int64  // the unit that it lies in
	Object  string // its key there
	Reason  string
	Threat  string
	At      time.Time
	Expires time.Time // zero = kept until purged
	State   QuarantineState
	Changed time.Time // of State
	By      string    // who changed State
}

// A QuarantineFilter says which items to list; zero fields do not restrict.
type QuarantineFilter struct {
	Unit    int64
	State   QuarantineState
	Expired time.Time // held items whose expiry is before
	After   ID        // the last ID of the page before
	Limit   int       // default 100, at most 1,000
}

// An AllowanceRow lets bytes with one hash be allowed in a unit, whatever
// engines say, until a time.
type AllowanceRow struct {
	Unit   int64
	SHA256 []byte
	By     string
	At     time.Time
	Until  time.Time
}

// The states of an item. Only held items are there to restore or purge.
const (
	QuarantineHeld     QuarantineState = "held"
	QuarantineRestored QuarantineState = "restored"
	QuarantinePurged   QuarantineState = "purged"
)

// A UnitState is what happened to a unit lately.
type UnitState struct {
	LastEvent  time.Time       `json:"last_event,omitzero"`
	SweepStart time.Time       `json:"sweep_start,omitzero"`
	SweepEnd   time.Time       `json:"sweep_end,omitzero"` // of the last complete sweep
	Covered    time.Time       `json:"covered,omitzero"`   // when that sweep began: what was at rest by then was seen
	Listed     int64           `json:"listed"`             // objects that it listed
	Gaps       int64           `json:"gaps"`               // parts that it could not list
	Probed     time.Time       `json:"probed,omitzero"`
	Probe      json.RawMessage `json:"probe,omitempty"` // what the capability probe found
	Error      string          `json:"error,omitempty"` // why the unit does not work now; "" = it does
	ErrorAt    time.Time       `json:"error_at,omitzero"`
}

// A Count says how many objects of a unit have a verdict.
type Count struct {
	Unit     int64
	Verdict  scan.Verdict // None for objects that are recorded only
	Reason   scan.Reason
	Baseline bool // older than the scan's start date: recorded, never scanned
	Objects  int64
	Bytes    int64
}

// A ScanCount says how many entries of a scan came to an end.
type ScanCount struct {
	Outcome  Outcome // "" counts those that are not finished
	Verdict  scan.Verdict
	Decision workflow.Decision
	Entries  int64
	Bytes    int64
}

// A Filter says which entries to list; zero fields do not restrict.
type Filter struct {
	Unit     int64
	Scan     ID
	Verdict  scan.Verdict
	Reason   scan.Reason
	Outcome  Outcome
	Decision workflow.Decision
	Failed   bool      // the dead letters: outcome failed
	Since    time.Time // finished at or after
	Until    time.Time // finished before
	Search   string    // bytes that the key contains

	// Unfinished lists pending and acting entries instead, those that act first,
	// then by unit and key. The fields about the end do not apply to it.
	Unfinished bool
	Oldest     bool   // the first finished first; default is the last
	After      string // Page.Next of the page before
	Limit      int    // default 100, at most 1,000
}

// A ScanFilter says which scans of a tenant (0 = of all) to list; zero fields do
// not restrict, nor do nil lists.
type ScanFilter struct {
	Tenant   int64
	Unit     int64
	Types    []ScanType
	States   []string
	Name     string    // bytes that the name contains
	From, To time.Time // of the start
	Oldest   bool      // the oldest first; default is the latest
	Start    int       // scans left out
	Limit    int       // default 100, at most 1,000
}

// A Page is a part of a listing. There may be more while Next is not "", even if
// the page is not full: a page looks at a bounded number of entries.
type Page struct {
	Entries []Entry
	Next    string
}

// ParseState reads what State.String writes.
func ParseState(s string) (State, bool) {
	for _, st := range []State{Pending, Acting, Finished} {
		if st.String() == s {
			return st, true
		}
	}
	return 0, false
}
