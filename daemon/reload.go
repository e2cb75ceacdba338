package daemon

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/landwaiter/landwaiter/config"
)

// Reload reads the configuration again and serves what it says: all or
// nothing. Pools, store and listener need a restart; that is said in the log.
func (d *Daemon) Reload(ctx context.Context) error {
	c, err := d.o.Load()
	if err != nil {
		return err
	}
	c.Data = abs(c.Data)
	changed := restartOnly(d.o.Config, c)
	if len(changed) > 0 {
		d.log.Warn("these changes need a restart", "sections", changed)
	}
	if err := d.apply(ctx, c); err != nil {
		return err
	}
	if len(changed) > 0 {
		d.log.Warn("reloaded, except: "+strings.Join(changed, ", "), "units", len(d.list()))
	} else {
		d.log.Info("reloaded", "units", len(d.list()))
	}
	return nil
}

// restartOnly names the sections that differ and that a reload cannot change.
func restartOnly(old, c *config.Config) []string {
	var l []string
	for _, x := range []struct {
		name string
		same bool
	}{
		{"data", old.Data == c.Data}, {"server", old.Server.Listen == c.Server.Listen && slices.Equal(old.Server.AllowNetworks, c.Server.AllowNetworks)}, {"log", old.Log == c.Log}, {"sandbox", old.Sandbox == c.Sandbox},
		{"store", old.Store.DSN.Equal(c.Store.DSN)}, {"bounds", old.Bounds == c.Bounds}, {"pools", slices.Equal(plain(old.Pools), plain(c.Pools))},
		{"sources", equalIn(old.Sources, c.Sources, func(s config.Source) any { return []any{s.Name, s.URL, s.Units, reveal(s.Options)} })},
		{"hooks", equalIn(old.Hooks, c.Hooks, func(h config.Hook) any { return []any{h.Name, h.Kind, h.Units, reveal(h.Options)} })},
		{"accounts.discover", equalIn(old.Accounts, c.Accounts, func(a config.Account) any { return []any{a.Name, a.URL, a.Discover, reveal(a.Options)} })},
	} {
		if !x.same {
			l = append(l, x.name)
		}
	}
	return l
}

// equalIn compares what counts in two lists, secrets as text.
func equalIn[T any](a, b []T, counts func(T) any) bool {
	return slices.EqualFunc(a, b, func(x, y T) bool { return reflect.DeepEqual(counts(x), counts(y)) })
}

// plain is pools with their secrets as text, to be compared.
func plain(pools []config.Pool) []string {
	var l []string
	for _, p := range pools {
		l = append(l, fmt.Sprintf("%s %s %s %v", p.Name, p.Failover, p.MaxDefinitionsAge, p.AgeAsked))
		for _, in := range p.Instances {
			l = append(l, fmt.Sprintf("%s %d %s %s %s %s %s", in.URL, in.Limit, in.Rule, in.APIKey.Reveal(), in.User, in.Password.Reveal(), in.CAFile))
		}
	}
	return l
}
