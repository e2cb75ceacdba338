package store

import (
	"context"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// clockSQL is the database's clock in microseconds. No other clock decides who
// owns what.
const clockSQL = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

// A pgNode is this process as one of several on a PostgreSQL.
type pgNode struct {
	db     *DB
	cfg    *pgx.ConnConfig
	lease  time.Duration
	number int64
	poke   chan struct{} // beat now: slots were given away
}

func newPGNode(db *DB, cfg *pgx.ConnConfig, lease time.Duration) *pgNode {
	if lease <= 0 {
		lease = 15 * time.Second
	}
	return &pgNode{db: db, cfg: cfg, lease: lease, poke: make(chan struct{}, 1)}
}

// register makes the node known, with the smallest number that is free. It is
// not alive, and so has no share of the slots, before its first heartbeat.
func (n *pgNode) register(ctx context.Context) error {
	c, err := openPGConn(ctx, n.cfg, false)
	if err != nil {
		return err
	}
	defer c.close()
	if err := n.compare(ctx, c); err != nil {
		return err
	}
	return n.insert(ctx, c, 0)
}

func (n *pgNode) insert(ctx context.Context, c *pgConn, lease time.Duration) error {
	for range retries {
		err := c.query(ctx, `INSERT INTO nodes (id, number, name, started, until)
			SELECT ?, (SELECT min(g) FROM generate_series(0, 10000) g WHERE NOT EXISTS (SELECT 1 FROM nodes x WHERE x.number = g)), ?, `+clockSQL+`, `+clockSQL+` + ?
			ON CONFLICT (id) DO UPDATE SET until = excluded.until RETURNING number`, func(c cells) error {
			n.number = c.i(0)
			return nil
		}, n.db.node[:], []byte(n.db.name), lease.Microseconds())
		if !errors.Is(err, errConflict) {
			return err
		}
	}
	return fault.New(fault.Unavailable, "store.Open", "", errors.New("no node number is free"))
}

// beat renews the lease of this node and keeps its slots a fair share.
func (n *pgNode) beat(ctx context.Context) error {
	var c *pgConn
	defer func() {
		if c != nil {
			_ = c.close()
		}
	}()
	tick := time.NewTicker(n.lease / 5)
	defer tick.Stop()
	for {
		var err error
		if c == nil {
			c, err = openPGConn(ctx, n.cfg, false)
		}
		if err == nil {
			err = n.once(ctx, c)
		}
		if err != nil && ctx.Err() == nil {
			n.db.log.Warn("ledger: heartbeat failed", "err", err)
			if c != nil && errors.Is(err, errLost) {
				_ = c.close()
				c = nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-n.poke:
		}
	}
}

// compare measures how far the database's clock is ahead of ours.
func (n *pgNode) compare(ctx context.Context, c *pgConn) error {
	start := micros(n.db.now())
	return c.query(ctx, "SELECT "+clockSQL, func(c cells) error {
		n.db.skew.Store(c.i(0) - (start+micros(n.db.now()))/2)
		return nil
	})
}

type slotRow struct {
	mine, free bool
	epoch      int64
}

func (n *pgNode) once(ctx context.Context, c *pgConn) error {
	// The lease counts from before the call: whatever it takes, ours ends first.
	before := time.Now()
	var rows [slots]slotRow
	var alive int64
	ctx, cancel := context.WithTimeout(ctx, n.lease)
	defer cancel()
	if err := n.compare(ctx, c); err != nil {
		return err
	}
	renewed, err := c.exec(ctx, "UPDATE nodes SET until = "+clockSQL+" + ? WHERE id = ?", n.lease.Microseconds(), n.db.node[:])
	if err == nil && renewed == 0 { // silent for so long that the others forgot us
		err = n.insert(ctx, c, n.lease)
	}
	if err != nil {
		return err
	}
	if err := c.query(ctx, "SELECT count(*) FROM nodes WHERE until > "+clockSQL, func(c cells) error { alive = c.i(0); return nil }); err != nil {
		return err
	}
	err = c.query(ctx, `SELECT s.slot, s.epoch, s.node = ?, s.node IS NULL OR NOT EXISTS (SELECT 1 FROM nodes x WHERE x.id = s.node AND x.until > `+clockSQL+`) FROM slots s`,
		func(c cells) error {
			rows[c.i(0)] = slotRow{mine: c.i(2) != 0, free: c.i(3) != 0, epoch: c.i(1)}
			return nil
		}, n.db.node[:])
	if err != nil {
		return err
	}
	mine := n.db.slots.apply(rows, before.Add(n.lease-n.lease/10))
	share := int((slots + alive - 1) / max(alive, 1))
	switch {
	case mine > share:
		return n.give(ctx, mine-share)
	case mine < share:
		return n.claim(ctx, c, rows, share-mine)
	}
	n.db.slots.keepAll()
	return nil
}

// apply takes over what the database says of the slots and returns how many are
// ours.
func (o *ownership) apply(rows [slots]slotRow, until time.Time) (mine int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, r := range rows {
		if !r.mine {
			o.slot[i] = owned{}
			continue
		}
		mine++
		o.slot[i] = owned{ours: true, epoch: r.epoch, giving: o.slot[i].giving && o.slot[i].epoch == r.epoch}
	}
	o.until = until
	return mine
}

// keepAll takes back the intention to give slots away.
func (o *ownership) keepAll() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.slot {
		o.slot[i].giving = false
	}
}

// markGiving picks n slots to give away, those marked before first, and returns
// them.
func (o *ownership) markGiving(n int, idle func(slot uint8) bool) (out []int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, want := range []func(i int) bool{
		func(i int) bool { return o.slot[i].giving },
		func(i int) bool { return !o.slot[i].giving && idle(uint8(i)) },
		func(i int) bool { return !o.slot[i].giving },
	} {
		for i := slots - 1; i >= 0 && len(out) < n; i-- {
			if o.slot[i].ours && want(i) && !contains(out, int64(i)) {
				out = append(out, int64(i))
			}
		}
	}
	for i := range o.slot {
		o.slot[i].giving = contains(out, int64(i))
	}
	return out
}

func contains(list []int64, n int64) bool {
	for _, m := range list {
		if m == n {
			return true
		}
	}
	return false
}

// give gives k slots away: those of which nothing is in work at once, the
// others when their work is done, for nothing new is picked up from them.
func (n *pgNode) give(ctx context.Context, k int) error {
	giving := n.db.slots.markGiving(k, n.db.busy.idle)
	var gone []int64
	// In the writer, so that no pick-up is under way meanwhile.
	err := n.db.do(ctx, func(ctx context.Context, c conn) error {
		gone = gone[:0]
		for _, s := range giving {
			if n.db.busy.idle(uint8(s)) {
				gone = append(gone, s)
			}
		}
		if len(gone) == 0 {
			return nil
		}
		if _, err := c.exec(ctx, "UPDATE slots SET node = NULL WHERE slot = ANY(?) AND node = ?", gone, n.db.node[:]); err != nil {
			return err
		}
		return n.db.tell(ctx, c, "slots")
	})
	if err == nil {
		n.db.slots.mu.Lock()
		for _, s := range gone {
			n.db.slots.slot[s] = owned{}
		}
		n.db.slots.mu.Unlock()
	}
	return err
}

// claim takes up to k slots that nobody living owns, each under a new epoch. What
// was in work there died with its node.
func (n *pgNode) claim(ctx context.Context, c *pgConn, rows [slots]slotRow, k int) error {
	var want []int64
	for i, r := range rows {
		if r.free && len(want) < k {
			want = append(want, int64(i))
		}
	}
	if len(want) == 0 {
		return nil
	}
	if err := c.simple(ctx, "BEGIN; SELECT pg_advisory_xact_lock("+strconv.Itoa(assignmentLock)+")"); err != nil {
		return err
	}
	gained := map[int64]int64{}
	var list []int64
	err := c.query(ctx, `UPDATE slots s SET node = ?, epoch = s.epoch + 1 WHERE s.slot = ANY(?)
		AND (s.node IS NULL OR NOT EXISTS (SELECT 1 FROM nodes x WHERE x.id = s.node AND x.until > `+clockSQL+`))
		AND EXISTS (SELECT 1 FROM nodes x WHERE x.id = ? AND x.until > `+clockSQL+`) RETURNING s.slot, s.epoch`, func(c cells) error {
		gained[c.i(0)] = c.i(1)
		return nil
	}, n.db.node[:], want, n.db.node[:])
	if err == nil && len(gained) > 0 {
		for s := range gained {
			list = append(list, s)
		}
		if err = n.db.died(ctx, c, list); err == nil {
			_, err = c.exec(ctx, "DELETE FROM nodes x WHERE x.until < "+clockSQL+" - ? AND NOT EXISTS (SELECT 1 FROM slots s WHERE s.node = x.id)", n.lease.Microseconds())
		}
	}
	if err == nil {
		err = c.commit(ctx)
	}
	if err != nil {
		c.rollback()
		return err
	}
	n.db.slots.mu.Lock()
	for s, epoch := range gained {
		n.db.slots.slot[s] = owned{ours: true, epoch: epoch}
	}
	n.db.slots.mu.Unlock()
	if len(gained) == 0 {
		return nil
	}
	n.db.log.Info("ledger: slots gained", "slots", len(gained), "node", n.db.name)
	return n.db.lookDue(ctx, list)
}

// listen hears from the other nodes what to look at again.
func (n *pgNode) listen(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := n.hear(ctx); err != nil && ctx.Err() == nil {
			n.db.log.Warn("ledger: the listener lost its connection", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil
}

func (n *pgNode) hear(ctx context.Context) error {
	c, err := openPGConn(ctx, n.cfg, false)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.simple(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	// What was said while nobody listened.
	n.db.names.forget()
	if err := n.db.lookDue(ctx, n.db.slots.all()); err != nil {
		return err
	}
	for {
		m, err := c.c.WaitForNotification(ctx)
		if err != nil {
			return pgError("listen", err)
		}
		from, what, _ := strings.Cut(m.Payload, " ")
		if from != hex.EncodeToString(n.db.node[:]) {
			n.heard(what)
		}
	}
}

func (n *pgNode) heard(what string) {
	kind, rest, _ := strings.Cut(what, " ")
	switch kind {
	case "names":
		n.db.names.forget()
	case "slots":
		select {
		case n.poke <- struct{}{}:
		default:
		}
	case "due":
		for u := range strings.SplitSeq(rest, ",") {
			id, err := strconv.ParseInt(u, 10, 64)
			if err != nil {
				continue
			}
			for lane := ledger.Small; lane <= ledger.Alone; lane++ {
				n.db.ready.bring(line{id, lane}, n.db.now())
			}
		}
		n.db.ready.signal()
	}
}

// close gives up the slots, so that the others need not wait for the lease.
func (n *pgNode) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := openPGConn(ctx, n.cfg, false)
	if err != nil {
		return err
	}
	defer c.close()
	return c.simple(ctx, "BEGIN; UPDATE slots SET node = NULL WHERE node = '\\x"+hex.EncodeToString(n.db.node[:])+"'; DELETE FROM nodes WHERE id = '\\x"+
		hex.EncodeToString(n.db.node[:])+"'; SELECT pg_notify('"+channel+"', '"+hex.EncodeToString(n.db.node[:])+" slots'); COMMIT")
}
