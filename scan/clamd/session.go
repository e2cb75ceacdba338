package clamd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

// A session carries the small files: one socket in blocking mode, a descriptor
// a command, one goroutine that reads. At thousands of files a second, waking
// up is what costs, so the socket is none of Go's poller, replies are let
// gather while many are due, and callers are told on the reading goroutine.
type session struct {
	e  *Engine
	fd int

	mu      sync.Mutex // also the order of the commands on the socket
	id      uint32     // of the last command
	pending map[uint32]*request
	last    time.Time // of the last reply, or of the first command after a rest
	err     error     // why it ended, or is to end; no more commands then
	reading bool      // the descriptor is still open
}

// A request is a file in flight.
type request struct {
	file  *os.File
	done  func(scan.Report, error)
	stop  func() bool // of the watch on its context, or nil
	began time.Time
	again bool // it was sent before, on a session that clamd closed

	settled atomic.Bool
}

// settle takes the right, and the duty, to say how r ended.
func (r *request) settle() bool { return r.settled.CompareAndSwap(false, true) }

func (r *request) release() {
	if r.stop != nil {
		r.stop()
	}
}

func (r *request) finish(rep scan.Report, err error) {
	if r.settle() {
		r.release()
		r.done(rep, err)
	}
}

// Bounds of a session.
const (
	tick       = 250 * time.Millisecond // of the reader, to look at the clock
	gather     = 2 * time.Millisecond   // let replies come together …
	gatherFrom = 16                     // … while so many are due
	maxReply   = 4 << 10
)

// submit sends r when there is a place for it. The place is free again when
// clamd has answered, not before: a canceled file still keeps clamd busy.
func (e *Engine) submit(ctx context.Context, r *request) error {
	select {
	case e.slots <- struct{}{}:
	default:
		select {
		case e.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := e.send(ctx, r); err != nil {
		<-e.slots
		return err
	}
	return nil
}

// send puts r on the session. One that clamd has closed while it was idle is
// replaced; a new one that fails is a fault.
func (e *Engine) send(ctx context.Context, r *request) error {
	for {
		s, isNew, err := e.open()
		if err != nil {
			return err
		}
		err = s.send(ctx, r)
		switch {
		case !errors.Is(err, errEnded): // above all nil
			return err
		case isNew:
			return e.fault(fault.Unavailable, err)
		}
		e.drop(s)
	}
}

// drop makes the next file open a new session.
func (e *Engine) drop(s *session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.session == s {
		e.session = nil
	}
}

var errEnded = errors.New("the session has ended")

// open returns the session, made anew if need be.
func (e *Engine) open() (s *session, isNew bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, false, e.fault(fault.Unavailable, errClosed)
	}
	if e.session != nil {
		return e.session, false, nil
	}
	fd, err := dialBlocking(e.o.Address)
	if err != nil {
		return nil, false, e.fault(fault.Unavailable, err)
	}
	if _, err := unix.SendmsgN(fd, []byte("zIDSESSION\x00"), nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err != nil {
		return nil, false, errors.Join(e.fault(fault.Unavailable, err), unix.Close(fd))
	}
	s = &session{e: e, fd: fd, pending: make(map[uint32]*request), last: time.Now(), reading: true}
	e.session = s
	e.wg.Go(s.read)
	return s, true, nil
}

// send puts r on the socket with the next number. The error wraps errEnded if
// the session can take no more.
func (s *session) send(ctx context.Context, r *request) error {
	sc, err := r.file.SyscallConn()
	if err != nil {
		return fault.New(fault.Invalid, "clamd.Scan", "", err)
	}
	for {
		s.mu.Lock()
		if s.err != nil {
			s.mu.Unlock()
			return errEnded
		}
		var sent error
		err := sc.Control(func(file uintptr) { sent = s.sendFile(int(file)) })
		if err == nil && sent == nil {
			s.id++
			r.began = time.Now()
			if len(s.pending) == 0 {
				s.last = r.began
			}
			s.pending[s.id] = r
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		switch {
		case err != nil: // the file is closed
			return fault.New(fault.Invalid, "clamd.Scan", "", err)
		case errors.Is(sent, unix.EAGAIN): // clamd does not read; nothing was sent
			if err := pause(ctx, time.Millisecond); err != nil {
				return err
			}
		default:
			s.end(s.e.fault(fault.Unavailable, sent))
			return errEnded
		}
	}
}

var (
	fildes = []byte("zFILDES\x00\x00") // the NUL after the command is what the descriptor rides on
)

// sendFile hands a descriptor over in one message, which goes whole or not at all.
func (s *session) sendFile(file int) error {
	for {
		n, err := unix.SendmsgN(s.fd, fildes, unix.UnixRights(file), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch {
		case err == unix.EINTR:
			continue
		case err == nil && n < len(fildes):
			return io.ErrShortWrite
		}
		return err
	}
}

// end stops the session: no more commands, and the reader wakes up to tell
// those who wait.
func (s *session) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	if s.reading {
		_ = unix.Shutdown(s.fd, unix.SHUT_RDWR) // it may be gone already
	}
}

// read is the session's goroutine.
func (s *session) read() {
	err := s.replies()
	s.e.drop(s)
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	err = s.err
	rest := s.pending
	s.pending = nil
	s.reading = false
	_ = unix.Close(s.fd) // there is nothing left to lose in it
	s.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	for _, r := range rest {
		if errors.Is(err, errHungUp) && !r.again && !r.settled.Load() {
			r.again = true
			if s.e.send(ctx, r) == nil {
				continue // and keeps its place
			}
		}
		<-s.e.slots
		r.finish(scan.Report{}, err)
	}
}

var errHungUp = errors.New("clamd closed the session")

// replies reads until the session ends, and says why.
func (s *session) replies() error {
	var done []answered
	buf := make([]byte, 0, 2*maxReply)
	for {
		n, err := unix.Read(s.fd, buf[len(buf):cap(buf)])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			if err := s.waited(); err != nil {
				return err
			}
			continue
		case err != nil:
			return s.e.fault(fault.Unavailable, errors.Join(errHungUp, err))
		case n == 0:
			return s.e.fault(fault.Unavailable, errHungUp)
		}
		buf = buf[:len(buf)+n]
		rest, due, err := s.take(buf, &done)
		for i, a := range done {
			<-s.e.slots
			a.r.finish(a.rep, a.err)
			done[i] = answered{}
		}
		done = done[:0]
		if err != nil {
			return err
		}
		buf = buf[:copy(buf, rest)]
		if due >= gatherFrom {
			time.Sleep(gather)
		}
	}
}

// answered is a request with what clamd said.
type answered struct {
	r   *request
	rep scan.Report
	err error
}

// take matches the complete replies in buf with their requests. It returns what
// is not complete yet and how many replies are due. Anything that clamd would
// not say ends the session, since no later reply could be trusted.
func (s *session) take(buf []byte, done *[]answered) (rest []byte, due int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		line, after, ok := bytes.Cut(buf, nul)
		if !ok {
			if len(buf) > maxReply {
				return nil, 0, s.e.violation("a reply without an end", buf)
			}
			return buf, len(s.pending), nil
		}
		buf = after
		id, text, ok := cutID(line)
		r := s.pending[id]
		if !ok || r == nil {
			return nil, 0, s.e.violation("a reply to nothing", line)
		}
		delete(s.pending, id)
		a := answered{r: r, rep: s.e.report(r.began)}
		a.err = s.e.read(&a.rep, text, byFile)
		*done = append(*done, a)
		if errors.Is(a.err, errProtocol) {
			return nil, 0, a.err
		}
		s.last = time.Now()
	}
}

var nul = []byte{0}

// waited looks at the clock: an idle session is ended before clamd does, a
// silent clamd must answer a PING, a file that takes too long is given up.
func (s *session) waited() error {
	s.mu.Lock()
	err, due, quiet := s.err, len(s.pending), time.Since(s.last)
	s.mu.Unlock()
	switch {
	case err != nil:
		return err
	case due == 0 && quiet >= s.e.o.Idle:
		return s.e.fault(fault.Unavailable, errIdle)
	case due == 0 || quiet < s.e.o.Stall:
		return nil
	}
	if err := s.e.ping(); err != nil {
		return err
	}
	var late []*request
	s.mu.Lock()
	s.last = time.Now()
	for _, r := range s.pending {
		if s.last.Sub(r.began) > s.e.o.Timeout {
			late = append(late, r)
		}
	}
	s.mu.Unlock()
	for _, r := range late {
		r.finish(scan.Report{}, s.e.timedOut()) // its place stays taken until clamd answers
	}
	return nil
}

var errIdle = errors.New("nothing to do")

// timedOut is for an object that clamd has not answered about, though it is alive.
func (e *Engine) timedOut() error {
	return &fault.Error{Op: "clamd.Scan", On: e.o.Address, Kind: fault.Unavailable, Reason: string(scan.Timeout)}
}

// dialBlocking returns a connected socket in blocking mode whose reads return
// EAGAIN after a tick. It does not wait for a clamd that accepts nobody.
func dialBlocking(path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	if err = unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err == nil {
		wait := unix.NsecToTimeval(int64(tick))
		err = errors.Join(unix.SetNonblock(fd, false), unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait))
	}
	if err != nil {
		return -1, errors.Join(os.NewSyscallError("connect", err), unix.Close(fd))
	}
	return fd, nil
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
