// Package fault gives every error that crosses a package boundary a Kind, so
// that callers decide by kind and never by message or by vendor type.
package fault

import (
	"context"
	"errors"
	"strings"
	"time"
)

// A Kind says what a caller can do about an error.
type Kind uint8

// The kinds. Other is the zero value: nothing is known, treat as transient.
const (
	Other       Kind = iota
	Invalid          // can never succeed as given
	NotFound         // there is no such thing
	Exists           // there is one already
	Changed          // no longer the version named
	Denied           // the credentials or the grant do not allow it
	Unsupported      // the vendor lacks it, or the grant withholds it
	Throttled        // slow down; After says for how long, if known
	Unavailable      // try again
	Corrupt          // stored state is damaged
	Stale            // no longer ours to do: stop silently
	Internal         // a bug of ours
)

var kindNames = [...]string{"other", "invalid", "not found", "exists", "changed", "denied",
	"unsupported", "throttled", "unavailable", "corrupt", "stale", "internal"}

// String returns the kind in words.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// An Error is an error with a Kind.
type Error struct {
	Op     string        // package and method: "s3.Stat"
	On     string        // what it was done to; never a secret
	Kind   Kind          // Other leaves the Kind of Err standing
	Reason string        // a name of scan.Reason where one fits ("cold_tier", "key_denied"), else ""
	After  time.Duration // for Throttled: how long to wait, 0 if unknown
	Err    error         // what went wrong underneath, or nil
}

// Error returns "op on: kind: cause".
func (e *Error) Error() string {
	if e.Op == "" && e.On == "" && e.Err != nil {
		return e.Err.Error() // words that came from elsewhere
	}
	var b strings.Builder
	b.WriteString(e.Op)
	if e.On != "" {
		b.WriteString(" " + e.On)
	}
	if e.Kind != Other {
		b.WriteString(": " + e.Kind.String())
	}
	if e.Reason != "" {
		b.WriteString(" (" + e.Reason + ")")
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an Error of the kind k. It returns nil if err is nil and k is Other.
func New(k Kind, op, on string, err error) error {
	if err == nil && k == Other {
		return nil
	}
	return &Error{Op: op, On: on, Kind: k, Err: err}
}

// KindOf returns the outermost Kind of err that is not Other.
func KindOf(err error) Kind {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return Other
		}
		if e.Kind != Other {
			return e.Kind
		}
		err = e.Err
	}
	return Other
}

// Is reports whether the Kind of err is one of kinds. It is false for nil.
func Is(err error, kinds ...Kind) bool {
	if err == nil {
		return false
	}
	k := KindOf(err)
	for _, want := range kinds {
		if k == want {
			return true
		}
	}
	return false
}

// ReasonOf returns the outermost Reason in err, or "".
func ReasonOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Reason != "" {
			return e.Reason
		}
		err = e.Err
	}
	return ""
}

// AfterOf returns how long a Throttled error asks to wait, or 0.
func AfterOf(err error) time.Duration {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return 0
		}
		if e.After > 0 {
			return e.After
		}
		err = e.Err
	}
	return 0
}

// Canceled reports whether err is the end of a context and nothing else.
func Canceled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
