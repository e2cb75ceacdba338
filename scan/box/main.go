package box

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/archive"
)

// The child's descriptors.
const (
	fdConn  = 3
	fdSpool = 4
)

// envMark in the environment makes a process a child; its value is the limits
// it puts on itself, as JSON.
const envMark = "LANDWAITER_BOX"

// Main turns the process into a child if it was started as one, and then does
// not return. Programs that open a Pool call it before anything else, tests in
// TestMain.
func Main() {
	if mark := os.Getenv(envMark); mark != "" {
		// A signal to the whole group, a terminal's or a service manager's, is for
		// the parent, which ends its children itself.
		signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		os.Exit(serve(mark, nil))
	}
}

// serve is a child's life. Its exit codes: 0 the parent is gone, 3 the sandbox
// or the connection failed.
func serve(mark string, hook func(*os.File)) int {
	var lim limits
	if err := json.Unmarshal([]byte(mark), &lim); err != nil {
		fmt.Fprintln(os.Stderr, "box: this environment variable is not for you:", envMark)
		return 3
	}
	status, err := enclose(lim)
	if err != nil {
		fmt.Fprintln(os.Stderr, "box:", err)
		return 3
	}
	// A file that is collected closes its descriptor, so these live as long as we.
	srv := server{out: bufio.NewWriterSize(fdWriter(fdConn), 32<<10), spool: os.NewFile(fdSpool, "spool"), hook: hook}
	defer runtime.KeepAlive(&srv)
	hello, err := appendJSON(nil, frameHello, status)
	if err == nil {
		_, _ = srv.out.Write(hello)
		err = srv.out.Flush()
	}
	for err == nil {
		err = srv.answer()
	}
	if err == io.EOF {
		return 0
	}
	fmt.Fprintln(os.Stderr, "box:", err)
	return 3
}

type fdWriter int

func (fd fdWriter) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		k, err := unix.Write(int(fd), p[n:])
		if err != nil && err != unix.EINTR {
			return n, err
		}
		n += max(k, 0)
	}
	return len(p), nil
}

// server is what a child works with.
type server struct {
	out   *bufio.Writer
	spool *os.File
	hook  func(*os.File) // before each walk; tests have one
}

// answer takes one request. Its error ends the child.
func (s *server) answer() error {
	req, f, err := receive()
	if err != nil {
		return err
	}
	defer f.Close()
	if s.hook != nil {
		s.hook(f)
	}
	ctx, cancel := context.WithTimeout(context.Background(), req.Timeout)
	defer cancel()
	v := &visitor{req: req, out: s.out}
	facts, werr := archive.Walk(ctx, f, req.Size, archive.Options{
		Limits: req.Limits, Memory: req.Memory, Spool: s.spool, SpoolMax: req.SpoolMax, Visit: v.visit,
	})
	facts.Path = object.FormatKey(facts.Path)
	d := done{Facts: facts}
	switch {
	case errors.Is(werr, context.DeadlineExceeded):
		if d.Facts.Reason == "" {
			d.Facts.Reason = scan.Timeout
		}
	case werr != nil:
		d.Error = werr.Error()[:min(len(werr.Error()), 500)]
	}
	if v.err != nil {
		return v.err
	}
	if err := s.spool.Truncate(0); err != nil {
		return err
	}
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &ru) == nil {
		d.CPU = time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	b, err := appendJSON(nil, frameDone, d)
	if err != nil {
		return err
	}
	_, _ = s.out.Write(b)
	return s.out.Flush()
}

// receive waits for a request and the descriptor that comes with it.
func receive() (req request, f *os.File, err error) {
	fd := -1
	read := func(p []byte) error {
		for n := 0; n < len(p); {
			oob := make([]byte, unix.CmsgSpace(4))
			k, oobn, _, _, err := unix.Recvmsg(fdConn, p[n:], oob, unix.MSG_CMSG_CLOEXEC)
			switch {
			case err == unix.EINTR:
				continue
			case err != nil:
				return err
			case k == 0 && n == 0 && fd < 0:
				return io.EOF
			case k == 0:
				return io.ErrUnexpectedEOF
			}
			n += k
			msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
			if err != nil {
				return err
			}
			for i := range msgs {
				fds, err := unix.ParseUnixRights(&msgs[i])
				if err != nil || len(fds) != 1 || fd >= 0 {
					return errors.New("want one descriptor")
				}
				fd = fds[0]
			}
		}
		return nil
	}
	var h [5]byte
	if err := read(h[:]); err != nil {
		return req, nil, err
	}
	n := binary.LittleEndian.Uint32(h[:])
	if n == 0 || n > 1+maxFrame || frameType(h[4]) != frameRequest || fd < 0 {
		return req, nil, errFrame
	}
	f = os.NewFile(uintptr(fd), "content")
	b := make([]byte, n-1)
	if err = read(b); err == nil {
		err = json.Unmarshal(b, &req)
	}
	if err != nil {
		f.Close()
		return req, nil, err
	}
	return req, f, nil
}

// visitor tells the parent of each member that it may want to know of. Looks
// are kept: archives hold many members and nest little.
type visitor struct {
	req  request
	out  *bufio.Writer
	free []*seer
	err  error
}

// seer looks at one member.
type seer struct {
	*archive.Look
	v    *visitor
	path string
}

func (v *visitor) visit(path string) io.WriteCloser {
	if n := len(v.free); n > 0 {
		s := v.free[n-1]
		v.free = v.free[:n-1]
		s.Reset()
		s.path = path
		return s
	}
	return &seer{archive.NewLook(v.req.Digests, v.req.Needle), v, path}
}

func (s *seer) Close() error {
	if s.Hit() || s.v.req.Digests != 0 {
		_, s.v.err = s.v.out.Write(appendMember(nil, member{s.Hit(), s.Size(), s.Sums(), s.path}))
	}
	s.v.free = append(s.v.free, s)
	return s.v.err
}
