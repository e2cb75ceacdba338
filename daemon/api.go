package daemon

import (
	"context"
	"errors"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/api"
	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
)

// openAPI makes what operators reach over HTTP.
func (d *Daemon) openAPI(ctx context.Context, c *config.Config) error {
	k := &keeper{dir: c.Data, given: c.EncryptionKey.IsSet(), shared: c.Store.DSN.IsSet(), box: d.seal, db: d.db}
	if err := k.finish(ctx); err != nil {
		return err
	}
	signing, err := d.seal.Derive("access tokens")
	if err != nil {
		return err
	}
	d.control.Seal, d.control.Tokens, d.control.Keeper = d.seal, account.NewTokens(signing, nil), k
	if d.control.Guard, err = openGuard(c); err != nil {
		return err
	}
	d.control.Reach, d.control.Through = d.control.Guard.Check, d.control.Guard.Transport()
	d.openNotices()
	d.control.Mail = d.outbox
	d.control.Apply = d.applyNouns
	d.control.Checks = func(ctx context.Context) (parts []control.Part) {
		for _, ch := range d.checks() {
			parts = append(parts, control.Part{Name: ch.name, Advisory: ch.advisory, Err: ch.run(ctx)})
		}
		return parts
	}
	d.control.Connect, d.control.Hear, d.control.Resweep = connect{d}, d.hear, d.pipe.Sweep
	d.api, err = api.New(api.Options{Control: d.control, Version: d.o.Version, Log: d.log})
	return err
}

// applyNouns serves what the configuration file and the nouns say now.
func (d *Daemon) applyNouns(ctx context.Context) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	if d.current == nil {
		return fault.New(fault.Unavailable, "daemon.Apply", "", errors.New("still starting"))
	}
	return errors.Join(d.applyLocked(ctx, d.current), d.outbox.Refresh(ctx))
}
