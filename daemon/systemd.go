package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
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

// watchdog gives a sign of life as long as alive says so, until ctx ends. That
// systemd cannot be reached is its own affair: it ends us if it minds.
func watchdog(ctx context.Context, log *slog.Logger, alive func(context.Context) error) error {
	every := watchdogInterval()
	if every == 0 {
		return nil
	}
	for sleep(ctx, every) == nil {
		err := within(ctx, every, alive)
		if err == nil {
			err = notify("WATCHDOG=1")
		}
		if err != nil && ctx.Err() == nil {
			log.Error("no sign of life for the watchdog", "err", err)
		}
	}
	return nil
}

// within calls f with a bound on its time.
func within(ctx context.Context, t time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, t)
	defer cancel()
	return f(ctx)
}

// reloading says that a reload begins; READY=1 ends it. Type=notify-reload
// wants the time of the monotonic clock with it.
func reloading() error {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return err
	}
	return notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", ts.Nano()/1000))
}
