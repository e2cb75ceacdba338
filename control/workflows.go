package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/workflow"
)

// DefaultWorkflow is the name of the workflow that always is: the configuration
// file's of that name, or the one that reports and changes nothing.
// defaultSetting is the name of the setting that says which workflow is a
// tenant's default; without it that is DefaultWorkflow.
const maxWorkflows = 200

// A WorkflowBody is what is kept of a workflow: MetaDefender's fields.
type WorkflowBody struct {
	Pool         ledger.ID               `json:"pool,omitzero"`
	Failover     ledger.ID               `json:"failover,omitzero"`
	NoFailover   bool                    `json:"no_failover,omitempty"` // Failover is set, and not to be used
	Rules        []string                `json:"rules,omitempty"`
	UserAgent    string                  `json:"user_agent,omitempty"`
	Filters      workflow.Filters        `json:"filters,omitzero"`
	Definition   workflow.FileDefinition `json:"definition,omitzero"`
	Technologies []string                `json:"technologies,omitempty"` // that the pool's engines offered when they were asked last
	Asked        time.Time               `json:"asked,omitzero"`         // when that was
	Remediations []Remediation           `json:"remediations,omitempty"`
}

// A Flow is a workflow as operators see it.
type Flow struct {
	ledger.Noun
	WorkflowBody
	Default bool
}

// A WorkflowChange is what is to be another; nil stays as it is.
type WorkflowChange struct {
	Name       *string
	Pool       *ledger.ID
	Failover   *ledger.ID // zero = none
	NoFailover *bool
	Rules      *[]string
	UserAgent  *string
	Filters    *workflow.Filters
	Definition *workflow.FileDefinition
}

// TenantDefault returns which workflow is a tenant's default.
// defaultPool is the pool that the tenant's default workflow asks.
// Workflows lists the caller's workflows, the built-in default first.
func (c *Control) Workflows(ctx context.Context) ([]Flow, error) {
	return get(ctx, c, act{action: "workflow.list"}, func(ctx context.Context, who account.Caller) ([]Flow, error) {
		list, err := c.nouns(ctx, who.Tenant, ledger.Workflow)
		if err != nil {
			return nil, err
		}
		flows := make([]Flow, 0, len(list))
		for _, n := range list {
			f, err := c.flow(ctx, who.Tenant, n)
			if err != nil {
				return nil, err
			}
			flows = append(flows, f)
		}
		return flows, nil
	})
}

// Workflow returns one of the caller's workflows, fault.NotFound if there is none.
func (c *Control) Workflow(ctx context.Context, id ledger.ID) (Flow, error) {
	return get(ctx, c, act{action: "workflow.list", target: id.String()}, func(ctx context.Context, who account.Caller) (Flow, error) {
		n, err := c.noun(ctx, who.Tenant, ledger.Workflow, id)
		if err != nil {
			return Flow{}, err
		}
		return c.flow(ctx, who.Tenant, n)
	})
}

func (c *Control) flow(ctx context.Context, tenant int64, n ledger.Noun) (Flow, error) {
	body, err := decode[WorkflowBody](n)
	if err != nil {
		return Flow{}, err
	}
	id, err := TenantDefault(ctx, c.Store, tenant)
	return Flow{n, body, id == n.ID}, err
}

// AddWorkflow makes a workflow. fault.Exists if there is one of the name,
// fault.NotFound if its pools are not the caller's.
func (c *Control) AddWorkflow(ctx context.Context, name string, ch WorkflowChange) (ledger.Noun, error) {
	return get(ctx, c, act{action: "workflow.add", target: name}, func(ctx context.Context, who account.Caller) (ledger.Noun, error) {
		n := ledger.Noun{Tenant: who.Tenant, Kind: ledger.Workflow}
		ch.Name = &name
		if ch.Pool == nil {
			return n, fault.New(fault.Invalid, "control.AddWorkflow", "", errors.New("a scan pool is needed"))
		}
		list, err := c.Store.Nouns(ctx, who.Tenant, ledger.Workflow)
		if err == nil && len(list) >= maxWorkflows {
			err = fault.New(fault.Invalid, "control.AddWorkflow", "", fmt.Errorf("there are %d workflows: no more are possible", len(list)))
		}
		if err = errors.Join(err, c.change(ctx, &n, WorkflowBody{}, ch)); err != nil {
			return n, err
		}
		return c.addNoun(ctx, n)
	})
}

// SetWorkflow changes a workflow; what is being scanned ends as it began.
func (c *Control) SetWorkflow(ctx context.Context, id ledger.ID, ch WorkflowChange) (ledger.Noun, error) {
	return get(ctx, c, act{action: "workflow.set", target: id.String()}, func(ctx context.Context, who account.Caller) (ledger.Noun, error) {
		n, body, err := c.ownFlow(ctx, who.Tenant, id)
		if err != nil {
			return n, err
		}
		if err := c.change(ctx, &n, body, ch); err != nil {
			return n, err
		}
		return c.setNoun(ctx, n)
	})
}

// ownFlow returns a workflow that may be changed.
func (c *Control) ownFlow(ctx context.Context, tenant int64, id ledger.ID) (ledger.Noun, WorkflowBody, error) {
	n, err := c.mine(ctx, tenant, ledger.Workflow, id)
	if err != nil {
		return n, WorkflowBody{}, err
	}
	body, err := decode[WorkflowBody](n)
	return n, body, err
}

// change applies ch to a workflow and checks what comes out.
func (c *Control) change(ctx context.Context, n *ledger.Noun, b WorkflowBody, ch WorkflowChange) (err error) {
	const op = "control.Workflow"
	if ch.Name != nil {
		if n.Name, err = short(op, *ch.Name); err != nil {
			return err
		}
		if err := c.freeName(*n); err != nil {
			return err
		}
	}
	if ch.Pool != nil {
		if *ch.Pool != b.Pool {
			b.Technologies, b.Asked = nil, time.Time{} // they were another pool's
		}
		b.Pool = *ch.Pool
	}
	set(&b.Failover, ch.Failover)
	set(&b.NoFailover, ch.NoFailover)
	set(&b.Rules, ch.Rules)
	set(&b.UserAgent, ch.UserAgent)
	set(&b.Filters, ch.Filters)
	set(&b.Definition, ch.Definition)
	if _, err := c.noun(ctx, n.Tenant, ledger.Pool, b.Pool); err != nil {
		return err
	}
	if b.Failover == b.Pool {
		return fault.New(fault.Invalid, op, "", errors.New("failOverScanPoolId: a pool cannot take its own place"))
	}
	if b.Failover != (ledger.ID{}) {
		if _, err := c.noun(ctx, n.Tenant, ledger.Pool, b.Failover); err != nil {
			return err
		}
	}
	return c.encodeFlow(ctx, n, b)
}

// encodeFlow writes a workflow's body if it is one that can be served.
func (c *Control) encodeFlow(ctx context.Context, n *ledger.Noun, b WorkflowBody) error {
	places, err := c.destinations(ctx, n.Tenant)
	if err != nil {
		return err
	}
	lost := ""
	w, err := b.Workflow(n.Name, func(id ledger.ID) string {
		if places[id] == "" {
			lost = id.String()
		}
		return places[id]
	})
	if lost != "" {
		return fault.New(fault.NotFound, "control.Workflow", "storage "+lost, errors.New("there is no such storage"))
	}
	if err != nil {
		return err
	}
	if err := w.Validate(); err != nil {
		return err
	}
	return encode(n, b)
}

// destinations are the names of a tenant's storages by their ids.
func (c *Control) destinations(ctx context.Context, tenant int64) (map[ledger.ID]string, error) {
	units, err := c.Store.Units(ctx)
	if err != nil {
		return nil, err
	}
	nouns, err := c.Store.Nouns(ctx, tenant, ledger.Unit)
	return Places(tenant, units, nouns), err
}

// Workflow returns what the running parts do for the workflow. place names a
// storage.
func (b WorkflowBody) Workflow(name string, place func(ledger.ID) string) (workflow.Workflow, error) {
	w := workflow.Workflow{Name: name, Pools: []string{PoolName(b.Pool)}, UserAgent: b.UserAgent, Filters: b.Filters, Definition: b.Definition}
	if len(b.Rules) > 1 {
		return w, fault.New(fault.Invalid, "control.Workflow", "", errors.New("rules: an engine takes one rule for each file; name one"))
	}
	w.Rule = strings.Join(b.Rules, "")
	if b.Failover != (ledger.ID{}) && !b.NoFailover {
		w.Failover = PoolName(b.Failover)
	}
	return w, remedies(&w, b.Remediations, place)
}

// RemoveWorkflow removes a workflow: fault.Exists if it is the default, or a
// storage or schedule uses it.
func (c *Control) RemoveWorkflow(ctx context.Context, id ledger.ID) error {
	return c.do(ctx, act{action: "workflow.remove", target: id.String()}, func(ctx context.Context, who account.Caller) error {
		n, err := c.noun(ctx, who.Tenant, ledger.Workflow, id)
		if err != nil {
			return err
		}
		is, err := TenantDefault(ctx, c.Store, who.Tenant)
		if err != nil {
			return err
		}
		if is == id {
			return fault.New(fault.Exists, "control.RemoveWorkflow", n.Name, errors.New("it is the default workflow: make another the default first"))
		}
		if n.Managed {
			return fault.New(fault.Denied, "control", string(n.Kind)+" "+n.Name, errManaged)
		}
		if err := c.unused(ctx, n, ledger.Unit, ledger.Schedule); err != nil {
			return err
		}
		return c.removeNoun(ctx, n)
	})
}

// SetDefaultWorkflow makes a workflow the one of storages that name none.
// AskTechnologies asks the engines of the workflow's pools what they can do, and
// keeps the answer.
// UseWorkflow says which workflow a storage goes by; zero = the tenant's default.
