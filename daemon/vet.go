package daemon

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
)

// vet refuses a storage of the API that reads or reaches what its users may not,
// however it came to be: each opening asks, for a name can come to mean something
// else, and an archive brings what no operation would have taken.
func (d *Daemon) vet(ctx context.Context, u connectors.Unit) error {
	loc, err := url.Parse(u.URL)
	if err != nil {
		return fault.New(fault.Invalid, "daemon.Vet", u.Name, err)
	}
	option := func(name string) string {
		if v := u.Options[name]; v != "" {
			return v // as connectors read it
		}
		return loc.Query().Get(name)
	}
	refused := func(why string) error { return fault.New(fault.Denied, "daemon.Vet", u.Name, errors.New(why)) }
	for _, name := range []string{"key_file", "profile"} {
		if option(name) != "" {
			return refused("only the configuration file names files of this machine: " + name)
		}
	}
	reach := []string{}
	own, machine := false, false // the machine's own folders, and its identity
	switch all.Scheme(u.URL) {
	case "", "file":
		own = true
	case "s3":
		machine = option("access_key") == "" && option("anonymous") != "true"
	case "gs":
		if key := option("credentials_json"); key != "" {
			at, err := control.CheckServiceAccount(key)
			if err != nil {
				return err
			}
			reach = append(reach, at...)
		} else {
			machine = option("anonymous") != "true"
		}
	case "azblob":
		reach = append(reach, azureEndpoints(option("connection_string"))...)
		machine = option("managed_identity") != "" || option("key")+option("sas")+option("connection_string")+option("client_secret") == "" && option("anonymous") != "true"
	case "smb":
		reach = append(reach, "https://"+loc.Host)
	}
	if (own || machine) && u.Tenant > account.DefaultTenant {
		return refused("only the first tenant may use this machine's folders and identity")
	}
	if own {
		return d.localAllowed(u)
	}
	if at := option("endpoint"); at != "" {
		reach = append(reach, at)
	}
	for _, at := range reach {
		if err := d.control.Reach(ctx, at); err != nil {
			return err
		}
	}
	return nil
}

// azureEndpoints are the addresses that a connection string names.
func azureEndpoints(connection string) (list []string) {
	for part := range strings.SplitSeq(connection, ";") {
		name, value, _ := strings.Cut(part, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "blobendpoint":
			list = append(list, value)
		case "endpointsuffix":
			list = append(list, "https://"+value)
		}
	}
	return list
}
