// Package gcs speaks to Google Cloud Storage, by its JSON API.
//
// A version is a generation: Google gives every content of a name a number of
// its own that only grows. Every read and every act names the generation, and
// what the server answers is compared with it again, because servers that stand
// in for Google are known to ignore preconditions. What a server really honours
// is proven by Probe.
//
// It stands on cloud.google.com/go/storage, with its retries off. Where that
// package hides what a driver must know, the transport below it helps: its
// reader repeats the generation that was asked for instead of the one that the
// server sent, and goes on by itself after a body broke off. One call is made by
// the generated client that the package is built of, see patch.
package gcs

import (
	"context"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"cloud.google.com/go/storage"
	raw "google.golang.org/api/storage/v1"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// A Driver is an open bucket, or the part of one below a prefix.
type Driver struct {
	client    *storage.Client
	service   *raw.Service // for patch alone
	transport *http.Transport
	bucket    string
	root      string // what every key of the unit begins with in the bucket: "" or "…/"
	unfenced  bool   // the unit allows acts that the server cannot make conditional

	honours honours
	limits  limits
}

// honours is what the server was seen to do with preconditions.
type honours struct {
	remove connectors.Answer // ifGenerationMatch on delete, or a generation that is deleted alone
	put    connectors.Answer // ifGenerationMatch on insert
	copy   connectors.Answer // the same on the destination of rewrite
	patch  connectors.Answer // ifMetagenerationMatch on patch
}

// limits are the bounds of a driver; tests use smaller ones.
type limits struct {
	call  time.Duration // a call that transfers no content
	long  time.Duration // a call during which the server copies content
	stall time.Duration // a read or write of content that makes no progress
	chunk int           // bytes of a request of a larger put, a multiple of 256 KiB; two are held in memory
	list  int           // objects of a page
}

var defaultLimits = limits{call: time.Minute, long: 10 * time.Minute, stall: time.Minute, chunk: 8 << 20, list: 1000}

// Open opens the bucket that u names. It checks that the bucket exists and can
// be listed. Its errors: Invalid for a wrong URL or option, NotFound for a
// bucket that does not exist, Denied for credentials, Unavailable.
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
		return nil, fault.New(fault.Invalid, "gcs.Open", u.Name, err)
	}
	d, err := newDriver(ctx, opt, u, lim)
	if err != nil {
		return nil, err
	}
	if _, err := d.page(ctx, cursor{prefix: d.root, limit: 1}); err != nil {
		_ = d.Close()
		return nil, err
	}
	return d, nil
}

// Close closes idle connections.
func (d *Driver) Close() error {
	d.transport.CloseIdleConnections()
	return nil
}

// maxName bounds an object's name, in bytes
// (https://cloud.google.com/storage/docs/objects#naming).
const maxName = 1024

// full returns the bucket's name of a unit's key, if Google takes it.
func (d *Driver) full(op, key string) (string, error) {
	name := d.root + key
	var err error
	switch {
	case key == "" || len(name) > maxName:
		err = errKeyLength
	case strings.ContainsAny(key, "\r\n"):
		err = errKeyByte
	case !utf8.ValidString(key):
		err = errKeyText
	case name == "." || name == ".." || strings.HasPrefix(name, ".well-known/acme-challenge/"):
		err = errKeyName
	default:
		return name, nil
	}
	return "", fault.New(fault.Invalid, op, object.FormatKey(key), err)
}

// object is the bucket's object name: its generation gen, 0 for the current one.
func (d *Driver) object(name string, gen int64) *storage.ObjectHandle {
	o := d.client.Bucket(d.bucket).Object(name)
	if gen != 0 {
		o = o.Generation(gen)
	}
	return o
}

// mayReplace is o, to be written only where the generation replaces is current;
// 0 = where nothing is, nil = in any case.
func mayReplace(o *storage.ObjectHandle, replaces *int64) *storage.ObjectHandle {
	switch {
	case replaces == nil:
		return o
	case *replaces == 0:
		return o.If(storage.Conditions{DoesNotExist: true})
	}
	return o.If(storage.Conditions{GenerationMatch: *replaces})
}

// call makes one call without content under the driver's time limit, and gives
// its error a kind.
func call[Out any](ctx context.Context, d *Driver, op, key string, f func(context.Context) (Out, error)) (Out, error) {
	return callFor(ctx, d, d.limits.call, op, key, f)
}

// callFor is call with a time limit of its own.
func callFor[Out any](ctx context.Context, d *Driver, limit time.Duration, op, key string, f func(context.Context) (Out, error)) (Out, error) {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out, err := f(bounded)
	if err != nil {
		return out, d.fail(ctx, op, key, err)
	}
	return out, nil
}
