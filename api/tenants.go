package api

import (
	"context"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
)

// A Tenant is a customer whose storages and users nobody else sees.
type Tenant struct {
	ID           string    `json:"id" format:"uuid"`
	CustomerName string    `json:"customerName" example:"Example Ltd"`
	CreatedAt    time.Time `json:"createdAt"`
	LastUpdated  time.Time `json:"lastUpdated"`
}

func tenantOf(t ledger.Tenant) Tenant {
	return Tenant{ID: t.ID.String(), CustomerName: t.Name, CreatedAt: t.Created.UTC(), LastUpdated: t.Changed.UTC()}
}

// A TenantID is the tenant that a path names.
type TenantID struct {
	ID ID `path:"tenantId" doc:"The tenant's id."`
}

type tenantName struct {
	CustomerName string `json:"customerName" minLength:"1" maxLength:"255" pattern:"\\S" example:"Example Ltd"`
}

type tenantEntry struct {
	Body struct {
		Envelope
		Tenant Tenant `json:"tenant"`
	}
}

func answerTenant(t ledger.Tenant) *tenantEntry {
	out := &tenantEntry{}
	out.Body.Envelope, out.Body.Tenant = done(), tenantOf(t)
	return out
}

type tenantList struct {
	Body struct {
		Envelope
		Tenants []Tenant `json:"tenants"`
	}
}

func (a *API) tenants() {
	const tag, path = "Tenants", "/api/tenant"
	register(a, Op{ID: "listTenants", Method: "GET", Path: path, Action: "tenant.list", Tag: tag, Summary: "Fetch all tenants"},
		func(ctx context.Context, _ *struct{}) (*tenantList, error) {
			list, err := a.c.Tenants(ctx)
			out := &tenantList{}
			out.Body.Envelope, out.Body.Tenants = done(), make([]Tenant, 0, len(list))
			for _, t := range list {
				out.Body.Tenants = append(out.Body.Tenants, tenantOf(t))
			}
			return out, err
		})
	register(a, Op{ID: "addTenant", Method: "POST", Path: path, Action: "tenant.add", Tag: tag, Summary: "Add a tenant", Errors: []int{409, 429}},
		func(ctx context.Context, in *struct{ Body tenantName }) (*tenantEntry, error) {
			t, err := a.c.AddTenant(ctx, in.Body.CustomerName)
			return answerTenant(t), err
		})
	register(a, Op{ID: "getTenant", Method: "GET", Path: path + "/{tenantId}", Action: "tenant.list", Tag: tag, Summary: "Fetch a tenant by its id", Errors: []int{404}},
		func(ctx context.Context, in *TenantID) (*tenantEntry, error) {
			t, err := a.c.Tenant(ctx, in.ID.ID)
			return answerTenant(t), err
		})
	register(a, Op{ID: "updateTenant", Method: "PUT", Path: path + "/{tenantId}", Action: "tenant.set", Tag: tag, Summary: "Update a tenant", Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			TenantID
			Body tenantName
		}) (*tenantEntry, error) {
			t, err := a.c.SetTenant(ctx, in.ID.ID, in.Body.CustomerName)
			return answerTenant(t), err
		})
	register(a, Op{ID: "deleteTenant", Method: "DELETE", Path: path + "/{tenantId}", Action: "tenant.remove", Tag: tag, Summary: "Delete a tenant",
		About: "A tenant with users, storages or settings is not deleted, nor is the one that there is from the start.", Errors: []int{404, 409}},
		func(ctx context.Context, in *TenantID) (*tenantEntry, error) {
			t, err := a.c.RemoveTenant(ctx, in.ID.ID)
			return answerTenant(t), err
		})
}
