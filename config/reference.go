package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Reference returns the settings as a Markdown table, for the documentation:
// what the tags say, and nothing else.
func Reference() string {
	var b strings.Builder
	b.WriteString("| key | type | default | what it is |\n|---|---|---|---|\n")
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		for _, f := range fieldsOf(t) {
			ft, at := t.Field(f.index).Type, join(path, f.name)
			element := ft
			if ft.Kind() == reflect.Slice {
				element, at = ft.Elem(), at+"[]"
			}
			kind := describe(ft, f)
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", at, kind, code(f.fallback), f.doc)
			if group(element) {
				walk(element, at)
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
	return strings.ReplaceAll(b.String(), `"`, "")
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func describe(t reflect.Type, f field) string {
	switch {
	case len(f.enum) > 0:
		return strings.Join(f.enum, ", ")
	case t == durationType:
		return "duration"
	case t == secretType:
		return "secret"
	case t == reflect.TypeFor[[]Section]():
		return "list"
	case group(t):
		return "section"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list"
	case reflect.Map:
		return "map of secrets"
	case reflect.Int64:
		return "size"
	case reflect.Int, reflect.Float64:
		return "number"
	case reflect.Bool:
		return "boolean"
	}
	return "text"
}
