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
		return nil, fault.New(fault.Invalid, "pubsub.Parse", "", errors.New(plain(err.Error())))
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

// acknowledge acknowledges what is done, as many in a call as queued up while
// the call before ran, until done is closed.
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

// remove acknowledges messages, after the end of ctx too: the sink has them.
// What cannot be acknowledged comes again, and changes nothing then; so it is
// tried a few times and no more.
func (r *run) remove(ctx context.Context, msgs []*message) {
	back := events.Backoff{First: 200 * time.Millisecond, Most: 5 * time.Second}
	for try := 1; ; try++ {
		bounded, cancel := detached(ctx)
		err := r.call(bounded, "acknowledge", map[string]any{"ackIds": acks(msgs)}, nil)
		cancel()
		if err == nil {
			r.meter.Acked(len(msgs))
			return
		}
		r.meter.Refused(err)
		if try == 5 || ctx.Err() != nil || back.Wait(ctx, err) != nil {
			return
		}
	}
}

// giveBack lets a message come again, at once or when the subscription's retry
// policy says.
func (r *run) giveBack(ctx context.Context, m *message) {
	bounded, cancel := detached(ctx)
	defer cancel()
	if err := r.extend(bounded, []*message{m}, 0); err != nil { // then it comes again when its time is over
		r.meter.Refused(err)
	}
}

// beat moves deadlines on.
func (s *Source) beat(ctx context.Context, held []*message) ([]*message, error) {
	bounded, cancel := context.WithTimeout(ctx, min(callLimit, s.set.deadline/3))
	defer cancel()
	var errs []error
	for len(held) > 0 {
		part := held[:min(batch, len(held))]
		held = held[len(part):]
		if err := s.extend(bounded, part, s.set.deadline); err != nil {
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

// detached returns a context for what is still to be said when ctx has ended.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := callLimit
	if ctx.Err() != nil {
		limit = endLimit
	}
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
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
