package gcs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"cloud.google.com/go/storage"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Stat describes ref with one call, see connectors.Driver.
func (d *Driver) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	gen, err := parseVersion("gcs.Stat", ref)
	if err != nil {
		return object.Info{}, err
	}
	f, err := d.find(ctx, "gcs.Stat", ref.Key, gen)
	return f.info, err
}

// A found is an object with all that Google tells of it.
type found struct {
	info object.Info
	*storage.ObjectAttrs
}

// find looks for the generation gen of key, 0 for the current one. It is
// Changed if another one took its place, and NotFound if there is none.
func (d *Driver) find(ctx context.Context, op, key string, gen int64) (found, error) {
	name, err := d.full(op, key)
	if err != nil {
		return found{}, err
	}
	f, err := d.get(ctx, op, key, name, gen)
	if gen != 0 && fault.Is(err, fault.NotFound) {
		if _, e := d.get(ctx, op, key, name, 0); e == nil {
			err = fault.New(fault.Changed, op, object.FormatKey(key), errMoved)
		}
	}
	return f, err
}

// get asks for an object's metadata.
func (d *Driver) get(ctx context.Context, op, key, name string, gen int64) (found, error) {
	o, err := call(ctx, d, op, key, d.object(name, gen).Attrs)
	if err != nil {
		return found{}, bucketGone(err)
	}
	if o.Name != name || o.Generation <= 0 || gen != 0 && o.Generation != gen {
		return found{}, fault.New(fault.Changed, op, object.FormatKey(key), errOther)
	}
	return found{described(key, o), o}, nil
}

// Open reads exactly the generation in ref with one GET, whose own headers are
// the reader's Info, see connectors.Driver. It does not resume: another Open of
// the reader's version at a later offset does.
func (d *Driver) Open(ctx context.Context, ref object.Ref, offset int64) (connectors.Reader, error) {
	const op = "gcs.Open"
	gen, err := parseVersion(op, ref)
	if err != nil {
		return nil, err
	}
	name, err := d.full(op, ref.Key)
	if err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fault.New(fault.Invalid, op, ref.String(), fmt.Errorf("offset %d", offset))
	}
	r := &reader{d: d, caller: ctx, key: ref.Key, pos: offset}
	ctx, r.cancel = context.WithCancel(ctx)
	r.watch = time.AfterFunc(d.limits.call, r.stall)
	body, err := d.object(name, gen).NewRangeReader(context.WithValue(ctx, downloading{}, &r.down), offset, -1)
	r.watch.Stop()
	if err != nil {
		r.cancel()
		return d.notOpened(r, ref, gen, offset, d.fail(r.caller, op, ref.Key, err))
	}
	// Read through the library, which knows the checksum, and closed beneath it: its
	// own Close logs what it finds odd, such as a reply that does not say its length.
	r.body = struct {
		io.Reader
		io.Closer
	}{body, r.down.body}
	if err := r.begin(gen); err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

// notOpened finds out why a download was refused with err: its replies have no
// reason to go by. A range that begins at the end of the object is refused too.
func (d *Driver) notOpened(r *reader, ref object.Ref, gen, offset int64, err error) (connectors.Reader, error) {
	switch {
	case refusedBy(err, http.StatusRequestedRangeNotSatisfiable):
		f, e := d.find(r.caller, "gcs.Open", ref.Key, gen)
		if e != nil {
			return nil, e
		}
		if offset > f.info.Size {
			return nil, fault.New(fault.Invalid, "gcs.Open", ref.String(), fmt.Errorf("offset %d of %d bytes", offset, f.info.Size))
		}
		r.body, r.end, r.info, r.cancel, r.watch = http.NoBody, offset, f.info, func() {}, time.AfterFunc(0, func() {})
		return r, nil
	case refusedBy(err, http.StatusNotFound):
		if _, e := d.find(r.caller, "gcs.Open", ref.Key, gen); e != nil {
			return nil, e
		}
		return nil, fault.New(fault.Unavailable, "gcs.Open", ref.String(), errMoved) // it came just now
	}
	return nil, err
}

// A reader is the body of a GET. A read that makes no progress for too long,
// and a body that ends early, are Unavailable: the rest can be opened again. A
// whole object that has another checksum than the server announced is Corrupt.
type reader struct {
	d       *Driver
	caller  context.Context // of Open: the body's life is its call's
	key     string
	info    object.Info
	down    download // what the reply says by itself: storage.Reader repeats the request
	body    io.ReadCloser
	pos     int64 // of the next byte
	end     int64 // size of the object; -1 if the server did not tell
	cancel  context.CancelFunc
	watch   *time.Timer // ends a call or read that makes no progress
	stalled atomic.Bool
	err     error // how it ended
	closed  bool
}

// begin takes what the headers tell, and refuses what was not asked for.
func (r *reader) begin(gen int64) error {
	const op = "gcs.Open"
	h, on := r.down.header, object.FormatKey(r.key)
	got, err := strconv.ParseInt(h.Get("X-Goog-Generation"), 10, 64)
	switch {
	case err != nil || got <= 0:
		return fault.New(fault.Unavailable, op, on, errors.New("the reply does not name a generation"))
	case gen != 0 && got != gen:
		return fault.New(fault.Changed, op, on, errOther)
	}
	size := r.down.length
	if r.pos > 0 {
		var from, to int64
		if n, _ := fmt.Sscanf(h.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size); n != 3 || from != r.pos {
			return fault.New(fault.Unavailable, op, on, errors.New("the server sent another range than asked for"))
		}
	}
	if stored, err := strconv.ParseInt(h.Get("X-Goog-Stored-Content-Length"), 10, 64); err == nil && size >= 0 && stored != size {
		return fault.New(fault.Unavailable, op, on, errors.New("the server did not send the content as it is stored"))
	}
	modified, _ := http.ParseTime(h.Get("Last-Modified"))
	r.end = size
	r.info = object.Info{
		Key: r.key, Version: token(got), Size: size, ModTime: modified.UTC(), ContentType: h.Get("Content-Type"),
		StorageClass: h.Get("X-Goog-Storage-Class"), Latest: gen == 0, Meta: map[string]string{},
	}
	for name, v := range h {
		if meta, ok := strings.CutPrefix(name, "X-Goog-Meta-"); ok && len(v) > 0 {
			r.info.Meta[strings.ToLower(meta)] = v[0]
		}
	}
	return nil
}

// Info returns what the GET's own headers say.
func (r *reader) Info() object.Info { return r.info }

func (r *reader) stall() {
	r.stalled.Store(true)
	r.cancel()
}

// Read reads on. It returns io.EOF only when all bytes that the headers
// announced have come.
func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.closed {
		return 0, errClosed
	}
	r.watch.Reset(r.d.limits.stall)
	n, err := r.body.Read(p)
	r.watch.Stop()
	r.pos += int64(n)
	switch {
	case err == nil:
		return n, nil
	case r.caller.Err() != nil:
		r.err = context.Cause(r.caller)
	case err == io.EOF && (r.end < 0 || r.pos == r.end):
		r.err = io.EOF
	case err != io.EOF && r.pos == r.end && r.down.broken == nil:
		r.err = fault.New(fault.Corrupt, "gcs.Read", object.FormatKey(r.key), errChecksum)
	default:
		switch {
		case r.stalled.Load():
			err = fmt.Errorf("no byte came for %v", r.d.limits.stall)
		case r.down.broken != nil:
			err = r.down.broken // and not that it was not opened again
		case err == io.EOF:
			err = errIncomplete
		}
		r.err = fault.New(fault.Unavailable, "gcs.Read", object.FormatKey(r.key), err)
	}
	return n, r.err
}

var (
	errClosed   = errors.New("read of a closed object")
	errChecksum = errors.New("the content does not have the checksum that the server announced")
)

// maxDrain is how much of an unread body Close reads, in bytes, to keep the
// connection: about what a new one costs.
const maxDrain = 64 << 10

// Close releases the connection. It may be called twice.
func (r *reader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	if r.err == nil && r.end >= 0 && r.end-r.pos <= maxDrain && r.caller.Err() == nil {
		r.watch.Reset(time.Second)
		_, _ = io.CopyN(io.Discard, r.body, r.end-r.pos+1)
	}
	r.watch.Stop()
	_ = r.body.Close() // Read has told what there was to tell
	r.cancel()
	return nil
}
