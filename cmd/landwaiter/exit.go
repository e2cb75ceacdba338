package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/output"
)

// The exit codes. Scripts rely on them: docs/cli.md has the same table.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitConfig      = 3
	exitDenied      = 4
	exitNotFound    = 5
	exitConflict    = 6
	exitPartial     = 7
	exitUnreachable = 8
	exitTimeout     = 9
	exitInfected    = 10 // with --detailed-exitcode
	exitNotScanned  = 11 // with --detailed-exitcode
)

// kindCodes is the exit code of each kind of fault.
var kindCodes = map[fault.Kind]int{
	fault.Other:       exitFailed,
	fault.Invalid:     exitUsage, // what was asked for can never succeed
	fault.NotFound:    exitNotFound,
	fault.Exists:      exitConflict,
	fault.Changed:     exitConflict,
	fault.Denied:      exitDenied,
	fault.Unsupported: exitFailed,
	fault.Throttled:   exitUnreachable,
	fault.Unavailable: exitUnreachable,
	fault.Corrupt:     exitFailed,
	fault.Stale:       exitConflict,
	fault.Internal:    exitFailed,
}

// An exit is an error that is an exit code. Err says why, nil = there is
// nothing to say: the results did.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// usage marks err as a mistake on the command line.
func usage(err error) error { return &exit{exitUsage, err} }

// partial marks err as the failure of a part of what was asked for.
func partial(err error) error { return &exit{exitPartial, err} }

// exitCode maps an error to an exit code.
func exitCode(err error) int {
	var e *exit
	var problems config.Problems
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &e):
		return e.code
	case errors.As(err, &problems):
		return exitConfig
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return exitTimeout
	}
	kind := fault.KindOf(err)
	if kind != fault.Other {
		return kindCodes[kind]
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return exitUnreachable
	case errors.Is(err, os.ErrPermission):
		return exitDenied
	case errors.Is(err, os.ErrNotExist):
		return exitNotFound
	}
	return exitFailed
}

// nextStep is what to do about what users meet most, by where it comes from.
var nextStep = map[string]struct {
	kind fault.Kind
	says string // %s is what it was done to
}{
	"store.OpenReadOnly": {fault.NotFound, "there is no ledger yet (%s): start landwaiter serve, or say where it keeps its data with --data or -c"},
	"daemon.Listen":      {fault.Exists, "%s is taken already: choose another address with --listen, or end what listens there"},
	"store.Open":         {fault.Exists, "another landwaiter runs on the data folder %s: end it, or use another folder with --data"},
	"engine.test":        {fault.NotFound, "there is no pool %s; engine list shows them"},
}

// plainly is an error for users: without the method that it comes from, unless
// it is our own mistake.
func plainly(err error) string {
	if e := new(exit); errors.As(err, &e) && e.err != nil {
		err = e.err
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var was, lines []string
		for _, err := range joined.Unwrap() {
			was, lines = append(was, err.Error()), append(lines, plainly(err))
		}
		if strings.Join(was, "\n") == err.Error() { // joined, not told in other words
			return strings.Join(lines, "\n")
		}
	}
	f, ok := err.(*fault.Error) //nolint:errorlint // what wraps it says more than it does
	if !ok || f.Kind == fault.Internal {
		return err.Error()
	}
	if next, ok := nextStep[f.Op]; ok && f.Kind == next.kind {
		return fmt.Sprintf(next.says, f.On)
	}
	why := f.Kind.String()
	if f.Err != nil {
		why = plainly(f.Err)
	}
	if f.On == "" || strings.Contains(why, f.On) {
		return why
	}
	return f.On + ": " + why
}

// fail says what went wrong, on standard error, and returns the exit code.
func (a *App) fail(err error) int {
	code := exitCode(err)
	// A reader that went away (landwaiter entries | head) is no failure to speak of.
	if err == nil || errors.Is(err, syscall.EPIPE) {
		return code
	}
	if text := plainly(err); text != "" {
		for line := range strings.SplitSeq(text, "\n") {
			a.say("%s", output.Escape(line))
		}
	}
	if code == exitUsage {
		a.say("Try landwaiter --help.")
	}
	return code
}
