package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

// The types of pools and instances.
const (
	MDCore  = 0 // and whatever else has an engine URL
	MDCloud = 1
)

// Bounds of what a tenant may have.
const (
	maxPools     = 100
	maxInstances = 64
)

// A PoolBody is what is kept of a pool that operators added.
type PoolBody struct {
	Type      int        `json:"type"`
	Instances []Instance `json:"instances,omitempty"`
}

// An Instance is an engine of a pool.
type Instance struct {
	ID      ledger.ID     `json:"id"`
	URL     string        `json:"url"`               // as it was given: see EngineURL
	APIKey  string        `json:"api_key,omitempty"` // sealed for SealPool
	Timeout time.Duration `json:"timeout,omitempty"` // of one object; 0 = the engine's own
	Type    int           `json:"type"`
}

// A ScanPool is a pool as operators see it: without secrets, and with how it is.
type ScanPool struct {
	ledger.Noun
	PoolBody
	Default bool             // the tenant's default workflow asks it
	Status  *scan.PoolStatus // nil while nothing of it runs
}

// A ScanInstance is an instance as operators see it.
type ScanInstance struct {
	Instance
	Pool   ledger.ID
	Status *scan.InstanceStatus // nil while it does not run
}

// PoolName is the name by which workflows of the running parts know a pool.
func PoolName(id ledger.ID) string { return "pool:" + id.String() }

// FileID is the id of a noun that stands in the configuration file.
// standing returns the nouns of the configuration file that a tenant sees. Its pools
// are everybody's, though not where their engines are. Its workflows are the
// default tenant's, for they may name storages; others have a default of the same
// id that reports and changes nothing.
// nouns returns a tenant's nouns of a kind, those of the configuration file first.
// noun returns one of them, fault.NotFound if there is none.
// mine returns a noun that may be changed here: fault.Denied if the configuration
// standing has it.
// unused fails with fault.Exists if a noun of one of the kinds mentions the id.
// Ids are unique, so the text is the reference.
// freeName fails with fault.Exists if the configuration file has a noun of the name.
// short checks a name of 3 to 30 characters, as pools and workflows have.
// ScanPools lists the caller's pools.
func (c *Control) ScanPools(ctx context.Context) ([]ScanPool, error) {
	return get(ctx, c, act{action: "pool.list"}, func(ctx context.Context, who account.Caller) ([]ScanPool, error) {
		list, err := c.nouns(ctx, who.Tenant, ledger.Pool)
		if err != nil {
			return nil, err
		}
		asked, err := c.defaultPool(ctx, who.Tenant)
		if err != nil {
			return nil, err
		}
		pools := make([]ScanPool, 0, len(list))
		for _, n := range list {
			p, err := c.shownPool(n, asked)
			if err != nil {
				return nil, err
			}
			pools = append(pools, p)
		}
		return pools, nil
	})
}

// ScanPool returns one of the caller's pools, fault.NotFound if there is none.
func (c *Control) ScanPool(ctx context.Context, id ledger.ID) (ScanPool, error) {
	return get(ctx, c, act{action: "pool.list", target: id.String()}, func(ctx context.Context, who account.Caller) (ScanPool, error) {
		n, err := c.noun(ctx, who.Tenant, ledger.Pool, id)
		if err != nil {
			return ScanPool{}, err
		}
		asked, err := c.defaultPool(ctx, who.Tenant)
		if err != nil {
			return ScanPool{}, err
		}
		return c.shownPool(n, asked)
	})
}

func (c *Control) shownPool(n ledger.Noun, asked ledger.ID) (ScanPool, error) {
	body, err := decode[PoolBody](n)
	p := ScanPool{Noun: n, PoolBody: body, Default: n.ID == asked}
	for i := range p.Instances {
		p.Instances[i].APIKey = ""
	}
	if st, ok := c.poolStatus(n.ID); ok && len(st.Instances) == len(p.Instances) {
		p.Status = &st
	}
	return p, err
}

func (c *Control) poolStatus(id ledger.ID) (scan.PoolStatus, bool) {
	if c.Engines == nil {
		return scan.PoolStatus{}, false
	}
	return c.Engines.Pool(PoolName(id))
}

// errCloud is why there are no instances of MetaDefender Cloud.
var errCloud = errors.New("MetaDefender Cloud is not supported: add instances of MetaDefender Core, or clamd://")

func knownType(op string, kind int) error {
	if kind != MDCore {
		return fault.New(fault.Unsupported, op, "", errCloud)
	}
	return nil
}

// AddScanPool makes a pool without instances. fault.Exists if there is one of
// the name.
func (c *Control) AddScanPool(ctx context.Context, name string, kind int) (ledger.Noun, error) {
	return get(ctx, c, act{action: "pool.add", target: name}, func(ctx context.Context, who account.Caller) (n ledger.Noun, err error) {
		const op = "control.AddScanPool"
		n = ledger.Noun{Tenant: who.Tenant, Kind: ledger.Pool}
		if n.Name, err = short(op, name); err != nil {
			return n, err
		}
		if err := knownType(op, kind); err != nil {
			return n, err
		}
		list, err := c.Store.Nouns(ctx, who.Tenant, ledger.Pool)
		if err == nil && len(list) >= maxPools {
			err = fault.New(fault.Invalid, op, "", fmt.Errorf("there are %d pools: no more are possible", len(list)))
		}
		if err = errors.Join(err, c.freeName(n), encode(&n, PoolBody{Type: kind})); err != nil {
			return n, err
		}
		return c.addNoun(ctx, n)
	})
}

// SetScanPool gives a pool another name.
func (c *Control) SetScanPool(ctx context.Context, id ledger.ID, name string) (ledger.Noun, error) {
	return get(ctx, c, act{action: "pool.set", target: id.String()}, func(ctx context.Context, who account.Caller) (ledger.Noun, error) {
		n, err := c.mine(ctx, who.Tenant, ledger.Pool, id)
		if err != nil {
			return n, err
		}
		if n.Name, err = short("control.SetScanPool", name); err != nil {
			return n, err
		}
		if err := c.freeName(n); err != nil {
			return n, err
		}
		return c.setNoun(ctx, n)
	})
}

// RemoveScanPool removes a pool and its instances: fault.Exists if a workflow
// asks it.
func (c *Control) RemoveScanPool(ctx context.Context, id ledger.ID) error {
	return c.do(ctx, act{action: "pool.remove", target: id.String()}, func(ctx context.Context, who account.Caller) error {
		n, err := c.mine(ctx, who.Tenant, ledger.Pool, id)
		if err != nil {
			return err
		}
		if err := c.unused(ctx, n, ledger.Workflow); err != nil {
			return err
		}
		return c.removeNoun(ctx, n)
	})
}

// ScanInstances lists the instances of the caller's pools, or of one of them.
func (c *Control) ScanInstances(ctx context.Context, pool *ledger.ID) ([]ScanInstance, error) {
	return get(ctx, c, act{action: "pool.list"}, func(ctx context.Context, who account.Caller) ([]ScanInstance, error) {
		list, err := c.nouns(ctx, who.Tenant, ledger.Pool)
		if err != nil {
			return nil, err
		}
		if pool != nil {
			list = slices.DeleteFunc(list, func(n ledger.Noun) bool { return n.ID != *pool })
			if len(list) == 0 {
				return nil, fault.New(fault.NotFound, "control.ScanInstances", string(ledger.Pool), nil)
			}
		}
		instances := []ScanInstance{}
		for _, n := range list {
			p, err := c.shownPool(n, ledger.ID{})
			if err != nil {
				return nil, err
			}
			instances = append(instances, p.All()...)
		}
		return instances, nil
	})
}

// All are the pool's instances, each with how it is.
func (p ScanPool) All() []ScanInstance {
	list := make([]ScanInstance, 0, len(p.Instances))
	for i, in := range p.Instances {
		s := ScanInstance{Instance: in, Pool: p.ID}
		if p.Status != nil {
			s.Status = &p.Status.Instances[i]
		}
		list = append(list, s)
	}
	return list
}

// ScanInstance returns one instance, fault.NotFound if there is none.
func (c *Control) ScanInstance(ctx context.Context, id ledger.ID) (ScanInstance, error) {
	return get(ctx, c, act{action: "pool.list", target: id.String()}, func(ctx context.Context, who account.Caller) (ScanInstance, error) {
		n, i, err := c.instance(ctx, who.Tenant, id)
		if err != nil {
			return ScanInstance{}, err
		}
		p, err := c.shownPool(n, ledger.ID{})
		if err != nil {
			return ScanInstance{}, err
		}
		return p.All()[i], nil
	})
}

// instance finds the pool that an instance is of, and its place there.
