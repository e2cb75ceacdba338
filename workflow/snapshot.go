package workflow

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
)

// Off as a tagging key switches that tag off.
const Off = "-"

// Report is the default workflow: look and report, change nothing.
func Report() Workflow { return Workflow{Name: "report"} }

// WithQuarantine is the default workflow plus: what is blocked is put away,
// neutralised, and can be restored.
func WithQuarantine() Workflow {
	return Workflow{Name: "quarantine", Quarantine: Quarantine{Enabled: true}}
}

// Snapshot returns w as JSON and the SHA-256 of it, by which the ledger names
// what an entry was decided under. w must be valid. Equal workflows have equal snapshots.
func (w Workflow) Snapshot() (data []byte, hash [32]byte) {
	w.Filters.After, w.Filters.Before = w.Filters.After.UTC(), w.Filters.Before.UTC()
	data, err := json.Marshal(w) // map keys come out sorted
	if err != nil {
		// Only a year beyond 9999 can do this, and Validate refuses it.
		panic(fmt.Sprintf("workflow %q cannot be written as JSON: %v", w.Name, err))
	}
	return data, sha256.Sum256(data)
}
