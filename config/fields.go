package config

import (
	"reflect"
	"strings"
	"time"
)

// A field is a struct field as its tags describe it:
//
//	yaml     the name in the file; fields without one are not part of it
//	doc      a sentence for the schema and the documentation
//	default  the value where nothing is written, as it would be written
//	enum     the words allowed, by commas (of the elements of a list or map)
//	keys     the names allowed in a map, by commas
//	min, max bounds of a number, size or duration, as they would be written
//	need     "yes": must be written and not empty
type field struct {
	index    int
	name     string
	doc      string
	fallback string
	enum     []string
	keys     []string
	min, max string
	need     bool
}

func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "" || name == "-" {
			continue
		}
		fields = append(fields, field{
			index: i, name: name,
			doc:      f.Tag.Get("doc"),
			fallback: f.Tag.Get("default"),
			enum:     words(f.Tag.Get("enum")),
			keys:     words(f.Tag.Get("keys")),
			min:      f.Tag.Get("min"),
			max:      f.Tag.Get("max"),
			need:     f.Tag.Get("need") == "yes",
		})
	}
	return fields
}

func words(tag string) []string {
	if tag == "" {
		return nil
	}
	return strings.Split(tag, ",")
}

// The types that are one value though Go makes them of several.
var (
	secretType   = reflect.TypeFor[Secret]()
	sectionType  = reflect.TypeFor[Section]()
	durationType = reflect.TypeFor[time.Duration]()
	timeType     = reflect.TypeFor[time.Time]()
)

// group reports whether t is a struct of settings, not a value.
func group(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != secretType && t != sectionType && t != timeType
}

// preset writes the defaults of the tags into v.
func preset(v reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		fv := v.Field(f.index)
		if group(fv.Type()) {
			preset(fv)
			continue
		}
		if f.fallback != "" {
			if err := setScalar(fv, &node{shape: untyped, text: f.fallback}, f); err != nil {
				panic("config: default of " + f.name + ": " + err.Error()) // a bug that any test finds
			}
		}
	}
}
