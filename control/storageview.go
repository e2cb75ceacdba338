package control

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// A StorageView is a storage as it is shown: no secrets.
type StorageView struct {
	ID       ledger.ID
	Name     string
	Vendor   Vendor
	Source   string // JSON
	URL      string
	Group    ledger.ID
	Account  ledger.ID
	Workflow ledger.ID
	Transfer bool
	Managed  bool
	ReadOnly bool
	RealTime bool
	Events   bool
	Status   StorageStatus
	Detail   string // why Status is not Available
	AddedBy  ledger.ID
	Created  time.Time
	Changed  time.Time
}

// A StorageStatus says whether a storage works.
type StorageStatus int

// The statuses.
const (
	StorageAvailable StorageStatus = iota
	StorageUnavailable
	StorageDegraded
)

// AllStorages lists the caller's storages by name, those of the configuration file too.
func (c *Control) AllStorages(ctx context.Context) ([]StorageView, error) {
	return get(ctx, c, act{action: "storage.list"}, func(ctx context.Context, who account.Caller) ([]StorageView, error) {
		nouns, err := c.Store.Nouns(ctx, who.Tenant, ledger.Unit)
		if err != nil {
			return nil, err
		}
		units, err := c.Store.Units(ctx)
		if err != nil {
			return nil, err
		}
		var list []StorageView
		known := map[ledger.ID]connectors.Unit{}
		for _, u := range units {
			known[u.Client] = u
			if ofFile(u, who.Tenant) {
				list = append(list, c.viewFile(ctx, u))
			}
		}
		for _, n := range nouns {
			v, err := c.viewStorage(ctx, n, known[n.ID])
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		slices.SortStableFunc(list, func(a, b StorageView) int { return strings.Compare(a.Name, b.Name) })
		return list, nil
	})
}

// OneStorage returns a storage of the caller's, fault.NotFound if there is none.
func (c *Control) OneStorage(ctx context.Context, id ledger.ID) (StorageView, error) {
	return get(ctx, c, act{action: "storage.list", target: id.String()}, func(ctx context.Context, who account.Caller) (StorageView, error) {
		return c.storage(ctx, who.Tenant, id)
	})
}

// storage is OneStorage for who may.
func (c *Control) storage(ctx context.Context, tenant int64, id ledger.ID) (v StorageView, err error) {
	u, err := c.Store.UnitOf(ctx, tenant, id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return v, err
	}
	if ofFile(u, tenant) {
		return c.viewFile(ctx, u), nil
	}
	n, err := c.Store.Noun(ctx, tenant, ledger.Unit, id)
	if err != nil {
		return v, err
	}
	return c.viewStorage(ctx, n, u)
}

// ofFile reports whether a unit is one of the configuration file, which are the
// default tenant's.
func ofFile(u connectors.Unit, tenant int64) bool {
	return u.Managed && !u.Disabled && u.Name != QuarantineUnit && u.Tenant == tenant
}

func (c *Control) viewStorage(ctx context.Context, n ledger.Noun, u connectors.Unit) (StorageView, error) {
	b, err := decode[UnitBody](n)
	if err != nil {
		return StorageView{}, err
	}
	v, _ := VendorOf(b.Vendor)
	out := StorageView{ID: n.ID, Name: n.Name, Vendor: v, Source: b.Source, URL: b.URL, Group: n.Parent, Account: b.Account, Workflow: b.Workflow, Transfer: b.Transfer,
		ReadOnly: b.ReadOnly, RealTime: len(b.RealTime) > 0, Events: b.events(), AddedBy: b.AddedBy, Created: n.Created, Changed: n.Changed}
	out.Status, out.Detail = c.status(ctx, u)
	return out, nil
}

// events reports whether something of it is watched by calls of the webhook.
func (b UnitBody) events() bool {
	return slices.ContainsFunc(b.RealTime, func(r RealTime) bool { return r.Events })
}

func (c *Control) viewFile(ctx context.Context, u connectors.Unit) StorageView {
	v, source := describe(u.URL)
	out := StorageView{ID: u.Client, Name: u.Name, Vendor: v, Source: source, URL: u.URL, Managed: true, ReadOnly: u.ReadOnly, RealTime: true, Events: true}
	out.Status, out.Detail = c.status(ctx, u)
	return out
}

// status says whether a unit works now.
func (c *Control) status(ctx context.Context, u connectors.Unit) (StorageStatus, string) {
	if c.Fault == nil || c.Open == nil || u.ID == 0 {
		return StorageUnavailable, "it is not served yet"
	}
	open, err := c.Open(ctx, u.Name)
	if err == nil {
		err = c.Fault(u.ID)
	}
	if err != nil {
		return StorageUnavailable, spoken(err)
	}
	if err := open.Degraded(); err != nil {
		return StorageDegraded, spoken(err)
	}
	return StorageAvailable, ""
}

// describe says of a unit's URL which vendor's it is, and its source.
func describe(raw string) (Vendor, string) {
	loc, err := url.Parse(raw)
	if err != nil || loc.Scheme == "" || loc.Scheme == "file" {
		v, _ := VendorOf(LocalFolder)
		path := raw
		if err == nil && loc.Scheme == "file" {
			path = loc.Path
		}
		return v, sourceText(fields{"folderpath": path})
	}
	path := strings.Trim(loc.Path, "/")
	first, rest, _ := strings.Cut(path, "/")
	number, f := AmazonS3, fields{"bucketname": loc.Host, "folderlocation": path}
	switch loc.Scheme {
	case "s3":
		if loc.Query().Get("endpoint") != "" {
			number = S3Compatible
		}
	case "gs":
		number = GoogleCloud
	case "azblob":
		number, f = AzureBlob, fields{"container": first, "folderlocation": rest}
	case "smb":
		number, f = SMBCompatible, fields{"sharepath": path}
	}
	v, _ := VendorOf(number)
	return v, sourceText(f)
}

// sourceNames are the fields that a source may have, as they are shown.
var sourceNames = []string{"BucketName", "Container", "SharePath", "FolderPath", "FolderLocation"}

// sourceText writes a source's fields.
func sourceText(f fields) string {
	m := map[string]string{}
	for _, name := range sourceNames {
		if v := f.get(name); v != "" {
			m[name] = v
		}
	}
	b, _ := json.Marshal(m) // strings cannot fail
	return string(b)
}
