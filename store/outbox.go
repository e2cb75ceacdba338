package store

import (
	"context"
	"encoding/json"
	"slices"
	"sync/atomic"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

// Bounds of the outbox. Notices beyond the first are not kept: they are counted
// in the transaction that would have written them, and the count goes into the
// audit. To wait for a receiver instead would let it stop the scanning.
const (
	maxNotices = 100_000 // waiting
	maxGivenUp = 10_000  // the newest stay
)

// outbox is what this process knows of the table outbox: who wants what, so that
// where nobody does it costs nothing, and about how much is in it.
type outbox struct {
	subs    atomic.Pointer[map[int64][]ledger.Subscription]
	waiting atomic.Int64
	most    int64
	fresh   chan struct{}
}

func newOutbox(most int) *outbox {
	if most <= 0 {
		most = maxNotices
	}
	return &outbox{most: int64(most), fresh: make(chan struct{}, 1)}
}

// Subscribe says which channels want to hear what, by tenant, from now on.
func (db *DB) Subscribe(subs map[int64][]ledger.Subscription) { db.outbox.subs.Store(&subs) }

// Noticed gets a value when this process wrote notices.
func (db *DB) Noticed() <-chan struct{} { return db.outbox.fresh }

func (o *outbox) of(tenant int64) []ledger.Subscription {
	if m := o.subs.Load(); m != nil {
		return (*m)[tenant]
	}
	return nil
}

func (o *outbox) signal() {
	select {
	case o.fresh <- struct{}{}:
	default:
	}
}

var (
	insertNotice = &set{
		cols: "id:b tenant:i channel:b kind:b body:b due:i",
		sql: `INSERT INTO outbox (id, tenant, channel, kind, body, due, created)
			SELECT :id, :tenant, :channel, :kind, :body, :due, :due {from} WHERE TRUE {order} ON CONFLICT (id) DO NOTHING {backid}`,
	}
	countLost = &set{
		cols: "channel:b tenant:i n:i",
		sql: `INSERT INTO outbox_lost (tenant, channel, n) SELECT :tenant, :channel, :n {from} WHERE TRUE
			ON CONFLICT (tenant, channel) DO UPDATE SET n = outbox_lost.n + excluded.n {backid}`,
		pg: `INSERT INTO outbox_lost (tenant, channel, n) SELECT :tenant, :channel, :n {from}
			ON CONFLICT (tenant, channel) DO UPDATE SET n = outbox_lost.n + excluded.n RETURNING channel`,
	}
	settleNotice = &set{
		cols: "id:b run:i due:i less:i state:i error:b",
		sql: `UPDATE outbox SET due = :due, attempts = outbox.attempts - :less, state = :state, error = :error
			{from} WHERE outbox.id = :id AND outbox.attempts = :run AND outbox.state = 0 {back}`,
	}
	deliveredNotice = &set{
		cols: "id:b run:i",
		sql:  "DELETE FROM outbox {using} WHERE outbox.id = :id AND outbox.attempts = :run AND outbox.state = 0 {back}",
	}
)

// news are the notices that the end of an entry makes.
func (t *turn) news(o *saveOp) (list []ledger.Notice, err error) {
	var body json.RawMessage
	for _, s := range t.db.outbox.of(o.e.Tenant) {
		if !s.Wants(o.e, o.end) {
			continue
		}
		if body == nil {
			e := *o.e // the worker's own says that it is finished only after the commit
			e.State, e.UnitName = ledger.Finished, ledger.PlainUnit(e.Tenant, e.UnitName)
			if body, err = noticeBody(ledger.FileNotice{Record: e.Record(), Code: e.Code, Result: scan.CodeName(e.Code), Workflow: e.Workflow.String()}); err != nil {
				return nil, err
			}
		}
		list = append(list, ledger.Notice{Tenant: o.e.Tenant, Channel: s.Channel, Kind: ledger.NoticeFile, Body: body})
	}
	return list, nil
}

// post writes notices in the transaction of c, or counts them as lost where the
// outbox is full.
func (db *DB) post(ctx context.Context, c conn, list []ledger.Notice) error {
	if len(list) == 0 {
		return nil
	}
	now := db.clock()
	if db.outbox.waiting.Load()+int64(len(list)) > db.outbox.most {
		return db.lose(ctx, c, list)
	}
	rows := make([][]any, len(list))
	for i, n := range list {
		if n.ID == (ledger.ID{}) {
			n.ID = ledger.NewID()
		}
		rows[i] = []any{n.ID[:], n.Tenant, []byte(n.Channel), []byte(n.Kind), []byte(n.Body), now}
	}
	if _, err := c.each(ctx, insertNotice, rows); err != nil {
		return err
	}
	db.outbox.waiting.Add(int64(len(list))) // counted again before long, should this not be committed
	db.outbox.signal()
	return nil
}

func (db *DB) lose(ctx context.Context, c conn, list []ledger.Notice) error {
	lost := map[ledger.Pile]int64{}
	for _, n := range list {
		lost[ledger.Pile{Tenant: n.Tenant, Channel: n.Channel}]++
	}
	var rows [][]any
	for l, n := range lost {
		rows = append(rows, []any{[]byte(l.Channel), l.Tenant, n})
	}
	_, err := c.each(ctx, countLost, rows)
	return err
}

// AddNotice writes one notice by itself. fault.Throttled if the outbox is full.
func (db *DB) AddNotice(ctx context.Context, n ledger.Notice) error {
	if db.outbox.waiting.Load() >= db.outbox.most {
		return &fault.Error{Op: "store.AddNotice", Kind: fault.Throttled, After: time.Minute, Err: errFull}
	}
	return db.do(ctx, func(ctx context.Context, c conn) error { return db.post(ctx, c, []ledger.Notice{n}) })
}

const noticeColumns = "id, tenant, channel, kind, body, due, attempts, state, error, created"

func (db *DB) readNotice(c cells) ledger.Notice {
	return ledger.Notice{ID: toID(c.b(0)), Tenant: c.i(1), Channel: c.s(2), Kind: ledger.NoticeKind(c.s(3)), Body: slices.Clone(c.b(4)), Due: db.local(c.i(5)),
		Attempts: int(c.i(6)), GivenUp: c.i(7) != 0, Error: c.s(8), Created: db.local(c.i(9))}
}

// ClaimNotices takes up to n due notices of a tenant's channel for this process:
// nobody else gets them for as long as lease. The oldest come first.
func (db *DB) ClaimNotices(ctx context.Context, tenant int64, channel string, n int, lease time.Duration) (list []ledger.Notice, err error) {
	due := false
	const mine = "tenant = ? AND channel = ? AND state = 0 AND due <= ?"
	err = db.query(ctx, "SELECT 1 FROM outbox WHERE "+mine+" LIMIT 1", func(cells) error { due = true; return nil }, tenant, []byte(channel), db.clock())
	if err != nil || !due {
		return nil, err
	}
	lock := ""
	if db.dollar {
		lock = " FOR UPDATE SKIP LOCKED"
	}
	err = db.do(ctx, func(ctx context.Context, c conn) error {
		list = nil
		now := db.clock()
		return c.query(ctx, "UPDATE outbox SET attempts = attempts + 1, due = ? WHERE id IN (SELECT id FROM outbox WHERE "+mine+" ORDER BY due, id LIMIT ?"+lock+
			") RETURNING "+noticeColumns, func(c cells) error {
			list = append(list, db.readNotice(c))
			return nil
		}, now+lease.Microseconds(), tenant, []byte(channel), now, int64(n))
	})
	slices.SortFunc(list, func(a, b ledger.Notice) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return list, err
}

// SettleNotices writes what became of claimed notices, and an audit row for each
// channel that gave some up. What somebody else claimed since stays theirs.
func (db *DB) SettleNotices(ctx context.Context, list []ledger.Settled) error {
	var gone, kept [][]any
	for _, s := range list {
		switch s.End {
		case ledger.Delivered:
			gone = append(gone, []any{s.ID[:], int64(s.Attempts)})
		default:
			kept = append(kept, []any{s.ID[:], int64(s.Attempts), db.remote(s.Due), flag(s.End == ledger.Untried), flag(s.End == ledger.GivenUp), text(s.Error)})
		}
	}
	return db.do(ctx, func(ctx context.Context, c conn) error {
		if _, err := c.each(ctx, deliveredNotice, gone); err != nil {
			return err
		}
		if _, err := c.each(ctx, settleNotice, kept); err != nil {
			return err
		}
		return db.gaveUp(ctx, c, list)
	})
}

// DueChannels returns the channels that have notices due now, and how many.
func (db *DB) DueChannels(ctx context.Context) (list []ledger.Pile, err error) {
	err = db.query(ctx, "SELECT tenant, channel, count(*) FROM outbox WHERE state = 0 AND due <= ? GROUP BY tenant, channel", func(c cells) error {
		list = append(list, ledger.Pile{Tenant: c.i(0), Channel: c.s(1), N: c.i(2)})
		return nil
	}, db.clock())
	return list, err
}
