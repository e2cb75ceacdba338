package s3

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Copy copies exactly src.Version within the bucket, see connectors.Copier.
// Metadata, tags, storage class and KMS key are kept; metadata and tags in opt
// are added. Access lists are not kept.
//
// Compatible servers are known to ignore preconditions on what stands at the
// destination of a CopyObject, and to honour them when a multipart upload is
// completed: unless the server is known to be better, it copies by parts.
func (d *Driver) Copy(ctx context.Context, src object.Ref, key string, opt connectors.PutOptions) (object.Info, error) {
	const op = "s3.Copy"
	v, err := parseVersion(op, src.Key, src.Version)
	if err != nil {
		return object.Info{}, err
	}
	full, err := d.full(op, key)
	if err != nil {
		return object.Info{}, err
	}
	f, err := d.find(ctx, op, src.Key, v)
	if err != nil {
		return object.Info{}, err
	}
	if opt.Size > 0 && opt.Size != f.info.Size {
		return object.Info{}, fault.New(fault.Changed, op, src.String(), fmt.Errorf("%d bytes, expected %d", f.info.Size, opt.Size))
	}
	c := copying{d: d, src: src.Key, f: f, key: key, full: full}
	if err := c.gather(ctx, opt); err != nil {
		return object.Info{}, err
	}
	whole := f.info.Size <= d.limits.copy && (d.honours.copy.Yes() || d.honours.complete.No())
	known := &d.honours.complete
	if whole {
		known = &d.honours.copy
	}
	if c.guard, err = d.guard(ctx, op, key, opt.IfVersion, known); err != nil {
		return object.Info{}, err
	}
	var id, etag *string
	switch {
	case whole:
		id, etag, err = c.whole(ctx)
	case f.info.Size == 0:
		id, etag, err = c.empty(ctx)
	default:
		id, etag, err = c.parts(ctx)
	}
	if err != nil {
		return object.Info{}, err
	}
	info, err := d.written(ctx, op, key, id, etag)
	if err != nil {
		return info, err
	}
	return c.verify(ctx, info)
}

// copying is a copy under way.
type copying struct {
	d         *Driver
	src       string // key
	f         found  // the source
	key, full string // of the destination
	guard     guard
	meta      map[string]string // as headers have it
	tags      map[string]string
	own       bool // metadata or tags are not the source's alone
}

// gather collects the metadata and tags that the copy gets.
func (c *copying) gather(ctx context.Context, opt connectors.PutOptions) error {
	if err := checkTags(opt.Tags); err != nil {
		return fault.New(fault.Invalid, "s3.Copy", c.key, err)
	}
	added, err := writeMeta(opt.Meta)
	if err != nil {
		return fault.New(fault.Invalid, "s3.Copy", c.key, err)
	}
	c.meta = make(map[string]string, len(c.f.head.Metadata)+len(added))
	maps.Copy(c.meta, c.f.head.Metadata)
	maps.Copy(c.meta, added)
	tags, err := c.d.getTags(ctx, "s3.Copy", c.src, c.f.id)
	switch {
	case fault.Is(err, fault.Unsupported):
		tags = nil // a server without tags
	case err != nil:
		return connectors.Recast(err, fault.NotFound, fault.Changed)
	}
	c.tags = connectors.MergeTags(tags, opt.Tags)
	if len(c.tags) > maxTags {
		return fault.New(fault.Invalid, "s3.Copy", c.key, fmt.Errorf("%d tags, an object may have %d", len(c.tags), maxTags))
	}
	c.own = len(opt.Meta) > 0 || len(opt.Tags) > 0
	return nil
}

// source names the source for a header: bucket/key, escaped, with version.
func (c *copying) source() *string {
	parts := strings.Split(c.d.root+c.src, "/")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(url.PathEscape(p), "+", "%2B")
	}
	s := c.d.bucket + "/" + strings.Join(parts, "/")
	if c.f.id != nil {
		s += "?versionId=" + url.QueryEscape(*c.f.id)
	}
	return &s
}

// storageClass is what a copy must be told to keep.
func (c *copying) storageClass() types.StorageClass { return c.f.head.StorageClass }

// encryption is the source's if it has a key of its own; else the bucket's
// default applies.
func (c *copying) encryption() (types.ServerSideEncryption, *string) {
	switch sse := c.f.head.ServerSideEncryption; sse {
	case types.ServerSideEncryptionAwsKms, types.ServerSideEncryptionAwsKmsDsse:
		return sse, c.f.head.SSEKMSKeyId
	}
	return "", nil
}

// expires is the source's header Expires, if it is a date.
func (c *copying) expires() *time.Time {
	t, err := http.ParseTime(aws.ToString(c.f.head.ExpiresString))
	if err != nil {
		return nil
	}
	return &t
}

// whole copies in one request. Where the server may ignore the guard, written
// and verify find out.
func (c *copying) whole(ctx context.Context) (id, etag *string, err error) {
	h := c.f.head
	in := &s3.CopyObjectInput{
		Bucket: &c.d.bucket, Key: &c.full, CopySource: c.source(), CopySourceIfMatch: c.f.etag,
		IfMatch: c.guard.match, IfNoneMatch: c.guard.none, StorageClass: c.storageClass(),
	}
	in.ServerSideEncryption, in.SSEKMSKeyId = c.encryption()
	if c.own {
		in.MetadataDirective, in.TaggingDirective = types.MetadataDirectiveReplace, types.TaggingDirectiveReplace
		in.Metadata, in.Tagging = c.meta, tagHeader(c.tags)
		in.ContentType, in.ContentEncoding, in.ContentDisposition = h.ContentType, h.ContentEncoding, h.ContentDisposition
		in.ContentLanguage, in.CacheControl, in.WebsiteRedirectLocation = h.ContentLanguage, h.CacheControl, h.WebsiteRedirectLocation
		in.Expires = c.expires()
	}
	out, err := callFor(ctx, c.d, c.d.limits.long, "s3.Copy", c.key, c.d.client.CopyObject, in)
	if err != nil {
		return nil, nil, c.failed(ctx, err)
	}
	if out.CopyObjectResult != nil {
		etag = out.CopyObjectResult.ETag
	}
	return out.VersionId, etag, nil
}

// failed tells a precondition of the source from one of the destination: the
// reply to both is the same.
func (c *copying) failed(ctx context.Context, err error) error {
	if !fault.Is(err, fault.Changed, fault.NotFound) {
		return err
	}
	if _, e := c.d.find(ctx, "s3.Copy", c.src, c.f.v); e != nil {
		return connectors.Recast(e, fault.NotFound, fault.Changed)
	}
	return c.guard.failed(err)
}

// upload is what a copy by parts is created with.
func (c *copying) upload() *s3.CreateMultipartUploadInput {
	h := c.f.head
	in := &s3.CreateMultipartUploadInput{
		Bucket: &c.d.bucket, Key: &c.full, Metadata: c.meta, Tagging: tagHeader(c.tags), StorageClass: c.storageClass(),
		ContentType: h.ContentType, ContentEncoding: h.ContentEncoding, ContentDisposition: h.ContentDisposition,
		ContentLanguage: h.ContentLanguage, CacheControl: h.CacheControl, WebsiteRedirectLocation: h.WebsiteRedirectLocation,
	}
	in.Expires = c.expires()
	in.ServerSideEncryption, in.SSEKMSKeyId = c.encryption()
	return in
}

// parts copies by parts, each from the same version of the source.
func (c *copying) parts(ctx context.Context) (id, etag *string, err error) {
	size := c.f.info.Size
	part := min(c.d.limits.copy, max(minPart, 512<<20))
	if size > part*maxParts {
		part = size/maxParts + 1
	}
	return c.d.multipart(ctx, "s3.Copy", c.key, c.upload(), c.guard, func(ctx context.Context, upload *string) ([]types.CompletedPart, error) {
		var done []types.CompletedPart
		for from := int64(0); from < size; from += part {
			number, to := int32(len(done)+1), min(from+part, size)-1
			out, err := callFor(ctx, c.d, c.d.limits.long, "s3.Copy", c.key, c.d.client.UploadPartCopy, &s3.UploadPartCopyInput{
				Bucket: &c.d.bucket, Key: &c.full, UploadId: upload, PartNumber: &number, CopySource: c.source(),
				CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", from, to)), CopySourceIfMatch: c.f.etag,
			})
			if err != nil {
				return nil, connectors.Recast(err, fault.NotFound, fault.Changed) // of the source: the destination is not looked at yet
			}
			if out.CopyPartResult == nil {
				return nil, fault.New(fault.Unavailable, "s3.Copy", c.key, errIncomplete)
			}
			done = append(done, types.CompletedPart{PartNumber: &number, ETag: out.CopyPartResult.ETag})
		}
		return done, nil
	})
}

// empty makes a copy of an object without content, which has no part to copy.
func (c *copying) empty(ctx context.Context) (id, etag *string, err error) {
	u := c.upload()
	out, err := call(ctx, c.d, "s3.Copy", c.key, c.d.client.PutObject, &s3.PutObjectInput{
		Bucket: u.Bucket, Key: u.Key, IfMatch: c.guard.match, IfNoneMatch: c.guard.none, ContentLength: aws.Int64(0),
		Metadata: u.Metadata, Tagging: u.Tagging, StorageClass: u.StorageClass, ContentType: u.ContentType,
		ContentEncoding: u.ContentEncoding, ContentDisposition: u.ContentDisposition, ContentLanguage: u.ContentLanguage,
		CacheControl: u.CacheControl, WebsiteRedirectLocation: u.WebsiteRedirectLocation,
		ServerSideEncryption: u.ServerSideEncryption, SSEKMSKeyId: u.SSEKMSKeyId, Expires: u.Expires,
	})
	if err != nil {
		return nil, nil, c.guard.failed(err)
	}
	return out.VersionId, out.ETag, nil
}

// verify looks whether the copy is what it should be: some servers forget tags
// given to an upload.
func (c *copying) verify(ctx context.Context, info object.Info) (object.Info, error) {
	if info.Size != c.f.info.Size {
		return info, fault.New(fault.Changed, "s3.Copy", object.FormatKey(c.key), fmt.Errorf("the copy has %d bytes, the source %d", info.Size, c.f.info.Size))
	}
	if len(c.tags) == 0 {
		return info, nil
	}
	return c.d.Tag(ctx, object.Ref{Key: c.key, Version: info.Version}, c.tags)
}
