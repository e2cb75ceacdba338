package gcs

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"cloud.google.com/go/storage"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// A cursor is a place in a listing. Names are the bucket's.
type cursor struct {
	prefix   string
	from     string // names from this one on
	token    string // the server's own continuation, which wins over from
	versions bool
	limit    int
}

type page = connectors.Page[cursor]

// List yields the current objects, see connectors.Driver. Google lists in the
// order of the names' UTF-8 bytes; a server that does not fails with Unsupported.
func (d *Driver) List(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error] {
	return d.listing(ctx, prefix, start, false)
}

// ListVersions yields all generations, see connectors.VersionLister. Google has
// no delete markers: a name that was deleted has no generation that is latest.
func (d *Driver) ListVersions(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error] {
	return newestFirst(d.listing(ctx, prefix, start, true))
}

// listing yields what of the pages is in the unit and after start.
func (d *Driver) listing(ctx context.Context, prefix, start string, versions bool) iter.Seq2[object.Info, error] {
	first := cursor{prefix: d.root + prefix, versions: versions, limit: d.limits.list}
	switch {
	case !utf8.ValidString(prefix):
		return func(func(object.Info, error) bool) {} // no name begins so
	case start < prefix:
	case strings.HasPrefix(start, prefix):
		// The offset is inclusive, and must be text.
		first.from = d.root + validPrefix(start)
	default:
		return func(func(object.Info, error) bool) {} // all keys with the prefix come before start
	}
	return func(yield func(object.Info, error) bool) {
		last := ""
		for p, err := range connectors.Ahead(ctx, "gcs.List", first.prefix, first, d.page) {
			if err != nil {
				yield(object.Info{}, err)
				return
			}
			for _, info := range p.Infos {
				key, ok := strings.CutPrefix(info.Key, d.root)
				if !ok || key == "" || start != "" && key <= start || !strings.HasPrefix(key, prefix) {
					continue // "" is the marker of the unit's own folder
				}
				if key < last {
					yield(object.Info{}, fault.New(fault.Unsupported, "gcs.List", object.FormatKey(key), errNoOrder))
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

var errNoOrder = errors.New("the server does not list in byte order of the key")

// validPrefix returns s up to its first byte that is not UTF-8.
func validPrefix(s string) string {
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)) {
			return s[:i]
		}
	}
	return s
}

// maxGroup bounds the generations of one key that are held to be sorted. Those
// of a key that has more come in several sorted runs.
const maxGroup = 10_000

// newestFirst turns the generations of each key around.
func newestFirst(in iter.Seq2[object.Info, error]) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		var group []object.Info
		flush := func() bool {
			slices.SortStableFunc(group, func(a, b object.Info) int {
				// Decimals without leading zeros: the longer is the larger.
				return cmp.Or(cmp.Compare(len(b.Version), len(a.Version)), cmp.Compare(b.Version, a.Version))
			})
			for i, info := range group {
				if i > 0 && info.Version == group[i-1].Version {
					continue // twice, at the border of two pages
				}
				if !yield(info, nil) {
					return false
				}
			}
			group = group[:0]
			return true
		}
		for info, err := range in {
			if err != nil {
				if flush() {
					yield(info, err)
				}
				return
			}
			if len(group) > 0 && (group[0].Key != info.Key || len(group) == maxGroup) && !flush() {
				return
			}
			group = append(group, info)
		}
		flush()
	}
}

// listed are the attributes that a listing asks for.
var listed = []string{"Name", "Generation", "Size", "Updated", "Deleted", "ContentType", "StorageClass"}

// page asks for one page of a listing.
func (d *Driver) page(ctx context.Context, c cursor) (page, error) {
	out, err := call(ctx, d, "gcs.List", strings.TrimPrefix(c.prefix, d.root), func(ctx context.Context) (fetched[*storage.ObjectAttrs], error) {
		q := &storage.Query{Prefix: c.prefix, StartOffset: c.from, Versions: c.versions, Projection: storage.ProjectionNoACL}
		if err := q.SetAttrSelection(listed); err != nil {
			return fetched[*storage.ObjectAttrs]{}, err
		}
		return fetch(d.client.Bucket(d.bucket).Objects(ctx, q), c.limit, c.token)
	})
	if err != nil {
		return page{}, err
	}
	p := page{Infos: make([]object.Info, 0, len(out.items))}
	for _, o := range out.items {
		if o.Generation <= 0 {
			return page{}, fault.New(fault.Unavailable, "gcs.List", object.FormatKey(o.Name), errBadToken)
		}
		p.Infos = append(p.Infos, describe(o.Name, o))
	}
	if out.next != "" {
		c.token = out.next
		p.Next = &c
	}
	return p, nil
}

// describe makes an Info of an object. Its time is that of the last change of
// content or metadata, as a download's headers have it, in seconds.
func describe(key string, o *storage.ObjectAttrs) object.Info {
	return object.Info{
		Key: key, Version: token(o.Generation), Size: o.Size, ModTime: o.Updated.UTC().Truncate(time.Second),
		ContentType: o.ContentType, StorageClass: o.StorageClass, Latest: o.Deleted.IsZero(),
	}
}

// described is describe with the custom metadata.
func described(key string, o *storage.ObjectAttrs) object.Info {
	info := describe(key, o)
	info.Meta = make(map[string]string, len(o.Metadata))
	for k, v := range o.Metadata {
		info.Meta[strings.ToLower(k)] = v
	}
	return info
}
