package control

import (
	"context"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// setting reads a tenant's setting of a name: T's zero value if it was never set.
func setting[T any](ctx context.Context, c *Control, tenant int64, name string) (v T, err error) {
	n, err := c.Store.NounNamed(ctx, tenant, ledger.Setting, name)
	if fault.Is(err, fault.NotFound) {
		return v, nil
	}
	if err != nil {
		return v, err
	}
	return decode[T](n)
}

// changeSetting changes a tenant's setting; what f refuses stays as it was. Two
// at once are done one after the other.
func changeSetting[T any](ctx context.Context, c *Control, tenant int64, name string, f func(v *T) error) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	for {
		n, err := c.Store.NounNamed(ctx, tenant, ledger.Setting, name)
		missing := fault.Is(err, fault.NotFound)
		if err != nil && !missing {
			return err
		}
		var v T
		if !missing {
			if v, err = decode[T](n); err != nil {
				return err
			}
		}
		if err := f(&v); err != nil {
			return err
		}
		n.Tenant, n.Kind, n.Name = tenant, ledger.Setting, name
		if err := encode(&n, v); err != nil {
			return err
		}
		if missing {
			_, err = c.Store.AddNoun(ctx, n)
		} else {
			_, err = c.Store.SetNoun(ctx, n)
		}
		if fault.Is(err, fault.Changed, fault.Exists) { // another node did so meanwhile
			continue
		}
		return err
	}
}
