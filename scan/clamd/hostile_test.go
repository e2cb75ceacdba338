package clamd_test

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/clamd"
	"github.com/landwaiter/landwaiter/scan/scantest"
)

// stranger listens where clamd should, and answers every object with reply.
type stranger struct {
	l        net.Listener
	mu       sync.Mutex
	reply    []byte
	hold     bool // keep the connection open after the reply
	commands map[string]int
	wg       sync.WaitGroup
	conns    []net.Conn
}

func newStranger(t *testing.T) *stranger {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := &stranger{l: l, commands: make(map[string]int)}
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			s.wg.Go(func() { s.serve(c.(*net.UnixConn)) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

var command = regexp.MustCompile(`[zn]([A-Z]+)[\x00\n]`)

// serve reads what comes and replies when an object is complete.
func (s *stranger) serve(c *net.UnixConn) {
	defer c.Close()
	var got []byte
	buf, oob := make([]byte, 64<<10), make([]byte, 64)
	for {
		n, on, _, _, err := c.ReadMsgUnix(buf, oob)
		if err != nil || n == 0 {
			return
		}
		file := false
		if msgs, err := syscall.ParseSocketControlMessage(oob[:on]); err == nil {
			for i := range msgs {
				fds, _ := syscall.ParseUnixRights(&msgs[i])
				for _, fd := range fds {
					file = true
					syscall.Close(fd)
				}
			}
		}
		got = append(got, buf[:n]...)
		s.mu.Lock()
		for _, m := range command.FindAllSubmatch(buf[:n], -1) {
			s.commands[string(m[1])]++
		}
		reply, hold := s.reply, s.hold
		s.mu.Unlock()
		if !file && !(bytes.Contains(got, []byte("zINSTREAM\x00")) && bytes.HasSuffix(got, []byte{0, 0, 0, 0})) {
			continue
		}
		got = nil
		if _, err := c.Write(reply); err != nil || !hold {
			return
		}
	}
}

func (s *stranger) answer(reply []byte, hold bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply, s.hold = reply, hold
}

func (s *stranger) open(t *testing.T) *clamd.Engine {
	e, err := clamd.Open(context.Background(), clamd.Options{Network: "unix", Address: s.l.Addr().String(), Stall: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// good is what a real clamd says, by the way in which it got the object. Only
// these are clean.
var (
	goodFile   = regexp.MustCompile(`^1: fd\[[0-9]{1,10}\]: OK\x00`)
	goodStream = regexp.MustCompile(`^1: stream: OK\x00$`)
)

// TestHostileReplies is I11: whatever comes that is not the very words of a
// verdict about this object is no verdict.
func TestHostileReplies(t *testing.T) {
	s := newStranger(t)
	file, stream := scantest.File(t, []byte("x")), scantest.Stream([]byte("x"))
	const seed = 20261122
	replies := scantest.Broken([][]byte{
		[]byte("1: fd[10]: OK\x00"), []byte("1: stream: OK\x00"), []byte("1: fd[10]: Eicar FOUND\x00"), []byte("1: stream: Eicar FOUND\x00"),
		[]byte("1: INSTREAM size limit exceeded. ERROR\x00"), []byte("1: fd[10]: Can't allocate memory ERROR\x00"), []byte("2: fd[10]: OK\x00"),
	}, 600, seed)
	for _, r := range []string{
		"", "\x00", "OK\x00", "fd[10]: OK\x00", "stream: OK\x00", "1: OK\x00", "1: fd[10]: OK", "1: fd[10]: OK\n", "1: fd[10]: ok\x00", "1: fd[10]: OK \x00",
		"1:fd[10]: OK\x00", "01: fd[10]: OK\x00", "0: fd[10]: OK\x00", "-1: fd[10]: OK\x00", "2: fd[10]: OK\x00", "4294967297: fd[10]: OK\x00", "2: stream: OK\x00",
		"1: fd[]: OK\x00", "1: fd[x]: OK\x00", "1: fd[-1]: OK\x00", "1: /etc/passwd: OK\x00", "1: instream: OK\x00", "1: fd[10]: OK: OK\x00", "1: fd[10]: : OK\x00",
		"1: fd[10]:  OK\x00", "1: fd[10]: FOUND\x00", "1: fd[10]:  FOUND\x00", "1: fd[10]: OK ERROR\x00", "1: fd[10]: NOT OK\x00", "1: fd[10]: Access denied. ERROR\x00",
		"1: COMMAND READ TIMED OUT\x00", "UNKNOWN COMMAND\x00", "COMMAND READ TIMED OUT\x00", "1: PONG\x00", "1: ClamAV 1.4.6\x00", "1: fd[10]: a\x01b FOUND\x00",
		"1: stream: OK\x001: stream: OK\x00", "1: stream: OK\x002: stream: OK\x00", strings.Repeat("1", 10_000), strings.Repeat("A", 1<<20),
		"1: fd[10]: " + strings.Repeat("A", 1<<16) + " FOUND\x00", "HTTP/1.1 200 OK\r\n\r\n",
	} {
		replies = append(replies, []byte(r))
	}
	cases, falseClean, verdicts := 0, 0, map[string]int{}
	for i, reply := range replies {
		s.answer(reply, i%40 == 0)
		for _, c := range []struct {
			s    scan.Sample
			good *regexp.Regexp
		}{{file, goodFile}, {stream, goodStream}} {
			e := s.open(t) // each reply to a first command
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			rep, err := e.Scan(ctx, c.s)
			cancel()
			cases++
			if err != nil {
				verdicts["error"]++
				if ctx.Err() != nil && fault.Canceled(err) {
					t.Errorf("%.80q: nobody noticed", reply)
				}
				continue
			}
			verdicts[rep.Verdict.String()]++
			if (rep.Verdict == scan.Clean) && !c.good.Match(reply) {
				falseClean++
				t.Errorf("%.80q is taken for clean", reply)
			}
			if rep.Verdict == scan.None || rep.Verdict == scan.NotScanned && rep.Reason == "" {
				t.Errorf("%.80q: a report without a verdict", reply)
			}
		}
	}
	t.Logf("cases=%d violations=%d seed=%d %v", cases, falseClean, seed, verdicts)
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.commands {
		switch name {
		case "IDSESSION", "FILDES", "INSTREAM", "PING":
		default:
			t.Errorf("clamd was asked to %s", name) // SCAN above all
		}
	}
}

// TestMixedUp: replies to one session's files that come in any order, twice, or
// for files that were never sent.
func TestMixedUp(t *testing.T) {
	s := newStranger(t)
	s.answer([]byte("8: fd[1]: OK\x00"), true)
	e := s.open(t)
	var wg sync.WaitGroup
	for range 7 {
		f := scantest.File(t, []byte("x"))
		wg.Go(func() {
			if rep, err := e.Scan(context.Background(), f); err == nil {
				t.Errorf("%s, though the numbers cannot be right", rep.Verdict)
			}
		})
	}
	wg.Wait()
}

// TestHostileProbes: an engine is not ready by rubbish.
func TestHostileProbes(t *testing.T) {
	for _, reply := range scantest.Broken([][]byte{[]byte("PONG\x00")}, 200, 1) {
		if bytes.Equal(reply, []byte("PONG\x00")) {
			continue
		}
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Read(make([]byte, 64))
				_, _ = c.Write(reply)
				c.Close()
			}
		})
		e, err := clamd.Open(context.Background(), clamd.Options{Network: "unix", Address: l.Addr().String()})
		if err != nil {
			t.Fatal(err)
		}
		if h, err := e.Probe(context.Background()); err == nil && h.Ready {
			t.Errorf("ready by %q", reply)
		}
		e.Close()
		l.Close()
		wg.Wait()
	}
}
