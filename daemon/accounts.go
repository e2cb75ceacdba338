package daemon

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
)

// discoverWithin bounds one look at an account.
const discoverWithin = time.Minute

// Inherit gives a unit what its account says and it does not say itself: query
// parameters of the URL, and options.
func Inherit(u connectors.Unit, account string, options map[string]string) connectors.Unit {
	own, err := url.Parse(u.URL)
	base, berr := url.Parse(account)
	if err != nil || berr != nil {
		return u // whoever opens it says what is wrong
	}
	q := base.Query()
	q.Del("project") // of the account, not of a place in it
	maps.Copy(q, own.Query())
	own.RawQuery = q.Encode()
	u.URL = own.String()
	o := maps.Clone(options)
	if o == nil {
		o = map[string]string{}
	}
	maps.Copy(o, u.Options)
	u.Options = o
	return u
}

// accountOf finds an account by name; "" is none.
func accountOf(c *config.Config, name string) (config.Account, bool) {
	i := slices.IndexFunc(c.Accounts, func(a config.Account) bool { return a.Name == name })
	if i < 0 {
		return config.Account{}, false
	}
	return c.Accounts[i], true
}

// discovery is what was found with accounts, by account.
type discovery map[string][]connectors.Found

// units returns the places that were discovered and are no unit of the
// configuration, nor a part of one, nor the other way round.
func (f discovery) units(c *config.Config, configured []connectors.Unit) []config.Unit {
	var list []config.Unit
	taken := map[string]bool{}
	for _, u := range configured {
		taken[u.Name] = true
	}
	for _, a := range c.Accounts {
		for _, place := range f[a.Name] {
			u := config.Unit{Name: unitName(a.Name, place.Name), URL: place.URL, Account: a.Name, Workflow: a.Discover.Workflow, Versions: "current"}
			at := connectors.Unit{Name: u.Name, URL: u.URL}
			if taken[u.Name] || !a.Discover.Takes(place.Name) || connectors.Overlap(append(slices.Clip(configured), at)) != nil {
				continue
			}
			taken[u.Name] = true
			configured = append(configured, at)
			list = append(list, u)
		}
	}
	return list
}

// unitName is the name of a discovered unit: ACCOUNT.PLACE in the letters that
// names may have.
func unitName(account, place string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, place)
	return account + "." + clean
}

// discover asks every account that wants it, at once and then at its interval,
// and serves what is new. What cannot be asked now keeps the units it had; what
// is not there any more is disabled, and its story stays.
func (d *Daemon) discover(ctx context.Context) error {
	var g errgroup.Group
	for _, a := range d.o.Config.Accounts {
		if len(a.Discover.Include) == 0 {
			continue
		}
		g.Go(func() error {
			for {
				if err := d.ask(ctx, a); err != nil && ctx.Err() == nil {
					d.log.Warn("an account cannot be asked for its places: they stay as they were", "account", a.Name, "err", err)
				}
				if err := sleep(ctx, a.Discover.Every); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

// ask lists the places of one account and applies what is other than before.
func (d *Daemon) ask(ctx context.Context, a config.Account) error {
	lctx, cancel := context.WithTimeout(ctx, discoverWithin)
	defer cancel()
	list, err := all.Discover(lctx, connectors.Unit{Name: a.Name, URL: a.URL, Options: reveal(a.Options)})
	if err != nil {
		return err
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	old, known := d.found[a.Name]
	if known && slices.Equal(old, list) {
		return nil
	}
	d.found[a.Name] = list
	if err := d.applyLocked(ctx, d.current); err != nil {
		if known {
			d.found[a.Name] = old
		} else {
			delete(d.found, a.Name)
		}
		return err
	}
	d.log.Info("discovered", "account", a.Name, "places", len(list), "units", len(d.list()))
	return nil
}
