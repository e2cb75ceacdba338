package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

func FileID(kind ledger.Kind, name string) ledger.ID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("landwaiter:"+string(kind)+":"+name))
}

func (c *Control) standing(tenant int64, kind ledger.Kind) []ledger.Noun {
	if c.Standing == nil {
		return nil
	}
	list := slices.Clone(c.Standing(kind))
	if tenant == account.DefaultTenant {
		return list
	}
	switch kind {
	case ledger.Pool:
		for i := range list {
			list[i].Body = []byte(`{"type":0}`)
		}
	case ledger.Workflow:
		n, err := FileWorkflow(PlainDefault())
		if err != nil {
			return nil // strings and numbers always become JSON
		}
		list = []ledger.Noun{n}
	default:
		return nil
	}
	return list
}

func (c *Control) nouns(ctx context.Context, tenant int64, kind ledger.Kind) ([]ledger.Noun, error) {
	own, err := c.Store.Nouns(ctx, tenant, kind)
	return append(c.standing(tenant, kind), own...), err
}

func (c *Control) noun(ctx context.Context, tenant int64, kind ledger.Kind, id ledger.ID) (ledger.Noun, error) {
	for _, n := range c.standing(tenant, kind) {
		if n.ID == id {
			return n, nil
		}
	}
	return c.Store.Noun(ctx, tenant, kind, id)
}

func (c *Control) mine(ctx context.Context, tenant int64, kind ledger.Kind, id ledger.ID) (ledger.Noun, error) {
	n, err := c.noun(ctx, tenant, kind, id)
	if err == nil && n.Managed {
		return n, fault.New(fault.Denied, "control", string(kind)+" "+n.Name, errManaged)
	}
	return n, err
}

func (c *Control) unused(ctx context.Context, n ledger.Noun, kinds ...ledger.Kind) error {
	for _, kind := range kinds {
		list, err := c.Store.Nouns(ctx, n.Tenant, kind)
		if err != nil {
			return err
		}
		for _, m := range list {
			if m.Parent == n.ID || bytes.Contains(m.Body, []byte(n.ID.String())) {
				return fault.New(fault.Exists, "control", string(n.Kind)+" "+n.Name, fmt.Errorf("%s %s uses it", kind, m.Name))
			}
		}
	}
	return nil
}

func (c *Control) freeName(n ledger.Noun) error {
	for _, f := range c.standing(n.Tenant, n.Kind) {
		if f.Name == n.Name {
			return fault.New(fault.Exists, "control", n.Name, fmt.Errorf("there is a %s of this name in the configuration file", n.Kind))
		}
	}
	return nil
}

func short(op, name string) (string, error) {
	name, err := named(op, name, 30)
	if err == nil && utf8.RuneCountInString(name) < 3 {
		err = fault.New(fault.Invalid, op, "", errors.New("the name is too short: it needs 3 to 30 characters"))
	}
	return name, err
}
