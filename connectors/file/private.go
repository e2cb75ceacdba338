package file

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/fault"
)

// The private folder's own folders.
const (
	asideDir = "aside" // what is being removed or replaced
	tempDir  = "tmp"   // what is being written
)

// keptPrefix marks, among what is aside, what could not be put back because its
// name was taken meanwhile. It is the operator's to look at.
const keptPrefix = "kept-"

// private opens a folder of the private folder, and makes it where it is
// missing. Nobody else may own it or look into it: who could, could exchange
// what was moved there.
func (d *Driver) private(op, name string) (int, error) {
	top, err := d.walk("", unix.O_PATH)
	if err != nil {
		return -1, wrap(op, d.path, err)
	}
	defer unix.Close(top)
	at, err := d.ours(op, top, private)
	if err != nil || name == "" {
		return at, err
	}
	defer unix.Close(at)
	return d.ours(op, at, name)
}

// ours opens a folder that belongs to us alone.
func (d *Driver) ours(op string, at int, name string) (int, error) {
	err := do(func() error { return unix.Mkdirat(at, name, 0o700) })
	if err == nil {
		err = syncDir(at)
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, wrap(op, d.path+"/"+private, err)
	}
	fd, err := d.step(at, name, unix.O_RDONLY)
	if err != nil {
		return -1, wrap(op, d.path+"/"+private, err)
	}
	var st unix.Stat_t
	err = do(func() error { return unix.Fstat(fd, &st) })
	switch {
	case err != nil:
	case int(st.Uid) != os.Geteuid():
		err = fault.New(fault.Denied, op, d.path+"/"+private, fmt.Errorf("%s belongs to user %d, not to us: nothing can be moved there safely", name, st.Uid))
	case st.Mode&0o077 != 0:
		err = do(func() error { return unix.Fchmod(fd, 0o700) })
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, wrap(op, d.path+"/"+private, err)
	}
	return fd, nil
}

// plain reports whether name can be a file's in a private folder.
func plain(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= unix.NAME_MAX-len(keptPrefix) &&
		!strings.HasPrefix(name, keptPrefix) && !strings.ContainsAny(name, "/\x00")
}

// renameNew renames without ever replacing: EEXIST if the new name is taken.
// Where the file system cannot (some network and FUSE ones) it links and
// unlinks, which is the same as long as the old name is in a private folder.
func renameNew(fromDir int, from string, toDir int, to string) error {
	err := do(func() error { return unix.Renameat2(fromDir, from, toDir, to, unix.RENAME_NOREPLACE) })
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	if err := do(func() error { return unix.Linkat(fromDir, from, toDir, to, 0) }); err != nil {
		return err
	}
	return unlink(fromDir, from)
}

// renameAside renames to a name in a private folder that is known to be free.
func renameAside(fromDir int, from string, toDir int, to string) error {
	err := do(func() error { return unix.Renameat2(fromDir, from, toDir, to, unix.RENAME_NOREPLACE) })
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	return do(func() error { return unix.Renameat(fromDir, from, toDir, to) })
}

func unlink(dir int, name string) error {
	return do(func() error { return unix.Unlinkat(dir, name, 0) })
}
