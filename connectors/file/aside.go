package file

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// How a file is removed, or replaced, only while it is the version named:
//
//  1. Open it and take a read lease: nobody has it open for writing, and who
//     opens it so from now on waits. Busy: not now. No lease to be had: go on,
//     but hash the bytes again in step 4.
//  2. fstat the descriptor: it is the version, else fault.Changed.
//  3. Rename the name into the private folder, without replacing anything. The
//     name may have been given to another file since 1, so:
//  4. What is aside must be the file that is open, with the size and mtime of
//     2 (the rename itself moves ctime), the lease unbroken, the hash equal.
//     Else rename it back, without replacing what took its name meanwhile.
//  5. Unlink it there.
//
// A crash leaves it under the aside name that the plan holds; the next run
// looks there first. What remains is a writer that opened the file before step
// 1, where there are no leases: it can write between the hash and the unlink.

// hashAlways is the size up to which the bytes are hashed again even under a
// lease: a write within the clock tick of an earlier one leaves the token as it
// was on kernels before 6.13.
const hashAlways = 64 << 20

// An aside is a file that was moved into the private folder.
type aside struct {
	op, key string
	dir     int    // the private folder
	name    string // there
	parent  int    // where it came from
	base    string
	fd      int // the file, with its lease
	lease   leased
	st      unix.Stat_t // before the move
	again   bool        // an earlier run moved it
}

func (a *aside) close() {
	for _, fd := range [...]int{a.fd, a.dir} { // the first gives the lease up
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// setAside does steps 1 to 4 for the version of ref. sum is the hash that the
// bytes must have, nil if it is not known. The caller closes what it returns,
// and owns parent.
func (d *Driver) setAside(ctx context.Context, op string, ref object.Ref, parent int, base, name string, sum []byte) (*aside, error) {
	fd, st, err := openRegular(op, ref.Key, parent, base)
	if err != nil {
		return nil, err
	}
	a := &aside{op: op, key: ref.Key, name: name, parent: parent, base: base, fd: fd, st: st, lease: d.lease(fd), dir: -1}
	err = func() (err error) {
		if a.lease == leaseBusy {
			return busy(op, ref.Key)
		}
		if err := do(func() error { return unix.Fstat(fd, &a.st) }); err != nil { // now under the lease
			return wrap(op, short(ref.Key), err)
		}
		if token(&a.st) != ref.Version {
			return changed(op, ref.Key, "it is another version now")
		}
		if a.dir, err = d.private(op, asideDir); err != nil {
			return err
		}
		err = renameAside(parent, base, a.dir, name)
		if errors.Is(err, unix.EXDEV) {
			return fault.New(fault.Unsupported, op, short(ref.Key), errors.New("it is on another file system, mounted inside the unit: make that a unit of its own"))
		}
		if err != nil {
			return wrap(op, short(ref.Key), err)
		}
		if why := a.verify(ctx, sum); why != nil {
			return a.restore(why)
		}
		return nil
	}()
	if err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func busy(op, key string) error {
	return fault.New(fault.Unavailable, op, short(key), errors.New("busy: somebody has it open for writing"))
}

// verify is step 4.
func (a *aside) verify(ctx context.Context, sum []byte) error {
	var there, open unix.Stat_t
	if err := lstat(a.dir, a.name, &there); err != nil {
		return err
	}
	if identify(&there) != identify(&a.st) {
		return errors.New("another file was given its name meanwhile")
	}
	if sum != nil && (a.again || a.lease != leaseHeld || a.st.Size <= hashAlways) {
		got, err := hashOf(ctx, a.fd)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, sum) {
			return errors.New("its content is not what was scanned")
		}
	}
	if err := do(func() error { return unix.Fstat(a.fd, &open) }); err != nil {
		return err
	}
	switch {
	case !same(&open, &a.st):
		return errors.New("it was written to meanwhile")
	case a.lease != leaseHeld && open.Ctim != there.Ctim: // mtime may have been put back
		return errors.New("it was written to while it was hashed")
	case a.lease == leaseHeld && !unbroken(a.fd):
		return errors.New("somebody opened it for writing meanwhile")
	}
	return nil
}

// restore puts the file back and returns why as fault.Changed, with what
// became of it. A context's end stays what it is.
func (a *aside) restore(why error) error {
	if err := a.putBack(); err != nil {
		return fault.New(fault.Changed, a.op, short(a.key), fmt.Errorf("%w; %w", why, err))
	}
	if fault.Canceled(why) {
		return why
	}
	return fault.New(fault.Changed, a.op, short(a.key), why)
}

// putBack gives the file its name again, without replacing what has taken it:
// then the file stays aside under a name of its own, and the error says so.
func (a *aside) putBack() error {
	err := renameNew(a.dir, a.name, a.parent, a.base)
	if err == nil {
		return nil
	}
	kept := keptPrefix + a.name
	if renameNew(a.dir, a.name, a.dir, kept) != nil {
		kept = a.name
	}
	return fmt.Errorf("it could not be put back (%w) and is kept in the private folder as %s/%s", err, asideDir, kept)
}

// drop is step 5, made durable.
func (a *aside) drop() error {
	if err := unlink(a.dir, a.name); err != nil {
		return wrap(a.op, short(a.key), err)
	}
	for _, dir := range [...]int{a.parent, a.dir} {
		if dir < 0 { // the folder it came from is gone
			continue
		}
		if err := syncDir(dir); err != nil {
			return wrap(a.op, short(a.key), err)
		}
	}
	return nil
}

// leftAside looks in all private folders of ours for what an earlier run moved
// aside under that name. If it is there and is what was to go (by hash, else by token), it is returned; if it
// is something else it is put back and the error is fault.Changed.
func (d *Driver) leftAside(ctx context.Context, op string, ref object.Ref, parent int, base, name string, sum []byte) (*aside, error) {
	a := &aside{op: op, key: ref.Key, dir: -1, name: name, parent: parent, base: base, fd: -1, again: true}
	err := d.each(op, asideDir, func(dir int) bool {
		if errors.Is(lstat(dir, name, &a.st), unix.ENOENT) {
			_ = unix.Close(dir)
			return false
		}
		a.dir = dir
		return true
	})
	if err != nil || a.dir < 0 {
		return nil, err
	}
	err = func() (err error) {
		if a.fd, a.st, err = openRegular(op, ref.Key, a.dir, name); err != nil {
			return err
		}
		if a.lease = d.lease(a.fd); a.lease == leaseBusy {
			return busy(op, ref.Key)
		}
		if sum == nil && !d.MetadataOnly(token(&a.st), ref.Version) {
			return a.restore(errors.New("an earlier run moved another version aside"))
		}
		if why := a.verify(ctx, sum); why != nil {
			return a.restore(why)
		}
		return nil
	}()
	if err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// hashOf reads an open file from its beginning, by position.
func hashOf(ctx context.Context, fd int) ([]byte, error) {
	h := sha256.New()
	buf := make([]byte, 256<<10)
	for at := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := retry(func() (int, error) { return unix.Pread(fd, buf, at) })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return h.Sum(nil), nil
		}
		_, _ = h.Write(buf[:n]) // a hash takes everything
		at += int64(n)
	}
}

// Remove deletes the file if it is exactly the version named, see above.
// fault.Unavailable: somebody has it open for writing. Other hard links keep
// their bytes. What an earlier run left under the fence's name is looked at
// first: the version is removed, anything else put back.
func (d *Driver) Remove(ctx context.Context, ref object.Ref, f connectors.Fence) (connectors.Removed, error) {
	const op = "file.Remove"
	var none connectors.Removed
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if ref.Version == "" || !plain(f.Aside) || len(f.SHA256) != sha256.Size {
		return none, fault.New(fault.Invalid, op, short(ref.Key), errors.New("a removal needs the version, a name to move it aside to, and the hash of the scanned bytes"))
	}
	parent, base, err := d.parent(op, ref.Key)
	if fault.Is(err, fault.NotFound) {
		// Its folder is gone; an earlier run may still have it aside.
		parent, base, err = -1, object.Base(ref.Key), d.check(op, ref.Key)
	}
	if err != nil {
		return none, err
	}
	if parent >= 0 {
		defer unix.Close(parent)
	}
	a, err := d.leftAside(ctx, op, ref, parent, base, f.Aside, f.SHA256)
	if err != nil {
		return none, err
	}
	already := a != nil
	if !already {
		if parent < 0 {
			return none, wrap(op, short(ref.Key), unix.ENOENT)
		}
		if a, err = d.setAside(ctx, op, ref, parent, base, f.Aside, f.SHA256); err != nil {
			return none, err
		}
	}
	defer a.close()
	if err := a.drop(); err != nil {
		return none, err
	}
	return connectors.Removed{Already: already}, nil
}

// Prune removes the empty folders above key. It ends at the first that is not
// empty, or is not ours to remove.
func (d *Driver) Prune(ctx context.Context, key string) (removed int, err error) {
	const op = "file.Prune"
	if err := d.check(op, key); err != nil {
		return 0, err
	}
	for {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		key = key[:len(key)-len(object.Base(key))]
		if key == "" {
			return removed, nil
		}
		key = key[:len(key)-1]
		up, base, err := d.parent(op, key)
		if fault.Is(err, fault.NotFound) {
			continue // gone already, and what holds it may be empty now
		}
		if err != nil {
			return removed, err
		}
		err = do(func() error { return unix.Unlinkat(up, base, unix.AT_REMOVEDIR) })
		_ = unix.Close(up)
		switch {
		case err == nil:
			removed++
		case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EEXIST), errors.Is(err, unix.EBUSY), errors.Is(err, unix.ENOTDIR):
			return removed, nil
		case !errors.Is(err, unix.ENOENT):
			return removed, wrap(op, short(key), err)
		}
	}
}
