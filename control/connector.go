package control

import (
	"context"
	"errors"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// Connector checks that a connector may be made for a storage of the caller's,
// by its client id.
func (c *Control) Connector(ctx context.Context, client ledger.ID) error {
	return c.do(ctx, act{action: "connector.get", target: client.String()}, func(ctx context.Context, _ account.Caller) error {
		units, err := c.units(ctx)
		if err != nil {
			return err
		}
		for _, u := range units {
			if u.Client == client && !u.Disabled {
				return nil
			}
		}
		return fault.New(fault.NotFound, "control.Connector", "", errors.New("there is no such storage"))
	})
}
