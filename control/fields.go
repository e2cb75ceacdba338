package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/landwaiter/landwaiter/fault"
)

// fields are what a storage's credentials or source say: names in lower case.
type fields map[string]string

// maxFields bounds the text of credentials or of a source, in bytes.
const maxFields = 64 << 10

// credentialsFile is the field that holds an uploaded file.
const credentialsFile = "credentialsfile"

// parseFields reads a JSON object of texts, flags and nulls: a null or an empty
// text says nothing. what names it in errors, which never show what it holds.
func parseFields(what, text string) (fields, error) {
	f := fields{}
	text = strings.TrimSpace(text)
	if text == "" {
		return f, nil
	}
	wrong := func(why string) error {
		return fault.New(fault.Invalid, "control.Storage", "", errors.New(what+": "+why))
	}
	if len(text) > maxFields {
		return nil, wrong("too long")
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		return nil, wrong("want a string that holds a JSON object")
	}
	for name, raw := range object {
		var s string
		var b bool
		switch key := strings.ToLower(name); {
		case bytes.Equal(raw, []byte("null")):
		case json.Unmarshal(raw, &s) == nil:
			if s != "" {
				f[key] = s
			}
		case json.Unmarshal(raw, &b) == nil:
			f[key] = strconv.FormatBool(b)
		default:
			return nil, wrong(cut(name, 40) + " is neither a string nor true or false")
		}
	}
	return f, nil
}

// flag reads a field that is true or false; absent is false.
func (f fields) flag(name string) bool { return strings.EqualFold(f[strings.ToLower(name)], "true") }

// get reads a field by its name in any case, without spaces around it.
func (f fields) get(name string) string { return strings.TrimSpace(f[strings.ToLower(name)]) }

// need is get for what must be there.
func (f fields) need(name string) (string, error) {
	v := f.get(name)
	if v == "" {
		return "", wrongField(name, "is needed")
	}
	return v, nil
}

// over returns f with what g says in place of its own.
func (f fields) over(g fields) fields {
	all := fields{}
	maps.Copy(all, f)
	maps.Copy(all, g)
	return all
}

// without returns f without the names.
func (f fields) without(names []string) fields {
	all := maps.Clone(f)
	for _, n := range names {
		delete(all, strings.ToLower(n))
	}
	return all
}

// hasAny reports whether f says one of the names.
func (f fields) hasAny(names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return f.get(n) != "" })
}

// sealFields seals credentials as they were given, openFields reads them again.
func (c *Control) sealFields(place string, f fields) string {
	b, _ := json.Marshal(f) // strings cannot fail
	return c.Seal.Seal(place, string(b))
}

func (c *Control) openFields(place, sealed string) (fields, error) {
	f := fields{}
	if sealed == "" {
		return f, nil
	}
	text, err := c.Seal.Open(place, sealed)
	if err == nil {
		err = json.Unmarshal([]byte(text), &f)
	}
	if err != nil {
		return nil, fault.New(fault.Corrupt, "control", "credentials", err)
	}
	return f, nil
}
