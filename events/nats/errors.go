package nats

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// kinds lists the errors of the client that mean more than a lost connection.
func kinds() []struct {
	err  error
	kind fault.Kind
} {
	return []struct {
		err  error
		kind fault.Kind
	}{
		{nats.ErrAuthorization, fault.Denied},
		{nats.ErrAuthExpired, fault.Denied},
		{nats.ErrAuthRevoked, fault.Denied},
		{nats.ErrAccountAuthExpired, fault.Denied},
		{nats.ErrPermissionViolation, fault.Denied},
		{nats.ErrSecureConnRequired, fault.Invalid},
		{nats.ErrSecureConnWanted, fault.Invalid},
		{jetstream.ErrStreamNotFound, fault.NotFound},
		{jetstream.ErrConsumerNotFound, fault.NotFound},
		{jetstream.ErrConsumerDeleted, fault.NotFound},
		{jetstream.ErrConsumerDoesNotExist, fault.NotFound},
		{jetstream.ErrNotPullConsumer, fault.Invalid},
		{jetstream.ErrInvalidStreamName, fault.Invalid},
		{jetstream.ErrInvalidConsumerName, fault.Invalid},
		{jetstream.ErrInvalidSubject, fault.Invalid},
		{jetstream.ErrBadRequest, fault.Invalid},
		{jetstream.ErrConsumerExists, fault.Invalid},
		{jetstream.ErrMsgAlreadyAckd, fault.Changed},
	}
}

// errSilent is the answer to a request that nobody is there for.
var errSilent = errors.New("nobody answers for JetStream: is it on, and may this user speak to it?")

// fail gives an error of the client its kind. The client does not put what came
// from the URL's user part into its words.
func fail(ctx context.Context, op, on string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	for _, k := range kinds() {
		if errors.Is(err, k.err) {
			return fault.New(k.kind, op, on, errors.New(events.Plain(err.Error())))
		}
	}
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) {
		return fault.New(fault.Unavailable, op, on, errSilent)
	}
	var api jetstream.JetStreamError
	if errors.As(err, &api) && api.APIError() != nil && api.APIError().Code == 400 {
		return fault.New(fault.Invalid, op, on, errors.New(events.Plain(err.Error())))
	}
	return fault.New(fault.Unavailable, op, on, errors.New(events.Plain(err.Error())))
}
