package daemon

import (
	"context"
	"errors"
	"fmt"

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
	workflows map[string]workflow.Workflow  // by control.WorkflowName
}

// readNouns reads them. What cannot be served, because a sealed secret does not
// open or the place makes no sense, is left out and logged: it must not keep the
// rest from being served.
func (d *Daemon) readNouns(ctx context.Context) (*nouns, error) {
	n := &nouns{realTime: map[string][]control.RealTime{}, workflows: map[string]workflow.Workflow{}}
	units, err := d.db.Nouns(ctx, 0, ledger.Unit)
	if err != nil {
		return nil, err
	}
	accounts, err := d.readAccounts(ctx)
	if err != nil {
		return nil, err
	}
	for _, noun := range units {
		if noun.Managed || noun.Disabled {
			continue
		}
		u, body, err := d.unitOf(noun, accounts)
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
func (d *Daemon) unitOf(noun ledger.Noun, accounts map[ledger.ID]control.AccountBody) (connectors.Unit, control.UnitBody, error) {
	body, err := control.Unseal(d.seal, noun)
	if err != nil {
		return connectors.Unit{}, body, err
	}
	u := connectors.Unit{Client: noun.ID, Tenant: noun.Tenant, Name: control.UnitName(noun.Tenant, noun.Name), URL: body.URL, Options: body.Options,
		SweepEvery: body.Sweep, ReadOnly: body.ReadOnly, Exclude: []string{abs(d.o.Config.Data), d.quarantineDir()}}
	if body.Workflow != (ledger.ID{}) {
		u.Workflow = control.WorkflowName(body.Workflow)
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
