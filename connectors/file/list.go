package file

import (
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/object"
)

// Bounds on the names that a listing holds: those of one folder, and less with
// each level below. A folder with more is read again for the next part.
const (
	namesAtRoot = 16 << 20 // bytes
	namesAtLeaf = 32 << 10
	nameCost    = 32 // beside its bytes
)

// List yields every file, link and special file in byte order of the key: the
// names of a folder are sorted as if folders ended in '/'. A folder that cannot
// be read is a *connectors.Gap. Folders themselves are no objects.
func (d *Driver) List(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		const op = "file.List"
		if err := ctx.Err(); err != nil {
			yield(object.Info{}, err)
			return
		}
		if err := d.present(op); err != nil {
			yield(object.Info{}, err)
			return
		}
		top := prefix[:strings.LastIndexByte(prefix, '/')+1]
		if top != "" && d.check(op, top[:len(top)-1]) != nil {
			return // no key has such a prefix
		}
		l := &listing{d: d, ctx: ctx, prefix: prefix, start: start, yield: yield}
		if !l.folder(top, 0) {
			return
		}
		// What vanished meanwhile may have vanished with the whole folder.
		if err := d.present(op); err != nil {
			yield(object.Info{}, err)
		}
	}
}

type listing struct {
	d             *Driver
	ctx           context.Context // of List
	prefix, start string
	yield         func(object.Info, error) bool
	buf           []byte
}

// wants reports whether name, in the folder path, may be or lead to a key that
// is asked for. Folders' names end in '/'.
func (l *listing) wants(path, name string) bool {
	key := path + name
	if strings.HasSuffix(name, "/") {
		return (strings.HasPrefix(key, l.prefix) || strings.HasPrefix(l.prefix, key)) &&
			(key > l.start || strings.HasPrefix(l.start, key)) && !l.d.excluded(key)
	}
	return key > l.start && strings.HasPrefix(key, l.prefix) && !l.d.excluded(key)
}

// folder lists what is below path ("" or ending in '/'). It returns false when
// the listing is over. No descriptor stays open while it goes deeper.
func (l *listing) folder(path string, depth int) bool {
	fd := -1
	closeDir := func() {
		if fd >= 0 {
			_ = unix.Close(fd)
			fd = -1
		}
	}
	defer closeDir()
	gap := func(err error) bool {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return true // no longer a folder: not there to be listed
		}
		return l.yield(object.Info{}, &connectors.Gap{Prefix: path, Err: wrap("file.List", short(path), err)})
	}
	for after, more := "", true; more; {
		var err error
		if fd < 0 {
			if fd, err = l.d.walk(path, unix.O_RDONLY); err != nil {
				return gap(err)
			}
		}
		if l.buf == nil {
			l.buf = make([]byte, 64<<10)
		}
		var names []string
		names, more, err = readNames(fd, l.buf, after, max(namesAtLeaf, namesAtRoot>>min(depth, 20)), func(name string) bool { return l.wants(path, name) })
		if err != nil {
			return gap(err)
		}
		for _, name := range names {
			if err := l.ctx.Err(); err != nil {
				l.yield(object.Info{}, err)
				return false
			}
			after = name
			if strings.HasSuffix(name, "/") {
				closeDir()
				if !l.folder(path+name, depth+1) {
					return false
				}
				continue
			}
			if fd < 0 {
				if fd, err = l.d.walk(path, unix.O_PATH); err != nil {
					return gap(err)
				}
			}
			var st unix.Stat_t
			err := lstat(fd, name, &st)
			switch {
			case errors.Is(err, unix.ENOENT) || err == nil && folder(&st):
				continue // gone, or another thing than when the folder was read
			case err != nil:
				return gap(err) // a folder that may be read but not searched
			}
			if !l.yield(info(path+name, &st), nil) {
				return false
			}
		}
		if more {
			closeDir() // read from its beginning again
		}
	}
	return true
}

// readNames returns, sorted, the names in an open folder that come after after
// and that wants accepts; folders' names end in '/'. They take at most about
// budget bytes: if more is true there are further ones.
func readNames(fd int, buf []byte, after string, budget int, wants func(string) bool) (names []string, more bool, err error) {
	size, last := 0, ""
	for {
		n, err := retry(func() (int, error) { return unix.Getdents(fd, buf) })
		if err != nil {
			return nil, false, err
		}
		if n == 0 {
			slices.Sort(names)
			return names, more, nil
		}
		for b := buf[:n]; len(b) > 0; {
			// struct linux_dirent64: ino, off (8 bytes each), reclen (2), type (1), name
			reclen := binary.NativeEndian.Uint16(b[16:])
			kind, raw := b[18], b[19:reclen]
			b = b[reclen:]
			if end := slices.Index(raw, 0); end >= 0 {
				raw = raw[:end]
			}
			if string(raw) == "." || string(raw) == ".." {
				continue
			}
			name := string(raw)
			if kind == unix.DT_UNKNOWN {
				var st unix.Stat_t
				if lstat(fd, name, &st) != nil {
					continue
				}
				if folder(&st) {
					kind = unix.DT_DIR
				}
			}
			if kind == unix.DT_DIR {
				name += "/"
			}
			if name <= after || more && name > last || !wants(name) {
				continue
			}
			names = append(names, name)
			if size += len(name) + nameCost; size > budget {
				// Keep the smaller half; what is larger comes with the next reading.
				slices.Sort(names)
				names = slices.Delete(names, max(1, len(names)/2), len(names))
				last, more, size = names[len(names)-1], true, 0
				for _, kept := range names {
					size += len(kept) + nameCost
				}
			}
		}
	}
}
