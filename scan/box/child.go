package box

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/scan"
)

// child is a running child process, used by one goroutine at a time.
type child struct {
	pool   *Pool
	cmd    *exec.Cmd
	conn   *net.UnixConn
	in     *bufio.Reader
	words  *words // its stderr
	status Status
	gone   chan struct{} // closed when the process was waited for

	uses   int
	cpu    time.Duration // used, as of the last answer
	broken bool          // not to be used again
	timer  *time.Timer   // ends it when idle; guarded by Pool.mu
	buf    []byte
}

var errCrash = errors.New("the parser died")

// startTimeout bounds how long a child may take to be ready.
const startTimeout = 20 * time.Second

// grace is how much longer than a content's own timeout the parent waits: the
// child keeps the time itself, and tells what it had seen until then.
const grace = 5 * time.Second

// start starts a child and waits for its first words.
func (p *Pool) start(ctx context.Context) (*child, error) {
	fail := func(err error) (*child, error) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fault.New(fault.Unavailable, "box.start", "", err)
	}
	spool, err := tempFile(p.opts.Dir)
	if err != nil {
		return fail(err)
	}
	defer spool.Close()
	ours, theirs, err := socketPair()
	if err != nil {
		return fail(err)
	}
	defer theirs.Close()
	mark, err := json.Marshal(limits{Memory: p.opts.Memory, CPU: 2*p.opts.Timeout + time.Minute, File: p.opts.Spool})
	if err != nil {
		return fail(err)
	}
	c := &child{pool: p, conn: ours, in: bufio.NewReaderSize(ours, 32<<10), words: &words{}, gone: make(chan struct{})}
	c.cmd = &exec.Cmd{
		Path: "/proc/self/exe", // this very program, also after its file was replaced
		Args: []string{"landwaiter-box"},
		Env: []string{ // and nothing of ours
			envMark + "=" + string(mark),
			"GOMAXPROCS=1", "GOTRACEBACK=single", "GODEBUG=decoratemappings=0",
			"GOMEMLIMIT=" + strconv.FormatInt(p.opts.Memory*3/4, 10),
		},
		Dir:         "/",
		Stderr:      c.words,
		ExtraFiles:  []*os.File{theirs, spool}, // fdConn, fdSpool
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}
	if err := p.launch(c); err != nil {
		ours.Close()
		return fail(err)
	}
	stop := context.AfterFunc(ctx, c.kill)
	defer stop()
	_ = ours.SetReadDeadline(time.Now().Add(startTimeout))
	t, b, err := readFrame(c.in, nil)
	if err == nil && t != frameHello {
		err = errFrame
	}
	if err == nil {
		err = json.Unmarshal(b, &c.status)
	}
	if err != nil {
		c.end()
		return fail(fmt.Errorf("%w: %s", err, c.words))
	}
	_ = ours.SetReadDeadline(time.Time{})
	return c, nil
}

// launch starts c's process, which from then on is among the living until it was
// waited for.
func (p *Pool) launch(c *child) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed
	}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	p.live[c] = struct{}{}
	p.ends.Go(func() {
		_ = c.cmd.Wait()
		c.conn.Close()
		close(c.gone)
		p.mu.Lock()
		delete(p.live, c)
		p.mu.Unlock()
	})
	return nil
}

// isClosed reports whether Close was called.
func (p *Pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// kill ends the process at once; whoever waits for its answer gets an error.
func (c *child) kill() { _ = c.cmd.Process.Kill() }

// end ends the process and waits for that.
func (c *child) end() {
	c.kill()
	<-c.gone
}

// ask has c look at one content.
func (c *child) ask(ctx context.Context, f *os.File, req request, ask Ask) (Result, error) {
	c.uses++
	limit, cancel := context.WithTimeout(ctx, req.Timeout+grace)
	defer cancel()
	stop := context.AfterFunc(limit, c.kill)
	res, err := c.exchange(f, req, ask)
	if !stop() {
		c.broken = true // killed, though perhaps after its last word
	}
	if err == nil || !c.broken {
		return res, err
	}
	c.end()
	state := c.cmd.ProcessState
	ws, _ := state.Sys().(syscall.WaitStatus)
	switch {
	case ctx.Err() != nil:
		return res, ctx.Err()
	case c.pool.isClosed():
		return res, errClosed
	case limit.Err() != nil || ws.Signaled() && ws.Signal() == syscall.SIGXCPU:
		return res, &fault.Error{Op: "box.Inspect", Kind: fault.Invalid, Reason: string(scan.Timeout), Err: err}
	}
	c.pool.log.Warn("parser died", "state", state.String(), "err", err, "words", c.words.String())
	return res, &fault.Error{Op: "box.Inspect", Kind: fault.Invalid, Reason: string(scan.EngineCrash),
		Err: fmt.Errorf("%w: %s", errCrash, state)}
}

// exchange sends the request and reads the answer. Unless it is complete and
// well-formed, c is broken.
func (c *child) exchange(f *os.File, req request, ask Ask) (res Result, err error) {
	c.broken = true
	b, err := appendJSON(c.buf[:0], frameRequest, req)
	if err != nil {
		return res, err
	}
	if err := c.send(b, f); err != nil {
		return res, err
	}
	for members := 0; ; {
		t, b, err := readFrame(c.in, c.buf)
		if err != nil {
			return res, err
		}
		c.buf = b[:0]
		switch t {
		case frameMember:
			// A child reports each member once, and Entries bounds those.
			if members++; members > max(req.Limits.Entries, scan.DefaultLimits.Entries) {
				return res, errFrame
			}
			m, err := parseMember(b)
			if err != nil {
				return res, err
			}
			res.judge(m, ask)
		case frameDone:
			var d done
			if err := json.Unmarshal(b, &d); err != nil {
				return res, err
			}
			if err := d.check(); err != nil {
				return res, err
			}
			res.Facts, c.cpu, c.broken = d.Facts, d.CPU, false
			if d.Error != "" {
				return res, fault.New(fault.Other, "box.Inspect", "", errors.New(strconv.QuoteToASCII(d.Error)))
			}
			return res, nil
		default:
			return res, errFrame
		}
	}
}

// judge adds m to the infected if it is.
func (r *Result) judge(m member, ask Ask) {
	threat, bad := ask.Threat, m.hit && len(ask.Needle) > 0
	if !bad && ask.Match != nil && m.sums.Has == ask.Digests {
		threat, bad = ask.Match(&m.sums, m.size)
	}
	if !bad || len(r.Infected) >= scan.MaxDetails {
		return
	}
	found := scan.Member{Path: object.FormatKey(m.path), Verdict: scan.Infected, Threat: threat, Size: m.size}
	if m.sums.Has&4 != 0 {
		found.SHA256 = fmt.Sprintf("%x", m.sums.SHA256)
	}
	r.Infected = append(r.Infected, found)
}

// send writes the request; the descriptor goes with its first byte.
func (c *child) send(b []byte, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var n int
	var werr error
	if err := raw.Control(func(fd uintptr) {
		n, _, werr = c.conn.WriteMsgUnix(b, unix.UnixRights(int(fd)), nil)
	}); err != nil {
		return err
	}
	if werr != nil {
		return werr
	}
	_, err = c.conn.Write(b[n:])
	return err
}

// readOnly returns f, or the same file opened for reading alone, so that a child
// cannot change what it was only to read.
func readOnly(f *os.File) (*os.File, func(), error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	path, flags := "", 0
	var ferr error
	if err := raw.Control(func(fd uintptr) {
		path = fmt.Sprintf("/proc/self/fd/%d", fd)
		flags, ferr = unix.FcntlInt(fd, unix.F_GETFL, 0)
	}); err != nil || ferr != nil {
		return nil, nil, errors.Join(err, ferr)
	}
	if flags&unix.O_ACCMODE == unix.O_RDONLY {
		return f, func() {}, nil
	}
	r, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	return r, func() { r.Close() }, nil
}

// socketPair returns both ends of a connection; theirs is for a child.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	f := os.NewFile(uintptr(fds[0]), "box")
	theirs = os.NewFile(uintptr(fds[1]), "box")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}

// words keeps the beginning of what a child says when it dies.
type words struct {
	mu sync.Mutex
	b  []byte
}

const maxWords = 2048

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b = append(w.b, p[:min(len(p), maxWords-len(w.b))]...)
	return len(p), nil
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strconv.QuoteToASCII(strings.TrimSpace(string(w.b)))
}

func (s Status) why() string { return strings.Join(s.Missing, "; ") }
