package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"time"
)

// A Setting is one value of a configuration as it is shown.
type Setting struct {
	Path   string `json:"path"`
	Value  string `json:"value"` // secrets as ***, with their reference if they have one
	Origin string `json:"origin"`
}

// Show lists what is in force, and where each value came from, in the order of
// the schema. Values that are empty by default are left out.
func (c *Config) Show() []Setting {
	var out []Setting
	c.leaves(byIndex, func(path string, v reflect.Value) {
		o, known := c.origins[path]
		value := show(v)
		if ref := c.secrets[path]; ref != "" {
			value += " (" + ref + ")"
		}
		if value == "" && !known {
			return
		}
		if !known && c.origins[parent(path)].From == "file" && v.IsValid() && v.Type() == sectionType {
			o = c.origins[parent(path)]
		}
		out = append(out, Setting{path, value, o.String()})
	})
	return out
}

// A Change is a value that differs between two configurations.
type Change struct {
	Path string `json:"path"` // nouns by name: units[invoices].url
	Old  string `json:"old"`  // "" where it was not
	New  string `json:"new"`
}

// String returns "path: old → new".
func (ch Change) String() string { return fmt.Sprintf("%s: %q → %q", ch.Path, ch.Old, ch.New) }

// Diff lists what differs from old to new, by path. It is empty if a reload
// would change nothing; a secret whose value differs is listed, never shown.
func Diff(old, new *Config) []Change {
	was, is := old.flat(), new.flat()
	var out []Change
	for path, n := range is {
		if o, ok := was[path]; !ok || !o.same(n) {
			out = append(out, Change{path, o.shown, n.shown})
		}
	}
	for path, o := range was {
		if _, ok := is[path]; !ok {
			out = append(out, Change{path, o.shown, ""})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Path < out[j].Path })
	return out
}

type leaf struct {
	shown  string
	secret *Secret
}

func (l leaf) same(m leaf) bool {
	if l.secret != nil && m.secret != nil {
		return l.secret.Equal(*m.secret)
	}
	return l.shown == m.shown
}

func (c *Config) flat() map[string]leaf {
	out := map[string]leaf{}
	c.leaves(byName, func(path string, v reflect.Value) {
		l := leaf{shown: show(v)}
		if v.Type() == secretType {
			s := v.Interface().(Secret)
			l.secret = &s
		}
		if l.shown != "" {
			out[path] = l
		}
	})
	return out
}

func byIndex(i int, _ string) string { return strconv.Itoa(i) }

func byName(i int, name string) string {
	if name == "" {
		return strconv.Itoa(i)
	}
	return name
}

// leaves calls yield with each single value of c.
func (c *Config) leaves(label func(i int, name string) string, yield func(path string, v reflect.Value)) {
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		switch {
		case v.Type() == sectionType:
			yield(path, v)
		case group(v.Type()):
			for _, f := range fieldsOf(v.Type()) {
				walk(v.Field(f.index), join(path, f.name))
			}
		case v.Kind() == reflect.Map:
			keys := v.MapKeys()
			sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
			for _, k := range keys {
				walk(v.MapIndex(k), join(path, k.String()))
			}
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i), path+"["+label(i, nameOf(v.Index(i)))+"]")
			}
		default:
			yield(path, v)
		}
	}
	walk(reflect.ValueOf(c).Elem(), "")
}

// nameOf returns the Name of a noun, or "".
func nameOf(v reflect.Value) string {
	if v.Kind() == reflect.Struct {
		if f := v.FieldByName("Name"); f.IsValid() && f.Kind() == reflect.String {
			return f.String()
		}
	}
	return ""
}

// show writes a single value as the file would; "" where it is empty.
func show(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		if x == 0 {
			return ""
		}
		return FormatDuration(x)
	case Section:
		data, err := json.Marshal(x)
		if err != nil {
			return err.Error()
		}
		return string(data)
	case bool:
		if !x {
			return ""
		}
	case float64:
		if x == 0 {
			return ""
		}
		return strconv.FormatFloat(x, 'g', -1, 64)
	case int:
		if x == 0 {
			return ""
		}
	case Size:
		if x == 0 {
			return ""
		}
	}
	return fmt.Sprint(v.Interface())
}

// Origin returns where the value at path comes from: "default" if nobody chose it.
func (c *Config) Origin(path string) Origin {
	if o, ok := c.origins[path]; ok {
		return o
	}
	return Origin{From: "default"}
}
