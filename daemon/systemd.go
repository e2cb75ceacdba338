package daemon

import (
	"context"
	"net"
	"os"
	"strconv"
	"time"
)

// notify tells systemd how we are, by the sd_notify(3) protocol. It does
// nothing where NOTIFY_SOCKET is not set.
func notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] == '@' {
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(state))
	return err
}

// watchdogInterval is half of what systemd allows between two signs of life;
// 0 if it wants none.
func watchdogInterval() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || us <= 0 {
		return 0
	}
	return time.Duration(us) * time.Microsecond / 2
}

// watchdog gives a sign of life as long as alive says so, until ctx ends.
func watchdog(ctx context.Context, alive func(context.Context) error) error {
	every := watchdogInterval()
	if every == 0 {
		return nil
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if alive(ctx) == nil {
				if err := notify("WATCHDOG=1"); err != nil {
					return err
				}
			}
		}
	}
}
