// Package s3 speaks to Amazon S3 and to servers that are compatible with it.
//
// A version is a version id where the bucket keeps versions, else the ETag with
// size and time. Every read and every act names the version to the server, and
// what the server answers is compared with it again, because compatible servers
// are known to ignore preconditions. What a server really honours is proven by
// Probe.
package s3

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// A Driver is an open bucket, or the part of one below a prefix.
type Driver struct {
	client    *s3.Client
	transport *http.Transport
	bucket    string
	root      string // what every key of the unit begins with in the bucket: "" or "…/"
	amazon    bool   // Amazon's own endpoint
	unfenced  bool   // the unit allows acts that the server cannot make conditional

	// keeps: the bucket keeps versions, so that an object may be "null" or have
	// an id, and a DELETE without an id sets a marker. It never goes back:
	// versioning can be suspended, not undone.
	keeps atomic.Bool

	honours honours
	limits  limits
}

// honours is what the server was seen to do with preconditions.
type honours struct {
	remove   connectors.Answer // If-Match on DELETE
	put      connectors.Answer // If-None-Match and If-Match on PUT
	copy     connectors.Answer // the same on the destination of CopyObject
	complete connectors.Answer // the same on CompleteMultipartUpload
}

// limits are the bounds of a driver; tests use smaller ones.
type limits struct {
	call  time.Duration // a call that transfers no content
	long  time.Duration // a call during which the server copies or assembles content
	stall time.Duration // a read or write of content that makes no progress
	whole int64         // bytes up to which content of known size and hash is put in one request
	part  int64         // bytes of a part of a larger put; two are held in memory
	copy  int64         // bytes up to which the server copies in one request
	list  int32         // keys of a page
}

// The limits of Amazon: a copy in one request 5 GiB, a part 5 MiB to 5 GiB,
// 10,000 parts (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
var defaultLimits = limits{
	call:  time.Minute,
	long:  30 * time.Minute,
	stall: time.Minute,
	whole: 64 << 20,
	part:  8 << 20,
	copy:  5 << 30,
	list:  1000,
}

const (
	minPart  = 5 << 20 // all parts but the last
	maxParts = 10_000
)

// Open opens the bucket that u names. It checks that the bucket exists and can
// be listed, and learns whether it keeps versions. Its errors: Invalid for a
// wrong URL, option or region, NotFound for a bucket that does not exist,
// Denied for credentials, Unsupported for directory buckets, Unavailable.
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
		if fault.KindOf(err) != fault.Other {
			return nil, err
		}
		return nil, fault.New(fault.Invalid, "s3.Open", u.Name, err)
	}
	d, err := newDriver(ctx, opt, lim)
	if err != nil {
		return nil, err
	}
	d.unfenced = u.Unfenced
	err = d.check(ctx)
	if region := regionOf(err); region != "" && opt.region == "" {
		// Nobody named a region: take the one that the server told.
		_ = d.Close()
		opt.region = region
		if d, err = newDriver(ctx, opt, lim); err != nil {
			return nil, err
		}
		d.unfenced = u.Unfenced
		err = d.check(ctx)
	}
	if err != nil {
		_ = d.Close()
		return nil, err
	}
	return d, nil
}

// check lists one key and asks whether the bucket keeps versions.
func (d *Driver) check(ctx context.Context) error {
	_, err := d.listPage(ctx, cursor{prefix: d.root, limit: 1})
	if err != nil {
		return err
	}
	return d.learnVersioning(ctx)
}

// learnVersioning asks whether the bucket keeps versions. Where that may not be
// asked it assumes so: the listing of versions is right for any bucket.
func (d *Driver) learnVersioning(ctx context.Context) error {
	got, err := call(ctx, d, "s3.GetBucketVersioning", "", d.client.GetBucketVersioning, &s3.GetBucketVersioningInput{Bucket: &d.bucket})
	switch {
	case err == nil:
		if got.Status != "" {
			d.keeps.Store(true)
		}
		return nil
	case fault.Is(err, fault.Unsupported, fault.NotFound):
		return nil // a server without versions
	case fault.Is(err, fault.Denied):
		if _, err := d.versionsPage(ctx, cursor{prefix: d.root, limit: 1}); err != nil {
			if fault.Is(err, fault.Unsupported) {
				return nil
			}
			return fault.New(fault.Other, "s3.Open", "allow s3:GetBucketVersioning or s3:ListBucketVersions", err)
		}
		d.keeps.Store(true)
		return nil
	default:
		return err
	}
}

// Close closes idle connections.
func (d *Driver) Close() error {
	d.transport.CloseIdleConnections()
	return nil
}

// maxKey bounds a key, in bytes (user guide, "Object key naming guidelines").
const maxKey = 1024

// full returns the bucket's key of a unit's key. Compatible servers may resolve
// keys as paths: there, parts that are empty, "." or ".." are refused, which
// would lead to another key, or out of the unit's prefix.
func (d *Driver) full(op, key string) (string, error) {
	var err error
	switch {
	case key == "" || len(d.root)+len(key) > maxKey:
		err = errKeyLength
	case strings.IndexByte(key, 0) >= 0:
		err = errKeyByte
	case !utf8.ValidString(key):
		err = errKeyText
	case !d.amazon && !plainPath(key):
		err = errKeyPath
	default:
		return d.root + key, nil
	}
	return "", fault.New(fault.Invalid, op, object.FormatKey(key), err)
}

// plainPath reports whether key means the same key to a server that resolves it
// as a path. A slash at the end marks a folder.
func plainPath(key string) bool {
	for part := range strings.SplitSeq(strings.TrimSuffix(key, "/"), "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// call makes one call without content under the driver's time limit, and gives
// its error a kind.
func call[In, Out any](ctx context.Context, d *Driver, op, key string, f func(context.Context, In, ...func(*s3.Options)) (Out, error), in In, opts ...func(*s3.Options)) (Out, error) {
	return callFor(ctx, d, d.limits.call, op, key, f, in, opts...)
}

// callFor is call with a time limit of its own.
func callFor[In, Out any](ctx context.Context, d *Driver, limit time.Duration, op, key string, f func(context.Context, In, ...func(*s3.Options)) (Out, error), in In, opts ...func(*s3.Options)) (Out, error) {
	bounded, cancel := context.WithTimeout(connectors.SmallReply(ctx), limit)
	defer cancel()
	out, err := f(bounded, in, opts...)
	if err != nil {
		return out, d.fail(ctx, op, key, err)
	}
	return out, nil
}

// learn notes that the bucket keeps versions, if a reply shows it.
func (d *Driver) learn(versionID *string) {
	if versionID != nil && !d.keeps.Load() {
		d.keeps.Store(true)
	}
}

// cold reports whether an object of this class must be restored before it can
// be read. The archive tiers of INTELLIGENT_TIERING show in archive alone.
func cold(class types.StorageClass, archive types.ArchiveStatus, restored bool) bool {
	if restored {
		return false
	}
	return class == types.StorageClassGlacier || class == types.StorageClassDeepArchive || archive != ""
}
