package gcs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"cloud.google.com/go/storage"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

var errNoCopy = errors.New("the server ignores the precondition on what a copy replaces")

// Copy copies exactly src.Version within the bucket, see connectors.Copier.
// Metadata, storage class and KMS key are kept; metadata and tags in opt are
// added. Access lists, holds and retention are not kept, nor is what a custom
// time has below the second.
func (d *Driver) Copy(ctx context.Context, src object.Ref, key string, opt connectors.PutOptions) (object.Info, error) {
	const op = "gcs.Copy"
	gen, err := parseVersion(op, src)
	if err != nil {
		return object.Info{}, err
	}
	name, err := d.full(op, key)
	if err != nil {
		return object.Info{}, err
	}
	if d.honours.copy.No() {
		return object.Info{}, fault.New(fault.Unsupported, op, src.String(), errNoCopy)
	}
	f, err := d.find(ctx, op, src.Key, gen)
	if err != nil {
		return object.Info{}, err
	}
	if opt.Size > 0 && opt.Size != f.info.Size {
		return object.Info{}, fault.New(fault.Changed, op, src.String(), fmt.Errorf("%d bytes, expected %d", f.info.Size, opt.Size))
	}
	o := kept(f.ObjectAttrs)
	maps.Copy(o.Metadata, merge(opt.Meta, opt.Tags))
	if err := checkMeta(merge(opt.Meta, opt.Tags)); err != nil {
		return object.Info{}, fault.New(fault.Invalid, op, object.FormatKey(key), err)
	}
	replaces, err := d.guard(ctx, op, key, opt.IfVersion, &d.honours.copy)
	if err != nil {
		return object.Info{}, err
	}
	out, err := d.rewrite(ctx, op, key, rewriting{from: f.Name, gen: f.Generation, to: name, keyName: keyOf(f.KMSKeyName), object: o, replaces: &replaces})
	if err != nil {
		return object.Info{}, d.copyFailed(ctx, src.Key, f.Generation, replaces, err)
	}
	if out != nil && (out.Size != f.Size || f.CRC32C != 0 && out.CRC32C != 0 && out.CRC32C != f.CRC32C) {
		return object.Info{}, fault.New(fault.Changed, op, object.FormatKey(key), errors.New("the copy is not what its source is"))
	}
	return d.written(op, key, out)
}

// kept is what a copy of o must be told to keep: where anything is told, Google
// keeps nothing by itself.
func kept(o *storage.ObjectAttrs) storage.ObjectAttrs {
	k := storage.ObjectAttrs{
		CacheControl: o.CacheControl, ContentDisposition: o.ContentDisposition, ContentEncoding: o.ContentEncoding,
		ContentLanguage: o.ContentLanguage, ContentType: o.ContentType, Contexts: o.Contexts, CustomTime: o.CustomTime,
		StorageClass: o.StorageClass, Metadata: make(map[string]string, len(o.Metadata)),
	}
	maps.Copy(k.Metadata, o.Metadata)
	return k
}

// keyOf is the KMS key of a key's version.
func keyOf(version string) string {
	key, _, _ := strings.Cut(version, "/cryptoKeyVersions/")
	return key
}

// A rewriting is a copy within the bucket.
type rewriting struct {
	from     string
	gen      int64 // to read, and no other; ifSourceGenerationMatch would ask for the current one
	to       string
	keyName  string
	object   storage.ObjectAttrs
	replaces *int64 // the generation that may stand at the destination; 0 = none, nil = any
}

var errStuck = errors.New("the copy makes no progress")

// rewrite copies in as many calls as the server asks for, each of the same
// generation and under the same preconditions. It ends when a call takes too
// long, or brings nothing on.
func (d *Driver) rewrite(ctx context.Context, op, key string, w rewriting) (*storage.ObjectAttrs, error) {
	caller := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(d.limits.long, func() { cancel(errStuck) })
	defer watch.Stop()
	c := mayReplace(d.object(w.to, 0), w.replaces).CopierFrom(d.object(w.from, w.gen))
	c.ObjectAttrs, c.DestinationKMSKeyName = w.object, w.keyName
	done := int64(-1)
	c.ProgressFunc = func(copied, _ uint64) {
		if int64(copied) <= done || c.RewriteToken == "" {
			cancel(errStuck) // no harm if it was the last call: Run returns what that said
		}
		done = int64(copied)
		watch.Reset(d.limits.long)
	}
	out, err := c.Run(ctx)
	switch {
	case err == nil:
		return out, nil
	case errors.Is(context.Cause(ctx), errStuck) && caller.Err() == nil:
		return nil, fault.New(fault.Unavailable, op, object.FormatKey(key), errStuck)
	}
	return nil, d.fail(caller, op, key, err)
}

// copyFailed tells a precondition of the source from one of the destination:
// the reply to both is the same.
func (d *Driver) copyFailed(ctx context.Context, src string, gen, replaces int64, err error) error {
	if !refusedBy(err, http.StatusPreconditionFailed) && !refusedBy(err, http.StatusNotFound) {
		return err
	}
	if _, e := d.find(ctx, "gcs.Copy", src, gen); e != nil {
		return connectors.Recast(e, fault.NotFound, fault.Changed)
	}
	return guardFailed(err, replaces)
}
