package webhook

import (
	"errors"
	"net/http"

	"github.com/landwaiter/landwaiter/fault"
)

// A cause is why a call was not accepted.
type cause string

const (
	unproven    cause = "unproven"     // not shown to come from the vendor
	unreadable  cause = "unreadable"   // what the proof needs is not there or makes no sense
	tooLarge    cause = "too_large"    // above events.MaxBody
	wrongType   cause = "wrong_type"   // not a content type of this kind
	wrongMethod cause = "wrong_method" // neither POST nor what the kind's handshake uses
	slow        cause = "slow"         // the body did not come in time, or not to its end
	busy        cause = "busy"         // more calls or notices at a time than the hook allows
	ours        cause = "ours"         // the sink, or a key we could not fetch
)

// statuses answer a call that was not accepted. A kind may answer unproven
// otherwise, where its vendor drops what gets a 401.
var statuses = map[cause]int{
	unproven:    http.StatusUnauthorized,
	unreadable:  http.StatusBadRequest,
	tooLarge:    http.StatusRequestEntityTooLarge,
	wrongType:   http.StatusUnsupportedMediaType,
	wrongMethod: http.StatusMethodNotAllowed,
	slow:        http.StatusServiceUnavailable, // 408 would be final for SNS
	busy:        http.StatusServiceUnavailable, // 429 would be, too
	ours:        http.StatusServiceUnavailable,
}

// A refusal is an error with its cause. It stays inside the package.
type refusal struct {
	cause cause
	err   error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// refuse returns a refusal in words, which must hold no secret.
func refuse(c cause, words string) error { return &refusal{cause: c, err: errors.New(words)} }

// causeOf is the cause of err; what has none is our own fault.
func causeOf(err error) cause {
	var r *refusal
	if errors.As(err, &r) {
		return r.cause
	}
	return ours
}

// missing turns the error of a fetch into a refusal: what the vendor says does
// not exist proves nothing; anything else is for us to repair.
func missing(err error, words string) error {
	if fault.Is(err, fault.NotFound) {
		return refuse(unproven, words)
	}
	return &refusal{cause: ours, err: err}
}
