package ledger

import (
	"time"

	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/workflow"
)

// A Processing is how far an entry is, with MetaDefender's numbers.
type Processing int

// The processing states.
const (
	InProgress Processing = iota
	ProcessingFailed
	ProcessingCanceled
	Available
)

// A Result is what an entry came to, with MetaDefender's numbers. What is held,
// and what has no decision, is shown as blocked: it is not known to be harmless.
type Result int

// The results.
const (
	ResultAllowed Result = iota
	ResultBlocked
	ResultProcessing
)

// Processing is how far e is.
func (e *Entry) Processing() Processing {
	switch {
	case e.State != Finished:
		return InProgress
	case e.Outcome == OutcomeFailed:
		return ProcessingFailed
	case e.Outcome == OutcomeCanceled:
		return ProcessingCanceled
	}
	return Available
}

// Result is what e came to.
func (e *Entry) Result() Result {
	switch {
	case e.State != Finished:
		return ResultProcessing
	case e.Decision == workflow.Allowed:
		return ResultAllowed
	}
	return ResultBlocked
}

// codeInProgress is MetaDefender's scan_all_result_i of what is not finished.
const codeInProgress = 255

// ResultCode is MetaDefender's scan_all_result_i of e.
func (e *Entry) ResultCode() int {
	switch {
	case e.State != Finished:
		return codeInProgress
	case e.Code == 0 && e.Verdict != scan.Clean:
		return scan.Code(e.Verdict, e.Reason)
	}
	return e.Code
}

// A Remedy is what was done to an object, with MetaDefender's numbers as far as
// they are known: 12 to 14 and 100 are this product's reading of them.
type Remedy int

// The remedies.
const (
	Tagged          Remedy = 0
	Disarmed        Remedy = 1
	AllowedMoved    Remedy = 5
	BlockedMoved    Remedy = 6
	BlockedDeleted  Remedy = 7
	SanitizedMoved  Remedy = 8
	AllowedCopied   Remedy = 9
	BlockedCopied   Remedy = 10
	SanitizedCopied Remedy = 11
	AllowedDeleted  Remedy = 12
	AllowedKept     Remedy = 13
	BlockedKept     Remedy = 14
	QuarantinedSoft Remedy = 100
)

var remedyNames = map[Remedy]string{Tagged: "Tagging", Disarmed: "DeepCdrSanitization", AllowedMoved: "AllowedMoved", BlockedMoved: "BlockedMoved", BlockedDeleted: "BlockedDelete",
	SanitizedMoved: "SanitizedMoved", AllowedCopied: "AllowedCopied", BlockedCopied: "BlockedCopied", SanitizedCopied: "SanitizedCopied", AllowedDeleted: "AllowedDelete",
	AllowedKept: "AllowedKept", BlockedKept: "BlockedKept", QuarantinedSoft: "SoftDelete"}

// String is MetaDefender's name of the remedy.
func (r Remedy) String() string { return remedyNames[r] }

// Remedies are what was done to the object of a finished e.
func (e *Entry) Remedies() (list []Remedy) {
	if e.State != Finished || e.Outcome != OutcomeDone {
		return nil
	}
	done := map[remediation.Action]bool{}
	for _, s := range e.Plan {
		if s.State == remediation.Done {
			done[s.Action] = true
		}
	}
	add := func(is bool, r Remedy) {
		if is {
			list = append(list, r)
		}
	}
	allowed, moved := e.Decision == workflow.Allowed, done[remediation.Remove]
	either := func(a, b Remedy) Remedy {
		if allowed {
			return a
		}
		return b
	}
	add(done[remediation.Tag], Tagged)
	add(e.Report != nil && e.Report.Sanitized != nil, Disarmed)
	add(done[remediation.Sanitized] && moved, SanitizedMoved)
	add(done[remediation.Sanitized] && !moved, SanitizedCopied)
	add(done[remediation.Copy] && moved, either(AllowedMoved, BlockedMoved))
	add(done[remediation.Copy] && !moved, either(AllowedCopied, BlockedCopied))
	add(done[remediation.Put], QuarantinedSoft)
	add(moved && !done[remediation.Copy] && !done[remediation.Sanitized] && !done[remediation.Put], either(AllowedDeleted, BlockedDeleted))
	add(!moved && !done[remediation.Put], either(AllowedKept, BlockedKept))
	return list
}

// A FileSort is a column that a list of files is in the order of.
type FileSort struct {
	By   SortBy
	Desc bool
}

// A SortBy is a column, with MetaDefender's numbers; 5 and 6 are this product's
// reading of them.
type SortBy int

// The columns.
const (
	ByDiscovery SortBy = iota
	ByScan
	ByProcessing
	ByResult
	ByCode
	ByDetections
	ByVulnerabilities
)

// A FileFilter says which entries of a tenant to list. Lists that are nil do not
// restrict; those that are empty select nothing. A value that means nothing
// selects nothing.
type FileFilter struct {
	Tenant     int64
	Units      []int64
	Scans      []ID
	Types      []ScanType
	Workflows  []Hash
	Processing []Processing
	Results    []Result
	Codes      []int
	Detected   []int // how many engines found something
	Vulns      []int
	HasVulns   *bool
	Sensitive  *bool
	Remedies   []Remedy
	From, To   time.Time // discovered at or after, and before
	Search     string    // bytes that the key contains
	Parent     ID        // members of this archive; zero = whatever it is a member of

	Sort  []FileSort // default the last discovered first
	Start int
	Limit int // default 100, at most 10,000
}

// A FilePage is a part of a list of files.
type FilePage struct {
	Entries []Entry
	Total   int64
	AtLeast bool // there are more than Total
}
