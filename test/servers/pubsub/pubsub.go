// Package pubsub is a stand-in for Google Cloud Pub/Sub, written from its REST
// reference (https://cloud.google.com/pubsub/docs/reference/rest): topics,
// subscriptions, publish, pull, acknowledge and modifyAckDeadline, with real
// deadlines and redelivery. It is not Google's code. Where the reference leaves
// room it is the strict one: an id of a delivery that is over does nothing, and
// a message whose deadline is over is delivered again at once.
package pubsub

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// longPoll is how long a pull waits for a message.
const longPoll = 500 * time.Millisecond

// A Server is the stand-in; it is an http.Handler.
type Server struct {
	// Token is what every call must carry as Authorization: Bearer, "" = none.
	Token string

	mu     sync.Mutex
	topics map[string]bool
	subs   map[string]*subscription
	next   int
	broken bool
	calls  map[string]int
}

type subscription struct {
	topic    string
	deadline time.Duration
	tells    bool // has a dead-letter policy, so it tells delivery attempts
	messages []*stored
}

type stored struct {
	message  map[string]any
	attempts int
	ack      string    // of the delivery that counts
	until    time.Time // its deadline
}

// New returns a server without topics.
func New() *Server {
	return &Server{topics: make(map[string]bool), subs: make(map[string]*subscription), calls: make(map[string]int)}
}

// Break makes every call fail with 503, or mends that.
func (s *Server) Break(broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = broken
}

// Left returns how many messages of a subscription are not acknowledged.
func (s *Server) Left(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.subs[name].messages)
}

// Attempts returns how often the messages of a subscription that are left were
// delivered, in the order in which they were published.
func (s *Server) Attempts(name string) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []int
	for _, m := range s.subs[name].messages {
		out = append(out, m.attempts)
	}
	return out
}

// Calls returns how often a method was called: pull, acknowledge, ….
func (s *Server) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

// ServeHTTP serves one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out, err := s.serve(r)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(err.code)
		out = map[string]any{"error": map[string]any{"code": err.code, "status": err.status, "message": err.message}}
	}
	_ = json.NewEncoder(w).Encode(out)
}

// A failure is an error as Google's interfaces write it.
type failure struct {
	code            int
	status, message string
}

func invalid(message string) *failure {
	return &failure{http.StatusBadRequest, "INVALID_ARGUMENT", message}
}

var path = regexp.MustCompile(`^/v1/(projects/[^/]+/(topics|subscriptions)/[^/:]+)(?::([a-zA-Z]+))?$`)

func (s *Server) serve(r *http.Request) (any, *failure) {
	m := path.FindStringSubmatch(r.URL.Path)
	switch {
	case m == nil:
		return nil, &failure{http.StatusNotFound, "NOT_FOUND", "no such path"}
	case s.Token != "" && r.Header.Get("Authorization") != "Bearer "+s.Token:
		return nil, &failure{http.StatusUnauthorized, "UNAUTHENTICATED", "want a token"}
	}
	var ask request
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		return nil, invalid(err.Error())
	}
	name, method := m[1], m[3]
	s.mu.Lock()
	s.calls[method]++
	broken := s.broken
	s.mu.Unlock()
	switch {
	case broken:
		return nil, &failure{http.StatusServiceUnavailable, "UNAVAILABLE", "the stand-in is broken on purpose"}
	case r.Method == http.MethodPut && method == "" && m[2] == "topics":
		return s.createTopic(name), nil
	case r.Method == http.MethodPut && method == "":
		return s.createSubscription(name, ask)
	case r.Method != http.MethodPost:
		return nil, &failure{http.StatusNotFound, "NOT_FOUND", "no such method"}
	case method == "publish" && m[2] == "topics":
		return s.publish(name, ask)
	case m[2] == "topics":
		return nil, &failure{http.StatusNotFound, "NOT_FOUND", "no such method"}
	case method == "pull":
		return s.pull(r, name, ask)
	case method == "acknowledge":
		return s.settle(name, ask, func(*stored) bool { return false })
	case method == "modifyAckDeadline":
		if ask.Deadline == nil || *ask.Deadline < 0 || *ask.Deadline > 600 {
			return nil, invalid("ackDeadlineSeconds must be between 0 and 600")
		}
		until := time.Now().Add(time.Duration(*ask.Deadline) * time.Second)
		return s.settle(name, ask, func(m *stored) bool { m.until = until; return true })
	}
	return nil, &failure{http.StatusNotFound, "NOT_FOUND", "no such method"}
}

// A request is the body of any call.
type request struct {
	Topic      string           `json:"topic"`
	DeadLetter *json.RawMessage `json:"deadLetterPolicy"`
	Messages   []map[string]any `json:"messages"`
	Max        int              `json:"maxMessages"`
	Soon       bool             `json:"returnImmediately"`
	Acks       []string         `json:"ackIds"`
	Deadline   *int             `json:"ackDeadlineSeconds"`
}

func (s *Server) createTopic(name string) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.topics[name] = true
	return map[string]string{"name": name}
}

// createSubscription makes a subscription. Google wants 10 to 600 s of
// deadline; here 1 s will do, so that tests need not wait.
func (s *Server) createSubscription(name string, ask request) (any, *failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.topics[ask.Topic] {
		return nil, &failure{http.StatusNotFound, "NOT_FOUND", "no such topic"}
	}
	if s.subs[name] != nil {
		return nil, &failure{http.StatusConflict, "ALREADY_EXISTS", "the subscription exists"}
	}
	sub := &subscription{topic: ask.Topic, deadline: 10 * time.Second, tells: ask.DeadLetter != nil}
	if ask.Deadline != nil {
		sub.deadline = time.Duration(*ask.Deadline) * time.Second
	}
	s.subs[name] = sub
	return map[string]string{"name": name, "topic": ask.Topic}, nil
}

func (s *Server) publish(name string, ask request) (any, *failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.topics[name] {
		return nil, &failure{http.StatusNotFound, "NOT_FOUND", "no such topic"}
	}
	var ids []string
	for _, m := range ask.Messages {
		s.next++
		id := fmt.Sprint(s.next)
		ids = append(ids, id)
		for _, sub := range s.subs {
			if sub.topic == name {
				one := map[string]any{"messageId": id, "publishTime": time.Now().UTC().Format(time.RFC3339Nano)}
				for k, v := range m {
					one[k] = v
				}
				sub.messages = append(sub.messages, &stored{message: one})
			}
		}
	}
	return map[string]any{"messageIds": ids}, nil
}

func (s *Server) pull(r *http.Request, name string, ask request) (any, *failure) {
	if ask.Max <= 0 {
		return nil, invalid("maxMessages must be positive")
	}
	for end := time.Now().Add(longPoll); ; {
		out, fail := s.due(name, ask.Max)
		if fail != nil {
			return nil, fail
		}
		if len(out) > 0 {
			return map[string]any{"receivedMessages": out}, nil
		}
		if ask.Soon || time.Now().After(end) {
			return map[string]any{}, nil
		}
		select {
		case <-r.Context().Done():
			return map[string]any{}, nil
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// due delivers up to n messages that nobody holds.
func (s *Server) due(name string, n int) ([]any, *failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.subs[name]
	if sub == nil {
		return nil, &failure{http.StatusNotFound, "NOT_FOUND", "no such subscription"}
	}
	var out []any
	now := time.Now()
	for _, m := range sub.messages {
		if len(out) == n {
			break
		}
		if now.Before(m.until) {
			continue
		}
		m.attempts++
		s.next++
		m.ack, m.until = fmt.Sprintf("ack-%d", s.next), now.Add(sub.deadline)
		one := map[string]any{"ackId": m.ack, "message": m.message}
		if sub.tells {
			one["deliveryAttempt"] = m.attempts
		}
		out = append(out, one)
	}
	return out, nil
}

// settle changes the messages named; those for which change is false are done.
func (s *Server) settle(name string, ask request, change func(*stored) bool) (any, *failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.subs[name]
	if sub == nil {
		return nil, &failure{http.StatusNotFound, "NOT_FOUND", "no such subscription"}
	}
	if len(ask.Acks) == 0 {
		return nil, invalid("no ackIds")
	}
	for _, id := range ask.Acks {
		if !strings.HasPrefix(id, "ack-") {
			return nil, invalid("an ackId that is none")
		}
	}
	now := time.Now()
	sub.messages = slices.DeleteFunc(sub.messages, func(m *stored) bool {
		return slices.Contains(ask.Acks, m.ack) && now.Before(m.until) && !change(m)
	})
	return map[string]any{}, nil
}
