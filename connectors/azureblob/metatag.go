package azureblob

import (
	"context"
	"encoding/xml"
	"errors"
	"maps"
	"mime"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// metaTags reads the tags that metadata holds, through a listing: it keeps upper
// and lower case of names, which headers do not.
func (d *Driver) metaTags(ctx context.Context, op, key string, f found) (map[string]string, error) {
	meta, err := d.rawMeta(ctx, op, key, f)
	if err != nil {
		return nil, err
	}
	tags := make(map[string]string, len(meta))
	for k, v := range meta {
		if k, ok := strings.CutPrefix(unescape(k), tagName); ok {
			tags[k] = readText(str(v))
		}
	}
	return tags, nil
}

// tagMeta merges set into the metadata of f. That is a write, which makes a new
// version: its token is returned.
func (d *Driver) tagMeta(ctx context.Context, op string, ref object.Ref, f found, set map[string]string) (object.Info, error) {
	if !f.current {
		return object.Info{}, fault.New(fault.Unsupported, op, ref.String(), errors.New("metadata of an older version cannot be changed"))
	}
	old, err := d.rawMeta(ctx, op, ref.Key, f)
	if err != nil {
		return object.Info{}, err
	}
	merged := withTags(old, set)
	if maps.EqualFunc(old, merged, func(a, b *string) bool { return str(a) == str(b) }) {
		return f.info, nil
	}
	out, err := call(ctx, d, op, ref.Key, func(ctx context.Context) (blob.SetMetadataResponse, error) {
		return d.blob(d.root+ref.Key).SetMetadata(ctx, merged, &blob.SetMetadataOptions{AccessConditions: ifMatch(f.etag)})
	})
	if err != nil {
		return object.Info{}, connectors.Recast(err, fault.NotFound, fault.Changed)
	}
	info := f.info
	info.Version, info.ModTime, info.Meta = makeVersion(out.VersionID, out.ETag).String(), value(out.LastModified), readMeta(merged)
	return info, nil
}

// rawMeta returns the metadata of f as it is written, by a listing of one name.
// Its XML is read here, as the SDK puts names in lower case.
func (d *Driver) rawMeta(ctx context.Context, op, key string, f found) (map[string]*string, error) {
	full := d.root + key
	opt := &container.ListBlobsFlatOptions{Prefix: &full, MaxResults: ptr(int32(1)), Include: container.ListBlobsInclude{Metadata: true}}
	var reply *http.Response
	out, err := call(ctx, d, op, key, func(ctx context.Context) (container.ListBlobsFlatResponse, error) {
		return d.client.NewListBlobsFlatPager(opt).NextPage(policy.WithCaptureResponse(ctx, &reply))
	})
	if err != nil {
		return nil, err
	}
	if out.Segment == nil || len(out.Segment.BlobItems) != 1 {
		return nil, fault.New(fault.Changed, op, object.FormatKey(key), errMoved)
	}
	b := out.Segment.BlobItems[0]
	if str(b.Name) != full || b.Properties == nil || bare(b.Properties.ETag) != f.etag {
		return nil, fault.New(fault.Changed, op, object.FormatKey(key), errMoved)
	}
	var said struct {
		Meta struct {
			Items []struct {
				XMLName xml.Name
				Value   string `xml:",chardata"`
			} `xml:",any"`
		} `xml:"Blobs>Blob>Metadata"`
	}
	body, err := runtime.Payload(reply)
	if err == nil {
		err = xml.Unmarshal(body, &said)
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, op, object.FormatKey(key), err)
	}
	meta := make(map[string]*string, len(said.Meta.Items))
	for _, i := range said.Meta.Items {
		meta[i.XMLName.Local] = ptr(i.Value)
	}
	return meta, nil
}

// tagName is what the names of metadata that serve as tags begin with, so that
// they are not mixed up with other metadata.
const tagName = "tag_"

// withTags returns metadata as it is written, with tags in it; "" removes one.
func withTags(meta map[string]*string, tags map[string]string) map[string]*string {
	named := make(map[string]string, len(tags))
	for k, v := range tags {
		named[tagName+k] = v
	}
	return withMeta(meta, named)
}

// withMeta returns metadata as it is written, with set in it; "" removes a name.
func withMeta(meta map[string]*string, set map[string]string) map[string]*string {
	out := maps.Clone(meta)
	if out == nil {
		out = make(map[string]*string, len(set))
	}
	for k, v := range set {
		name := escapeName(k)
		maps.DeleteFunc(out, func(had string, _ *string) bool { return strings.EqualFold(had, name) })
		if v != "" {
			out[name] = ptr(mime.QEncoding.Encode("utf-8", v))
		}
	}
	return out
}
