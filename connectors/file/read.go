package file

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// notRegular is the error of reading or changing what is no regular file.
func notRegular(op, key string) error {
	return &fault.Error{Op: op, On: short(key), Kind: fault.Unsupported, Reason: "not_regular", Err: errors.New("not a regular file")}
}

// changed is the error of a version that is not the one named.
func changed(op, key, what string) error {
	return fault.New(fault.Changed, op, short(key), errors.New(what))
}

// stat describes key in its open folder. A folder is fault.NotFound.
func stat(op, key string, dir int, base string) (st unix.Stat_t, err error) {
	if err := lstat(dir, base, &st); err != nil {
		return st, wrap(op, short(key), err)
	}
	if folder(&st) {
		return st, wrap(op, short(key), unix.EISDIR)
	}
	return st, nil
}

// Stat describes the file, its metadata included where it may be read. What is
// in a folder that is no longer the unit's is fault.NotFound too.
func (d *Driver) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	const op = "file.Stat"
	if err := ctx.Err(); err != nil {
		return object.Info{}, err
	}
	if err := d.present(op); err != nil {
		return object.Info{}, err
	}
	dir, base, err := d.parent(op, ref.Key)
	if err != nil {
		return object.Info{}, err
	}
	defer unix.Close(dir)
	st, err := stat(op, ref.Key, dir, base)
	if err != nil {
		return object.Info{}, err
	}
	i := info(ref.Key, &st)
	if ref.Version != "" && i.Version != ref.Version {
		return object.Info{}, changed(op, ref.Key, "it is another version now")
	}
	if i.Kind == object.Regular {
		if fd, err := openAt(dir, base); err == nil {
			i.Meta = readMeta(fd)
			_ = unix.Close(fd)
		}
	}
	return i, nil
}

// openRegular opens what key names and returns its state as the open
// descriptor tells it. What is no regular file is not opened.
func openRegular(op, key string, dir int, base string) (fd int, st unix.Stat_t, err error) {
	if st, err = stat(op, key, dir, base); err != nil {
		return -1, st, err
	}
	if !regular(&st) {
		return -1, st, notRegular(op, key)
	}
	if fd, err = openAt(dir, base); err != nil {
		return -1, st, wrap(op, short(key), err)
	}
	err = do(func() error { return unix.Fstat(fd, &st) })
	switch {
	case err != nil:
		err = wrap(op, short(key), err)
	case !regular(&st): // exchanged between the look and the open
		err = notRegular(op, key)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, st, err
	}
	return fd, st, nil
}

// Open reads the file, which must be in the unit's folder as for Stat. The reader is a connectors.SettledReader.
func (d *Driver) Open(ctx context.Context, ref object.Ref, offset int64) (connectors.Reader, error) {
	const op = "file.Open"
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fault.New(fault.Invalid, op, short(ref.Key), errors.New("a negative offset"))
	}
	if err := d.present(op); err != nil {
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
	r := &reader{d: d, ctx: ctx, info: info(ref.Key, &st), pos: offset, dev: uint64(st.Dev)}
	if ref.Version != "" && r.info.Version != ref.Version {
		_ = unix.Close(fd)
		return nil, changed(op, ref.Key, "it is another version now")
	}
	r.f = os.NewFile(uintptr(fd), base)
	return r, nil
}

// A reader reads a file by position: its descriptor may be shared.
type reader struct {
	d    *Driver
	ctx  context.Context // of Open: reading ends with it
	f    *os.File
	info object.Info
	dev  uint64
	pos  int64
}

// Read returns fault.Changed if the file ends elsewhere than it did at Open.
// The token alone does not tell: a file cut off while it was written to for the
// first time has, for a moment, the size and the times that it began with.
func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.f.ReadAt(p, r.pos)
	r.pos += int64(n)
	switch {
	case n > 0 && r.pos > r.info.Size:
		return n, changed("file.Read", r.info.Key, "it has become longer")
	case err == nil || n > 0 && err == io.EOF:
		return n, nil
	case err == io.EOF && r.pos < r.info.Size:
		return n, changed("file.Read", r.info.Key, "it has become shorter")
	case err == io.EOF:
		return n, err
	}
	return n, wrap("file.Read", short(r.info.Key), err)
}

func (r *reader) Info() object.Info { return r.info }
func (r *reader) File() *os.File    { return r.f }

// Restat reads the token of the open file; what its name is now makes no
// difference, beyond what losing it does to ctime.
func (r *reader) Restat() (object.Info, error) {
	var st unix.Stat_t
	if err := do(func() error { return unix.Fstat(int(r.f.Fd()), &st) }); err != nil {
		return object.Info{}, wrap("file.Restat", short(r.info.Key), err)
	}
	return info(r.info.Key, &st), nil
}

// Settled tries the lease on the open file, and takes the state that it has
// under it for the one to be read.
func (r *reader) Settled() (time.Duration, error) {
	fd := int(r.f.Fd())
	var st unix.Stat_t
	w := r.d.lease(fd)
	err := do(func() error { return unix.Fstat(fd, &st) })
	if w == leaseHeld {
		release(fd)
	}
	if err != nil {
		return 0, wrap("file.Settled", short(r.info.Key), err)
	}
	r.info = info(r.info.Key, &st)
	return r.d.patience(r.info.Key, w, &st), nil
}

func (r *reader) Close() error {
	if err := r.f.Close(); err != nil {
		return wrap("file.Close", short(r.info.Key), err)
	}
	return nil
}

// The pauses before it is worth looking again at a file that is being written.
const (
	firstLook = time.Millisecond
	lastLook  = 25 * time.Millisecond
)

// tempNames are conventions for files that are not complete yet, and by what
// they lengthen the window. A name is no hiding place: it never stops a scan.
const tempFactor = 5

func tempName(key string) bool {
	for _, suffix := range [...]string{".part", ".filepart", ".tmp", ".crdownload"} {
		if strings.HasSuffix(key, suffix) {
			return true
		}
	}
	return false
}

// window is how long size and mtime must stand still where no lease tells.
func (d *Driver) window(key string) time.Duration {
	if tempName(key) {
		return tempFactor * d.settle
	}
	return d.settle
}

// Settled says whether nobody is writing to the file, by a lease that is given
// up at once; where there is none, whether it stood still for the unit's
// window. Where the next change might not show in the version, the last must be
// two ticks old. What did not change for the unit's SettleMax is settled even if
// somebody keeps it open.
func (d *Driver) Settled(ctx context.Context, i object.Info) (time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if i.Kind != object.Regular {
		return 0, nil
	}
	w, st, err := d.writing(i.Key)
	if err != nil {
		return 0, err
	}
	return d.patience(i.Key, w, &st), nil
}

// patience is how long to wait before a file may be looked at again, 0 if it is
// settled.
func (d *Driver) patience(key string, w leased, st *unix.Stat_t) time.Duration {
	// ctime, not mtime: whoever owns the file can set mtime to any year.
	age := max(0, time.Since(time.Unix(st.Ctim.Unix())))
	switch {
	case !regular(st) || age >= d.settleMax:
		return 0
	case w == leaseHeld:
		return d.young(st, time.Now())
	case w == leaseBusy:
		return min(max(age, lastLook), d.settle)
	}
	return max(0, d.window(key)-age, d.young(st, time.Now()))
}

// there reports whether something has that name. What cannot be looked at is.
func (d *Driver) there(key string) bool {
	dir, base, err := d.parent("file.Watch", key)
	if err == nil {
		var st unix.Stat_t
		err = wrap("file.Watch", key, lstat(dir, base, &st))
		_ = unix.Close(dir)
	}
	return !fault.Is(err, fault.NotFound, fault.Invalid)
}

// writing says whether somebody has the file open for writing. What is no
// regular file, or may not be opened, is leaseUnknown.
func (d *Driver) writing(key string) (leased, unix.Stat_t, error) {
	const op = "file.Settled"
	var st unix.Stat_t
	dir, base, err := d.parent(op, key)
	if err != nil {
		return leaseUnknown, st, err
	}
	defer unix.Close(dir)
	if err := lstat(dir, base, &st); err != nil {
		return leaseUnknown, st, wrap(op, short(key), err)
	}
	if !regular(&st) {
		return leaseUnknown, st, nil
	}
	fd, err := openAt(dir, base)
	switch {
	case errors.Is(err, unix.EAGAIN): // another's lease that our opening would break
		return leaseBusy, st, nil
	case errors.Is(err, unix.ENOENT):
		return leaseUnknown, st, wrap(op, short(key), err)
	case err != nil:
		return leaseUnknown, st, nil
	}
	defer unix.Close(fd)
	w := d.lease(fd)
	err = do(func() error { return unix.Fstat(fd, &st) })
	if w == leaseHeld {
		release(fd)
	}
	return w, st, wrap(op, short(key), err)
}
