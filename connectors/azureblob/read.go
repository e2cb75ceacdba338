package azureblob

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Stat describes ref with one HEAD, see connectors.Driver.
func (d *Driver) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	f, err := d.find(ctx, "azureblob.Stat", ref.Key, parseVersion(ref.Version))
	return f.info, err
}

// A found is a blob with all that a HEAD tells.
type found struct {
	info    object.Info
	v       version
	etag    string
	current bool
	props   blob.GetPropertiesResponse
}

// find looks for the version v of key.
func (d *Driver) find(ctx context.Context, op, key string, v version) (found, error) {
	full, err := d.full(op, key)
	if err != nil {
		return found{}, err
	}
	f, err := d.head(ctx, op, key, full, v.id)
	switch {
	case err != nil && v.id != "" && fault.Is(err, fault.NotFound):
		if _, e := d.head(ctx, op, key, full, ""); e == nil {
			err = fault.New(fault.Changed, op, object.FormatKey(key), errMoved)
		}
	case err != nil:
	case v.id != "" && f.v != v:
		err = fault.New(fault.Changed, op, object.FormatKey(key), errOther)
	case v.etag != "" && f.etag != v.etag:
		err = fault.New(fault.Changed, op, object.FormatKey(key), errMoved)
	}
	return f, err
}

// head is Get Blob Properties.
func (d *Driver) head(ctx context.Context, op, key, full, id string) (found, error) {
	out, err := call(ctx, d, op, key, func(ctx context.Context) (blob.GetPropertiesResponse, error) {
		return d.blob(full).GetProperties(withVersion(ctx, id), nil)
	})
	if err != nil {
		return found{}, noSuchID(err, id)
	}
	if d.folder(out.Metadata) {
		return found{}, fault.New(fault.NotFound, op, object.FormatKey(key), errFolder)
	}
	f := found{v: makeVersion(out.VersionID, out.ETag), etag: bare(out.ETag), props: out}
	f.current = out.VersionID == nil || value(out.IsCurrentVersion)
	f.info = object.Info{
		Key: key, Version: f.v.String(), Size: value(out.ContentLength), ModTime: value(out.LastModified),
		ContentType: str(out.ContentType), StorageClass: str(out.AccessTier), Cold: str(out.AccessTier) == string(blob.AccessTierArchive),
		Meta: readMeta(out.Metadata), Latest: f.current,
	}
	return f, nil
}

// folder reports whether metadata is that of a folder in a hierarchical
// namespace, which can be asked for like a blob.
func (d *Driver) folder(meta map[string]*string) bool {
	if d.tree.Load() {
		for name, v := range meta {
			if strings.EqualFold(name, "hdi_isfolder") && str(v) == "true" {
				return true
			}
		}
	}
	return false
}

// noSuchID turns the refusal of a version id that is none of the service's into
// NotFound: no such version exists.
func noSuchID(err error, id string) error {
	if re := replyOf(err); id != "" && re != nil && re.Status == http.StatusBadRequest {
		return connectors.Recast(err, fault.Invalid, fault.NotFound)
	}
	return err
}

// Open reads exactly the version in ref with one GET, whose own headers are the
// reader's Info, see connectors.Driver. It does not resume: another Open of the
// reader's version at a later offset does.
func (d *Driver) Open(ctx context.Context, ref object.Ref, offset int64) (connectors.Reader, error) {
	const op = "azureblob.Open"
	v := parseVersion(ref.Version)
	full, err := d.full(op, ref.Key)
	if err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fault.New(fault.Invalid, op, ref.String(), fmt.Errorf("offset %d", offset))
	}
	r, err := d.get(ctx, ref.Key, full, v, offset)
	if v.id != "" && fault.Is(err, fault.NotFound) {
		if _, e := d.head(ctx, op, ref.Key, full, ""); e == nil {
			err = fault.New(fault.Changed, op, ref.String(), errMoved)
		}
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// get is Get Blob from offset on.
func (d *Driver) get(ctx context.Context, key, full string, v version, offset int64) (connectors.Reader, error) {
	const op = "azureblob.Open"
	opt := &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: offset}, AccessConditions: ifMatch(v.etag)}
	under, body := connectors.NewBody(ctx, "azureblob.Read", key, offset, d.limits.call, d.limits.stall)
	out, err := d.blob(full).DownloadStream(withVersion(under, v.id), opt)
	if err != nil {
		_ = body.Close()
		err = d.fail(ctx, op, key, err)
		if re := replyOf(err); re != nil && re.Status == http.StatusRequestedRangeNotSatisfiable {
			return d.getNothing(ctx, key, v, offset)
		}
		return nil, noSuchID(err, v.id)
	}
	body.Came(out.Body)
	if d.folder(out.Metadata) {
		_ = body.Close()
		return nil, fault.New(fault.NotFound, op, object.FormatKey(key), errFolder)
	}
	size := int64(-1)
	if out.ContentLength != nil {
		size = *out.ContentLength // of this reply
	}
	if offset > 0 {
		if size, err = connectors.RangeSize(str(out.ContentRange), offset); err != nil {
			_ = body.Close()
			return nil, fault.New(fault.Unavailable, op, object.FormatKey(key), err)
		}
	}
	got := makeVersion(out.VersionID, out.ETag)
	if v.id != "" && got != v || v.etag != "" && bare(out.ETag) != v.etag {
		_ = body.Close()
		return nil, fault.New(fault.Changed, op, object.FormatKey(key), errOther)
	}
	body.Is(object.Info{
		Key: key, Version: got.String(), Size: size, ModTime: value(out.LastModified), ContentType: str(out.ContentType),
		Meta: readMeta(out.Metadata), Latest: out.VersionID == nil || value(out.IsCurrentVersion),
	})
	return body, nil
}

// getNothing opens a blob at its end, where a range request is refused.
func (d *Driver) getNothing(ctx context.Context, key string, v version, offset int64) (connectors.Reader, error) {
	f, err := d.find(ctx, "azureblob.Open", key, v)
	if err != nil {
		return nil, err
	}
	return connectors.AtEnd(ctx, "azureblob.Open", f.info, offset)
}
