package clamd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

// A conn is a session with one object at a time: a stream, or a large file.
type conn struct {
	net.Conn
	e     *Engine
	id    uint32 // of the last command
	fresh bool   // nothing has been asked on it yet
	used  time.Time
}

const chunk = 128 << 10 // of a stream; each has its length in front

// errDropped is of a kept connection that clamd has closed meanwhile.
var errDropped = errors.New("clamd closed an idle connection")

// alone scans s on a connection of its own.
func (e *Engine) alone(ctx context.Context, s scan.Sample) (scan.Report, error) {
	if s.Size > e.o.Small {
		select {
		case e.large <- struct{}{}:
			defer func() { <-e.large }()
		case <-ctx.Done():
			return scan.Report{}, ctx.Err()
		}
	}
	for {
		c, err := e.conn(ctx)
		if err != nil {
			return scan.Report{}, err
		}
		rep, err := c.scan(ctx, s)
		e.keep(c, err == nil && rep.Reason != scan.TooLarge) // clamd closes after that one
		if err != nil && !c.fresh && errors.Is(err, errDropped) && ctx.Err() == nil {
			continue // at most as often as there are idle ones
		}
		return rep, err
	}
}

// conn returns an idle connection, or a new one.
func (e *Engine) conn(ctx context.Context) (*conn, error) {
	e.mu.Lock()
	for n := len(e.idle); n > 0 && !e.closed; n = len(e.idle) {
		c := e.idle[n-1]
		e.idle = e.idle[:n-1]
		if time.Since(c.used) < e.o.Idle {
			e.busy[c] = struct{}{}
			e.mu.Unlock()
			c.fresh = false
			return c, nil
		}
		_ = c.Close()
	}
	e.mu.Unlock()

	dctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var d net.Dialer
	nc, err := d.DialContext(dctx, e.o.Network, e.o.Address)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, e.fault(fault.Unavailable, err)
	}
	c := &conn{Conn: nc, e: e, fresh: true}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, errors.Join(e.fault(fault.Unavailable, errClosed), nc.Close())
	}
	e.busy[c] = struct{}{}
	return c, nil
}

// keep puts c back for the next, if it is good and there is room.
func (e *Engine) keep(c *conn, good bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.busy, c)
	if good && !e.closed && len(e.idle) < maxIdle {
		c.used = time.Now()
		e.idle = append(e.idle, c)
		return
	}
	_ = c.Close()
}

// scan gives s to clamd and reads its reply.
func (c *conn) scan(ctx context.Context, s scan.Sample) (scan.Report, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var err error
	w := byStream
	uc, unix := c.Conn.(*net.UnixConn)
	if s.File != nil && unix {
		w, err = byFile, c.pass(uc, s.File)
	} else {
		err = c.stream(ctx, s)
	}
	var wrote *writeError
	if err != nil && !errors.As(err, &wrote) {
		return scan.Report{}, err // of the sample itself
	}
	rep, rerr := c.reply(ctx, w, err != nil)
	switch {
	case ctx.Err() != nil:
		return scan.Report{}, ctx.Err()
	case err != nil && rerr == nil && rep.Verdict == scan.Clean:
		return scan.Report{}, c.e.violation("clean before the end of the stream", nil)
	case err != nil && rerr != nil:
		if !c.fresh && hungUp(err) {
			return scan.Report{}, errors.Join(errDropped, c.e.fault(fault.Unavailable, err))
		}
		return scan.Report{}, c.e.fault(fault.Unavailable, err)
	}
	return rep, rerr
}

// hello opens the session, with the first command on it.
func (c *conn) hello() string {
	c.id++
	if c.id == 1 {
		return "zIDSESSION\x00"
	}
	return ""
}

// pass hands the descriptor of f over.
func (c *conn) pass(uc *net.UnixConn, f *os.File) error {
	sc, err := f.SyscallConn()
	if err != nil {
		return fault.New(fault.Invalid, "clamd.Scan", "", err)
	}
	if _, err := io.WriteString(uc, c.hello()+"zFILDES\x00"); err != nil {
		return &writeError{err}
	}
	var sent error
	err = sc.Control(func(fd uintptr) {
		_, _, sent = uc.WriteMsgUnix([]byte{0}, syscall.UnixRights(int(fd)), nil)
	})
	if err != nil {
		return fault.New(fault.Invalid, "clamd.Scan", "", err)
	}
	if sent != nil {
		return &writeError{sent}
	}
	return nil
}

// A writeError says that clamd takes no more; any other error on the way there
// is the sample's own.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// stream sends s as INSTREAM.
func (c *conn) stream(ctx context.Context, s scan.Sample) error {
	r, err := s.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	buf := make([]byte, 0, min(chunk, max(s.Size, 0))+64)
	buf = append(append(buf, c.hello()...), "zINSTREAM\x00"...)
	var n int64
	for end := false; !end; {
		at := len(buf)
		buf = append(buf, 0, 0, 0, 0)
		data := buf[len(buf):cap(buf)]
		if want := s.Size - n; int64(len(data)) > want+1 {
			data = data[:want+1] // one more, to see that it ends there
		}
		got, err := io.ReadFull(r, data)
		n += int64(got)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			end = true
		case err != nil:
			return err
		}
		if n > s.Size || end && n < s.Size {
			return &fault.Error{Op: "clamd.Scan", Err: fmt.Errorf("the reader yields %d bytes of %d: %w", n, s.Size, io.ErrUnexpectedEOF)}
		}
		binary.BigEndian.PutUint32(buf[at:], uint32(got))
		buf = buf[:at+4+got]
		if end && got > 0 {
			buf = append(buf, 0, 0, 0, 0) // an empty chunk is the end
		}
		if _, err := c.Write(buf); err != nil {
			return &writeError{err}
		}
		if cap(buf) < chunk && !end {
			buf = make([]byte, 0, chunk+64)
		}
		buf = buf[:0]
	}
	return nil
}

// reply reads the reply to the last command. hurry says that clamd hung up and
// only what it has said already counts.
func (c *conn) reply(ctx context.Context, w way, hurry bool) (scan.Report, error) {
	rep := c.e.report(time.Now())
	began := time.Now()
	buf := make([]byte, 0, 512)
	for {
		if ctx.Err() != nil {
			return rep, ctx.Err()
		}
		wait := c.e.o.Stall
		if hurry {
			wait = time.Second
		}
		if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return rep, c.e.fault(fault.Unavailable, err)
		}
		if ctx.Err() != nil { // its end set a deadline that we have just moved
			return rep, ctx.Err()
		}
		if len(buf) == cap(buf) {
			if len(buf) >= maxReply {
				return rep, c.e.violation("a reply without an end", buf)
			}
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := c.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if line, rest, ok := bytes.Cut(buf, nul); ok {
			id, text, ok := cutID(line)
			if !ok || id != c.id || len(rest) > 0 {
				return rep, c.e.violation("a reply to nothing", buf)
			}
			rep.Took = time.Since(began)
			return rep, c.e.read(&rep, text, w)
		}
		var ne net.Error
		switch {
		case err == nil:
		case hurry || !errors.As(err, &ne) || !ne.Timeout():
			err = errors.Join(err, c.e.fault(fault.Unavailable, errHungUp))
			if !c.fresh && len(buf) == 0 {
				err = errors.Join(errDropped, err)
			}
			return rep, err
		case time.Since(began) > c.e.o.Timeout:
			return rep, c.e.timedOut()
		default:
			if err := c.e.ping(); err != nil {
				return rep, err
			}
		}
	}
}

func hungUp(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
