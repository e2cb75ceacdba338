package file

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Tags are extended attributes "user." + key; the metadata of a Put are those
// that begin with "user.landwaiter.meta.".
const (
	attrPrefix = "user."
	metaPrefix = "landwaiter.meta."
	maxName    = 255 - len(attrPrefix) // the kernel's bound
	maxValue   = 4 << 10               // bytes: ext4 has about that much for all of a file's
)

// Tags reads the user attributes of the file, our metadata excepted.
func (d *Driver) Tags(ctx context.Context, ref object.Ref) (map[string]string, error) {
	const op = "file.Tags"
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir, base, err := d.parent(op, ref.Key)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	fd, st, err := openRegular(op, ref.Key, dir, base)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if ref.Version != "" && token(&st) != ref.Version {
		return nil, changed(op, ref.Key, "it is another version now")
	}
	tags, err := attrs(fd, func(name string) bool { return !strings.HasPrefix(name, metaPrefix) })
	return tags, wrap(op, short(ref.Key), err)
}

// Tag merges set into the file's user attributes. They are written under a
// lease where one can be had. If the file turns out to have been written to or
// exchanged meanwhile, they are taken back: fault.Changed. Writing moves ctime,
// and with it the version, unless every value is there already.
func (d *Driver) Tag(ctx context.Context, ref object.Ref, set map[string]string) (object.Info, error) {
	const op = "file.Tag"
	if err := ctx.Err(); err != nil {
		return object.Info{}, err
	}
	for k, v := range set {
		if k == "" || len(k) > maxName || len(v) > maxValue || strings.IndexByte(k, 0) >= 0 || strings.HasPrefix(k, metaPrefix) {
			return object.Info{}, fault.New(fault.Invalid, op, short(ref.Key), errors.New("a tag's key has 1 to 250 bytes, none of them NUL, its value at most 4096"))
		}
	}
	dir, base, err := d.parent(op, ref.Key)
	if err != nil {
		return object.Info{}, err
	}
	defer unix.Close(dir)
	fd, st, err := openRegular(op, ref.Key, dir, base)
	if err != nil {
		return object.Info{}, err
	}
	defer unix.Close(fd) // gives a lease up
	held := d.lease(fd)
	if err := do(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return object.Info{}, wrap(op, short(ref.Key), err)
	}
	if ref.Version != "" && token(&st) != ref.Version {
		return object.Info{}, changed(op, ref.Key, "it is another version now")
	}
	old, err := setTags(fd, set)
	if err != nil {
		return object.Info{}, wrap(op, short(ref.Key), errors.Join(err, untag(fd, old)))
	}
	var now, named unix.Stat_t
	err = do(func() error { return unix.Fstat(fd, &now) })
	why := ""
	switch {
	case err != nil:
		why = err.Error()
	case !same(&now, &st):
		why = "it was written to while it was tagged"
	case held == leaseHeld && !unbroken(fd):
		why = "somebody opened it for writing while it was tagged"
	case lstat(dir, base, &named) != nil || identify(&named) != identify(&now):
		why = "another file was given its name while it was tagged"
	}
	if why != "" {
		return object.Info{}, errors.Join(changed(op, ref.Key, why), wrap(op, short(ref.Key), untag(fd, old)))
	}
	return info(ref.Key, &now), nil
}

// setTags writes what differs, reads it back, and returns the values that were
// there before, "" for none.
func setTags(fd int, set map[string]string) (old map[string]string, err error) {
	have, err := attrs(fd, func(name string) bool { _, ours := set[name]; return ours })
	if err != nil {
		return nil, err
	}
	old = map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(set)) {
		if have[k] == set[k] {
			continue
		}
		old[k] = have[k]
		if err := setAttr(fd, k, set[k]); err != nil {
			return old, err
		}
	}
	if len(old) == 0 {
		return old, nil
	}
	got, err := attrs(fd, func(name string) bool { _, ours := set[name]; return ours })
	if err != nil {
		return old, err
	}
	for k, v := range set {
		if got[k] != v {
			return old, fault.New(fault.Unavailable, "file.Tag", k, errors.New("the value read back is another"))
		}
	}
	return old, nil
}

// untag puts back the values from before setTags.
func untag(fd int, old map[string]string) error {
	var errs []error
	for k, v := range old {
		errs = append(errs, setAttr(fd, k, v))
	}
	return errors.Join(errs...)
}

// setAttr writes a user attribute; "" removes it.
func setAttr(fd int, name, value string) error {
	if value == "" {
		err := do(func() error { return unix.Fremovexattr(fd, attrPrefix+name) })
		if errors.Is(err, unix.ENODATA) {
			return nil
		}
		return err
	}
	return do(func() error { return unix.Fsetxattr(fd, attrPrefix+name, []byte(value), 0) })
}

// attrs reads the user attributes whose name, without "user.", is wanted.
func attrs(fd int, want func(name string) bool) (map[string]string, error) {
	var list [4 << 10]byte
	names := list[:]
	for {
		n, err := retry(func() (int, error) { return unix.Flistxattr(fd, names) })
		if errors.Is(err, unix.ERANGE) && len(names) < 64<<10 { // the kernel's bound
			names = make([]byte, 64<<10)
			continue
		}
		if err != nil {
			return nil, err
		}
		names = names[:n]
		break
	}
	out := map[string]string{}
	if len(names) == 0 {
		return out, nil
	}
	value := make([]byte, 64<<10)
	for full := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		name, user := strings.CutPrefix(full, attrPrefix)
		if !user || !want(name) {
			continue
		}
		n, err := retry(func() (int, error) { return unix.Fgetxattr(fd, full, value) })
		if errors.Is(err, unix.ENODATA) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		out[name] = string(value[:n])
	}
	return out, nil
}

// readMeta reads the metadata of an open file, nil if there is none.
func readMeta(fd int) map[string]string {
	all, err := attrs(fd, func(name string) bool { return strings.HasPrefix(name, metaPrefix) })
	if err != nil || len(all) == 0 {
		return nil
	}
	meta := make(map[string]string, len(all))
	for name, v := range all {
		meta[name[len(metaPrefix):]] = v
	}
	return meta
}

// writeMeta writes the metadata of a new file; a file system without extended
// attributes leaves it out.
func writeMeta(fd int, meta map[string]string) error {
	for name, v := range meta {
		if name == "" || len(metaPrefix)+len(name) > maxName || strings.IndexByte(name, 0) >= 0 {
			return fault.New(fault.Invalid, "file.Put", name, errors.New("not a name for metadata"))
		}
		err := setAttr(fd, metaPrefix+name, v)
		if errors.Is(err, unix.EOPNOTSUPP) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
