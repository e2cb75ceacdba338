package smb

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
)

// Defaults and bounds of the options.
const (
	defaultPort    = "445"
	defaultTimeout = 30 * time.Second
	minTimeout     = time.Second
	maxTimeout     = 10 * time.Minute
)

// options are what a unit's URL and options say.
type options struct {
	host, port  string
	share, root string // root: "" or ending in '/'

	user, domain, password string

	encrypt, sign bool // demanded
	timeout       time.Duration
}

// Check says what is wrong with the unit's URL and options, all unknown names
// of them, without talking to anybody: fault.Invalid.
func Check(u connectors.Unit) error {
	if _, err := parseOptions(u); err != nil {
		return invalid(u, err)
	}
	return nil
}

func invalid(u connectors.Unit, err error) error {
	return fault.New(fault.Invalid, "smb.Open", u.Name, err)
}

// parseOptions reads smb://host:port/share/folder and the unit's options.
func parseOptions(u connectors.Unit) (options, error) {
	o := options{encrypt: true, sign: true, timeout: defaultTimeout}
	loc, err := url.Parse(u.URL)
	if err != nil {
		return o, errors.New("not a URL: want smb://host:port/share/folder")
	}
	if loc.Scheme != "smb" || loc.Hostname() == "" || loc.User != nil || loc.RawQuery != "" || loc.Fragment != "" {
		return o, errors.New("want smb://host:port/share/folder, and all else (user, password, …) as options")
	}
	o.host, o.port = loc.Hostname(), loc.Port()
	if o.port == "" {
		o.port = defaultPort
	}
	o.share, o.root, _ = strings.Cut(strings.Trim(loc.Path, "/"), "/")
	if err := checkName(o.share); err != nil {
		return o, fmt.Errorf("the name of the share: %w", err)
	}
	if o.root != "" {
		for part := range strings.SplitSeq(o.root, "/") {
			if err := checkName(part); err != nil {
				return o, fmt.Errorf("the name of the folder: %w", err)
			}
		}
		o.root += "/"
	}
	return o, o.set(u.Options)
}

// set takes the options by name.
func (o *options) set(values map[string]string) error {
	errs := connectors.SetOptions(values, map[string]connectors.Option{
		"user":     connectors.Text(&o.user),
		"password": connectors.Text(&o.password),
		"domain":   connectors.Text(&o.domain),
		"encrypt":  demand(&o.encrypt),
		"sign":     demand(&o.sign),
		"timeout": func(v string) (err error) {
			if o.timeout, err = time.ParseDuration(v); err != nil || o.timeout < minTimeout || o.timeout > maxTimeout {
				return fmt.Errorf("want a duration from %v to %v, such as 30s", minTimeout, maxTimeout)
			}
			return nil
		},
	})
	if domain, user, ok := strings.Cut(o.user, `\`); ok && o.domain == "" {
		o.domain, o.user = domain, user
	}
	if o.user == "" {
		errs = append(errs, &connectors.OptionError{Name: "user", Err: errors.New("is needed: there is no anonymous access")})
	}
	return errors.Join(errs...)
}

// demand reads required or off; true and false mean the same.
func demand(p *bool) connectors.Option {
	return func(v string) error {
		switch v {
		case "required":
			*p = true
			return nil
		case "off":
			*p = false
			return nil
		}
		b, err := strconv.ParseBool(v)
		if err != nil {
			return errors.New("want required or off")
		}
		*p = b
		return nil
	}
}

func (o *options) addr() string { return net.JoinHostPort(o.host, o.port) }

func (o *options) where() string {
	return strings.TrimSuffix("//"+o.host+"/"+o.share+"/"+o.root, "/")
}
