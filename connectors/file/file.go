// Package file is the connector for folders of this machine: file:///dir.
//
// A key is a path below the folder, as bytes. It is walked by the kernel
// beneath the folder's descriptor and without symbolic links (openat2 with
// RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS): os.Root would follow a link that
// stays inside, and one key would name another key's file. Links, devices,
// pipes and sockets are listed by their kind and never opened.
//
// Every act is bound to the version token (inode, size, mtime, ctime) by a
// lease, which proves that nobody has the file open for writing, and by moving
// the file aside before it goes; see aside.go.
//
// What the token cannot tell nobody can: on tmpfs a write through a shared
// mapping moves no time at all, so content that is exchanged that way after its
// scan is noticed only with the next change of another kind. And whoever runs
// as the same user as we do can do all that we can, the private folder included.
package file

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// private is the folder at the unit's root, mode 0700, where files are moved
// aside and written before they get their name; see names for what else it may
// be called. As long as it is ours alone it is no part of the unit.
const private = ".landwaiter"

// Defaults of a unit.
const (
	defaultSettle    = 2 * time.Second
	defaultSettleMax = 15 * time.Minute
)

// Driver is an open folder.
type Driver struct {
	unit      string
	path      string // absolute, without symbolic links
	root      *os.File
	conn      syscall.RawConn // of root: keeps its descriptor while it is used
	id        identity
	readOnly  bool     // nothing is to be written
	stepwise  bool     // no openat2: walk a component at a time
	multi     bool     // each change after a look moves ctime
	leaseless bool     // behave as where no lease can be had
	maxPaths  int      // bytes of the names of watched folders
	exclude   []string // folders' keys with '/', never part of the unit
	parts     []string // folders' keys with '/' that are watched; nil = all
	settle    time.Duration
	settleMax time.Duration
	unwatched atomic.Pointer[degraded]  // by the watch, for Degraded
	blind     atomic.Pointer[time.Time] // since when nobody watched
}

// identity tells a file from every other that exists at the same time.
type identity struct{ dev, ino uint64 }

func identify(st *unix.Stat_t) identity { return identity{uint64(st.Dev), st.Ino} }

// Open opens the folder that the unit's URL names: file:///dir or a plain path.
// It must exist and be readable.
func Open(ctx context.Context, u connectors.Unit) (connectors.Driver, error) {
	const op = "file.Open"
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir, err := settings(u)
	if err != nil {
		return nil, err
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, wrap(op, dir, err)
	}
	root, err := os.OpenFile(real, os.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, wrap(op, dir, err)
	}
	d := &Driver{unit: u.Name, path: real, root: root, readOnly: u.ReadOnly, settle: u.Settle, settleMax: u.SettleMax, maxPaths: maxPaths}
	if d.settle <= 0 {
		d.settle = defaultSettle
	}
	if d.settleMax <= 0 {
		d.settleMax = defaultSettleMax
	}
	now := time.Now()
	d.blind.Store(&now)
	if err := d.open(u); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return d, nil
}

// Check says what is wrong with the unit's URL and options, without looking
// whether the folder exists: fault.Invalid.
func Check(u connectors.Unit) error {
	_, err := settings(u)
	return err
}

// settings returns the folder's absolute path.
func settings(u connectors.Unit) (string, error) {
	const op = "file.Open"
	dir, err := location(u.URL)
	if err != nil {
		return "", fault.New(fault.Invalid, op, u.URL, err)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(u.Options)) {
		errs = append(errs, &connectors.OptionError{Name: name, Err: errors.New("unknown: a local folder has no options")})
	}
	if err := errors.Join(errs...); err != nil {
		return "", fault.New(fault.Invalid, op, u.URL, err)
	}
	return dir, nil
}

func (d *Driver) open(u connectors.Unit) (err error) {
	const op = "file.Open"
	if d.conn, err = d.root.SyscallConn(); err != nil {
		return wrap(op, d.path, err)
	}
	var st unix.Stat_t
	fd, err := d.walk("", unix.O_RDONLY)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // before Linux 5.6, or withheld by a sandbox
		d.stepwise = true
		fd, err = d.walk("", unix.O_RDONLY)
	}
	if err != nil {
		return wrap(op, d.path, err)
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return wrap(op, d.path, err)
	}
	if _, err := unix.Getdents(fd, make([]byte, 4096)); err != nil {
		return wrap(op, d.path, err)
	}
	d.id = identify(&st)
	for _, x := range u.Exclude {
		real, err := filepath.EvalSymlinks(x)
		if err != nil {
			real = filepath.Clean(x)
		}
		rel, err := filepath.Rel(d.path, real)
		switch {
		case err != nil || rel == ".." || strings.HasPrefix(rel, "../"):
			if below(d.path, real) {
				return fault.New(fault.Invalid, op, d.path, fmt.Errorf("the folder lies in %s, which the unit excludes", x))
			}
		case rel == ".":
			return fault.New(fault.Invalid, op, d.path, errors.New("the unit excludes its own folder"))
		default:
			d.exclude = append(d.exclude, rel+"/")
		}
	}
	for _, p := range u.Partitions {
		if p = strings.Trim(p, "/"); p == "" {
			d.parts = nil
			break
		}
		d.parts = append(d.parts, p+"/")
	}
	if d.readOnly {
		d.multi = knownMultigrain(fd, &st)
	} else {
		d.multi = multigrain(fd)
		d.clean(time.Now())
	}
	return nil
}

func below(path, dir string) bool {
	return strings.HasPrefix(path+"/", strings.TrimSuffix(dir, "/")+"/")
}

// location returns the absolute path that a URL or a plain path names.
func location(s string) (string, error) {
	if rest, ok := strings.CutPrefix(s, "file:"); ok {
		u, err := url.Parse(s)
		switch {
		case err != nil:
			return "", err
		case u.Host != "" && u.Host != "localhost":
			return "", fmt.Errorf("%q names another machine: a local folder is file:///dir", u.Host)
		case u.RawQuery != "" || u.Fragment != "":
			return "", errors.New("a local folder's URL has no query: write '?' as %3F and '#' as %23")
		case u.Path == "":
			return "", fmt.Errorf("no path in %q: a local folder is file:///dir", rest)
		}
		s = u.Path
	}
	if s == "" || strings.IndexByte(s, 0) >= 0 {
		return "", errors.New("not a path")
	}
	return filepath.Abs(s)
}

// Close gives the folder's descriptor back.
func (d *Driver) Close() error {
	if err := d.root.Close(); err != nil {
		return wrap("file.Close", d.path, err)
	}
	return nil
}

// present returns fault.NotFound unless the folder is where it was opened: one
// that was removed, moved or unmounted must not look like an empty one.
func (d *Driver) present(op string) error {
	var st unix.Stat_t
	err := unix.Stat(d.path, &st)
	if err == nil && identify(&st) != d.id {
		err = errors.New("another folder is in its place (moved or unmounted?)")
	}
	if err == nil {
		return nil
	}
	if e := wrap(op, d.path, err); fault.Is(e, fault.Denied, fault.Unavailable) {
		return e
	}
	return fault.New(fault.NotFound, op, d.path, fmt.Errorf("the unit's folder is gone: %w", err))
}

// excluded reports whether a key, or a folder's key with '/', is not part of
// the unit. Whether a private folder is ours is looked at each time.
func (d *Driver) excluded(key string) bool {
	if reserved(key) {
		if top, _, _ := strings.Cut(key, "/"); d.owns(top) {
			return true
		}
	}
	for _, x := range d.exclude {
		if strings.HasPrefix(key, x) || key == x[:len(x)-1] {
			return true
		}
	}
	return false
}

// check returns fault.Invalid for what is not a key of a file: an empty one, an
// absolute one, an empty or dotted component, a NUL, a component of more than
// 255 bytes. Keys that the unit excludes are fault.NotFound.
func (d *Driver) check(op, key string) error {
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part == "." || part == ".." || len(part) > unix.NAME_MAX || strings.IndexByte(part, 0) >= 0 {
			return fault.New(fault.Invalid, op, short(key), errors.New("not a path below the unit's folder"))
		}
	}
	if d.excluded(key) {
		return fault.New(fault.NotFound, op, short(key), errors.New("excluded from the unit"))
	}
	return nil
}

// short is a key fit for an error message.
func short(key string) string {
	if len(key) > 512 {
		key = key[:512] + "…"
	}
	return object.FormatKey(key)
}
