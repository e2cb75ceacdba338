// Package all is the table of every connector. Only the daemon and the commands
// import it.
package all

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/azureblob"
	"github.com/landwaiter/landwaiter/connectors/file"
	"github.com/landwaiter/landwaiter/connectors/gcs"
	"github.com/landwaiter/landwaiter/connectors/s3"
	"github.com/landwaiter/landwaiter/connectors/smb"
	"github.com/landwaiter/landwaiter/fault"
)

// vendors returns the opener of each URL scheme. A URL without a scheme is a
// local path.
func vendors() map[string]connectors.Opener {
	return map[string]connectors.Opener{
		"":       file.Open,
		"file":   file.Open,
		"s3":     s3.Open,
		"gs":     gcs.Open,
		"azblob": azureblob.Open,
		"smb":    smb.Open,
	}
}

// Open opens the driver of the unit's vendor. fault.Invalid names the schemes
// that there are.
func Open(ctx context.Context, u connectors.Unit) (connectors.Driver, error) {
	open, ok := vendors()[Scheme(u.URL)]
	if !ok {
		return nil, noConnector(u)
	}
	return open(ctx, u)
}

// Check says what is wrong with the unit's URL and options by themselves,
// without talking to anybody: what can never work, and what Open would refuse
// at once. fault.Invalid or Unsupported; options by connectors.OptionError.
func Check(u connectors.Unit) error {
	checks := map[string]func(connectors.Unit) error{"": file.Check, "file": file.Check, "s3": s3.Check,
		"gs": gcs.Check, "azblob": azureblob.Check, "smb": smb.Check}
	check, ok := checks[Scheme(u.URL)]
	if !ok {
		return noConnector(u)
	}
	return check(u)
}

func noConnector(u connectors.Unit) error {
	return fault.New(fault.Invalid, "all.Open", u.Name, fmt.Errorf("no connector for %q: there are %s", Scheme(u.URL), strings.Join(Schemes(), ", ")))
}

// Discover lists the places of an account. fault.Unsupported for vendors whose
// places are not in accounts.
func Discover(ctx context.Context, account connectors.Unit) ([]connectors.Found, error) {
	vendors := map[string]connectors.Discoverer{"s3": s3.Discover, "gs": gcs.Discover, "azblob": azureblob.Discover, "smb": smb.Discover}
	discover, ok := vendors[Scheme(account.URL)]
	if !ok {
		return nil, fault.New(fault.Unsupported, "all.Discover", account.Name, fmt.Errorf("nothing can be discovered at %q", Scheme(account.URL)))
	}
	return discover(ctx, account)
}

// CheckAccount is Check for an account: a unit without a place.
func CheckAccount(account connectors.Unit) error {
	loc, err := url.Parse(account.URL)
	if err != nil {
		return fault.New(fault.Invalid, "all.Open", account.Name, err)
	}
	switch {
	case loc.Scheme == "s3" || loc.Scheme == "gs":
		if loc.Host != "" || strings.Trim(loc.Path, "/") != "" {
			return fault.New(fault.Invalid, "all.Open", account.Name, fmt.Errorf("want %s://?…, without a bucket", loc.Scheme))
		}
		loc.Host, loc.Path = "account", ""
		q := loc.Query()
		q.Del("project") // of the account alone
		loc.RawQuery = q.Encode()
	case strings.Trim(loc.Path, "/") != "":
		return fault.New(fault.Invalid, "all.Open", account.Name, fmt.Errorf("want %s://NAME, without a container or share", loc.Scheme))
	default:
		loc.Path = "/account"
	}
	account.URL = loc.String()
	return Check(account)
}

// Hint returns the version token of a vendor's unit for what an event calls its
// version, "" if only a look can tell.
func Hint(vendor, version string) string {
	hints := map[string]func(string) string{"s3": s3.Hint, "gs": gcs.Hint, "azblob": azureblob.Hint}
	if hint, ok := hints[vendor]; ok {
		return hint(version)
	}
	return ""
}

// Scheme returns the scheme of a unit's URL, in lower case, "" for a path.
func Scheme(raw string) string {
	if strings.HasPrefix(raw, "/") || strings.HasPrefix(raw, ".") {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil { // no path either
		scheme, _, _ := strings.Cut(raw, ":")
		return strings.ToLower(scheme)
	}
	return u.Scheme
}

// OpenStorage opens the unit as a storage. Without a probe's result in opt it
// probes; a probe that fails takes away what it would have proven, and the
// storage's Probed says why.
func OpenStorage(ctx context.Context, u connectors.Unit, opt connectors.Options) (*connectors.Storage, error) {
	d, err := Open(ctx, u)
	if err != nil {
		return nil, err
	}
	if opt.Probed == nil {
		p, err := connectors.Probe(ctx, u, d)
		if err != nil && ctx.Err() != nil {
			return nil, errors.Join(err, d.Close())
		}
		opt.Probed = &p
	}
	return connectors.NewStorage(u, d, opt), nil
}

// Schemes lists the URL schemes that there are, in order.
func Schemes() []string {
	vendors := vendors()
	delete(vendors, "")
	return slices.Sorted(maps.Keys(vendors))
}
