package smb

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	smb2 "github.com/hirochachacha/go-smb2"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
)

var errAccount = errors.New("want smb://host:port, without a share")

// pipes is the share of the server's own services, which know the others.
const pipes = "IPC$"

// Discover lists the shares of a server that its user may see. Those whose names
// end in $ are the server's own, or hidden on purpose.
func Discover(ctx context.Context, u connectors.Unit) ([]connectors.Found, error) {
	const op = "smb.Discover"
	loc, err := url.Parse(u.URL)
	if err != nil || strings.Trim(loc.Path, "/") != "" {
		return nil, fault.New(fault.Invalid, op, u.Name, errAccount)
	}
	place := *loc
	place.Path = "/" + pipes
	u.URL = place.String()
	o, err := parseOptions(u)
	if err != nil {
		return nil, invalid(u, err)
	}
	p := newPool(o)
	defer p.close()
	var names []string
	_, err = dial(ctx, p, func(s *smb2.Session, in context.Context) (_ *smb2.Share, err error) {
		names, err = s.WithContext(in).ListSharenames()
		return nil, err
	})
	if err != nil {
		return nil, wrap(op, o.host, err)
	}
	var list []connectors.Found
	for _, name := range names {
		if !strings.HasSuffix(name, "$") && checkName(name) == nil && len(list) < connectors.MaxFound {
			list = append(list, connectors.Found{Name: name, URL: (&url.URL{Scheme: "smb", Host: loc.Host, Path: "/" + name}).String()})
		}
	}
	slices.SortFunc(list, func(a, b connectors.Found) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}
