package webhook

import (
	"maps"
	"time"
)

// A Status is how a hook goes.
type Status struct {
	Name     string           `json:"name"`
	Kind     string           `json:"kind"`
	Accepted int64            `json:"accepted"`          // calls answered 2xx
	Notices  int64            `json:"notices"`           // given to the sink
	Repeats  int64            `json:"repeats"`           // notices that had been given before
	Buried   int64            `json:"buried"`            // verified calls that made no sense
	Refused  map[string]int64 `json:"refused"`           // calls by cause
	Error    string           `json:"error,omitempty"`   // of the last call that was refused, "" since one was accepted
	ErrorAt  time.Time        `json:"error_at,omitzero"` // when that was
	Last     time.Time        `json:"last"`              // when the last call was accepted
	Confirm  []Confirmation   `json:"confirm,omitempty"`
}

// A Confirmation is a genuine SNS subscription to a topic that the hook allows,
// waiting for an operator to open its URL. Landwaiter never does.
type Confirmation struct {
	Topic string    `json:"topic"`
	URL   string    `json:"url"` // confirms to whoever opens it: for operators only
	At    time.Time `json:"at"`
}

// note changes the counts, and clears the last error when a call was accepted.
func (h *hook) note(change func(*Status)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	accepted := h.state.Accepted
	change(&h.state)
	if h.state.Accepted != accepted {
		h.state.Error, h.state.ErrorAt, h.state.Last = "", time.Time{}, h.now()
	}
}

func (h *hook) status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.state
	s.Refused = maps.Clone(h.state.Refused)
	if c, ok := h.kind.(interface{ waiting() []Confirmation }); ok {
		s.Confirm = c.waiting()
	}
	return s
}
