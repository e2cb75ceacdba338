package control

import (
	"context"
	"errors"
	"regexp"
	"slices"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// StorageStore keeps what is known of units.
type StorageStore interface {
	UnitOf(ctx context.Context, tenant int64, client ledger.ID) (connectors.Unit, error)
	Scans(ctx context.Context, unit int64) ([]ledger.Scan, error)
	Acting(ctx context.Context, unit int64) (int64, error)
	RetireUnit(ctx context.Context, unit int64) (left int64, err error)
	ScanOf(ctx context.Context, unit int64, id ledger.ID) (ledger.Scan, error)
	LatestEntry(ctx context.Context, unit int64, key string, scan ledger.ID) (ledger.ID, error)
}

// Connect is how storages are reached.
type Connect interface {
	// Check says what is wrong with a unit's URL and options without calling
	// anybody: fault.Invalid, Unsupported or Denied.
	Check(u connectors.Unit) error
	// Try opens the unit, lists its first objects and closes it.
	Try(ctx context.Context, u connectors.Unit) error
	// Discover lists the places of an account.
	Discover(ctx context.Context, account connectors.Unit) ([]connectors.Found, error)
}

// A StorageSpec is what is said of a storage; nil leaves what is there.
type StorageSpec struct {
	Name        *string
	Vendor      *string // number or name
	Credentials *string // JSON, as the product's pages show it for each vendor
	File        *string // the credentials file
	Source      *string // JSON likewise
	Group       *ledger.ID
	Account     *ledger.ID
	Workflow    *ledger.ID
	Transfer    *bool
}

// AddStorage proves that a storage can be reached and adds it. fault.Exists if
// the name or the place is taken.
func (c *Control) AddStorage(ctx context.Context, s StorageSpec) (ledger.Noun, error) {
	return get(ctx, c, act{action: "storage.add", target: said(s.Name)}, func(ctx context.Context, who account.Caller) (ledger.Noun, error) {
		n := ledger.Noun{ID: ledger.NewID(), Tenant: who.Tenant, Kind: ledger.Unit}
		body := UnitBody{AddedBy: who.ID}
		u, err := c.settle(ctx, who, &n, &body, s)
		if err != nil {
			return n, err
		}
		return c.placed(ctx, n, u, c.addNoun)
	})
}

// SetStorage changes a storage; its credentials stay as far as s does not say them.
func (c *Control) SetStorage(ctx context.Context, id ledger.ID, s StorageSpec) (ledger.Noun, error) {
	return get(ctx, c, act{action: "storage.set", target: id.String()}, func(ctx context.Context, who account.Caller) (ledger.Noun, error) {
		n, err := c.ownStorage(ctx, who.Tenant, id)
		if err != nil {
			return n, err
		}
		body, err := decode[UnitBody](n)
		if err != nil {
			return n, err
		}
		u, err := c.settle(ctx, who, &n, &body, s)
		if err != nil {
			return n, err
		}
		return c.placed(ctx, n, u, c.setNoun)
	})
}

// ownStorage is own for storages: one of the configuration file is fault.Denied.
func (c *Control) ownStorage(ctx context.Context, tenant int64, id ledger.ID) (ledger.Noun, error) {
	n, err := c.own(ctx, tenant, ledger.Unit, id)
	if fault.Is(err, fault.NotFound) {
		if u, uerr := c.Store.UnitOf(ctx, tenant, id); uerr == nil && ofFile(u, tenant) {
			return n, fault.New(fault.Denied, "control", "unit "+u.Name, errManaged)
		}
	}
	return n, err
}

// settle takes what s says into a storage and proves that it can be reached. It
// returns the unit, nil if its place is the one it was.
func (c *Control) settle(ctx context.Context, who account.Caller, n *ledger.Noun, body *UnitBody, s StorageSpec) (u *connectors.Unit, err error) {
	name := said(s.Name)
	if s.Name == nil {
		name = n.Name
	}
	if n.Name, err = c.storageName(ctx, *n, name); err != nil {
		return nil, err
	}
	if s.Transfer != nil {
		body.Transfer = *s.Transfer
	}
	for _, l := range []struct {
		kind ledger.Kind
		said *ledger.ID
		to   *ledger.ID
	}{{ledger.Group, s.Group, &n.Parent}, {ledger.Account, s.Account, &body.Account}, {ledger.Workflow, s.Workflow, &body.Workflow}} {
		if l.said == nil {
			continue
		}
		if err := c.belongs(ctx, who.Tenant, l.kind, *l.said); err != nil {
			return nil, err
		}
		*l.to = *l.said
	}
	if n.Rev == 0 || s.Vendor != nil || s.Credentials != nil || s.File != nil || s.Source != nil || s.Account != nil {
		if u, err = c.locate(ctx, who, *n, body, s); err != nil {
			return nil, err
		}
	}
	return u, encode(n, body)
}

// placed writes a storage, if the place of its unit is free still.
func (c *Control) placed(ctx context.Context, n ledger.Noun, u *connectors.Unit, write func(context.Context, ledger.Noun) (ledger.Noun, error)) (ledger.Noun, error) {
	c.placing.Lock()
	defer c.placing.Unlock()
	if u != nil {
		if err := c.free(ctx, *u); err != nil {
			return n, err
		}
	}
	return write(ctx, n)
}

// belongs says that the noun of a kind is the tenant's; zero means none.
func (c *Control) belongs(ctx context.Context, tenant int64, kind ledger.Kind, id ledger.ID) error {
	if id == (ledger.ID{}) {
		return nil
	}
	_, err := c.noun(ctx, tenant, kind, id)
	if fault.Is(err, fault.NotFound) {
		return fault.New(fault.Invalid, "control.Storage", "", errors.New("there is no such "+string(kind)))
	}
	return err
}

// foreign matches names that are those of other tenants' units in the ledger.
var foreign = regexp.MustCompile(`^tenant-[0-9]+:`)

// storageName checks a storage's name against all that is served.
func (c *Control) storageName(ctx context.Context, n ledger.Noun, name string) (string, error) {
	name, err := named("control.Storage", name, maxName)
	if err != nil || name == n.Name {
		return name, err
	}
	if name == QuarantineUnit || foreign.MatchString(name) {
		return name, fault.New(fault.Invalid, "control.Storage", name, errors.New("this name is taken by landwaiter itself"))
	}
	units, err := c.served(ctx)
	if err != nil {
		return name, err
	}
	if taken(units, n, name) {
		return name, fault.New(fault.Exists, "control.Storage", name, errors.New("there is a storage of this name"))
	}
	return name, nil
}

// taken reports whether one of the units has the name that a storage wants.
func taken(units []connectors.Unit, n ledger.Noun, name string) bool {
	return slices.ContainsFunc(units, func(u connectors.Unit) bool { return u.Name == UnitName(n.Tenant, name) && u.Client != n.ID })
}

// served lists the units of all tenants that are in use.
func (c *Control) served(ctx context.Context) ([]connectors.Unit, error) {
	units, err := c.Store.Units(ctx)
	return slices.DeleteFunc(units, func(u connectors.Unit) bool { return u.Disabled }), err
}

func said(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
