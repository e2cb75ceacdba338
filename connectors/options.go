package connectors

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A Location is a unit's URL taken apart: SCHEME://HOST/PATH?NAME=VALUE, with the
// unit's options in Values, which win.
type Location struct {
	Host, Path string
	Values     map[string]string
}

// Locate takes the unit's URL apart. want is what is said of a URL of another
// shape. What is secret may not stand in the URL, which is shown.
func (u Unit) Locate(scheme, want string, secret func(name string) bool) (Location, error) {
	loc, err := url.Parse(u.URL)
	if err != nil {
		return Location{}, err
	}
	if loc.Scheme != scheme || loc.Host == "" || loc.User != nil || loc.Fragment != "" {
		return Location{}, errors.New(want)
	}
	query, err := url.ParseQuery(loc.RawQuery)
	if err != nil {
		return Location{}, err
	}
	p := Location{Host: loc.Host, Path: loc.Path, Values: make(map[string]string)}
	for name, v := range query {
		if secret(name) {
			return Location{}, &OptionError{Name: name, Err: errors.New("must not stand in the URL, which is shown: make it an option")}
		}
		p.Values[name] = v[len(v)-1]
	}
	maps.Copy(p.Values, u.Options)
	return p, nil
}

// Root is what every key of a unit in the folder path begins with: "" or "…/".
func Root(path string) string {
	if path = strings.Trim(path, "/"); path != "" {
		path += "/"
	}
	return path
}

// An Option takes the value of an option.
type Option func(value string) error

// Text is an Option that is taken as it is.
func Text(p *string) Option {
	return func(v string) error { *p = v; return nil }
}

// Flag is an Option that is true or false.
func Flag(p *bool) Option {
	return func(v string) (err error) {
		if *p, err = strconv.ParseBool(v); err != nil {
			return errors.New("want true or false")
		}
		return nil
	}
}

// SetOptions gives values to the options of their names. What is wrong with
// them, names that are not known included, is an OptionError each.
func SetOptions(values map[string]string, known map[string]Option) (errs []error) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		var err error
		if set, ok := known[name]; ok {
			err = set(values[name])
		} else {
			err = fmt.Errorf("unknown option; known: %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		if err != nil {
			errs = append(errs, &OptionError{Name: name, Err: err})
		}
	}
	return errs
}
