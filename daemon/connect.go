package daemon

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/pipeline"
)

// connect reaches storages for control.
type connect struct{ d *Daemon }

// Check says what is wrong with a unit by itself. A local folder must lie below
// one that the configuration file opens to the API, after links are followed.
func (c connect) Check(u connectors.Unit) error {
	if err := c.d.localAllowed(u); err != nil {
		return err
	}
	return all.Check(u)
}

// Try opens the unit and lists a first object of it; nothing is written.
func (c connect) Try(ctx context.Context, u connectors.Unit) error {
	driver, err := all.Open(ctx, u)
	if err != nil {
		return err
	}
	for _, lerr := range driver.List(ctx, "", "") {
		var gap *connectors.Gap
		if lerr != nil && !errors.As(lerr, &gap) {
			err = lerr
		}
		break
	}
	return errors.Join(err, driver.Close())
}

// Discover lists the places of an account.
func (c connect) Discover(ctx context.Context, account connectors.Unit) ([]connectors.Found, error) {
	if err := all.CheckAccount(account); err != nil {
		return nil, err
	}
	return all.Discover(ctx, account)
}

// localAllowed refuses local folders that are not below server.local_roots.
func (d *Daemon) localAllowed(u connectors.Unit) error {
	if s := all.Scheme(u.URL); s != "" && s != "file" {
		return nil
	}
	at, err := url.Parse(u.URL)
	if err != nil {
		return fault.New(fault.Invalid, "daemon.Local", u.Name, err)
	}
	refused := fault.New(fault.Denied, "daemon.Local", u.Name, errors.New("it is not below a folder that server.local_roots of the configuration file opens to the API"))
	path, err := filepath.EvalSymlinks(at.Path)
	if err != nil {
		return refused // what is there and what is not is no business of the caller
	}
	for _, root := range d.o.Config.Server.LocalRoots {
		real, err := filepath.EvalSymlinks(root)
		if err == nil && (path == real || strings.HasPrefix(path, strings.TrimSuffix(real, "/")+"/")) {
			return nil
		}
	}
	return refused
}

// hookOfAPI is the source of events that come by the API's webhook.
const hookOfAPI = hookSource + "realtime"

// hear writes an event that the API was told into the ledger, as the router does
// those of the vendors' own hooks. fault.Invalid if it is of no object of the unit.
func (d *Daemon) hear(ctx context.Context, u connectors.Unit, n events.Notice) (string, error) {
	for s, key := range d.indexed().find(&n) {
		if s.unit.ID != u.ID {
			continue
		}
		d.metrics.notice(hookOfAPI, true)
		if s.probed(key) {
			return key, nil
		}
		err := d.pipe.Offer(ctx, u.ID, hookOfAPI, []object.Event{eventOf(s.unit.Name, key, &n, pipeline.Told)})
		if full := (&fault.Error{}); fault.Is(err, fault.Throttled) && errors.As(err, &full) { // not the caller is too fast: we are too full
			err = &fault.Error{Op: "daemon.Hear", Kind: fault.Unavailable, After: full.After, Err: err}
		}
		return key, err
	}
	d.metrics.notice(hookOfAPI, false)
	return "", fault.New(fault.Invalid, "daemon.Hear", "", errors.New("the event is of no object of this storage"))
}

// autoDiscover lets accounts of the API find their new places, now and then.
func (d *Daemon) autoDiscover(ctx context.Context) error {
	for {
		if err := sleep(ctx, discoverEvery); err != nil {
			return err
		}
		if err := d.control.DiscoverAccounts(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("not every account could be asked for its places", "err", err)
		}
	}
}
