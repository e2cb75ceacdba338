package control

import (
	"context"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/ledger"
)

// OutboxStore keeps notices that are to go out.
type OutboxStore interface {
	Notices(ctx context.Context, f ledger.NoticeFilter) ([]ledger.Notice, int64, error)
	RetryNotice(ctx context.Context, tenant int64, id ledger.ID) error
	DropNotice(ctx context.Context, tenant int64, id ledger.ID) error
}

// Notices lists what the caller's tenant has in the outbox, the newest first, and
// says how many f selects.
func (c *Control) Notices(ctx context.Context, f ledger.NoticeFilter) (list []ledger.Notice, total int64, err error) {
	err = c.do(ctx, act{action: "notification.list"}, func(ctx context.Context, who account.Caller) (err error) {
		f.Tenant = who.Tenant
		list, total, err = c.Store.Notices(ctx, f)
		return err
	})
	return list, total, err
}

// RetryNotice tries a notice again, one that was given up too.
func (c *Control) RetryNotice(ctx context.Context, id ledger.ID) error {
	return c.do(ctx, act{action: "notification.retry", target: id.String()}, func(ctx context.Context, who account.Caller) error {
		return c.Store.RetryNotice(ctx, who.Tenant, id)
	})
}

// DropNotice forgets a notice.
func (c *Control) DropNotice(ctx context.Context, id ledger.ID) error {
	return c.do(ctx, act{action: "notification.drop", target: id.String()}, func(ctx context.Context, who account.Caller) error {
		return c.Store.DropNotice(ctx, who.Tenant, id)
	})
}
