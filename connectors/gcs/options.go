package gcs

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"google.golang.org/api/option"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
)

// options are what a unit's URL and options say. All but credentials_json may
// stand in the URL's query too: URLs are shown.
type options struct {
	bucket, root string

	endpoint    string // http(s)://host[:port]; "" = Google
	userProject string // who pays, for buckets where the requester does
	keyFile     string // path of a credentials file
	credentials string // such a file's content
	anonymous   bool
}

// Check says what is wrong with the unit's URL and options, all unknown names
// of them, without talking to anybody: fault.Invalid.
func Check(u connectors.Unit) error {
	if _, err := parseOptions(u); err != nil {
		return fault.New(fault.Invalid, "gcs.Open", u.Name, err)
	}
	return nil
}

// parseOptions reads gs://bucket/prefix?endpoint=…&user_project=… and the
// unit's options, which win.
func parseOptions(u connectors.Unit) (options, error) {
	var o options
	at, err := u.Locate("gs", "want gs://bucket/prefix?endpoint=…, and credentials as options", func(name string) bool { return name == "credentials_json" })
	if err != nil {
		return o, err
	}
	o.bucket, o.root = at.Host, connectors.Root(at.Path)
	text := connectors.Text
	err = errors.Join(connectors.SetOptions(at.Values, map[string]connectors.Option{
		"endpoint": text(&o.endpoint), "user_project": text(&o.userProject), "key_file": text(&o.keyFile),
		"credentials_json": text(&o.credentials), "anonymous": connectors.Flag(&o.anonymous),
	})...)
	if err != nil {
		return o, err
	}
	return o, o.validate()
}

func (o *options) validate() error {
	if o.endpoint != "" {
		e, err := url.Parse(o.endpoint)
		if err != nil || e.Scheme != "http" && e.Scheme != "https" || e.Host == "" || e.User != nil || e.RawQuery != "" || strings.Trim(e.Path, "/") != "" {
			return &connectors.OptionError{Name: "endpoint", Err: fmt.Errorf("%q: want http://host:port or https://host:port", o.endpoint)}
		}
		o.endpoint = strings.TrimRight(o.endpoint, "/")
		if e.Scheme == "http" && !o.anonymous {
			return &connectors.OptionError{Name: "endpoint", Err: errors.New("over plain http the token could be read: use https, or anonymous: true")}
		}
	}
	switch {
	case o.anonymous && (o.keyFile != "" || o.credentials != ""):
		return errors.New("anonymous excludes credentials")
	case o.keyFile != "" && o.credentials != "":
		return errors.New("key_file excludes credentials_json")
	case o.credentials != "":
		if _, err := credentialsType([]byte(o.credentials)); err != nil {
			return &connectors.OptionError{Name: "credentials_json", Err: err}
		}
	}
	return nil
}

// google reports whether the endpoint is Google's own, by whatever route
// (https://cloud.google.com/storage/docs/request-endpoints).
func (o *options) google() bool {
	e, err := url.Parse(o.endpoint)
	return o.endpoint == "" || err == nil && e.Scheme == "https" && strings.HasSuffix(e.Hostname(), ".googleapis.com")
}

// Scopes of Google's tokens. A change of metadata needs full control, since it
// could be one of access lists.
const (
	scopeRead = "https://www.googleapis.com/auth/devstorage.read_only"
	scopeFull = "https://www.googleapis.com/auth/devstorage.full_control"
)

// login are the client's options for its credentials: those of the options,
// else those that Google's libraries find in environment, files and machine.
func (o *options) login(readOnly bool) ([]option.ClientOption, error) {
	scope := scopeFull
	if readOnly {
		scope = scopeRead
	}
	opts := []option.ClientOption{option.WithScopes(scope), option.WithTelemetryDisabled()}
	content := []byte(o.credentials)
	switch {
	case o.anonymous:
		return []option.ClientOption{option.WithoutAuthentication(), option.WithTelemetryDisabled()}, nil
	case o.keyFile != "":
		var err error
		if content, err = os.ReadFile(o.keyFile); err != nil {
			return nil, fault.New(fault.Denied, "gcs.Open", o.bucket, err)
		}
	case len(content) == 0:
		return opts, nil
	}
	kind, err := credentialsType(content)
	if err != nil {
		return nil, fault.New(fault.Invalid, "gcs.Open", o.bucket, err)
	}
	return append(opts, option.WithAuthCredentialsJSON(kind, content)), nil
}

// credentialsType says what sort of credentials content holds. Its errors never
// quote content.
func credentialsType(content []byte) (option.CredentialsType, error) {
	var c struct {
		Type option.CredentialsType `json:"type"`
	}
	if err := json.Unmarshal(content, &c); err != nil {
		return "", errors.New("the credentials are not JSON")
	}
	switch c.Type {
	case option.ServiceAccount, option.AuthorizedUser, option.ExternalAccount, option.ImpersonatedServiceAccount:
		return c.Type, nil
	}
	return "", errors.New("the credentials are of no known type: want a service account's key, or a workload identity's configuration")
}
