package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/all"
)

// named returns the pool that workflows know by a name.
func (ps *pools) named(key string) *pool {
	for _, p := range ps.all() {
		for _, k := range p.spec.keys {
			if k == key {
				return p
			}
		}
	}
	return nil
}

// Pool implements control.Engines.
func (ps *pools) Pool(key string) (scan.PoolStatus, bool) {
	p := ps.named(key)
	if p == nil {
		return scan.PoolStatus{}, false
	}
	return p.Status(), true
}

// CheckEngine implements control.Engines.
func (ps *pools) CheckEngine(ctx context.Context, e control.EngineSpec) error {
	return all.Check(ctx, e.URL, ps.options(instanceOf(e)))
}

// Try implements control.Engines.
func (ps *pools) Try(ctx context.Context, e control.EngineSpec, userAgent string) (t control.Trial, err error) {
	engine, err := all.Open(ctx, e.URL, ps.options(instanceOf(e)))
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	d, err := scan.Describe(ctx, engine, userAgent)
	return control.Trial{Version: d.Version, Rules: d.Rules, Engines: d.Engines, Technologies: d.Technologies}, err
}

// Offers implements control.Engines.
func (ps *pools) Offers(ctx context.Context, key string) ([]string, error) {
	p := ps.named(key)
	if p == nil {
		return nil, fault.New(fault.Unavailable, "daemon.Offers", "", fmt.Errorf("the pool has no instance in use"))
	}
	return p.Offers(ctx)
}
