package smb

import (
	"context"
	"crypto/rand"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Prune removes the empty folders above key. It ends at the first that is not
// empty, or that somebody has open. A folder is removed in the private folder:
// the library deletes whatever has a name, and that may be a file by then.
func (d *Driver) Prune(ctx context.Context, key string) (removed int, err error) {
	const op = "smb.Prune"
	if err := d.check(op, key); err != nil {
		return 0, err
	}
	for {
		key = key[:len(key)-len(object.Base(key))]
		if key == "" || reserved(key) {
			return removed, nil
		}
		folder := key
		key = key[:len(key)-1]
		empty, err := d.empty(ctx, op, folder)
		switch {
		case fault.Is(err, fault.NotFound):
			continue // gone already, and what holds it may be empty now
		case err != nil || !empty:
			return removed, err
		}
		if err := d.spell(ctx, op, folder); err != nil {
			if fault.Is(err, fault.NotFound) {
				err = nil
			}
			return removed, err
		}
		gone, err := d.removeFolder(ctx, op, key)
		if err != nil || !gone {
			return removed, err
		}
		removed++
	}
}

// empty reports whether the folder of that key holds nothing.
func (d *Driver) empty(ctx context.Context, op, key string) (bool, error) {
	st, err := d.lstat(ctx, op, key)
	if err != nil || !st.folder() || st.kind() != object.Regular {
		return false, err
	}
	empty := true
	err = d.each(ctx, op, key, func(stat) bool { empty = false; return false })
	return empty, err
}

// removeFolder removes an empty folder by way of the private folder. It is not
// gone if somebody has it open, or something came into it.
func (d *Driver) removeFolder(ctx context.Context, op, key string) (gone bool, err error) {
	a := d.asideOf(op, key, "prune-"+rand.Text())
	defer a.end()
	if err := d.makeFolders(ctx, op, a.at); err != nil {
		return false, err
	}
	err = d.rename(ctx, op, key, a.at)
	switch {
	case fault.Is(err, fault.NotFound):
		return true, nil
	case fault.Is(err, fault.Unavailable, fault.Denied):
		return false, nil
	case err != nil:
		return false, err
	}
	ctx, cancel := d.finish(ctx)
	defer cancel()
	empty, err := d.empty(ctx, op, a.at)
	if err == nil && empty {
		if err = d.unlink(ctx, op, a.at); err == nil {
			return true, nil
		}
	}
	if back := a.putBack(ctx); back != nil {
		return false, fault.New(fault.Unavailable, op, short(key), back)
	}
	if fault.Is(err, fault.Exists, fault.Unavailable, fault.Denied) {
		err = nil
	}
	return false, err
}
