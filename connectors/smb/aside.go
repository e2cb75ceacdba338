package smb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	smb2 "github.com/hirochachacha/go-smb2"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// How a file is removed, or replaced, only while it is the version named:
//
//  1. Look at it: it is the version, else fault.Changed.
//  2. Rename it into the private folder, to a name that nobody else knows. The
//     server refuses that while anybody has it open to read or write
//     (fault.Unavailable). The name may have been given to another file since 1:
//  3. What is aside must have the creation and write time and the size of 1,
//     before and after it is hashed, and the hash. Else rename it back.
//  4. Delete it there, which the server refuses while anybody has it open.
//
// A crash leaves it under the aside name that the plan holds; the next run looks
// there first. Who knows that name can still open, write and close the file
// between 3 and 4. Share modes bind SMB clients alone: on a server that offers
// the folder by NFS too, or to programs of its own, an open file moves along
// and only the hash tells. And Samba first looks whether a new name is free and
// then renames: who makes a file of that name in between loses it, be it where
// a file is put or where one is put back. Windows does both at once.

// An aside is a file that was moved into the private folder.
type aside struct {
	d       *Driver
	op, key string
	at      string // its key there
	end     func()
}

func (d *Driver) asideOf(op, key, name string) *aside {
	at := asideDir + name
	return &aside{d: d, op: op, key: key, at: at, end: d.begin(at)}
}

// set does steps 1 to 3 for the version of ref. sum is the hash that the bytes
// must have, nil if it is not known.
func (a *aside) set(ctx context.Context, ref object.Ref, sum []byte) error {
	st, err := a.d.lookup(ctx, a.op, a.key)
	switch {
	case err != nil:
		return err
	case st.kind() != object.Regular:
		return notRegular(a.op, a.key)
	case st.token() != ref.Version:
		return changed(a.op, a.key, "it is another version now")
	}
	if err := a.d.makeFolders(ctx, a.op, a.at); err != nil {
		return err
	}
	if err := a.d.rename(ctx, a.op, a.key, a.at); err != nil {
		if fault.Is(err, fault.Exists) {
			return fault.New(fault.Unavailable, a.op, short(a.key), errors.New("another run has this step in work"))
		}
		return err
	}
	if why := a.verify(ctx, ref.Version, sum); why != nil {
		return a.restore(ctx, why)
	}
	return nil
}

// left looks for what an earlier run moved aside under that name. If it is what
// was to go (by hash, else by token) there is true; anything else is put back
// and the error is fault.Changed.
func (a *aside) left(ctx context.Context, ref object.Ref, sum []byte) (there bool, err error) {
	switch _, err := a.d.lstat(ctx, a.op, a.at); {
	case fault.Is(err, fault.NotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	version := ref.Version
	if sum != nil {
		version = "" // the hash is what counts
	}
	if why := a.verify(ctx, version, sum); why != nil {
		return false, a.restore(ctx, why)
	}
	return true, nil
}

// verify is step 3.
func (a *aside) verify(ctx context.Context, version string, sum []byte) error {
	before, err := a.d.lstat(ctx, a.op, a.at)
	switch {
	case err != nil:
		return err
	case before.folder() || before.kind() != object.Regular:
		return errors.New("it is no regular file any more")
	case version != "" && !sameContent(before.token(), version):
		return errors.New("another file was given its name meanwhile, or it was written to")
	case sum == nil:
		return nil
	}
	got, after, err := a.hash(ctx)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(got, sum):
		return errors.New("its content is not what was scanned")
	case after.token() != before.token():
		return errors.New("it was written to while it was hashed")
	}
	return nil
}

// hash reads what is aside, and its state at the end.
func (a *aside) hash(ctx context.Context) (sum []byte, after stat, err error) {
	l, err := a.d.session(ctx, a.op, a.key)
	if err != nil {
		return nil, after, err
	}
	defer l.release()
	path := a.d.path(a.at)
	f, err := call(ctx, l, closeFile, func(sh *smb2.Share) (*smb2.File, error) { return sh.Open(path) })
	if err != nil {
		return nil, after, err
	}
	defer func() { err = errors.Join(err, a.d.closeFile(ctx, l, f)) }()
	h := sha256.New()
	for at := int64(0); ; {
		b, err := call(ctx, l, nil, func(*smb2.Share) ([]byte, error) {
			b := make([]byte, readChunk)
			n, err := f.ReadAt(b, at)
			return b[:max(n, 0)], err
		})
		_, _ = h.Write(b) // a hash takes everything
		at += int64(len(b))
		if err == io.EOF || err == nil && len(b) == 0 {
			break
		}
		if err != nil {
			return nil, after, err
		}
	}
	after, err = call(ctx, l, nil, func(*smb2.Share) (stat, error) { return told(f.Stat()) })
	return h.Sum(nil), after, err
}

// restore puts the file back and returns why as fault.Changed, with what became
// of it. What keeps us from looking is no change: it stays what it is.
func (a *aside) restore(ctx context.Context, why error) error {
	ctx, cancel := a.d.finish(ctx)
	defer cancel()
	back := a.putBack(ctx)
	why = wrap(a.op, short(a.key), why)
	if fault.Canceled(why) || fault.Is(why, fault.Unavailable, fault.Throttled, fault.Denied) {
		return errors.Join(why, back)
	}
	if back != nil {
		why = fmt.Errorf("%w; %w", why, back)
	}
	if fault.Is(back, fault.Unavailable) { // the next run puts it back
		return fault.New(fault.Unavailable, a.op, short(a.key), why)
	}
	return fault.New(fault.Changed, a.op, short(a.key), why)
}

// How long a file that somebody has open is tried to be put back.
const (
	putBackFor   = 2 * time.Second
	putBackPause = 20 * time.Millisecond
)

// putBack gives the file its name again, without replacing what has taken it:
// then it stays in the private folder under a name of its own.
func (a *aside) putBack(ctx context.Context) error {
	err := a.d.rename(ctx, a.op, a.at, a.key)
	for end := time.Now().Add(putBackFor); sharing(err) && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(putBackPause):
			err = a.d.rename(ctx, a.op, a.at, a.key)
		}
	}
	if err == nil {
		return nil
	}
	at := a.at
	if fault.Is(err, fault.Exists) {
		if kept := asideDir + keptPrefix + object.Base(a.at); a.d.rename(ctx, a.op, a.at, kept) == nil {
			at = kept
		}
	}
	return fmt.Errorf("it could not be put back and is kept as %s: %w", at, err)
}

// drop is step 4.
func (a *aside) drop(ctx context.Context) error { return a.d.unlink(ctx, a.op, a.at) }

// Remove deletes the file, with its alternate data streams, if it is exactly the
// version named, see above. fault.Unavailable: somebody has it open. What an
// earlier run left under the fence's name is looked at first: the version is
// removed, anything else put back.
func (d *Driver) Remove(ctx context.Context, ref object.Ref, f connectors.Fence) (connectors.Removed, error) {
	const op = "smb.Remove"
	var none connectors.Removed
	if err := errors.Join(d.check(op, ref.Key), ctx.Err()); err != nil {
		return none, err
	}
	if err := plain(f.Aside); err != nil || ref.Version == "" || len(f.SHA256) != sha256.Size || ref.Key == asideDir+f.Aside {
		return none, fault.New(fault.Invalid, op, short(ref.Key), errors.Join(errors.New("a removal needs the version, a name to move it aside to, and the hash of the scanned bytes"), err))
	}
	unlock, err := d.acts.lock(ctx, ref.Key)
	if err != nil {
		return none, err
	}
	defer unlock()
	a := d.asideOf(op, ref.Key, f.Aside)
	defer a.end()
	already, err := a.left(ctx, ref, f.SHA256)
	if err == nil && !already {
		err = a.set(ctx, ref, f.SHA256)
	}
	if err == nil {
		err = a.drop(ctx)
	}
	if err != nil {
		return none, err
	}
	return connectors.Removed{Already: already}, nil
}
