package azureblob

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Copy has the service copy exactly src.Version within the container, see
// connectors.Copier. Content headers, metadata, tags and an access tier of its
// own are kept; metadata and tags in opt are added.
//
// The service may copy in the background. Then it is asked until it is done; if
// that takes too long or ctx ends, the copy is aborted and what it left removed.
func (d *Driver) Copy(ctx context.Context, src object.Ref, key string, opt connectors.PutOptions) (object.Info, error) {
	const op = "azureblob.Copy"
	full, err := d.full(op, key)
	if err != nil {
		return object.Info{}, err
	}
	f, err := d.find(ctx, op, src.Key, parseVersion(src.Version))
	if err != nil {
		return object.Info{}, err
	}
	if opt.Size > 0 && opt.Size != f.info.Size {
		return object.Info{}, fault.New(fault.Changed, op, src.String(), fmt.Errorf("%d bytes, expected %d", f.info.Size, opt.Size))
	}
	if f.info.Cold {
		return object.Info{}, &fault.Error{Op: op, On: src.String(), Kind: fault.Denied, Reason: "cold_tier", Err: errors.New(codes["BlobArchived"].hint)}
	}
	c := copying{d: d, src: src.Key, f: f, key: key, full: full}
	if err := c.gather(ctx, opt); err != nil {
		return object.Info{}, err
	}
	if c.guard, err = d.guard(ctx, op, key, opt.IfVersion); err != nil {
		return object.Info{}, err
	}
	return c.run(ctx)
}

// copying is a copy under way.
type copying struct {
	d         *Driver
	src       string // key
	f         found  // the source
	key, full string // of the destination
	guard     guard
	meta      map[string]*string // nil: the source's
	tags      map[string]string
}

// gather collects the metadata and tags that the copy gets. The service copies
// metadata where none is given, and never tags.
func (c *copying) gather(ctx context.Context, opt connectors.PutOptions) error {
	const op = "azureblob.Copy"
	ours, err := writeTags(opt.Tags)
	if err != nil {
		return fault.New(fault.Invalid, op, object.FormatKey(c.key), err)
	}
	tags, err := c.d.getTags(ctx, op, c.src, c.f)
	tagless := c.d.noTags(err)
	if err != nil && !tagless {
		return connectors.Recast(err, fault.NotFound, fault.Changed)
	}
	if len(opt.Meta) > 0 || tagless && len(opt.Tags) > 0 {
		c.meta = c.f.props.Metadata
		if tagless && c.f.current { // as tags, names must keep their case
			if c.meta, err = c.d.rawMeta(ctx, op, c.src, c.f); err != nil {
				return err
			}
		}
		c.meta = withMeta(c.meta, opt.Meta)
		if tagless {
			c.meta = withTags(c.meta, opt.Tags)
		}
	}
	if tagless {
		return nil
	}
	if c.tags = connectors.MergeTags(tags, ours); len(c.tags) > maxTags {
		return fault.New(fault.Invalid, op, object.FormatKey(c.key), fmt.Errorf("%d tags, a blob may have %d", len(c.tags), maxTags))
	}
	return nil
}

// source is the URL that the service reads. A request that is signed with the
// account's key or a token may read the same account; a signature must stand
// there once more.
func (c *copying) source() string {
	u, query, _ := strings.Cut(c.d.blob(c.d.root+c.src).URL(), "?")
	if c.f.v.id != "" {
		u += "?versionid=" + c.f.v.id
		if query != "" {
			u += "&" + query
		}
	} else if query != "" {
		u += "?" + query
	}
	return u
}

// tier is what a copy must be told to keep: a tier that is not the account's.
func (c *copying) tier() *blob.AccessTier {
	p := c.f.props
	if str(p.BlobType) != string(blob.BlobTypeBlockBlob) || str(p.AccessTier) == "" || value(p.AccessTierInferred) {
		return nil
	}
	return ptr(blob.AccessTier(*p.AccessTier))
}

// run starts the copy and waits for its end.
func (c *copying) run(ctx context.Context) (object.Info, error) {
	const op = "azureblob.Copy"
	start := func() (blob.StartCopyFromURLResponse, error) {
		return call(ctx, c.d, op, c.key, func(ctx context.Context) (blob.StartCopyFromURLResponse, error) {
			return c.d.blob(c.full).StartCopyFromURL(ctx, c.source(), &blob.StartCopyFromURLOptions{
				Metadata: c.meta, BlobTags: c.tags, Tier: c.tier(), AccessConditions: c.guard.conditions(),
				SourceModifiedAccessConditions: &blob.SourceModifiedAccessConditions{SourceIfMatch: match(c.f.etag)},
			})
		})
	}
	out, err := start()
	if err != nil {
		return object.Info{}, c.failed(ctx, err)
	}
	id := str(out.CopyID)
	status := str(out.CopyStatus)
	deadline := time.Now().Add(c.d.limits.long)
	for pause := 50 * time.Millisecond; status == string(blob.CopyStatusTypePending); pause = min(2*pause, 5*time.Second) {
		if err := c.wait(ctx, pause, deadline); err != nil {
			return object.Info{}, c.abort(ctx, id, err)
		}
		f, err := c.mine(ctx, id)
		if err != nil {
			if fault.Is(err, fault.Unavailable, fault.Throttled) {
				continue // until the deadline
			}
			if ctx.Err() != nil {
				err = c.abort(ctx, id, err)
			}
			return object.Info{}, err
		}
		status = str(f.props.CopyStatus)
	}
	f, err := c.mine(ctx, id)
	if err != nil {
		return object.Info{}, err
	}
	if status != string(blob.CopyStatusTypeSuccess) {
		err := fault.New(fault.Unavailable, op, object.FormatKey(c.key), fmt.Errorf("the service says of the copy: %s %s", connectors.Plain(status, 40), connectors.Plain(str(f.props.CopyStatusDescription), 200)))
		return object.Info{}, errors.Join(err, c.clear(ctx, id))
	}
	if f.info.Size != c.f.info.Size {
		return f.info, fault.New(fault.Changed, op, object.FormatKey(c.key), fmt.Errorf("the copy has %d bytes, the source %d", f.info.Size, c.f.info.Size))
	}
	return f.info, nil
}

// wait waits for a while.
func (c *copying) wait(ctx context.Context, pause time.Duration, deadline time.Time) error {
	if time.Now().After(deadline) {
		return fault.New(fault.Unavailable, "azureblob.Copy", object.FormatKey(c.key), fmt.Errorf("the copy did not end within %v", c.d.limits.long))
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// mine describes what stands at the destination, if it is what the copy id made.
func (c *copying) mine(ctx context.Context, id string) (found, error) {
	f, err := c.d.find(ctx, "azureblob.Copy", c.key, version{})
	if err != nil {
		return f, connectors.Recast(err, fault.NotFound, fault.Changed)
	}
	if str(f.props.CopyID) != id {
		return f, fault.New(fault.Changed, "azureblob.Copy", object.FormatKey(c.key), errors.New("replaced by someone else as soon as it was copied"))
	}
	return f, nil
}

// abort ends a pending copy and removes what it left. It returns why.
func (c *copying) abort(ctx context.Context, id string, why error) error {
	late := context.WithoutCancel(ctx)
	_, err := call(late, c.d, "azureblob.Copy", c.key, func(ctx context.Context) (blob.AbortCopyFromURLResponse, error) {
		return c.d.blob(c.full).AbortCopyFromURL(ctx, id, nil)
	})
	if err != nil && !fault.Is(err, fault.Changed, fault.NotFound) { // it may have ended just now
		return errors.Join(why, fmt.Errorf("the copy may still be under way: %w", err))
	}
	return errors.Join(why, c.clear(late, id))
}

// clear removes what an aborted or failed copy left: an empty blob.
func (c *copying) clear(ctx context.Context, id string) error {
	f, err := c.mine(ctx, id)
	if err == nil {
		_, err = c.d.Remove(ctx, object.Ref{Key: c.key, Version: f.info.Version}, connectors.Fence{})
	}
	if err != nil && !fault.Is(err, fault.Changed, fault.NotFound) {
		return fmt.Errorf("an empty blob may be left: %w", err)
	}
	return nil
}

// failed tells a precondition of the source from one of the destination.
func (c *copying) failed(ctx context.Context, err error) error {
	if !fault.Is(err, fault.Changed, fault.NotFound, fault.Exists) {
		return err
	}
	if _, e := c.d.find(ctx, "azureblob.Copy", c.src, c.f.v); e != nil {
		return connectors.Recast(e, fault.NotFound, fault.Changed)
	}
	return c.guard.failed(err)
}
