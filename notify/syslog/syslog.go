// Package syslog writes notices to a log server over UDP: RFC 5424 with a
// message in ArcSight's Common Event Format, which most log servers read. UDP
// tells nobody whether a line arrived.
package syslog

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/outbound"
	"github.com/landwaiter/landwaiter/ledger"
)

// Options say where to write.
type Options struct {
	Host    string
	Port    int
	Version string // of this release
	Guard   outbound.Guard
}

// A Syslog is one log server.
type Syslog struct {
	o    Options
	host string
	pid  string
}

// New returns the channel; nothing is sent before Deliver.
func New(o Options) *Syslog {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "-"
	}
	return &Syslog{o: o, host: printable(host, 255), pid: strconv.Itoa(os.Getpid())}
}

// Close has nothing to give back: a socket lasts for one line.
func (s *Syslog) Close() error { return nil }

// maxLine is what goes into one datagram: what every receiver of RFC 5426 should
// take, and no fragments on most networks' tunnels would be 480; rsyslog takes 8 KiB.
const maxLine = 8 << 10

// Deliver writes one line.
func (s *Syslog) Deliver(ctx context.Context, n ledger.Notice) error {
	const op = "syslog.Deliver"
	e, err := eventOf(n)
	if err != nil {
		return err
	}
	e.extensions = append(e.extensions, [2]string{"cs6Label", "notice"}, [2]string{"cs6", n.ID.String()})
	at := net.JoinHostPort(s.o.Host, strconv.Itoa(s.o.Port))
	conn, err := s.o.Guard.DialContext(ctx, "udp", at)
	if err != nil {
		return err
	}
	_, err = conn.Write([]byte(s.line(n, e)))
	if cerr := conn.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fault.New(fault.Unavailable, op, at, err)
	}
	return nil
}

// facility is local0; a severity is added to it.
const facility = 16 * 8

// line is a notice in RFC 5424. Version 1, the time, host, program, process and a
// message id; no structured data; then the event, in which the notice has its id.
func (s *Syslog) line(n ledger.Notice, e event) string {
	line := fmt.Sprintf("<%d>1 %s %s landwaiter %s %s - ", facility+e.syslog(), e.at.UTC().Format("2006-01-02T15:04:05.000000Z07:00"), s.host, s.pid, n.Kind) +
		e.cef(s.o.Version)
	if len(line) > maxLine {
		line = strings.ToValidUTF8(line[:maxLine], "")
	}
	return line
}

// printable is a field of the header: visible ASCII, at most n of it.
func printable(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), n)]
}

// An event is a notice in the words of CEF.
type event struct {
	at         time.Time
	class      string
	name       string
	severity   int // 0 to 10
	extensions [][2]string
}

// syslog is the severity in syslog's numbers, of which 0 is the worst.
func (e event) syslog() int {
	switch {
	case e.severity >= 8:
		return 2 // critical
	case e.severity >= 6:
		return 4 // warning
	}
	return 6 // informational
}
