package daemon

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/remediation/quarantine"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/box"
	"github.com/landwaiter/landwaiter/store"
)

// A Local is a Control on a ledger that no daemon of this machine runs on. It
// only reads, beside whoever else is there, until a call changes something: that
// call takes the data folder for itself.
type Local struct {
	*control.Control
	read   *store.DB
	config *config.Config
	log    *slog.Logger
	d      *Daemon // open for changes, nil before the first
}

// OpenControl opens the ledger of c for one command. fault.NotFound if there is
// no ledger yet.
func OpenControl(ctx context.Context, c *config.Config, log *slog.Logger) (*Local, error) {
	db, err := store.OpenReadOnly(ctx, store.Options{Dir: c.Data, DSN: c.Store.DSN.Reveal(), Log: log})
	if err != nil {
		return nil, err
	}
	return &Local{Control: &control.Control{Store: db}, read: db, config: c, log: log}, nil
}

// visitFor is how long other nodes of a PostgreSQL may take a command for one of
// them, should it not end by itself.
const visitFor = 2 * time.Second

// write opens the ledger for changes.
func (l *Local) write(ctx context.Context) (*control.Control, error) {
	if l.d != nil {
		return l.d.control, nil
	}
	d := &Daemon{o: Options{Config: l.config}, log: l.log, set: connectors.NewSet()}
	err := func() (err error) {
		at, err := quarantinePlace(ctx, l.read, d)
		if err != nil {
			return err
		}
		if d.db, err = openStore(ctx, store.Options{Dir: l.config.Data, DSN: l.config.Store.DSN.Reveal(), Log: l.log, Lease: visitFor}); err != nil {
			return err
		}
		if d.seal, err = openSeal(l.config); err != nil {
			return err
		}
		return d.openQuarantine(ctx, at)
	}()
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	d.control = &control.Control{Store: d.db, Open: d.openLate, Vault: d.vault.Vault}
	l.d = d
	return d.control, nil
}

// quarantinePlace is where the ledger says that the quarantine is.
func quarantinePlace(ctx context.Context, db *store.DB, d *Daemon) (string, error) {
	u, err := db.Unit(ctx, control.QuarantineUnit)
	if fault.Is(err, fault.NotFound) {
		return (&fileURL{d.quarantineDir()}).String(), nil
	}
	return u.URL, err
}

// Restore is Control.Restore.
func (l *Local) Restore(ctx context.Context, r control.RestoreRequest) (control.Effect, error) {
	if r.DryRun {
		return l.Control.Restore(ctx, r)
	}
	c, err := l.write(ctx)
	if err != nil {
		return control.Effect{}, err
	}
	return c.Restore(ctx, r)
}

// Purge is Control.Purge.
func (l *Local) Purge(ctx context.Context, id string, dryRun bool) (control.Effect, error) {
	if dryRun {
		return l.Control.Purge(ctx, id, dryRun)
	}
	c, err := l.write(ctx)
	if err != nil {
		return control.Effect{}, err
	}
	return c.Purge(ctx, id, dryRun)
}

// Replay is Control.Replay.
func (l *Local) Replay(ctx context.Context, id string) (control.Effect, error) {
	c, err := l.write(ctx)
	if err != nil {
		return control.Effect{}, err
	}
	return c.Replay(ctx, id)
}

// DropMessage is Control.DropMessage.
func (l *Local) DropMessage(ctx context.Context, id string) (control.Effect, error) {
	c, err := l.write(ctx)
	if err != nil {
		return control.Effect{}, err
	}
	return c.DropMessage(ctx, id)
}

// Pools is Control.Pools, of the configured engines: they are opened and shown
// the canaries, as no daemon has them open.
func (l *Local) Pools(ctx context.Context) (status []scan.PoolStatus, err error) {
	err = l.engines(ctx, func(ps *pools) error {
		for _, p := range ps.list {
			cctx, cancel := context.WithTimeout(ctx, startWithin)
			p.Check(cctx)
			cancel()
			status = append(status, p.Status())
		}
		return ctx.Err()
	})
	return status, err
}

// TestEngines is Control.TestEngines, of the configured engines.
func (l *Local) TestEngines(ctx context.Context, pool string) iter.Seq2[control.Tested, error] {
	return func(yield func(control.Tested, error) bool) {
		left := false
		err := l.engines(ctx, func(ps *pools) error {
			for t, err := range ps.Test(ctx, pool) {
				if left = !yield(t, err); left {
					break
				}
			}
			return nil
		})
		if err != nil && !left {
			yield(control.Tested{}, err)
		}
	}
}

// engines opens the configured pools for one command.
func (l *Local) engines(ctx context.Context, do func(*pools) error) (err error) {
	if err := l.config.Resolve("pools"); err != nil {
		return err
	}
	b, err := box.Open(ctx, box.Options{Required: l.config.Sandbox == "required", Log: l.log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	ps, err := openPools(ctx, l.config, b, l.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ps.close()) }()
	return do(ps)
}

// Close gives everything back.
func (l *Local) Close() error {
	err := l.read.Close()
	if l.d != nil {
		err = errors.Join(err, l.d.close())
	}
	return err
}

// openLate opens a unit when a command needs it: from the configuration, where
// its secrets are, or as the ledger knows it.
func (d *Daemon) openLate(ctx context.Context, name string) (*connectors.Storage, error) {
	if st, err := d.set.Get(name); err == nil {
		return st, nil
	}
	u, err := d.db.Unit(ctx, name)
	if err != nil {
		return nil, err
	}
	for i, cu := range d.o.Config.Units {
		if cu.Name == name { // its secrets only: those of others may be elsewhere
			if err := d.o.Config.Resolve(fmt.Sprintf("units[%d]", i)); err != nil {
				return nil, err
			}
		}
	}
	for i, a := range d.o.Config.Accounts {
		if err := d.o.Config.Resolve(fmt.Sprintf("accounts[%d]", i)); err != nil {
			return nil, err
		}
		if strings.HasPrefix(name, a.Name+".") && len(a.Discover.Include) > 0 { // it was discovered, perhaps
			u = Inherit(u, a.URL, reveal(a.Options))
		}
	}
	n, err := d.readNouns(ctx, d.o.Config)
	if err != nil {
		return nil, err
	}
	units, err := d.unitsOf(d.o.Config, n)
	if err != nil {
		return nil, err
	}
	for _, cu := range units {
		if cu.Name == name {
			cu.ID, u = u.ID, cu
		}
	}
	if err := d.set.Open(ctx, u, d.open); err != nil {
		return nil, err
	}
	return d.set.Get(name)
}

// FsckOptions say how thoroughly to look, and whether to mend.
type FsckOptions struct {
	Deep   int  // read so many percent of the quarantine, and every page of the ledger if not 0
	Repair bool // count again and end holds of nobody; no daemon may run
}

// Fsck checks stored state: the ledger's file and what it says of itself, and
// the quarantine's items against its rows.
func Fsck(ctx context.Context, c *config.Config, o FsckOptions, tell func(control.Check) bool) (err error) {
	at := store.Options{Dir: c.Data, DSN: c.Store.DSN.Reveal()}
	db, err := store.OpenReadOnly(ctx, at) // which makes no ledger where there is none
	if err == nil && o.Repair {
		if err = db.Close(); err == nil {
			db, err = openStore(ctx, at)
		}
	}
	if fault.Is(err, fault.Corrupt) {
		tell(damaged(err))
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var problems []store.Problem
	if o.Repair {
		problems, err = db.Repair(ctx)
	}
	if err == nil {
		problems, err = db.Fsck(ctx, o.Deep > 0)
	}
	if fault.Is(err, fault.Corrupt) {
		tell(damaged(err))
		return nil
	}
	if err != nil {
		return err
	}
	for _, p := range problems {
		if !tell(control.Check{Name: "ledger", State: "fail", Detail: p.What + ": " + p.Where, Fix: p.Repair}) {
			return nil
		}
	}
	if len(problems) == 0 && !tell(control.Check{Name: "ledger", State: "ok", Detail: "sound"}) {
		return nil
	}
	return fsckQuarantine(ctx, c, db, o.Deep, tell)
}

func damaged(err error) control.Check {
	return control.Check{Name: "ledger", State: "fail", Detail: err.Error(),
		Fix: "stop landwaiter and restore the data folder from a backup, or move ledger.db, ledger.db-wal and ledger.db-shm away: the next start scans every object again; what is in quarantine stays there, to be listed and restored by its files only"}
}

// fsckQuarantine compares rows and files.
func fsckQuarantine(ctx context.Context, c *config.Config, db *store.DB, deep int, tell func(control.Check) bool) (err error) {
	at, err := quarantinePlace(ctx, db, &Daemon{o: Options{Config: c}})
	if err != nil {
		return err
	}
	st, err := all.OpenStorage(ctx, connectors.Unit{Name: control.QuarantineUnit, URL: at, Probe: "off"}, connectors.Options{})
	if fault.Is(err, fault.NotFound) {
		tell(control.Check{Name: "quarantine", State: "ok", Detail: "there is none"})
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	v := quarantine.New(control.QuarantineUnit, st)
	rows := map[string]bool{}
	for f := (store.QuarantineFilter{State: store.QuarantineHeld, Limit: 1000}); ; {
		items, err := db.QuarantineList(ctx, f)
		if err != nil {
			return err
		}
		for _, q := range items {
			rows[q.Object] = true
			f.After = q.ID
		}
		if len(items) < f.Limit {
			break
		}
	}
	n, read := 0, 0
	for it, err := range v.List(ctx) {
		if err != nil {
			return err
		}
		n++
		if !rows[it.Key] && !tell(control.Check{Name: "quarantine", State: "warn", Detail: it.Key + " is in the folder and not in the ledger"}) {
			return nil
		}
		delete(rows, it.Key)
		if n*deep/100 > read {
			read++
			if err := readWhole(ctx, v, it); err != nil && !tell(control.Check{Name: "quarantine", State: "fail", Detail: err.Error()}) {
				return nil
			}
		}
	}
	for key := range rows {
		if !tell(control.Check{Name: "quarantine", State: "fail", Detail: key + " is in the ledger and not in the folder"}) {
			return nil
		}
	}
	tell(control.Check{Name: "quarantine", State: "ok", Detail: fmt.Sprintf("%d items, %d read whole", n, read)})
	return nil
}

// readWhole verifies an item's checksum.
func readWhole(ctx context.Context, v *quarantine.Vault, it quarantine.Item) error {
	rd, _, err := v.Open(ctx, it) // which verifies all of it before it returns
	if err != nil {
		return err
	}
	return rd.Close()
}
