package storagequeue

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
	"golang.org/x/sync/errgroup"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// A message is one in hand.
type message struct {
	id    string
	text  string // as the queue has it; an update must send it again
	tries int

	// mu is held during calls that show the receipt: each update makes another
	// one, and the one before is no longer good.
	mu      sync.Mutex
	receipt string
	gone    bool // deleted, given back or taken from us: there is no receipt
}

// body is what the message says: Event Grid writes base64, others plain text.
func (m *message) body() []byte {
	text := strings.TrimSpace(m.text)
	if text != "" && text[0] != '{' && text[0] != '[' {
		if b, err := base64.StdEncoding.DecodeString(text); err == nil {
			return bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
		}
	}
	return []byte(text)
}

func (m *message) parse() ([]events.Notice, error) { return events.ParseEventGrid(m.body()) }

// dequeue receives up to n messages.
func (s *Source) dequeue(ctx context.Context, n int) ([]*message, error) {
	bounded, cancel := context.WithTimeout(ctx, events.CallLimit)
	defer cancel()
	count, visible := int32(n), seconds(s.set.visibility)
	out, err := s.client.DequeueMessages(bounded, &azqueue.DequeueMessagesOptions{NumberOfMessages: &count, VisibilityTimeout: &visible})
	if err != nil {
		return nil, s.fail(ctx, "storagequeue.Dequeue", err)
	}
	var msgs []*message
	for _, m := range out.Messages[:min(n, len(out.Messages))] {
		if m == nil || m.MessageID == nil || m.PopReceipt == nil {
			continue
		}
		one := &message{id: *m.MessageID, receipt: *m.PopReceipt}
		if m.MessageText != nil {
			one.text = *m.MessageText
		}
		if m.DequeueCount != nil {
			one.tries = int(*m.DequeueCount)
		}
		msgs = append(msgs, one)
	}
	return msgs, nil
}

// update makes m invisible for that time from now, and takes its new receipt.
// fault.Changed: somebody else has it, or it is gone.
func (s *Source) update(ctx context.Context, m *message, visible time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone {
		return nil
	}
	v := seconds(visible)
	out, err := s.client.UpdateMessage(ctx, m.id, m.receipt, m.text, &azqueue.UpdateMessageOptions{VisibilityTimeout: &v})
	if err != nil {
		err = s.fail(ctx, "storagequeue.Update", err)
		m.gone = fault.Is(err, fault.Changed)
		return err
	}
	if out.PopReceipt == nil {
		m.gone = true
		return fault.New(fault.Changed, "storagequeue.Update", s.set.on(), errors.New("a reply without a receipt"))
	}
	m.receipt = *out.PopReceipt
	return nil
}

// remove deletes the one message in msgs.
func (s *Source) remove(ctx context.Context, msgs []*message) error {
	m := msgs[0]
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone {
		return fault.New(fault.Changed, "storagequeue.Delete", s.set.on(), errors.New("its receipt is no longer good: it will come again"))
	}
	if _, err := s.client.DeleteMessage(ctx, m.id, m.receipt, nil); err != nil {
		err = s.fail(ctx, "storagequeue.Delete", err)
		m.gone = fault.Is(err, fault.Changed)
		return err
	}
	m.gone = true
	s.meter.Acked(1)
	return nil
}

// beat makes messages invisible to others for one more span. Those whose
// receipt is no longer good are lost.
func (s *Source) beat(ctx context.Context, held []*message) (lost []*message, err error) {
	var calls errgroup.Group
	calls.SetLimit(beats)
	var mu sync.Mutex
	for _, m := range held {
		calls.Go(func() error {
			err := s.update(ctx, m, s.set.visibility)
			if err == nil {
				return nil
			}
			s.meter.Refused(err)
			if !fault.Is(err, fault.Changed) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			lost = append(lost, m)
			return nil
		})
	}
	return lost, calls.Wait()
}

// seconds is d as the protocol wants it, not less than d.
func seconds(d time.Duration) int32 { return int32((d + time.Second - 1) / time.Second) }
