package control

import (
	"context"
	"errors"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// An AccountBody is what is kept of credentials that storages share. Group is
// the noun's Parent.
type AccountBody struct {
	Vendor      int               `json:"vendor"`
	Protocol    int               `json:"protocol"`
	Description string            `json:"description,omitempty"`
	URL         string            `json:"url"`               // without a place in it
	Options     map[string]string `json:"options,omitempty"` // the connector's, each value sealed for SealAccount
	Given       string            `json:"given,omitempty"`   // the credentials as they were given, sealed
	Discover    bool              `json:"discover,omitempty"`
	Seen        []string          `json:"seen,omitempty"` // places that were found: they become storages once
	AddedBy     ledger.ID         `json:"added_by,omitzero"`
}

// An AccountSpec is what is said of an account; nil leaves what is there.
type AccountSpec struct {
	Name        *string
	Description *string
	Vendor      *string
	Credentials *string
	File        *string
	Discover    *bool
	Group       *ledger.ID
	Storages    []ledger.ID // that take its credentials from now on
}

// Accounts lists the caller's accounts by name.
func (c *Control) Accounts(ctx context.Context) ([]ledger.Noun, error) {
	return get(ctx, c, act{action: "account.list"}, func(ctx context.Context, who account.Caller) ([]ledger.Noun, error) {
		return c.Store.Nouns(ctx, who.Tenant, ledger.Account)
	})
}

// Account returns an account of the caller's, fault.NotFound if there is none.
func (c *Control) Account(ctx context.Context, id ledger.ID) (ledger.Noun, error) {
	return get(ctx, c, act{action: "account.list", target: id.String()}, func(ctx context.Context, who account.Caller) (ledger.Noun, error) {
		return c.Store.Noun(ctx, who.Tenant, ledger.Account, id)
	})
}

// AddAccount proves that an account can be asked for its places and adds it.
func (c *Control) AddAccount(ctx context.Context, s AccountSpec) (ledger.Noun, error) {
	return get(ctx, c, act{action: "account.add", target: said(s.Name)}, func(ctx context.Context, who account.Caller) (ledger.Noun, error) {
		n := ledger.Noun{ID: ledger.NewID(), Tenant: who.Tenant, Kind: ledger.Account}
		body := AccountBody{AddedBy: who.ID}
		if err := c.settleAccount(ctx, who, &n, &body, s); err != nil {
			return n, err
		}
		for _, id := range s.Storages {
			if err := c.fits(ctx, who.Tenant, id, body.Vendor); err != nil {
				return n, err
			}
		}
		n, err := c.addNoun(ctx, n)
		if err != nil {
			return n, err
		}
		for _, id := range s.Storages {
			if err := c.attach(ctx, who, n, id); err != nil {
				return n, err
			}
		}
		if body.Discover {
			err = c.discover(ctx, n)
		}
		return n, err
	})
}

// fits says that a storage can take an account of a vendor.
func (c *Control) fits(ctx context.Context, tenant int64, id ledger.ID, vendor int) error {
	n, err := c.ownStorage(ctx, tenant, id)
	if fault.Is(err, fault.NotFound) {
		return fault.New(fault.Invalid, "control.AddAccount", "", errors.New("StorageIds: there is no such storage"))
	}
	if err != nil {
		return err
	}
	b, err := decode[UnitBody](n)
	if err == nil && b.Vendor != vendor {
		err = wrongField("StorageIds", n.Name+" is of another vendor")
	}
	return err
}

// attach gives a storage the account's credentials in place of its own.
func (c *Control) attach(ctx context.Context, who account.Caller, a ledger.Noun, id ledger.ID) error {
	n, err := c.ownStorage(ctx, who.Tenant, id)
	if err != nil {
		return err
	}
	body, err := decode[UnitBody](n)
	if err != nil {
		return err
	}
	u, err := c.settle(ctx, who, &n, &body, StorageSpec{Account: &a.ID})
	if err == nil {
		_, err = c.placed(ctx, n, u, c.setNoun)
	}
	return err
}

// SetAccount changes an account; its storages go on with what it says now.
func (c *Control) SetAccount(ctx context.Context, id ledger.ID, s AccountSpec) (ledger.Noun, error) {
	return get(ctx, c, act{action: "account.set", target: id.String()}, func(ctx context.Context, who account.Caller) (ledger.Noun, error) {
		n, err := c.own(ctx, who.Tenant, ledger.Account, id)
		if err != nil {
			return n, err
		}
		body, err := decode[AccountBody](n)
		if err != nil {
			return n, err
		}
		asked := s.Discover != nil && *s.Discover
		if err := c.settleAccount(ctx, who, &n, &body, s); err != nil {
			return n, err
		}
		if n, err = c.setNoun(ctx, n); err == nil && asked {
			err = c.discover(ctx, n)
		}
		return n, err
	})
}

// settleAccount takes what s says into an account and proves that it answers.
func (c *Control) settleAccount(ctx context.Context, who account.Caller, n *ledger.Noun, body *AccountBody, s AccountSpec) (err error) {
	if s.Name != nil || n.Rev == 0 {
		if n.Name, err = named("control.Account", said(s.Name), maxName); err != nil {
			return err
		}
	}
	if s.Description != nil {
		body.Description = *s.Description
	}
	if s.Discover != nil {
		body.Discover = *s.Discover
	}
	if s.Group != nil {
		if err := c.belongs(ctx, who.Tenant, ledger.Group, *s.Group); err != nil {
			return err
		}
		n.Parent = *s.Group
	}
	if n.Rev == 0 || s.Vendor != nil || s.Credentials != nil || s.File != nil {
		if err := c.locateAccount(ctx, who, *n, body, s); err != nil {
			return err
		}
	}
	return encode(n, body)
}

func (c *Control) locateAccount(ctx context.Context, who account.Caller, n ledger.Noun, body *AccountBody, s AccountSpec) error {
	v, err := sameVendor(s.Vendor, n.Rev > 0, body.Vendor)
	if err != nil {
		return err
	}
	if !v.Hosts() {
		return fault.New(fault.Unsupported, "control.Account", "", errors.New(v.Name+" has no accounts"))
	}
	given, err := c.credentials(v, body.Given, SealAccount, s.Credentials, s.File)
	if err != nil {
		return err
	}
	p, err := v.base(given)
	if err != nil {
		return err
	}
	if err := c.mayReach(ctx, who, p); err != nil {
		return err
	}
	if n.Rev > 0 && p.url.Host != hostOf(body.URL) { // it is part of their URLs
		if list, err := c.under(ctx, n); err != nil || len(list) > 0 {
			return errors.Join(err, fault.New(fault.Exists, "control.Account", n.Name, errors.New("storages use it where it is: another server needs another account")))
		}
	}
	if _, err := c.places(ctx, p.unit(n.Name)); err != nil {
		return err
	}
	body.Vendor, body.Protocol, body.URL = v.Number, v.Protocol, p.url.String()
	body.Options, body.Given = sealAll(c.Seal, SealAccount, p.options), c.sealFields(SealAccount, given)
	return nil
}

// under lists the storages of an account.
func (c *Control) under(ctx context.Context, a ledger.Noun) (list []ledger.Noun, err error) {
	units, err := c.Store.Nouns(ctx, a.Tenant, ledger.Unit)
	if err != nil {
		return nil, err
	}
	for _, n := range units {
		b, err := decode[UnitBody](n)
		if err != nil {
			return nil, err
		}
		if b.Account == a.ID {
			list = append(list, n)
		}
	}
	return list, nil
}

// RemoveAccount removes an account that no storage uses: fault.Exists if one does.
func (c *Control) RemoveAccount(ctx context.Context, id ledger.ID) error {
	return c.do(ctx, act{action: "account.remove", target: id.String()}, func(ctx context.Context, who account.Caller) error {
		n, err := c.own(ctx, who.Tenant, ledger.Account, id)
		if err != nil {
			return err
		}
		list, err := c.under(ctx, n)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			return fault.New(fault.Exists, "control.RemoveAccount", n.Name, errors.New("the storage "+list[0].Name+" uses it"))
		}
		return c.removeNoun(ctx, n)
	})
}
