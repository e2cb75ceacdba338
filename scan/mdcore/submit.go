package mdcore

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/http/httptrace"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

const (
	maxName      = 240 // bytes of a file name that are sent
	maxPasswords = 16
)

// errIdle marks a request that a connection took which the instance had closed.
var errIdle = errors.New("the idle connection was gone")

// submit uploads the sample and returns the job's id and the SHA-256 of the
// bytes that were sent.
func (e *Engine) submit(ctx context.Context, s scan.Sample) (id string, sum []byte, err error) {
	for first := true; ; first = false {
		err = e.authorized(ctx, func(key string) (err error) {
			id, sum, err = e.upload(ctx, key, s)
			return err
		})
		if !first || !errors.Is(err, errIdle) {
			return id, sum, err
		}
	}
}

func (e *Engine) upload(ctx context.Context, key string, s scan.Sample) (string, []byte, error) {
	const op = "mdcore.submit"
	up, cancel := context.WithCancel(ctx)
	defer cancel()
	src, err := s.Open(up)
	if err != nil {
		return "", nil, fmt.Errorf("open the sample: %w", err)
	}
	var reused bool
	traced := httptrace.WithClientTrace(up, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused }})
	guard := newStall(e.o.Stall, cancel)
	defer guard.stop()
	body := &upload{src: src, left: s.Size, sum: sha256.New(), guard: guard, closed: make(chan struct{})}
	req, err := http.NewRequestWithContext(traced, http.MethodPost, e.base+"/file", body)
	if err != nil {
		_ = src.Close()
		return "", nil, fault.New(fault.Internal, op, e.name, err)
	}
	req.ContentLength = s.Size // a chunked upload is refused
	e.setHeader(req, key, e.header(s))

	guard.arm()
	resp, err := e.client.Do(req)
	var r reply
	if err == nil {
		r, err = e.read(ctx, op, resp)
	}
	guard.stop()
	cancel()
	<-body.closed // the transport has let go of the sample

	switch {
	case ctx.Err() != nil && (err != nil || r.status != http.StatusOK || !body.done):
		return "", nil, ctx.Err() // else there is a job, for the caller to cancel
	case err != nil && guard.fired.Load():
		err = e.broken(ctx, op, fmt.Errorf("nothing moved for %v", e.o.Stall))
	case body.err != nil && (err != nil || r.status == http.StatusOK):
		return "", nil, fmt.Errorf("read the sample: %w", body.err)
	case err != nil && resp == nil:
		err = e.broken(ctx, op, err)
		if reused {
			err = fmt.Errorf("%w: %w", err, errIdle)
		}
	case err != nil:
	case r.status != http.StatusOK:
		err = e.refused(op, r)
	case !body.done:
		err = e.malformed(op, errors.New("the file was accepted before it was sent"))
	}
	if err != nil {
		return "", nil, err
	}
	var got struct {
		ID string `json:"data_id"`
	}
	if err := decode(r.body, &got); err != nil {
		return "", nil, e.malformed(op, err)
	}
	if !validID(got.ID) {
		return "", nil, e.malformed(op, errors.New("the answer holds no data_id"))
	}
	return got.ID, body.sum.Sum(nil), nil
}

// header are the request headers that say how to look at s.
func (e *Engine) header(s scan.Sample) map[string]string {
	h := map[string]string{
		"Content-Type": "application/octet-stream",
		"filename":     escape(fileName(s.Name)),
		"rule":         escape(e.rule(s)),
		"user_agent":   e.userAgent(s),
	}
	for i, p := range s.Passwords[:min(len(s.Passwords), maxPasswords)] {
		name := "archivepwd"
		if i > 0 {
			name += strconv.Itoa(i)
		}
		h[name] = escape(p)
	}
	if len(e.o.Metadata) > 0 {
		b, _ := json.Marshal(e.o.Metadata) // strings always marshal
		h["metadata"] = ascii(string(b))
	}
	return h
}

func (e *Engine) rule(s scan.Sample) string {
	if s.Rule != "" {
		return s.Rule
	}
	return e.o.Rule
}

func (e *Engine) userAgent(s scan.Sample) string {
	if s.UserAgent != "" {
		return s.UserAgent
	}
	return e.o.UserAgent
}

// fileName makes a name that is safe to hand to another system: one path
// element of valid, printable UTF-8, at most maxName bytes, with its extension,
// which is all that an engine goes by.
func fileName(s string) string {
	ext := path.Ext(s)
	if len(ext) > 16 {
		ext = ""
	}
	name := strings.TrimSuffix(s, ext)
	one := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r == '/' || r == '\\' || !unicode.IsPrint(r) {
				return '_'
			}
			return r
		}, strings.ToValidUTF8(s, "_"))
	}
	name, ext = one(name), one(ext)
	for len(name)+len(ext) > maxName {
		_, n := utf8.DecodeLastRuneInString(name[:maxName-len(ext)+1])
		name = name[:maxName-len(ext)+1-n]
	}
	if s = strings.ToValidUTF8(name, "") + ext; s == "." || s == ".." {
		return "_"
	}
	return s
}

// escape percent-encodes all but the unreserved characters of RFC 3986 2.3.
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteString(string([]byte{'%', hex[c>>4], hex[c&15]}))
	}
	return b.String()
}

// ascii writes JSON text so that a header can carry it.
func ascii(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	return b.String()
}

// An upload is a sample on its way. It yields exactly the bytes that were
// promised, hashed, or an error: the last of them only when nothing follows.
type upload struct {
	guard  *stall
	closed chan struct{} // closed by Close; then the other fields may be read

	mu   sync.Mutex // the transport may close while a Read is under way
	src  io.ReadCloser
	left int64
	sum  hash.Hash
	done bool // all was yielded
	err  error
}

func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err != nil {
		return 0, u.err
	}
	if u.done || u.src == nil {
		return 0, io.EOF
	}
	u.guard.hold()
	defer u.guard.arm()
	n, err := u.src.Read(p[:min(int64(len(p)), u.left)])
	u.sum.Write(p[:n])
	u.left -= int64(n)
	if u.left == 0 && (err == nil || err == io.EOF) {
		if err = nothingMore(u.src, err); err == nil {
			u.done = true
			return n, io.EOF
		}
	} else if err == io.EOF {
		err = fault.New(fault.Changed, "mdcore.submit", "", fmt.Errorf("the content ends %d bytes early", u.left))
	}
	u.err = err
	if err != nil {
		return 0, err
	}
	return n, nil
}

// nothingMore returns nil if r, whose last error was err, is at its end.
func nothingMore(r io.Reader, err error) error {
	var b [1]byte
	for tries := 0; err == nil && tries < 100; tries++ {
		var n int
		if n, err = r.Read(b[:]); n > 0 {
			return fault.New(fault.Changed, "mdcore.submit", "", errors.New("the content is longer than its size"))
		}
	}
	if err == io.EOF {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// Close ends the reading. Only the first call does anything.
func (u *upload) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.src == nil {
		return nil
	}
	err := u.src.Close()
	u.src = nil
	close(u.closed)
	return err
}

// A stall calls cancel when the other side, armed, lets nothing move for d.
type stall struct {
	d     time.Duration
	t     *time.Timer
	fired atomic.Bool
}

func newStall(d time.Duration, cancel func()) *stall {
	s := &stall{d: d}
	s.t = time.AfterFunc(d, func() {
		s.fired.Store(true)
		cancel()
	})
	s.t.Stop()
	return s
}

func (s *stall) arm()  { s.t.Reset(s.d) }
func (s *stall) hold() { s.t.Stop() }
func (s *stall) stop() { s.t.Stop() }
