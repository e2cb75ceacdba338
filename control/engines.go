package control

import (
	"context"
	"errors"
	"iter"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

// Pools tells how the engines are: all, to the operator of the machine, and to
// others those of their tenant.
func (c *Control) Pools(ctx context.Context) ([]scan.PoolStatus, error) {
	return get(ctx, c, act{action: "engine.list"}, func(ctx context.Context, who account.Caller) ([]scan.PoolStatus, error) {
		if c.Engines == nil {
			return nil, noDaemon("engine list")
		}
		if who.IsMachine() {
			return c.Engines.Status(), nil
		}
		list, err := c.nouns(ctx, who.Tenant, ledger.Pool)
		if err != nil {
			return nil, err
		}
		own := []scan.PoolStatus{}
		for _, n := range list {
			if st, ok := c.poolStatus(n.ID); ok {
				if st.Name = n.Name; n.Managed && who.Tenant != account.DefaultTenant {
					st.Instances, st.Failover = []scan.InstanceStatus{}, "" // where they are is not theirs to know
				}
				own = append(own, st)
			}
		}
		return own, nil
	})
}

// TestEngines shows the canaries to the engines of a pool, or of all that are the
// caller's.
func (c *Control) TestEngines(ctx context.Context, pool string) iter.Seq2[Tested, error] {
	return func(yield func(Tested, error) bool) {
		list, err := get(ctx, c, act{action: "engine.test", target: clip(pool)}, func(ctx context.Context, who account.Caller) ([]ledger.Noun, error) {
			switch {
			case c.Engines == nil:
				return nil, noDaemon("engine test")
			case who.IsMachine():
				return nil, nil
			case who.Tenant == account.DefaultTenant:
				return c.nouns(ctx, who.Tenant, ledger.Pool)
			}
			return c.Store.Nouns(ctx, who.Tenant, ledger.Pool)
		})
		if err != nil {
			yield(Tested{}, err)
			return
		}
		if who, _ := account.From(ctx); who.IsMachine() {
			c.Engines.Test(ctx, pool)(yield)
			return
		}
		found := false
		for _, n := range list {
			if pool != "" && n.Name != pool {
				continue
			}
			found = true
			if _, runs := c.poolStatus(n.ID); !runs {
				continue
			}
			for t, err := range c.Engines.Test(ctx, UnitName(n.Tenant, n.Name)) {
				if t.Pool = n.Name; !yield(t, err) {
					return
				}
			}
		}
		if pool != "" && !found {
			yield(Tested{}, fault.New(fault.NotFound, "control.TestEngines", clip(pool), errors.New("there is no such pool")))
		}
	}
}
