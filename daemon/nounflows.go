package daemon

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/workflow"
)

func filePoolID(name string) ledger.ID { return control.FileID(ledger.Pool, name) }

func poolKey(id ledger.ID) string { return control.PoolName(id) }

// readPools reads the pools that operators added. One without instances is none yet.
func (d *Daemon) readPools(ctx context.Context, n *nouns) error {
	list, err := d.db.Nouns(ctx, 0, ledger.Pool)
	if err != nil {
		return err
	}
	for _, noun := range list {
		spec, err := d.poolOf(noun)
		if err != nil {
			d.log.Error("a pool cannot be served", "pool", noun.Name, "err", err)
			continue
		}
		if len(spec.Instances) > 0 && !noun.Disabled {
			n.pools = append(n.pools, spec)
		}
	}
	return nil
}

// poolOf turns a pool into what opens it.
func (d *Daemon) poolOf(noun ledger.Noun) (poolSpec, error) {
	var body control.PoolBody
	if err := json.Unmarshal(noun.Body, &body); err != nil {
		return poolSpec{}, err
	}
	p := config.NewPool(control.UnitName(noun.Tenant, noun.Name))
	for _, in := range body.Instances {
		spec, err := control.SpecOf(d.seal, in)
		if err != nil {
			return poolSpec{}, err
		}
		p.Instances = append(p.Instances, instanceOf(spec))
	}
	return poolSpec{Pool: p, keys: []string{control.PoolName(noun.ID)}, lenient: true}, nil
}

func instanceOf(e control.EngineSpec) config.Instance {
	in := config.Instance{URL: e.URL, Timeout: e.Timeout}
	if e.APIKey != "" {
		in.APIKey = config.NewSecret(e.APIKey)
	}
	return in
}

// readWorkflows reads the workflows that operators made, and which of them is
// each tenant's default.
func (d *Daemon) readWorkflows(ctx context.Context, n *nouns, storages []ledger.Noun) error {
	list, err := d.db.Nouns(ctx, 0, ledger.Workflow)
	if err != nil {
		return err
	}
	units, err := d.db.Units(ctx)
	if err != nil {
		return err
	}
	of := map[int64][]ledger.Noun{}
	for _, s := range storages {
		of[s.Tenant] = append(of[s.Tenant], s)
	}
	for _, noun := range list {
		w, err := flowOf(noun, control.Places(noun.Tenant, units, of[noun.Tenant]))
		if err != nil {
			d.log.Error("a workflow cannot be served", "workflow", noun.Name, "err", err)
			continue
		}
		n.workflows[control.WorkflowName(noun.ID)] = w
	}
	return nil
}

// flowOf turns a workflow into what the pipeline does. A destination that is not
// there any more keeps a name that no storage has: what would go there is refused.
func flowOf(noun ledger.Noun, places map[ledger.ID]string) (workflow.Workflow, error) {
	var body control.WorkflowBody
	if err := json.Unmarshal(noun.Body, &body); err != nil {
		return workflow.Workflow{}, err
	}
	w, err := body.Workflow(noun.Name, func(id ledger.ID) string {
		if name := places[id]; name != "" {
			return name
		}
		return "storage:" + id.String()
	})
	if err != nil {
		return w, err
	}
	return w, w.Validate()
}

// flow names the workflow of a storage, by the tenant's default if it says none.
func (n *nouns) flow(ctx context.Context, d *Daemon, tenant int64, id ledger.ID) (name string, err error) {
	none := id == (ledger.ID{})
	if none {
		known, ok := n.defaults[tenant]
		if !ok {
			if known, err = control.TenantDefault(ctx, d.db, tenant); err != nil {
				return "", err
			}
			n.defaults[tenant] = known
		}
		id = known
	}
	name = control.WorkflowName(id)
	if tenant != account.DefaultTenant && id == control.FileID(ledger.Workflow, control.DefaultWorkflow) {
		name = plainDefault
		n.workflows[name] = control.PlainDefault()
	}
	if _, ok := n.workflows[name]; !ok {
		if none { // it went while it was made the default
			n.defaults[tenant] = control.FileID(ledger.Workflow, control.DefaultWorkflow)
			return n.flow(ctx, d, tenant, n.defaults[tenant])
		}
		return "", fmt.Errorf("there is no workflow %s", id)
	}
	return name, nil
}

// plainDefault is the name by which the pipeline knows control.PlainDefault.
const plainDefault = "workflow:plain"

// fileNouns are the nouns of a configuration file.
type fileNouns map[ledger.Kind][]ledger.Noun

// nounsOf shows the pools and workflows of a configuration file as nouns.
func nounsOf(c *config.Config, flows map[string]workflow.Workflow) (fileNouns, error) {
	f := fileNouns{}
	for _, p := range filePools(c) {
		var body control.PoolBody
		for _, in := range p.Instances {
			body.Instances = append(body.Instances, control.Instance{ID: control.FileID("instance", p.Name+" "+in.URL), URL: in.URL, Timeout: in.Timeout})
		}
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		f[ledger.Pool] = append(f[ledger.Pool], ledger.Noun{ID: filePoolID(p.Name), Tenant: account.DefaultTenant, Kind: ledger.Pool, Name: p.Name,
			Managed: true, Rev: 1, Body: text})
	}
	for _, name := range sortedFlows(flows) {
		w := flows[name]
		w.Name = name
		n, err := control.FileWorkflow(w)
		if err != nil {
			return nil, err
		}
		f[ledger.Workflow] = append(f[ledger.Workflow], n)
	}
	return f, nil
}

// fileNouns is control.Control.File.
func (d *Daemon) fileNouns(kind ledger.Kind) []ledger.Noun {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.filed[kind]
}
