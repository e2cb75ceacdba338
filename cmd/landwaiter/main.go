// Command landwaiter watches storage, has what lands there inspected, and acts
// on the verdict. It is one binary: the daemon, the command line, and, started
// again by itself, the boxed parsers of content.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/landwaiter/landwaiter/scan/box"
)

func main() {
	// A boxed child starts as this binary too: it becomes one here, before it
	// does anything else, and does not return.
	box.Main()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	code := run(ctx, os.Args[1:], &App{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.Environ(), Color: colored(os.Stdout, os.Getenv), Program: program(os.Stderr),
	})
	stop()
	os.Exit(code)
}
