package config

import (
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

func (v *validator) workflowNames() []string {
	names := []string{Default, Quarantine}
	for _, w := range v.c.Workflows {
		names = append(names, w.Name)
	}
	return names
}

func (v *validator) accounts() {
	names, workflows := make([]string, len(v.c.Accounts)), v.workflowNames()
	for i, a := range v.c.Accounts {
		at := accountPath(i)
		names[i] = a.Name
		v.address(at+".url", a.URL, v.o.Storages)
		if w := a.Discover.Workflow; w != "" && !contains(workflows, w) {
			v.add(at+".discover.workflow", suggest(w, workflows), "there is no workflow %s", quote(w))
		}
		for list, globs := range map[string][]string{"include": a.Discover.Include, "exclude": a.Discover.Exclude} {
			for j, g := range globs {
				if _, err := path.Match(g, ""); err != nil || g == "" {
					v.add(at+".discover."+list+"["+strconv.Itoa(j)+"]", "* stands for any letters, ? for one", "%s is not a pattern", quote(g))
				}
			}
		}
	}
	v.names(names, accountPath)
}

// account checks that the account of a unit is there and of its vendor.
func (v *validator) account(at string, u Unit, place *url.URL) {
	if u.Account == "" {
		return
	}
	names := []string{}
	for _, a := range v.c.Accounts {
		if a.Name != u.Account {
			names = append(names, a.Name)
			continue
		}
		if scheme, _, _ := strings.Cut(a.URL, ":"); place != nil && place.Scheme != scheme {
			v.add(at+".account", "", "the account %s is of %s, not of %s", quote(a.Name), scheme, place.Scheme)
		}
		return
	}
	v.add(at+".account", suggest(u.Account, names), "there is no account %s", quote(u.Account))
}

// events checks sources and hooks, which share their names.
func (v *validator) events() {
	units := []string{}
	for _, u := range v.c.Units {
		units = append(units, u.Name)
	}
	of := func(at string, named []string) {
		for j, u := range named {
			if !contains(units, u) && !v.discovers(u) {
				v.add(at+".units["+strconv.Itoa(j)+"]", suggest(u, units), "there is no unit %s", quote(u))
			}
		}
	}
	names := make([]string, 0, len(v.c.Sources)+len(v.c.Hooks))
	for i, s := range v.c.Sources {
		names = append(names, s.Name)
		v.address(sourcePath(i)+".url", s.URL, v.o.Sources)
		of(sourcePath(i), s.Units)
	}
	for i, h := range v.c.Hooks {
		names = append(names, h.Name)
		of(hookPath(i), h.Units)
	}
	v.names(names, func(i int) string {
		if i < len(v.c.Sources) {
			return sourcePath(i)
		}
		return hookPath(i - len(v.c.Sources))
	})
}

// discovers says whether a unit of that name may be found with an account.
func (v *validator) discovers(unit string) bool {
	return slices.ContainsFunc(v.c.Accounts, func(a Account) bool {
		return len(a.Discover.Include) > 0 && strings.HasPrefix(unit, a.Name+".")
	})
}

// Takes says whether a place of that name becomes a unit.
func (d Discover) Takes(name string) bool {
	matches := func(globs []string) bool {
		return slices.ContainsFunc(globs, func(g string) bool {
			ok, err := path.Match(g, name)
			return ok && err == nil
		})
	}
	return matches(d.Include) && !matches(d.Exclude)
}
