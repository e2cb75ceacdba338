package azureblob

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
)

var errAccount = errors.New("want azblob://account?endpoint=…, without a container")

// anyContainer stands for the container in the URL of an account.
const anyContainer = "account"

// Discover lists the containers of a storage account; needs a key, a signature
// for the whole account, or the role Storage Blob Data Reader on it.
func Discover(ctx context.Context, u connectors.Unit) ([]connectors.Found, error) {
	const op = "azureblob.Discover"
	loc, err := url.Parse(u.URL)
	if err != nil || strings.Trim(loc.Path, "/") != "" {
		return nil, fault.New(fault.Invalid, op, u.Name, errAccount)
	}
	place := *loc
	place.Path = "/" + anyContainer
	u.URL = place.String()
	o, err := parseOptions(u)
	if err != nil {
		return nil, fault.New(fault.Invalid, op, u.Name, err)
	}
	d := &Driver{transport: connectors.NewTransport(), limits: defaultLimits}
	defer d.Close()
	client, err := newService(o, d)
	if err != nil {
		return nil, &fault.Error{Op: op, On: o.account, Kind: fault.Denied, Reason: "access_denied", Err: errors.New(connectors.Plain(err.Error(), 300))}
	}
	var list []connectors.Found
	pages := client.NewListContainersPager(&service.ListContainersOptions{MaxResults: to.Ptr(int32(1000))})
	for pages.More() && len(list) < connectors.MaxFound {
		page, err := call(connectors.SmallReply(ctx), d, op, "", pages.NextPage)
		if err != nil {
			return nil, err
		}
		for _, c := range page.ContainerItems {
			if c == nil || c.Name == nil || strings.HasPrefix(*c.Name, "$") {
				continue // $logs, $web and the like are the service's own
			}
			list = append(list, connectors.Found{Name: *c.Name, URL: (&url.URL{Scheme: "azblob", Host: loc.Host, Path: "/" + *c.Name, RawQuery: loc.RawQuery}).String()})
		}
	}
	slices.SortFunc(list, func(a, b connectors.Found) int { return strings.Compare(a.Name, b.Name) })
	return list[:min(len(list), connectors.MaxFound)], nil
}

func newService(o options, d *Driver) (*service.Client, error) {
	opt := &service.ClientOptions{ClientOptions: coreOptions(d.transport)}
	who, err := o.identity(d.transport)
	switch {
	case err != nil:
		return nil, err
	case who.key != nil:
		return service.NewClientWithSharedKeyCredential(o.endpoint, who.key, opt)
	case who.token != nil:
		return service.NewClient(o.endpoint, who.token, opt)
	}
	return service.NewClientWithNoCredential(o.endpoint+"?"+o.sas, opt)
}
