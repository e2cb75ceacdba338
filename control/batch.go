package control

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// Bounds on storages that are added together.
const (
	MaxBatch    = 100
	batchAtOnce = 8
	batchKept   = 24 * time.Hour
	batchName   = "storage-batch:" // of the settings that keep what became of one
)

// A Batch is what became of storages that were added together.
type Batch struct {
	Token   ledger.ID     `json:"token"`
	Results []BatchResult `json:"results"`
}

// A BatchResult is what became of one of them.
type BatchResult struct {
	Name    string    `json:"name"`
	Storage ledger.ID `json:"storage,omitzero"` // zero if it was not added
	Kind    string    `json:"kind,omitempty"`   // of the error
	Why     string    `json:"why,omitempty"`
}

// AddStorages adds each storage by itself: one that cannot be added does not
// keep the others. What became of them is kept for a day.
func (c *Control) AddStorages(ctx context.Context, specs []StorageSpec) (b Batch, err error) {
	if err := Allowed(ctx, "storage.add"); err != nil {
		return b, err
	}
	if len(specs) == 0 || len(specs) > MaxBatch {
		return b, fault.New(fault.Invalid, "control.AddStorages", "", errors.New("want 1 to 100 storages"))
	}
	who, _ := account.From(ctx)
	b = Batch{Token: ledger.NewID(), Results: make([]BatchResult, len(specs))}
	var g errgroup.Group
	g.SetLimit(batchAtOnce)
	for i, s := range specs {
		g.Go(func() error {
			r := &b.Results[i]
			r.Name = said(s.Name)
			n, err := c.AddStorage(ctx, s)
			if err != nil {
				r.Kind, r.Why = fault.KindOf(err).String(), spoken(err)
				return nil //nolint:nilerr // it is in the results
			}
			r.Storage = n.ID
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return b, err
	}
	keep := context.WithoutCancel(ctx) // some may be added already: that is told even if nobody waits
	if err := c.dropBatches(keep, who.Tenant); err != nil {
		return b, err
	}
	n := ledger.Noun{Tenant: who.Tenant, Kind: ledger.Setting, Name: batchName + b.Token.String()}
	if err := encode(&n, b); err != nil {
		return b, err
	}
	_, err = c.Store.AddNoun(keep, n)
	return b, err
}

// dropBatches forgets what became of older ones.
func (c *Control) dropBatches(ctx context.Context, tenant int64) error {
	list, err := c.Store.Nouns(ctx, tenant, ledger.Setting)
	if err != nil {
		return err
	}
	for _, n := range list {
		if strings.HasPrefix(n.Name, batchName) && time.Since(n.Created) > batchKept {
			if err := c.Store.DeleteNoun(ctx, tenant, ledger.Setting, n.ID); err != nil && !fault.Is(err, fault.NotFound) {
				return err
			}
		}
	}
	return nil
}

// StorageBatch tells what became of storages that were added together.
func (c *Control) StorageBatch(ctx context.Context, token ledger.ID) (Batch, error) {
	return get(ctx, c, act{action: "storage.list", target: token.String()}, func(ctx context.Context, who account.Caller) (Batch, error) {
		n, err := c.Store.NounNamed(ctx, who.Tenant, ledger.Setting, batchName+token.String())
		if err != nil {
			return Batch{}, fault.New(fault.Other, "control.StorageBatch", "", err)
		}
		return decode[Batch](n)
	})
}
