package api

import (
	"context"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
)

// enumeration is how storages are listed in pages.
type enumeration struct {
	Start  string `path:"startIndex" maxLength:"10" pattern:"^[0-9]+$" example:"0"`
	Count  string `path:"count" maxLength:"10" pattern:"^[0-9]+$" example:"50"`
	Order  string `query:"sortingOrder" maxLength:"10" doc:"Of the names: asc (or 0), desc (or 1)." example:"asc"`
	Search string `query:"search" maxLength:"255" doc:"A part of the name, whatever its case."`
	Vendor string `query:"storageType" maxLength:"40" doc:"A storageVendorType. Empty: all."`
	Status string `query:"storageStatus" maxLength:"10" doc:"0 available, 1 unavailable, 2 degraded. Empty: all."`
}

// StorageUser is somebody who may work with a storage.
type StorageUser struct {
	ID       string `json:"id"`
	FullName string `json:"fullName"`
}

func storageUserOf(u account.User) StorageUser {
	return StorageUser{ID: u.ID.String(), FullName: u.Name}
}

type userName struct {
	Body struct {
		Envelope
		UserName string `json:"userName"`
	}
}

func (a *API) storageLists() {
	const tag = "Storages"
	register(a, Op{ID: "enumerateStorages", Method: "GET", Path: "/api/storage/enumerate/{startIndex}/{count}", Action: "storage.list", Tag: tag,
		Summary: "Fetch all storage units by filters (storage type or status)"},
		func(ctx context.Context, in *enumeration) (*entries[Storage], error) {
			e, err := in.filter()
			if err != nil {
				return nil, err
			}
			list, total, err := a.c.EnumerateStorages(ctx, e)
			out := listed(list, storageOf)
			out.Body.TotalCount = int64(total)
			return out, err
		})
	register(a, Op{ID: "listStorageUsers", Method: "GET", Path: "/api/storage/{storageId}/users", Action: "storage.list", Tag: tag, Summary: "Fetch storage users",
		About: "Those who may work with the storage: the users of its tenant.", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			StorageRef
			Filter string `query:"filter" maxLength:"255" doc:"A part of the name or the login."`
		}) (*entries[StorageUser], error) {
			list, err := a.c.StorageUsers(ctx, in.StorageID.ID, in.Filter)
			return listed(list, storageUserOf), err
		})
	name := func(ctx context.Context, storage, user ID) (*userName, error) {
		u, err := a.c.StorageUser(ctx, storage.ID, user.ID)
		out := &userName{}
		out.Body.Envelope, out.Body.UserName = done(), u.Name
		return out, err
	}
	register(a, Op{ID: "getStorageUser", Method: "GET", Path: "/api/storage/{storageId}/user", Action: "storage.list", Tag: tag, Summary: "Retrieve storage user name", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			StorageRef
			UserID ID `query:"userId"`
		}) (*userName, error) {
			return name(ctx, in.StorageID, in.UserID)
		})
	register(a, Op{ID: "getStorageUserByPath", Method: "GET", Path: "/api/storage/{storageId}/{userId}", Action: "storage.list", Tag: tag, Summary: "Retrieve storage user name", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			StorageRef
			UserID ID `path:"userId"`
		}) (*userName, error) {
			return name(ctx, in.StorageID, in.UserID)
		})
	one := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[storageFields](), true, "")
	most := control.MaxBatch
	many := &huma.Schema{Type: huma.TypeArray, Items: one, MaxItems: &most}
	register(a, Op{ID: "addStorages", Method: "POST", Path: "/api/storage/batch", Action: "storage.add", Tag: tag, Summary: "Add batch of storages",
		About: "An array of what POST /api/storage takes, or an object that holds it as storages. What became of each, GET /api/storage/results tells for a day.", Errors: []int{503}, Change: a.readsItself(many, true)},
		func(ctx context.Context, in *batchInput) (*batchAnswer, error) {
			specs, err := in.specs(a)
			if err != nil {
				return nil, err
			}
			b, err := a.c.AddStorages(ctx, specs)
			return batched(b), err
		})
	register(a, Op{ID: "getStorageBatch", Method: "GET", Path: "/api/storage/results", Action: "storage.list", Tag: tag, Summary: "Get batch of add storages results", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			Token ID `query:"token" doc:"The storageId of POST /api/storage/batch."`
		}) (*batchAnswer, error) {
			b, err := a.c.StorageBatch(ctx, in.Token.ID)
			return batched(b), err
		})
	register(a, Op{ID: "listModules", Method: "GET", Path: "/api/configuration/enabledModules", Action: "module.list", Tag: "Configuration", Summary: "Get enabled modules",
		About: "The storage protocols that there are connectors for: 0 Amazon's SDK, 3 SMB, 5 Azure Blob, 7 Google Cloud, 100 local folders."},
		func(ctx context.Context, _ *struct{}) (*modules, error) {
			list, err := a.c.Modules(ctx)
			out := &modules{}
			out.Body.Envelope, out.Body.EnabledModules = done(), list
			return out, err
		})
}

type modules struct {
	Body struct {
		Envelope
		EnabledModules []int `json:"enabledModules" maxItems:"100"`
	}
}

// filter turns the words of the query into control's.
func (e *enumeration) filter() (f control.StorageFilter, err error) {
	f.Start, f.Count, f.Search = number(e.Start), number(e.Count), e.Search
	f.Down = slices.Contains([]string{"1", "desc", "descending"}, strings.ToLower(e.Order))
	if e.Vendor != "" {
		v, err := control.ParseVendor(e.Vendor)
		if err != nil {
			return f, err
		}
		f.Vendor = &v.Number
	}
	if e.Status != "" {
		s := control.StorageStatus(number(e.Status))
		f.Status = &s
	}
	return f, nil
}
