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

// acknowledge deletes what is done, as many in a call as queued up while the
// call before ran, until done is closed.
func (r *run) acknowledge(ctx context.Context) {
	for m := range r.done {
		msgs := []*message{m}
	more:
		for len(msgs) < batch {
			select {
			case m, open := <-r.done:
				if !open {
					break more
				}
				msgs = append(msgs, m)
			default:
				break more
			}
		}
		r.remove(ctx, msgs)
		for _, m := range msgs {
			r.keeper.Drop(m)
			<-r.free
		}
	}
}

// remove deletes messages. What cannot be deleted comes again, and changes
// nothing then; so it is tried a few times and no more.
func (r *run) remove(ctx context.Context, msgs []*message) {
	back := events.Backoff{First: 200 * time.Millisecond, Most: 5 * time.Second}
	for try := 1; ; try++ {
		err := r.removeOnce(ctx, msgs)
		if err == nil {
			return
		}
		r.meter.Refused(err)
		if try == 5 || ctx.Err() != nil || back.Wait(ctx, err) != nil {
			return
		}
	}
}

// removeOnce is one call. It is made after the end of ctx too: the sink has
// these messages.
func (r *run) removeOnce(ctx context.Context, msgs []*message) error {
	bounded, cancel := detached(ctx)
	defer cancel()
	entries := make([]types.DeleteMessageBatchRequestEntry, len(msgs))
	for i, m := range msgs {
		entries[i] = types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &m.handle}
	}
	out, err := r.client.DeleteMessageBatch(bounded, &sqs.DeleteMessageBatchInput{QueueUrl: &r.set.queue, Entries: entries})
	if err != nil {
		return fail(bounded, "sqs.DeleteMessageBatch", r.set.queue, err)
	}
	r.meter.Acked(len(out.Successful))
	for _, f := range out.Failed {
		r.meter.Refused(entryError("sqs.DeleteMessageBatch", r.set.queue, f))
	}
	return nil
}

// giveBack lets a message come again after that time.
func (r *run) giveBack(ctx context.Context, m *message, after time.Duration) {
	bounded, cancel := detached(ctx)
	defer cancel()
	_, err := r.client.ChangeMessageVisibility(bounded, &sqs.ChangeMessageVisibilityInput{QueueUrl: &r.set.queue, ReceiptHandle: &m.handle,
		VisibilityTimeout: seconds(after)})
	if err != nil { // then it comes again when its time is over
		r.meter.Refused(fail(bounded, "sqs.ChangeMessageVisibility", r.set.queue, err))
	}
}

// detached returns a context for what is still to be said when ctx has ended.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := callLimit
	if ctx.Err() != nil {
		limit = endLimit
	}
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}

// beat makes messages invisible to others for one more span. Those whose
// receipt is no longer good are lost.
func (s *Source) beat(ctx context.Context, held []*message) (lost []*message, err error) {
	bounded, cancel := context.WithTimeout(ctx, min(callLimit, s.set.visibility/3))
	defer cancel()
	for len(held) > 0 {
		part := held[:min(batch, len(held))]
		held = held[len(part):]
		entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(part))
		for i, m := range part {
			entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &m.handle,
				VisibilityTimeout: seconds(s.set.visibility)}
		}
		out, failed := s.client.ChangeMessageVisibilityBatch(bounded, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &s.set.queue, Entries: entries})
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
