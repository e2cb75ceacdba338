package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

var errFull = errors.New("too many notices wait to go out")

// A post box is a tenant's channel.
type postbox struct {
	tenant  int64
	channel string
}

// audited is a row of the audit that says what became of notices. Its action
// keeps it from making notices itself.
func audited(b postbox, action, detail string) ledger.AuditRow {
	return ledger.AuditRow{Tenant: b.tenant, Type: ledger.SystemAction, Category: ledger.CategoryNotification, Level: ledger.Error,
		Action: noticeActions + action, Target: b.channel, Detail: detail}
}

// noticeActions begin the actions of rows about notices, which make none.
const noticeActions = "notice."

// gaveUp writes into the audit what was given up, and forgets the oldest of it
// beyond the bound.
func (db *DB) gaveUp(ctx context.Context, c conn, list []ledger.Settled) error {
	count, last := map[postbox]int{}, map[postbox]string{}
	for _, s := range list {
		if s.End == ledger.GivenUp {
			b := postbox{s.Tenant, s.Channel}
			count[b]++
			last[b] = s.Error
		}
	}
	for b, n := range count {
		if err := db.addAudit(ctx, c, audited(b, "give_up", fmt.Sprintf("%d notices were given up: %s", n, last[b]))); err != nil {
			return err
		}
	}
	if len(count) == 0 {
		return nil
	}
	dropped, err := c.exec(ctx, "DELETE FROM outbox WHERE state = 1 AND id <= (SELECT id FROM outbox WHERE state = 1 ORDER BY id DESC LIMIT 1 OFFSET ?)", int64(maxGivenUp))
	if err != nil || dropped == 0 {
		return err
	}
	return db.addAudit(ctx, c, audited(postbox{defaultTenant, "*"}, "forget", fmt.Sprintf("%d notices that were given up are forgotten: there are newer ones", dropped)))
}

// Notices lists the outbox, the newest first, and says how many there are.
func (db *DB) Notices(ctx context.Context, f ledger.NoticeFilter) (list []ledger.Notice, total int64, err error) {
	where, args := "(? = 0 OR tenant = ?)", []any{f.Tenant, f.Tenant}
	if f.GivenUp != nil {
		where, args = where+" AND state = ?", append(args, flag(*f.GivenUp))
	}
	if err = db.query(ctx, "SELECT count(*) FROM outbox WHERE "+where, func(c cells) error { total = c.i(0); return nil }, args...); err != nil {
		return nil, 0, err
	}
	err = db.query(ctx, "SELECT "+noticeColumns+" FROM outbox WHERE "+where+" ORDER BY id DESC LIMIT ? OFFSET ?", func(c cells) error {
		list = append(list, db.readNotice(c))
		return nil
	}, append(args, pageSize(f.Limit), int64(max(f.Start, 0)))...)
	return list, total, err
}

// RetryNotice makes a tenant's notice due now, as if it were new. fault.NotFound
// if there is none.
func (db *DB) RetryNotice(ctx context.Context, tenant int64, id ledger.ID) error {
	return db.do(ctx, func(ctx context.Context, c conn) error {
		now := db.clock()
		n, err := c.exec(ctx, "UPDATE outbox SET state = 0, attempts = 0, due = ?, created = ? WHERE id = ? AND tenant = ?", now, now, id[:], tenant)
		if err = missing(err, n > 0, "store.RetryNotice", id.String()); err == nil {
			db.outbox.signal()
		}
		return err
	})
}

// DropNotice forgets a tenant's notice. fault.NotFound if there is none.
func (db *DB) DropNotice(ctx context.Context, tenant int64, id ledger.ID) error {
	return db.do(ctx, func(ctx context.Context, c conn) error {
		n, err := c.exec(ctx, "DELETE FROM outbox WHERE id = ? AND tenant = ?", id[:], tenant)
		return missing(err, n > 0, "store.DropNotice", id.String())
	})
}

// TendOutbox counts what waits, drops up to n notices of channels that are not
// open any more, and moves what was lost into the audit.
func (db *DB) TendOutbox(ctx context.Context, open func(tenant int64, channel string) bool, n int) error {
	waiting, closed := int64(0), map[postbox]bool{}
	err := db.query(ctx, "SELECT tenant, channel, count(*) FROM outbox WHERE state = 0 GROUP BY tenant, channel", func(c cells) error {
		waiting += c.i(2)
		if !open(c.i(0), c.s(1)) {
			closed[postbox{c.i(0), c.s(1)}] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	db.outbox.waiting.Store(waiting)
	for b := range closed {
		if err := db.dropWaiting(ctx, b, n); err != nil {
			return err
		}
	}
	return db.auditLost(ctx)
}

// dropWaiting drops what waits for a channel that is closed.
func (db *DB) dropWaiting(ctx context.Context, b postbox, n int) error {
	return db.do(ctx, func(ctx context.Context, c conn) error {
		dropped, err := c.exec(ctx, "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE tenant = ? AND channel = ? AND state = 0 ORDER BY due LIMIT ?)", b.tenant, []byte(b.channel), int64(n))
		if err != nil || dropped == 0 {
			return err
		}
		return db.addAudit(ctx, c, audited(b, "drop", fmt.Sprintf("%d notices are dropped: the channel was switched off", dropped)))
	})
}

func (db *DB) auditLost(ctx context.Context) error {
	any := false
	if err := db.query(ctx, "SELECT 1 FROM outbox_lost LIMIT 1", func(cells) error { any = true; return nil }); err != nil || !any {
		return err
	}
	return db.do(ctx, func(ctx context.Context, c conn) error {
		var list []ledger.Pile
		if err := c.query(ctx, "DELETE FROM outbox_lost RETURNING tenant, channel, n", func(c cells) error {
			list = append(list, ledger.Pile{Tenant: c.i(0), Channel: c.s(1), N: c.i(2)})
			return nil
		}); err != nil {
			return err
		}
		for _, l := range list {
			if err := db.addAudit(ctx, c, audited(postbox{l.Tenant, l.Channel}, "lose", fmt.Sprintf("%d notices were not kept: too many wait", l.N))); err != nil {
				return err
			}
		}
		return nil
	})
}

// scanNews writes the notices of a scan's end.
func (db *DB) scanNews(ctx context.Context, c conn, s *scanRow) error {
	var list []ledger.Notice
	var unit string
	var tenant int64
	if err := c.query(ctx, "SELECT name, tenant FROM units WHERE id = ?", func(c cells) error { unit, tenant = c.s(0), c.i(1); return nil }, s.unit); err != nil {
		return err
	}
	unit = ledger.PlainUnit(tenant, unit)
	body, err := noticeBody(ledger.ScanNotice{ID: s.id, Name: cmp.Or(s.scan.Name, unit), Unit: unit, Type: s.typ, Started: s.scan.Started, Ended: s.scan.Ended, State: s.scan.State})
	if err != nil {
		return err
	}
	for _, sub := range db.outbox.of(tenant) {
		if sub.Scans {
			list = append(list, ledger.Notice{Tenant: tenant, Channel: sub.Channel, Kind: ledger.NoticeScan, Body: body})
		}
	}
	return db.post(ctx, c, list)
}

// auditNews writes the notices of a row of the audit.
func (db *DB) auditNews(ctx context.Context, c conn, r ledger.AuditRow) error {
	var list []ledger.Notice
	for _, sub := range db.outbox.of(r.Tenant) {
		if !sub.Audit {
			continue
		}
		body, err := noticeBody(r)
		if err != nil {
			return err
		}
		list = append(list, ledger.Notice{Tenant: r.Tenant, Channel: sub.Channel, Kind: ledger.NoticeAudit, Body: body})
	}
	return db.post(ctx, c, list)
}

func noticeBody(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fault.New(fault.Internal, "store", "notice", err)
	}
	return b, nil
}
