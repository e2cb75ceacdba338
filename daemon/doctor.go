package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/box"
	"github.com/landwaiter/landwaiter/store"
)

// doctor looks at a set-up, check by check. tell is false when nobody listens any more.
type doctor struct {
	c    *config.Config
	tell func(control.Check) bool
	stop bool
}

// Doctor checks a set-up: host, ledger, sandbox, engines and units. It changes
// nothing but what a probe writes and removes under its own prefix.
func Doctor(ctx context.Context, c *config.Config, tell func(control.Check) bool) {
	d := &doctor{c: c, tell: tell}
	for _, look := range []func(context.Context){d.secrets, d.data, d.ledger, d.disk, d.inotify, d.listen, d.workflows, d.engines, d.accounts, d.units} {
		if d.stop || ctx.Err() != nil {
			return
		}
		look(ctx)
	}
}

func (d *doctor) say(name string, err error, ok, fix string) {
	ch := control.Check{Name: name, State: "ok", Detail: ok}
	if err != nil {
		ch.State, ch.Detail, ch.Fix = "fail", err.Error(), fix
	}
	d.add(ch)
}

func (d *doctor) warn(name, detail, fix string) {
	d.add(control.Check{Name: name, State: "warn", Detail: detail, Fix: fix})
}

func (d *doctor) add(ch control.Check) {
	if !d.stop && !d.tell(ch) {
		d.stop = true
	}
}

// secrets follows the references that the configuration has not followed yet.
// Those that only the daemon can see are no failure of the set-up.
func (d *doctor) secrets(context.Context) {
	err := d.c.Resolve("")
	var missing config.Problems
	if !errors.As(err, &missing) {
		return
	}
	for _, p := range missing {
		d.warn("secret "+p.Path, p.Message, orWords(p.Hint, "run doctor as the daemon's user, where its secrets are"))
	}
}

// data checks that the data folder can be written and belongs to us alone.
func (d *doctor) data(context.Context) {
	dir := abs(d.c.Data)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		d.warn("data folder", dir+" is not there yet: serve makes it", "")
		return
	case err != nil:
		d.say("data folder", err, "", "let the daemon's user read "+dir)
		return
	}
	f, err := os.CreateTemp(dir, ".doctor-")
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		d.say("data folder", err, "", "let the daemon's user write "+dir)
		return
	}
	if info.Mode().Perm()&0o077 != 0 {
		d.warn("data folder", fmt.Sprintf("%s has mode %o: others may look into it", dir, info.Mode().Perm()), "chmod 700 "+dir)
		return
	}
	d.say("data folder", nil, dir, "")
}

// ledger opens the ledger for reading.
func (d *doctor) ledger(ctx context.Context) {
	if d.c.Resolve("store") != nil {
		d.warn("ledger", "not checked: store.dsn is not here", "")
		return
	}
	db, err := store.OpenReadOnly(ctx, store.Options{Dir: d.c.Data, DSN: d.c.Store.DSN.Reveal()})
	if fault.Is(err, fault.NotFound) {
		d.warn("ledger", "there is none yet: serve makes it", "")
		return
	}
	if err == nil {
		err = errors.Join(db.Ping(ctx), db.Close())
	}
	kind := "SQLite, every commit synced"
	if d.c.Store.DSN.IsSet() {
		kind = "PostgreSQL"
	}
	d.say("ledger", err, kind, "landwaiter fsck tells more")
}

// disk checks the room under the data folder.
func (d *doctor) disk(context.Context) {
	dir := abs(d.c.Data)
	for {
		var s unix.Statfs_t
		err := unix.Statfs(dir, &s)
		if errors.Is(err, unix.ENOENT) && dir != "/" {
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil {
			d.say("disk", err, "", "")
			return
		}
		free := s.Bavail * uint64(s.Bsize)
		full := disk{dir: dir, free: d.c.Bounds.DiskFree}
		detail := fmt.Sprintf("%d MiB free of %d MiB under %s", free>>20, s.Blocks*uint64(s.Bsize)>>20, dir)
		if full.full() {
			d.say("disk", errors.New(detail+": sources of events would wait"), "", "make room, or lower bounds.disk_free")
			return
		}
		d.say("disk", nil, detail, "")
		return
	}
}

// inotify checks the kernel's limits on watched folders.
func (d *doctor) inotify(context.Context) {
	read := func(name string) (int, error) {
		b, err := os.ReadFile("/proc/sys/fs/inotify/" + name)
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(string(b)))
	}
	watches, err := read("max_user_watches")
	queue, err2 := read("max_queued_events")
	if err := errors.Join(err, err2); err != nil {
		d.say("inotify", err, "", "")
		return
	}
	detail := fmt.Sprintf("%d folders, %d queued events", watches, queue)
	if watches < 65_536 {
		d.warn("inotify", detail+": trees with more folders fall back to sweeps", "sysctl fs.inotify.max_user_watches=524288")
		return
	}
	d.say("inotify", nil, detail, "")
}

// listen checks that the address is ours or free.
func (d *doctor) listen(ctx context.Context) {
	if r, err := control.Dial(ctx, d.c.Data); err == nil {
		d.say("daemon", r.Close(), "runs on this data folder", "")
		return
	}
	addr := d.c.Server.Listen
	if addr == "off" {
		return
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err == nil {
		err = l.Close()
	}
	d.say("listener", err, addr+" is free", "choose another server.listen, or end what listens there")
}

func (d *doctor) workflows(context.Context) {
	d.say("workflows", CheckWorkflows(d.c), fmt.Sprintf("%d configured", len(d.c.Workflows)), "")
}

// engines opens every pool, waits for its instances and shows the canaries.
func (d *doctor) engines(ctx context.Context) {
	log := slog.New(slog.DiscardHandler)
	b, err := box.Open(ctx, box.Options{Log: log})
	if err != nil {
		d.say("sandbox", err, "", "")
		return
	}
	defer func() { d.closed("sandbox", b.Close()) }()
	if st := b.Status(); st.Complete() {
		d.say("sandbox", nil, "complete", "")
	} else {
		d.warn("sandbox", fmt.Sprintf("not complete: %+v", st), "a newer kernel with landlock and seccomp")
	}
	if err := d.c.Resolve("pools"); err != nil {
		d.warn("engines", "not checked: their secrets are not here", "")
		return
	}
	ps, err := openPools(ctx, d.c, b, log)
	if err != nil {
		d.say("engines", err, "", "")
		return
	}
	defer func() { d.closed("engines", ps.close()) }()
	for _, p := range ps.all() {
		cctx, cancel := context.WithTimeout(ctx, startWithin)
		p.Check(cctx)
		cancel()
		for _, in := range p.Status().Instances {
			name := "engine " + p.Name() + " " + in.Name
			if !in.Ready {
				d.say(name, errors.New(orWords(in.Detail, "not ready")), "", "landwaiter engine test tells more")
				continue
			}
			var notes, silent []string
			if in.Stale || in.Undated {
				notes = append(notes, in.Detail)
			}
			if in.Proof != nil {
				for _, r := range in.Proof.Results {
					if r.Outcome == scan.Silent {
						silent = append(silent, string(r.Case))
					}
				}
			}
			if len(silent) > 0 {
				notes = append(notes, "silent about "+strings.Join(silent, ", ")+"; our own limits hold there")
			}
			fix := ""
			switch {
			case in.Undated:
				fix = "max_definitions_age: 0 in pool " + p.Name() + " says that any age will do"
			case in.Stale:
				fix = "see why the engine gets no new definitions"
			}
			if len(notes) > 0 {
				d.warn(name, about(in.Health)+": "+strings.Join(notes, "; "), fix)
				continue
			}
			d.say(name, nil, about(in.Health), "")
		}
	}
}

// about says in words which engine with which definitions it is.
func about(h scan.Health) string {
	if h.Knows != "" {
		name, _, _ := strings.Cut(h.Version, " ")
		return name + " engine: " + h.Knows
	}
	return strings.TrimSpace(h.Version + " " + h.Definitions)
}

// units opens every unit and says what it can do.
// accounts asks those that discover for their places.
func (d *doctor) accounts(ctx context.Context) {
	for i, a := range d.c.Accounts {
		if len(a.Discover.Include) == 0 {
			continue
		}
		if d.c.Resolve(fmt.Sprintf("accounts[%d]", i)) != nil {
			d.warn("account "+a.Name, "not checked: its secrets are not here", "")
			continue
		}
		actx, cancel := context.WithTimeout(ctx, openWithin)
		list, err := all.Discover(actx, connectors.Unit{Name: a.Name, URL: a.URL, Options: reveal(a.Options)})
		cancel()
		takes := 0
		for _, f := range list {
			if a.Discover.Takes(f.Name) {
				takes++
			}
		}
		d.say("account "+a.Name, err, fmt.Sprintf("%d places, %d of them wanted", len(list), takes), "check its URL and options: nothing is discovered until it answers")
	}
}

func (d *doctor) units(ctx context.Context) {
	daemon := &Daemon{o: Options{Config: d.c}}
	units, err := daemon.unitsOf(d.c, &nouns{})
	if err != nil {
		d.say("units", err, "", "")
		return
	}
	checks := make([]control.Check, len(units))
	var g errgroup.Group
	g.SetLimit(8)
	for i, u := range units {
		if d.c.Resolve(fmt.Sprintf("units[%d]", i)) != nil {
			checks[i] = control.Check{Name: "unit " + u.Name, State: "warn", Detail: "not checked: its secrets are not here"}
			continue
		}
		g.Go(func() error {
			checks[i] = checkUnit(ctx, u)
			return nil
		})
	}
	_ = g.Wait() // none returns an error
	for _, ch := range checks {
		d.add(ch)
	}
}

func checkUnit(ctx context.Context, u connectors.Unit) control.Check {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ch := control.Check{Name: "unit " + u.Name, State: "ok"}
	st, err := all.OpenStorage(ctx, u, connectors.Options{})
	if err == nil {
		for _, lerr := range st.List(ctx, "", "") {
			err = lerr
			break
		}
		caps := st.Caps()
		ch.Detail = strings.Join(caps.Names(), " ")
		if !u.ReadOnly && caps.Remove && !caps.FencedRemove {
			ch.State = "warn"
			ch.Detail += "; removal cannot be made conditional on the scanned version: refused"
			ch.Fix = "turn versioning on, or set unfenced: true and accept the risk"
		}
		err = errors.Join(err, st.Close())
	}
	if err != nil {
		ch.State, ch.Detail = "fail", err.Error()
		switch {
		case fault.Is(err, fault.Denied):
			ch.Fix = "check the credentials and what they may do"
		case fault.Is(err, fault.NotFound):
			ch.Fix = "make the place, or correct the URL"
		}
	}
	return ch
}

func orWords(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func (d *doctor) closed(name string, err error) {
	if err != nil {
		d.say(name, err, "", "")
	}
}
