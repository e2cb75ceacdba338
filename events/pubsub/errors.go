package pubsub

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"cloud.google.com/go/auth"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// kinds are the replies of Google's APIs by status
// (https://cloud.google.com/pubsub/docs/reference/error-codes).
var kinds = map[int]fault.Kind{
	http.StatusBadRequest:         fault.Invalid, // also ids of a delivery that is over
	http.StatusUnauthorized:       fault.Denied,
	http.StatusForbidden:          fault.Denied,
	http.StatusNotFound:           fault.NotFound,
	http.StatusConflict:           fault.Changed,
	http.StatusPreconditionFailed: fault.Changed,
	http.StatusTooManyRequests:    fault.Throttled,
	http.StatusServiceUnavailable: fault.Throttled,
}

// failReply makes an error of a reply that is not 200.
func failReply(op, on string, resp *http.Response) error {
	var said struct {
		Error struct {
			Status  string `json:"status"`
			Message string `json:"message"`
		} `json:"error"`
	}
	words := resp.Status
	if data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10)); err == nil && json.Unmarshal(data, &said) == nil && said.Error.Message != "" {
		words = said.Error.Status + ": " + said.Error.Message
	}
	kind, known := kinds[resp.StatusCode]
	switch {
	case known:
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		kind = fault.Invalid // a redirect: not the interface
	default:
		kind = fault.Unavailable
	}
	return &fault.Error{Op: op, On: on, Kind: kind, After: events.RetryAfter(resp.Header), Err: errors.New(events.Plain(words))}
}

// failUnanswered makes an error of a call without a reply.
func failUnanswered(ctx context.Context, op, on string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fault.New(fault.Unavailable, op, on, errors.New(events.Plain(err.Error())))
}

// failLogin makes an error of a token that could not be had. What the issuer
// refused is Denied; its words do not hold the secret.
func failLogin(ctx context.Context, op, on string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	kind := fault.Unavailable
	var refused *auth.Error
	switch {
	case fault.KindOf(err) != fault.Other:
		return err
	case errors.As(err, &refused) && refused.Response != nil && refused.Response.StatusCode < 500 && refused.Response.StatusCode != http.StatusTooManyRequests:
		kind = fault.Denied
	}
	return fault.New(kind, op, on, errors.New("no token: "+events.Plain(err.Error())))
}
