package gcs

import (
	"context"
	"errors"
	"maps"
	"net/http"

	raw "google.golang.org/api/storage/v1"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Tags reads the custom metadata of ref, see connectors.Tagger. A name without
// a value is left out.
func (d *Driver) Tags(ctx context.Context, ref object.Ref) (map[string]string, error) {
	gen, err := parseVersion("gcs.Tags", ref)
	if err != nil {
		return nil, err
	}
	f, err := d.find(ctx, "gcs.Tags", ref.Key, gen)
	if err != nil {
		return nil, err
	}
	return merge(f.Metadata, nil), nil
}

// tagTries bounds how often tags are merged anew because someone else changed
// the metadata at the same time.
const tagTries = 5

var errNoPatch = errors.New("the server ignores ifMetagenerationMatch on patch")

// Tag merges set into the custom metadata of ref, see connectors.Tagger. The
// change is made only to this generation in the state that was read; if others
// change its metadata meanwhile, it is read and merged anew. A server that
// ignores these preconditions is refused, since it could change another object.
func (d *Driver) Tag(ctx context.Context, ref object.Ref, set map[string]string) (object.Info, error) {
	const op = "gcs.Tag"
	gen, err := parseVersion(op, ref)
	if err != nil {
		return object.Info{}, err
	}
	if err := checkMeta(set); err != nil {
		return object.Info{}, fault.New(fault.Invalid, op, ref.String(), err)
	}
	for try := 0; ; try++ {
		f, err := d.find(ctx, op, ref.Key, gen)
		if err != nil {
			return object.Info{}, err
		}
		gen = f.Generation // no other from here on, if ref named none
		merged := merge(f.Metadata, set)
		if maps.Equal(merge(f.Metadata, nil), merged) {
			return f.info, nil // as it should be, now or from the beginning
		}
		if try == tagTries {
			return object.Info{}, fault.New(fault.Unavailable, op, ref.String(), errors.New("others keep changing its metadata"))
		}
		if err := checkSize(merged); err != nil {
			return object.Info{}, fault.New(fault.Invalid, op, ref.String(), err)
		}
		if err := d.provePatch(ctx, op, ref.Key, f); err != nil {
			return object.Info{}, err
		}
		err = d.patch(ctx, op, ref.Key, f, f.Metageneration, set)
		if err != nil && !refusedBy(err, http.StatusPreconditionFailed) {
			return object.Info{}, connectors.Recast(bucketGone(err), fault.NotFound, fault.Changed)
		}
	}
}

// patch sets what is in set, and takes off what has no value there, if f still
// is current, or still is not, as it was found, and its metageneration is meta.
//
// This is the one call of the generated client. ObjectHandle.Update is a patch
// too, which merges: a key that it does not name stays, and it cannot send the
// null that takes one off. It could only take off all keys and set them anew,
// in two calls, between which strangers' metadata would be gone.
func (d *Driver) patch(ctx context.Context, op, key string, f found, meta int64, set map[string]string) error {
	change := &raw.Object{Metadata: map[string]string{}, ForceSendFields: []string{"Metadata"}}
	for k, v := range set {
		if v == "" {
			change.NullFields = append(change.NullFields, "Metadata."+k)
		} else {
			change.Metadata[k] = v
		}
	}
	_, err := call(ctx, d, op, key, func(ctx context.Context) (struct{}, error) {
		in := d.service.Objects.Patch(d.bucket, f.Name, change).Generation(f.Generation).IfMetagenerationMatch(meta).Fields("name").Context(ctx)
		if f.info.Latest {
			in.IfGenerationMatch(f.Generation)
		}
		_, err := in.Do()
		return struct{}{}, err
	})
	return err
}

// provePatch finds out, once, whether the server looks at preconditions of a
// patch: by one that changes nothing, and that must be refused.
func (d *Driver) provePatch(ctx context.Context, op, key string, f found) error {
	if !d.honours.patch.Yes() && !d.honours.patch.No() {
		switch err := d.patch(ctx, op, key, f, f.Metageneration+1_000_000, nil); {
		case refusedBy(err, http.StatusPreconditionFailed):
			d.honours.patch.Set(true)
		case err != nil:
			return connectors.Recast(bucketGone(err), fault.NotFound, fault.Changed)
		default:
			d.honours.patch.Set(false)
		}
	}
	if d.honours.patch.No() {
		return fault.New(fault.Unsupported, op, object.FormatKey(key), errNoPatch)
	}
	return nil
}

// merge returns old with set in it; what has no value is left out.
func merge(old, set map[string]string) map[string]string {
	m := make(map[string]string, len(old)+len(set))
	maps.Copy(m, old)
	maps.Copy(m, set)
	maps.DeleteFunc(m, func(_, v string) bool { return v == "" })
	return m
}
