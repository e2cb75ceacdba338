package control

import (
	"context"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/ledger"
)

// TenantStore keeps tenants.
type TenantStore interface {
	Tenants(ctx context.Context) ([]ledger.Tenant, error)
	Tenant(ctx context.Context, id ledger.ID) (ledger.Tenant, error)
	AddTenant(ctx context.Context, name string, most int) (ledger.Tenant, error)
	SetTenant(ctx context.Context, id ledger.ID, name string) error
	DeleteTenant(ctx context.Context, id ledger.ID) error
}

// maxTenants bounds the tenants of one installation.
const maxTenants = 10_000

// Tenants lists all tenants by name.
func (c *Control) Tenants(ctx context.Context) ([]ledger.Tenant, error) {
	return get(ctx, c, act{action: "tenant.list"}, func(ctx context.Context, _ account.Caller) ([]ledger.Tenant, error) {
		return c.Store.Tenants(ctx)
	})
}

// Tenant returns a tenant, fault.NotFound if there is none.
func (c *Control) Tenant(ctx context.Context, id ledger.ID) (ledger.Tenant, error) {
	return get(ctx, c, act{action: "tenant.list", target: id.String()}, func(ctx context.Context, _ account.Caller) (ledger.Tenant, error) {
		return c.Store.Tenant(ctx, id)
	})
}

// AddTenant makes a tenant. fault.Exists if there is one of the name.
func (c *Control) AddTenant(ctx context.Context, name string) (ledger.Tenant, error) {
	return get(ctx, c, act{action: "tenant.add", target: clip(name)}, func(ctx context.Context, _ account.Caller) (ledger.Tenant, error) {
		name, err := named("control.AddTenant", name, maxName)
		if err != nil {
			return ledger.Tenant{}, err
		}
		return c.Store.AddTenant(ctx, name, maxTenants)
	})
}

// SetTenant gives a tenant another name.
func (c *Control) SetTenant(ctx context.Context, id ledger.ID, name string) (ledger.Tenant, error) {
	return get(ctx, c, act{action: "tenant.set", target: id.String()}, func(ctx context.Context, _ account.Caller) (ledger.Tenant, error) {
		name, err := named("control.SetTenant", name, maxName)
		if err == nil {
			err = c.Store.SetTenant(ctx, id, name)
		}
		if err != nil {
			return ledger.Tenant{}, err
		}
		return c.Store.Tenant(ctx, id)
	})
}

// RemoveTenant removes a tenant to which nothing belongs: fault.Exists if
// something does.
func (c *Control) RemoveTenant(ctx context.Context, id ledger.ID) (ledger.Tenant, error) {
	return get(ctx, c, act{action: "tenant.remove", target: id.String()}, func(ctx context.Context, _ account.Caller) (ledger.Tenant, error) {
		t, err := c.Store.Tenant(ctx, id)
		if err != nil {
			return t, err
		}
		return t, c.Store.DeleteTenant(ctx, id)
	})
}
