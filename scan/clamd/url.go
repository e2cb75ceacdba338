package clamd

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// ParseURL returns o with what raw says: clamd:///path/to/socket, or
// clamd://host[:port] (3310), with ?conf=FILE (its clamd.conf), in_flight=N,
// small=BYTES, timeout=, stall=, idle= (durations), and, where clamd.conf cannot
// be read, its max_file_size=, max_scan_size= (as there: 25M), max_recursion=
// and max_files=. Anything else is fault.Invalid.
func ParseURL(raw string, o Options) (Options, error) {
	bad := func(err error) (Options, error) {
		return Options{}, fault.New(fault.Invalid, "clamd.ParseURL", raw, err)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return bad(err)
	case u.Scheme != "clamd" || u.Opaque != "" || u.User != nil || u.Fragment != "":
		return bad(fmt.Errorf("want clamd:///path/to/socket or clamd://host:port"))
	case u.Host == "" && len(u.Path) > 1:
		o.Network, o.Address = "unix", u.Path
	case u.Host != "" && strings.Trim(u.Path, "/") == "":
		port := u.Port()
		if port == "" {
			port = "3310"
		}
		o.Network, o.Address = "tcp", net.JoinHostPort(u.Hostname(), port)
	default:
		return bad(fmt.Errorf("want a path or a host, not both"))
	}
	for name, values := range u.Query() {
		v := values[len(values)-1]
		duration := func(p *time.Duration) error {
			d, err := time.ParseDuration(v)
			if err == nil && d <= 0 {
				err = fmt.Errorf("must be positive")
			}
			*p = d
			return err
		}
		size := func(p *int64) error {
			if *p = (conf{"": v}).number("", -1, -1); *p < 0 {
				return fmt.Errorf("want a positive size such as 25M")
			}
			return nil
		}
		count := func(p *int) error {
			n, err := strconv.Atoi(v)
			if err == nil && n <= 0 {
				err = fmt.Errorf("must be positive")
			}
			*p = n
			return err
		}
		var err error
		switch name {
		case "conf":
			o.Conf = v
		case "in_flight":
			err = count(&o.InFlight)
		case "small":
			err = size(&o.Small)
		case "timeout":
			err = duration(&o.Timeout)
		case "stall":
			err = duration(&o.Stall)
		case "idle":
			err = duration(&o.Idle)
		case "max_file_size":
			err = size(&o.Limits.Size)
		case "max_scan_size":
			err = size(&o.Limits.Expanded)
		case "max_recursion":
			err = count(&o.Limits.Depth)
		case "max_files":
			err = count(&o.Limits.Entries)
		default:
			err = fmt.Errorf("no such setting")
		}
		if err != nil {
			return bad(fmt.Errorf("%s=%s: %w", name, v, err))
		}
	}
	return o, nil
}
