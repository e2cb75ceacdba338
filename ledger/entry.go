// Package ledger says what became of an event: the Entry, its states and their
// allowed moves, scans, and the inventory row. The ledger is the queue: an
// entry that is not finished is work to do.
package ledger

import (
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/workflow"
)

// An ID is a UUIDv7: 16 bytes, ordered by time.
type ID = uuid.UUID

// NewID returns a fresh ID.
func NewID() ID { return uuid.Must(uuid.NewV7()) }

// A State is how far an entry is.
type State uint8

// The states. Pending → Acting → Finished, and Pending → Finished where there
// is nothing to do. A rescan takes a finished entry back to Pending.
const (
	Pending State = iota
	Acting
	Finished
)

// String returns the state's name.
func (s State) String() string { return [...]string{"pending", "acting", "finished"}[s%3] }

// A Lane keeps large objects from standing in the way of small ones.
type Lane uint8

// The lanes. Alone is for entries whose last run died with the process.
const (
	Small Lane = iota
	Large
	Alone
)

// An Outcome is the coarse end of a finished entry.
type Outcome string

// The outcomes of a finished entry.
const (
	OutcomeDone       Outcome = "done"       // scanned or not_scanned with its reason; actions done or refused
	OutcomeFailed     Outcome = "failed"     // attempts used up, or can never succeed: listed, replayable
	OutcomeSuperseded Outcome = "superseded" // the version was replaced: the new one is work of its own
	OutcomeGone       Outcome = "gone"       // the object was removed before or during
	OutcomeCanceled   Outcome = "canceled"
)

// An Entry is what became of one ref in one scan.
type Entry struct {
	ID       ID
	Tenant   int64
	Unit     int64  // number
	UnitName string // filled in on read
	Scan     ID
	ScanType ScanType
	Workflow Hash // of the snapshot
	Key      string
	Version  string // "" until the worker filled it in
	Slot     uint8
	Epoch    int64 // of the slot when it was picked up

	State    State
	Lane     Lane
	Priority int
	Due      time.Time
	Seq      int64 // events folded in
	Force    bool
	Attempts int
	Crashes  int // runs that died with the process
	Cancel   bool
	Cause    string
	Parent   ID // the archive that it is a member of, or zero

	Discovered, Started, Finished time.Time

	Size              int64 // -1 until known
	ModTime           time.Time
	MD5, SHA1, SHA256 []byte // nil until known

	Outcome  Outcome
	Verdict  scan.Verdict
	Reason   scan.Reason
	Threat   string
	Code     int // MetaDefender's
	Engines  int
	Engine   string
	Decision workflow.Decision
	By       string // who or what decided otherwise: "allow-list: NAME until TIME"
	Report   *scan.Report
	Plan     remediation.Plan
	Error    string  // the last attempt's error
	Story    []Event // what happened before the present outcome, oldest first, at most MaxStory
}

// MaxStory bounds an entry's story; the oldest but the first go.
const MaxStory = 50

// An Event of an entry's story.
type Event struct {
	Time   time.Time `json:"time"`
	Kind   string    `json:"kind"` // event, attempt, snooze, verdict, begin, step, finish, rescan, crash, cancel
	Detail string    `json:"detail,omitempty"`
	By     string    `json:"by,omitempty"`
}

// Tell appends to the story within its bound.
func (e *Entry) Tell(at time.Time, kind, detail string) {
	if len(e.Story) >= MaxStory {
		e.Story = append(e.Story[:1], e.Story[2:]...)
	}
	if len(detail) > 1000 {
		detail = detail[:1000]
	}
	e.Story = append(e.Story, Event{Time: at, Kind: kind, Detail: detail})
}

// Ref names the entry's object version.
func (e *Entry) Ref() object.Ref { return object.Ref{Unit: e.UnitName, Key: e.Key, Version: e.Version} }

// A Hash is a SHA-256 that names something by its content.
type Hash [32]byte

// String returns the hash in hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash reads what String writes.
func ParseHash(s string) (h Hash, ok bool) {
	b, err := hex.DecodeString(s)
	return h, err == nil && copy(h[:], b) == len(h) && len(b) == len(h)
}

// A ScanType is MDSS's scanType.
type ScanType uint8

// The scan types, with MDSS's numbers.
const (
	Instant   ScanType = 0
	Scheduled ScanType = 1
	RealTime  ScanType = 2
)

// A Scan is a running or finished piece of work over a unit.
type Scan struct {
	ID        ID
	Tenant    int64
	Unit      int64
	Type      ScanType
	Partition string // a folder of the unit; "" = all of it
	Workflow  Hash
	StartDate time.Time // objects older than this are baseline; zero = everything counts
	Started   time.Time
	Ended     time.Time
	State     string // running, stopped, completed, failed

	Name     string
	Priority int
	By       ID     // who started it; zero = the configuration file or a schedule
	ByName   string // their name then
	Flow     ID     // the workflow that was asked for; zero = the unit's
	Events   bool   // RealTime: the webhook tells of changes
	Next     string // where its listing goes on
	Listed   bool   // its listing is whole
	Error    string // why it failed, or what could not be listed
}

// Within says whether the folder partition ("" = all) contains key.
func Within(partition, key string) bool {
	partition = strings.TrimSuffix(partition, "/")
	return partition == "" || len(key) > len(partition) && key[:len(partition)] == partition && key[len(partition)] == '/'
}

// Overlap says whether two folders of a unit have keys in common.
func Overlap(a, b string) bool {
	a, b = strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/")
	return a == b || Within(a, b) || Within(b, a)
}

// A Listing is how far a scan's listing has come: from Was to Next.
type Listing struct {
	Scan      ID
	Was, Next string
	Gap       string // what could not be listed on the way, "" = nothing
}

// A Row is an inventory row: what is known of a key.
type Row struct {
	Key      string
	Version  string
	Verdict  scan.Verdict
	Reason   scan.Reason
	Entry    ID
	Size     int64
	Baseline bool // older than the scan's start date: recorded, not scanned
}

// An Arrival is an event that belongs to a scan.
type Arrival struct {
	Event object.Event
	Scan  ID
}

// A Cursor is where a source of events is to resume; it is stored in the
// transaction of its events.
type Cursor struct {
	Unit   int64
	Source string
	Next   string
}

// Taken says what intake made of a batch.
type Taken struct {
	Inserted, Folded, Dropped int
}

// An Own is a version that a step of ours produced: it goes into the inventory
// of its unit with the verdict carried over, and so guards against our own events.
type Own struct {
	Unit    int64
	Key     string
	Version string
	Size    int64
	Gone    bool // the step removed the key: its row goes
}

// An End says what Finish shall write beside the entry itself.
type End struct {
	// Current: our stat saw the version as the key's current one, so the
	// inventory row is written.
	Current bool
	// Gone: the key is not there any more, so the inventory row is removed.
	Gone bool
	// Provisional: the object was scanned while somebody may still write to it, so
	// the inventory takes no version for known: the next sweep looks again.
	Provisional bool
	// Known: a look found the version that the inventory holds already, so the
	// pending entry was a false alarm: it is removed and leaves no trace.
	Known bool
	// Next: make this version pending in the same transaction (superseded).
	Next *object.Event
}

// What a compare-and-set of the ledger may answer beside faults of the store.
var (
	// ErrMoved: an event came in since the entry was picked up (seq moved).
	ErrMoved = errors.New("ledger: the entry was touched meanwhile")
	// ErrHeld: another entry's plan holds this key.
	ErrHeld = errors.New("ledger: the key is held by another entry's plan")
	// ErrCanceled: cancel was requested before Begin.
	ErrCanceled = errors.New("ledger: canceled")
)
