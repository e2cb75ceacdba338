package control

import (
	"context"
	"errors"
	"net/url"
	"slices"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/seal"
	"github.com/landwaiter/landwaiter/ledger"
)

// UnsealAccount reads an account's body with its secrets open.
func UnsealAccount(box *seal.Box, n ledger.Noun) (AccountBody, error) {
	body, err := decode[AccountBody](n)
	if err != nil {
		return body, err
	}
	body.Options, err = openAll(box, SealAccount, body.Options)
	return body, err
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

// DiscoverAccounts asks every account that wants it for its places, and makes
// storages of those that are new. What one account does wrong does not keep the
// others.
func (c *Control) DiscoverAccounts(ctx context.Context) error {
	list, err := c.Store.Nouns(ctx, 0, ledger.Account)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range list {
		a, err := decode[AccountBody](n)
		if err == nil && a.Discover && !n.Disabled && !n.Managed {
			err = c.discover(ctx, n)
		}
		if err != nil {
			errs = append(errs, fault.New(fault.Other, "control.Discover", n.Name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// discover makes storages of an account's places that were never seen before:
// one that somebody removed does not come back.
func (c *Control) discover(ctx context.Context, n ledger.Noun) error {
	list, err := c.available(ctx, n)
	if err != nil {
		return err
	}
	body, err := decode[AccountBody](n)
	if err != nil {
		return err
	}
	var units []foundUnit
	for _, f := range list {
		if slices.Contains(body.Seen, f.Name) {
			continue
		}
		body.Seen = append(body.Seen, f.Name)
		place, err := url.Parse(f.URL)
		if err != nil {
			return fault.New(fault.Internal, "control.Discover", n.Name, err)
		}
		place.RawQuery = ""
		_, source := describe(place.String())
		u := ledger.Noun{ID: ledger.NewID(), Tenant: n.Tenant, Kind: ledger.Unit, Name: f.Name, Parent: n.Parent}
		if u.Name, err = c.storageName(ctx, u, f.Name); err != nil {
			u.Name = n.Name + "." + f.Name
		}
		if err := encode(&u, UnitBody{URL: place.String(), Vendor: body.Vendor, Protocol: body.Protocol, Account: n.ID, Source: source}); err != nil {
			return err
		}
		units = append(units, foundUnit{u, connectors.Unit{Client: u.ID, Name: u.Name, URL: f.URL}})
	}
	if len(units) == 0 {
		return nil
	}
	if err := encode(&n, body); err != nil {
		return err
	}
	return c.addFound(ctx, n, units)
}

// A foundUnit is a storage to be, and its place.
type foundUnit struct {
	noun ledger.Noun
	unit connectors.Unit
}

// addFound writes an account's new storages and serves them, all with one change.
func (c *Control) addFound(ctx context.Context, n ledger.Noun, units []foundUnit) error {
	c.placing.Lock()
	defer c.placing.Unlock()
	c.changing.Lock()
	defer c.changing.Unlock()
	if _, err := c.Store.SetNoun(ctx, n); err != nil { // another node was first
		return err
	}
	var errs []error
	for _, f := range units {
		u, err := f.noun, c.free(ctx, f.unit)
		if fault.Is(err, fault.Exists) {
			continue // somebody added it meanwhile
		}
		if err != nil {
			return err
		}
		added, err := c.Store.AddNoun(ctx, u)
		if fault.Is(err, fault.Exists) {
			u.Name = n.Name + "." + u.Name
			added, err = c.Store.AddNoun(ctx, u)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, c.Store.AddAudit(ctx, ledger.AuditRow{Tenant: n.Tenant, Who: "landwaiter", Type: ledger.SystemAction, Category: ledger.CategoryStorage,
			Action: "storage.add", Target: added.Name, Detail: "discovered with the account " + n.Name}))
	}
	return errors.Join(append(errs, c.apply(ctx))...)
}
