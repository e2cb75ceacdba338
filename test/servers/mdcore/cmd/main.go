// Command cmd runs the stand-in for MetaDefender Core on its own, for trying
// things by hand. It is no scanner.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/landwaiter/landwaiter/test/servers/mdcore"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:8008", "where to listen")
	key := flag.String("apikey", "", "the key to ask for")
	latency := flag.Duration("latency", 0, "from submission to report")
	queue := flag.Int("queue", 0, "jobs in work before 503")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: mdcore.New(mdcore.Options{APIKey: *key, Latency: *latency, MaxQueue: *queue}),
		ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintf(os.Stderr, "a stand-in for MetaDefender Core is at mdcore://%s\n", l.Addr())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = srv.Close()
		if e := <-done; err == nil && !errors.Is(e, http.ErrServerClosed) {
			err = e
		}
	}
	return err
}
