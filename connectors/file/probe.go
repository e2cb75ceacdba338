package file

import (
	"context"
	"crypto/rand"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
)

// Probe finds out, in the private folder whatever the prefix, what the folder's
// file system can do: extended attributes, and renaming or linking without
// replacing. Without leases removal is fenced by the hash, so it is never lost.
// Where no private folder is to be had for now, all that is assumed: none of it
// can do harm where it is not so, the acts fail.
func (d *Driver) Probe(ctx context.Context, _ string) (caps connectors.Caps, err error) {
	const op = "file.Probe"
	if err := ctx.Err(); err != nil {
		return caps, err
	}
	caps = connectors.Caps{Watch: true, Settle: true, Put: true, Remove: true, Prune: true, Tag: true,
		FencedRemove: true, FencedPut: true, Ordered: true}
	dir, err := d.private(op, tempDir)
	if fault.Is(err, fault.Unavailable) {
		// For the time being. The unit is watched and scanned all the same, and each
		// act says what keeps it from being done.
		return caps, nil
	}
	if err != nil {
		return connectors.Caps{}, err
	}
	defer unix.Close(dir)
	a, b := "probe-"+rand.Text(), "probe-"+rand.Text()
	var fds []int
	for _, name := range []string{a, b} {
		fd, err := retry(func() (int, error) {
			return unix.Openat(dir, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
		})
		if err != nil {
			return caps, wrap(op, d.path, err)
		}
		fds = append(fds, fd)
		defer unix.Close(fd)
		defer func() { err = errors.Join(err, wrap(op, d.path, unlink(dir, name))) }()
	}
	fenced := errors.Is(renameNew(dir, a, dir, b), unix.EEXIST)
	caps.FencedRemove, caps.FencedPut = fenced, fenced
	caps.Tag = setAttr(fds[0], "landwaiter.probe", "1") == nil
	return caps, nil
}
