package control

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// NounStore keeps what operators set.
type NounStore interface {
	Nouns(ctx context.Context, tenant int64, kind ledger.Kind) ([]ledger.Noun, error)
	Noun(ctx context.Context, tenant int64, kind ledger.Kind, id ledger.ID) (ledger.Noun, error)
	NounNamed(ctx context.Context, tenant int64, kind ledger.Kind, name string) (ledger.Noun, error)
	AddNoun(ctx context.Context, n ledger.Noun) (ledger.Noun, error)
	SetNoun(ctx context.Context, n ledger.Noun) (ledger.Noun, error)
	DeleteNoun(ctx context.Context, tenant int64, kind ledger.Kind, id ledger.ID) error
}

// decode reads a noun's body.
func decode[T any](n ledger.Noun) (body T, err error) {
	if err := json.Unmarshal(n.Body, &body); err != nil {
		return body, fault.New(fault.Corrupt, "control", string(n.Kind)+" "+n.Name, err)
	}
	return body, nil
}

// encode writes a noun's body.
func encode(n *ledger.Noun, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fault.New(fault.Internal, "control", string(n.Kind)+" "+n.Name, err)
	}
	n.Body = b
	return nil
}

// errManaged is the refusal to change what the configuration file says.
var errManaged = errors.New("it stands in the configuration file: change it there")

// own returns a noun that may be changed here: fault.Denied if the configuration
// file manages it.
func (c *Control) own(ctx context.Context, tenant int64, kind ledger.Kind, id ledger.ID) (ledger.Noun, error) {
	n, err := c.Store.Noun(ctx, tenant, kind, id)
	if err == nil && n.Managed {
		return n, fault.New(fault.Denied, "control", string(kind)+" "+n.Name, errManaged)
	}
	return n, err
}

// addNoun writes a new noun and puts it into force: if that cannot be, it is as
// if it had never been asked for.
func (c *Control) addNoun(ctx context.Context, n ledger.Noun) (ledger.Noun, error) {
	c.changing.Lock()
	defer c.changing.Unlock()
	n, err := c.Store.AddNoun(ctx, n)
	if err != nil {
		return n, err
	}
	if err := c.apply(ctx); err != nil {
		undo := context.WithoutCancel(ctx)
		return n, errors.Join(err, c.Store.DeleteNoun(undo, n.Tenant, n.Kind, n.ID), c.apply(undo))
	}
	return n, nil
}

// setNoun changes a noun and puts it into force, or leaves it as it was.
func (c *Control) setNoun(ctx context.Context, n ledger.Noun) (ledger.Noun, error) {
	c.changing.Lock()
	defer c.changing.Unlock()
	before, err := c.Store.Noun(ctx, n.Tenant, n.Kind, n.ID)
	if err != nil {
		return n, err
	}
	set, err := c.Store.SetNoun(ctx, n)
	if err != nil {
		return n, err
	}
	if err := c.apply(ctx); err != nil {
		undo := context.WithoutCancel(ctx)
		before.Rev = set.Rev
		_, uerr := c.Store.SetNoun(undo, before)
		return n, errors.Join(err, uerr, c.apply(undo))
	}
	return set, nil
}

// removeNoun removes a noun and takes it out of force, or leaves it.
func (c *Control) removeNoun(ctx context.Context, n ledger.Noun) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	if err := c.Store.DeleteNoun(ctx, n.Tenant, n.Kind, n.ID); err != nil {
		return err
	}
	if err := c.apply(ctx); err != nil {
		undo := context.WithoutCancel(ctx)
		_, aerr := c.Store.AddNoun(undo, n)
		return errors.Join(err, aerr, c.apply(undo))
	}
	return nil
}

// apply makes the daemon serve what the nouns say now.
func (c *Control) apply(ctx context.Context) error {
	if c.Apply == nil {
		return nil // no daemon runs: the next start does
	}
	return c.Apply(ctx)
}
