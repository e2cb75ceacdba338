package file

import (
	"errors"

	"golang.org/x/sys/unix"
)

// What a lease tells of a file. A read lease is refused while anyone has the
// file open for writing (also through a hard link, or a shared mapping after
// close), and the kernel holds later writers back until it is given up. It
// takes the file's owner or CAP_LEASE, and a file system that has leases.
type leased uint8

const (
	leaseUnknown leased = iota // it cannot be had here
	leaseHeld                  // nobody has the file open for writing
	leaseBusy                  // somebody does
)

// lease takes a read lease on a descriptor that is open for reading.
func (d *Driver) lease(fd int) leased {
	if d.leaseless {
		return leaseUnknown
	}
	_, err := retry(func() (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK) })
	switch {
	case err == nil:
		return leaseHeld
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EBUSY):
		return leaseBusy
	}
	return leaseUnknown // EACCES, EPERM: not ours; EINVAL, ENOLCK, EOPNOTSUPP …: not here
}

// unbroken reports whether a lease that was taken still holds: nobody has tried
// to write, or was let through because we held it too long.
func unbroken(fd int) bool {
	kind, err := retry(func() (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_GETLEASE, 0) })
	return err == nil && kind == unix.F_RDLCK
}

// release lets writers go on. Closing the descriptor does so too.
func release(fd int) {
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK) // it fails only if there is none
}
