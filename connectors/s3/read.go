package s3

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"

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
	switch re.Status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound:
		in := &s3.GetObjectInput{Bucket: &d.bucket, Key: &full, VersionId: id, Range: aws.String("bytes=0-0")}
		got, e := call(ctx, d, op, key, d.client.GetObject, in)
		if e == nil {
			_ = got.Body.Close()
			if re.Status == http.StatusNotFound { // it came just now
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
	if re := replyOf(err); re != nil && re.Code == "NoSuchBucket" {
		return connectors.Recast(err, fault.NotFound, fault.Unavailable)
	}
	return err
}

// badID turns the refusal of a version id that is not one into NotFound: no
// such version exists.
func badID(err error, id *string) error {
	if re := replyOf(err); id != nil && re != nil && re.Status == http.StatusBadRequest {
		if re.Code == "InvalidArgument" || re.Code == "InvalidVersionId" || re.Code == "NoSuchVersion" {
			return connectors.Recast(err, fault.KindOf(err), fault.NotFound)
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
func (d *Driver) get(ctx context.Context, key, full string, v version, id *string, offset int64) (connectors.Reader, error) {
	const op = "s3.Open"
	in := &s3.GetObjectInput{Bucket: &d.bucket, Key: &full, VersionId: id}
	if v.etag != "" {
		in.IfMatch = &v.etag
	}
	if offset > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", offset))
	}
	under, body := connectors.NewBody(ctx, "s3.Read", key, offset, d.limits.call, d.limits.stall)
	out, err := d.client.GetObject(under, in)
	if err != nil {
		_ = body.Close()
		err = bucketGone(badID(d.fail(ctx, op, key, err), id))
		if re := replyOf(err); re != nil && re.Status == http.StatusRequestedRangeNotSatisfiable {
			return d.getNothing(ctx, key, v, offset)
		}
		return nil, err
	}
	body.Came(out.Body)
	d.learn(out.VersionId)
	size := int64(-1)
	if out.ContentLength != nil {
		size = *out.ContentLength // of this reply
	}
	if offset > 0 {
		if size, err = connectors.RangeSize(aws.ToString(out.ContentRange), offset); err != nil {
			_ = body.Close()
			return nil, fault.New(fault.Unavailable, op, object.FormatKey(key), err)
		}
	}
	got := makeVersion(out.VersionId, out.ETag, size, out.LastModified)
	if !v.any() && got != v {
		_ = body.Close()
		return nil, fault.New(fault.Changed, op, object.FormatKey(key), errMoved)
	}
	body.Is(object.Info{
		Key: key, Version: got.String(), Size: size, ModTime: aws.ToTime(out.LastModified),
		ContentType: aws.ToString(out.ContentType), StorageClass: string(out.StorageClass), Meta: readMeta(out.Metadata),
		Cold:   cold(types.StorageClass(out.StorageClass), "", restored(out.Restore)),
		Latest: id == nil,
	})
	return body, nil
}

// getNothing opens an object at its end, where a range request is refused.
func (d *Driver) getNothing(ctx context.Context, key string, v version, offset int64) (connectors.Reader, error) {
	f, err := d.find(ctx, "s3.Open", key, v)
	if err != nil {
		return nil, err
	}
	return connectors.AtEnd(ctx, "s3.Open", f.info, offset)
}

var errOtherID = errors.New("the server answered with another version than it was asked for")
