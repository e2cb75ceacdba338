package control

import (
	"context"
	"errors"
	"net/url"
	"slices"

	"github.com/landwaiter/landwaiter/account"
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

// AccountStorages lists the places of an account that are no storages yet.
func (c *Control) AccountStorages(ctx context.Context, id ledger.ID) ([]connectors.Found, error) {
	return get(ctx, c, act{action: "account.list", target: id.String()}, func(ctx context.Context, who account.Caller) ([]connectors.Found, error) {
		n, err := c.Store.Noun(ctx, who.Tenant, ledger.Account, id)
		if err != nil {
			return nil, err
		}
		list, err := c.found(ctx, n)
		if err != nil {
			return nil, err
		}
		units, err := c.served(ctx)
		return unserved(units, list), err
	})
}

// found asks an account for its places.
func (c *Control) found(ctx context.Context, n ledger.Noun) ([]connectors.Found, error) {
	a, err := decode[AccountBody](n)
	if err != nil {
		return nil, err
	}
	given, err := c.openFields(SealAccount, a.Given)
	if err != nil {
		return nil, err
	}
	v, _ := VendorOf(a.Vendor)
	if err := v.served(); err != nil {
		return nil, err
	}
	p, err := v.base(given)
	if err != nil {
		return nil, err
	}
	if err := c.inReach(ctx, p); err != nil { // its name may have come to mean something else
		return nil, err
	}
	return c.places(ctx, p.unit(n.Name))
}

// unserved are the places that no unit is in, or in a part of, or around.
func unserved(units []connectors.Unit, found []connectors.Found) (list []connectors.Found) {
	first := len(units)
	for _, f := range found {
		units = append(units, connectors.Unit{Name: f.Name, URL: f.URL})
	}
	lost := map[int]bool{}
	for _, pair := range connectors.Overlaps(units) {
		if pair[0] < first && pair[1] >= first {
			lost[pair[1]-first] = true
		}
	}
	for i, f := range found {
		if !lost[i] {
			list = append(list, f)
		}
	}
	return list
}

// places lists an account's places within a bound.
func (c *Control) places(ctx context.Context, u connectors.Unit) ([]connectors.Found, error) {
	if c.Connect == nil {
		return nil, noDaemon("account")
	}
	ctx, cancel := context.WithTimeout(ctx, tryWithin)
	defer cancel()
	list, err := c.Connect.Discover(ctx, u)
	return list, unreachable(u.Name, err)
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
// one that somebody removed does not come back. They are served with one change.
func (c *Control) discover(ctx context.Context, n ledger.Noun) error {
	list, err := c.found(ctx, n)
	if err != nil {
		return err
	}
	body, err := decode[AccountBody](n)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(f connectors.Found) bool { return slices.Contains(body.Seen, f.Name) })
	if len(list) == 0 {
		return nil
	}
	for _, f := range list {
		body.Seen = append(body.Seen, f.Name)
	}
	if err := encode(&n, body); err != nil {
		return err
	}
	c.placing.Lock()
	defer c.placing.Unlock()
	c.changing.Lock()
	defer c.changing.Unlock()
	units, err := c.served(ctx)
	if err != nil {
		return err
	}
	if _, err := c.Store.SetNoun(ctx, n); err != nil { // another node was first
		return err
	}
	var errs []error
	for _, f := range unserved(units, list) {
		errs = append(errs, c.addFound(ctx, n, body, f, units))
	}
	return errors.Join(append(errs, c.apply(ctx))...)
}

// addFound writes a place of an account as a storage, by its own name or, where
// that is taken, with the account's before it.
func (c *Control) addFound(ctx context.Context, a ledger.Noun, body AccountBody, f connectors.Found, units []connectors.Unit) error {
	place, err := url.Parse(f.URL)
	if err != nil {
		return fault.New(fault.Internal, "control.Discover", f.Name, err)
	}
	place.RawQuery = "" // the account says it
	_, source := describe(place.String())
	n := ledger.Noun{Tenant: a.Tenant, Kind: ledger.Unit, Name: f.Name, Parent: a.Parent}
	if err := encode(&n, UnitBody{URL: place.String(), Vendor: body.Vendor, Protocol: body.Protocol, Account: a.ID, Source: source}); err != nil {
		return err
	}
	long := a.Name + "." + f.Name
	if taken(units, n, n.Name) || n.Name == QuarantineUnit {
		n.Name = long
	}
	_, err = c.Store.AddNoun(ctx, n)
	if fault.Is(err, fault.Exists) && n.Name != long {
		n.Name = long
		_, err = c.Store.AddNoun(ctx, n)
	}
	if err != nil {
		return err
	}
	return c.Store.AddAudit(ctx, ledger.AuditRow{Tenant: a.Tenant, Who: "landwaiter", Type: ledger.SystemAction, Category: ledger.CategoryStorage,
		Action: "storage.add", Target: n.Name, Detail: "discovered with the account " + a.Name})
}
