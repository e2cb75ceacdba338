package control

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// A Group is accounts and storages that belong together.
type Group struct {
	Description string `json:"description,omitempty"`
}

// maxName bounds names that operators give, in characters.
const maxName = 255

// named checks the name of a noun.
func named(op, name string, most int) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", fault.New(fault.Invalid, op, "", errors.New("a name is needed"))
	case utf8.RuneCountInString(name) > most:
		return "", fault.New(fault.Invalid, op, "", errors.New("the name is too long"))
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", fault.New(fault.Invalid, op, "", errors.New("the name has control characters"))
	}
	return name, nil
}

// Groups lists the caller's groups by name.
func (c *Control) Groups(ctx context.Context) ([]ledger.Noun, error) {
	return get(ctx, c, act{action: "group.list"}, func(ctx context.Context, who account.Caller) ([]ledger.Noun, error) {
		return c.Store.Nouns(ctx, who.Tenant, ledger.Group)
	})
}

// Group returns a group of the caller's, fault.NotFound if there is none.
func (c *Control) Group(ctx context.Context, id ledger.ID) (ledger.Noun, error) {
	return get(ctx, c, act{action: "group.list", target: id.String()}, func(ctx context.Context, who account.Caller) (ledger.Noun, error) {
		return c.Store.Noun(ctx, who.Tenant, ledger.Group, id)
	})
}

// AddGroup makes a group. fault.Exists if there is one of the name.
func (c *Control) AddGroup(ctx context.Context, name string, g Group) (ledger.Noun, error) {
	return get(ctx, c, act{action: "group.add", target: name}, func(ctx context.Context, who account.Caller) (n ledger.Noun, err error) {
		n = ledger.Noun{Tenant: who.Tenant, Kind: ledger.Group}
		if n.Name, err = named("control.AddGroup", name, maxName); err != nil {
			return n, err
		}
		if err := encode(&n, g); err != nil {
			return n, err
		}
		return c.addNoun(ctx, n)
	})
}

// SetGroup gives a group another name or description; nil leaves it.
func (c *Control) SetGroup(ctx context.Context, id ledger.ID, name, description *string) (ledger.Noun, error) {
	return get(ctx, c, act{action: "group.set", target: id.String()}, func(ctx context.Context, who account.Caller) (ledger.Noun, error) {
		n, err := c.own(ctx, who.Tenant, ledger.Group, id)
		if err != nil {
			return n, err
		}
		g, err := decode[Group](n)
		if err != nil {
			return n, err
		}
		if name != nil {
			if n.Name, err = named("control.SetGroup", *name, maxName); err != nil {
				return n, err
			}
		}
		if description != nil {
			g.Description = *description
		}
		if err := encode(&n, g); err != nil {
			return n, err
		}
		return c.setNoun(ctx, n)
	})
}

// RemoveGroup removes a group that nothing belongs to: fault.Exists if something does.
func (c *Control) RemoveGroup(ctx context.Context, id ledger.ID) error {
	return c.do(ctx, act{action: "group.remove", target: id.String()}, func(ctx context.Context, who account.Caller) error {
		n, err := c.own(ctx, who.Tenant, ledger.Group, id)
		if err != nil {
			return err
		}
		for _, kind := range []ledger.Kind{ledger.Account, ledger.Unit} {
			list, err := c.Store.Nouns(ctx, who.Tenant, kind)
			if err != nil {
				return err
			}
			for _, m := range list {
				if m.Parent == id {
					return fault.New(fault.Exists, "control.RemoveGroup", n.Name, errors.New(string(kind)+" "+m.Name+" belongs to it"))
				}
			}
		}
		return c.removeNoun(ctx, n)
	})
}
