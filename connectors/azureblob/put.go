package azureblob

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"golang.org/x/sync/errgroup"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// A guard is the precondition on what stands at a key before a write.
type guard struct{ none, match *azcore.ETag }

func (g guard) conditions() *blob.AccessConditions {
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: g.none, IfMatch: g.match}}
}

// failed gives the error of a guarded write its kind.
func (g guard) failed(err error) error {
	if g.none != nil {
		if re := replyOf(err); re != nil && re.Code == "UnauthorizedBlobOverwrite" {
			return connectors.Recast(err, fault.Denied, fault.Exists)
		}
		return connectors.Recast(err, fault.Changed, fault.Exists)
	}
	return connectors.Recast(connectors.Recast(err, fault.NotFound, fault.Changed), fault.Exists, fault.Changed)
}

func ifMatch(etag string) *blob.AccessConditions {
	if etag == "" {
		return nil
	}
	return guard{match: match(etag)}.conditions()
}

// guard returns the precondition for a write to key that replaces ifVersion, or
// creates if that is "".
func (d *Driver) guard(ctx context.Context, op, key, ifVersion string) (guard, error) {
	if ifVersion == "" {
		return guard{none: ptr(azcore.ETagAny)}, nil
	}
	v := parseVersion(ifVersion)
	if v.id == "" {
		return guard{match: match(v.etag)}, nil
	}
	// Preconditions speak of the current blob's ETag alone.
	f, err := d.find(ctx, op, key, v)
	if err != nil {
		return guard{}, connectors.Recast(err, fault.NotFound, fault.Changed)
	}
	if !f.current {
		return guard{}, fault.New(fault.Changed, op, object.FormatKey(key), errMoved)
	}
	return guard{match: match(f.etag)}, nil
}

// Put writes a blob in one request, or in blocks of which it holds two, see
// connectors.Putter. It appears when its blocks are committed, which is only
// done once the hash of all is right. Blocks that are never committed are seen
// by nobody, and the service drops them within a week.
func (d *Driver) Put(ctx context.Context, key string, r io.Reader, opt connectors.PutOptions) (object.Info, error) {
	const op = "azureblob.Put"
	full, err := d.full(op, key)
	if err != nil {
		return object.Info{}, err
	}
	p := putting{d: d, key: key, full: full}
	if err := p.label(opt.Meta, opt.Tags); err != nil {
		return object.Info{}, fault.New(fault.Invalid, op, object.FormatKey(key), err)
	}
	if opt.ContentType != "" {
		p.headers = &blob.HTTPHeaders{BlobContentType: &opt.ContentType}
	}
	if p.guard, err = d.guard(ctx, op, key, opt.IfVersion); err != nil {
		return object.Info{}, err
	}
	p.src = connectors.NewContent(ctx, r, opt)
	info, err := p.run(ctx, opt.Size)
	if failed := p.src.Failure(op, key); failed != nil {
		return object.Info{}, failed
	}
	info.ContentType, info.Meta = opt.ContentType, opt.Meta
	return info, err
}

// putting is a put under way.
type putting struct {
	d         *Driver
	key, full string
	src       *connectors.Content
	guard     guard
	headers   *blob.HTTPHeaders
	meta      map[string]*string
	tags      map[string]string
}

// label sets metadata and tags. Where the account has no tags, they are metadata.
func (p *putting) label(meta, tags map[string]string) error {
	p.meta = writeMeta(meta)
	written, err := writeTags(tags)
	if err != nil {
		return err
	}
	p.tags = written
	if p.d.tagless.Load() {
		p.meta, p.tags = withTags(p.meta, tags), nil
	}
	return nil
}

// run reads the first block; if that is all, it is put in one request.
func (p *putting) run(ctx context.Context, size int64) (object.Info, error) {
	block := p.d.limits.block
	if size > block*maxBlocks {
		block = (size/maxBlocks + 1<<20) >> 20 << 20
	}
	var first bytes.Buffer
	if size >= 0 && size < block {
		first.Grow(int(size) + bytes.MinRead)
	}
	n, err := io.Copy(&first, io.LimitReader(p.src, block))
	if err != nil {
		return object.Info{}, err
	}
	if n < block {
		return p.commit(ctx, n, func(ctx context.Context) (written, error) {
			under, moving := connectors.Watch(connectors.SmallReply(ctx), p.d.limits.stall)
			defer moving.Stop()
			out, err := p.d.blob(p.full).Upload(under, streaming.NopCloser(moving.Part(first.Bytes())), &blockblob.UploadOptions{
				Tags: p.tags, Metadata: p.meta, HTTPHeaders: p.headers, AccessConditions: p.guard.conditions(),
			})
			return written{out.ETag, out.VersionID, out.LastModified}, p.d.fail(ctx, "azureblob.Put", p.key, err)
		})
	}
	ids, err := p.blocks(ctx, first.Bytes())
	if err != nil {
		return object.Info{}, err
	}
	return p.commit(ctx, p.src.Size(), func(ctx context.Context) (written, error) {
		out, err := call(ctx, p.d, "azureblob.Put", p.key, func(ctx context.Context) (blockblob.CommitBlockListResponse, error) {
			return p.d.blob(p.full).CommitBlockList(ctx, ids, &blockblob.CommitBlockListOptions{
				Tags: p.tags, Metadata: p.meta, HTTPHeaders: p.headers, AccessConditions: p.guard.conditions(),
			})
		})
		return written{out.ETag, out.VersionID, out.LastModified}, err
	})
}

// written is what a write says of the blob it made.
type written struct {
	etag *azcore.ETag
	id   *string
	mod  *time.Time
}

// commit makes the call that lets the blob appear. An account that turns out to
// have no tags is asked again with the tags as metadata.
func (p *putting) commit(ctx context.Context, size int64, f func(context.Context) (written, error)) (object.Info, error) {
	out, err := f(ctx)
	if fault.Is(err, fault.Unsupported) && len(p.tags) > 0 {
		p.d.tagless.Store(true)
		plain := make(map[string]string, len(p.tags))
		for k, v := range p.tags {
			plain[unescape(k)] = unescape(v)
		}
		p.meta, p.tags = withTags(p.meta, plain), nil
		out, err = f(ctx)
	}
	if err != nil {
		return object.Info{}, p.guard.failed(err)
	}
	return object.Info{Key: p.key, Version: makeVersion(out.id, out.etag).String(), Size: size, ModTime: value(out.mod), Latest: true}, nil
}

// blocks sends the blocks of a put, all of the size of first but the last, one
// while the next is read.
func (p *putting) blocks(ctx context.Context, first []byte) ([]string, error) {
	var sending errgroup.Group
	defer func() { _ = sending.Wait() }()
	var ids []string
	// An id has the length that the SDK's own uploads have: a blob's blocks must
	// have ids of one length, those of uploads that were given up included.
	var id [64]byte
	_, _ = rand.Read(id[:16])
	buf, spare := first, make([]byte, len(first))
	for n := len(buf); n > 0; {
		if len(ids) == maxBlocks {
			return nil, fault.New(fault.Invalid, "azureblob.Put", object.FormatKey(p.key), fmt.Errorf("more than %d blocks of %d bytes", maxBlocks, len(first)))
		}
		binary.BigEndian.PutUint32(id[16:], uint32(len(ids)))
		name, body := base64.StdEncoding.EncodeToString(id[:]), buf[:n]
		ids = append(ids, name)
		sending.Go(func() error { return p.block(ctx, name, body) })
		buf, spare = spare, buf
		next, _ := io.ReadFull(p.src, buf) // src.Err tells how it went
		if err := sending.Wait(); err != nil {
			return nil, err
		}
		if err := p.src.Err(); err != nil {
			return nil, err
		}
		n = next
	}
	return ids, nil
}

// block sends one block.
func (p *putting) block(ctx context.Context, id string, body []byte) error {
	under, moving := connectors.Watch(connectors.SmallReply(ctx), p.d.limits.stall)
	defer moving.Stop()
	_, err := p.d.blob(p.full).StageBlock(under, id, streaming.NopCloser(moving.Part(body)), nil)
	return p.d.fail(ctx, "azureblob.Put", p.key, err)
}
