package azureblob

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// A cursor is a place in a listing. Names are the container's.
type cursor struct {
	prefix string
	from   string // names from this one on; then prefix is empty
	marker string // the service's own continuation
	limit  int
}

type page = connectors.Page[cursor]

var errNoOrder = errors.New("the server does not list in byte order of the key: the next listing goes folder by folder")

// List yields the current blobs, see connectors.Driver. Snapshots, and blobs
// that are deleted but can be restored, are none. Accounts with a hierarchical
// namespace list in another order than that of bytes: there it goes folder by
// folder. If the order shows only in the listing, that listing is Unsupported
// and the next one goes folder by folder.
func (d *Driver) List(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error] {
	if d.tree.Load() {
		return d.walk(ctx, prefix, start, false)
	}
	return d.listing(ctx, prefix, start, func(i object.Info) bool { return i.Latest })
}

// ListVersions yields all versions, newest first, see connectors.VersionLister.
// There are no delete markers: a key without a current version has none Latest.
func (d *Driver) ListVersions(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error] {
	all := func(object.Info) bool { return true }
	if !d.tree.Load() {
		return d.newestFirst(d.listing(ctx, prefix, start, all))
	}
	if d.plain.Load() {
		return d.walk(ctx, prefix, start, false)
	}
	return func(yield func(object.Info, error) bool) {
		for at, err := range d.walk(ctx, prefix, start, true) {
			if err != nil {
				yield(at, err)
				return
			}
			for info, err := range d.newestFirst(d.listing(ctx, at.Key, "", all)) {
				if err == nil && info.Key != at.Key {
					break // longer keys, which walk comes to by itself
				}
				if !yield(info, err) || err != nil && !gap(err) {
					return
				}
			}
		}
	}
}

func gap(err error) bool {
	var g *connectors.Gap
	return errors.As(err, &g)
}

// newestFirst turns the versions of each key around: the service lists the
// oldest first. Of a key with more than can be held only the newest are yielded,
// and a Gap.
func (d *Driver) newestFirst(seq iter.Seq2[object.Info, error]) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		var held []object.Info
		dropped := false
		flush := func() bool {
			slices.SortStableFunc(held, func(a, b object.Info) int {
				if a.Latest != b.Latest {
					if a.Latest {
						return -1
					}
					return 1
				}
				return strings.Compare(b.Version, a.Version) // ids are times
			})
			for _, info := range held {
				if !yield(info, nil) {
					return false
				}
			}
			if dropped {
				err := fault.New(fault.Unsupported, "azureblob.ListVersions", object.FormatKey(held[0].Key), errors.New("more versions than can be listed"))
				if !yield(object.Info{}, &connectors.Gap{Prefix: held[0].Key, Err: err}) {
					return false
				}
			}
			held, dropped = held[:0], false
			return true
		}
		for info, err := range seq {
			if err != nil || len(held) > 0 && held[0].Key != info.Key {
				if !flush() {
					return
				}
			}
			if err != nil {
				yield(object.Info{}, err)
				return
			}
			if len(held) >= d.limits.versions {
				held, dropped = slices.Delete(held, 0, len(held)/2), true
			}
			held = append(held, info)
		}
		flush()
	}
}

// listing yields what of the pages is in the unit and wanted.
func (d *Driver) listing(ctx context.Context, prefix, start string, want func(object.Info) bool) iter.Seq2[object.Info, error] {
	if start > prefix && !strings.HasPrefix(start, prefix) {
		return func(func(object.Info, error) bool) {} // all keys with the prefix come before start
	}
	return func(yield func(object.Info, error) bool) {
		last := ""
		for p, err := range d.pages(ctx, prefix, start) {
			if err != nil {
				yield(object.Info{}, err)
				return
			}
			for _, info := range p.Infos {
				key, ok := strings.CutPrefix(info.Key, d.root)
				if !ok || !strings.HasPrefix(key, prefix) {
					if info.Key > d.root+prefix {
						return // past it: only a listing that began at start goes there
					}
					continue
				}
				if key < last {
					d.tree.Store(true)
					yield(object.Info{}, fault.New(fault.Unsupported, "azureblob.List", object.FormatKey(key), errNoOrder))
					return
				}
				last = key
				if key == "" || start != "" && key <= start || !want(info) {
					continue // "" is the marker of the unit's own folder
				}
				info.Key = key
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

// pages yields the pages from start on. The service's own startFrom is only used
// without a prefix, as its documents do not say what it means with one; a server
// that ignores it is told by its first page, and then lists from the prefix.
func (d *Driver) pages(ctx context.Context, prefix, start string) iter.Seq2[page, error] {
	whole := cursor{prefix: d.root + prefix, limit: d.limits.list}
	if start == "" || start < prefix || d.fromZero.Load() {
		return connectors.Ahead(ctx, "azureblob.List", whole.prefix, whole, d.flat)
	}
	at := cursor{from: d.root + start, limit: d.limits.list}
	return func(yield func(page, error) bool) {
		first, ignored := true, false
		for p, err := range connectors.Ahead(ctx, "azureblob.List", at.from, at, d.flat) {
			if first {
				first = false
				re := replyOf(err)
				refused := re != nil && (re.Status == 400 || fault.Is(err, fault.Unsupported))
				if ignored = refused || len(p.Infos) > 0 && p.Infos[0].Key < at.from; ignored {
					break
				}
			}
			if !yield(p, err) {
				return
			}
		}
		if !ignored {
			return
		}
		d.fromZero.Store(true)
		for p, err := range connectors.Ahead(ctx, "azureblob.List", whole.prefix, whole, d.flat) {
			if !yield(p, err) {
				return
			}
		}
	}
}

// flat is List Blobs without a delimiter, with versions where the account has
// them: a plain listing does not tell their ids.
func (d *Driver) flat(ctx context.Context, c cursor) (page, error) {
	versions := !d.plain.Load()
	opt := &container.ListBlobsFlatOptions{MaxResults: ptr(int32(c.limit)), Include: container.ListBlobsInclude{Versions: versions}}
	if c.from != "" {
		opt.StartFrom = &c.from
	} else {
		opt.Prefix = &c.prefix
	}
	if c.marker != "" {
		opt.Marker = &c.marker
	}
	out, err := call(ctx, d, "azureblob.List", strings.TrimPrefix(c.prefix, d.root), func(ctx context.Context) (container.ListBlobsFlatResponse, error) {
		return d.client.NewListBlobsFlatPager(opt).NextPage(ctx)
	})
	if versions && c.from == "" && c.marker == "" && fault.Is(err, fault.Unsupported, fault.Invalid) {
		d.plain.Store(true)
		p, again := d.flat(ctx, c)
		if again != nil {
			d.plain.Store(false) // it was not that
		}
		return p, again
	}
	if err != nil {
		return page{}, err
	}
	var p page
	if out.Segment != nil {
		p.Infos = d.items(out.Segment.BlobItems)
	}
	if m := str(out.NextMarker); m != "" {
		c.marker = m
		p.Next = &c
	}
	return p, nil
}

// items makes Infos of what a listing says of blobs. Folders of a hierarchical
// namespace and snapshots are left out.
func (d *Driver) items(items []*container.BlobItem) []object.Info {
	infos := make([]object.Info, 0, len(items))
	for _, b := range items {
		if b == nil || b.Properties == nil || b.Name == nil || value(b.Deleted) || str(b.Snapshot) != "" {
			continue
		}
		props := b.Properties
		if kind := str(props.ResourceType); kind != "" {
			d.tree.Store(true)
			if kind == "directory" {
				continue
			}
		}
		infos = append(infos, object.Info{
			Key: *b.Name, Version: makeVersion(b.VersionID, props.ETag).String(), Size: value(props.ContentLength),
			ModTime: value(props.LastModified), ContentType: str(props.ContentType), StorageClass: str(props.AccessTier),
			Cold: str(props.AccessTier) == string(blob.AccessTierArchive), Latest: b.VersionID == nil || value(b.IsCurrentVersion),
		})
	}
	return infos
}
