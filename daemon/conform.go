package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/fault"
)

// Conform opens a unit of the configuration, or a storage by its URL with the
// options given, and proves it against the contract of connectors.
func Conform(ctx context.Context, c *config.Config, target string, options map[string]config.Secret, tell func(connectors.Finding)) (err error) {
	u, err := conformUnit(c, target, options)
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

func conformUnit(c *config.Config, target string, options map[string]config.Secret) (connectors.Unit, error) {
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
	return connectors.Unit{}, fault.New(fault.NotFound, "daemon.Conform", target, errors.New("the configuration has no such unit; give a URL like s3://bucket?endpoint=…"))
}
