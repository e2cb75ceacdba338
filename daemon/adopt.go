package daemon

import (
	"context"
	"errors"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/store"
)

// adopt lists in the ledger what lies in the vault and is in no row: objects
// that a killed process put away and did not come to write down. It returns
// how many there were.
func (v *vault) adopt(ctx context.Context) (adopted int, err error) {
	rows := map[string]bool{}
	for f := (store.QuarantineFilter{Limit: 1000}); ; {
		items, err := v.db.QuarantineList(ctx, f)
		if err != nil {
			return 0, err
		}
		for _, q := range items {
			rows[q.Object] = true
			f.After = q.ID
		}
		if len(items) < f.Limit {
			break
		}
	}
	var errs []error
	for it, err := range v.List(ctx) {
		if err != nil {
			return adopted, errors.Join(append(errs, err)...)
		}
		if rows[it.Key] {
			continue
		}
		h, err := v.Header(ctx, it)
		if fault.Is(err, fault.NotFound, fault.Changed) {
			continue
		}
		var entry ledger.ID
		if err == nil {
			err = entry.UnmarshalText([]byte(h.Entry))
		}
		var id int64
		if err == nil {
			id, err = v.unit(ctx, h.Unit)
		}
		if err != nil {
			errs = append(errs, fault.New(fault.Other, "daemon.Adopt", object.FormatKey(it.Key), err))
			continue
		}
		if _, err := v.db.QuarantinePut(ctx, ledger.QuarantineItem{Unit: id, Key: string(h.Key), Version: h.Version, SHA256: h.SHA256,
			Size: h.Size, Entry: entry, Place: v.place, Object: it.Key, Threat: h.Threat, At: h.At, Expires: h.Expiry}); err != nil {
			return adopted, err
		}
		adopted++
	}
	return adopted, errors.Join(errs...)
}

// unit returns the number of a unit by name.
func (v *vault) unit(ctx context.Context, name string) (int64, error) {
	u, err := v.db.Unit(ctx, name)
	return u.ID, err
}
