// Package remediation turns a decision into a plan (pure) and carries it out:
// steps in order, each journaled and safe to repeat.
package remediation

// An Action is what a step does.
type Action string

// The actions.
const (
	Tag       Action = "tag"
	Copy      Action = "copy"      // the scanned bytes to a destination
	Sanitized Action = "sanitized" // the engine's disarmed copy to a destination
	Remove    Action = "remove"    // the source, exactly the version scanned
	Put       Action = "quarantine"
	Prune     Action = "prune" // folders that a removal left empty
)

// A StepState is how far a step is.
type StepState string

// The states of a step. Refused and failed are final; a failed step ends the plan.
const (
	Planned StepState = "planned"
	Done    StepState = "done"
	Skipped StepState = "skipped" // nothing to do: it was so already, or dry-run
	Refused StepState = "refused" // cannot be done safely; Detail says why
	Failed  StepState = "failed"
)

// A Step is one effect on storage, with everything needed to repeat it.
type Step struct {
	Action   Action            `json:"type"`
	Unit     string            `json:"unit"`               // where the effect is
	Key      []byte            `json:"key,omitempty"`      // bytes: base64 in JSON
	IfThere  string            `json:"if_there,omitempty"` // the destination's version that may be overwritten
	Conflict string            `json:"conflict,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
	Aside    string            `json:"aside,omitempty"` // the name used by the fence, or the temporary name of a put
	Expiry   int64             `json:"expiry,omitempty"`

	State    StepState `json:"state"`
	Version  string    `json:"version,omitempty"` // that the effect produced
	Detail   string    `json:"detail,omitempty"`
	Unfenced bool      `json:"unfenced,omitempty"`
}

// A Plan is the steps of one entry, in order.
type Plan []Step
