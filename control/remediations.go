package control

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// A FlowRemediation is a remediation with the workflow that it is of.
type FlowRemediation struct {
	Remediation
	Workflow ledger.ID
}

// Remediations lists those of one of the caller's workflows.
func (c *Control) Remediations(ctx context.Context, id ledger.ID) ([]FlowRemediation, error) {
	return get(ctx, c, act{action: "workflow.list", target: id.String()}, func(ctx context.Context, who account.Caller) ([]FlowRemediation, error) {
		n, err := c.noun(ctx, who.Tenant, ledger.Workflow, id)
		if err != nil {
			return nil, err
		}
		return remediationsIn(n)
	})
}

func remediationsIn(n ledger.Noun) ([]FlowRemediation, error) {
	body, err := decode[WorkflowBody](n)
	list := make([]FlowRemediation, 0, len(body.Remediations))
	for _, r := range body.Remediations {
		list = append(list, FlowRemediation{r, n.ID})
	}
	return list, err
}

// Remediation returns one of the caller's, fault.NotFound if there is none.
func (c *Control) Remediation(ctx context.Context, id ledger.ID) (FlowRemediation, error) {
	return get(ctx, c, act{action: "workflow.list", target: id.String()}, func(ctx context.Context, who account.Caller) (FlowRemediation, error) {
		_, r, err := c.remediation(ctx, who.Tenant, id)
		return r, err
	})
}

// remediation finds one in the workflow that it is of.
func (c *Control) remediation(ctx context.Context, tenant int64, id ledger.ID) (ledger.Noun, FlowRemediation, error) {
	list, err := c.nouns(ctx, tenant, ledger.Workflow)
	if err != nil {
		return ledger.Noun{}, FlowRemediation{}, err
	}
	for _, n := range list {
		of, err := remediationsIn(n)
		if err != nil {
			return n, FlowRemediation{}, err
		}
		for _, r := range of {
			if r.ID == id {
				return n, r, nil
			}
		}
	}
	return ledger.Noun{}, FlowRemediation{}, fault.New(fault.NotFound, "control.Remediation", "remediation", nil)
}

// AddRemediation adds one to a workflow. A handling of nil is the one that the
// type has by itself.
func (c *Control) AddRemediation(ctx context.Context, flow ledger.ID, r Remediation, handling *int) (FlowRemediation, error) {
	return get(ctx, c, act{action: "workflow.add_remediation", target: flow.String()}, func(ctx context.Context, who account.Caller) (FlowRemediation, error) {
		n, body, err := c.ownFlow(ctx, who.Tenant, flow)
		if err != nil {
			return FlowRemediation{}, err
		}
		r.ID = ledger.NewID()
		if fit := suits[r.Type]; handling == nil && len(fit) > 0 {
			handling = &fit[0]
		}
		set(&r.Handling, handling)
		body.Remediations = append(body.Remediations, r)
		return FlowRemediation{r, flow}, c.putFlow(ctx, n, body)
	})
}

// A RemediationChange is what is to be another; nil stays as it is.
type RemediationChange struct {
	Workflow      *ledger.ID // that it must be of
	Enabled       *bool
	Type          *int
	Handling      *int
	Configuration *string
}

// SetRemediation changes a remediation.
func (c *Control) SetRemediation(ctx context.Context, id ledger.ID, ch RemediationChange) error {
	return c.do(ctx, act{action: "workflow.set_remediation", target: id.String()}, func(ctx context.Context, who account.Caller) error {
		return c.editRemediation(ctx, who.Tenant, id, func(b *WorkflowBody, i int, flow ledger.ID) error {
			if ch.Workflow != nil && *ch.Workflow != flow {
				return fault.New(fault.Invalid, "control.SetRemediation", "", errors.New("workflowId: a remediation stays with its workflow"))
			}
			r := &b.Remediations[i]
			set(&r.Enabled, ch.Enabled)
			if ch.Type != nil && *ch.Type != r.Type {
				r.Type, r.Configuration = *ch.Type, nil
				if fit := suits[r.Type]; ch.Handling == nil && len(fit) > 0 {
					r.Handling = fit[0]
				}
			}
			set(&r.Handling, ch.Handling)
			if ch.Configuration != nil {
				r.Configuration = []byte(*ch.Configuration)
			}
			return nil
		})
	})
}

// RemoveRemediation takes a remediation out of its workflow.
func (c *Control) RemoveRemediation(ctx context.Context, id ledger.ID) error {
	return c.do(ctx, act{action: "workflow.remove_remediation", target: id.String()}, func(ctx context.Context, who account.Caller) error {
		return c.editRemediation(ctx, who.Tenant, id, func(b *WorkflowBody, i int, _ ledger.ID) error {
			b.Remediations = slices.Delete(b.Remediations, i, i+1)
			return nil
		})
	})
}

func (c *Control) editRemediation(ctx context.Context, tenant int64, id ledger.ID, f func(b *WorkflowBody, i int, flow ledger.ID) error) error {
	n, _, err := c.remediation(ctx, tenant, id)
	if err != nil {
		return err
	}
	n, body, err := c.ownFlow(ctx, tenant, n.ID)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(body.Remediations, func(r Remediation) bool { return r.ID == id })
	if i < 0 {
		return fault.New(fault.NotFound, "control.Remediation", "remediation", nil)
	}
	if err := f(&body, i, n.ID); err != nil {
		return err
	}
	return c.putFlow(ctx, n, body)
}

// putFlow checks a workflow's body and puts it into force.
func (c *Control) putFlow(ctx context.Context, n ledger.Noun, body WorkflowBody) error {
	for i, r := range body.Remediations { // text that is no JSON would not be kept
		if _, err := ParseConfiguration(r.Configuration); err != nil {
			return err
		}
		if len(r.Configuration) > maxConfiguration {
			return wrongConfiguration(fmt.Errorf("is over %d bytes", maxConfiguration))
		}
		if len(r.Configuration) == 0 {
			body.Remediations[i].Configuration = nil
		}
	}
	if err := c.encodeFlow(ctx, &n, body); err != nil {
		return err
	}
	_, err := c.setNoun(ctx, n)
	return err
}

// maxConfiguration bounds the text of a remediation's configuration, in bytes.
const maxConfiguration = 16 << 10
