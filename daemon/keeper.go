package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/seal"
	"github.com/landwaiter/landwaiter/store"
)

// openSeal opens the box that keeps operators' secrets, with the key of the
// configuration or else of the data folder.
func openSeal(c *config.Config) (*seal.Box, error) {
	var key, old []byte
	var err error
	if text := c.EncryptionKey.Reveal(); text != "" {
		key, err = seal.ParseKey(text)
	} else {
		key, old, err = seal.Load(c.Data)
	}
	box := &seal.Box{}
	if err == nil {
		err = box.Turn(key, old)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "daemon.Open", "", fmt.Errorf("encryption key: %w", err))
	}
	return box, nil
}

// A keeper keeps the key in the data folder.
type keeper struct {
	dir    string
	given  bool // by the configuration
	shared bool // by nodes on one database
	box    *seal.Box
	db     *store.DB
}

// Rotate makes a new key: it is on disk, with the old one behind it, before
// anything is sealed with it, and the old one goes when nothing needs it. A
// crash in between leaves both, and the next start goes on.
func (k *keeper) Rotate(ctx context.Context) error {
	switch {
	case k.given:
		return fault.New(fault.Unsupported, "daemon.Rotate", "", errors.New("the configuration gives the encryption key"))
	case k.shared:
		return fault.New(fault.Unsupported, "daemon.Rotate", "", errors.New("nodes that share a database take the key from their configuration: encryption_key"))
	}
	if err := k.finish(ctx); err != nil {
		return err
	}
	old, _, err := seal.Load(k.dir)
	if err != nil {
		return fault.New(fault.Internal, "daemon.Rotate", "", err)
	}
	next := seal.NewKey()
	if err := seal.Save(k.dir, next, old); err != nil {
		return fault.New(fault.Unavailable, "daemon.Rotate", "", err)
	}
	if err := k.box.Turn(next, old); err != nil {
		return err
	}
	return k.finish(ctx)
}

// finish seals anew what an old key sealed, if there is one, and forgets it.
func (k *keeper) finish(ctx context.Context) error {
	if k.given {
		return nil
	}
	key, old, err := seal.Load(k.dir)
	if err != nil || old == nil {
		return err
	}
	if err := control.Reseal(ctx, k.db, k.box); err != nil {
		return err
	}
	if err := seal.Save(k.dir, key, nil); err != nil {
		return fault.New(fault.Unavailable, "daemon.Rotate", "", err)
	}
	return k.box.Turn(key, nil)
}

// Made is when the file of the key was written first with this key; where the
// configuration gives it, nobody knows.
func (k *keeper) Made(context.Context) (time.Time, error) {
	if k.given {
		return time.Time{}, fault.New(fault.NotFound, "daemon.Made", "", errors.New("the configuration gives the encryption key: when it was made is not known"))
	}
	st, err := os.Stat(filepath.Join(k.dir, seal.FileName))
	if err != nil {
		return time.Time{}, fault.New(fault.Unavailable, "daemon.Made", "", err)
	}
	return st.ModTime(), nil
}
