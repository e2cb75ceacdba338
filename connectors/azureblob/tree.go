package azureblob

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/object"
)

// walk lists folder by folder, each sorted here, so that the order is that of
// bytes whatever the server's is. With hidden, keys that have no current version
// are yielded too, as one of their versions.
func (d *Driver) walk(ctx context.Context, prefix, start string, hidden bool) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		w := walking{d: d, ctx: ctx, prefix: d.root + prefix, hidden: hidden, yield: yield}
		if start != "" {
			w.start = d.root + start
		}
		w.folder(w.prefix[:strings.LastIndexByte(w.prefix, '/')+1], 0)
	}
}

type walking struct {
	d             *Driver
	ctx           context.Context // of List
	prefix, start string          // names of the container
	hidden        bool
	yield         func(object.Info, error) bool
}

// A name is an entry of a folder; that of a folder ends in '/'.
type name struct {
	object.Info
	folder bool
}

// wants reports whether n may be or lead to a blob that is asked for.
func (w *walking) wants(n name) bool {
	if n.folder {
		return (strings.HasPrefix(n.Key, w.prefix) || strings.HasPrefix(w.prefix, n.Key)) &&
			(n.Key > w.start || strings.HasPrefix(w.start, n.Key))
	}
	return (n.Latest || w.hidden) && n.Key > w.start && n.Key != w.d.root && strings.HasPrefix(n.Key, w.prefix)
}

// folder lists what is below path ("" or ending in '/'). It returns false when
// the listing is over.
func (w *walking) folder(path string, depth int) bool {
	budget := max(min(1000, w.d.limits.names), w.d.limits.names>>min(depth, 20))
	for after, more := "", true; more; {
		var names []name
		var err error
		names, more, err = w.names(path, after, budget)
		if err != nil {
			w.yield(object.Info{}, err)
			return false
		}
		for _, n := range names {
			after = n.Key
			if n.folder {
				if !w.folder(n.Key, depth+1) {
					return false
				}
				continue
			}
			n.Key = strings.TrimPrefix(n.Key, w.d.root)
			if !w.yield(n.Info, nil) {
				return false
			}
		}
	}
	return true
}

// names returns, sorted and each once, the names in a folder that come after
// after, and at most budget of them: if more is true there are further ones, and
// the folder is read again for them.
func (w *walking) names(path, after string, budget int) (names []name, more bool, err error) {
	last := ""
	sort := func() {
		slices.SortStableFunc(names, func(a, b name) int { return strings.Compare(a.Key, b.Key) })
		names = slices.CompactFunc(names, func(a, b name) bool { return a.Key == b.Key })
	}
	for p, err := range connectors.Ahead(w.ctx, "azureblob.List", path, cursor{prefix: path, limit: w.d.limits.list}, w.d.level) {
		if err != nil {
			return nil, false, err
		}
		for _, info := range p.Infos {
			n := name{info, info.Kind == folderKind}
			if n.Key <= after || more && n.Key > last || !w.wants(n) {
				continue
			}
			if names = append(names, n); len(names) <= budget {
				continue
			}
			// Keep the smaller half; what is larger comes with the next reading.
			if sort(); len(names) > budget/2 {
				names = slices.Delete(names, max(1, budget/2), len(names))
				last, more = names[len(names)-1].Key, true
			}
		}
	}
	sort()
	return names, more, nil
}

// folderKind marks a folder in a page of level.
const folderKind = object.Special

// level is List Blobs of one folder.
func (d *Driver) level(ctx context.Context, c cursor) (page, error) {
	opt := &container.ListBlobsHierarchyOptions{MaxResults: ptr(int32(c.limit)), Prefix: &c.prefix, Include: container.ListBlobsInclude{Versions: !d.plain.Load()}}
	if c.marker != "" {
		opt.Marker = &c.marker
	}
	out, err := call(ctx, d, "azureblob.List", strings.TrimPrefix(c.prefix, d.root), func(ctx context.Context) (container.ListBlobsHierarchyResponse, error) {
		return d.client.NewListBlobsHierarchyPager("/", opt).NextPage(ctx)
	})
	if err != nil {
		return page{}, err
	}
	var p page
	if out.Segment != nil {
		p.Infos = d.items(out.Segment.BlobItems)
		for _, f := range out.Segment.BlobPrefixes {
			p.Infos = append(p.Infos, object.Info{Key: str(f.Name), Kind: folderKind})
		}
	}
	if m := str(out.NextMarker); m != "" {
		c.marker = m
		p.Next = &c
	}
	return p, nil
}
