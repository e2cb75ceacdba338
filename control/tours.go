package control

import (
	"context"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// toured returns the user whose tours the caller asks for: their own, or, for
// administrators, those of somebody whom they see.
func (c *Control) toured(ctx context.Context, who account.Caller, id ledger.ID) (account.User, error) {
	if id != who.ID && !who.May(account.Operate) {
		return account.User{}, fault.New(fault.Denied, "control.Tours", "", errRefused)
	}
	return c.member(ctx, who, id)
}

// Tours tells which tours of the console a user has finished, by number, and when.
func (c *Control) Tours(ctx context.Context, id ledger.ID) (map[int]time.Time, error) {
	return get(ctx, c, act{action: "tour.list", target: id.String()}, func(ctx context.Context, who account.Caller) (map[int]time.Time, error) {
		u, err := c.toured(ctx, who, id)
		return u.Tours, err
	})
}

// FinishTour notes that a user has finished a tour; the first time counts.
func (c *Control) FinishTour(ctx context.Context, id ledger.ID, tour int) error {
	return c.do(ctx, act{action: "tour.finish", target: id.String()}, func(ctx context.Context, who account.Caller) error {
		if _, err := c.toured(ctx, who, id); err != nil {
			return err
		}
		_, err := c.Store.ChangeUser(ctx, id, func(u *account.User) error {
			if u.Tours == nil {
				u.Tours = map[int]time.Time{}
			}
			if u.Tours[tour].IsZero() {
				u.Tours[tour] = time.Now().UTC().Truncate(time.Microsecond)
			}
			return nil
		})
		return err
	})
}
