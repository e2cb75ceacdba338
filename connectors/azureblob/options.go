package azureblob

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
)

// options are what a unit's URL and options say. Those of the first block may
// stand in the URL's query too; secrets may not, since URLs are shown.
type options struct {
	account, container, root string

	endpoint        string // of the blob service; "" = https://ACCOUNT.blob.core.windows.net
	tenant          string // of the service principal
	clientID        string // of the service principal or the managed identity
	managedIdentity bool
	snapshots       bool // delete_snapshots=include

	key, sas, connection, clientSecret string
}

// secrets may not stand in a URL.
var secrets = []string{"key", "sas", "connection_string", "client_secret"}

// Check says what is wrong with the unit's URL and options, all unknown names
// of them, without talking to anybody: fault.Invalid.
func Check(u connectors.Unit) error {
	if _, err := parseOptions(u); err != nil {
		return fault.New(fault.Invalid, "azureblob.Open", u.Name, err)
	}
	return nil
}

// parseOptions reads azblob://account/container/prefix?endpoint=… and the unit's
// options, which win.
func parseOptions(u connectors.Unit) (options, error) {
	var o options
	const want = "want azblob://account/container/prefix?endpoint=…, and credentials as options"
	at, err := u.Locate("azblob", want, func(name string) bool { return slices.Contains(secrets, name) })
	if err != nil {
		return o, err
	}
	name, prefix, _ := strings.Cut(strings.TrimPrefix(at.Path, "/"), "/")
	if name == "" {
		return o, errors.New(want)
	}
	o.account, o.container, o.root = at.Host, name, connectors.Root(prefix)
	if err := o.set(at.Values); err != nil {
		return o, err
	}
	if err := o.connect(); err != nil {
		return o, &connectors.OptionError{Name: "connection_string", Err: err}
	}
	return o, o.validate()
}

// set takes values by name.
func (o *options) set(values map[string]string) error {
	text := connectors.Text
	return errors.Join(connectors.SetOptions(values, map[string]connectors.Option{
		"endpoint": text(&o.endpoint), "tenant_id": text(&o.tenant), "client_id": text(&o.clientID),
		"key": text(&o.key), "sas": text(&o.sas), "connection_string": text(&o.connection), "client_secret": text(&o.clientSecret),
		"managed_identity": connectors.Flag(&o.managedIdentity),
		"delete_snapshots": func(v string) error {
			if o.snapshots = v == "include"; v != "include" && v != "refuse" {
				return errors.New("want include or refuse")
			}
			return nil
		},
	})...)
}

// connect takes what a connection string says, as Azure's portal shows it. Its
// errors do not show it: it holds a secret.
func (o *options) connect() error {
	if o.connection == "" {
		return nil
	}
	said := make(map[string]string)
	for part := range strings.SplitSeq(strings.Trim(o.connection, "; \n"), ";") {
		name, v, ok := strings.Cut(part, "=")
		if !ok {
			return errors.New("want NAME=VALUE;NAME=VALUE…")
		}
		said[name] = v
	}
	if a := said["AccountName"]; a != "" && a != o.account {
		return fmt.Errorf("it is for the account %q, the URL for %q", a, o.account)
	}
	if o.key != "" || o.sas != "" {
		return errors.New("it excludes key and sas")
	}
	o.key, o.sas = said["AccountKey"], said["SharedAccessSignature"]
	if o.key == "" && o.sas == "" {
		return errors.New("it has neither AccountKey nor SharedAccessSignature")
	}
	if o.key != "" {
		o.sas = "" // the key can do all that the signature can
	}
	switch {
	case o.endpoint != "":
	case said["BlobEndpoint"] != "":
		o.endpoint = said["BlobEndpoint"]
	case said["EndpointSuffix"] != "":
		scheme := said["DefaultEndpointsProtocol"]
		if scheme == "" {
			scheme = "https"
		}
		o.endpoint = scheme + "://" + o.account + ".blob." + said["EndpointSuffix"]
	}
	return nil
}

func (o *options) validate() error {
	if o.endpoint == "" {
		o.endpoint = "https://" + o.account + ".blob.core.windows.net"
	}
	e, err := url.Parse(o.endpoint)
	if err != nil || e.Scheme != "http" && e.Scheme != "https" || e.Host == "" || e.User != nil || e.RawQuery != "" || e.Fragment != "" {
		return &connectors.OptionError{Name: "endpoint", Err: errors.New("want http(s)://host[:port][/account]")}
	}
	o.endpoint = strings.TrimRight(o.endpoint, "/")
	o.sas = strings.TrimPrefix(o.sas, "?")
	if o.sas != "" {
		if q, err := url.ParseQuery(o.sas); err != nil || q.Get("sig") == "" {
			return &connectors.OptionError{Name: "sas", Err: errors.New("want the query of a shared access signature: sv=…&sig=…")}
		}
	}
	if o.key != "" {
		if _, err := blob.NewSharedKeyCredential(o.account, o.key); err != nil {
			return &connectors.OptionError{Name: "key", Err: errors.New("want the account's key, in base64")}
		}
	}
	given := 0
	for _, has := range []bool{o.key != "", o.sas != "", o.clientSecret != "", o.managedIdentity} {
		if has {
			given++
		}
	}
	switch {
	case given > 1:
		return errors.New("more than one credential: give key, sas, connection_string, client_secret or managed_identity")
	case o.clientSecret != "" && (o.clientID == "" || o.tenant == ""):
		return errors.New("client_secret needs client_id and tenant_id")
	case o.tenant != "" && o.clientSecret == "":
		return errors.New("tenant_id needs client_secret")
	case o.clientID != "" && o.clientSecret == "" && !o.managedIdentity:
		return errors.New("client_id needs client_secret or managed_identity")
	case o.key == "" && o.sas == "" && e.Scheme != "https":
		return errors.New("credentials of Entra ID need an https endpoint; else give key, sas or connection_string")
	}
	return nil
}

// newDriver makes the client; it calls nobody.
func newDriver(o options, lim limits) (*Driver, error) {
	d := &Driver{transport: connectors.NewTransport(), name: o.container, root: o.root, sas: o.sas, snapshots: o.snapshots, limits: lim}
	core := coreOptions(d.transport)
	core.PerCallPolicies = []policy.Policy{versioned{}}
	opt := &container.ClientOptions{ClientOptions: core, ExpectContinueBehavior: container.ExpectContinueOptions{Mode: container.ExpectContinueModeOff}}
	at := o.endpoint + "/" + url.PathEscape(o.container)
	who, err := o.identity(d.transport)
	if err == nil {
		switch {
		case who.key != nil:
			d.client, err = container.NewClientWithSharedKeyCredential(at, who.key, opt)
		case who.token != nil:
			d.client, err = container.NewClient(at, who.token, opt)
		default:
			d.client, err = container.NewClientWithNoCredential(at+"?"+o.sas, opt)
		}
	}
	if err != nil {
		return nil, &fault.Error{Op: "azureblob.Open", On: o.container, Kind: fault.Denied, Reason: "access_denied", Err: errors.New(connectors.Plain(err.Error(), 300))}
	}
	return d, nil
}

// maxSmallReply bounds, in bytes, a reply that is not content: a page of 1,000
// blobs with names of 1,024 characters, escaped, is below 10 MiB.
const maxSmallReply = 32 << 20

// coreOptions are those of every client: Storage retries, nobody is told of us.
func coreOptions(t *http.Transport) azcore.ClientOptions {
	return azcore.ClientOptions{
		Retry:     policy.RetryOptions{MaxRetries: -1},
		Telemetry: policy.TelemetryOptions{Disabled: true},
		Transport: &http.Client{Transport: connectors.Bounded{Next: t, Most: maxSmallReply}, CheckRedirect: connectors.NoRedirects},
	}
}

// An identity is how a client proves who it is: by one of the two, or else by a
// signature in its URL.
type identity struct {
	key   *blob.SharedKeyCredential
	token azcore.TokenCredential
}

func (o *options) identity(t *http.Transport) (who identity, err error) {
	switch {
	case o.key != "":
		who.key, err = blob.NewSharedKeyCredential(o.account, o.key)
	case o.sas == "":
		core := coreOptions(t)
		core.Transport = &http.Client{Transport: t}
		who.token, err = o.entra(core)
	}
	return who, err
}

// entra is a credential of Entra ID: the one named, else what the SDK finds in
// environment, workload identity, managed identity and command line tools.
func (o *options) entra(core azcore.ClientOptions) (azcore.TokenCredential, error) {
	switch {
	case o.clientSecret != "":
		return azidentity.NewClientSecretCredential(o.tenant, o.clientID, o.clientSecret, &azidentity.ClientSecretCredentialOptions{ClientOptions: core})
	case o.managedIdentity:
		opt := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: core}
		if o.clientID != "" {
			opt.ID = azidentity.ClientID(o.clientID)
		}
		return azidentity.NewManagedIdentityCredential(opt)
	}
	return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: core})
}
