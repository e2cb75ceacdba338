package clamd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

// Probe asks PING, VERSION and STATS, and reads clamd.conf for the limits. A
// clamd that has VERSION or STATS switched off is ready all the same.
func (e *Engine) Probe(ctx context.Context) (scan.Health, error) {
	if got, err := e.ask(ctx, "PING", dialTimeout); err != nil {
		return scan.Health{}, err
	} else if got != "PONG" {
		return scan.Health{}, e.violation("PING", []byte(got))
	}
	h := scan.Health{Ready: true}
	if got, err := e.ask(ctx, "VERSION", dialTimeout); err == nil {
		h.Version, h.Definitions, h.DefinedAt = version(got)
	}
	// STATS waits for a thread of clamd's, so a busy one may not answer in time.
	if got, err := e.ask(ctx, "STATS", time.Second); err == nil {
		h.Load, err = load(got)
		if err != nil {
			return scan.Health{Detail: err.Error()}, nil
		}
	} else if ctx.Err() == nil && fault.Is(err, fault.Unavailable) {
		h.Load = 1
	}
	e.known.Store(&knowledge{defs: h.Definitions, defined: h.DefinedAt})
	var err error
	if h.Limits, err = e.limits(h.Version); err != nil {
		h.Detail = err.Error()
	}
	return h, ctx.Err()
}

// ping says whether clamd answers, in a moment.
func (e *Engine) ping() error {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	got, err := e.ask(ctx, "PING", min(dialTimeout, max(e.o.Stall, 500*time.Millisecond)))
	if err == nil && got != "PONG" {
		err = e.violation("PING", []byte(got))
	}
	return err
}

// ask sends one command on a connection of its own.
func (e *Engine) ask(ctx context.Context, cmd string, within time.Duration) (string, error) {
	actx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(actx, e.o.Network, e.o.Address)
	if err == nil {
		defer c.Close()
		stop := context.AfterFunc(actx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
		defer stop()
		_, err = io.WriteString(c, "z"+cmd+"\x00")
	}
	var got []byte
	if err == nil {
		got, err = io.ReadAll(io.LimitReader(c, 16*maxReply))
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	text, ok := strings.CutSuffix(string(got), "\x00")
	switch {
	case err != nil:
		return "", e.fault(fault.Unavailable, fmt.Errorf("%s: %w", cmd, err))
	case !ok:
		return "", e.violation(cmd, got[:min(len(got), 200)])
	}
	return text, nil
}

// version reads "ClamAV 1.4.6/27000/Sat Nov 21 08:26:13 2026". Without a
// database of ClamAV's own there is neither number nor date.
func version(s string) (program, definitions string, at time.Time) {
	program, rest, ok := strings.Cut(s, "/")
	if !strings.HasPrefix(program, "ClamAV ") || !printable(s) {
		return "", "", time.Time{}
	}
	program = strings.TrimPrefix(program, "ClamAV ")
	num, date, dated := strings.Cut(rest, "/")
	if _, err := strconv.ParseUint(num, 10, 32); !ok || err != nil {
		return program, "", time.Time{}
	}
	if dated {
		if t, err := time.ParseInLocation(time.ANSIC, date, time.Local); err == nil { // ctime(3)
			at = t.UTC()
		}
	}
	return program, rest, at
}

var errEnding = errors.New("clamd is ending")

// load reads STATS: how much of the threads is taken, and the queue.
func load(s string) (float64, error) {
	var live, idle, most, queue int
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		switch {
		case line == "STATE: EXIT" || strings.HasPrefix(line, "STATE: INVALID"):
			return 0, errEnding
		case strings.HasPrefix(line, "THREADS: "):
			if _, err := fmt.Sscanf(line, "THREADS: live %d idle %d max %d", &live, &idle, &most); err != nil {
				return 0, nil // another version's words: no figure
			}
		case strings.HasPrefix(line, "QUEUE: "):
			if _, err := fmt.Sscanf(line, "QUEUE: %d items", &queue); err != nil {
				return 0, nil
			}
		}
	}
	if most <= 0 {
		return 0, nil
	}
	return min(1, max(0, float64(live-idle+queue)/float64(most))), nil
}
