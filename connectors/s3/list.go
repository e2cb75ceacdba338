package s3

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// A cursor is a place in a listing. Keys are the bucket's.
type cursor struct {
	prefix string
	after  string // keys after this one
	token  string // the server's own continuation, which wins over after
	id     string // the version within the key after, in listings of versions
	limit  int32
}

type page = connectors.Page[cursor]

// List yields the current objects, see connectors.Driver. A bucket that keeps
// versions is listed by versions, for a plain listing does not tell their ids.
// It fails with Unsupported on a server that lists in another order than that
// of bytes, and yields a Gap for keys that the server cannot spell.
func (d *Driver) List(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error] {
	if !d.keeps.Load() {
		return d.listing(ctx, prefix, start, d.listPage, func(object.Info) bool { return true })
	}
	return d.listing(ctx, prefix, start, d.versionsPage, func(i object.Info) bool { return i.Latest && i.Kind != object.Marker })
}

// ListVersions yields all versions and delete markers, see
// connectors.VersionLister.
func (d *Driver) ListVersions(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error] {
	return d.listing(ctx, prefix, start, d.versionsPage, func(object.Info) bool { return true })
}

// listing yields what of the pages is in the unit and wanted.
func (d *Driver) listing(ctx context.Context, prefix, start string, get func(context.Context, cursor) (page, error), want func(object.Info) bool) iter.Seq2[object.Info, error] {
	first := cursor{prefix: d.root + prefix, limit: d.limits.list}
	switch {
	case start == "", start < prefix: // MinIO refuses a marker outside of the prefix
	case strings.HasPrefix(start, prefix):
		first.after = d.root + start
	default:
		return func(func(object.Info, error) bool) {} // all keys with the prefix come before start
	}
	return func(yield func(object.Info, error) bool) {
		last := ""
		for p, err := range connectors.Ahead(ctx, "s3.List", first.prefix, first, get) {
			if err != nil {
				yield(object.Info{}, err)
				return
			}
			for _, info := range p.Infos {
				key, ok := strings.CutPrefix(info.Key, d.root)
				if !ok || key == "" || start != "" && key <= start || !want(info) {
					continue // "" is the marker of the unit's own folder
				}
				if err := d.spelt(ctx, key, info); err != nil {
					if !yield(object.Info{}, err) {
						return
					}
					continue
				}
				if key < last {
					yield(object.Info{}, fault.New(fault.Unsupported, "s3.List", object.FormatKey(key), errNoOrder))
					return
				}
				info.Key, last = key, key
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

var (
	errNoOrder  = errors.New("the server does not list in byte order of the key")
	errSpelling = errors.New("the server cannot spell a key below this prefix in its listing: rename it")
)

// spelt returns a Gap if info stands for a key with a byte that XML cannot hold
// and the server replaced. Servers that know encoding-type=url have no such keys.
func (d *Driver) spelt(ctx context.Context, key string, info object.Info) error {
	i := strings.IndexRune(key, utf8.RuneError)
	if i < 0 {
		return nil
	}
	if _, err := d.find(ctx, "s3.List", key, version{}); !fault.Is(err, fault.NotFound) {
		return err // a key that really has this character
	}
	return &connectors.Gap{Prefix: key[:i], Err: fault.New(fault.Unsupported, "s3.List", object.FormatKey(key), errSpelling)}
}

// listPage is ListObjectsV2.
func (d *Driver) listPage(ctx context.Context, c cursor) (page, error) {
	in := &s3.ListObjectsV2Input{Bucket: &d.bucket, Prefix: &c.prefix, EncodingType: types.EncodingTypeUrl, MaxKeys: &c.limit}
	if c.token != "" {
		in.ContinuationToken = &c.token
	} else if c.after != "" {
		in.StartAfter = &c.after
	}
	if d.amazon {
		in.OptionalObjectAttributes = []types.OptionalObjectAttributes{types.OptionalObjectAttributesRestoreStatus}
	}
	out, err := call(ctx, d, "s3.List", strings.TrimPrefix(c.prefix, d.root), d.client.ListObjectsV2, in)
	if err != nil {
		return page{}, err
	}
	p := page{Infos: make([]object.Info, 0, len(out.Contents))}
	for i := range out.Contents {
		o := &out.Contents[i]
		key, err := decodeKey(o.Key, out.EncodingType)
		if err != nil {
			return page{}, err
		}
		info := listed(key, nil, o.ETag, o.Size, o.LastModified, string(o.StorageClass), o.RestoreStatus)
		info.Latest = true
		p.Infos = append(p.Infos, info)
	}
	if aws.ToBool(out.IsTruncated) {
		p.Next = &cursor{prefix: c.prefix, token: aws.ToString(out.NextContinuationToken), limit: c.limit}
		if p.Next.token == "" {
			return page{}, fault.New(fault.Unavailable, "s3.List", object.FormatKey(c.prefix), connectors.ErrNoEnd)
		}
	}
	return p, nil
}

// versionsPage is ListObjectVersions: versions and delete markers by key,
// newest first.
func (d *Driver) versionsPage(ctx context.Context, c cursor) (page, error) {
	in := &s3.ListObjectVersionsInput{Bucket: &d.bucket, Prefix: &c.prefix, EncodingType: types.EncodingTypeUrl, MaxKeys: &c.limit}
	if c.after != "" {
		in.KeyMarker = &c.after
	}
	if c.id != "" {
		in.VersionIdMarker = &c.id
	}
	if d.amazon {
		in.OptionalObjectAttributes = []types.OptionalObjectAttributes{types.OptionalObjectAttributesRestoreStatus}
	}
	out, err := call(ctx, d, "s3.ListVersions", strings.TrimPrefix(c.prefix, d.root), d.client.ListObjectVersions, in)
	if err != nil {
		return page{}, err
	}
	p := page{Infos: make([]object.Info, 0, len(out.Versions)+len(out.DeleteMarkers))}
	for i := range out.Versions {
		o := &out.Versions[i]
		key, err := decodeKey(o.Key, out.EncodingType)
		if err != nil {
			return page{}, err
		}
		info := listed(key, o.VersionId, o.ETag, o.Size, o.LastModified, string(o.StorageClass), o.RestoreStatus)
		info.Latest = aws.ToBool(o.IsLatest)
		p.Infos = append(p.Infos, info)
	}
	for i := range out.DeleteMarkers {
		o := &out.DeleteMarkers[i]
		key, err := decodeKey(o.Key, out.EncodingType)
		if err != nil {
			return page{}, err
		}
		info := listed(key, o.VersionId, nil, nil, o.LastModified, "", nil)
		info.Kind, info.Latest = object.Marker, aws.ToBool(o.IsLatest)
		p.Infos = append(p.Infos, info)
	}
	// The reply has them in one order, which the SDK takes apart into two lists.
	slices.SortStableFunc(p.Infos, func(a, b object.Info) int {
		if a.Key != b.Key {
			return cmp.Compare(a.Key, b.Key)
		}
		if a.Latest != b.Latest {
			if a.Latest {
				return -1
			}
			return 1
		}
		return b.ModTime.Compare(a.ModTime)
	})
	if aws.ToBool(out.IsTruncated) {
		after, err := decodeKey(out.NextKeyMarker, out.EncodingType)
		if err != nil {
			return page{}, err
		}
		p.Next = &cursor{prefix: c.prefix, after: after, id: aws.ToString(out.NextVersionIdMarker), limit: c.limit}
		if after == "" {
			return page{}, fault.New(fault.Unavailable, "s3.ListVersions", object.FormatKey(c.prefix), connectors.ErrNoEnd)
		}
	}
	return p, nil
}

// listed makes an Info of what a listing says of a version. Time is in seconds,
// as headers have it.
func listed(key string, id, etag *string, size *int64, mod *time.Time, class string, restore *types.RestoreStatus) object.Info {
	return object.Info{
		Key: key, Version: makeVersion(id, etag, aws.ToInt64(size), mod).String(), Size: aws.ToInt64(size),
		ModTime: aws.ToTime(mod).Truncate(time.Second), StorageClass: class,
		Cold: cold(types.StorageClass(class), "", restore != nil && restore.RestoreExpiryDate != nil),
	}
}

// decodeKey reads a key of a listing: form-urlencoded where the server says so,
// which not all do that were asked to.
func decodeKey(key *string, enc types.EncodingType) (string, error) {
	if enc != types.EncodingTypeUrl || strings.IndexByte(aws.ToString(key), '%') < 0 && strings.IndexByte(aws.ToString(key), '+') < 0 {
		return aws.ToString(key), nil
	}
	k, err := url.QueryUnescape(aws.ToString(key))
	if err != nil {
		return "", fault.New(fault.Unavailable, "s3.List", "", err)
	}
	return k, nil
}
