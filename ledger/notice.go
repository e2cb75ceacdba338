package ledger

import (
	"encoding/json"
	"time"

	"github.com/landwaiter/landwaiter/workflow"
)

// A NoticeKind is what a notice tells of.
type NoticeKind string

// The kinds of notices.
const (
	NoticeFile  NoticeKind = "file"  // an entry finished: a FileNotice
	NoticeScan  NoticeKind = "scan"  // an Instant or Scheduled scan ended: a ScanNotice
	NoticeAudit NoticeKind = "audit" // a row of the audit: an AuditRow
	NoticeMail  NoticeKind = "mail"  // a message to one address
)

// A Notice is a row of the outbox: something that is to go out over a channel of
// a tenant. Its ID stays the same however often it is tried, so that whoever
// gets it twice can tell.
type Notice struct {
	ID       ID
	Tenant   int64
	Channel  string
	Kind     NoticeKind
	Body     json.RawMessage
	Due      time.Time
	Attempts int // begun, this one included
	GivenUp  bool
	Error    string // of the last attempt
	Created  time.Time
}

// A FileNotice is the body of NoticeFile: the record of the entry as it finished.
type FileNotice struct {
	Record
	Code     int    `json:"code"`     // MetaDefender's
	Result   string `json:"result"`   // its name
	Workflow string `json:"workflow"` // hash of its snapshot
}

// A ScanNotice is the body of NoticeScan.
type ScanNotice struct {
	ID      ID        `json:"id"`
	Name    string    `json:"name"` // the unit's where the scan has none
	Unit    string    `json:"unit"`
	Type    ScanType  `json:"type"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	State   string    `json:"state"`
}

// A Subscription is what a channel of a tenant wants to hear.
type Subscription struct {
	Channel string
	Files   bool // every entry that finished
	Blocked bool // of these the blocked alone
	Scans   bool
	Audit   bool
}

// Wants reports whether a subscription has to hear of a finished entry. What
// was superseded, was gone or was known already is nobody's news.
func (s Subscription) Wants(e *Entry, end End) bool {
	switch {
	case !s.Files && !s.Blocked || end.Known || e.Outcome == OutcomeSuperseded || e.Outcome == OutcomeGone:
		return false
	case s.Files:
		return true
	}
	return e.Decision == workflow.Blocked
}

// A Pile is some notices of a channel.
type Pile struct {
	Tenant  int64
	Channel string
	N       int64
}

// A NoticeEnd is how an attempt at a notice ended.
type NoticeEnd int

// The ends. Delivered removes the notice; Later and GivenUp keep it with its
// error; Untried gives it back without an attempt counted.
const (
	Delivered NoticeEnd = iota
	Later
	GivenUp
	Untried
)

// A Settled is what became of a claimed notice: for Later and Untried, Due says
// when it is to be tried again.
type Settled struct {
	Notice
	End NoticeEnd
}

// A NoticeFilter selects notices of a tenant.
type NoticeFilter struct {
	Tenant  int64
	GivenUp *bool
	Start   int
	Limit   int
}
