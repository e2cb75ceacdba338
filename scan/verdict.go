package scan

import "strconv"

// A Verdict is what we make of a report. Clean, Suspicious and Infected are a
// line; NotScanned stands beside it and never joins to clean.
type Verdict uint8

// The verdicts. The zero value is not one: nothing was decided.
const (
	None Verdict = iota
	Clean
	Suspicious
	Infected
	NotScanned
)

var verdictNames = [...]string{"", "clean", "suspicious", "infected", "not_scanned"}

// String returns the verdict's name as JSON and the CLI show it.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "not_scanned"
}

// ParseVerdict reads what String writes.
func ParseVerdict(s string) (Verdict, bool) {
	for i, n := range verdictNames {
		if n == s && i > 0 {
			return Verdict(i), true
		}
	}
	return None, false
}

// MarshalText returns the verdict's name: JSON shows words.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads a name. One that is unknown was not understood: that is
// NotScanned, never an error that would hide the rest, and never clean.
func (v *Verdict) UnmarshalText(text []byte) error {
	*v = None
	if len(text) > 0 {
		var ok bool
		if *v, ok = ParseVerdict(string(text)); !ok {
			*v = NotScanned
		}
	}
	return nil
}

// UnmarshalJSON reads a name, or the number that reports were once kept with.
func (v *Verdict) UnmarshalJSON(data []byte) error {
	if s, err := strconv.Unquote(string(data)); err == nil {
		return v.UnmarshalText([]byte(s))
	}
	n, err := strconv.ParseUint(string(data), 10, 8)
	switch {
	case string(data) == "null":
	case err != nil || n > uint64(NotScanned):
		*v = NotScanned
	default:
		*v = Verdict(n)
	}
	return nil
}

// Worse returns the verdict that counts when two engines or two members of an
// archive are judged together: infected over suspicious over not_scanned over
// clean.
func Worse(a, b Verdict) Verdict {
	if rank(b) > rank(a) {
		return b
	}
	return a
}

func rank(v Verdict) int {
	switch v {
	case Infected:
		return 4
	case Suspicious:
		return 3
	case NotScanned:
		return 2
	case Clean:
		return 1
	}
	return 0
}

// A Reason says why an object was not scanned.
type Reason string

// The reasons beside not_scanned.
const (
	TooLarge          Reason = "too_large"
	Encrypted         Reason = "encrypted"
	ArchiveDepth      Reason = "archive_depth"
	ArchiveFiles      Reason = "archive_files"
	ArchiveSize       Reason = "archive_size"
	Timeout           Reason = "timeout"
	Unsupported       Reason = "unsupported"
	EngineError       Reason = "engine_error"
	EngineUnavailable Reason = "engine_unavailable"
	StaleDefinitions  Reason = "stale_definitions"
	AccessDenied      Reason = "access_denied"
	KeyDenied         Reason = "key_denied"
	ColdTier          Reason = "cold_tier"
	Locked            Reason = "locked"
	NotRegular        Reason = "not_regular"
	Filtered          Reason = "filtered"
	Superseded        Reason = "superseded"
	Gone              Reason = "gone"
	Canceled          Reason = "canceled"
	EngineCrash       Reason = "engine_crash"
	FencedOff         Reason = "fenced_off"
)

// Reasons are all reasons, in the order of the documentation.
var Reasons = []Reason{TooLarge, Encrypted, ArchiveDepth, ArchiveFiles, ArchiveSize, Timeout, Unsupported,
	EngineError, EngineUnavailable, StaleDefinitions, AccessDenied, KeyDenied, ColdTier, Locked, NotRegular,
	Filtered, Superseded, Gone, Canceled, EngineCrash, FencedOff}
