package daemon

import (
	"context"
	"time"
)

// followEvery is how often a node looks whether another has changed a noun.
const followEvery = 2 * time.Second

// follow serves what operators set at other nodes on the same database.
func (d *Daemon) follow(ctx context.Context) error {
	if !d.o.Config.Store.DSN.IsSet() {
		return nil // there is no other node
	}
	seen := "" // what was set since the start is served once more: that changes nothing
	for {
		if err := sleep(ctx, followEvery); err != nil {
			return err
		}
		now, err := d.db.NounsMark(ctx)
		if err != nil || now == seen {
			continue // the ledger tells of itself what is wrong with it
		}
		if err := d.applyNouns(ctx); err != nil {
			if ctx.Err() == nil {
				d.log.Error("what operators set at another node cannot be served here; it is tried again", "err", err)
			}
			continue
		}
		seen = now
	}
}
