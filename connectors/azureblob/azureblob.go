// Package azureblob speaks to Azure Blob Storage.
//
// A version is a version id where the account keeps versions, else the ETag,
// which every write moves. Reads and acts name the version to the service, which
// honours that on all of them; a removal takes a short lease besides, so that no
// writer comes between its steps. What an account lacks (tags, versions) or a
// server only pretends to have is found out by Probe.
package azureblob

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// A Driver is an open container, or the part of one below a prefix.
type Driver struct {
	client    *container.Client
	transport *http.Transport
	name      string // of the container
	root      string // what every key of the unit begins with in the container: "" or "…/"
	sas       string // a shared access signature, which the source of a copy needs too
	snapshots bool   // a removal takes the snapshots along
	limits    limits

	// What was learnt of the account. None of it goes back.
	tree     atomic.Bool       // it lists in another order than bytes: go folder by folder
	plain    atomic.Bool       // it knows no versions in listings
	tagless  atomic.Bool       // it has no index tags: metadata serves as tags
	minds    connectors.Answer // whether it minds conditions on tags
	fromZero atomic.Bool       // it ignores startFrom: listings begin at the prefix
}

// limits are the bounds of a driver; tests use smaller ones.
type limits struct {
	call     time.Duration // a call that transfers no content
	long     time.Duration // until the service has copied a blob
	stall    time.Duration // a read or write of content that makes no progress
	lease    int32         // seconds that a lease lasts if we die; the service takes 15 to 60
	block    int64         // bytes of a block; two are held in memory
	list     int           // blobs of a page
	names    int           // of a folder that are held to be sorted
	versions int           // of a blob that are held to be sorted
}

// The service takes 50,000 blocks of up to 4,000 MiB, and pages of up to 5,000
// (https://learn.microsoft.com/rest/api/storageservices/put-block).
var defaultLimits = limits{
	call:     time.Minute,
	long:     30 * time.Minute,
	stall:    time.Minute,
	lease:    15,
	block:    8 << 20,
	list:     1000,
	names:    64 << 10,
	versions: 64 << 10,
}

const maxBlocks = 50_000

// Open opens the container that u names. It checks that the container exists and
// can be listed. Its errors: Invalid for a wrong URL or option, NotFound for a
// container that does not exist, Denied for credentials, Unavailable.
func Open(ctx context.Context, u connectors.Unit) (connectors.Driver, error) {
	d, err := open(ctx, u, defaultLimits)
	if err != nil {
		return nil, err // not d: an interface that holds a nil pointer is not nil
	}
	return d, nil
}

func open(ctx context.Context, u connectors.Unit, lim limits) (*Driver, error) {
	opt, err := parseOptions(u)
	if err != nil {
		return nil, fault.New(fault.Invalid, "azureblob.Open", u.Name, err)
	}
	d, err := newDriver(opt, lim)
	if err != nil {
		return nil, err
	}
	if err := d.check(ctx); err != nil {
		_ = d.Close()
		return nil, err
	}
	return d, nil
}

// check lists one blob, and asks what kind of account this is where that may be
// asked. Where it may not, the blobs tell.
func (d *Driver) check(ctx context.Context) error {
	_, err := d.flat(ctx, cursor{prefix: d.root, limit: 1})
	if re := replyOf(err); re != nil && re.Code == "ContainerNotFound" {
		return connectors.Recast(err, fault.Unavailable, fault.NotFound)
	}
	if err != nil {
		return err
	}
	info, err := call(ctx, d, "azureblob.Open", "", func(ctx context.Context) (container.GetAccountInfoResponse, error) {
		return d.client.GetAccountInfo(ctx, nil)
	})
	switch re := replyOf(err); {
	case err == nil:
		if info.IsHierarchicalNamespaceEnabled != nil && *info.IsHierarchicalNamespaceEnabled {
			d.tree.Store(true)
		}
	case re == nil || re.Status >= 500 || fault.Is(err, fault.Throttled):
		return err
	}
	return nil
}

// Close closes idle connections.
func (d *Driver) Close() error {
	d.transport.CloseIdleConnections()
	return nil
}

// maxKey bounds a key, in UTF-16 code units ("Naming and referencing
// containers, blobs, and metadata").
const maxKey = 1024

// full returns the container's name of a unit's key. The service resolves names
// as paths of a URL: parts that are "." or "..", and backslashes, are refused,
// which would lead to another blob, or out of the unit's prefix.
func (d *Driver) full(op, key string) (string, error) {
	var err error
	switch {
	case key == "" || len(d.root)+len(key) > 4*maxKey || len(utf16.Encode([]rune(d.root+key))) > maxKey:
		err = errKeyLength
	case !utf8.ValidString(key):
		err = errKeyText
	case strings.ContainsAny(key, "\x00\\"):
		err = errKeyByte
	case !plainPath(key):
		err = errKeyPath
	default:
		return d.root + key, nil
	}
	return "", fault.New(fault.Invalid, op, object.FormatKey(key), err)
}

func plainPath(key string) bool {
	for part := range strings.SplitSeq(key, "/") {
		if part == "." || part == ".." {
			return false
		}
	}
	return true
}

// blob returns the client of a blob by its full name.
func (d *Driver) blob(full string) *blockblob.Client { return d.client.NewBlockBlobClient(full) }

// call makes one call without content under the driver's time limit, and gives
// its error a kind.
func call[Out any](ctx context.Context, d *Driver, op, key string, f func(context.Context) (Out, error)) (Out, error) {
	bounded, cancel := context.WithTimeout(connectors.SmallReply(ctx), d.limits.call)
	defer cancel()
	out, err := f(bounded)
	if err != nil {
		return out, d.fail(ctx, op, key, err)
	}
	return out, nil
}
