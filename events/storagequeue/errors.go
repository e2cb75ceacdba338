package storagequeue

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// codes are the error codes of the service that mean more than their status
// (https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes).
var codes = map[string]fault.Kind{
	"AccountIsDisabled":    fault.Denied,
	"AuthenticationFailed": fault.Denied,
	"InternalError":        fault.Unavailable,
	"MessageNotFound":      fault.Changed, // deleted, or expired
	"OperationTimedOut":    fault.Unavailable,
	"PopReceiptMismatch":   fault.Changed, // somebody else has it
	"QueueBeingDeleted":    fault.NotFound,
	"QueueDisabled":        fault.Denied,
	"QueueNotFound":        fault.NotFound,
	"ServerBusy":           fault.Throttled,
	"AuthorizationFailure": fault.Denied,
}

// statuses are the kinds of the others.
var statuses = map[int]fault.Kind{
	http.StatusBadRequest:         fault.Invalid,
	http.StatusUnauthorized:       fault.Denied,
	http.StatusForbidden:          fault.Denied,
	http.StatusNotFound:           fault.NotFound,
	http.StatusConflict:           fault.Unavailable,
	http.StatusTooManyRequests:    fault.Throttled,
	http.StatusServiceUnavailable: fault.Throttled,
}

// fail gives an error of the SDK its kind. The end of the caller's context is
// passed through untouched, that of our own time limit is not. A URL may hold a
// signature: it is left out.
func (s *Source) fail(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	on := s.set.on()
	var login *azidentity.AuthenticationFailedError
	var reply *azcore.ResponseError
	switch {
	case errors.As(err, &login):
		kind := fault.Unavailable
		if r := login.RawResponse; r != nil && r.StatusCode < 500 && r.StatusCode != http.StatusTooManyRequests {
			kind = fault.Denied
		}
		return fault.New(kind, op, on, errors.New("no token: "+events.Plain(err.Error())))
	case !errors.As(err, &reply):
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		kind := fault.Unavailable
		var final interface{ NonRetriable() }
		if errors.As(err, &final) {
			kind = fault.Denied // the SDK found no credentials
		}
		return fault.New(kind, op, on, errors.New(events.Plain(err.Error())))
	}
	kind, known := codes[reply.ErrorCode]
	if !known {
		kind, known = statuses[reply.StatusCode]
	}
	switch {
	case known:
	case reply.StatusCode >= 300 && reply.StatusCode < 400:
		kind = fault.Invalid // a redirect: not the service
	default:
		kind = fault.Unavailable
	}
	e := &fault.Error{Op: op, On: on, Kind: kind, Err: errors.New(events.Plain("HTTP " + strconv.Itoa(reply.StatusCode) + " " + reply.ErrorCode))}
	if reply.RawResponse != nil {
		e.After = events.RetryAfter(reply.RawResponse.Header)
	}
	return e
}
