package control

import (
	"context"
	"slices"
	"strings"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// A StorageFilter selects storages and a page of them; nil does not restrict.
type StorageFilter struct {
	Search string // part of the name
	Vendor *int
	Status *StorageStatus
	Down   bool // from the last name to the first
	Start  int
	Count  int
}

// EnumerateStorages returns a page of the storages that the filter selects, and
// how many it selects in all.
func (c *Control) EnumerateStorages(ctx context.Context, f StorageFilter) ([]StorageView, int, error) {
	list, err := c.AllStorages(ctx)
	if err != nil {
		return nil, 0, err
	}
	search := strings.ToLower(f.Search)
	list = slices.DeleteFunc(list, func(v StorageView) bool {
		return !strings.Contains(strings.ToLower(v.Name), search) || f.Vendor != nil && v.Vendor.Number != *f.Vendor || f.Status != nil && v.Status != *f.Status
	})
	if f.Down {
		slices.Reverse(list)
	}
	from := min(f.Start, len(list))
	return list[from : from+min(f.Count, len(list)-from)], len(list), nil
}

// StorageUsers lists who may work with a storage: the users of its tenant whose
// name or login has filter in it.
func (c *Control) StorageUsers(ctx context.Context, id ledger.ID, filter string) ([]account.User, error) {
	return get(ctx, c, act{action: "storage.list", target: id.String()}, func(ctx context.Context, who account.Caller) ([]account.User, error) {
		if _, err := c.storage(ctx, who.Tenant, id); err != nil {
			return nil, err
		}
		list, err := c.Store.Users(ctx, who.Tenant)
		filter := strings.ToLower(filter)
		return slices.DeleteFunc(list, func(u account.User) bool {
			return u.Role == account.None || !strings.Contains(strings.ToLower(u.Name), filter) && !strings.Contains(strings.ToLower(u.Login), filter)
		}), err
	})
}

// StorageUser returns one of StorageUsers, fault.NotFound if it is none.
func (c *Control) StorageUser(ctx context.Context, storage, user ledger.ID) (account.User, error) {
	list, err := c.StorageUsers(ctx, storage, "")
	if err != nil {
		return account.User{}, err
	}
	if i := slices.IndexFunc(list, func(u account.User) bool { return u.ID == user }); i >= 0 {
		return list[i], nil
	}
	return account.User{}, fault.New(fault.NotFound, "control.StorageUser", "user", nil)
}

// Modules lists the protocols that there are connectors for.
func (c *Control) Modules(ctx context.Context) ([]int, error) {
	return get(ctx, c, act{action: "module.list"}, func(context.Context, account.Caller) ([]int, error) { return EnabledModules(), nil })
}
