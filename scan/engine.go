// Package scan asks malware engines about content: Engine is one kind of
// scanner, Instance one at an address, Pool a group of them that shares load
// and fails over. What an engine could not see is never clean.
package scan

import (
	"context"
	"io"
	"os"
	"time"
)

// An Engine inspects content. It knows nothing of storages. Methods are safe
// for concurrent use and stop when ctx ends.
type Engine interface {
	// Scan inspects s. An error means that the object was not scanned; it is
	// never a verdict. A fault of kind Throttled or Unavailable says that
	// another instance, or a later time, may do; its Reason names a Reason where
	// one fits. A report may say NotScanned with a reason by itself.
	Scan(ctx context.Context, s Sample) (Report, error)
	// Probe says whether the engine can take work now.
	Probe(ctx context.Context) (Health, error)
	Close() error
}

// A Batcher is an engine, or a pool, that takes work without a goroutine for
// each sample: at thousands of small objects a second, waking those is most of
// the cost.
type Batcher interface {
	// Submit starts to inspect s and returns at once, or as soon as there is room.
	// Either it returns an error and done is never called, or it returns nil and
	// done is called once with what Scan would have returned, also when ctx ends
	// first. done runs on a goroutine that serves other samples too, or before
	// Submit returns, so it must not block, nor call Submit. s.File must stay
	// open, and s.Open callable, until done is called.
	Submit(ctx context.Context, s Sample, done func(Report, error)) error
}

// A Sample is the content to inspect: one version of one object.
type Sample struct {
	Name   string   // the key's last element, shown to engines that look at extensions
	Size   int64    // bytes, known; the reader yields exactly so many or fails
	File   *os.File // a local file with this content, or nil; only ReadAt and descriptor passing
	SHA256 []byte   // if known before
	// Open starts reading from the first byte. It may be called again after an
	// earlier reader was closed (another instance, a retry).
	Open func(ctx context.Context) (io.ReadCloser, error)

	Passwords []string // for encrypted archives
	Rule      string   // the engine's own rule or workflow name
	UserAgent string
	Lookup    bool // ask for an earlier result by SHA256 first, where the engine keeps such
	Sanitize  bool // the plan may want the engine's sanitised copy
	Priority  int
}

// A Report is what engines said of a sample.
type Report struct {
	Verdict Verdict `json:"verdict"`
	Reason  Reason  `json:"reason,omitempty"` // with NotScanned
	Threat  string  `json:"threat,omitempty"`
	Code    int     `json:"code"` // MetaDefender scan_all_result_i, see Code
	// Engine is the kind and instance that answered: "clamd@/run/clamd.sock".
	Engine      string    `json:"engine,omitempty"`
	Definitions string    `json:"definitions,omitempty"` // version in the engine's words; "" = unknown
	DefinedAt   time.Time `json:"defined_at,omitzero"`   // age of the definitions; zero = unknown

	Details []Detail `json:"details,omitempty"` // by engine, at most MaxDetails
	Members []Member `json:"members,omitempty"` // archive members that were not clean, at most MaxDetails

	Blocked         string `json:"blocked,omitempty"` // the engine's own block, in its words
	BlockedBy       string `json:"blocked_by,omitempty"`
	Engines         int    `json:"engines,omitempty"`  // how many looked
	Detected        int    `json:"detected,omitempty"` // how many found something
	Vulnerabilities int    `json:"vulnerabilities,omitempty"`
	Sensitive       int    `json:"sensitive,omitempty"` // DLP hits

	Sanitized *Sanitized    `json:"sanitized,omitempty"`
	JobID     string        `json:"job_id,omitempty"` // the engine's own id (Core's data_id)
	Took      time.Duration `json:"took,omitempty"`
	Cached    bool          `json:"cached,omitempty"`
}

// MaxDetails bounds Details and Members of a report.
const MaxDetails = 100

// A Detail is what one engine of a multi-scanner said.
type Detail struct {
	Engine  string    `json:"engine"`
	Verdict Verdict   `json:"verdict"`
	Threat  string    `json:"threat,omitempty"`
	Defined time.Time `json:"defined,omitzero"`
}

// A Member is a part of an archive. Path is its place inside, as bytes shown
// by object.FormatKey.
type Member struct {
	Path    string  `json:"path"`
	Verdict Verdict `json:"verdict"`
	Reason  Reason  `json:"reason,omitempty"`
	Threat  string  `json:"threat,omitempty"`
	Size    int64   `json:"size,omitempty"`
	SHA256  string  `json:"sha256,omitempty"`
}

// Sanitized is a disarmed copy (Deep CDR) that the engine keeps for us.
type Sanitized struct {
	Result string `json:"result"`           // in the engine's words
	Size   int64  `json:"size,omitempty"`   // 0 if unknown
	SHA256 string `json:"sha256,omitempty"` // hex, "" if unknown
	Name   string `json:"name,omitempty"`   // the name that the engine proposes
}

// A Sanitizer can hand out the sanitised copy of an earlier report.
type Sanitizer interface {
	OpenSanitized(ctx context.Context, rep Report) (io.ReadCloser, error)
}

// Health is what a probe found.
type Health struct {
	Ready       bool      `json:"ready"`
	Version     string    `json:"version,omitempty"`
	Definitions string    `json:"definitions,omitempty"` // "" = the engine does not say
	DefinedAt   time.Time `json:"defined_at,omitzero"`
	Ageless     bool      `json:"ageless,omitempty"` // the definitions do not go stale by themselves
	Knows       string    `json:"knows,omitempty"`   // what the definitions hold, where versions say little
	Load        float64   `json:"load"`              // 0 idle … 1 full
	Detail      string    `json:"detail,omitempty"`  // why not ready
	Limits      Limits    `json:"limits"`            // as the engine's own settings say
}

// Limits are what an engine looks at most at; 0 means unknown or unlimited.
type Limits struct {
	Size      int64         `json:"size,omitempty"`     // bytes of one object
	Expanded  int64         `json:"expanded,omitempty"` // bytes unpacked
	Depth     int           `json:"depth,omitempty"`    // archives in archives
	Entries   int           `json:"entries,omitempty"`  // members of an archive
	Timeout   time.Duration `json:"timeout,omitempty"`
	Ratio     int64         `json:"ratio,omitempty"`     // expanded bytes for each packed one
	Encrypted bool          `json:"encrypted,omitempty"` // the engine alerts on encrypted content
	Exceeded  bool          `json:"exceeded,omitempty"`  // the engine alerts where one of these limits was passed
}

// DefaultLimits are our own bounds on what is opened (archives above all).
var DefaultLimits = Limits{Depth: 16, Entries: 100_000, Expanded: 10 << 30, Ratio: 1000}
