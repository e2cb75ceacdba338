package s3

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
)

// anyBucket stands for the bucket in the URL of an account, s3://?endpoint=….
const anyBucket = "account"

// Discover lists the buckets of an account; needs s3:ListAllMyBuckets.
func Discover(ctx context.Context, u connectors.Unit) ([]connectors.Found, error) {
	const op = "s3.Discover"
	loc, err := url.Parse(u.URL)
	if err != nil || loc.Host != "" || strings.Trim(loc.Path, "/") != "" {
		return nil, fault.New(fault.Invalid, op, u.Name, errAccount)
	}
	loc.Host, loc.Path = anyBucket, ""
	u.URL = loc.String()
	o, err := parseOptions(u)
	if err != nil {
		return nil, fault.New(fault.Invalid, op, u.Name, err)
	}
	d, err := newDriver(ctx, o, defaultLimits)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var list []connectors.Found
	for in := (&s3.ListBucketsInput{MaxBuckets: aws.Int32(1000)}); ; {
		out, err := call(ctx, d, op, "", d.client.ListBuckets, in)
		if err != nil {
			return nil, err
		}
		for _, b := range out.Buckets {
			name := aws.ToString(b.Name)
			list = append(list, connectors.Found{Name: name, URL: (&url.URL{Scheme: "s3", Host: name, RawQuery: loc.RawQuery}).String()})
		}
		if in.ContinuationToken = out.ContinuationToken; aws.ToString(in.ContinuationToken) == "" || len(list) >= connectors.MaxFound {
			break
		}
	}
	slices.SortFunc(list, func(a, b connectors.Found) int { return strings.Compare(a.Name, b.Name) })
	return list[:min(len(list), connectors.MaxFound)], nil
}
