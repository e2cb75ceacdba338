package control

import (
	"context"
	"encoding/json"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/workflow"
)

const DefaultWorkflow = "default"

const defaultSetting = "default_workflow"

func TenantDefault(ctx context.Context, s interface {
	NounNamed(ctx context.Context, tenant int64, kind ledger.Kind, name string) (ledger.Noun, error)
}, tenant int64) (ledger.ID, error) {
	n, err := s.NounNamed(ctx, tenant, ledger.Setting, defaultSetting)
	if fault.Is(err, fault.NotFound) {
		return FileID(ledger.Workflow, DefaultWorkflow), nil
	}
	if err != nil {
		return ledger.ID{}, err
	}
	set, err := decode[defaultBody](n)
	return set.Workflow, err
}

type defaultBody struct {
	Workflow ledger.ID `json:"default"`
}

func (c *Control) defaultPool(ctx context.Context, tenant int64) (ledger.ID, error) {
	id, err := TenantDefault(ctx, c.Store, tenant)
	if err != nil {
		return id, err
	}
	n, err := c.noun(ctx, tenant, ledger.Workflow, id)
	if fault.Is(err, fault.NotFound) { // no daemon runs, so nothing of the file is known
		return ledger.ID{}, nil
	}
	if err != nil {
		return ledger.ID{}, err
	}
	body, err := decode[WorkflowBody](n)
	return body.Pool, err
}

func (c *Control) SetDefaultWorkflow(ctx context.Context, id ledger.ID) error {
	return c.do(ctx, act{action: "workflow.set_default", target: id.String()}, func(ctx context.Context, who account.Caller) error {
		if _, err := c.noun(ctx, who.Tenant, ledger.Workflow, id); err != nil {
			return err
		}
		n, err := c.Store.NounNamed(ctx, who.Tenant, ledger.Setting, defaultSetting)
		there := err == nil
		if !there {
			n = ledger.Noun{Tenant: who.Tenant, Kind: ledger.Setting, Name: defaultSetting}
		}
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if err := encode(&n, defaultBody{id}); err != nil {
			return err
		}
		if there {
			_, err = c.setNoun(ctx, n)
		} else {
			_, err = c.addNoun(ctx, n)
		}
		return err
	})
}

func PlainDefault() workflow.Workflow {
	w := workflow.Report()
	w.Name = DefaultWorkflow
	return w
}

func FileWorkflow(w workflow.Workflow) (ledger.Noun, error) {
	n := ledger.Noun{ID: FileID(ledger.Workflow, w.Name), Tenant: account.DefaultTenant, Kind: ledger.Workflow, Name: w.Name, Managed: true, Rev: 1}
	pools := w.Pools
	if len(pools) == 0 {
		pools = []string{"default"}
	}
	b := WorkflowBody{Pool: FileID(ledger.Pool, pools[0]), UserAgent: w.UserAgent, Filters: w.Filters, Definition: w.Definition}
	if w.Failover != "" {
		b.Failover = FileID(ledger.Pool, w.Failover)
	}
	if w.Rule != "" {
		b.Rules = []string{w.Rule}
	}
	b.Remediations = remediationsOf(w)
	body, err := json.Marshal(b)
	n.Body = body
	return n, err
}
