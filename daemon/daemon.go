// Package daemon wires the parts of landwaiter together and runs them: it
// opens the ledger, the units and the pools that a configuration names, starts
// the pipeline and the listeners, reloads, and stops within a bound. Tests run
// the program through it.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/api"
	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/seal"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/pipeline"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/scan/box"
	"github.com/landwaiter/landwaiter/store"
)

// Options are what a daemon is made of.
type Options struct {
	Config *config.Config
	Log    *slog.Logger // nil = none
	// Load reads the configuration again for a reload; nil = SIGHUP changes nothing.
	Load func() (*config.Config, error)
	// Finished is called with each finished entry after its commit; it must be quick.
	Finished func(*ledger.Entry)
	// Once ends Run when everything that was there is finished.
	Once bool
	// Quarantine is the folder of the quarantine; "" = DATA/quarantine.
	Quarantine string
	// Ready is called with the listener's address ("" if there is none) when the
	// daemon is ready.
	Ready func(addr string)
	// Setup is called with the command that makes the first administrator, while
	// there is none; nil = it is logged.
	Setup func(command string)
	// Version is of this release, for the API's document.
	Version string
}

// A Daemon is one running landwaiter.
type Daemon struct {
	o       Options
	log     *slog.Logger
	db      *store.DB
	set     *connectors.Set
	box     *box.Pool
	pools   *pools
	vault   *vault
	pipe    *pipeline.Pipeline
	control *control.Control
	metrics *metrics
	disk    disk
	feeds   *feeds
	api     *api.API
	seal    *seal.Box

	drain, shut time.Duration // bounds of a stop

	changing sync.Mutex     // held while units are opened and swapped
	current  *config.Config // as applied last
	found    discovery
	emptied  map[string]bool // accounts that listed nothing, once
	mu       sync.Mutex
	units    map[string]pipeline.Unit // as served, by name
	index    *index                   // of units, for the router
	waiting  map[string]error         // of those, what could not be opened as it is set now, and why
	heard    map[int64]time.Time      // when the last event of a unit was noted
	unasked  map[string]error         // accounts, and why they could not be asked last
}

// Open opens the ledger, the pools and the units. Units that cannot be reached
// are tried again while Run runs; what can never work is an error.
func Open(ctx context.Context, o Options) (_ *Daemon, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &Daemon{o: o, log: o.Log, set: connectors.NewSet(), found: discovery{}, emptied: map[string]bool{}, heard: map[int64]time.Time{}, unasked: map[string]error{}, drain: drainWithin, shut: shutWithin}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	c := o.Config
	c.Data = abs(c.Data)
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if d.db, err = openStore(ctx, store.Options{Dir: c.Data, DSN: c.Store.DSN.Reveal(), Log: o.Log}); err != nil {
		return nil, err
	}
	if d.box, err = box.Open(ctx, box.Options{Required: c.Sandbox == "required", Log: o.Log}); err != nil {
		return nil, err
	}
	if !d.box.Status().Complete() {
		o.Log.Warn("the sandbox of content parsers is not complete", "in_force", d.box.Status())
	}
	d.metrics = newMetrics(d.backlog)
	d.disk = disk{dir: c.Data, free: c.Bounds.DiskFree}
	if d.pools, err = openPools(ctx, c, d.box, o.Log); err != nil {
		return nil, err
	}
	if err := d.apart(c.Units); err != nil {
		return nil, err
	}
	if err := d.openQuarantine(ctx, (&fileURL{d.quarantineDir()}).String()); err != nil {
		return nil, err
	}
	if err := d.enterQuarantine(ctx); err != nil {
		return nil, err
	}
	d.pipe = pipeline.New(pipeline.Options{
		Ledger: d.db, Storages: d.set, Pools: d.pools.scanners(), Quarantine: control.QuarantineUnit, Log: o.Log, Shared: c.Store.DSN.IsSet(),
		Executor: &remediation.Executor{Storage: d.storage, Vault: d.vault, Sanitizer: d.pools, Timeout: c.Bounds.StepTimeout},
		Bounds:   d.bounds(c), Full: d.disk.full, Finished: d.finished, Swept: d.swept, Heard: d.hears,
	})
	d.control = &control.Control{Store: d.db, Open: d.opened, Vault: d.vault.Vault, Engines: d.pools, Fault: d.fault}
	if err := d.openAPI(ctx, c); err != nil {
		return nil, err
	}
	if err := d.recall(ctx, c); err != nil {
		return nil, err
	}
	if err := d.apply(ctx, c); err != nil {
		return nil, err
	}
	if d.feeds, err = d.openFeeds(c); err != nil {
		return nil, err
	}
	d.control.Feeds = d.feeds.list
	return d, nil
}

// Control is what operators can do with the daemon.
func (d *Daemon) Control() *control.Control { return d.control }

// opened is an open unit by name, for control.
func (d *Daemon) opened(_ context.Context, unit string) (*connectors.Storage, error) {
	return d.set.Get(unit)
}

// fault says why a unit does not work now.
func (d *Daemon) fault(unit int64) error {
	if err := d.pipe.Fault(unit); err != nil {
		return err
	}
	if name := d.indexed().numbers[unit]; name != "" {
		return d.unopened(name)
	}
	return nil
}

func (d *Daemon) storage(unit string) (remediation.Storage, error) {
	st, err := d.set.Get(unit)
	if err != nil {
		return nil, err
	}
	return st, nil
}

// lockedFor is how long a start waits for a process that is just ending to let
// go of the data folder.
const lockedFor = 2 * time.Second

func openStore(ctx context.Context, o store.Options) (*store.DB, error) {
	for end := time.Now().Add(lockedFor); ; {
		db, err := store.Open(ctx, o)
		if !fault.Is(err, fault.Exists) || time.Now().After(end) || sleep(ctx, 50*time.Millisecond) != nil {
			return db, err
		}
	}
}

// remoteWorkers is how many small objects are in work at once where some of the
// units are reached over a network.
const remoteWorkers = 64

func (d *Daemon) bounds(c *config.Config) pipeline.Bounds {
	b := c.Bounds
	// A worker waits while an engine works: as many as the instances take at once,
	// so that no engine idles for want of a worker.
	workers := min(max(b.Workers, d.pools.inFlight()), 256)
	for _, u := range c.Units {
		if scheme := all.Scheme(u.URL); scheme != "" && scheme != "file" {
			workers = max(workers, remoteWorkers) // they wait for the vendor most of the time
		}
	}
	return pipeline.Bounds{Workers: workers, LargeWorkers: b.LargeWorkers, LargeSize: int64(b.LargeSize), BytesInWork: int64(b.BytesInWork),
		Backlog: int64(b.Backlog), PushBacklog: int64(b.PushBacklog), Attempts: b.Attempts, AttemptsFor: b.AttemptsFor, ScanTimeout: b.ScanTimeout}
}

func (d *Daemon) finished(e *ledger.Entry) {
	d.metrics.entry(e)
	d.control.Stream.Publish(e)
	if d.o.Finished != nil {
		d.o.Finished(e)
	}
}

func (d *Daemon) swept(unit string, s pipeline.SweepStats, err error) {
	d.metrics.swept(unit, s, err)
	d.mu.Lock()
	u, ok := d.units[unit]
	d.mu.Unlock()
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkWithin)
	defer cancel()
	state := store.UnitState{SweepStart: s.Began}
	if s.Prefix != "" || s.Resumed {
		return // a part of the unit does not count for the whole
	}
	if err == nil {
		state.SweepEnd, state.Covered, state.Listed, state.Gaps = s.Began.Add(s.Took), s.Began, s.Listed, s.Gaps
	} else {
		state.Error, state.ErrorAt = err.Error(), s.Began.Add(s.Took)
	}
	if err := d.db.SetUnitState(ctx, u.ID, state); err != nil {
		d.log.Warn("note sweep", "unit", unit, "err", err)
	}
}

// hears notes in the ledger when a unit's last event came, every few seconds.
func (d *Daemon) hears(unit int64) {
	now := time.Now()
	d.mu.Lock()
	again := now.Sub(d.heard[unit]) < hearEvery
	if !again {
		d.heard[unit] = now
	}
	d.mu.Unlock()
	if again {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkWithin)
	defer cancel()
	if err := d.db.SetUnitState(ctx, unit, store.UnitState{LastEvent: now}); err != nil {
		d.log.Warn("note event", "unit", unit, "err", err)
	}
}

// hearEvery is how exactly it is known when a unit's last event came.
const hearEvery = 5 * time.Second

// backlog counts what is not finished, by unit.
func (d *Daemon) backlog(ctx context.Context) map[string]float64 {
	m := map[string]float64{}
	for _, u := range d.list() {
		if n, err := d.db.Backlog(ctx, u.ID); err == nil {
			m[u.Name] = float64(n)
		}
	}
	return m
}

// close gives back everything that Open took.
func (d *Daemon) close() error {
	var errs []error
	if d.feeds != nil {
		errs = append(errs, d.feeds.close())
	}
	if d.set != nil {
		errs = append(errs, d.set.Close())
	}
	if d.pools != nil {
		errs = append(errs, d.pools.close())
	}
	if d.box != nil {
		errs = append(errs, d.box.Close())
	}
	if d.db != nil {
		errs = append(errs, d.db.Close())
	}
	return errors.Join(errs...)
}

func abs(path string) string {
	if p, err := filepath.Abs(path); err == nil {
		return p
	}
	return path
}

// sleep waits for t or until ctx ends.
func sleep(ctx context.Context, t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
