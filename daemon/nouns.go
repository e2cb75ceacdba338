package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/workflow"
)

// nouns are what operators set over the API, as the daemon serves it beside the
// configuration file.
type nouns struct {
	units     []connectors.Unit
	realTime  map[string][]control.RealTime // by the unit's name
	pools     []poolSpec
	workflows map[string]workflow.Workflow // by control.WorkflowName, those of the file by their names too
	defaults  map[int64]ledger.ID          // each tenant's workflow, as far as somebody asked
	file      fileNouns
}

// readNouns reads them. What cannot be served, because a sealed secret does not
// open or the place makes no sense, is left out and logged: it must not keep the
// rest from being served.
func (d *Daemon) readNouns(ctx context.Context, c *config.Config) (*nouns, error) {
	flows, err := workflows(c)
	if err != nil {
		return nil, err
	}
	n := &nouns{realTime: map[string][]control.RealTime{}, workflows: flows, defaults: map[int64]ledger.ID{}}
	if n.file, err = nounsOf(c, flows); err != nil {
		return nil, err
	}
	for _, w := range n.file[ledger.Workflow] {
		flows[control.WorkflowName(w.ID)] = flows[w.Name]
	}
	units, err := d.db.Nouns(ctx, 0, ledger.Unit)
	if err != nil {
		return nil, err
	}
	accounts, err := d.readAccounts(ctx)
	if err = errors.Join(err, d.readPools(ctx, n), d.readWorkflows(ctx, n, units)); err != nil {
		return nil, err
	}
	for _, noun := range units {
		if noun.Managed || noun.Disabled {
			continue
		}
		u, body, err := d.unitOf(ctx, n, noun, accounts)
		if err != nil {
			d.log.Error("a storage cannot be served", "unit", noun.Name, "err", err)
			continue
		}
		n.units = append(n.units, u)
		n.realTime[u.Name] = body.RealTime
	}
	return n, nil
}

// readAccounts reads the credentials that storages share, by the account's id.
// What does not open is left out: its storages say so.
func (d *Daemon) readAccounts(ctx context.Context) (map[ledger.ID]control.AccountBody, error) {
	list, err := d.db.Nouns(ctx, 0, ledger.Account)
	accounts := map[ledger.ID]control.AccountBody{}
	for _, noun := range list {
		a, err := control.UnsealAccount(d.seal, noun)
		if err != nil {
			d.log.Error("an account cannot be used", "account", noun.Name, "err", err)
			continue
		}
		accounts[noun.ID] = a
	}
	return accounts, err
}

// unitOf turns a storage into connectors' words.
func (d *Daemon) unitOf(ctx context.Context, n *nouns, noun ledger.Noun, accounts map[ledger.ID]control.AccountBody) (connectors.Unit, control.UnitBody, error) {
	body, err := control.Unseal(d.seal, noun)
	if err != nil {
		return connectors.Unit{}, body, err
	}
	u := connectors.Unit{Client: noun.ID, Tenant: noun.Tenant, Name: control.UnitName(noun.Tenant, noun.Name), URL: body.URL, Options: body.Options,
		SweepEvery: body.Sweep, ReadOnly: body.ReadOnly, Exclude: []string{abs(d.o.Config.Data), d.quarantineDir()}}
	if u.Workflow, err = n.flow(ctx, d, noun.Tenant, body.Workflow); err != nil {
		return u, body, err
	}
	if u.SweepEvery == 0 {
		u.SweepEvery = sweepPolled
		switch {
		case all.Scheme(u.URL) == "file":
			u.SweepEvery = sweepLocal
		case body.Pushed():
			u.SweepEvery = sweepPushed
		}
	}
	if body.Account != (ledger.ID{}) {
		a, ok := accounts[body.Account]
		if !ok {
			return u, body, fault.New(fault.NotFound, "daemon.Units", u.Name, errors.New("its account is not there"))
		}
		u = Inherit(u, a.URL, a.Options)
	}
	return u, body, all.Check(u)
}

// beside adds the units of operators to those of the configuration file, except
// for those that the file's stand in the way of.
func (n *nouns) beside(units []connectors.Unit, refuse func(unit string, err error)) []connectors.Unit {
	for _, u := range n.units {
		err := connectors.Overlap(append(units[:len(units):len(units)], u))
		for _, other := range units {
			if other.Name == u.Name {
				err = errors.Join(err, fmt.Errorf("there is a unit %s", u.Name))
			}
		}
		if err != nil {
			refuse(u.Name, err)
			continue
		}
		units = append(units, u)
	}
	return units
}
