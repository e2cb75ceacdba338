package sqs

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// remove deletes messages.
func (s *Source) remove(ctx context.Context, msgs []*message) error {
	entries := make([]types.DeleteMessageBatchRequestEntry, len(msgs))
	for i, m := range msgs {
		entries[i] = types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &m.handle}
	}
	out, err := s.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &s.set.queue, Entries: entries})
	if err != nil {
		return fail(ctx, "sqs.DeleteMessageBatch", s.set.queue, err)
	}
	s.meter.Acked(len(out.Successful))
	for _, f := range out.Failed {
		s.meter.Refused(entryError("sqs.DeleteMessageBatch", s.set.queue, f))
	}
	return nil
}

// giveBack lets a message come again after that time. At the end that is not at
// once: the poll that the end broke off may go on at the server, and would
// swallow it.
func (s *Source) giveBack(ctx context.Context, m *message, after time.Duration) error {
	if after == 0 {
		after = s.set.wait
	}
	_, err := s.client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &s.set.queue, ReceiptHandle: &m.handle,
		VisibilityTimeout: seconds(after)})
	if err != nil {
		return fail(ctx, "sqs.ChangeMessageVisibility", s.set.queue, err)
	}
	return nil
}

// beat makes messages invisible to others for one more span. Those whose
// receipt is no longer good are lost.
func (s *Source) beat(ctx context.Context, held []*message) (lost []*message, err error) {
	for len(held) > 0 {
		part := held[:min(batch, len(held))]
		held = held[len(part):]
		entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(part))
		for i, m := range part {
			entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &m.handle,
				VisibilityTimeout: seconds(s.set.visibility)}
		}
		out, failed := s.client.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &s.set.queue, Entries: entries})
		if failed != nil {
			err = fail(ctx, "sqs.ChangeMessageVisibilityBatch", s.set.queue, failed)
			s.meter.Refused(err)
			continue
		}
		for _, f := range out.Failed {
			if i, bad := strconv.Atoi(aws.ToString(f.Id)); bad == nil && i >= 0 && i < len(part) && f.SenderFault {
				lost = append(lost, part[i])
				s.meter.Refused(entryError("sqs.ChangeMessageVisibilityBatch", s.set.queue, f))
			}
		}
	}
	return lost, err
}

// entryError is the error of one message of a batch.
func entryError(op, queue string, f types.BatchResultErrorEntry) error {
	kind, known := kindOf(aws.ToString(f.Code))
	if !known {
		kind = fault.Unavailable
	}
	return fault.New(kind, op, queue, fmt.Errorf("%s", events.Plain(aws.ToString(f.Code)+": "+aws.ToString(f.Message))))
}
