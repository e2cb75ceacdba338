package gcs

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"

	"cloud.google.com/go/storage"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
)

// anyBucket stands for the bucket in the URL of a project, gs://?project=….
const anyBucket = "project"

var errProject = errors.New("want gs://?project=PROJECT&endpoint=…, without a bucket")

// Discover lists the buckets of the project that u's URL or options name as
// project; needs storage.buckets.list.
func Discover(ctx context.Context, u connectors.Unit) ([]connectors.Found, error) {
	const op = "gcs.Discover"
	loc, err := url.Parse(u.URL)
	if err != nil || loc.Host != "" || strings.Trim(loc.Path, "/") != "" {
		return nil, fault.New(fault.Invalid, op, u.Name, errProject)
	}
	query, err := url.ParseQuery(loc.RawQuery)
	if err != nil {
		return nil, fault.New(fault.Invalid, op, u.Name, err)
	}
	project := query.Get("project")
	if named, ok := u.Options["project"]; ok {
		project = named
	}
	if project == "" {
		return nil, fault.New(fault.Invalid, op, u.Name, &connectors.OptionError{Name: "project", Err: errProject})
	}
	query.Del("project")
	u.Options = maps.Clone(u.Options)
	delete(u.Options, "project")
	loc.Host, loc.Path, loc.RawQuery = anyBucket, "", query.Encode()
	u.URL = loc.String()
	o, err := parseOptions(u)
	if err != nil {
		return nil, fault.New(fault.Invalid, op, u.Name, err)
	}
	o.bucket = project // errors shall name it
	d, err := newDriver(ctx, o, u, defaultLimits)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.buckets(ctx, op, project, query.Encode())
}

// buckets lists the buckets of a project as units with this query.
func (d *Driver) buckets(ctx context.Context, op, project, query string) ([]connectors.Found, error) {
	var list []connectors.Found
	for next := ""; ; {
		out, err := call(ctx, d, op, "", func(ctx context.Context) (fetched[*storage.BucketAttrs], error) {
			return fetch(d.client.Buckets(ctx, project), d.limits.list, next)
		})
		if err != nil {
			return nil, err
		}
		for _, b := range out.items {
			list = append(list, connectors.Found{Name: b.Name, URL: (&url.URL{Scheme: "gs", Host: b.Name, RawQuery: query}).String()})
		}
		switch {
		case out.next == "" || len(list) >= connectors.MaxFound:
			slices.SortFunc(list, func(a, b connectors.Found) int { return strings.Compare(a.Name, b.Name) })
			return list[:min(len(list), connectors.MaxFound)], nil
		case out.next == next:
			return nil, fault.New(fault.Unavailable, op, project, connectors.ErrNoEnd)
		}
		next = out.next
	}
}
