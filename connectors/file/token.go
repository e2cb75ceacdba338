package file

import (
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/object"
)

// token is the version token: inode, size, mtime and ctime in nanoseconds, in
// base 36 and joined with dots. The device is not part of it: its number may
// change with a reboot.
func token(st *unix.Stat_t) string {
	b := make([]byte, 0, 48)
	b = strconv.AppendUint(b, st.Ino, 36)
	for _, n := range [...]int64{st.Size, st.Mtim.Nano(), st.Ctim.Nano()} {
		b = strconv.AppendInt(append(b, '.'), n, 36)
	}
	return string(b)
}

// MetadataOnly reports whether the tokens differ in ctime alone: a change of
// mode, owner, links or tags, or of content with mtime put back. Only equal
// hashes tell which.
func (d *Driver) MetadataOnly(a, b string) bool {
	i, j := strings.LastIndexByte(a, '.'), strings.LastIndexByte(b, '.')
	return i > 0 && j > 0 && a[:i] == b[:j] && strings.Count(a, ".") == 3
}

// same reports whether the content can be the same: all but ctime is equal.
func same(a, b *unix.Stat_t) bool {
	return identify(a) == identify(b) && a.Size == b.Size && a.Mtim == b.Mtim
}

func regular(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFREG }
func folder(st *unix.Stat_t) bool  { return st.Mode&unix.S_IFMT == unix.S_IFDIR }

// info describes what is no folder.
func info(key string, st *unix.Stat_t) object.Info {
	i := object.Info{Key: key, Version: token(st), Size: st.Size, ModTime: time.Unix(st.Mtim.Unix()).UTC(), Links: int(st.Nlink), Latest: true}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFLNK:
		i.Kind = object.Symlink
	default:
		i.Kind = object.Special
	}
	return i
}
