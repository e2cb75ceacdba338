package smb

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	smb2 "github.com/hirochachacha/go-smb2"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Put writes the file under a temporary name in the private folder, flushes it,
// and gives it its name only if that is free, or, with IfVersion, once exactly
// that version was moved aside. Missing folders are made. Metadata is an
// alternate data stream: where the server keeps none it is left out, as the Info
// returned shows. Tags are fault.Unsupported.
func (d *Driver) Put(ctx context.Context, key string, r io.Reader, opt connectors.PutOptions) (object.Info, error) {
	const op = "smb.Put"
	if err := errors.Join(d.checkNew(op, key), ctx.Err()); err != nil {
		return object.Info{}, err
	}
	switch {
	case reserved(key) && opt.IfVersion == "":
		return object.Info{}, fault.New(fault.Denied, op, short(key), errors.New("the name is reserved for the private folder"))
	case len(opt.Tags) > 0:
		return object.Info{}, fault.New(fault.Unsupported, op, short(key), errors.New("files on a share have no tags"))
	}
	if opt.TempName == "" {
		opt.TempName = "put-" + rand.Text()
	}
	if err := plain(opt.TempName); err != nil {
		return object.Info{}, fault.New(fault.Invalid, op, short(key), fmt.Errorf("the temporary name: %w", err))
	}
	old := d.asideOf(op, key, opt.TempName)
	defer old.end()
	ref := object.Ref{Key: key, Version: opt.IfVersion}
	set, err := d.mayPut(ctx, op, ref, old)
	if err != nil {
		return object.Info{}, err
	}
	temp := tempDir + opt.TempName
	defer d.begin(temp)()
	undo := func(err error) error {
		ctx, cancel := d.finish(ctx)
		defer cancel()
		_ = d.unlink(ctx, op, temp) // the error that counts is the first
		if set {
			err = errors.Join(err, old.putBack(ctx))
		}
		return err
	}
	meta, err := d.write(ctx, op, key, temp, r, opt)
	if err == nil {
		err = d.makeFolders(ctx, op, key)
	}
	if err == nil {
		set, err = d.name(ctx, op, ref, temp, old, set)
	}
	if err != nil {
		return object.Info{}, undo(err)
	}
	st, err := d.lstat(ctx, op, key)
	if err != nil {
		return object.Info{}, err
	}
	d.spelled.add(key)
	i := st.info(key)
	i.Meta = meta
	return i, nil
}

// name gives the temporary file its name, in place of the version of ref if
// there is one. set says, before and after, whether that is aside.
func (d *Driver) name(ctx context.Context, op string, ref object.Ref, temp string, old *aside, set bool) (bool, error) {
	unlock, err := d.acts.lock(ctx, ref.Key)
	if err != nil {
		return set, err
	}
	defer unlock()
	if ref.Version != "" && !set {
		err := old.set(ctx, ref, nil)
		if fault.Is(err, fault.NotFound) {
			err = changed(op, ref.Key, "it is gone")
		}
		if err != nil {
			return false, err
		}
		set = true
	}
	if err := d.rename(ctx, op, temp, ref.Key); err != nil {
		switch {
		case set && fault.Is(err, fault.Exists):
			err = changed(op, ref.Key, "its name was taken meanwhile")
		case fault.Is(err, fault.NotFound):
			err = fault.New(fault.Unavailable, op, short(ref.Key), fmt.Errorf("its folder, or what was written, went away: %w", err))
		}
		return set, err
	}
	if !set {
		return false, nil
	}
	if err := old.drop(ctx); err != nil && !fault.Is(err, fault.NotFound) { // somebody moved it on
		return false, err // the new file has its name: there is nothing to put back
	}
	return false, nil
}

// mayPut looks at the precondition before a byte is read. set is true if an
// earlier run with the same names was interrupted when it had moved the version
// aside already.
func (d *Driver) mayPut(ctx context.Context, op string, ref object.Ref, old *aside) (set bool, err error) {
	st, err := d.lstat(ctx, op, ref.Key) // in any spelling: the name is taken
	there := err == nil
	if err != nil && !fault.Is(err, fault.NotFound) {
		return false, err
	}
	if ref.Version == "" {
		if there {
			return false, fault.New(fault.Exists, op, short(ref.Key), nil)
		}
		return false, nil
	}
	set, err = old.left(ctx, ref, nil)
	switch {
	case err != nil:
		return false, err
	case set && there: // the earlier run got as far as the new name
		return false, errors.Join(changed(op, ref.Key, "it was replaced already"), old.drop(ctx))
	case set:
		return true, nil
	case !there:
		return false, changed(op, ref.Key, "it is gone")
	case st.token() != ref.Version:
		return false, changed(op, ref.Key, "it is another version now")
	}
	return false, nil
}

// write fills the temporary file and makes it durable.
func (d *Driver) write(ctx context.Context, op, key, temp string, r io.Reader, opt connectors.PutOptions) (meta map[string]string, err error) {
	if err := d.makeFolders(ctx, op, temp); err != nil {
		return nil, err
	}
	if err := d.unlink(ctx, op, temp); err != nil && !fault.Is(err, fault.NotFound) { // of a run that crashed
		return nil, err
	}
	l, err := d.session(ctx, op, key)
	if err != nil {
		return nil, err
	}
	defer l.release()
	path := d.path(temp)
	f, err := call(ctx, l, closeFile, func(sh *smb2.Share) (*smb2.File, error) {
		return sh.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	})
	if err != nil {
		return nil, wrap(op, short(key), err)
	}
	defer func() { err = errors.Join(err, wrap(op, short(key), d.closeFile(ctx, l, f))) }()
	h := sha256.New()
	n, err := copyTo(ctx, r, opt.Size, func(b []byte, at int64) error {
		_, _ = h.Write(b)  // a hash takes everything
		b = bytes.Clone(b) // the call may go on after ctx has ended
		_, err := call(ctx, l, nil, func(*smb2.Share) (int, error) { return f.WriteAt(b, at) })
		return wrap(op, short(key), err)
	})
	switch {
	case err != nil:
		return nil, err
	case opt.Size >= 0 && n != opt.Size:
		return nil, changed(op, key, fmt.Sprintf("%d bytes came instead of %d", n, opt.Size))
	case opt.SHA256 != nil && !bytes.Equal(h.Sum(nil), opt.SHA256):
		return nil, changed(op, key, "the content is not what was announced")
	}
	if meta, err = d.writeMeta(ctx, op, temp, opt.Meta); err != nil {
		return nil, err
	}
	_, err = call(ctx, l, nil, func(*smb2.Share) (struct{}, error) { return struct{}{}, f.Sync() })
	return meta, wrap(op, short(key), err)
}

// copyTo hands on what r gives, until it ends or is longer than size.
func copyTo(ctx context.Context, r io.Reader, size int64, write func(b []byte, at int64) error) (n int64, err error) {
	buf := make([]byte, readChunk)
	for empty, have := 0, 0; ; {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		m, rerr := r.Read(buf[have:])
		if empty++; m > 0 {
			empty = 0
		}
		have += m
		if empty > 100 && rerr == nil {
			return n, io.ErrNoProgress
		}
		if have == len(buf) || have > 0 && rerr != nil {
			if err := write(buf[:have], n); err != nil {
				return n, err
			}
			n, have = n+int64(have), 0
		}
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
