package file

import (
	"context"
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/fault"
)

// kinds is what the kernel's errors mean to a caller.
var kinds = map[unix.Errno]fault.Kind{
	unix.ENOENT:       fault.NotFound,
	unix.ENOTDIR:      fault.NotFound, // a component of the key is a file
	unix.EISDIR:       fault.NotFound, // the key names a folder
	unix.ELOOP:        fault.NotFound, // a component of the key is a symbolic link
	unix.ESTALE:       fault.Unavailable,
	unix.EEXIST:       fault.Exists,
	unix.ENOTEMPTY:    fault.Exists,
	unix.EACCES:       fault.Denied,
	unix.EPERM:        fault.Denied,
	unix.EROFS:        fault.Denied,
	unix.ENAMETOOLONG: fault.Invalid,
	unix.EINVAL:       fault.Invalid,
	unix.EILSEQ:       fault.Invalid, // a name that the file system's encoding cannot hold
	unix.EFBIG:        fault.Invalid,
	unix.ENODATA:      fault.NotFound,
	unix.EOPNOTSUPP:   fault.Unsupported,
	unix.ENOSYS:       fault.Unsupported,
	unix.ENXIO:        fault.Unsupported,
	unix.EXDEV:        fault.Unsupported,
	unix.ENOSPC:       fault.Unavailable,
	unix.EDQUOT:       fault.Unavailable,
	unix.EMFILE:       fault.Unavailable,
	unix.ENFILE:       fault.Unavailable,
	unix.ENOMEM:       fault.Unavailable,
	unix.EAGAIN:       fault.Unavailable, // another's lease on the file
	unix.EBUSY:        fault.Unavailable,
	unix.ETXTBSY:      fault.Unavailable,
	unix.EIO:          fault.Unavailable,
	unix.ETIMEDOUT:    fault.Unavailable,
	unix.EHOSTDOWN:    fault.Unavailable, // the server of a network mount
}

// wrap gives a kernel's error its Kind. The end of a context and errors that
// have a Kind pass through.
func wrap(op, on string, err error) error {
	if err == nil || fault.KindOf(err) != fault.Other ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &fault.Error{Op: op, On: on, Err: err}
	var no unix.Errno
	switch {
	case errors.As(err, &no):
		e.Kind = kinds[no]
	case errors.Is(err, fs.ErrClosed):
		e.Kind = fault.Unavailable
	}
	if e.Kind == fault.Denied {
		e.Reason = "access_denied"
	}
	return e
}
