package smb

import (
	"context"
	"errors"
	"io"
	"os"

	smb2 "github.com/hirochachacha/go-smb2"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Stat describes the file, its metadata included. A key in another spelling than
// the server's is fault.NotFound.
func (d *Driver) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	const op = "smb.Stat"
	st, err := d.lookup(ctx, op, ref.Key)
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			if gone := d.present(ctx, op); gone != nil { // with all that is in it, perhaps not for good
				return object.Info{}, fault.New(fault.Unavailable, op, short(ref.Key), gone)
			}
		}
		return object.Info{}, err
	}
	i := st.info(ref.Key)
	if ref.Version != "" && i.Version != ref.Version {
		return object.Info{}, changed(op, ref.Key, "it is another version now")
	}
	if i.Kind == object.Regular && !i.Cold {
		i.Meta = d.readMeta(ctx, ref.Key)
	}
	return i, nil
}

// readChunk is what one request of a reader asks for: 4 credits.
const readChunk = 256 << 10

// Open opens the file for reading, which keeps nobody else from it. Before the
// last byte is given out the token is read again from the open handle: a file
// that was written to meanwhile, or that somebody has open then and that was
// changed lately, ends with fault.Changed instead of io.EOF.
func (d *Driver) Open(ctx context.Context, ref object.Ref, offset int64) (connectors.Reader, error) {
	const op = "smb.Open"
	st, err := d.lookup(ctx, op, ref.Key)
	switch {
	case err != nil:
		return nil, err
	case st.kind() != object.Regular:
		return nil, notRegular(op, ref.Key)
	case st.cold():
		return nil, &fault.Error{Op: op, On: short(ref.Key), Kind: fault.Unsupported, Reason: "cold_tier", Err: errors.New("its content is offline, and reading would fetch it")}
	case ref.Version != "" && st.token() != ref.Version:
		return nil, changed(op, ref.Key, "it is another version now")
	}
	l, err := d.session(ctx, op, ref.Key)
	if err != nil {
		return nil, err
	}
	r := &reader{d: d, ctx: ctx, lease: l, key: ref.Key, at: offset}
	if err := r.open(op); err != nil {
		l.release()
		return nil, err
	}
	// By a link in its place, or a rename, another file may have been opened.
	if r.first.token() != st.token() {
		return nil, errors.Join(changed(op, ref.Key, "it changed between the look and the open"), r.Close())
	}
	return r, nil
}

// A reader reads an open file.
type reader struct {
	d     *Driver
	ctx   context.Context // of Open
	lease *lease
	key   string
	f     *smb2.File
	first stat
	at    int64
	buf   []byte // what was received and not read
	err   error
}

func (r *reader) open(op string) (err error) {
	path := r.d.path(r.key)
	r.f, err = call(r.ctx, r.lease, closeFile, func(sh *smb2.Share) (*smb2.File, error) { return sh.OpenFile(path, os.O_RDONLY, 0) })
	if err == nil {
		r.first, err = r.stat(r.ctx)
		if err != nil {
			_ = r.closeFile() // the error that counts is the first
		}
	}
	locked := sharing(err)
	err = wrap(op, short(r.key), err)
	if e := new(fault.Error); locked && errors.As(err, &e) {
		e.Reason = "locked"
	}
	return err
}

func (r *reader) stat(ctx context.Context) (stat, error) {
	f := r.f
	return call(ctx, r.lease, nil, func(*smb2.Share) (stat, error) { return told(f.Stat()) })
}

func (r *reader) Info() object.Info { return r.first.info(r.key) }

func (r *reader) Read(p []byte) (int, error) {
	const op = "smb.Read"
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.buf) == 0 && r.err == nil {
		f, at := r.f, r.at
		// The buffer belongs to the call until it returns.
		r.buf, r.err = call(r.ctx, r.lease, nil, func(*smb2.Share) ([]byte, error) {
			b := make([]byte, min(readChunk, max(r.first.EndOfFile-at, 0)+1))
			n, err := f.ReadAt(b, at)
			return b[:max(n, 0)], err
		})
		r.at += int64(len(r.buf))
		if r.err == io.EOF || r.err == nil && r.at >= r.first.EndOfFile {
			r.err = r.ended(op)
		}
		if r.err != nil && r.err != io.EOF {
			r.buf, r.err = nil, wrap(op, short(r.key), r.err)
		}
	}
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	if n == 0 {
		return 0, r.err
	}
	return n, nil
}

// ended returns io.EOF if what was read is the version that was opened. Samba
// moves the times of an open file seconds after a write, or when it is closed:
// so after our own handle is closed, nobody else may have one.
func (r *reader) ended(op string) error {
	last, err := r.stat(r.ctx)
	if err != nil {
		return err
	}
	if last.token() != r.first.token() || r.at != r.first.EndOfFile {
		return changed(op, r.key, "it was changed while it was read")
	}
	if err := r.closeFile(); err != nil {
		return err
	}
	w, err := r.d.exclusive(r.ctx, op, r.key)
	switch {
	case fault.Is(err, fault.NotFound):
		return changed(op, r.key, "it was moved or removed while it was read")
	case err != nil:
		return err
	case w == openBusy && r.d.age(last, r.lease.session) < r.d.settleMax:
		return changed(op, r.key, "somebody has it open, perhaps to write")
	}
	return io.EOF
}

func (r *reader) closeFile() error {
	if r.f == nil {
		return nil
	}
	f := r.f
	r.f = nil
	return r.d.closeFile(r.ctx, r.lease, f)
}

// Close gives the handle back even if the context of Open has ended.
func (r *reader) Close() error {
	if r.lease == nil {
		return nil
	}
	err := r.closeFile()
	r.lease.release()
	r.lease, r.err = nil, os.ErrClosed
	return wrap("smb.Close", short(r.key), err)
}
