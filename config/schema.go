package config

import (
	"encoding/json"
	"reflect"
	"strconv"
)

// Patterns of what is written as text and read as something else. They are a
// little wider than the parsers.
const (
	durationPattern = `^(0|([0-9]+d)?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))*)$`
	sizePattern     = `^[0-9]+ *([KMGT]iB|[KMGT]B|B)?$`
	datePattern     = `^[0-9]{4}-[0-9]{2}-[0-9]{2}`
)

// Schema returns the JSON Schema (2020-12) of the file, indented. workflow is a
// value of the type that a workflow's section decodes into; its tags are read
// like those of this package.
func Schema(workflow any) []byte {
	s := schemer{section: reflect.TypeOf(workflow)}
	root := s.of(reflect.TypeFor[Config](), field{})
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Landwaiter configuration"
	data, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("config: " + err.Error()) // maps of text always marshal
	}
	return append(data, '\n')
}

type object = map[string]any

type schemer struct{ section reflect.Type }

func (s schemer) of(t reflect.Type, f field) object {
	o := s.value(t, f)
	if f.doc != "" {
		o["description"] = f.doc
	}
	return o
}

func (s schemer) value(t reflect.Type, f field) object {
	switch {
	case t == sectionType:
		o := s.value(s.section, f)
		o["required"] = []string{"name"}
		return o
	case t == secretType:
		return object{"type": []string{"string", "number", "boolean"}, "examples": []string{"env:NAME", "file:/etc/landwaiter/NAME", "credential:NAME"}}
	case t == durationType:
		// Of the numbers only 0 is a duration.
		return fallback(object{"type": []string{"string", "integer"}, "pattern": durationPattern, "minimum": 0, "maximum": 0}, f.fallback)
	case t == timeType:
		return object{"type": "string", "pattern": datePattern}
	case group(t):
		return s.group(t)
	}
	switch t.Kind() {
	case reflect.Map:
		o := object{"type": "object", "additionalProperties": s.value(t.Elem(), field{enum: f.enum})}
		if f.keys != nil {
			o["propertyNames"] = object{"enum": f.keys}
		}
		return nullable(o)
	case reflect.Slice:
		return nullable(object{"type": "array", "items": s.value(t.Elem(), field{enum: f.enum})})
	case reflect.Int64:
		return fallback(object{"type": []string{"integer", "string"}, "pattern": sizePattern, "minimum": 0}, f.fallback)
	case reflect.Int:
		return fallback(bounds(object{"type": "integer"}, f), f.fallback)
	case reflect.Float64:
		return fallback(bounds(object{"type": "number"}, f), f.fallback)
	case reflect.Bool:
		return object{"type": "boolean"}
	}
	o := object{"type": "string"}
	if f.enum != nil {
		o["enum"] = f.enum
	}
	if f.need {
		o["minLength"] = 1
	}
	return fallback(o, f.fallback)
}

func (s schemer) group(t reflect.Type) object {
	properties, required := object{}, []string{}
	for _, f := range fieldsOf(t) {
		properties[f.name] = s.of(t.Field(f.index).Type, f)
		if f.need {
			required = append(required, f.name)
		}
	}
	o := object{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		o["required"] = required
		return o
	}
	return nullable(o)
}

// nullable allows a key with nothing behind it, which the decoder reads as
// left out.
func nullable(o object) object {
	o["type"] = []any{o["type"], "null"}
	return o
}

func bounds(o object, f field) object {
	for name, bound := range map[string]string{"minimum": f.min, "maximum": f.max} {
		if n, err := strconv.ParseFloat(bound, 64); err == nil {
			o[name] = n
		}
	}
	return o
}

func fallback(o object, value string) object {
	if value == "" {
		return o
	}
	if n, err := strconv.Atoi(value); err == nil {
		o["default"] = n
	} else {
		o["default"] = value
	}
	return o
}
