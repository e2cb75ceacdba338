package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	"golang.org/x/sync/errgroup"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// A guard is the precondition on what stands at a key before a write.
type guard struct {
	none, match *string // If-None-Match, If-Match
}

// Put writes an object in one request, or in parts, see connectors.Putter. The
// last bytes are only sent once the hash of all is right.
func (d *Driver) Put(ctx context.Context, key string, r io.Reader, opt connectors.PutOptions) (object.Info, error) {
	const op = "s3.Put"
	full, err := d.full(op, key)
	if err != nil {
		return object.Info{}, err
	}
	if err := checkTags(opt.Tags); err != nil {
		return object.Info{}, fault.New(fault.Invalid, op, key, err)
	}
	g, err := d.guard(ctx, op, key, opt.IfVersion, &d.honours.put)
	if err != nil {
		return object.Info{}, err
	}
	src := connectors.NewContent(ctx, r, opt)
	var id, etag *string
	if opt.Size >= 0 && opt.Size <= d.limits.whole && len(opt.SHA256) == sha256.Size {
		id, etag, err = d.putWhole(ctx, key, full, src, opt.Size, opt.SHA256, g, opt)
	} else {
		id, etag, err = d.putBuffered(ctx, key, full, src, g, opt)
	}
	if failed := src.Failure(op, key); failed != nil {
		return object.Info{}, failed
	}
	if err != nil {
		return object.Info{}, err
	}
	return d.written(ctx, op, key, id, etag)
}

// guard returns the precondition for a write to key that replaces ifVersion, or
// creates if that is "". Unless the server is known to honour it, the driver
// looks itself first.
func (d *Driver) guard(ctx context.Context, op, key, ifVersion string, known *connectors.Answer) (guard, error) {
	if ifVersion == "" {
		if !known.Yes() {
			switch _, err := d.find(ctx, op, key, version{}); {
			case err == nil:
				return guard{}, fault.New(fault.Exists, op, object.FormatKey(key), nil)
			case !fault.Is(err, fault.NotFound):
				return guard{}, err
			}
		}
		return guard{none: aws.String("*")}, nil
	}
	v, err := parseVersion(op, key, ifVersion)
	if err != nil {
		return guard{}, err
	}
	// Preconditions speak of the current object's ETag alone.
	f, err := d.find(ctx, op, key, version{})
	if err != nil {
		return guard{}, connectors.Recast(err, fault.NotFound, fault.Changed)
	}
	if f.v != v {
		return guard{}, fault.New(fault.Changed, op, object.FormatKey(key), errMoved)
	}
	return guard{match: f.etag}, nil
}

// failed gives the error of a guarded write its kind.
func (g guard) failed(err error) error {
	if re := replyOf(err); re != nil && re.Status == 412 && g.none != nil {
		return connectors.Recast(err, fault.Changed, fault.Exists)
	}
	if g.match != nil {
		return connectors.Recast(err, fault.NotFound, fault.Changed)
	}
	return err
}

// written describes what a write left at key.
func (d *Driver) written(ctx context.Context, op, key string, id, etag *string) (object.Info, error) {
	d.learn(id)
	v := version{}
	if id != nil && *id != nullID {
		v.id = *id
	}
	f, err := d.find(ctx, op, key, v)
	if err != nil {
		return object.Info{}, connectors.Recast(err, fault.NotFound, fault.Changed)
	}
	if v.id == "" && etag != nil && quoteETag(aws.ToString(f.etag)) != quoteETag(*etag) {
		return object.Info{}, fault.New(fault.Changed, op, object.FormatKey(key), errors.New("replaced by someone else as soon as it was written"))
	}
	return f.info, nil
}

// putWhole sends content of known size and hash in one request.
func (d *Driver) putWhole(ctx context.Context, key, full string, body io.Reader, size int64, sum []byte, g guard, opt connectors.PutOptions) (id, etag *string, err error) {
	meta, err := writeMeta(opt.Meta)
	if err != nil {
		return nil, nil, fault.New(fault.Invalid, "s3.Put", key, err)
	}
	in := &s3.PutObjectInput{
		Bucket: &d.bucket, Key: &full, Body: body, ContentLength: &size, IfMatch: g.match, IfNoneMatch: g.none,
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum)), Metadata: meta, Tagging: tagHeader(opt.Tags),
	}
	if opt.ContentType != "" {
		in.ContentType = &opt.ContentType
	}
	under, moving := connectors.Watch(connectors.SmallReply(ctx), d.limits.stall)
	defer moving.Stop()
	if size > 0 {
		in.Body = moving.Reader(body)
	} else {
		in.Body = nil
		if _, err := body.Read(make([]byte, 1)); err != io.EOF {
			return nil, nil, err // the source says what is wrong
		}
	}
	out, err := d.client.PutObject(under, in, signedAs(sum))
	if err != nil {
		return nil, nil, g.failed(d.fail(ctx, "s3.Put", key, err))
	}
	return out.VersionId, out.ETag, nil
}

// signedAs tells the signer the hash of a body, which it would else read twice.
func signedAs(sum []byte) func(*s3.Options) {
	return func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Build.Add(middleware.BuildMiddlewareFunc("PayloadHashKnown",
				func(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
					return next.HandleBuild(v4.SetPayloadHash(ctx, hex.EncodeToString(sum)), in)
				}), middleware.Before)
		})
	}
}

// putBuffered reads the first part; if that is all, it is put whole, else the
// object is put in parts.
func (d *Driver) putBuffered(ctx context.Context, key, full string, src *connectors.Content, g guard, opt connectors.PutOptions) (id, etag *string, err error) {
	part := d.limits.part
	if opt.Size > part*maxParts {
		part = (opt.Size/maxParts + 1<<20) >> 20 << 20
	}
	var first bytes.Buffer
	if opt.Size >= 0 && opt.Size < part {
		first.Grow(int(opt.Size) + bytes.MinRead)
	}
	n, err := io.Copy(&first, io.LimitReader(src, part))
	if err != nil {
		return nil, nil, err
	}
	if n < part {
		sum := sha256.Sum256(first.Bytes())
		return d.putWhole(ctx, key, full, bytes.NewReader(first.Bytes()), n, sum[:], g, opt)
	}
	return d.putParts(ctx, key, full, first.Bytes(), src, g, opt)
}

// putParts puts an object in parts of the size of first. One part is sent while
// the next is read. What fails leaves nothing behind.
func (d *Driver) putParts(ctx context.Context, key, full string, first []byte, src *connectors.Content, g guard, opt connectors.PutOptions) (id, etag *string, err error) {
	meta, err := writeMeta(opt.Meta)
	if err != nil {
		return nil, nil, fault.New(fault.Invalid, "s3.Put", key, err)
	}
	in := &s3.CreateMultipartUploadInput{Bucket: &d.bucket, Key: &full, Metadata: meta, Tagging: tagHeader(opt.Tags)}
	if opt.ContentType != "" {
		in.ContentType = &opt.ContentType
	}
	return d.multipart(ctx, "s3.Put", key, in, g, func(ctx context.Context, upload *string) ([]types.CompletedPart, error) {
		var parts []types.CompletedPart
		var sending errgroup.Group
		defer func() { _ = sending.Wait() }()
		buf, spare := first, make([]byte, len(first))
		for n := len(buf); n > 0; {
			if len(parts) == maxParts {
				return nil, fault.New(fault.Invalid, "s3.Put", key, fmt.Errorf("more than %d parts of %d bytes", maxParts, len(first)))
			}
			number, body := int32(len(parts)+1), buf[:n]
			parts = append(parts, types.CompletedPart{PartNumber: &number})
			done := &parts[len(parts)-1].ETag
			var tag *string
			sending.Go(func() (err error) {
				tag, err = d.putPart(ctx, key, full, upload, number, body)
				return err
			})
			buf, spare = spare, buf
			next, _ := io.ReadFull(src, buf) // src.Err tells how it went
			if err := sending.Wait(); err != nil {
				return nil, err
			}
			*done = tag
			if err := src.Err(); err != nil {
				return nil, err
			}
			n = next
		}
		return parts, nil
	})
}

// putPart sends one part.
func (d *Driver) putPart(ctx context.Context, key, full string, upload *string, number int32, body []byte) (*string, error) {
	under, moving := connectors.Watch(connectors.SmallReply(ctx), d.limits.stall)
	defer moving.Stop()
	sum := sha256.Sum256(body)
	out, err := d.client.UploadPart(under, &s3.UploadPartInput{
		Bucket: &d.bucket, Key: &full, UploadId: upload, PartNumber: &number,
		Body: moving.Part(body), ContentLength: aws.Int64(int64(len(body))),
	}, signedAs(sum[:]))
	if err != nil {
		return nil, d.fail(ctx, "s3.Put", key, err)
	}
	return out.ETag, nil
}

// multipart makes an upload, lets fill send its parts, and completes it under
// the guard. Whatever fails, the upload is aborted, so that its parts do not
// stay and cost.
func (d *Driver) multipart(ctx context.Context, op, key string, in *s3.CreateMultipartUploadInput, g guard, fill func(context.Context, *string) ([]types.CompletedPart, error)) (id, etag *string, err error) {
	up, err := call(ctx, d, op, key, d.client.CreateMultipartUpload, in)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			late := context.WithoutCancel(ctx)
			_, aerr := call(late, d, op, key, d.client.AbortMultipartUpload, &s3.AbortMultipartUploadInput{Bucket: in.Bucket, Key: in.Key, UploadId: up.UploadId})
			if aerr != nil && !fault.Is(aerr, fault.NotFound) && replyOf(aerr) == nil {
				err = errors.Join(err, fmt.Errorf("its parts may be left: %w", aerr))
			}
		}
	}()
	parts, err := fill(ctx, up.UploadId)
	if err != nil {
		return nil, nil, err
	}
	out, err := callFor(ctx, d, d.limits.long, op, key, d.client.CompleteMultipartUpload, &s3.CompleteMultipartUploadInput{
		Bucket: in.Bucket, Key: in.Key, UploadId: up.UploadId, IfMatch: g.match, IfNoneMatch: g.none,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err != nil {
		return nil, nil, g.failed(err)
	}
	return out.VersionId, out.ETag, nil
}

// writeMeta makes user metadata fit for headers: RFC 2047 where a value is not
// plain text.
func writeMeta(m map[string]string) (map[string]string, error) {
	if len(m) == 0 {
		return nil, nil
	}
	out := make(map[string]string, len(m))
	for name, v := range m {
		for i := range len(name) {
			if c := name[i]; c <= ' ' || c >= 0x7f || c == ':' {
				return nil, fmt.Errorf("metadata name %q", name)
			}
		}
		out[name] = mime.QEncoding.Encode("utf-8", v)
	}
	return out, nil
}
