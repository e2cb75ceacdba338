package s3

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// The limits of Amazon for tags of an object, in UTF-16 code units
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html).
const (
	maxTags     = 10
	maxTagKey   = 128
	maxTagValue = 256
)

// Tags reads the tags of ref, see connectors.Tagger.
func (d *Driver) Tags(ctx context.Context, ref object.Ref) (map[string]string, error) {
	v, err := parseVersion("s3.Tags", ref.Key, ref.Version)
	if err != nil {
		return nil, err
	}
	f, err := d.find(ctx, "s3.Tags", ref.Key, v)
	if err != nil {
		return nil, err
	}
	return d.getTags(ctx, "s3.Tags", ref.Key, f.id)
}

func (d *Driver) getTags(ctx context.Context, op, key string, id *string) (map[string]string, error) {
	out, err := call(ctx, d, op, key, d.client.GetObjectTagging, &s3.GetObjectTaggingInput{Bucket: &d.bucket, Key: aws.String(d.root + key), VersionId: id})
	if err != nil {
		if re := replyOf(err); re != nil && strings.HasPrefix(re.Code, "NoSuchTagSet") {
			return map[string]string{}, nil
		}
		return nil, badID(err, id)
	}
	tags := make(map[string]string, len(out.TagSet))
	for _, t := range out.TagSet {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return tags, nil
}

func (d *Driver) putTags(ctx context.Context, op, key string, id *string, tags map[string]string) error {
	in := &s3.PutObjectTaggingInput{Bucket: &d.bucket, Key: aws.String(d.root + key), VersionId: id, Tagging: &types.Tagging{TagSet: []types.Tag{}}}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		in.Tagging.TagSet = append(in.Tagging.TagSet, types.Tag{Key: aws.String(k), Value: aws.String(tags[k])})
	}
	_, err := call(ctx, d, op, key, d.client.PutObjectTagging, in)
	return badID(err, id)
}

// tagTries bounds how often tags are merged anew because someone else wrote
// theirs at the same time.
const tagTries = 5

// Tag merges set into the tags of ref, see connectors.Tagger. The server
// replaces all tags at once and knows no precondition. So they are read again
// after writing, and merged anew if another writer took ours away. An object
// without a version id that was replaced meanwhile gets our keys taken off
// again, and Changed is returned.
func (d *Driver) Tag(ctx context.Context, ref object.Ref, set map[string]string) (object.Info, error) {
	const op = "s3.Tag"
	v, err := parseVersion(op, ref.Key, ref.Version)
	if err != nil {
		return object.Info{}, err
	}
	if err := checkTags(set); err != nil {
		return object.Info{}, fault.New(fault.Invalid, op, ref.String(), err)
	}
	for range tagTries {
		f, err := d.find(ctx, op, ref.Key, v)
		if err != nil {
			return object.Info{}, err
		}
		v = f.v // no other from here on, if ref named none
		old, err := d.getTags(ctx, op, ref.Key, f.id)
		if err != nil {
			return object.Info{}, err
		}
		merged := connectors.MergeTags(old, set)
		if maps.Equal(old, merged) {
			return f.info, nil
		}
		if len(merged) > maxTags {
			return object.Info{}, fault.New(fault.Invalid, op, ref.String(), fmt.Errorf("%d tags, an object may have %d", len(merged), maxTags))
		}
		if err := d.putTags(ctx, op, ref.Key, f.id, merged); err != nil {
			// Whether it was written is unclear unless the server refused it.
			if v.id == "" && fault.Is(err, fault.Unavailable) {
				err = d.untagIfMoved(ctx, op, ref.Key, v, old, set, err)
			}
			return object.Info{}, connectors.Recast(err, fault.NotFound, fault.Changed)
		}
		if v.id == "" {
			if err := d.untagIfMoved(ctx, op, ref.Key, v, old, set, nil); err != nil {
				return object.Info{}, err
			}
		}
		now, err := d.getTags(ctx, op, ref.Key, f.id)
		if err != nil {
			return object.Info{}, connectors.Recast(err, fault.NotFound, fault.Changed)
		}
		if maps.Equal(now, connectors.MergeTags(now, set)) {
			return f.info, nil
		}
	}
	return object.Info{}, fault.New(fault.Unavailable, op, ref.String(), errors.New("others keep writing its tags"))
}

// untagIfMoved looks whether key is still v. If not, it takes off again those
// tags of set that stand there with our values, and returns Changed; else it
// returns err.
func (d *Driver) untagIfMoved(ctx context.Context, op, key string, v version, old, set map[string]string, err error) error {
	if _, e := d.find(ctx, op, key, v); !fault.Is(e, fault.Changed) {
		if fault.Is(e, fault.NotFound) {
			return connectors.Recast(e, fault.NotFound, fault.Changed) // the tags went with it
		}
		return errors.Join(err, e)
	}
	for range tagTries {
		now, e := d.getTags(ctx, op, key, nil)
		if fault.Is(e, fault.NotFound) {
			break
		}
		if e != nil {
			return e
		}
		left := maps.Clone(now)
		for k, val := range set {
			if now[k] == val {
				delete(left, k)
			}
		}
		// What was there before us belonged to the replaced object, and came here
		// with our write; the new object's own tags are what its writer gave it.
		if len(left) < len(now) {
			for k, val := range old {
				if left[k] == val {
					delete(left, k)
				}
			}
		}
		if len(left) == len(now) {
			break
		}
		if e := d.putTags(ctx, op, key, nil, left); e != nil && !fault.Is(e, fault.NotFound) {
			return e
		}
	}
	return fault.New(fault.Changed, op, object.FormatKey(key), errMoved)
}

// checkTags says what is wrong with tags of ours.
func checkTags(set map[string]string) error {
	if len(set) > maxTags {
		return fmt.Errorf("%d tags, an object may have %d", len(set), maxTags)
	}
	for k, v := range set {
		switch {
		case k == "" || units(k) > maxTagKey:
			return fmt.Errorf("tag key %q: want 1 to %d characters", k, maxTagKey)
		case units(v) > maxTagValue:
			return fmt.Errorf("tag %s: want at most %d characters", k, maxTagValue)
		case strings.HasPrefix(k, "aws:"):
			return fmt.Errorf("tag key %q: aws: is Amazon's own", k)
		case !tagText(k) || !tagText(v):
			return fmt.Errorf("tag %q=%q: letters, numbers, spaces and + - = . _ : / @ only", k, v)
		}
	}
	return nil
}

func units(s string) int { return len(utf16.Encode([]rune(s))) }

func tagText(s string) bool {
	for _, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.Is(unicode.Zs, r) && !strings.ContainsRune("+-=._:/@", r) || r == unicode.ReplacementChar {
			return false
		}
	}
	return true
}

// tagHeader writes tags for the header x-amz-tagging.
func tagHeader(tags map[string]string) *string {
	if len(tags) == 0 {
		return nil
	}
	q := make(url.Values, len(tags))
	for k, v := range tags {
		q.Set(k, v)
	}
	return aws.String(strings.ReplaceAll(q.Encode(), "+", "%20"))
}
