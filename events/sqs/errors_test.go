package sqs

import (
	"context"
	"errors"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/landwaiter/landwaiter/fault"
)

// What Amazon answers; fauxqs knows one of them only.
func TestFail(t *testing.T) {
	for code, kind := range map[string]fault.Kind{
		"AWS.SimpleQueueService.NonExistentQueue": fault.NotFound, "QueueDoesNotExist": fault.NotFound, "com.amazonaws.sqs#QueueDoesNotExist": fault.NotFound,
		"AccessDeniedException": fault.Denied, "InvalidClientTokenId": fault.Denied, "KMS.AccessDeniedException": fault.Denied, "KmsAccessDenied": fault.Denied, "ExpiredToken": fault.Denied,
		"RequestThrottled": fault.Throttled, "ThrottlingException": fault.Throttled, "InvalidAddress": fault.Invalid, "ReceiptHandleIsInvalid": fault.Changed,
		"InternalFailure": fault.Unavailable, "": fault.Unavailable,
	} {
		err := fail(t.Context(), "sqs.ReceiveMessage", "q", &smithy.GenericAPIError{Code: code, Message: "line\nline"})
		if !fault.Is(err, kind) {
			t.Errorf("%s: %v, want %v", code, err, kind)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := fail(ended, "sqs.ReceiveMessage", "q", errors.New("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}
