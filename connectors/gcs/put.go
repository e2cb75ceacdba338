package gcs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"net/http"
	"strings"

	"cloud.google.com/go/storage"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Put writes an object, see connectors.Putter: in one request, if the content
// fits in a chunk, else in a session, which exists for others only when its last
// chunk has come. The last bytes are only sent once the hash of all is right.
func (d *Driver) Put(ctx context.Context, key string, r io.Reader, opt connectors.PutOptions) (object.Info, error) {
	const op = "gcs.Put"
	name, err := d.full(op, key)
	if err != nil {
		return object.Info{}, err
	}
	meta := merge(opt.Meta, opt.Tags)
	if err := checkMeta(meta); err != nil {
		return object.Info{}, fault.New(fault.Invalid, op, object.FormatKey(key), err)
	}
	replaces, err := d.guard(ctx, op, key, opt.IfVersion, &d.honours.put)
	if err != nil {
		return object.Info{}, err
	}
	crc := crc32.New(castagnoli())
	src := connectors.NewContent(ctx, io.TeeReader(r, crc), opt)
	o, err := d.send(ctx, op, key, src, crc, opt.Size, storage.ObjectAttrs{Name: name, ContentType: opt.ContentType, Metadata: meta}, replaces)
	if failed := src.Failure(op, key); failed != nil {
		return object.Info{}, failed
	}
	if err != nil {
		return object.Info{}, guardFailed(err, replaces)
	}
	if o.Size != src.Size() || o.CRC32C != crc.Sum32() { // Google tells it of every object
		_, err := d.delete(ctx, op, key, name, o.Generation, 0)
		return object.Info{}, fault.New(fault.Unavailable, op, object.FormatKey(key), errors.Join(errors.New("the server stored other bytes than it was sent"), err))
	}
	return d.written(op, key, o)
}

// send reads the first chunk; if that is all, it is sent whole, with its
// checksum, else in chunks.
func (d *Driver) send(ctx context.Context, op, key string, src io.Reader, crc hash.Hash32, size int64, o storage.ObjectAttrs, replaces int64) (*storage.ObjectAttrs, error) {
	var first bytes.Buffer
	if size >= 0 && size < int64(d.limits.chunk) {
		first.Grow(int(size) + bytes.MinRead)
	}
	n, err := io.Copy(&first, io.LimitReader(src, int64(d.limits.chunk)))
	if err != nil {
		return nil, err
	}
	if n < int64(d.limits.chunk) {
		o.CRC32C = crc.Sum32()
		return d.insert(ctx, op, key, &first, 0, o, &replaces)
	}
	return d.insert(ctx, op, key, io.MultiReader(&first, src), d.limits.chunk, o, &replaces)
}

// guard returns the generation that a write to key may replace, 0 if it is to
// create. Unless the server is known to honour it, the driver looks first.
func (d *Driver) guard(ctx context.Context, op, key, ifVersion string, known *connectors.Answer) (int64, error) {
	gen, err := parseVersion(op, object.Ref{Key: key, Version: ifVersion})
	if err != nil || known.Yes() {
		return gen, err
	}
	f, err := d.find(ctx, op, key, 0)
	switch {
	case gen == 0 && fault.Is(err, fault.NotFound):
		return 0, nil
	case err != nil:
		return 0, connectors.Recast(err, fault.NotFound, fault.Changed)
	case gen == 0:
		return 0, fault.New(fault.Exists, op, object.FormatKey(key), nil)
	case f.Generation != gen:
		return 0, fault.New(fault.Changed, op, object.FormatKey(key), errMoved)
	}
	return gen, nil
}

// guardFailed gives the error of a guarded write its kind.
func guardFailed(err error, replaces int64) error {
	if replaces == 0 && refusedBy(err, http.StatusPreconditionFailed) {
		return connectors.Recast(err, fault.Changed, fault.Exists)
	}
	return bucketGone(err)
}

// insert sends content: if chunk is 0 in one request that says o's checksum,
// else in a session. Without replaces it is unconditional. It ends when the
// content makes no progress.
func (d *Driver) insert(ctx context.Context, op, key string, body io.Reader, chunk int, o storage.ObjectAttrs, replaces *int64) (*storage.ObjectAttrs, error) {
	under, moving := connectors.Watch(ctx, d.limits.stall)
	defer moving.Stop()
	if o.ContentType == "" {
		o.ContentType = "application/octet-stream" // else the client would guess
	}
	w := mayReplace(d.object(o.Name, 0), replaces).NewWriter(context.WithValue(under, sending{}, moving))
	w.ObjectAttrs, w.ChunkSize, w.SendCRC32C = o, chunk, chunk == 0
	in := &fallible{r: body}
	_, err := io.Copy(w, in)
	if in.err != nil {
		moving.Stop() // before Close, which would make an object of what there is
	}
	if e := w.Close(); e != nil {
		err = e // what failed, of which the copy only saw that nobody reads
	}
	if err != nil {
		return nil, d.fail(ctx, op, key, err)
	}
	return w.Attrs(), nil
}

// A fallible reader remembers how it failed.
type fallible struct {
	r   io.Reader
	err error
}

func (f *fallible) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != io.EOF {
		f.err = err
	}
	return n, err
}

// written describes what a write left at key, by the reply to it.
func (d *Driver) written(op, key string, o *storage.ObjectAttrs) (object.Info, error) {
	if o == nil || o.Name != d.root+key || o.Generation <= 0 {
		return object.Info{}, fault.New(fault.Unavailable, op, object.FormatKey(key), errOther)
	}
	return described(key, o), nil
}

// delete deletes the generation gen and no other; ifCurrent, unless 0, is the
// generation that must be the current one.
func (d *Driver) delete(ctx context.Context, op, key, name string, gen, ifCurrent int64) (struct{}, error) {
	return call(ctx, d, op, key, func(ctx context.Context) (struct{}, error) {
		o := d.object(name, gen)
		if ifCurrent != 0 {
			o = o.If(storage.Conditions{GenerationMatch: ifCurrent})
		}
		return struct{}{}, o.Delete(ctx)
	})
}

// castagnoli is the polynomial of Google's checksums.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// Limits of custom metadata, in bytes
// (https://cloud.google.com/storage/quotas#objects).
const maxMeta = 8 << 10

// checkMeta says what is wrong with custom metadata: names must fit a header,
// and values must be text on one line, since every other client reads them there.
func checkMeta(meta map[string]string) error {
	for name, v := range meta {
		if name == "" || strings.HasPrefix(strings.ToLower(name), "goog-") {
			return fmt.Errorf("metadata name %q", name)
		}
		for i := range len(name) {
			if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
				return fmt.Errorf("metadata name %q: want letters, digits and - _ . only", name)
			}
		}
		if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
			return fmt.Errorf("metadata %s: the value is not text on one line", name)
		}
	}
	return checkSize(meta)
}

// checkSize says whether an object can have this custom metadata.
func checkSize(meta map[string]string) error {
	total := 0
	for name, v := range meta {
		total += len(name) + len(v)
	}
	if total > maxMeta {
		return fmt.Errorf("%d bytes of metadata, an object may have %d", total, maxMeta)
	}
	return nil
}
