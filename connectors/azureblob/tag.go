package azureblob

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// The limits of index tags ("Set Blob Tags").
const (
	maxTags     = 10
	maxTagKey   = 128
	maxTagValue = 256
)

// Tags reads the tags of ref, see connectors.Tagger. Where the account has no
// index tags, its metadata is read.
func (d *Driver) Tags(ctx context.Context, ref object.Ref) (map[string]string, error) {
	const op = "azureblob.Tags"
	f, err := d.find(ctx, op, ref.Key, parseVersion(ref.Version))
	if err != nil {
		return nil, err
	}
	tags, err := d.getTags(ctx, op, ref.Key, f)
	if d.noTags(err) {
		return d.metaTags(ctx, op, ref.Key, f)
	}
	return readTags(tags), err
}

// noTags reports whether err, or an earlier one, says that there are no index
// tags.
func (d *Driver) noTags(err error) bool {
	if fault.Is(err, fault.Unsupported) {
		d.tagless.Store(true)
	}
	return d.tagless.Load()
}

// errTagless stands for the call that need not be made.
var errTagless = fault.New(fault.Unsupported, "azureblob.Tags", "", errors.New("the account has no index tags"))

// getTags is Get Blob Tags, as they are written, on the same condition as setTags.
func (d *Driver) getTags(ctx context.Context, op, key string, f found) (map[string]string, error) {
	if d.tagless.Load() {
		return nil, errTagless
	}
	out, err := call(ctx, d, op, key, func(ctx context.Context) (blob.GetTagsResponse, error) {
		return d.blob(d.root+key).GetTags(withVersion(ctx, f.v.id), &blob.GetTagsOptions{BlobModifiedAccessConditions: f.tagsMatch()})
	})
	if err != nil {
		return nil, noSuchID(err, f.v.id)
	}
	tags := make(map[string]string, len(out.BlobTagSet))
	for _, t := range out.BlobTagSet {
		tags[str(t.Key)] = str(t.Value)
	}
	return tags, nil
}

// setTags is Set Blob Tags, on condition that the blob still is what was found.
// Services before 2026-02-06, and emulators, ignore the condition.
func (d *Driver) setTags(ctx context.Context, op, key string, f found, tags map[string]string) error {
	opt := &blob.SetTagsOptions{BlobModifiedAccessConditions: f.tagsMatch()}
	_, err := call(ctx, d, op, key, func(ctx context.Context) (blob.SetTagsResponse, error) {
		return d.blob(d.root+key).SetTags(withVersion(ctx, f.v.id), tags, opt)
	})
	return noSuchID(err, f.v.id)
}

// tagsMatch is the condition that the blob still is f; a version always is.
func (f found) tagsMatch() *blob.BlobModifiedAccessConditions {
	if f.v.id != "" || f.etag == "" {
		return nil
	}
	return &blob.BlobModifiedAccessConditions{IfMatch: match(f.etag)}
}

// tagTries bounds how often tags are merged anew because someone else wrote
// theirs at the same time.
const tagTries = 5

// Tag merges set into the tags of ref, see connectors.Tagger. The service
// replaces all tags at once. So they are read again after writing, and merged
// anew if another writer took ours away. On a server that ignores the condition
// on tags, a blob that was replaced meanwhile gets our keys taken off again, and
// Changed is returned.
func (d *Driver) Tag(ctx context.Context, ref object.Ref, set map[string]string) (object.Info, error) {
	const op = "azureblob.Tag"
	v := parseVersion(ref.Version)
	ours, err := writeTags(set)
	if err != nil {
		return object.Info{}, fault.New(fault.Invalid, op, ref.String(), err)
	}
	f, err := d.find(ctx, op, ref.Key, v)
	if err != nil {
		return object.Info{}, err
	}
	v = f.v // no other from here on, if ref named none
	for range tagTries {
		old, err := d.getTags(ctx, op, ref.Key, f)
		if d.noTags(err) {
			return d.tagMeta(ctx, op, ref, f, set)
		}
		if err != nil {
			return object.Info{}, connectors.Recast(err, fault.NotFound, fault.Changed)
		}
		fenced := v.id != "" || d.mindsTags(ctx, op, ref.Key)
		if !fenced { // what was read must be this blob's
			if _, err := d.find(ctx, op, ref.Key, v); err != nil {
				return object.Info{}, connectors.Recast(err, fault.NotFound, fault.Changed)
			}
		}
		merged := connectors.MergeTags(old, ours)
		if maps.Equal(old, merged) {
			return f.info, nil
		}
		if len(merged) > maxTags {
			return object.Info{}, fault.New(fault.Invalid, op, ref.String(), fmt.Errorf("%d tags, a blob may have %d", len(merged), maxTags))
		}
		err = d.setTags(ctx, op, ref.Key, f, merged)
		if d.noTags(err) {
			return d.tagMeta(ctx, op, ref, f, set)
		}
		// Whether it was written is unclear unless the server refused it.
		if !fenced && (err == nil || fault.Is(err, fault.Unavailable)) {
			err = d.untagIfMoved(ctx, op, ref.Key, v, old, ours, err)
		}
		if err != nil {
			return object.Info{}, connectors.Recast(err, fault.NotFound, fault.Changed)
		}
		now, err := d.getTags(ctx, op, ref.Key, f)
		if err != nil {
			return object.Info{}, connectors.Recast(err, fault.NotFound, fault.Changed)
		}
		if maps.Equal(now, connectors.MergeTags(now, ours)) {
			return f.info, nil
		}
	}
	return object.Info{}, fault.New(fault.Unavailable, op, ref.String(), errors.New("others keep writing its tags"))
}

// mindsTags reports whether the server minds the condition on tags, which it is
// asked once, by reading on one that cannot hold.
func (d *Driver) mindsTags(ctx context.Context, op, key string) bool {
	if d.minds.Yes() || d.minds.No() {
		return d.minds.Yes()
	}
	if _, err := d.getTags(ctx, op, key, found{etag: wrong}); err == nil || fault.Is(err, fault.Changed) {
		d.minds.Set(err != nil)
	}
	return d.minds.Yes()
}

// untagIfMoved looks whether key is still v. If not, it takes off again those
// tags that stand there with our values or came there with our write, and
// returns Changed; else it returns err.
func (d *Driver) untagIfMoved(ctx context.Context, op, key string, v version, old, ours map[string]string, err error) error {
	if _, e := d.find(ctx, op, key, v); !fault.Is(e, fault.Changed) {
		if fault.Is(e, fault.NotFound) {
			return connectors.Recast(e, fault.NotFound, fault.Changed) // the tags went with it
		}
		return errors.Join(err, e)
	}
	for range tagTries {
		f, e := d.find(ctx, op, key, version{})
		if fault.Is(e, fault.NotFound) {
			break
		}
		if e != nil {
			return e
		}
		now, e := d.getTags(ctx, op, key, f)
		if e != nil {
			return e
		}
		left := maps.Clone(now)
		drop := func(tags map[string]string) {
			maps.DeleteFunc(left, func(k, val string) bool { return val != "" && tags[k] == val })
		}
		// What was there before us belonged to the replaced blob, and came here
		// with our write; the new blob's own tags are what its writer gave it.
		if drop(ours); len(left) < len(now) {
			drop(old)
		}
		if len(left) == len(now) {
			break
		}
		if e := d.setTags(ctx, op, key, f, left); e != nil && !fault.Is(e, fault.NotFound, fault.Changed) {
			return e
		}
	}
	return fault.New(fault.Changed, op, object.FormatKey(key), errMoved)
}

// writeTags returns tags as they are written, and says what is wrong with them.
func writeTags(set map[string]string) (map[string]string, error) {
	if len(set) > maxTags {
		return nil, fmt.Errorf("%d tags, a blob may have %d", len(set), maxTags)
	}
	out := make(map[string]string, len(set))
	for k, v := range set {
		key, val := escapeTag(k), escapeTag(v)
		switch {
		case key == "" || len(key) > maxTagKey:
			return nil, fmt.Errorf("tag key %q: want 1 to %d characters as it is written", k, maxTagKey)
		case len(val) > maxTagValue:
			return nil, fmt.Errorf("tag %s: want at most %d characters as it is written", k, maxTagValue)
		}
		out[key] = val
	}
	return out, nil
}

func readTags(written map[string]string) map[string]string {
	tags := make(map[string]string, len(written))
	for k, v := range written {
		tags[unescape(k)] = unescape(v)
	}
	return tags
}
