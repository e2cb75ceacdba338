package daemon

import (
	"context"
	"reflect"
	"slices"
	"strings"

	"github.com/landwaiter/landwaiter/config"
)

// Reload reads the configuration again and serves what it says: all or
// nothing. Store and listener need a restart; that is said in the log.
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
		{"data", old.Data == c.Data}, {"server", reflect.DeepEqual(old.Server, c.Server)}, {"log", old.Log == c.Log}, {"sandbox", old.Sandbox == c.Sandbox},
		{"store", old.Store.DSN.Equal(c.Store.DSN)}, {"bounds", old.Bounds == c.Bounds},
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
