package azureblob

import (
	"context"
	"errors"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Remove deletes exactly ref.Version, see connectors.Remover. The fence is not
// used: the service's preconditions are one. The current version is deleted
// under a lease, so that writers are told that they come too late instead of
// losing what they write. In an account that keeps versions this leaves it as a
// previous version, which is then deleted by its id.
//
// Where an immutability policy or a legal hold keeps that version, or soft
// delete keeps what was deleted for a while, Marker says that the bytes remain.
func (d *Driver) Remove(ctx context.Context, ref object.Ref, _ connectors.Fence) (connectors.Removed, error) {
	const op = "azureblob.Remove"
	v := parseVersion(ref.Version)
	if v.any() {
		return connectors.Removed{}, fault.New(fault.Invalid, op, ref.String(), errNoVersion)
	}
	f, err := d.find(ctx, op, ref.Key, v)
	if err != nil {
		return connectors.Removed{}, err
	}
	var rem connectors.Removed
	if f.current {
		rem.Marker, err = d.removeCurrent(ctx, op, ref.Key, f)
		if err != nil || f.v.id == "" {
			return rem, err
		}
	}
	rem.Marker, err = d.removeVersion(ctx, op, ref, f)
	return rem, err
}

// removeCurrent deletes the current blob under a lease, if its ETag is still the
// same. kept tells whether it can be restored.
func (d *Driver) removeCurrent(ctx context.Context, op, key string, f found) (kept bool, err error) {
	held, err := d.acquire(ctx, op, key, f)
	if err != nil {
		return false, err
	}
	cond := ifMatch(f.etag)
	if held != nil {
		cond.LeaseAccessConditions = &blob.LeaseAccessConditions{LeaseID: held.LeaseID()}
	}
	kept, err = d.delete(ctx, op, key, "", cond)
	if err != nil && held != nil {
		d.release(ctx, op, key, held)
	}
	return kept, err
}

// acquire takes a lease on the current blob if its ETag is still the same. Where
// that is not allowed or not known, it returns nil: the deletion is conditional
// all the same.
func (d *Driver) acquire(ctx context.Context, op, key string, f found) (*lease.BlobClient, error) {
	l, err := lease.NewBlobClient(d.blob(d.root+key), nil)
	if err != nil {
		return nil, d.fail(ctx, op, key, err)
	}
	_, err = call(ctx, d, op, key, func(ctx context.Context) (lease.BlobAcquireResponse, error) {
		return l.AcquireLease(ctx, d.limits.lease, &lease.BlobAcquireOptions{ModifiedAccessConditions: ifMatch(f.etag).ModifiedAccessConditions})
	})
	switch re := replyOf(err); {
	case err == nil:
		return l, nil
	case fault.Is(err, fault.Unsupported), fault.Is(err, fault.Denied) && !re.locked():
		return nil, nil
	}
	return nil, err
}

// release gives a lease back. If that fails, it runs out.
func (d *Driver) release(ctx context.Context, op, key string, l *lease.BlobClient) {
	_, _ = call(context.WithoutCancel(ctx), d, op, key, func(ctx context.Context) (lease.BlobReleaseResponse, error) {
		return l.ReleaseLease(ctx, nil)
	})
}

// removeVersion deletes a version that is not current, by its id.
func (d *Driver) removeVersion(ctx context.Context, op string, ref object.Ref, f found) (kept bool, err error) {
	kept, err = d.delete(ctx, op, ref.Key, f.v.id, nil)
	switch re := replyOf(err); {
	case fault.Is(err, fault.NotFound):
		return false, nil // it went as the current one, or an earlier run deleted it
	case re.locked():
		if _, e := d.head(ctx, op, ref.Key, d.root+ref.Key, ""); fault.Is(e, fault.NotFound) {
			return true, nil // nobody sees it without asking for it by its id
		}
		return false, err
	case err != nil:
		return false, err
	}
	switch still, err := d.head(ctx, op, ref.Key, d.root+ref.Key, f.v.id); {
	case err == nil && still.v == f.v:
		return false, fault.New(fault.Unavailable, op, ref.String(), errors.New("the service says it is deleted, but it is still there"))
	case err != nil && !fault.Is(err, fault.NotFound):
		return false, err
	}
	return kept, nil
}

// delete is Delete Blob. kept tells whether the service keeps what was deleted,
// to be restored for a while.
func (d *Driver) delete(ctx context.Context, op, key, id string, cond *blob.AccessConditions) (kept bool, err error) {
	opt := &blob.DeleteOptions{AccessConditions: cond}
	if d.snapshots && id == "" {
		opt.DeleteSnapshots = ptr(blob.DeleteSnapshotsOptionTypeInclude)
	}
	var reply *http.Response
	_, err = call(ctx, d, op, key, func(ctx context.Context) (blob.DeleteResponse, error) {
		return d.blob(d.root+key).Delete(policy.WithCaptureResponse(withVersion(ctx, id), &reply), opt)
	})
	if err != nil {
		return false, noSuchID(err, id)
	}
	return reply != nil && reply.Header.Get("x-ms-delete-type-permanent") == "false", nil
}
