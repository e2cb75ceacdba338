package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/remediation/quarantine"
	"github.com/landwaiter/landwaiter/store"
)

// A Local is a Control on a data folder on which no daemon runs.
type Local struct {
	*control.Control
	d *Daemon
}

// OpenControl opens the ledger of c for one command. What only reads needs no
// lock; the first call that changes something would find another process.
// fault.NotFound if there is no ledger yet.
func OpenControl(ctx context.Context, c *config.Config, log *slog.Logger) (*Local, error) {
	if !c.Store.DSN.IsSet() {
		db, err := store.OpenReadOnly(ctx, store.Options{Dir: c.Data})
		if err != nil {
			return nil, err
		}
		if err := db.Close(); err != nil {
			return nil, err
		}
	}
	db, err := store.Open(ctx, store.Options{Dir: c.Data, DSN: c.Store.DSN.Reveal(), Log: log})
	if err != nil {
		return nil, err
	}
	d := &Daemon{o: Options{Config: c, Log: log}, log: log, config: c, db: db, set: connectors.NewSet()}
	if err := d.openQuarantine(ctx); err != nil {
		return nil, errors.Join(err, d.close())
	}
	d.control = &control.Control{Store: db, Open: d.openLate, Vault: d.vault.Vault}
	return &Local{d.control, d}, nil
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
	units, err := d.unitsOf(d.config)
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

// Close gives everything back.
func (l *Local) Close() error { return l.d.close() }

// Fsck checks stored state: the ledger's file and what it says of itself, and
// the quarantine's items against its rows; deep percent of them are read whole.
func Fsck(ctx context.Context, c *config.Config, deep int, tell func(control.Check) bool) error {
	db, err := store.OpenReadOnly(ctx, store.Options{Dir: c.Data, DSN: c.Store.DSN.Reveal()})
	if fault.Is(err, fault.Corrupt) {
		tell(control.Check{Name: "ledger", State: "fail", Detail: err.Error(),
			Fix: "move ledger.db away and start: every object is scanned again; the quarantine stays as it is"})
		return nil
	}
	if err != nil {
		return err
	}
	problems, err := db.Fsck(ctx, deep > 0)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	for _, p := range problems {
		if !tell(control.Check{Name: "ledger", State: "fail", Detail: fmt.Sprint(p)}) {
			return db.Close()
		}
	}
	if len(problems) == 0 && !tell(control.Check{Name: "ledger", State: "ok", Detail: "sound"}) {
		return db.Close()
	}
	return errors.Join(fsckQuarantine(ctx, c, db, deep, tell), db.Close())
}

// fsckQuarantine compares rows and files.
func fsckQuarantine(ctx context.Context, c *config.Config, db *store.DB, deep int, tell func(control.Check) bool) (err error) {
	d := &Daemon{o: Options{Config: c}}
	st, err := all.OpenStorage(ctx, connectors.Unit{Name: control.QuarantineUnit, URL: (&fileURL{d.quarantineDir()}).String(), Probe: "off"}, connectors.Options{})
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
