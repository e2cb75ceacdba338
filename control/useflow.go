package control

import (
	"context"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/ledger"
)

func (c *Control) AskTechnologies(ctx context.Context, id ledger.ID) (Flow, error) {
	return get(ctx, c, act{action: "workflow.ask", target: id.String()}, func(ctx context.Context, who account.Caller) (Flow, error) {
		n, err := c.noun(ctx, who.Tenant, ledger.Workflow, id)
		if err != nil {
			return Flow{}, err
		}
		f, err := c.flow(ctx, who.Tenant, n)
		if err != nil {
			return f, err
		}
		if c.Engines == nil {
			return f, noDaemon("enabledTechnologies")
		}
		actx, cancel := context.WithTimeout(ctx, testWithin)
		defer cancel()
		if f.Technologies, err = c.Engines.Offers(actx, PoolName(f.Pool)); err != nil {
			return f, err
		}
		f.Asked = time.Now().UTC()
		if n.Managed { // there is nowhere to keep it, and nothing to change
			return f, nil
		}
		if err := encode(&n, f.WorkflowBody); err != nil {
			return f, err
		}
		f.Noun, err = c.setNoun(ctx, n)
		return f, err
	})
}

func (c *Control) UseWorkflow(ctx context.Context, storage, id ledger.ID) error {
	return c.do(ctx, act{action: "storage.set_workflow", target: storage.String(), detail: id.String()}, func(ctx context.Context, who account.Caller) error {
		n, err := c.own(ctx, who.Tenant, ledger.Unit, storage)
		if err != nil {
			return err
		}
		if id != (ledger.ID{}) {
			if _, err := c.noun(ctx, who.Tenant, ledger.Workflow, id); err != nil {
				return err
			}
		}
		body, err := decode[UnitBody](n)
		if err != nil {
			return err
		}
		body.Workflow = id
		if err := encode(&n, body); err != nil {
			return err
		}
		_, err = c.setNoun(ctx, n)
		return err
	})
}

// PlainDefault is the default workflow of tenants that have made no other one
// theirs, the default tenant aside.
// FileWorkflow is a workflow of the configuration file as a noun: what is shown
// of it. What it does can be more, and is what the file says.
