package file

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Put writes the file under a temporary name in the private folder, makes it
// durable, and gives it its name only if that is free, or, with IfVersion, once
// exactly that version was moved aside. Missing folders are made. A new file
// has mode 0666 less the umask, and no rights for group and others where they
// have none to the unit's folder; a replacement keeps mode and owner. Metadata
// and tags are extended attributes: where the file system has none, tags are
// fault.Unsupported and metadata is left out, as the Info returned shows.
func (d *Driver) Put(ctx context.Context, key string, r io.Reader, opt connectors.PutOptions) (object.Info, error) {
	const op = "file.Put"
	if err := ctx.Err(); err != nil {
		return object.Info{}, err
	}
	if err := d.check(op, key); err != nil {
		if fault.Is(err, fault.NotFound) {
			return object.Info{}, fault.New(fault.Denied, op, short(key), errors.New("excluded from the unit"))
		}
		return object.Info{}, err
	}
	if opt.IfVersion == "" && reserved(key) { // nothing new: it would lie where we, or strangers, hide things
		return object.Info{}, fault.New(fault.Denied, op, short(key), errors.New("the name is reserved for the private folder"))
	}
	if opt.TempName == "" {
		opt.TempName = "put-" + rand.Text()
	}
	if !plain(opt.TempName) {
		return object.Info{}, fault.New(fault.Invalid, op, short(key), errors.New("the temporary name is not the name of a file"))
	}
	base := object.Base(key)
	parent, err := d.create(key[:len(key)-len(base)])
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return object.Info{}, fault.New(fault.Invalid, op, short(key), fmt.Errorf("what should be a folder on the way is none: %w", err))
	}
	if err != nil {
		return object.Info{}, wrap(op, short(key), err)
	}
	defer unix.Close(parent)
	ref := object.Ref{Key: key, Version: opt.IfVersion}
	old, err := d.mayPut(ctx, op, ref, parent, base, opt)
	if err != nil {
		return object.Info{}, err
	}
	tmp, err := d.private(op, tempDir)
	if err != nil {
		return object.Info{}, errors.Join(err, old.undo())
	}
	defer unix.Close(tmp)
	f, err := d.write(ctx, op, key, tmp, r, opt)
	if err != nil {
		_ = unlink(tmp, opt.TempName) // the error that counts is the first
		return object.Info{}, errors.Join(err, old.undo())
	}
	defer f.Close()
	if err := d.name(ctx, op, ref, parent, base, tmp, old, f, opt); err != nil {
		_ = unlink(tmp, opt.TempName)
		return object.Info{}, err
	}
	var st unix.Stat_t
	if err := do(func() error { return unix.Fstat(int(f.Fd()), &st) }); err != nil {
		return object.Info{}, wrap(op, short(key), err)
	}
	i := info(key, &st)
	i.Meta = readMeta(int(f.Fd()))
	return i, nil
}

// mayPut looks at the precondition before a byte is read. It returns the
// version to replace if an earlier run with the same names was interrupted when
// it had moved that aside already.
func (d *Driver) mayPut(ctx context.Context, op string, ref object.Ref, parent int, base string, opt connectors.PutOptions) (*aside, error) {
	var st unix.Stat_t
	err := lstat(parent, base, &st)
	there := err == nil
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, wrap(op, short(ref.Key), err)
	}
	if ref.Version == "" {
		if there {
			return nil, fault.New(fault.Exists, op, short(ref.Key), nil)
		}
		return nil, nil
	}
	old, err := d.leftAside(ctx, op, ref, parent, base, opt.TempName, nil)
	switch {
	case err != nil:
		return nil, err
	case old != nil && there: // the earlier run got as far as the new name
		defer old.close()
		return nil, errors.Join(changed(op, ref.Key, "it was replaced already"), old.drop())
	case old != nil:
		return old, nil
	case !there:
		return nil, changed(op, ref.Key, "it is gone")
	case token(&st) != ref.Version:
		return nil, changed(op, ref.Key, "it is another version now")
	}
	return nil, nil
}

// undo puts back what mayPut found aside, if anything, and closes it.
func (a *aside) undo() error {
	if a == nil {
		return nil
	}
	defer a.close()
	return a.putBack()
}

// write fills the temporary file and makes it durable.
func (d *Driver) write(ctx context.Context, op, key string, tmp int, r io.Reader, opt connectors.PutOptions) (*os.File, error) {
	if err := unlink(tmp, opt.TempName); err != nil && !errors.Is(err, unix.ENOENT) { // of a run that crashed
		return nil, wrap(op, short(key), err)
	}
	mode, err := d.mode(0o666)
	if err != nil {
		return nil, wrap(op, short(key), err)
	}
	fd, err := retry(func() (int, error) {
		return unix.Openat(tmp, opt.TempName, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	})
	if err != nil {
		return nil, wrap(op, short(key), err)
	}
	f := os.NewFile(uintptr(fd), opt.TempName)
	err = func() error {
		h := sha256.New()
		n, err := copyTo(ctx, io.MultiWriter(f, h), r, opt.Size)
		switch {
		case err != nil:
			return err
		case opt.Size >= 0 && n != opt.Size:
			return changed(op, key, fmt.Sprintf("%d bytes came instead of %d", n, opt.Size))
		case opt.SHA256 != nil && !bytes.Equal(h.Sum(nil), opt.SHA256):
			return changed(op, key, "the content is not what was announced")
		}
		if err := writeMeta(fd, opt.Meta); err != nil {
			return err
		}
		if len(opt.Tags) > 0 {
			if _, err := setTags(fd, opt.Tags); err != nil {
				return err
			}
		}
		return f.Sync()
	}()
	if err != nil {
		return nil, errors.Join(wrap(op, short(key), err), closed(f))
	}
	return f, nil
}

// closed closes f and leaves its error out: the file is about to be unlinked.
func closed(f *os.File) error {
	_ = f.Close()
	return nil
}

// copyTo copies until r ends, and one byte beyond size at most.
func copyTo(ctx context.Context, w io.Writer, r io.Reader, size int64) (n int64, err error) {
	buf := make([]byte, 256<<10)
	for empty := 0; ; {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		m, rerr := r.Read(buf)
		if m > 0 {
			empty = 0
			if _, err := w.Write(buf[:m]); err != nil {
				return n, err
			}
		} else if empty++; empty > 100 && rerr == nil {
			return n, io.ErrNoProgress
		}
		n += int64(m)
		switch {
		case rerr == io.EOF:
			return n, nil
		case rerr != nil:
			return n, rerr
		case size >= 0 && n > size:
			return n, nil // too long already: the caller sees it
		}
	}
}

// name gives the temporary file its name, in place of old or of the version of
// ref if there is one.
func (d *Driver) name(ctx context.Context, op string, ref object.Ref, parent int, base string, tmp int, old *aside, f *os.File, opt connectors.PutOptions) (err error) {
	if ref.Version != "" && old == nil {
		if old, err = d.setAside(ctx, op, ref, parent, base, opt.TempName, nil); err != nil {
			if fault.Is(err, fault.NotFound) {
				return changed(op, ref.Key, "it is gone")
			}
			return err
		}
	}
	if old != nil {
		defer old.close()
		fd := int(f.Fd())
		_ = unix.Fchown(fd, int(old.st.Uid), int(old.st.Gid)) // only some users may give files away
		if err := do(func() error { return unix.Fchmod(fd, old.st.Mode&0o777) }); err != nil {
			return old.restore(err)
		}
	}
	err = renameNew(tmp, opt.TempName, parent, base)
	if errors.Is(err, unix.EXDEV) {
		err = fault.New(fault.Unsupported, op, short(ref.Key), errors.New("the folder is on another file system, mounted inside the unit: make that a unit of its own"))
	}
	switch {
	case err != nil && old != nil:
		return old.restore(wrap(op, short(ref.Key), err))
	case err != nil:
		return wrap(op, short(ref.Key), err)
	case old != nil:
		return old.drop()
	}
	return wrap(op, short(ref.Key), syncDir(parent))
}
