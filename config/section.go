package config

import (
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
)

// A Section is a part of the file that another package decodes into a type of
// its own, as strictly as the rest and with the same places in its errors.
type Section struct {
	Name string // its name key
	path string
	node *node
	src  *source
}

// Decode writes the section into the struct that into points to; its yaml tags
// name the keys, the others (see field) give defaults, bounds and words. Then it
// calls into's Validate() error, if it has one, and gives what that says
// ("filters.include[0]: …", joined) its place. The error is Problems.
func (s Section) Decode(into any) error {
	v := reflect.ValueOf(into).Elem()
	preset(v)
	if s.node == nil {
		return nil
	}
	var problems Problems
	src := *s.src
	src.problems = &problems
	d := &decoder{src: &src}
	d.group(s.node, v, s.path)
	if checked, ok := into.(interface{ Validate() error }); ok && len(problems) == 0 {
		for _, err := range parts(checked.Validate()) {
			path, message, ok := strings.Cut(err.Error(), ": ")
			if !ok {
				path, message = "", err.Error()
			}
			at, full := s.find(path)
			src.problem(at.line, at.column, full, message, "")
		}
	}
	return problems.err()
}

// parts takes joined errors apart.
func parts(err error) []error {
	for err != nil {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			return joined.Unwrap()
		}
		next := errors.Unwrap(err)
		if next == nil {
			return []error{err}
		}
		err = next
	}
	return nil
}

// find returns the node at a path below the section and the whole path; where
// there is none, the last node on the way to it.
func (s Section) find(path string) (*node, string) {
	at := s.node
	if path == "" {
		return at, s.path
	}
	for _, name := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		next := at.get(name)
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(at.items) {
			next = at.items[i]
		}
		if next == nil {
			break
		}
		at = next
	}
	return at, s.path + "." + path
}

// section keeps n for the package that it belongs to.
func (d *decoder) section(n *node, v reflect.Value, path string) {
	s := Section{path: path, node: n, src: d.src}
	switch name := n.get("name"); {
	case name == nil || name.shape == null:
		d.problem(n, path, "name is missing", "")
	case name.shape != text:
		d.problem(name, join(path, "name"), "a text is wanted, not "+name.shape.String(), "put it in quotes")
	case name.text == "":
		d.problem(name, join(path, "name"), "is empty", "")
	default:
		s.Name = name.text
	}
	v.Set(reflect.ValueOf(s))
}

// references are the names that a workflow's section mentions: what config
// checks of it by itself. Everything else is checked by Decode.
type references struct {
	Name             string   `yaml:"name"`
	Pools            []string `yaml:"pools"`
	Failover         string   `yaml:"failover"`
	Sanitized        remedy   `yaml:"sanitized"`
	BlockedSanitized remedy   `yaml:"blocked_sanitized"`
	Blocked          remedy   `yaml:"blocked"`
	Allowed          remedy   `yaml:"allowed"`
}

type remedy struct {
	Destinations []struct {
		Unit string `yaml:"unit"`
	} `yaml:"destinations"`
}

// references reads them with their places by path.
func (s Section) references() (references, map[string]Origin) {
	var refs references
	places := map[string]Origin{}
	if s.node != nil {
		d := &decoder{src: s.src, origins: places, loose: true}
		d.group(s.node, reflect.ValueOf(&refs).Elem(), s.path)
	}
	return refs, places
}

// MarshalJSON shows the section as it was written.
func (s Section) MarshalJSON() ([]byte, error) { return json.Marshal(s.plain()) }

// MarshalYAML shows the section as it was written.
func (s Section) MarshalYAML() (any, error) { return s.plain(), nil }

func (s Section) plain() any {
	if s.node == nil {
		return map[string]any{"name": s.Name}
	}
	return s.node.plain()
}
