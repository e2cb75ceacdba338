package daemon

import (
	"context"
	"time"
)

// retainEvery is how often what is kept no longer is removed, by one node.
const retainEvery = time.Hour

// retain removes what is kept no longer.
func (d *Daemon) retain(ctx context.Context) error {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		if ours, err := d.db.Elect(ctx, "retention", retainEvery); err != nil && ctx.Err() == nil {
			d.log.Warn("retention", "err", err)
		} else if ours {
			d.retainOnce(ctx)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

func (d *Daemon) retainOnce(ctx context.Context) {
	tenants, err := d.db.TenantNumbers(ctx)
	if err == nil {
		var n int64
		if n, err = d.control.Retain(ctx, tenants, time.Now()); n > 0 {
			d.log.Info("removed what is kept no longer", "rows", n)
		}
	}
	if err != nil && ctx.Err() == nil {
		d.log.Warn("retention", "err", err)
	}
}
