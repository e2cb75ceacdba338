package mdcore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

// callFor bounds a call that carries no content.
const callFor = 30 * time.Second

// A reply is a whole answer of the instance, at most MaxReply bytes.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// call sends one request without content and reads the answer, whatever its
// status. Errors are the context's or fault.Unavailable.
func (e *Engine) call(ctx context.Context, op, key, method, path string, header map[string]string, body []byte) (reply, error) {
	short, cancel := context.WithTimeout(ctx, min(callFor, e.o.Stall))
	defer cancel()
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(short, method, e.base+path, r)
	if err != nil {
		return reply{}, fault.New(fault.Internal, op, e.name, err)
	}
	e.setHeader(req, key, header)
	resp, err := e.client.Do(req)
	if err != nil {
		return reply{}, e.broken(ctx, op, err)
	}
	return e.read(ctx, op, resp)
}

// read takes the whole body of resp and closes it.
func (e *Engine) read(ctx context.Context, op string, resp *http.Response) (reply, error) {
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, e.o.MaxReply+1))
	if err != nil {
		return reply{}, e.broken(ctx, op, err)
	}
	if int64(len(b)) > e.o.MaxReply {
		return reply{}, e.malformed(op, fmt.Errorf("the reply is over %d bytes", e.o.MaxReply))
	}
	return reply{resp.StatusCode, resp.Header, b}, nil
}

func (e *Engine) setHeader(req *http.Request, key string, header map[string]string) {
	req.Close = e.closed.Load() // nobody would close the connection later
	req.Header["User-Agent"] = []string{"landwaiter"}
	if key != "" {
		req.Header["apikey"] = []string{key}
	}
	for k, v := range header {
		if v != "" {
			req.Header[k] = []string{v}
		}
	}
}

// get fetches path with the engine's credentials and returns a reply of status
// 200, or 404 where the caller knows what it means. Errors as refused.
func (e *Engine) get(ctx context.Context, op, path string, header map[string]string) (reply, error) {
	var r reply
	err := e.authorized(ctx, func(key string) (err error) {
		if r, err = e.call(ctx, op, key, http.MethodGet, path, header, nil); err != nil {
			return err
		}
		if r.status != http.StatusOK && r.status != http.StatusNotFound {
			return e.refused(op, r)
		}
		return nil
	})
	return r, err
}

// loginPause keeps wrong credentials from being tried so often that the
// instance locks the user out.
const loginPause = 30 * time.Second

// A gate lets one at a time through. Made with capacity 1.
type gate chan struct{}

func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g gate) leave() { <-g }

// A session is what a login gave, shared by all calls.
type session struct {
	turn    gate // held while logging in
	refused error
	at      time.Time // of refused; both are guarded by turn

	mu sync.Mutex
	id string
}

func (s *session) get() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// swap sets the id if it is old.
func (s *session) swap(old, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id == old {
		s.id = id
	}
}

// authorized runs f with what goes into the apikey header. Where a session was
// refused it logs in and runs f once more.
func (e *Engine) authorized(ctx context.Context, f func(key string) error) error {
	if e.o.User == "" {
		return f(e.o.APIKey)
	}
	for first := true; ; first = false {
		key, err := e.login(ctx)
		if err != nil {
			return err
		}
		if err = f(key); !first || !errors.Is(err, errIdentity) {
			return err
		}
		e.session.swap(key, "")
	}
}

// login returns the session's id, which it opens if there is none.
func (e *Engine) login(ctx context.Context) (string, error) {
	if id := e.session.get(); id != "" {
		return id, nil
	}
	if err := e.session.turn.enter(ctx); err != nil {
		return "", err
	}
	defer e.session.turn.leave()
	if id := e.session.get(); id != "" {
		return id, nil
	}
	if e.session.refused != nil && time.Since(e.session.at) < loginPause {
		return "", e.session.refused
	}
	id, err := e.newSession(ctx)
	e.session.refused, e.session.at = nil, time.Now()
	if fault.Is(err, fault.Denied) {
		e.session.refused = err
	}
	e.session.swap("", id)
	return id, err
}

func (e *Engine) newSession(ctx context.Context) (string, error) {
	const op = "mdcore.login"
	if err := e.open(op); err != nil {
		return "", err
	}
	body, err := json.Marshal(map[string]string{"user": e.o.User, "password": e.o.Password})
	if err != nil {
		return "", fault.New(fault.Internal, op, e.name, errors.New("the credentials are no JSON"))
	}
	r, err := e.call(ctx, op, "", http.MethodPost, "/login", map[string]string{"Content-Type": "application/json"}, body)
	if err != nil {
		return "", err
	}
	switch r.status {
	case http.StatusOK:
	case http.StatusNotFound: // some versions say so of wrong credentials
		return "", fault.New(fault.Denied, op, e.name, errors.New("the user or the password is wrong"))
	default:
		return "", e.refused(op, r)
	}
	var got struct {
		ID string `json:"session_id"`
	}
	if err := decode(r.body, &got); err != nil {
		return "", e.malformed(op, err)
	}
	if got.ID == "" || len(got.ID) > 1024 || !printable(got.ID) {
		return "", e.malformed(op, errors.New("the login gave no session"))
	}
	return got.ID, nil
}

// open returns an error once the engine was closed.
func (e *Engine) open(op string) error {
	if e.closed.Load() {
		return fault.New(fault.Unavailable, op, e.name, errors.New("the engine is closed"))
	}
	return nil
}

// logout gives a session back, as far as the instance lets it.
func (e *Engine) logout(ctx context.Context) {
	if id := e.session.get(); id != "" {
		e.session.swap(id, "")
		_, _ = e.call(ctx, "mdcore.logout", id, http.MethodPost, "/logout", nil, nil) // it ends by itself otherwise
	}
}

// broken is the error of a call that brought no whole answer.
func (e *Engine) broken(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("no answer in time")
	}
	return &fault.Error{Op: op, On: e.name, Kind: fault.Unavailable, Reason: string(scan.EngineUnavailable), Err: e.words(err.Error())}
}

// errMalformed marks an answer that is not what the API promises.
var errMalformed = errors.New("malformed reply")

// malformed is the error of an answer that cannot be understood, or must not
// be believed.
func (e *Engine) malformed(op string, err error) error {
	return &fault.Error{Op: op, On: e.name, Kind: fault.Unavailable, Reason: string(scan.EngineError),
		Err: fmt.Errorf("%w: %w", errMalformed, e.words(err.Error()))}
}

// words makes an error of foreign text: printable, at most 300 bytes, and
// without our secrets, which a hostile instance may send back.
func (e *Engine) words(s string) error {
	for _, secret := range []string{e.o.APIKey, e.o.Password, e.session.get()} {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, "***")
		}
	}
	return errors.New(plain(s, 300))
}

// plain makes foreign text fit to show: valid UTF-8, one line, no character
// that changes how others are shown, at most n bytes.
func plain(s string, n int) string {
	if len(s) > 4*n {
		s = s[:4*n]
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.TrimSpace(s)
	for i := range s {
		if i > n-4 && len(s) > n {
			return s[:i] + "…"
		}
	}
	return s
}
