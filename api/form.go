package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// A Form is an input that callers write in several ways: a form with files, a
// plain form, JSON, or the query. Names count whatever their case; what stands
// in the body is stronger than the query.
type Form struct {
	values map[string][]string // by lower case
	files  map[string][]byte
}

// A field is a part of a form, for the document.
type field struct {
	name   string
	kind   string // string, boolean, integer, array, binary
	needed bool
}

// maxFields bounds what a form may hold.
const maxFields = 200

var errForm = errors.New("the form cannot be read")

// Resolve reads the request: huma calls it.
func (f *Form) Resolve(ctx huma.Context) []error {
	f.values, f.files = map[string][]string{}, map[string][]byte{}
	u := ctx.URL()
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return []error{fmt.Errorf("%w: %w", errForm, err)}
	}
	f.take(query)
	limit := ctx.Operation().MaxBodyBytes
	data, err := io.ReadAll(io.LimitReader(ctx.BodyReader(), limit+1))
	switch {
	case err != nil:
		return []error{fmt.Errorf("%w: %w", errForm, err)}
	case int64(len(data)) > limit:
		return []error{newProblem(413, fmt.Sprintf("the body has more than %d bytes", limit))}
	case len(data) == 0:
		return nil
	}
	kind, params, err := mime.ParseMediaType(ctx.Header("Content-Type"))
	if err != nil {
		return []error{fmt.Errorf("%w: no content type", errForm)}
	}
	switch kind {
	case "multipart/form-data":
		err = f.multipart(data, params["boundary"])
	case "application/x-www-form-urlencoded":
		var v url.Values
		if v, err = url.ParseQuery(string(data)); err == nil {
			f.take(v)
		}
	default:
		err = f.json(data)
	}
	if err == nil && len(f.values)+len(f.files) > maxFields {
		err = errors.New("too many fields")
	}
	if err != nil {
		return []error{fmt.Errorf("%w: %w", errForm, err)}
	}
	return nil
}

func (f *Form) take(v url.Values) {
	for name, values := range v {
		f.values[strings.ToLower(name)] = values
	}
}

func (f *Form) multipart(data []byte, boundary string) error {
	if boundary == "" {
		return errors.New("no boundary")
	}
	r := multipart.NewReader(bytes.NewReader(data), boundary)
	seen := map[string]bool{}
	for n := 0; ; n++ {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n >= maxFields {
			return errors.New("too many fields")
		}
		content, err := io.ReadAll(p) // the whole body is bounded already
		if err != nil {
			return err
		}
		name := strings.ToLower(strings.TrimSuffix(p.FormName(), "[]"))
		if p.FileName() != "" {
			f.files[name] = content
			continue
		}
		if !seen[name] {
			seen[name], f.values[name] = true, nil
		}
		f.values[name] = append(f.values[name], string(content))
	}
}

// json reads an object: its numbers and truths as text, objects in it as JSON,
// the content of files in base64.
func (f *Form) json(data []byte) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return err
	}
	for name, raw := range object {
		name = strings.ToLower(name)
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			list = []json.RawMessage{raw}
		}
		f.values[name] = nil
		for _, raw := range list {
			var s string
			switch {
			case string(raw) == "null":
				continue
			case json.Unmarshal(raw, &s) != nil:
				s = string(raw)
			}
			f.values[name] = append(f.values[name], s)
		}
	}
	return nil
}

// Has reports whether a field was sent.
func (f *Form) Has(name string) bool {
	_, ok := f.values[strings.ToLower(name)]
	return ok || f.files[strings.ToLower(name)] != nil
}

// Text returns a field's first value, "" if there is none.
func (f *Form) Text(name string) string {
	if v := f.values[strings.ToLower(name)]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// List returns a field's values; one value with commas is a list too.
func (f *Form) List(name string) (list []string) {
	v := f.values[strings.ToLower(name)]
	for _, s := range v {
		for _, part := range strings.Split(s, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
	}
	return list
}

// Truth reads a field that says yes or no; ok is false if it says neither.
func (f *Form) Truth(name string) (v, ok bool) {
	switch strings.ToLower(f.Text(name)) {
	case "true", "1", "on", "yes":
		return true, true
	case "false", "0", "off", "no":
		return false, true
	}
	return false, false
}

// File returns the content of a file, which JSON has in base64; nil if none was sent.
func (f *Form) File(name string) []byte {
	name = strings.ToLower(name)
	if b := f.files[name]; b != nil {
		return b
	}
	if s := f.Text(name); s != "" {
		if b, err := base64.StdEncoding.DecodeString(s); err == nil {
			return b
		}
		return []byte(s)
	}
	return nil
}

// formBody documents a form with files, and the same names in JSON.
func formBody(fields []field) *huma.RequestBody {
	object := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{}}
	for _, f := range fields {
		s := &huma.Schema{Type: huma.TypeString}
		switch f.kind {
		case "binary":
			s.Format = "binary"
		case "boolean", "integer":
			s.Type = f.kind
		case "array":
			s.Type, s.Items = huma.TypeArray, &huma.Schema{Type: huma.TypeString}
		}
		object.Properties[f.name] = s
		if f.needed {
			object.Required = append(object.Required, f.name)
		}
	}
	return &huma.RequestBody{Content: map[string]*huma.MediaType{"multipart/form-data": {Schema: object}, "application/json": {Schema: object}}}
}
