package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	vendors "github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/fault"
)

// discoverWithin bounds one look at an account, and discoverEvery is how often
// accounts of the API are asked.
const (
	discoverWithin = time.Minute
	discoverEvery  = 10 * time.Minute
)

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

// A skipped place is one that was found and becomes no unit.
type skipped struct {
	account, place string
	err            error
}

// units returns the places that were discovered and are no unit of the
// configuration, nor a part of one, nor the other way round; and those that
// should be units and cannot be.
func (f discovery) units(c *config.Config, configured []connectors.Unit) (list []config.Unit, not []skipped) {
	taken := map[string]bool{}
	for _, u := range configured {
		taken[u.Name] = true
	}
	all, from := slices.Clone(configured), make([]skipped, len(configured))
	var cand []config.Unit
	for _, a := range c.Accounts {
		for _, place := range f[a.Name] {
			if !a.Discover.Takes(place.Name) {
				continue
			}
			u := config.Unit{Name: unitName(a.Name, place.Name), URL: place.URL, Account: a.Name, Workflow: a.Discover.Workflow, Versions: "current"}
			cu := Inherit(connectors.Unit{Name: u.Name, URL: u.URL}, a.URL, reveal(a.Options))
			if err := vendors.Check(cu); err != nil {
				not = append(not, skipped{a.Name, place.Name, err})
				continue
			}
			if taken[u.Name] {
				not = append(not, skipped{a.Name, place.Name, fmt.Errorf("there is a unit %s already", u.Name)})
				continue
			}
			taken[u.Name] = true
			all, from, cand = append(all, cu), append(from, skipped{account: a.Name, place: place.Name}), append(cand, u)
		}
	}
	lost := map[int]bool{}
	for _, pair := range connectors.Overlaps(all) {
		if i := pair[1]; i >= len(configured) && !lost[i] && !lost[pair[0]] {
			lost[i] = true
			if pair[0] >= len(configured) { // of what is configured it is part on purpose
				not = append(not, skipped{from[i].account, from[i].place, fmt.Errorf("its place is that of unit %s", all[pair[0]].Name)})
			}
		}
	}
	for i, u := range cand {
		if !lost[len(configured)+i] {
			list = append(list, u)
		}
	}
	return list, not
}

// unitName is the name of a discovered unit: ACCOUNT.PLACE in the letters that
// names may have. A name that had to be changed for that ends in a part of its
// hash, so that two places never share one.
func unitName(account, place string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, place)
	if name := account + "." + clean; clean == place && len(name) <= maxUnitName {
		return name
	}
	sum := sha256.Sum256([]byte(account + "\x00" + place))
	end := "-" + hex.EncodeToString(sum[:5])
	name := account + "." + clean
	return name[:min(len(name), maxUnitName-len(end))] + end
}

// maxUnitName is what the configuration allows, in bytes.
const maxUnitName = 64

// placeName is the vendor's name of a unit that is all of a place.
func placeName(raw string) string {
	loc, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	if name := strings.Trim(loc.Path, "/"); name != "" {
		return name
	}
	return loc.Host
}

// recall takes what was discovered before this start from the ledger, so that it
// is served until its account answers.
func (d *Daemon) recall(ctx context.Context, c *config.Config) error {
	known, err := d.db.Units(ctx)
	if err != nil {
		return err
	}
	for _, a := range c.Accounts {
		if len(a.Discover.Include) == 0 {
			continue
		}
		for _, u := range known {
			name := placeName(u.URL)
			if u.Managed && !u.Disabled && name != "" && u.Name == unitName(a.Name, name) {
				d.found[a.Name] = append(d.found[a.Name], connectors.Found{Name: name, URL: u.URL})
			}
		}
	}
	return nil
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

// ask lists the places of one account and applies what is other than before. A
// listing that is empty all at once counts when it comes a second time.
func (d *Daemon) ask(ctx context.Context, a config.Account) (err error) {
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.unasked[a.Name] = err
	}()
	lctx, cancel := context.WithTimeout(ctx, discoverWithin)
	defer cancel()
	list, err := vendors.Discover(lctx, connectors.Unit{Name: a.Name, URL: a.URL, Options: reveal(a.Options)})
	if err != nil {
		return err
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	old, known := d.found[a.Name]
	if known && slices.Equal(old, list) {
		delete(d.emptied, a.Name)
		return nil
	}
	if len(list) == 0 && len(old) > 0 && !d.emptied[a.Name] {
		d.emptied[a.Name] = true
		return fault.New(fault.Unavailable, "daemon.Discover", a.Name, fmt.Errorf("it lists nothing, where there were %d places", len(old)))
	}
	delete(d.emptied, a.Name)
	d.found[a.Name] = list
	if err := d.applyLocked(ctx, d.current); err != nil {
		if known {
			d.found[a.Name] = old
		} else {
			delete(d.found, a.Name)
		}
		return err
	}
	d.log.Info("discovered", "account", a.Name, "places", len(list), "units", d.countOf(a.Name))
	return nil
}

// countOf counts the units that were discovered with an account.
func (d *Daemon) countOf(account string) (n int) {
	for _, u := range d.list() {
		if strings.HasPrefix(u.Name, account+".") {
			n++
		}
	}
	return n
}

// checkAccounts says which accounts could not be asked for their places.
func (d *Daemon) checkAccounts(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(d.unasked)) {
		if err := d.unasked[name]; err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
