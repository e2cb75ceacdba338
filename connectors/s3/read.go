package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Stat describes ref with one HEAD, see connectors.Driver.
func (d *Driver) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	v, err := parseVersion("s3.Stat", ref.Key, ref.Version)
	if err != nil {
		return object.Info{}, err
	}
	f, err := d.find(ctx, "s3.Stat", ref.Key, v)
	return f.info, err
}

// A found is an object with all that a HEAD tells, and how to address it.
type found struct {
	info object.Info
	v    version
	id   *string // the version id to send: nil for the current object, or "null"
	etag *string // as the server told it
	head *s3.HeadObjectOutput
}

// find looks for the version v of key. The content of an object without a
// version id may be current, or be the "null" version below newer ones.
func (d *Driver) find(ctx context.Context, op, key string, v version) (found, error) {
	full, err := d.full(op, key)
	if err != nil {
		return found{}, err
	}
	if v.id != "" {
		f, err := d.head(ctx, op, key, full, &v.id)
		if fault.Is(err, fault.NotFound) {
			if _, e := d.head(ctx, op, key, full, nil); e == nil {
				err = fault.New(fault.Changed, op, object.FormatKey(key), errMoved)
			}
		}
		if err == nil && f.v != v {
			err = fault.New(fault.Changed, op, object.FormatKey(key), errOtherID)
		}
		return f, err
	}
	f, err := d.head(ctx, op, key, full, nil)
	if v.any() || err == nil && f.v == v {
		return f, err
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		return f, err
	}
	if d.keeps.Load() {
		if g, e := d.head(ctx, op, key, full, aws.String(nullID)); e == nil && g.v == v {
			return g, nil
		}
	}
	if err == nil {
		err = fault.New(fault.Changed, op, object.FormatKey(key), errMoved)
	}
	return f, err
}

// head is HeadObject.
func (d *Driver) head(ctx context.Context, op, key, full string, id *string) (found, error) {
	out, err := call(ctx, d, op, key, d.client.HeadObject, &s3.HeadObjectInput{Bucket: &d.bucket, Key: &full, VersionId: id})
	if err != nil {
		return found{}, d.explained(ctx, op, key, full, id, err)
	}
	d.learn(out.VersionId)
	f := found{head: out, etag: out.ETag, v: makeVersion(out.VersionId, out.ETag, aws.ToInt64(out.ContentLength), out.LastModified)}
	if id != nil {
		f.id = id
	} else if f.v.id != "" {
		f.id = &f.v.id
	}
	f.info = object.Info{
		Key: key, Version: f.v.String(), Size: aws.ToInt64(out.ContentLength), ModTime: aws.ToTime(out.LastModified),
		ContentType: aws.ToString(out.ContentType), StorageClass: string(out.StorageClass), Meta: readMeta(out.Metadata),
		Cold:   cold(out.StorageClass, out.ArchiveStatus, restored(out.Restore)),
		Latest: id == nil,
	}
	return f, nil
}

// explained finds out what a refused HEAD means, by a GET of one byte: replies
// to HEAD have no error code, and some servers say 404 to unknown credentials.
func (d *Driver) explained(ctx context.Context, op, key, full string, id *string, err error) error {
	re := replyOf(err)
	if re == nil || re.marker {
		return err
	}
	switch re.status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound:
		in := &s3.GetObjectInput{Bucket: &d.bucket, Key: &full, VersionId: id, Range: aws.String("bytes=0-0")}
		got, e := call(ctx, d, op, key, d.client.GetObject, in)
		if e == nil {
			_ = got.Body.Close()
			if re.status == http.StatusNotFound { // it came just now
				return fault.New(fault.Unavailable, op, object.FormatKey(key), errMoved)
			}
			return err
		}
		err = bucketGone(badID(e, id))
	}
	return err
}

// bucketGone keeps a missing bucket from looking like a missing object: with a
// wrong endpoint, all objects would count as gone.
func bucketGone(err error) error {
	if re := replyOf(err); re != nil && re.code == "NoSuchBucket" {
		return as(err, fault.NotFound, fault.Unavailable)
	}
	return err
}

// badID turns the refusal of a version id that is not one into NotFound: no
// such version exists.
func badID(err error, id *string) error {
	if re := replyOf(err); id != nil && re != nil && re.status == http.StatusBadRequest {
		if re.code == "InvalidArgument" || re.code == "InvalidVersionId" || re.code == "NoSuchVersion" {
			return as(err, fault.KindOf(err), fault.NotFound)
		}
	}
	return err
}

// restored reads x-amz-restore: ongoing-request="false" means that a readable
// copy is there.
func restored(h *string) bool { return strings.Contains(aws.ToString(h), `ongoing-request="false"`) }

// readMeta returns user metadata with names in lower case and values decoded as
// RFC 2047 has them where a header cannot hold them.
func readMeta(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for name, v := range m {
		if strings.HasPrefix(v, "=?") {
			if dec, err := new(mime.WordDecoder).DecodeHeader(v); err == nil {
				v = dec
			}
		}
		out[strings.ToLower(name)] = v
	}
	return out
}

// Open reads exactly the version in ref with one GET, whose own headers are the
// reader's Info, see connectors.Driver. It does not resume: another Open of the
// reader's version at a later offset does.
func (d *Driver) Open(ctx context.Context, ref object.Ref, offset int64) (connectors.Reader, error) {
	const op = "s3.Open"
	v, err := parseVersion(op, ref.Key, ref.Version)
	if err != nil {
		return nil, err
	}
	full, err := d.full(op, ref.Key)
	if err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fault.New(fault.Invalid, op, ref.String(), fmt.Errorf("offset %d", offset))
	}
	var id *string
	if v.id != "" {
		id = &v.id
	}
	r, err := d.get(ctx, ref.Key, full, v, id, offset)
	if v.id == "" && !v.any() && d.keeps.Load() && fault.Is(err, fault.Changed, fault.NotFound) {
		// It may be the "null" version below newer ones.
		if n, e := d.get(ctx, ref.Key, full, v, aws.String(nullID), offset); e == nil {
			return n, nil
		}
	}
	if v.id != "" && fault.Is(err, fault.NotFound) {
		if _, e := d.head(ctx, op, ref.Key, full, nil); e == nil {
			err = fault.New(fault.Changed, op, ref.String(), errMoved)
		}
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// get is GetObject of the version v, addressed by id, from offset on.
func (d *Driver) get(ctx context.Context, key, full string, v version, id *string, offset int64) (*reader, error) {
	const op = "s3.Open"
	in := &s3.GetObjectInput{Bucket: &d.bucket, Key: &full, VersionId: id}
	if v.etag != "" {
		in.IfMatch = &v.etag
	}
	if offset > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", offset))
	}
	r := &reader{d: d, caller: ctx, key: key, pos: offset}
	ctx, r.cancel = context.WithCancel(ctx)
	r.watch = time.AfterFunc(d.limits.call, r.stall)
	out, err := d.client.GetObject(ctx, in)
	r.watch.Stop()
	if err != nil {
		err = bucketGone(badID(d.fail(r.caller, op, key, err), id))
		r.cancel()
		if re := replyOf(err); re != nil && re.status == http.StatusRequestedRangeNotSatisfiable {
			return d.getNothing(r.caller, key, v, offset)
		}
		return nil, err
	}
	r.body = out.Body
	d.learn(out.VersionId)
	size := aws.ToInt64(out.ContentLength) // of this reply
	if offset > 0 {
		var from, to int64
		if n, _ := fmt.Sscanf(aws.ToString(out.ContentRange), "bytes %d-%d/%d", &from, &to, &size); n != 3 || from != offset {
			_ = r.Close()
			return nil, fault.New(fault.Unavailable, op, object.FormatKey(key), errors.New("the server sent another range than asked for"))
		}
	} else if out.ContentLength == nil {
		size = -1
	}
	got := makeVersion(out.VersionId, out.ETag, size, out.LastModified)
	if !v.any() && got != v {
		_ = r.Close()
		return nil, fault.New(fault.Changed, op, object.FormatKey(key), errMoved)
	}
	r.end = size
	r.info = object.Info{
		Key: key, Version: got.String(), Size: size, ModTime: aws.ToTime(out.LastModified),
		ContentType: aws.ToString(out.ContentType), StorageClass: string(out.StorageClass), Meta: readMeta(out.Metadata),
		Cold:   cold(types.StorageClass(out.StorageClass), "", restored(out.Restore)),
		Latest: id == nil,
	}
	return r, nil
}

// getNothing opens an object at its end, where a range request is refused.
func (d *Driver) getNothing(ctx context.Context, key string, v version, offset int64) (*reader, error) {
	f, err := d.find(ctx, "s3.Open", key, v)
	if err != nil {
		return nil, err
	}
	if offset > f.info.Size {
		return nil, fault.New(fault.Invalid, "s3.Open", object.FormatKey(key), fmt.Errorf("offset %d of %d bytes", offset, f.info.Size))
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
	end     int64 // size of the object; -1 if the server did not tell
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
	default:
		if err == io.EOF {
			err = errIncomplete
		}
		if r.stalled.Load() {
			err = fmt.Errorf("no byte came for %v", r.d.limits.stall)
		}
		r.err = fault.New(fault.Unavailable, "s3.Read", object.FormatKey(r.key), err)
	}
	return n, r.err
}

var errOtherID = errors.New("the server answered with another version than it was asked for")

var errClosed = errors.New("read of a closed object")

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
