package webhook

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// A kind is how one vendor's calls are verified and read. Its methods return
// refusals; any other error is our own fault.
type kind interface {
	// traits say what every call of the kind looks like.
	traits() traits
	// admit checks what can be checked before the body is read. It answers the
	// vendor's handshake itself, if r is one that has no body.
	admit(r *http.Request) (*reply, error)
	// read verifies body and says what it holds. Before it is verified, nothing
	// of body is parsed but what the proof needs.
	read(r *http.Request, body []byte) (message, error)
}

type traits struct {
	once     []string // headers that may come once at most, beside Authorization and Content-Type
	types    []string // content types; "" = none given
	options  bool     // OPTIONS is a handshake
	unproven int      // status for those who cannot prove themselves; 0 = as statuses says
}

// methods are those of the kind, as the header Allow has them.
func (t traits) methods() string {
	if t.options {
		return "POST, OPTIONS"
	}
	return http.MethodPost
}

// single says whether a header, in its canonical form, may come once at most.
func (t traits) single(name string) bool {
	return name == "Authorization" || name == "Content-Type" || name == "Content-Encoding" ||
		slices.ContainsFunc(t.once, func(s string) bool { return strings.EqualFold(s, name) })
}

// A message is what a verified call holds.
type message struct {
	id      string // the vendor's
	once    bool   // the id names this message and no other: a second one is a repeat
	notices []events.Notice
	poison  error  // verified, but it makes no sense
	reply   *reply // nil = 200 without a body
}

// A reply is what a handshake gets.
type reply struct {
	header http.Header
	body   []byte // JSON
}

// A hook serves one address.
type hook struct {
	world
	name, kindName string
	kind           kind
	traits         traits
	reading, slots chan struct{}
	readWithin     time.Duration
	deliverWithin  time.Duration
	rate           *rate.Limiter // of notices
	words          *rate.Limiter // of log lines about refusals: strangers cause them
	recent         *recent

	mu    sync.Mutex
	state Status // without Confirm
}

func open(c Hook, k kind, w world, concurrency, perSecond int) *hook {
	h := &hook{world: w, name: c.Name, kindName: c.Kind, kind: k, traits: k.traits(), slots: make(chan struct{}, concurrency), reading: make(chan struct{}, readers*concurrency),
		readWithin: readWithin, deliverWithin: deliverWithin,
		rate:   rate.NewLimiter(rate.Limit(perSecond), max(perSecond, events.MaxNotices)),
		words:  rate.NewLimiter(rate.Every(10*time.Second), 5),
		recent: newRecent(w.now)}
	h.state = Status{Name: c.Name, Kind: c.Kind, Refused: make(map[string]int64)}
	return h
}

// serve answers one call and counts it.
func (h *hook) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	rep, err := h.take(w, r)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	if rep == nil {
		w.WriteHeader(http.StatusOK)
		return
	}
	for name, value := range rep.header {
		w.Header()[name] = value
	}
	if rep.body != nil {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(rep.body) // a caller that is gone comes again
}

// take carries a call from its first header to the sink.
func (h *hook) take(w http.ResponseWriter, r *http.Request) (*reply, error) {
	t := &h.traits
	if r.Method != http.MethodPost && (r.Method != http.MethodOptions || !t.options) {
		return nil, refuse(wrongMethod, "method "+printable(r.Method, 20))
	}
	// Who has not proven anything yet must not keep out those who have: reading has
	// places of its own, and more of them.
	select {
	case h.reading <- struct{}{}:
	default:
		return nil, refuse(busy, "more calls at a time than this hook reads")
	}
	read := sync.OnceFunc(func() { <-h.reading })
	defer read()
	for name, values := range r.Header {
		if len(values) > 1 && t.single(name) {
			return nil, refuse(unproven, "the header "+name+" comes twice")
		}
	}
	rep, err := h.kind.admit(r)
	if err != nil || rep != nil || r.Method != http.MethodPost {
		return rep, err
	}
	if err := typed(r, t.types); err != nil {
		return nil, err
	}
	body, err := readBody(w, r, h.readWithin)
	if err != nil {
		return nil, err
	}
	m, err := h.kind.read(r, body)
	if err != nil {
		return nil, err
	}
	read()
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		return nil, refuse(busy, "more calls at a time than this hook takes")
	}
	return m.reply, h.accept(r.Context(), m, body)
}

// typed checks the content type. A compressed body would have to be unpacked
// before it is verified: no vendor sends one.
func typed(r *http.Request, types []string) error {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return refuse(wrongType, "content encoding "+printable(e, 40))
	}
	given := r.Header.Get("Content-Type")
	media := ""
	if given != "" {
		var err error
		if media, _, err = mime.ParseMediaType(given); err != nil {
			return refuse(wrongType, "a content type that makes no sense")
		}
	}
	if !slices.Contains(types, media) {
		return refuse(wrongType, "content type "+printable(given, 80))
	}
	return nil
}

// readBody reads up to events.MaxBody bytes.
func readBody(w http.ResponseWriter, r *http.Request, within time.Duration) ([]byte, error) {
	if r.ContentLength > events.MaxBody {
		return nil, refuse(tooLarge, "a body of "+strconv.FormatInt(r.ContentLength, 10)+" bytes")
	}
	// Where the server cannot set deadlines (a test's recorder), nothing is slow.
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(within)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, events.MaxBody))
	var large *http.MaxBytesError
	var late net.Error
	switch {
	case errors.As(err, &large):
		return nil, refuse(tooLarge, "a body above the limit")
	case errors.As(err, &late) && late.Timeout():
		return nil, refuse(slow, "the body did not come in time")
	case err != nil:
		return nil, refuse(slow, "the body broke off")
	}
	return body, nil
}

// accept gives what is new in m to the sink, or buries m.
func (h *hook) accept(ctx context.Context, m message, body []byte) error {
	fresh, marks := h.recent.fresh(m)
	repeats := len(m.notices) - len(fresh)
	if m.poison == nil && len(fresh) == 0 {
		h.note(func(s *Status) { s.Accepted++; s.Repeats += int64(repeats) })
		return nil
	}
	if !h.rate.AllowN(h.now(), max(len(fresh), 1)) {
		return refuse(busy, "more notices a second than this hook takes")
	}
	ctx, cancel := context.WithTimeout(ctx, h.deliverWithin)
	defer cancel()
	if len(fresh) > 0 {
		if err := h.sink.Deliver(ctx, h.source(), fresh); err != nil {
			return err
		}
	}
	if m.poison != nil {
		letter := events.Letter{Source: h.source(), ID: m.id, Body: body, Why: m.poison.Error(), At: h.now()}
		if err := h.sink.Bury(ctx, letter); err != nil {
			return err
		}
		h.note(func(s *Status) { s.Accepted++; s.Buried++ })
		h.log.Warn("a verified call makes no sense and was kept for the operator", "hook", h.name, "kind", h.kindName, "id", printable(m.id, 80), "err", m.poison)
		if len(fresh) == 0 {
			return nil
		}
	}
	h.recent.keep(marks)
	h.note(func(s *Status) {
		if m.poison == nil { // else it is counted already
			s.Accepted++
		}
		s.Notices += int64(len(fresh))
		s.Repeats += int64(repeats)
	})
	return nil
}

// readers is how many calls are read for each that is delivered.
const readers = 8

// source is the hook's name among the sink's sources.
func (h *hook) source() string { return "hooks/" + h.name }

// refuse answers a call that was not accepted. The reply says no more than its
// status: why is for the operator.
func (h *hook) refuse(w http.ResponseWriter, r *http.Request, err error) {
	c := causeOf(err)
	t := h.traits
	status := statuses[c]
	if c == unproven && t.unproven != 0 {
		status = t.unproven
	}
	switch status {
	case http.StatusServiceUnavailable:
		after := max(fault.AfterOf(err), retryAfter)
		w.Header().Set("Retry-After", strconv.Itoa(int(after.Round(time.Second)/time.Second)))
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", t.methods())
	}
	http.Error(w, http.StatusText(status), status)
	h.note(func(s *Status) {
		s.Refused[string(c)]++
		s.Error, s.ErrorAt = printable(err.Error(), 300), h.now()
	})
	level := slog.LevelWarn
	if !h.words.AllowN(h.now(), 1) {
		level = slog.LevelDebug
	}
	h.log.Log(r.Context(), level, "a call was not accepted", "hook", h.name, "kind", h.kindName, "cause", string(c), "status", status, "from", r.RemoteAddr, "err", printable(err.Error(), 300))
}

// printable returns s without control characters, at most n bytes of it.
func printable(s string, n int) string {
	if len(s) > n {
		s = s[:n] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
