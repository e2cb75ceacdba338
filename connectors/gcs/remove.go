package gcs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloud.google.com/go/storage"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Remove deletes exactly ref.Version, see connectors.Remover. The fence is not
// used: the server's precondition is one. On a server that was seen to ignore
// it, it returns Unsupported, unless the unit allows unfenced acts.
//
// Marker says that the bytes remain: a hold or retention keeps them and the
// bucket keeps versions, so that the object was made noncurrent; or the bucket
// keeps what was deleted for some time, during which it can be restored.
func (d *Driver) Remove(ctx context.Context, ref object.Ref, _ connectors.Fence) (connectors.Removed, error) {
	const op = "gcs.Remove"
	gen, err := parseVersion(op, ref)
	if err != nil {
		return connectors.Removed{}, err
	}
	if gen == 0 {
		return connectors.Removed{}, fault.New(fault.Invalid, op, ref.String(), errNoVersion)
	}
	f, err := d.find(ctx, op, ref.Key, gen)
	if err != nil {
		return connectors.Removed{}, err
	}
	if d.honours.remove.No() && !d.unfenced {
		return connectors.Removed{}, fault.New(fault.Unsupported, op, ref.String(), errors.New("the server ignores ifGenerationMatch on delete"))
	}
	ifCurrent := gen
	if !f.info.Latest {
		ifCurrent = 0 // it would be compared with the current one
	}
	if _, err := d.delete(ctx, op, ref.Key, f.Name, gen, ifCurrent); err != nil {
		if re := replyOf(err); fault.Is(err, fault.Denied) && (re != nil && re.kept || held(f.ObjectAttrs, time.Now()) != "") {
			return d.hide(ctx, op, ref, f, err)
		}
		return connectors.Removed{}, bucketGone(err)
	}
	there, err := d.remains(ctx, op, ref.Key, f.Name, gen)
	switch {
	case err != nil:
		return connectors.Removed{}, err
	case there:
		return connectors.Removed{}, fault.New(fault.Unavailable, op, ref.String(), errors.New("the server says it is deleted, but it is still there"))
	}
	return connectors.Removed{Marker: d.restorable(ctx, op, ref.Key, f.Name, gen), Unfenced: d.honours.remove.No()}, nil
}

// remains reports whether the generation is there, current or not.
func (d *Driver) remains(ctx context.Context, op, key, name string, gen int64) (bool, error) {
	_, err := d.get(ctx, op, key, name, gen)
	if fault.Is(err, fault.NotFound, fault.Changed) {
		return false, nil
	}
	return err == nil, err
}

// restorable reports whether a deleted generation can be restored: whether the
// bucket's soft delete keeps it. Where we may not ask, we do not know.
func (d *Driver) restorable(ctx context.Context, op, key, name string, gen int64) bool {
	o, err := call(ctx, d, op, key, d.object(name, gen).SoftDeleted().Attrs)
	return err == nil && o.Generation == gen && !o.SoftDeleteTime.IsZero()
}

// held says what keeps o from being removed at the time now, "" if nothing.
func held(o *storage.ObjectAttrs, now time.Time) string {
	switch {
	case o.TemporaryHold:
		return keptTemporary
	case o.EventBasedHold:
		return keptEvent
	case o.Retention != nil && now.Before(o.Retention.RetainUntil):
		return fmt.Sprintf("%s (%s) until %s", keptObject, o.Retention.Mode, o.Retention.RetainUntil.Format(time.RFC3339))
	case now.Before(o.RetentionExpirationTime):
		return keptBucket + " until " + o.RetentionExpirationTime.Format(time.RFC3339)
	}
	return ""
}

// hide makes an object that may not be deleted noncurrent, which a bucket that
// keeps versions may allow. why is what forbade the deletion.
func (d *Driver) hide(ctx context.Context, op string, ref object.Ref, f found, why error) (connectors.Removed, error) {
	if by := held(f.ObjectAttrs, time.Now()); by != "" {
		why = fault.New(fault.Other, op, by, why)
	}
	if !f.info.Latest {
		_, err := d.get(ctx, op, ref.Key, f.Name, 0)
		if fault.Is(err, fault.NotFound) {
			return connectors.Removed{Marker: true, Already: true}, nil // hidden, by an earlier run
		}
		return connectors.Removed{}, why // a newer one is current: nothing of ours to hide
	}
	if d.honours.remove.No() {
		return connectors.Removed{}, why
	}
	if _, err := d.delete(ctx, op, ref.Key, f.Name, 0, f.Generation); err != nil {
		if fault.Is(err, fault.Denied) {
			err = why
		}
		return connectors.Removed{}, err
	}
	there, err := d.remains(ctx, op, ref.Key, f.Name, f.Generation)
	return connectors.Removed{Marker: there}, err
}
