// Package workflow turns a report into a decision. It is pure: no I/O, no clock.
package workflow

import (
	"time"

	"github.com/landwaiter/landwaiter/scan"
)

// A Workflow says what is looked at, by whom, and what follows. It is a value:
// a snapshot of it, named by the hash of its JSON, stays with each entry.
type Workflow struct {
	Name       string         `json:"name" yaml:"name"`
	Pools      []string       `json:"pools,omitempty" yaml:"pools,omitempty"`       // all are asked, the worst verdict counts; none = "default"
	Failover   string         `json:"failover,omitempty" yaml:"failover,omitempty"` // the pool that is asked where no instance of one of them can be
	Rule       string         `json:"rule,omitempty" yaml:"rule,omitempty"`
	HashLookup bool           `json:"hash_lookup,omitempty" yaml:"hash_lookup,omitempty"` // ask the engine for an earlier result by hash before the content is sent, where the hash is known
	UserAgent  string         `json:"user_agent,omitempty" yaml:"user_agent,omitempty"`
	Filters    Filters        `json:"filters,omitzero" yaml:"filters,omitempty"`
	Definition FileDefinition `json:"file_definition,omitzero" yaml:"file_definition,omitempty"`
	// NotScanned says what becomes of each reason: "held" (default), "blocked",
	// or "allowed", which must name the reason: there is no wildcard for it.
	NotScanned map[scan.Reason]Decision `json:"not_scanned,omitempty" yaml:"not_scanned,omitempty" enum:"held,blocked,allowed" keys:"too_large,encrypted,archive_depth,archive_files,archive_size,timeout,unsupported,engine_error,engine_unavailable,stale_definitions,access_denied,key_denied,cold_tier,locked,not_regular,filtered,superseded,gone,canceled,engine_crash,fenced_off"`

	Tagging   Tagging `json:"tagging,omitzero" yaml:"tagging,omitempty"`
	Sanitized Remedy  `json:"sanitized,omitzero" yaml:"sanitized,omitempty"`
	// BlockedSanitized is Sanitized for what is blocked; without a handling
	// Sanitized holds for both.
	BlockedSanitized Remedy     `json:"blocked_sanitized,omitzero" yaml:"blocked_sanitized,omitempty"`
	Blocked          Remedy     `json:"blocked,omitzero" yaml:"blocked,omitempty"`
	Allowed          Remedy     `json:"allowed,omitzero" yaml:"allowed,omitempty"`
	Quarantine       Quarantine `json:"quarantine,omitzero" yaml:"quarantine,omitempty"`

	DeleteEmptyFolders bool `json:"delete_empty_folders,omitempty" yaml:"delete_empty_folders,omitempty"`
	DryRun             bool `json:"dry_run,omitempty" yaml:"dry_run,omitempty"`
}

// Filters leave objects out: they become not_scanned(filtered), never clean.
type Filters struct {
	MinSize int64     `json:"min_size,omitempty" yaml:"min_size,omitempty"` // bytes
	MaxSize int64     `json:"max_size,omitempty" yaml:"max_size,omitempty"`
	After   time.Time `json:"after,omitzero" yaml:"after,omitempty"` // modified not before
	Before  time.Time `json:"before,omitzero" yaml:"before,omitempty"`
	Include []string  `json:"include,omitempty" yaml:"include,omitempty"` // globs on the key; none = all
	Exclude []string  `json:"exclude,omitempty" yaml:"exclude,omitempty"`
}

// FileDefinition says what is blocked. Strict blocks whatever an engine blocks.
// Configurable always blocks infected and suspicious, the rest as asked.
type FileDefinition struct {
	Configurable    bool `json:"configurable,omitempty" yaml:"configurable,omitempty"`
	Sensitive       bool `json:"sensitive,omitempty" yaml:"sensitive,omitempty"`
	Vulnerabilities bool `json:"vulnerabilities,omitempty" yaml:"vulnerabilities,omitempty"`
}

// Tagging writes the verdict onto the object. Keys default to MetaDefender's
// names; "-" switches one off.
type Tagging struct {
	Enabled      bool              `json:"enabled,omitempty" yaml:"enabled,omitempty"`
	ResultKey    string            `json:"result_key,omitempty" yaml:"result_key,omitempty"`                                      // MetaDefenderResult
	FileIDKey    string            `json:"file_id_key,omitempty" yaml:"file_id_key,omitempty"`                                    // MetaDefenderFileId
	TimestampKey string            `json:"timestamp_key,omitempty" yaml:"timestamp_key,omitempty"`                                // MetaDefenderAnalysisTimestamp
	VersionKey   string            `json:"version_key,omitempty" yaml:"version_key,omitempty"`                                    // MetaDefenderVersion: the version that the others speak of
	Values       map[string]string `json:"values,omitempty" yaml:"values,omitempty" keys:"clean,suspicious,infected,not_scanned"` // by verdict: clean → "No Threat Detected"
}

// Handling is what is done with the object itself.
type Handling string

// The handlings of a remedy. Keep is the default.
const (
	Keep   Handling = "keep"
	Copy   Handling = "copy"
	Move   Handling = "move"
	Delete Handling = "delete"
)

// A Remedy is what follows a decision.
type Remedy struct {
	Handling     Handling      `json:"handling,omitempty" yaml:"handling,omitempty" enum:"keep,copy,move,delete"`
	Destinations []Destination `json:"destinations,omitempty" yaml:"destinations,omitempty"`                            // 1 to 5 for copy and move
	OnConflict   string        `json:"on_conflict,omitempty" yaml:"on_conflict,omitempty" enum:"rename,overwrite,fail"` // rename (default), overwrite, fail
}

// Remedies are all that w has.
func (w *Workflow) Remedies() []Remedy {
	return []Remedy{w.Sanitized, w.BlockedSanitized, w.Blocked, w.Allowed}
}

// Disarms says whether w may use an engine's sanitised copy.
func (w *Workflow) Disarms() bool { return !w.Sanitized.Keeps() || !w.BlockedSanitized.Keeps() }

// Keeps says whether the remedy leaves the object alone.
func (r Remedy) Keeps() bool { return r.Handling == "" || r.Handling == Keep }

// A Destination is a folder of a unit.
type Destination struct {
	Unit   string `json:"unit" yaml:"unit"`
	Folder string `json:"folder,omitempty" yaml:"folder,omitempty"`
	Flat   bool   `json:"flat,omitempty" yaml:"flat,omitempty"` // drop the source's folders
}

// Quarantine puts blocked objects away, neutralised, instead of the Blocked remedy.
type Quarantine struct {
	Enabled bool          `json:"enabled,omitempty" yaml:"enabled,omitempty"`
	Expiry  time.Duration `json:"expiry,omitempty" yaml:"expiry,omitempty"` // 0 = kept until purged
}

// A Decision is what a report means under a workflow.
type Decision string

// The decisions. Held does nothing but tag.
const (
	Allowed Decision = "allowed"
	Blocked Decision = "blocked"
	Held    Decision = "held"
)
