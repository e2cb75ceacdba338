package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/api"
	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/seal"
)

// openSeal opens the box that keeps operators' secrets, with the key of the
// configuration or else of the data folder.
func openSeal(c *config.Config) (*seal.Box, error) {
	var key []byte
	var err error
	if text := c.EncryptionKey.Reveal(); text != "" {
		key, err = seal.ParseKey(text)
	} else {
		key, err = seal.Load(c.Data)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "daemon.Open", "", fmt.Errorf("encryption key: %w", err))
	}
	return seal.New(key)
}

// openAPI makes what operators reach over HTTP.
func (d *Daemon) openAPI(c *config.Config) error {
	var err error
	if d.seal, err = openSeal(c); err != nil {
		return err
	}
	signing, err := d.seal.Derive("access tokens")
	if err != nil {
		return err
	}
	d.control.Seal, d.control.Tokens = d.seal, account.NewTokens(signing, nil)
	if d.control.Guard, err = openGuard(c); err != nil {
		return err
	}
	d.openNotices()
	d.control.Apply = d.applyNouns
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
