package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/daemon"
	"github.com/landwaiter/landwaiter/events"
	sources "github.com/landwaiter/landwaiter/events/all"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/output"
	engines "github.com/landwaiter/landwaiter/scan/all"
	"github.com/landwaiter/landwaiter/scan/mdcore"
	"github.com/landwaiter/landwaiter/webhook"
)

// vendors has the vendors' own packages look at what config only carries: the
// URLs and options of units and engines. Nobody is talked to, and secrets that
// were not resolved count as given. What is wrong comes as config.Problems with
// its place in the file.
func vendors(ctx context.Context, c *config.Config) error {
	var problems config.Problems
	wrong := func(at, of string, options map[string]config.Secret, err error) {
		for _, err := range unjoin(err) {
			place := at + of
			option := new(connectors.OptionError)
			if errors.As(err, &option) {
				if s, ok := options[option.Name]; ok {
					if unresolved(s) {
						continue // its form cannot be told before it is read
					}
					place = at + ".options." + option.Name
				}
			} else if len(options) > 0 {
				place = at + ".options"
			}
			problems = append(problems, c.Problem(place, reason(err), ""))
		}
	}
	for i, u := range c.Units {
		unit := connectors.Unit{Name: u.Name, URL: u.URL, Options: allGiven(u.Options)}
		for _, a := range c.Accounts {
			if a.Name == u.Account {
				unit = daemon.Inherit(unit, a.URL, allGiven(a.Options))
			}
		}
		wrong("units["+strconv.Itoa(i)+"]", ".url", u.Options, all.Check(unit))
	}
	for i, a := range c.Accounts {
		err := all.CheckAccount(connectors.Unit{Name: a.Name, URL: a.URL, Options: allGiven(a.Options)})
		wrong("accounts["+strconv.Itoa(i)+"]", ".url", a.Options, err)
	}
	for i, s := range c.Sources {
		err := sources.Check(events.Options{Name: s.Name, URL: s.URL, Options: allGiven(s.Options)})
		wrong("sources["+strconv.Itoa(i)+"]", ".url", s.Options, err)
	}
	for i, h := range c.Hooks {
		err := webhook.Check(webhook.Hook{Name: h.Name, Kind: h.Kind, Options: allGiven(h.Options)})
		wrong("hooks["+strconv.Itoa(i)+"]", ".kind", h.Options, err)
	}
	for i, p := range c.Pools {
		for j, in := range p.Instances {
			err := engines.Check(ctx, in.URL, engines.Options{MDCore: mdcore.Options{APIKey: given("", in.APIKey), User: in.User,
				Password: given("", in.Password), Rule: in.Rule}})
			if err != nil {
				problems = append(problems, c.Problem("pools["+strconv.Itoa(i)+"].instances["+strconv.Itoa(j)+"].url", reason(err), ""))
			}
		}
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

func allGiven(options map[string]config.Secret) map[string]string {
	m := make(map[string]string, len(options))
	for name, s := range options {
		m[name] = given(name, s)
	}
	return m
}

// unresolved says whether a secret is a reference that was not followed.
func unresolved(s config.Secret) bool { return s.Reveal() == "" && s.Ref() != "" }

// given is the value of a secret, or where it was not resolved something that is
// well formed.
func given(name string, s config.Secret) string {
	switch {
	case !s.IsSet():
		return ""
	case s.Reveal() != "" || s.Ref() == "":
		return s.Reveal()
	case name == "endpoint":
		return "https://unknown"
	}
	return "1" // a text, a number, and true
}

// unjoin takes joined errors apart, below the fault that carries them.
func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		if joined, ok := inner.(interface{ Unwrap() []error }); ok {
			return joined.Unwrap()
		}
	}
	return []error{err}
}

// reason is what went wrong underneath, without the method that found it.
func reason(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && f.Err != nil {
		err = f.Err
	}
	return output.Escape(err.Error())
}
