package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// codes are the protocol's errors that mean more than "try again".
var codes = map[int16]fault.Kind{
	kerr.UnknownTopicOrPartition.Code:            fault.NotFound,
	kerr.InvalidTopicException.Code:              fault.Invalid,
	kerr.InvalidGroupID.Code:                     fault.Invalid,
	kerr.InvalidSessionTimeout.Code:              fault.Invalid,
	kerr.InconsistentGroupProtocol.Code:          fault.Invalid,
	kerr.UnsupportedSaslMechanism.Code:           fault.Invalid,
	kerr.TopicAuthorizationFailed.Code:           fault.Denied,
	kerr.GroupAuthorizationFailed.Code:           fault.Denied,
	kerr.ClusterAuthorizationFailed.Code:         fault.Denied,
	kerr.SaslAuthenticationFailed.Code:           fault.Denied,
	kerr.IllegalGeneration.Code:                  fault.Changed,
	kerr.UnknownMemberID.Code:                    fault.Changed,
	kerr.RebalanceInProgress.Code:                fault.Changed,
	kerr.FencedInstanceID.Code:                   fault.Changed,
	kerr.ThrottlingQuotaExceeded.Code:            fault.Throttled,
	kerr.CoordinatorLoadInProgress.Code:          fault.Unavailable,
	kerr.GroupMaxSizeReached.Code:                fault.Denied,
	kerr.DelegationTokenExpired.Code:             fault.Denied,
	kerr.TransactionalIDAuthorizationFailed.Code: fault.Denied,
}

// fail gives an error of the client its kind.
func fail(ctx context.Context, op, on string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	kind := fault.Unavailable
	var answer *kerr.Error
	if errors.As(err, &answer) {
		if k, known := codes[answer.Code]; known {
			kind = k
		}
	}
	return fault.New(kind, op, on, errors.New(events.Plain(err.Error())))
}
