package smb

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"

	smb2 "github.com/hirochachacha/go-smb2"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// The private folder at the unit's root holds what is on its way: files moved
// aside and files being written. The library cannot restrict who may enter it,
// so it is no hiding place either: what lies there is listed and scanned like
// anything else, except what a running call has in work.
const (
	private  = ".landwaiter"
	asideDir = private + "/aside/" // what is being removed or replaced
	tempDir  = private + "/tmp/"   // what is being written
)

// keptPrefix marks, among what is aside, what could not be put back because its
// name was taken meanwhile.
const keptPrefix = "kept-"

// reserved reports whether key is in the private folder, in any spelling.
func reserved(key string) bool {
	top, _, _ := strings.Cut(key, "/")
	return strings.EqualFold(top, private)
}

// plain says why name cannot be a file's in the private folder.
func plain(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if strings.Contains(name, "/") || strings.HasPrefix(name, keptPrefix) || len(name) > maxName-len(keptPrefix) {
		return errors.New("not a name for the private folder")
	}
	return nil
}

// begin notes that a key in the private folder is in work until the function
// returned is called.
func (d *Driver) begin(key string) (end func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.work[key]++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.work[key]--; d.work[key] == 0 {
			delete(d.work, key)
		}
	}
}

func (d *Driver) working(key string) bool {
	if !reserved(key) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.work[key] > 0
}

// actLocks keep two acts on one key apart: each would open the file to rename it,
// which they may at once, and the second would take it from where the first put
// it. Of another program that does so the first learns, and says so.
type actLocks struct {
	seed maphash.Seed
	free [64]chan struct{} // by the hash of the key; each holds a token while it is free
}

func newActLocks() actLocks {
	l := actLocks{seed: maphash.MakeSeed()}
	for i := range l.free {
		l.free[i] = make(chan struct{}, 1)
		l.free[i] <- struct{}{}
	}
	return l
}

// lock waits until no other act on that key runs.
func (l *actLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	free := l.free[maphash.String(l.seed, strings.ToLower(key))%uint64(len(l.free))]
	select {
	case <-free:
		return func() { free <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// makeFolders makes the folders of key that are missing. One that is there in
// another spelling is fault.Invalid: the file would get another key.
func (d *Driver) makeFolders(ctx context.Context, op, key string) error {
	dir := key[:len(key)-len(object.Base(key))]
	if dir == "" {
		return nil
	}
	err := d.isFolder(ctx, op, dir)
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	if err := d.makeFolders(ctx, op, strings.TrimSuffix(dir, "/")); err != nil {
		return err
	}
	_, err = do(ctx, d, op, key, nil, func(sh *smb2.Share) (struct{}, error) { return struct{}{}, sh.Mkdir(d.path(dir), 0o777) })
	switch {
	case err == nil:
		d.spelled.add(dir)
		return nil
	case fault.Is(err, fault.Exists): // somebody was quicker
		err = d.isFolder(ctx, op, dir)
	}
	if fault.Is(err, fault.NotFound) { // and somebody else removed it, or what it was in
		return fault.New(fault.Unavailable, op, short(key), err)
	}
	return err
}

// isFolder returns nil if that key, which ends in '/', is a folder's, and
// fault.Invalid if something else has the name. What is remembered of the
// spelling does not tell: the folder may be gone.
func (d *Driver) isFolder(ctx context.Context, op, dir string) error {
	st, err := d.lstat(ctx, op, dir)
	if err != nil {
		return err
	}
	if !st.folder() {
		return fault.New(fault.Invalid, op, short(dir), errors.New("what should be a folder on the way is a file"))
	}
	if err = d.spell(ctx, op, dir); fault.Is(err, fault.NotFound) {
		return fault.New(fault.Invalid, op, short(dir), fmt.Errorf("a folder on the way: %w", err))
	}
	return err
}

// rename never replaces: fault.Exists if the new name is taken, and refused
// while anybody has the file open.
func (d *Driver) rename(ctx context.Context, op, from, to string) error {
	_, err := do(ctx, d, op, from, nil, func(sh *smb2.Share) (struct{}, error) {
		return struct{}{}, sh.Rename(d.path(from), d.path(to))
	})
	return err
}

// unlink deletes what the key names, with its streams: a file that nobody has
// open, or an empty folder.
func (d *Driver) unlink(ctx context.Context, op, key string) error {
	_, err := do(ctx, d, op, key, nil, func(sh *smb2.Share) (struct{}, error) { return struct{}{}, sh.Remove(d.path(key)) })
	return err
}
