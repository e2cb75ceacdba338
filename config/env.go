package config

import (
	"errors"
	"reflect"
	"strings"
)

// Prefix begins the name of every variable that is a setting:
// LANDWAITER_SERVER_LISTEN is server.listen.
const Prefix = "LANDWAITER_"

// Variables that begin with Prefix and are no settings: those of the command
// line, and what Kubernetes sets in every pod beside a service named landwaiter.
var notSettings = []string{"LANDWAITER_CONFIG", "LANDWAITER_OUTPUT", "LANDWAITER_PORT*", "LANDWAITER_SERVICE_*", "LANDWAITER_BOX*", "LANDWAITER_TEST*"}

// A setting is a single value of the configuration that a variable or a flag
// may override: all but units, pools and workflows.
type setting struct {
	path  string
	value reflect.Value
	field field
}

// Variable returns the name of the variable for the setting at path.
func Variable(path string) string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// settings lists the settings of c, in the order of the schema.
func (c *Config) settings() []setting {
	var out []setting
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		for _, f := range fieldsOf(v.Type()) {
			fv, at := v.Field(f.index), join(path, f.name)
			switch {
			case group(fv.Type()):
				walk(fv, at)
			case shapeOf(fv.Type()) == text:
				out = append(out, setting{at, fv, f})
			}
		}
	}
	walk(reflect.ValueOf(c).Elem(), "")
	return out
}

// variables turns NAME=value pairs into a map; the last of a name wins.
func variables(env []string) map[string]string {
	vars := make(map[string]string, len(env))
	for _, pair := range env {
		if name, value, ok := strings.Cut(pair, "="); ok {
			vars[name] = value
		}
	}
	return vars
}

// environment overrides settings by variables. One that begins like a setting
// and is none is a problem, as an unknown key is; an empty one counts as unset.
func (c *Config) environment(env []string, problems *Problems) {
	settings := c.settings()
	byName, names := map[string]setting{}, make([]string, len(settings))
	for i, s := range settings {
		names[i] = Variable(s.path)
		byName[names[i]] = s
	}
	vars, seen := variables(env), map[string]bool{}
	for _, pair := range env { // in the order given, so that problems are too
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, Prefix) || seen[name] || vars[name] == "" || notSetting(name) {
			continue
		}
		seen[name] = true
		s, ok := byName[name]
		if !ok {
			hint := ""
			if near := nearest(name, names); near != "" {
				hint = "did you mean " + near + "?"
			}
			problems.add(Problem{From: name, Message: "no such setting", Hint: hint})
			continue
		}
		c.set(s, vars[name], Origin{From: "env", Name: name}, problems)
	}
}

func notSetting(name string) bool {
	for _, pattern := range notSettings {
		stem, wild := strings.CutSuffix(pattern, "*")
		if name == stem || wild && strings.HasPrefix(name, stem) {
			return true
		}
	}
	return false
}

// override sets what flags say.
func (c *Config) override(set []Override, problems *Problems) {
	byPath, paths := map[string]setting{}, []string{}
	for _, s := range c.settings() {
		byPath[s.path] = s
		paths = append(paths, s.path)
	}
	for _, o := range set {
		s, ok := byPath[o.Path]
		if !ok {
			problems.add(Problem{From: o.Flag, Path: o.Path, Message: "no such setting", Hint: suggest(o.Path, paths)})
			continue
		}
		c.set(s, o.Value, Origin{From: "flag", Name: o.Flag}, problems)
	}
}

func (c *Config) set(s setting, value string, from Origin, problems *Problems) {
	if err := setScalar(s.value, &node{shape: untyped, text: value}, s.field); err != nil {
		p := Problem{From: from.Name, Path: s.path, Message: err.Error()}
		var r *refusal
		if errors.As(err, &r) {
			p.Message, p.Hint = r.message, r.hint
		}
		problems.add(p)
		return
	}
	c.origins[s.path] = from
}
