// Package control is what an operator asks of a running or resting Landwaiter
// and what they are told: the words that the command line and the daemon share.
package control

import (
	"time"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

// An EntryQuery selects entries. Its zero value selects all, newest first.
type EntryQuery struct {
	Unit    string         `json:"unit,omitempty"`
	Verdict string         `json:"verdict,omitempty"` // clean, suspicious, infected, not_scanned
	Outcome ledger.Outcome `json:"outcome,omitempty"`
	State   string         `json:"state,omitempty"`   // pending, acting, finished
	Prefix  string         `json:"prefix,omitempty"`  // of the key, in the form of object.FormatKey
	Refused bool           `json:"refused,omitempty"` // an action was refused or failed
	Since   time.Time      `json:"since,omitzero"`    // ended, or discovered if it has not ended
	Limit   int            `json:"limit,omitempty"`   // 0 = no limit
}

// A Story is all that is known of one key, newest entry first.
type Story struct {
	Unit    string    `json:"unit"`
	Key     string    `json:"key"` // in the form of object.FormatKey
	Known   *Known    `json:"known,omitempty"`
	Entries []Chapter `json:"entries"`
}

// Known is the inventory's row of a key: what counts for coverage.
type Known struct {
	Version  string      `json:"version"`
	Verdict  string      `json:"verdict"`
	Reason   scan.Reason `json:"reason,omitempty"`
	Size     int64       `json:"size"`
	Baseline bool        `json:"baseline,omitempty"` // older than the scan's start: recorded, not scanned
}

// A Chapter is one entry of a story.
type Chapter struct {
	ledger.Record
	Discovered time.Time      `json:"discovered"`
	Started    time.Time      `json:"started,omitzero"`
	Finished   time.Time      `json:"finished,omitzero"`
	Workflow   string         `json:"workflow,omitempty"` // hash of its snapshot
	Report     *scan.Report   `json:"report,omitempty"`
	Events     []ledger.Event `json:"events,omitempty"` // oldest first
	Kept       *Kept          `json:"quarantine,omitempty"`
}

// Kept is what became of an object after it was put away.
type Kept struct {
	ID      string                 `json:"id"`    // as restore and purge take it
	State   ledger.QuarantineState `json:"state"` // held, restored, purged
	Changed time.Time              `json:"changed,omitzero"`
	By      string                 `json:"by,omitempty"` // who changed State
}

// A Storage is a unit as operators see it.
type Storage struct {
	Unit     string        `json:"unit"`
	URL      string        `json:"url"`
	Workflow string        `json:"workflow"`
	State    string        `json:"state"` // ok, down, disabled, unknown (no daemon to ask)
	Detail   string        `json:"detail,omitempty"`
	Pending  int64         `json:"pending"` // entries that wait
	Sweep    time.Duration `json:"sweep"`   // the interval
	Swept    time.Time     `json:"swept,omitzero"`
	Caps     []string      `json:"caps"`
}

// Coverage is how much of a unit has a verdict.
type Coverage struct {
	Unit    string    `json:"unit"`
	Keys    int64     `json:"keys"`
	Counts  []Count   `json:"counts"`
	Pending int64     `json:"pending"`
	Swept   time.Time `json:"swept,omitzero"` // when the last whole sweep ended
	Within  bool      `json:"within"`         // that is no longer ago than the unit's interval
}

// A Count is a part of a Coverage.
type Count struct {
	Verdict string      `json:"verdict"` // "" = none yet
	Reason  scan.Reason `json:"reason,omitempty"`
	Keys    int64       `json:"keys"`
}

// A Tested is what an engine's canaries showed.
type Tested struct {
	Pool     string      `json:"pool"`
	Instance string      `json:"instance"`
	Error    string      `json:"error,omitempty"` // why it does not count
	Note     string      `json:"note,omitempty"`  // what to know though it counts
	Proof    *scan.Proof `json:"proof,omitempty"`
}

// A Quarantined is an object that was put away.
type Quarantined struct {
	ID      string      `json:"id"`
	Time    time.Time   `json:"time"`
	Unit    string      `json:"unit"`
	Key     string      `json:"key"` // in the form of object.FormatKey
	Size    int64       `json:"size"`
	SHA256  string      `json:"sha256"`
	Threat  string      `json:"threat,omitempty"`
	Reason  scan.Reason `json:"reason,omitempty"`
	Expires time.Time   `json:"expires,omitzero"` // zero: kept until purged
}

// A RestoreRequest asks for an object back.
type RestoreRequest struct {
	ID     string        `json:"id"`
	To     string        `json:"to,omitempty"` // another key of the unit; "" = the original
	Allow  time.Duration `json:"allow"`        // how long its hash is allowed for the unit
	DryRun bool          `json:"dry_run,omitempty"`
}

// An Effect is what was done to one thing, or would be in a dry run.
type Effect struct {
	ID     string `json:"id"`
	Unit   string `json:"unit,omitempty"`
	Key    string `json:"key,omitempty"`
	State  string `json:"state"` // done, planned, refused, failed
	Detail string `json:"detail,omitempty"`
}

// A Check is one thing that doctor or fsck looked at.
type Check struct {
	Name   string `json:"name"`
	State  string `json:"state"` // ok, warn, fail
	Detail string `json:"detail,omitempty"`
	Fix    string `json:"fix,omitempty"` // what to do about it
}
