package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/events"
	sources "github.com/landwaiter/landwaiter/events/all"
	"github.com/landwaiter/landwaiter/webhook"
)

// feeds are the ways in that vendors push through: sources, which we ask, and
// hooks, which call us.
type feeds struct {
	router  *router
	sources []*feed
	hooks   *webhook.Handler
}

type feed struct {
	name, url string
	events.Source
	ended atomic.Pointer[error] // why it cannot work as it is configured

	mu     sync.Mutex
	lapse  string    // what goes wrong, as seen last
	lapsed time.Time // since when
}

// error says what goes wrong with a source and since when, as far as anybody
// looked. It is "" again when the source received something.
func (s *feed) error(now time.Time) (string, time.Time) {
	text := s.Status().Error
	if s.ended.Load() != nil {
		text = s.trouble().Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case text == "":
		s.lapsed = time.Time{}
	case text != s.lapse:
		s.lapsed = now
	}
	s.lapse = text
	return s.lapse, s.lapsed
}

// trouble says why a source receives nothing now, nil if it does.
func (s *feed) trouble() error {
	if err := s.ended.Load(); err != nil {
		return fmt.Errorf("it ended, and a start with other settings is needed: %w", *err)
	}
	st := s.Status()
	switch {
	case st.Connected:
		return nil
	case st.Error == "":
		return errors.New("not connected yet")
	}
	return errors.New(st.Error)
}

// openFeeds makes the sources and hooks that c names; it connects to nobody.
func (d *Daemon) openFeeds(c *config.Config) (_ *feeds, err error) {
	f := &feeds{router: &router{d: d, may: map[string]map[string]bool{}, stray: map[string]int64{}}}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close())
		}
	}()
	for _, s := range c.Sources {
		src, err := sources.Open(events.Options{Name: s.Name, URL: s.URL, Options: reveal(s.Options)})
		if err != nil {
			return f, fmt.Errorf("source %s: %w", s.Name, err)
		}
		f.sources = append(f.sources, &feed{name: s.Name, url: s.URL, Source: src})
		f.router.limit(s.Name, s.Units)
	}
	var hooks []webhook.Hook
	for _, h := range c.Hooks {
		hooks = append(hooks, webhook.Hook{Name: h.Name, Kind: h.Kind, Options: reveal(h.Options)})
		f.router.limit(hookSource+h.Name, h.Units)
	}
	f.hooks, err = webhook.New(hooks, f.router, d.log, time.Now)
	return f, err
}

// limit lets a source speak of these units alone; of all if there are none.
func (r *router) limit(source string, units []string) {
	if len(units) == 0 {
		return
	}
	r.may[source] = map[string]bool{}
	for _, u := range units {
		r.may[source][u] = true
	}
}

func reveal(options map[string]config.Secret) map[string]string {
	m := make(map[string]string, len(options))
	for name, s := range options {
		m[name] = s.Reveal()
	}
	return m
}

// run receives until ctx ends. A source that cannot work as it is configured is
// told and left; the others go on, and sweeps find what it would have said.
func (f *feeds) run(ctx context.Context, d *Daemon) error {
	var g errgroup.Group
	for _, s := range f.sources {
		g.Go(func() error {
			if err := s.Run(ctx, f.router); err != nil && ctx.Err() == nil {
				s.ended.Store(&err)
				d.log.Error("a source of events cannot work: its units are swept only", "source", s.name, "err", err)
			}
			return nil
		})
	}
	g.Go(func() error { return f.suspect(ctx, d) })
	g.Go(func() error { return f.tell(ctx, d) })
	return g.Wait()
}

// tell says in the log when a source loses its server, and when it is back.
func (f *feeds) tell(ctx context.Context, d *Daemon) error {
	was := map[string]bool{}
	for {
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
		for _, s := range f.sources {
			s.error(time.Now())
			connected := s.Status().Connected
			switch {
			case connected && !was[s.name]:
				d.log.Info("a source of events is connected", "source", s.name)
			case !connected && was[s.name] && s.ended.Load() == nil:
				d.log.Warn("a source of events lost its server: it tries again, and sweeps go on", "source", s.name, "err", s.trouble())
			}
			was[s.name] = connected
		}
	}
}

// Calls that cannot prove who they are may be a vendor's whose secret or
// certificate was changed: its events are lost until somebody looks.
const (
	suspectEvery = 10 * time.Second // between looks at the counts
	suspectFrom  = 20               // calls refused between two looks that are a burst
	suspectPause = 30 * time.Minute // between the sweeps that one hook causes: strangers can make such bursts
)

// suspect sweeps the units of a hook after a burst of refused calls.
func (f *feeds) suspect(ctx context.Context, d *Daemon) error {
	before, swept := map[string]int64{}, map[string]time.Time{}
	for {
		if err := sleep(ctx, suspectEvery); err != nil {
			return err
		}
		for _, st := range f.hooks.Status() {
			n := st.Refused["unproven"]
			burst := n-before[st.Name] >= suspectFrom && time.Since(swept[st.Name]) >= suspectPause
			before[st.Name] = n
			if !burst {
				continue
			}
			swept[st.Name] = time.Now()
			d.log.Warn("many calls of a hook are refused: its units are swept", "hook", st.Name, "refused", st.Refused)
			for _, u := range d.list() {
				if may := f.router.may[hookSource+st.Name]; may == nil || may[u.Name] {
					d.pipe.Sweep(u.ID, "")
				}
			}
		}
	}
}

func refusals(st webhook.Status) (n int64) {
	for _, k := range st.Refused {
		n += k
	}
	return n
}

func (f *feeds) close() error {
	var errs []error
	for _, s := range f.sources {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// check says which sources receive nothing now.
func (f *feeds) check(context.Context) error {
	var errs []error
	for _, s := range f.sources {
		if err := s.trouble(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	return errors.Join(errs...)
}

// list tells how sources and hooks go.
func (f *feeds) list() (list []control.Feed) {
	for _, s := range f.sources {
		st := s.Status()
		text, at := s.error(time.Now())
		list = append(list, control.Feed{Name: s.name, Kind: "source", URL: s.url, Connected: st.Connected, Error: text, ErrorAt: at, Strays: f.router.strays(s.name), Received: st.Received, Acked: st.Acked, Buried: st.Buried, Last: st.Last})
	}
	for _, st := range f.hooks.Status() {
		h := control.Feed{Name: st.Name, Kind: st.Kind, URL: webhook.Prefix + st.Name, Connected: true, Error: st.Error, ErrorAt: st.ErrorAt,
			Received: st.Accepted + refusals(st), Acked: st.Accepted, Buried: st.Buried, Refused: refusals(st), Strays: f.router.strays(hookSource + st.Name), Last: st.Last}
		for _, c := range st.Confirm {
			h.Note = "open this to confirm the subscription of " + c.Topic + ": " + c.URL
		}
		list = append(list, h)
	}
	return list
}

func (f *feeds) handler() http.Handler { return f.hooks }
