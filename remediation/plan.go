// Package remediation turns a decision into a plan (pure) and carries it out:
// steps in order, each journaled and safe to repeat.
package remediation

import (
	"fmt"
	"strings"

	"github.com/landwaiter/landwaiter/object"
)

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
	Action     Action            `json:"type"`
	Unit       string            `json:"unit"`               // where the effect is
	Key        []byte            `json:"key,omitempty"`      // bytes: base64 in JSON
	Wanted     []byte            `json:"wanted,omitempty"`   // the key asked for, where on_conflict: rename took another
	IfThere    string            `json:"if_there,omitempty"` // the destination's version that may be overwritten
	Conflict   string            `json:"conflict,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
	Loose      []string          `json:"loose,omitempty"`       // of Tags: those whose value alone is no reason to write again
	VersionTag string            `json:"version_tag,omitempty"` // of Tags: the one that names the version
	Aside      string            `json:"aside,omitempty"`       // the name used by the fence, or the temporary name of a put
	Expiry     int64             `json:"expiry,omitempty"`      // of a quarantined object: Unix seconds, 0 = kept until purged
	SHA256     []byte            `json:"sha256,omitempty"`      // of a sanitised copy, once known; else it is the scanned one
	// Claimed: the destination was seen free (or to be overwritten) and this step
	// is durable, so what lies there with the right hash and no other entry's
	// name is this step's own, left by a crash.
	Claimed bool `json:"claimed,omitempty"`

	State    StepState `json:"state"`
	Version  string    `json:"version,omitempty"` // that the effect produced
	Detail   string    `json:"detail,omitempty"`
	Unfenced bool      `json:"unfenced,omitempty"`
}

// A Plan is the steps of one entry, in order.
type Plan []Step

// A Target is a key of a unit.
type Target struct {
	Unit string
	Key  string
}

// Target is where the effect is.
func (s Step) Target() Target { return Target{s.Unit, string(s.Key)} }

// String says what the step does, as a dry run shows it.
func (s Step) String() string {
	on := s.Unit + ":" + object.FormatKey(string(s.Key))
	switch s.Action {
	case Tag:
		return fmt.Sprintf("tag %s with %d tags", on, len(s.Tags))
	case Copy, Sanitized:
		verb := "copy to "
		if s.Action == Sanitized {
			verb = "put the sanitized copy at "
		}
		switch {
		case s.IfThere != "":
			return verb + on + ", overwriting version " + s.IfThere
		case len(s.Wanted) > 0:
			return verb + on + ", since " + object.FormatKey(string(s.Wanted)) + " is taken"
		}
		return verb + on
	case Remove:
		return "remove " + on
	case Put:
		return "quarantine as " + on
	case Prune:
		return "remove the folders above " + on + " that are empty"
	}
	return string(s.Action) + " " + on
}

// copies reports whether the step makes something that a later removal relies on.
func (s Step) copies() bool { return s.Action == Copy || s.Action == Sanitized || s.Action == Put }

// Open reports whether anything is left to do: a plan of which every step is
// skipped or refused needs no executor.
func (p Plan) Open() bool {
	for _, s := range p {
		switch s.State {
		case Planned:
			return true
		case Failed:
			return false
		}
	}
	return false
}

// Keys are the keys that open steps write, each once: destinations, and the
// source if it is tagged or removed. They are what an entry must hold. The
// quarantine's names are not among them: nobody else knows them.
func (p Plan) Keys() []Target {
	var keys []Target
	seen := map[Target]bool{}
	for _, s := range p {
		if s.State != Planned || s.Action == Put || s.Action == Prune || seen[s.Target()] {
			continue
		}
		seen[s.Target()] = true
		keys = append(keys, s.Target())
	}
	return keys
}

// SourceVersion returns the token that the source has after the steps done so
// far, given the one it was scanned with: tags may have moved it.
func (p Plan) SourceVersion(scanned string) string {
	for _, s := range p {
		if s.Action == Tag && s.Version != "" && (s.State == Done || s.State == Skipped) {
			scanned = s.Version
		}
	}
	return scanned
}

// Removed reports whether the source was removed, so that the key must be
// looked at again: an older version may be the current one now.
func (p Plan) Removed() bool {
	for _, s := range p {
		if s.Action == Remove && s.State == Done {
			return true
		}
	}
	return false
}

// Failure returns why a failed step ended the plan, or "".
func (p Plan) Failure() string {
	for _, s := range p {
		if s.State == Failed {
			return string(s.Action) + ": " + s.Detail
		}
	}
	return ""
}

// Candidate returns the nth name for a key, the key itself for 0 and
// "folder/name (n).ext" for others. A name that fits into 255 bytes still does.
func Candidate(key string, n int) string {
	if n == 0 {
		return key
	}
	base := object.Base(key)
	folder := key[:len(key)-len(base)]
	stem, ext := base, ""
	if i := strings.LastIndexByte(base, '.'); i > 0 {
		stem, ext = base[:i], base[i:]
	}
	mark := fmt.Sprintf(" (%d)", n)
	if over := len(stem) + len(mark) + len(ext) - 255; over > 0 && len(base) <= 255 {
		if len(ext) > 64 { // no extension that anybody would miss
			stem, ext = base, ""
		}
		stem = cut(stem, 255-len(mark)-len(ext))
	}
	return folder + stem + mark + ext
}

// MaxCandidates bounds the names that on_conflict: rename tries.
const MaxCandidates = 100

// cut returns at most n bytes of s, and no part of a UTF-8 sequence at the end.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := 0; i < 3 && n > 0 && s[n]&0xc0 == 0x80; i++ {
		n--
	}
	return s[:n]
}
