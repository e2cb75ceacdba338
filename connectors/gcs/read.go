package gcs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

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
	var down download // what the reply says by itself: storage.Reader repeats the request
	under, body := connectors.NewBody(context.WithValue(ctx, downloading{}, &down), "gcs.Read", ref.Key, offset, d.limits.call, d.limits.stall)
	lib, err := d.object(name, gen).NewRangeReader(under, offset, -1)
	if err != nil {
		_ = body.Close()
		return d.notOpened(ctx, ref, gen, offset, d.fail(ctx, op, ref.Key, err))
	}
	info, err := begun(ref.Key, down, gen, offset)
	body.Came(&content{lib: lib, down: &down, key: ref.Key, pos: offset, end: info.Size})
	if err != nil {
		_ = body.Close()
		return nil, err
	}
	body.Is(info)
	return body, nil
}

// notOpened finds out why a download was refused with err: its replies have no
// reason to go by. A range that begins at the end of the object is refused too.
func (d *Driver) notOpened(ctx context.Context, ref object.Ref, gen, offset int64, err error) (connectors.Reader, error) {
	switch {
	case refusedBy(err, http.StatusRequestedRangeNotSatisfiable):
		f, e := d.find(ctx, "gcs.Open", ref.Key, gen)
		if e != nil {
			return nil, e
		}
		return connectors.AtEnd(ctx, "gcs.Open", f.info, offset)
	case refusedBy(err, http.StatusNotFound):
		if _, e := d.find(ctx, "gcs.Open", ref.Key, gen); e != nil {
			return nil, e
		}
		return nil, fault.New(fault.Unavailable, "gcs.Open", ref.String(), errMoved) // it came just now
	}
	return nil, err
}

// begun is what the headers of a download tell. It refuses what was not asked for.
func begun(key string, down download, gen, offset int64) (object.Info, error) {
	const op = "gcs.Open"
	h, on := down.header, object.FormatKey(key)
	got, err := strconv.ParseInt(h.Get("X-Goog-Generation"), 10, 64)
	switch {
	case err != nil || got <= 0:
		return object.Info{}, fault.New(fault.Unavailable, op, on, errors.New("the reply does not name a generation"))
	case gen != 0 && got != gen:
		return object.Info{}, fault.New(fault.Changed, op, on, errOther)
	}
	size := down.length
	if offset > 0 {
		if size, err = connectors.RangeSize(h.Get("Content-Range"), offset); err != nil {
			return object.Info{}, fault.New(fault.Unavailable, op, on, err)
		}
	}
	if stored, err := strconv.ParseInt(h.Get("X-Goog-Stored-Content-Length"), 10, 64); err == nil && size >= 0 && stored != size {
		return object.Info{}, fault.New(fault.Unavailable, op, on, errors.New("the server did not send the content as it is stored"))
	}
	modified, _ := http.ParseTime(h.Get("Last-Modified"))
	info := object.Info{
		Key: key, Version: token(got), Size: size, ModTime: modified.UTC(), ContentType: h.Get("Content-Type"),
		StorageClass: h.Get("X-Goog-Storage-Class"), Latest: gen == 0, Meta: map[string]string{},
	}
	for name, v := range h {
		if meta, ok := strings.CutPrefix(name, "X-Goog-Meta-"); ok && len(v) > 0 {
			info.Meta[strings.ToLower(meta)] = v[0]
		}
	}
	return info, nil
}

// A content is read through the library, which knows the checksum, and closed
// beneath it: its own Close logs what it finds odd, such as a reply that does
// not say its length.
type content struct {
	lib      io.Reader
	down     *download
	key      string
	pos, end int64
}

var errChecksum = errors.New("the content does not have the checksum that the server announced")

// Read reads on. What has another checksum than the server announced is Corrupt.
// A body that broke off says why, and not that it was not opened again.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.lib.Read(p)
	c.pos += int64(n)
	switch {
	case err == nil, err == io.EOF && c.pos == c.end:
	case c.down.broken != nil:
		err = c.down.broken
	case err != io.EOF && c.pos == c.end:
		err = fault.New(fault.Corrupt, "gcs.Read", object.FormatKey(c.key), errChecksum)
	}
	return n, err
}

// Close closes the body of the reply. Read has told what there was to tell.
func (c *content) Close() error {
	_ = c.down.body.Close()
	return nil
}
