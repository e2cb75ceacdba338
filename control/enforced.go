package control

import (
	"context"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// settingOr reads a tenant's setting: start, and a noun without an id, where
// nobody set it.
func settingOr[T any](ctx context.Context, s NounStore, tenant int64, name string, start T) (T, ledger.Noun, error) {
	n, err := s.NounNamed(ctx, tenant, ledger.Setting, name)
	if fault.Is(err, fault.NotFound) {
		return start, ledger.Noun{Tenant: tenant, Kind: ledger.Setting, Name: name}, nil
	}
	if err != nil {
		return start, n, err
	}
	body, err := decode[T](n)
	return body, n, err
}

// putSetting writes what settingOr read.
func (c *Control) putSetting(ctx context.Context, n ledger.Noun, body any) error {
	if err := encode(&n, body); err != nil {
		return err
	}
	var err error
	if n.ID == (ledger.ID{}) {
		_, err = c.addNoun(ctx, n)
	} else {
		_, err = c.setNoun(ctx, n)
	}
	return err
}

// getSetting is what the caller's tenant has set.
func getSetting[T any](ctx context.Context, c *Control, action, name string, start T) (T, error) {
	return get(ctx, c, act{action: action}, func(ctx context.Context, who account.Caller) (T, error) {
		body, _, err := settingOr(ctx, c.Store, who.Tenant, name, start)
		return body, err
	})
}

// enforceSetting changes what the caller's tenant has set, and puts it into force.
func enforceSetting[T any](ctx context.Context, c *Control, action, name string, start T, change func(ctx context.Context, body *T) error) error {
	return c.do(ctx, act{action: action}, func(ctx context.Context, who account.Caller) error {
		body, n, err := settingOr(ctx, c.Store, who.Tenant, name, start)
		if err != nil {
			return err
		}
		if err := change(ctx, &body); err != nil {
			return err
		}
		return c.putSetting(ctx, n, body)
	})
}

// reseal is a sealed text that was given anew; an empty one leaves what was there.
func (c *Control) reseal(place, given, before string) string {
	if given == "" {
		return before
	}
	return c.Seal.Seal(place, given)
}
