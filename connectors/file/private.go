package file

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

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

// names are those that the private folder may have, in the order of preference.
// Several, because in a folder that others may write to anybody can take one.
var names = [...]string{private, private + "-1", private + "-2", private + "-3", private + "-4",
	private + "-5", private + "-6", private + "-7", private + "-8", private + "-9"}

// reserved reports whether the key is one of the names, or below one.
func reserved(key string) bool {
	if !strings.HasPrefix(key, private) {
		return false
	}
	top, _, _ := strings.Cut(key, "/")
	return slices.Contains(names[:], top)
}

// mine reports whether what st describes can be a private folder of ours: a
// folder that belongs to us and that nobody else has any right to. Who had one
// could exchange what is moved there, or keep there what is never looked at.
func mine(st *unix.Stat_t) bool {
	return folder(st) && int(st.Uid) == os.Geteuid() && st.Mode&0o077 == 0
}

// owns reports whether the private folder of that name is ours at this moment.
func (d *Driver) owns(name string) bool {
	var st unix.Stat_t
	var err error
	if d.conn.Control(func(root uintptr) { err = lstat(int(root), name, &st) }) != nil {
		return false
	}
	return err == nil && mine(&st)
}

// A stranger is what has one of the names and is not ours.
type stranger struct {
	name string
	st   unix.Stat_t
}

// Error says what it is, whose, and in what mode.
func (s *stranger) Error() string {
	kind := "special file"
	switch s.st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		kind = "folder"
	case unix.S_IFLNK:
		kind = "symbolic link"
	case unix.S_IFREG:
		kind = "file"
	}
	return fmt.Sprintf("%s is a %s of user %d with mode %04o", s.name, kind, s.st.Uid, s.st.Mode&0o7777)
}

// Only a folder of our user that nobody else may enter is trusted.
const trusted = "only a folder of our own user with mode 0700 is trusted, the rest is scanned like any other content"

// strangers tells what has our names and is not ours, nil if nothing does.
func (d *Driver) strangers() error {
	if d.readOnly {
		return nil // none is needed
	}
	var there []string
	cerr := d.conn.Control(func(root uintptr) {
		for _, name := range names {
			s := &stranger{name: name}
			if lstat(int(root), name, &s.st) == nil && !mine(&s.st) {
				there = append(there, s.Error())
			}
		}
	})
	if cerr != nil || len(there) == 0 {
		return nil
	}
	what := "somebody took a name of the private folder"
	if len(there) == len(names) {
		what = "nothing can be removed or written: somebody took every name of the private folder"
	}
	return fault.New(fault.Unavailable, "file.Degraded", d.path, fmt.Errorf("%s: %s (%s)", what, strings.Join(there, "; "), trusted))
}

// private opens a folder of the first private folder that is ours, and makes
// what is missing. fault.Unavailable: strangers have all the names.
func (d *Driver) private(op, name string) (int, error) {
	top, err := d.walk("", unix.O_PATH)
	if err != nil {
		return -1, wrap(op, d.path, err)
	}
	defer unix.Close(top)
	var inTheWay []string
	for _, n := range names {
		at, err := d.enter(top, n)
		var s *stranger
		if errors.As(err, &s) {
			inTheWay = append(inTheWay, s.Error())
			continue
		}
		if err != nil {
			return -1, wrap(op, d.path+"/"+n, err)
		}
		defer unix.Close(at)
		return d.inner(op, at, n, name)
	}
	return -1, fault.New(fault.Unavailable, op, d.path, fmt.Errorf("no private folder is to be had: %s (%s)", strings.Join(inTheWay, "; "), trusted))
}

// enter opens the private folder of that name, and makes it where it is
// missing. A *stranger is in the way.
func (d *Driver) enter(top int, name string) (int, error) {
	err := do(func() error { return unix.Mkdirat(top, name, 0o700) })
	made := err == nil
	if made {
		err = syncDir(top)
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	s := &stranger{name: name}
	fd, err := d.step(top, name, unix.O_RDONLY)
	if err != nil { // no folder, or one that we may not enter
		if lstat(top, name, &s.st) == nil && !mine(&s.st) {
			return -1, s
		}
		return -1, err
	}
	if err = do(func() error { return unix.Fstat(fd, &s.st) }); err == nil && !mine(&s.st) {
		if made { // the file system keeps no modes, or somebody was quicker; it goes only if it is empty
			_ = unix.Unlinkat(top, name, unix.AT_REMOVEDIR)
		}
		err = s
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// inner opens a folder of the private folder at, which is called n. Nobody else
// can have made it, but a backup or an administrator may have loosened it.
func (d *Driver) inner(op string, at int, n, name string) (int, error) {
	path := d.path + "/" + n + "/" + name
	err := do(func() error { return unix.Mkdirat(at, name, 0o700) })
	if err == nil {
		err = syncDir(at)
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, wrap(op, path, err)
	}
	fd, err := d.step(at, name, unix.O_RDONLY)
	if err != nil {
		return -1, wrap(op, path, err)
	}
	var st unix.Stat_t
	err = do(func() error { return unix.Fstat(fd, &st) })
	switch {
	case err != nil:
	case int(st.Uid) != os.Geteuid():
		err = fault.New(fault.Denied, op, path, fmt.Errorf("it belongs to user %d, not to us: nothing can be moved there safely", st.Uid))
	case st.Mode&0o077 != 0:
		err = do(func() error { return unix.Fchmod(fd, 0o700) })
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, wrap(op, path, err)
	}
	return fd, nil
}

// each calls f with every folder of that name in a private folder that is ours,
// until f says that it has seen enough. f owns the descriptor. Nothing is made.
func (d *Driver) each(op, name string, f func(fd int) (enough bool)) error {
	for _, n := range names {
		if !d.owns(n) {
			continue
		}
		top, err := d.walk(n, unix.O_PATH)
		if err == nil {
			var st unix.Stat_t
			fd := -1
			if err = do(func() error { return unix.Fstat(top, &st) }); err == nil && mine(&st) {
				fd, err = d.step(top, name, unix.O_RDONLY)
			}
			_ = unix.Close(top)
			if err == nil && fd >= 0 && f(fd) {
				return nil
			}
		}
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
			return wrap(op, d.path+"/"+n+"/"+name, err)
		}
	}
	return nil
}

// What a Put that was killed leaves behind.
const (
	leftFor  = 24 * time.Hour // a write that takes longer keeps its file young
	leftMost = 10_000         // files removed at one Open
)

// clean removes temporary files that nobody has written to for a day. What
// cannot be removed is left for the next Open: it harms nobody.
func (d *Driver) clean(now time.Time) (removed int) {
	_ = d.each("file.Open", tempDir, func(fd int) bool {
		defer unix.Close(fd)
		found, _, err := readNames(fd, make([]byte, 64<<10), "", namesAtRoot, func(string) bool { return true })
		if err != nil {
			return false
		}
		for _, name := range found {
			var st unix.Stat_t
			if removed < leftMost && lstat(fd, name, &st) == nil && regular(&st) && now.Sub(time.Unix(st.Ctim.Unix())) > leftFor &&
				unlink(fd, name) == nil {
				removed++
			}
		}
		return removed >= leftMost
	})
	return removed
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
