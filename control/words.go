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
	State    string        `json:"state"` // ok, degraded, down, gone, unknown (no daemon to ask)
	Detail   string        `json:"detail,omitempty"`
	Gone     time.Time     `json:"gone,omitzero"` // since when nothing names it any more; what is known of it stays
	Pending  int64         `json:"pending"`       // entries that wait
	Sweep    time.Duration `json:"sweep"`         // the interval
	Swept    time.Time     `json:"swept,omitzero"`
	Caps     []string      `json:"caps"`
}

// Coverage is how much of a unit has a verdict, and how fresh that is.
type Coverage struct {
	Unit      string        `json:"unit"`
	Gone      time.Time     `json:"gone,omitzero"` // since when nothing names the unit any more
	Keys      int64         `json:"keys"`          // in the inventory
	Counts    []Count       `json:"counts"`
	Unscanned int64         `json:"unscanned"` // of the keys: not_scanned, for whatever reason, and those without a verdict
	Pending   int64         `json:"pending"`
	Event     time.Time     `json:"event,omitzero"` // when the last one came
	Swept     time.Time     `json:"swept,omitzero"` // when the last whole sweep ended
	Listed    int64         `json:"listed"`         // objects that it listed
	Gaps      int64         `json:"gaps"`           // parts that it could not list
	Missing   int64         `json:"unaccounted"`    // of those listed, what is neither in the inventory nor pending: 0, or the next sweep finds it
	Promise   time.Duration `json:"promise"`        // the unit's interval
	Lag       time.Duration `json:"lag"`            // since the last whole sweep began: what was at rest by then was seen
	Within    bool          `json:"within"`         // the lag is within the promise, give or take a sweep's own time
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

// A Feed is a source or hook of events as operators see it.
type Feed struct {
	Name      string    `json:"name"`
	Kind      string    `json:"kind"` // source, or the hook's
	URL       string    `json:"url"`  // where it receives from; of a hook its path
	Connected bool      `json:"connected"`
	Error     string    `json:"error,omitempty"`   // the last one, until something succeeds
	ErrorAt   time.Time `json:"error_at,omitzero"` // when it came
	Received  int64     `json:"received"`          // messages or calls
	Acked     int64     `json:"acked"`
	Buried    int64     `json:"buried"`  // kept as dead letters
	Refused   int64     `json:"refused"` // calls that did not prove who they are
	Strays    int64     `json:"strays"`  // notices of places that are no unit's
	Last      time.Time `json:"last,omitzero"`
	Note      string    `json:"note,omitempty"` // what an operator should do
}

// A Message is a dead letter: a message of a source that made no sense.
type Message struct {
	ID     string    `json:"id"`
	Time   time.Time `json:"time"`
	Source string    `json:"source"`
	Tries  int       `json:"tries"`
	Why    string    `json:"why"`
	Vendor string    `json:"message,omitempty"` // the vendor's id of it
	Body   string    `json:"body"`              // in the form of object.FormatKey
}
