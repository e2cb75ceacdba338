package sqs

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// codes are the answers of SQS that mean more than their status
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html),
// without what stands before the last dot.
var codes = map[string]fault.Kind{
	"NonExistentQueue":            fault.NotFound,
	"QueueDoesNotExist":           fault.NotFound,
	"QueueDeletedRecently":        fault.NotFound,
	"AccessDenied":                fault.Denied,
	"AccessDeniedException":       fault.Denied,
	"ExpiredToken":                fault.Denied,
	"ExpiredTokenException":       fault.Denied,
	"IncompleteSignature":         fault.Denied,
	"InvalidClientTokenId":        fault.Denied,
	"InvalidSecurity":             fault.Denied,
	"KmsAccessDenied":             fault.Denied,
	"KmsDisabled":                 fault.Denied,
	"MissingAuthenticationToken":  fault.Denied,
	"NotAuthorized":               fault.Denied,
	"OptInRequired":               fault.Denied,
	"SignatureDoesNotMatch":       fault.Denied,
	"UnrecognizedClientException": fault.Denied,
	"InvalidAddress":              fault.Invalid,
	"InvalidParameterValue":       fault.Invalid,
	"UnsupportedOperation":        fault.Invalid,
	"ReceiptHandleIsInvalid":      fault.Changed,
	"MessageNotInflight":          fault.Changed,
	"KmsThrottled":                fault.Throttled,
	"OverLimit":                   fault.Throttled,
	"RequestThrottled":            fault.Throttled,
	"Throttling":                  fault.Throttled,
	"ThrottlingException":         fault.Throttled,
}

// kindOf is the kind of a code of SQS.
func kindOf(code string) (fault.Kind, bool) {
	if i := strings.LastIndexAny(code, ".#"); i >= 0 {
		code = code[i+1:]
	}
	k, known := codes[code]
	return k, known
}

// fail gives an error of the SDK its kind.
func fail(ctx context.Context, op, queue string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		if k, known := kindOf(api.ErrorCode()); known {
			return fault.New(k, op, queue, errors.New(events.Plain(api.ErrorCode()+": "+api.ErrorMessage())))
		}
	}
	kind := fault.Unavailable
	var reply *smithyhttp.ResponseError
	switch {
	case errors.As(err, &reply) && reply.Response != nil:
		switch status := reply.HTTPStatusCode(); {
		case status == http.StatusForbidden || status == http.StatusUnauthorized:
			kind = fault.Denied
		case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
			kind = fault.Throttled
		}
	case strings.Contains(strings.ToLower(err.Error()), "credential"):
		kind = fault.Denied
	}
	return fault.New(kind, op, queue, errors.New(events.Plain(err.Error())))
}
