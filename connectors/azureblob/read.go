package azureblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Stat describes ref with one HEAD, see connectors.Driver.
func (d *Driver) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	f, err := d.find(ctx, "azureblob.Stat", ref.Key, parseVersion(ref.Version))
	return f.info, err
}

// A found is a blob with all that a HEAD tells.
type found struct {
	info    object.Info
	v       version
	etag    string
	current bool
	props   blob.GetPropertiesResponse
}

// find looks for the version v of key.
func (d *Driver) find(ctx context.Context, op, key string, v version) (found, error) {
	full, err := d.full(op, key)
	if err != nil {
		return found{}, err
	}
	f, err := d.head(ctx, op, key, full, v.id)
	switch {
	case err != nil && v.id != "" && fault.Is(err, fault.NotFound):
		if _, e := d.head(ctx, op, key, full, ""); e == nil {
			err = fault.New(fault.Changed, op, object.FormatKey(key), errMoved)
		}
	case err != nil:
	case v.id != "" && f.v != v:
		err = fault.New(fault.Changed, op, object.FormatKey(key), errOther)
	case v.etag != "" && f.etag != v.etag:
		err = fault.New(fault.Changed, op, object.FormatKey(key), errMoved)
	}
	return f, err
}

// head is Get Blob Properties.
func (d *Driver) head(ctx context.Context, op, key, full, id string) (found, error) {
	out, err := call(ctx, d, op, key, func(ctx context.Context) (blob.GetPropertiesResponse, error) {
		return d.blob(full).GetProperties(withVersion(ctx, id), nil)
	})
	if err != nil {
		return found{}, noSuchID(err, id)
	}
	if d.folder(out.Metadata) {
		return found{}, fault.New(fault.NotFound, op, object.FormatKey(key), errFolder)
	}
	f := found{v: makeVersion(out.VersionID, out.ETag), etag: bare(out.ETag), props: out}
	f.current = out.VersionID == nil || value(out.IsCurrentVersion)
	f.info = object.Info{
		Key: key, Version: f.v.String(), Size: value(out.ContentLength), ModTime: value(out.LastModified),
		ContentType: str(out.ContentType), StorageClass: str(out.AccessTier), Cold: str(out.AccessTier) == string(blob.AccessTierArchive),
		Meta: readMeta(out.Metadata), Latest: f.current,
	}
	return f, nil
}

// folder reports whether metadata is that of a folder in a hierarchical
// namespace, which can be asked for like a blob.
func (d *Driver) folder(meta map[string]*string) bool {
	if d.tree.Load() {
		for name, v := range meta {
			if strings.EqualFold(name, "hdi_isfolder") && str(v) == "true" {
				return true
			}
		}
	}
	return false
}

// noSuchID turns the refusal of a version id that is none of the service's into
// NotFound: no such version exists.
func noSuchID(err error, id string) error {
	if re := replyOf(err); id != "" && re != nil && re.status == http.StatusBadRequest {
		return as(err, fault.Invalid, fault.NotFound)
	}
	return err
}

// Open reads exactly the version in ref with one GET, whose own headers are the
// reader's Info, see connectors.Driver. It does not resume: another Open of the
// reader's version at a later offset does.
func (d *Driver) Open(ctx context.Context, ref object.Ref, offset int64) (connectors.Reader, error) {
	const op = "azureblob.Open"
	v := parseVersion(ref.Version)
	full, err := d.full(op, ref.Key)
	if err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fault.New(fault.Invalid, op, ref.String(), fmt.Errorf("offset %d", offset))
	}
	r, err := d.get(ctx, ref.Key, full, v, offset)
	if v.id != "" && fault.Is(err, fault.NotFound) {
		if _, e := d.head(ctx, op, ref.Key, full, ""); e == nil {
			err = fault.New(fault.Changed, op, ref.String(), errMoved)
		}
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// get is Get Blob from offset on.
func (d *Driver) get(ctx context.Context, key, full string, v version, offset int64) (*reader, error) {
	const op = "azureblob.Open"
	opt := &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: offset}, AccessConditions: ifMatch(v.etag)}
	r := &reader{d: d, caller: ctx, key: key, pos: offset}
	ctx, r.cancel = context.WithCancel(withVersion(ctx, v.id))
	r.watch = time.AfterFunc(d.limits.call, r.stall)
	out, err := d.blob(full).DownloadStream(ctx, opt)
	r.watch.Stop()
	if err != nil {
		err = d.fail(r.caller, op, key, err)
		r.cancel()
		if re := replyOf(err); re != nil && re.status == http.StatusRequestedRangeNotSatisfiable {
			return d.getNothing(r.caller, key, v, offset)
		}
		return nil, noSuchID(err, v.id)
	}
	r.body = out.Body
	if d.folder(out.Metadata) {
		_ = r.Close()
		return nil, fault.New(fault.NotFound, op, object.FormatKey(key), errFolder)
	}
	size := int64(-1)
	if out.ContentLength != nil {
		size = *out.ContentLength // of this reply
	}
	if offset > 0 {
		var from, to int64
		if n, _ := fmt.Sscanf(str(out.ContentRange), "bytes %d-%d/%d", &from, &to, &size); n != 3 || from != offset {
			_ = r.Close()
			return nil, fault.New(fault.Unavailable, op, object.FormatKey(key), errors.New("the server sent another range than asked for"))
		}
	}
	got := makeVersion(out.VersionID, out.ETag)
	if v.id != "" && got != v || v.etag != "" && bare(out.ETag) != v.etag {
		_ = r.Close()
		return nil, fault.New(fault.Changed, op, object.FormatKey(key), errOther)
	}
	r.end = size
	r.info = object.Info{
		Key: key, Version: got.String(), Size: size, ModTime: value(out.LastModified), ContentType: str(out.ContentType),
		Meta: readMeta(out.Metadata), Latest: out.VersionID == nil || value(out.IsCurrentVersion),
	}
	return r, nil
}

// getNothing opens a blob at its end, where a range request is refused.
func (d *Driver) getNothing(ctx context.Context, key string, v version, offset int64) (*reader, error) {
	f, err := d.find(ctx, "azureblob.Open", key, v)
	if err != nil {
		return nil, err
	}
	if offset > f.info.Size {
		return nil, fault.New(fault.Invalid, "azureblob.Open", object.FormatKey(key), fmt.Errorf("offset %d of %d bytes", offset, f.info.Size))
	}
	return &reader{d: d, caller: ctx, key: key, body: http.NoBody, pos: offset, end: offset, info: f.info,
		cancel: func() {}, watch: time.AfterFunc(0, func() {})}, nil
}

// A reader is the body of a GET. A read that makes no progress for too long,
// and a body that ends early, are Unavailable: the rest can be opened again.
type reader struct {
	d       *Driver
	caller  context.Context // of Open: the body's life is its call's
	key     string
	info    object.Info
	body    io.ReadCloser
	pos     int64 // of the next byte
	end     int64 // size of the blob; -1 if the server did not tell
	cancel  context.CancelFunc
	watch   *time.Timer // ends a call or read that makes no progress
	stalled atomic.Bool
	err     error // how it ended
	closed  bool
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
		return 0, errors.New("read of a closed blob")
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
	default:
		if err == io.EOF {
			err = errIncomplete
		}
		if r.stalled.Load() {
			err = fmt.Errorf("no byte came for %v", r.d.limits.stall)
		}
		r.err = fault.New(fault.Unavailable, "azureblob.Read", object.FormatKey(r.key), err)
	}
	return n, r.err
}

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
	err := r.body.Close()
	r.cancel()
	if err != nil && r.caller.Err() == nil && r.err != nil && r.err != io.EOF {
		return nil // Read has told it already
	}
	return err
}
