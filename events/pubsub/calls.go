package pubsub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// A message is one in hand.
type message struct {
	ack   string // names this delivery of it
	id    string
	tries int // 0 = not told: only subscriptions with a dead-letter policy tell
	raw   json.RawMessage
}

// parse reads the notification.
func (m *message) parse() ([]events.Notice, error) {
	var in struct {
		Attributes map[string]string `json:"attributes"`
		Data       []byte            `json:"data"`
	}
	if err := json.Unmarshal(m.raw, &in); err != nil {
		return nil, fault.New(fault.Invalid, "pubsub.Parse", "", errors.New(events.Plain(err.Error())))
	}
	return events.ParsePubSub(in.Attributes, in.Data)
}

// pull receives up to n messages
// (https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions/pull).
func (s *Source) pull(ctx context.Context, n int, soon bool) ([]*message, error) {
	bounded, cancel := context.WithTimeout(ctx, pullLimit)
	defer cancel()
	ask := map[string]any{"maxMessages": n}
	if soon {
		ask["returnImmediately"] = true
	}
	var out struct {
		Received []struct {
			Ack     string          `json:"ackId"`
			Tries   int             `json:"deliveryAttempt"`
			Message json.RawMessage `json:"message"`
		} `json:"receivedMessages"`
	}
	if err := s.call(bounded, "pull", ask, &out); err != nil {
		if ctx.Err() == nil && errors.Is(bounded.Err(), context.DeadlineExceeded) {
			return nil, fault.New(fault.Unavailable, "pubsub.pull", s.set.subscription, errors.New("no reply"))
		}
		return nil, err
	}
	var msgs []*message
	for _, m := range out.Received[:min(n, len(out.Received))] {
		if m.Ack == "" {
			continue
		}
		one := &message{ack: m.Ack, tries: max(m.Tries, 0), raw: m.Message}
		var named struct {
			ID string `json:"messageId"`
		}
		if json.Unmarshal(m.Message, &named) == nil {
			one.id = named.ID
		}
		msgs = append(msgs, one)
	}
	return msgs, nil
}

// acknowledge acknowledges messages.
func (s *Source) acknowledge(ctx context.Context, msgs []*message) error {
	err := s.call(ctx, "acknowledge", map[string]any{"ackIds": acks(msgs)}, nil)
	if err == nil {
		s.meter.Acked(len(msgs))
	}
	return err
}

// giveBack lets a message come again, at once or when the subscription's retry
// policy says.
func (s *Source) giveBack(ctx context.Context, m *message, _ time.Duration) error {
	return s.extend(ctx, []*message{m}, 0)
}

// beat moves deadlines on.
func (s *Source) beat(ctx context.Context, held []*message) ([]*message, error) {
	var errs []error
	for len(held) > 0 {
		part := held[:min(batch, len(held))]
		held = held[len(part):]
		if err := s.extend(ctx, part, s.set.deadline); err != nil {
			errs = append(errs, err)
			s.meter.Refused(err)
		}
	}
	return nil, errors.Join(errs...)
}

// extend sets the deadline of messages to that time from now; 0 gives them back.
func (s *Source) extend(ctx context.Context, msgs []*message, by time.Duration) error {
	return s.call(ctx, "modifyAckDeadline", map[string]any{"ackIds": acks(msgs), "ackDeadlineSeconds": int(by / time.Second)}, nil)
}

func acks(msgs []*message) []string {
	out := make([]string, len(msgs))
	for i, m := range msgs {
		out[i] = m.ack
	}
	return out
}

// call posts ask to a method of the subscription and reads the reply into out.
func (s *Source) call(ctx context.Context, method string, ask, out any) error {
	op := "pubsub." + method
	body, err := json.Marshal(ask)
	if err != nil {
		return fault.New(fault.Internal, op, s.set.subscription, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.set.endpoint+"/v1/"+s.set.subscription+":"+method, bytes.NewReader(body))
	if err != nil {
		return fault.New(fault.Invalid, op, s.set.subscription, err)
	}
	req.Header.Set("Content-Type", "application/json")
	if err := s.login.sign(ctx, req); err != nil {
		return failLogin(ctx, op, s.set.subscription, err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return failUnanswered(ctx, op, s.set.subscription, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return failReply(op, s.set.subscription, resp)
	}
	if out == nil {
		_, _ = io.Copy(io.Discard, resp.Body) // so that the connection serves again
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil && !errors.Is(err, io.EOF) { // a reply may be empty
		return failUnanswered(ctx, op, s.set.subscription, err)
	}
	return nil
}
