package config

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
)

// An Origin says where a value came from.
type Origin struct {
	From   string `json:"from"`             // default, file, env, flag, code
	Name   string `json:"name,omitempty"`   // of the file, variable or flag
	Line   int    `json:"line,omitempty"`   // of the file
	Column int    `json:"column,omitempty"` // of the file
}

// String returns "default", "landwaiter.yaml:12", "LANDWAITER_DATA" or "--data".
func (o Origin) String() string {
	switch {
	case o.From == "":
		return "default"
	case o.Line > 0:
		return o.Name + ":" + strconv.Itoa(o.Line)
	case o.Name != "":
		return o.Name
	}
	return o.From
}

// A decoder writes nodes into Go values and notes where each came from.
type decoder struct {
	src     *source
	origins map[string]Origin
	loose   bool // skip what does not fit: another decoder will say so
}

func (d *decoder) problem(n *node, path, message, hint string) {
	if !d.loose {
		d.src.problem(n.line, n.column, path, message, hint)
	}
}

// decode writes n into v. Null leaves v as it is.
func (d *decoder) decode(n *node, v reflect.Value, path string, f field) {
	if n == nil || n.shape == null {
		return
	}
	if d.origins != nil {
		d.origins[path] = Origin{From: "file", Name: d.src.name, Line: n.line, Column: n.column}
	}
	want := shapeOf(v.Type())
	if want == mapping || want == list {
		if n.shape != want {
			d.problem(n, path, want.String()+" is wanted, not "+n.shape.String(), example(n, want))
			return
		}
	} else if n.shape == mapping || n.shape == list {
		d.problem(n, path, "one value is wanted, not "+n.shape.String(), "")
		return
	}
	switch {
	case v.Type() == sectionType:
		d.section(n, v, path)
	case group(v.Type()):
		d.group(n, v, path)
	case v.Kind() == reflect.Map:
		d.pairs(n, v, path, f)
	case v.Kind() == reflect.Slice:
		d.items(n, v, path, f)
	default:
		if err := setScalar(v, n, f); err != nil {
			d.refused(n, path, err)
		}
	}
}

func (d *decoder) refused(n *node, path string, err error) {
	var r *refusal
	if errors.As(err, &r) {
		d.problem(n, path, r.message, r.hint)
		return
	}
	d.problem(n, path, err.Error(), "")
}

// shapeOf is the shape that a value of type t has in the file; text stands for
// every scalar.
func shapeOf(t reflect.Type) shape {
	switch {
	case t == sectionType || group(t) || t.Kind() == reflect.Map:
		return mapping
	case t.Kind() == reflect.Slice:
		return list
	}
	return text
}

func example(n *node, want shape) string {
	if want == list && n.shape == text {
		return "write [" + printable(n.text) + "]"
	}
	if want == list && n.shape == mapping {
		return "begin each of its elements with a dash"
	}
	return ""
}

// group decodes a struct: a mapping whose names are known.
func (d *decoder) group(n *node, v reflect.Value, path string) {
	fields := fieldsOf(v.Type())
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	for _, p := range n.pairs {
		i := indexOf(names, p.name.text)
		if i < 0 {
			if !d.loose {
				d.src.unknown(p.name, join(path, p.name.text), "unknown key", suggest(p.name.text, names))
			}
			continue
		}
		d.decode(p.value, v.Field(fields[i].index), join(path, names[i]), fields[i])
	}
	for _, f := range fields {
		if !f.need || v.Field(f.index).String() != "" {
			continue
		}
		if at := n.get(f.name); at != nil && at.shape == text && at.text == "" {
			d.problem(at, join(path, f.name), "is empty", "")
		} else if at == nil || at.shape == null {
			d.problem(n, path, f.name+" is missing", "")
		}
	}
}

func (d *decoder) pairs(n *node, v reflect.Value, path string, f field) {
	v.Set(reflect.MakeMap(v.Type()))
	for _, p := range n.pairs {
		at := join(path, p.name.text)
		if len(f.keys) > 0 && !contains(f.keys, p.name.text) {
			d.problem(p.name, at, "unknown name", suggest(p.name.text, f.keys))
			continue
		}
		if p.value.shape == null {
			d.problem(p.name, at, "has no value", "")
			continue
		}
		value := reflect.New(v.Type().Elem()).Elem()
		d.decode(p.value, value, at, field{enum: f.enum})
		v.SetMapIndex(reflect.ValueOf(p.name.text).Convert(v.Type().Key()), value)
	}
}

func (d *decoder) items(n *node, v reflect.Value, path string, f field) {
	out := reflect.MakeSlice(v.Type(), 0, len(n.items))
	for i, item := range n.items {
		at := path + "[" + strconv.Itoa(i) + "]"
		value := reflect.New(v.Type().Elem()).Elem()
		if group(value.Type()) {
			preset(value)
		}
		if item.shape == null {
			d.problem(item, at, "an empty element", "remove its dash")
			continue
		}
		d.decode(item, value, at, field{enum: f.enum})
		out = reflect.Append(out, value)
	}
	v.Set(out)
}

func indexOf(list []string, s string) int {
	for i, e := range list {
		if e == s {
			return i
		}
	}
	return -1
}

// join makes the path of a key in a mapping. Names that would be mistaken for
// a path are quoted.
func join(path, name string) string {
	if name == "" || strings.ContainsAny(name, ".[]\" \t\n") {
		name = quote(name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}
