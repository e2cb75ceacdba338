package file

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/object"
)

// retry makes a system call again while a signal interrupts it.
func retry[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if !errors.Is(err, unix.EINTR) {
			return v, err
		}
	}
}

func do(call func() error) error {
	_, err := retry(func() (struct{}, error) { return struct{}{}, call() })
	return err
}

// walk opens the folder of that key ("" = the root; a '/' at the end is
// allowed), beneath the root and through no symbolic link. flags is O_PATH to
// act in it, O_RDONLY to read it. The path may be longer than PATH_MAX: the
// kernel is given a part at a time.
func (d *Driver) walk(folder string, flags int) (fd int, err error) {
	fd = -1
	cerr := d.conn.Control(func(root uintptr) {
		fd, err = d.descend(int(root), strings.TrimSuffix(folder, "/"), flags)
	})
	if cerr != nil {
		return -1, cerr
	}
	return fd, err
}

func (d *Driver) descend(root int, rest string, flags int) (int, error) {
	if rest == "" {
		return d.step(root, ".", flags)
	}
	at := root
	for {
		part, tail, f := rest, "", flags
		if len(rest) >= unix.PathMax || d.stepwise {
			cut := strings.IndexByte(rest, '/')
			if !d.stepwise {
				cut = strings.LastIndexByte(rest[:unix.PathMax-1], '/')
			}
			if cut > 0 {
				part, tail, f = rest[:cut], rest[cut+1:], unix.O_PATH
			}
		}
		fd, err := d.step(at, part, f)
		if at != root {
			_ = unix.Close(at) // only passed through
		}
		if err != nil || tail == "" {
			return fd, err
		}
		at, rest = fd, tail
	}
}

func (d *Driver) step(at int, path string, flags int) (int, error) {
	flags |= unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	return retry(func() (int, error) {
		if d.stepwise {
			return unix.Openat(at, path, flags, 0)
		}
		return unix.Openat2(at, path, &unix.OpenHow{Flags: uint64(flags),
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS})
	})
}

// parent opens the folder that holds key, to act in it.
func (d *Driver) parent(op, key string) (fd int, base string, err error) {
	if err := d.check(op, key); err != nil {
		return -1, "", err
	}
	base = object.Base(key)
	fd, err = d.walk(key[:len(key)-len(base)], unix.O_PATH)
	if err != nil {
		return -1, "", wrap(op, short(key), err)
	}
	return fd, base, nil
}

// mode returns the mode for a new file or folder: all, but nothing for group
// and others if they have no rights to the unit's folder.
func (d *Driver) mode(all uint32) (mode uint32, err error) {
	var st unix.Stat_t
	cerr := d.conn.Control(func(root uintptr) { err = do(func() error { return unix.Fstat(int(root), &st) }) })
	if err = errors.Join(cerr, err); err == nil && st.Mode&0o077 == 0 {
		all &= 0o700
	}
	return all, err
}

// create is walk, but makes the folders that are missing, with mode 0755 less
// the umask or as mode says, and makes them durable.
func (d *Driver) create(folder string) (int, error) {
	fd, err := d.walk(folder, unix.O_PATH)
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	mode, err := d.mode(0o755)
	if err != nil {
		return -1, err
	}
	fd, err = d.walk("", unix.O_PATH)
	if err != nil {
		return -1, err
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(folder, "/"), "/") {
		err := do(func() error { return unix.Mkdirat(fd, part, mode) })
		made := err == nil
		if err != nil && !errors.Is(err, unix.EEXIST) {
			_ = unix.Close(fd)
			return -1, err
		}
		next, err := d.step(fd, part, unix.O_PATH)
		if err == nil && made {
			err = syncDir(fd)
		}
		_ = unix.Close(fd)
		if err != nil {
			return -1, err
		}
		fd = next
	}
	return fd, nil
}

// syncDir makes the names in a folder durable. It takes an O_PATH descriptor.
func syncDir(fd int) error {
	dir, err := retry(func() (int, error) { return unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if err := do(func() error { return unix.Fsync(dir) }); err != nil && !errors.Is(err, unix.EINVAL) { // not every file system syncs folders
		return err
	}
	return nil
}

// lstat describes a name in an open folder, itself and not what it links to.
func lstat(dir int, base string, st *unix.Stat_t) error {
	return do(func() error { return unix.Fstatat(dir, base, st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT) })
}

// openAt opens a name in an open folder for reading: no link is followed, no
// pipe waited for, no lease of another's waited out.
func openAt(dir int, base string) (int, error) {
	return retry(func() (int, error) {
		return unix.Openat(dir, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	})
}
