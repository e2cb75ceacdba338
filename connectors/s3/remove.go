package s3

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Remove deletes exactly ref.Version, see connectors.Remover. The fence is not
// used: the server's precondition is one. A version with an id that is gone was
// removed, now or earlier. On a server that was seen to ignore the precondition
// it returns Unsupported, unless the unit allows unfenced acts. Where an object
// lock holds the version, a delete marker hides it, and the bytes remain.
func (d *Driver) Remove(ctx context.Context, ref object.Ref, _ connectors.Fence) (connectors.Removed, error) {
	const op = "s3.Remove"
	v, err := parseVersion(op, ref.Key, ref.Version)
	if err != nil {
		return connectors.Removed{}, err
	}
	if v.any() {
		return connectors.Removed{}, fault.New(fault.Invalid, op, ref.String(), errNoVersion)
	}
	f, err := d.find(ctx, op, ref.Key, v)
	if err != nil {
		return connectors.Removed{}, err
	}
	if v.id == "" && !d.keeps.Load() {
		return d.removeMatching(ctx, op, ref, f)
	}
	return d.removeVersion(ctx, op, ref, v, f)
}

// removeMatching deletes an object without versions if its ETag is still the same.
func (d *Driver) removeMatching(ctx context.Context, op string, ref object.Ref, f found) (connectors.Removed, error) {
	if d.honours.remove.No() && !d.unfenced {
		return connectors.Removed{}, fault.New(fault.Unsupported, op, ref.String(), errors.New("the server ignores If-Match on DELETE"))
	}
	out, err := d.delete(ctx, op, ref.Key, nil, f.etag)
	if err != nil {
		return connectors.Removed{}, err
	}
	rem := connectors.Removed{Unfenced: d.honours.remove.No() || d.unfenced && !d.honours.remove.Yes()}
	if out.VersionId != nil || aws.ToBool(out.DeleteMarker) {
		// Versioning was turned on since we asked: what we set is a marker.
		d.keeps.Store(true)
		rem.Marker = true
	}
	return rem, nil
}

// removeVersion deletes one version by its id, and looks whether it is gone.
func (d *Driver) removeVersion(ctx context.Context, op string, ref object.Ref, v version, f found) (connectors.Removed, error) {
	id, match := v.id, (*string)(nil)
	if id == "" {
		id, match = nullID, f.etag // while versioning is suspended, "null" can be replaced
	}
	_, err := d.delete(ctx, op, ref.Key, &id, match)
	switch {
	case err == nil:
	case f.held(time.Now()) || replyOf(err) != nil && replyOf(err).locked:
		return d.hide(ctx, op, ref, f, err)
	default:
		return connectors.Removed{}, err
	}
	switch still, err := d.head(ctx, op, ref.Key, d.root+ref.Key, &id); {
	case err == nil && still.v == v:
		return connectors.Removed{}, fault.New(fault.Unavailable, op, ref.String(), errors.New("the server says it is deleted, but it is still there"))
	case err != nil && !fault.Is(err, fault.NotFound, fault.Unsupported):
		return connectors.Removed{}, err
	}
	return connectors.Removed{Unfenced: v.id == "" && d.honours.remove.No()}, nil
}

// held reports whether an object lock holds the version at the time now.
func (f found) held(now time.Time) bool {
	h := f.head
	return h.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn ||
		h.ObjectLockMode != "" && now.Before(aws.ToTime(h.ObjectLockRetainUntilDate))
}

// hide sets a delete marker over a version that may not be deleted, if that
// version is the current one. why is what forbade the deletion.
func (d *Driver) hide(ctx context.Context, op string, ref object.Ref, f found, why error) (connectors.Removed, error) {
	current, err := d.head(ctx, op, ref.Key, d.root+ref.Key, nil)
	if fault.Is(err, fault.NotFound) {
		return connectors.Removed{Marker: true, Already: true}, nil // hidden, by an earlier run
	}
	if err != nil {
		return connectors.Removed{}, err
	}
	if current.v != f.v {
		return connectors.Removed{}, why // a newer version is on top: nothing of ours to hide
	}
	out, err := d.delete(ctx, op, ref.Key, nil, f.etag)
	if err != nil {
		return connectors.Removed{}, err
	}
	if ok, err := d.markerIsRight(ctx, ref.Key, aws.ToString(out.VersionId), f.v); err != nil || ok {
		return connectors.Removed{Marker: true}, err
	}
	// The server ignored the precondition, and a new version came between.
	if _, err := d.delete(ctx, op, ref.Key, out.VersionId, nil); err != nil {
		return connectors.Removed{}, err
	}
	return connectors.Removed{}, fault.New(fault.Changed, op, ref.String(), errMoved)
}

// markerIsRight reports whether the version right below the delete marker is v.
func (d *Driver) markerIsRight(ctx context.Context, key, marker string, v version) (bool, error) {
	below := false
	for info, err := range d.ListVersions(ctx, key, "") {
		switch {
		case err != nil:
			return false, err
		case info.Key != key:
			return false, nil
		case below:
			return info.Version == v.String(), nil
		}
		below = info.Kind == object.Marker && info.Version == marker
	}
	return false, nil
}

// delete is DeleteObject.
func (d *Driver) delete(ctx context.Context, op, key string, id, ifMatch *string) (*s3.DeleteObjectOutput, error) {
	in := &s3.DeleteObjectInput{Bucket: &d.bucket, Key: aws.String(d.root + key), VersionId: id, IfMatch: ifMatch}
	out, err := call(ctx, d, op, key, d.client.DeleteObject, in)
	return out, badID(err, id)
}
