package daemon

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/landwaiter/landwaiter/fault"
)

// A stopping daemon takes at most 30 s: so long for the work in hand, and so
// long to close what it used.
const (
	drainWithin = 18 * time.Second
	shutWithin  = 11 * time.Second
)

// errDone ends a run that was to go on only once.
var errDone = errors.New("all that was there is finished")

// Run runs the daemon until ctx ends or, with Once, until all that was there is
// finished. Sources stop first, then workers, then the ledger is closed, within
// 30 s; what is not done by then goes on at the next start.
func (d *Daemon) Run(ctx context.Context) (err error) {
	var base errgroup.Group // what the pipeline stands on
	defer func() { err = errors.Join(err, d.shutDown(&base)) }()
	listener, err := d.listen()
	if err != nil {
		return err
	}
	addr := ""
	if listener != nil {
		addr = listener.Addr().String()
	}
	if err := d.setup(ctx, addr); err != nil {
		d.log.Warn("nobody can become the first administrator over the API: use landwaiter user add", "err", err)
	}
	socket, err := d.listenSocket()
	if err != nil {
		if listener != nil {
			err = errors.Join(err, listener.Close())
		}
		return err
	}
	hup := make(chan os.Signal, 1)
	if d.o.Load != nil { // before anybody hears that we are ready
		signal.Notify(hup, syscall.SIGHUP)
		defer signal.Stop(hup)
	}

	// The ledger and the engines outlive the pipeline: it gives back through them.
	under, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop() // before what waits for it
	base.Go(func() error { return d.db.Run(under) })
	base.Go(func() error { return d.pools.run(under) })

	work, cancel := context.WithCancel(ctx)
	defer cancel()
	g, gctx := errgroup.WithContext(work)
	defer context.AfterFunc(gctx, d.control.Stream.Close)() // who follows it would be waited for
	g.Go(func() error { return d.pipe.Run(gctx) })
	g.Go(func() error { return d.feeds.run(gctx, d) })
	g.Go(func() error { return d.discover(gctx) })
	g.Go(func() error { return d.autoDiscover(gctx) })
	g.Go(func() error { return d.reopen(gctx) })
	g.Go(func() error { return d.follow(gctx) })
	g.Go(func() error { return d.expire(gctx) })
	g.Go(func() error { return d.schedules(gctx) })
	g.Go(func() error { return d.outbox.Run(gctx) })
	g.Go(func() error { return d.retain(gctx) })
	g.Go(func() error { return watchdog(gctx, d.log, d.db.Ping) })
	g.Go(func() error { return d.reloads(gctx, hup) })
	if listener != nil {
		g.Go(func() error { return serveHTTP(gctx, listener, d.mux()) })
	}
	g.Go(func() error { return serveHTTP(gctx, socket, d.socketMux()) })
	if d.o.Once {
		g.Go(func() error { return d.once(gctx) })
	}
	if d.o.Ready != nil {
		d.o.Ready(addr)
	}
	if err := notify("READY=1"); err != nil {
		d.log.Warn("sd_notify", "err", err)
	}

	ended := make(chan error, 1)
	go func() { ended <- g.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = d.stopping(ended)
	}
	if errors.Is(err, errDone) || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// stopping waits for the work in hand. What does not end by itself, a call that
// hears no cancellation, is left: its entry is still in work in the ledger, the
// next start takes it up, and the ledger takes nothing more from it.
func (d *Daemon) stopping(ended <-chan error) error {
	began := time.Now()
	_ = notify("STOPPING=1") // systemd sees us end in any case
	select {
	case err := <-ended:
		d.log.Info("stopped", "took", time.Since(began).Round(time.Millisecond))
		return err
	case <-time.After(d.drain):
		d.log.Warn("stopped without waiting for all work: it goes on at the next start", "after", d.drain)
		return nil
	}
}

// shutDown waits for base and closes what Open took. What hangs is left to the
// end of the process.
func (d *Daemon) shutDown(base *errgroup.Group) error {
	closed := make(chan error, 1)
	go func() {
		err := base.Wait()
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		closed <- errors.Join(err, d.close())
	}()
	select {
	case err := <-closed:
		return err
	case <-time.After(d.shut):
		d.log.Warn("stopped without closing everything", "after", d.shut)
		return nil
	}
}

// once waits until every unit was swept and nothing is pending. It fails where
// the engines do not become ready.
func (d *Daemon) once(ctx context.Context) error {
	for calm := 0; calm < 2; {
		if err := d.pools.wait(ctx); err != nil {
			return err
		}
		idle, err := d.pipe.Idle(ctx)
		if err != nil {
			return err
		}
		if idle {
			calm++
		} else {
			calm = 0
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return errDone
}

// expire purges what is kept in quarantine longer than it should be.
func (d *Daemon) expire(ctx context.Context) error {
	if n, err := d.vault.adopt(ctx); err != nil && ctx.Err() == nil {
		d.log.Warn("quarantine: not all of it could be listed", "err", err)
	} else if n > 0 {
		d.log.Warn("quarantine: objects that a killed process had put away are listed again", "items", n)
	}
	t := time.NewTicker(time.Hour)
	defer t.Stop()
	for {
		n, err := d.control.Expire(ctx, time.Now())
		if err != nil && ctx.Err() == nil {
			d.log.Warn("quarantine expiry", "err", err)
		}
		if n > 0 {
			d.log.Info("purged from quarantine", "items", n)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// reloads reads the configuration again at each signal.
func (d *Daemon) reloads(ctx context.Context, hup <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-hup:
			_ = reloading() // informational
			if err := d.Reload(ctx); err != nil {
				d.log.Error("reload refused: everything stays as it was", "err", err)
			}
			_ = notify("READY=1")
		}
	}
}

// listen opens the HTTP listener, nil if the configuration wants none.
func (d *Daemon) listen() (net.Listener, error) {
	addr := d.o.Config.Server.Listen
	if addr == "off" || addr == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fault.New(fault.Exists, "daemon.Listen", addr, err)
	case errors.Is(err, os.ErrPermission):
		return nil, fault.New(fault.Denied, "daemon.Listen", addr, err)
	case err != nil:
		return nil, fault.New(fault.Invalid, "daemon.Listen", addr, err)
	}
	return l, nil
}

// mux serves the API, hooks, health and metrics; in the last two there is nothing
// to hide.
func (d *Daemon) mux() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/hooks/", d.feeds.handler())
	mux.HandleFunc("GET /livez", live(d.checks))
	mux.HandleFunc("GET /readyz", ready(d.checks))
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.metrics.registry, promhttp.HandlerOpts{}))
	return besideAPI(d.api, mux)
}

// besideAPI gives the API what is below /api/, in any case and as it was sent: a
// mux would redirect a path that it finds untidy, and lose a body by that.
func besideAPI(api, other http.Handler) http.Handler {
	const root = "/api/"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := r.URL.Path; len(p) >= len(root) && strings.EqualFold(p[:len(root)], root) {
			api.ServeHTTP(w, r)
			return
		}
		other.ServeHTTP(w, r)
	})
}

// serveHTTP serves until ctx ends, with bounds on what slow callers may hold.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 64 << 10} // with a context of its own: ours says that the operator of the machine asks
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		sctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err := s.Shutdown(sctx)
		if err != nil {
			err = errors.Join(err, s.Close())
		}
		stopped <- err
	})
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// checks are what /readyz looks at.
func (d *Daemon) checks() []check {
	return append([]check{
		{name: "ledger", run: d.db.Ping},
		{name: "engines", run: d.pools.check},
		{name: "pools", advisory: true, run: d.pools.checkAll},
		{name: "disk", run: func(context.Context) error {
			if d.disk.full() {
				return errors.New("too little room: sources wait")
			}
			return nil
		}},
		{name: "sandbox", advisory: true, run: func(context.Context) error {
			if !d.box.Status().Complete() {
				return errors.New("the kernel lacks a part of it; see landwaiter doctor")
			}
			return nil
		}},
		{name: "units", advisory: true, run: d.checkUnits},
		{name: "sources", advisory: true, run: d.feeds.check},
		{name: "accounts", advisory: true, run: d.checkAccounts},
	}, d.pools.failovers()...)
}
