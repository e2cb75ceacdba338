package file

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Racily clean: where files are stamped by a clock that moves once in a tick, a
// file can be looked at and then be written to within the same tick, with its
// size, mtime and ctime left as they were. Such a version would be taken for
// the one that was scanned, for good. File systems with multigrain timestamps
// (Linux 6.13: ext4, xfs, btrfs, tmpfs) give each change after a look a time of
// its own. Elsewhere a file counts as settled only once its last change is so
// old that a later one must have another time.

// racy is that age: two ticks of the coarsest clock (100 Hz).
const racy = 2 * tick

// multigrain reports whether each change after a look moves ctime, by trying it
// on a file without a name. Where that is not to be had it counts as not.
func multigrain(root int) bool {
	fd, err := retry(func() (int, error) {
		return unix.Openat(root, ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var last unix.Timespec
	for range 9 { // all within microseconds: a tick may pass in between, but not each time
		var st unix.Stat_t
		_, err := retry(func() (int, error) { return unix.Pwrite(fd, []byte{1}, 0) })
		if err != nil || do(func() error { return unix.Fstat(fd, &st) }) != nil || st.Ctim == last {
			return false
		}
		last = st.Ctim
	}
	return true
}

// knownMultigrain is what can be told of a folder that nothing may be written
// to: by the kernel's release and the kind of its file system. Old ext formats
// keep whole seconds, which shows in the folder's own time, all but once in 10⁹.
// Source: Documentation/filesystems/multigrain-ts.rst, FS_MGTIME in Linux 6.13.
func knownMultigrain(root int, st *unix.Stat_t) bool {
	var uts unix.Utsname
	var fs unix.Statfs_t
	if unix.Uname(&uts) != nil || do(func() error { return unix.Fstatfs(root, &fs) }) != nil {
		return false
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(uts.Release[:]), "%d.%d", &major, &minor); err != nil || major < 6 || major == 6 && minor < 13 {
		return false
	}
	switch fs.Type {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return st.Ctim.Nsec != 0
	}
	return false
}

// young returns how long it takes until the file's next change must show: 0 on
// file systems where each does. The kernel and we read the same clock; a time
// in the future is another machine's, or from before the clock was put back,
// and the next change does not repeat it.
func (d *Driver) young(st *unix.Stat_t, now time.Time) time.Duration {
	if d.multi && uint64(st.Dev) == d.id.dev { // what is mounted inside the unit was not tried
		return 0
	}
	age := now.Sub(time.Unix(st.Ctim.Unix()))
	if age < -racy || age >= racy {
		return 0
	}
	return racy - age
}
