package daemon

import (
	"context"
	"io"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/remediation/quarantine"
	"github.com/landwaiter/landwaiter/store"
)

// A vault keeps objects and lists them in the ledger. The row is written after
// the object is durable and before the step is recorded: a step that runs again
// finds both.
type vault struct {
	*quarantine.Vault
	db    *store.DB
	place int64 // the vault's unit
}

// Store implements remediation.Vault.
func (v *vault) Store(ctx context.Context, c remediation.Caught, r io.Reader) (string, error) {
	version, err := v.Vault.Store(ctx, c, r)
	if err != nil {
		return "", err
	}
	var entry ledger.ID
	if err := entry.UnmarshalText([]byte(c.Entry)); err != nil {
		return "", err
	}
	u, err := v.db.Unit(ctx, c.Unit)
	if err != nil {
		return "", err
	}
	_, err = v.db.QuarantinePut(ctx, ledger.QuarantineItem{Unit: u.ID, Key: c.Key, Version: c.Version, SHA256: c.SHA256, Size: c.Size,
		Entry: entry, Place: v.place, Object: c.Name, Threat: c.Threat, At: c.At, Expires: c.Expiry})
	return version, err
}
