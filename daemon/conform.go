package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/store"
)

// Conform opens a unit of the configuration or of an account, or a storage by
// its URL with the options given, and proves it against the contract of connectors.
func Conform(ctx context.Context, c *config.Config, target string, options map[string]config.Secret, tell func(connectors.Finding)) (err error) {
	u, err := conformUnit(ctx, c, target, options)
	if err != nil {
		return err
	}
	if err := all.Check(u); err != nil {
		return err
	}
	u.Unfenced = true // to remove what it wrote itself
	octx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	driver, err := all.Open(octx, u)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, driver.Close()) }()
	return connectors.Conform(ctx, u, driver, tell)
}

func conformUnit(ctx context.Context, c *config.Config, target string, options map[string]config.Secret) (connectors.Unit, error) {
	if strings.Contains(target, ":") || strings.HasPrefix(target, "/") || strings.HasPrefix(target, ".") {
		u := connectors.Unit{Name: "conform", URL: target, Options: map[string]string{}}
		for name, s := range options {
			resolved, err := s.Resolve(os.LookupEnv)
			if err != nil {
				return u, fault.New(fault.Invalid, "daemon.Conform", name, err)
			}
			u.Options[name] = resolved.Reveal()
		}
		return u, nil
	}
	for i, cu := range c.Units {
		if cu.Name != target {
			continue
		}
		if err := c.Resolve(fmt.Sprintf("units[%d]", i)); err != nil {
			return connectors.Unit{}, err
		}
		for j, a := range c.Accounts {
			if a.Name != cu.Account {
				continue
			}
			if err := c.Resolve(fmt.Sprintf("accounts[%d]", j)); err != nil {
				return connectors.Unit{}, err
			}
		}
		u := connectors.Unit{Name: cu.Name, URL: cu.URL, Options: reveal(cu.Options), Probe: cu.Probe, ReadOnly: cu.ReadOnly, Unfenced: cu.Unfenced, Settle: cu.Settle}
		if a, ok := accountOf(c, cu.Account); ok {
			u = Inherit(u, a.URL, reveal(a.Options))
		}
		return u, nil
	}
	return discovered(ctx, c, target)
}

// discovered is a unit that was found with an account: the ledger has its place,
// the configuration its secrets. Whether a daemon runs does not matter.
func discovered(ctx context.Context, c *config.Config, name string) (u connectors.Unit, err error) {
	none := fault.New(fault.NotFound, "daemon.Conform", name, errors.New(
		"neither the configuration nor the ledger has such a unit; give a URL like s3://bucket?endpoint=…"))
	if err := c.Resolve("store"); err != nil {
		return u, err
	}
	db, err := store.OpenReadOnly(ctx, store.Options{Dir: c.Data, DSN: c.Store.DSN.Reveal()})
	if fault.Is(err, fault.NotFound) {
		return u, none
	}
	if err != nil {
		return u, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	u, err = db.Unit(ctx, name)
	switch {
	case fault.Is(err, fault.NotFound) || err == nil && name == control.QuarantineUnit:
		return connectors.Unit{}, none
	case err != nil:
		return u, err
	case u.Disabled:
		gone, err := db.Gone(ctx)
		if err != nil {
			return u, err
		}
		return u, fault.New(fault.NotFound, "daemon.Conform", name, fmt.Errorf("it is gone since %s: give its URL", gone[u.ID].UTC().Format(time.RFC3339)))
	}
	for i, a := range c.Accounts {
		if len(a.Discover.Include) == 0 || u.Name != unitName(a.Name, placeName(u.URL)) {
			continue
		}
		if err := c.Resolve(fmt.Sprintf("accounts[%d]", i)); err != nil {
			return u, err
		}
		return Inherit(u, c.Accounts[i].URL, reveal(c.Accounts[i].Options)), nil
	}
	return u, fault.New(fault.NotFound, "daemon.Conform", name, errors.New("the configuration has no account with which it was found: give its URL"))
}
