package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// A Form is the input of operations that take the same fields as a multipart
// form, a URL-encoded form, JSON, or in the query, with names in any case.
type Form[T any] struct {
	RawBody     []byte `contentType:"multipart/form-data"`
	ContentType string `header:"Content-Type"`
	query       url.Values
}

// Resolve keeps the query: which names count, the fields say.
func (f *Form[T]) Resolve(ctx huma.Context) []error {
	at := ctx.URL()
	f.query = at.Query()
	return nil
}

// takesForm documents the fields of T as the operation's body, and leaves their
// reading to Form.read.
func takesForm[T any](a *API) func(*huma.Operation) {
	return func(op *huma.Operation) {
		s := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, op.OperationID+"Fields")
		body := &huma.RequestBody{Content: map[string]*huma.MediaType{"multipart/form-data": {Schema: s}, "application/json": {Schema: s}}}
		op.RequestBody, op.SkipValidateBody = body, true
		a.after = append(a.after, func() { body.Required = false }) // the fields may stand in the query
	}
}

// readsItself leaves an operation's JSON to its function; s says what it is.
func (a *API) readsItself(s *huma.Schema, required bool) func(*huma.Operation) {
	return func(op *huma.Operation) {
		body := &huma.RequestBody{Content: map[string]*huma.MediaType{}}
		op.RequestBody, op.SkipValidateBody = body, true
		a.after = append(a.after, func() {
			body.Required = required
			body.Content["application/json"].Schema = s
		})
	}
}

// anyObject is the schema of somebody else's JSON.
func anyObject(about string) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: about}
}

// read returns the fields: those of the body win.
func (f *Form[T]) read(a *API) (v T, err error) {
	all := map[string]any{}
	for name, values := range f.query {
		all[strings.ToLower(name)] = values
	}
	body, err := f.body()
	if err != nil {
		return v, newProblem(http.StatusBadRequest, err.Error())
	}
	maps.Copy(all, body)
	object := map[string]any{}
	t := reflect.TypeFor[T]()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		value, ok := all[strings.ToLower(name)]
		if !ok || value == nil {
			continue
		}
		if object[name], err = fit(value, t.Field(i).Type); err != nil {
			return v, newProblem(http.StatusBadRequest, name+": "+err.Error())
		}
	}
	registry := a.huma.OpenAPI().Components.Schemas
	res := &huma.ValidateResult{}
	huma.Validate(registry, registry.Schema(t, true, ""), huma.NewPathBuffer([]byte{}, 0), huma.ModeWriteToServer, object, res)
	if len(res.Errors) > 0 {
		return v, newError(http.StatusUnprocessableEntity, "validation failed", res.Errors...)
	}
	data, err := json.Marshal(object)
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		return v, newProblem(http.StatusBadRequest, "the fields cannot be read")
	}
	return v, nil
}

// body reads the body's fields by name in lower case.
func (f *Form[T]) body() (map[string]any, error) {
	all := map[string]any{}
	if len(bytes.TrimSpace(f.RawBody)) == 0 {
		return all, nil
	}
	kind, params, err := mime.ParseMediaType(f.ContentType)
	if err != nil {
		kind = "application/json"
	}
	switch kind {
	case "multipart/form-data":
		return readParts(f.RawBody, params["boundary"])
	case "application/x-www-form-urlencoded":
		values, err := url.ParseQuery(string(f.RawBody))
		for name, v := range values {
			all[strings.ToLower(name)] = v
		}
		return all, err
	}
	var object map[string]any
	d := json.NewDecoder(bytes.NewReader(f.RawBody))
	d.UseNumber()
	if err := d.Decode(&object); err != nil {
		return nil, errors.New("the body is neither a form nor a JSON object")
	}
	for name, v := range object {
		all[strings.ToLower(name)] = v
	}
	return all, nil
}

// maxParts bounds the parts of a form.
const maxParts = 1000

// readParts reads a multipart form; the body is bounded already.
func readParts(body []byte, boundary string) (map[string]any, error) {
	all := map[string]any{}
	r := multipart.NewReader(bytes.NewReader(body), boundary)
	for n := 0; ; n++ {
		part, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil || n == maxParts {
			return nil, errors.New("the multipart form is broken")
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return nil, errors.New("the multipart form is broken")
		}
		name := strings.TrimSuffix(strings.ToLower(part.FormName()), "[]")
		before, _ := all[name].([]string)
		all[name] = append(before, string(data))
	}
}

// fit turns a value into what a field of type t is read from: texts are told
// apart by the field alone, and a JSON object where a text is wanted is its text.
func fit(value any, t reflect.Type) (any, error) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	texts, plain := value.([]string)
	switch {
	case t == reflect.TypeFor[[]byte]() && plain && len(texts) > 0: // a file; JSON has it in base64
		return base64.StdEncoding.EncodeToString([]byte(texts[0])), nil
	case t == reflect.TypeFor[[]byte]():
		return value, nil
	case t.Kind() == reflect.Slice && plain:
		list := []any{}
		for _, s := range texts {
			for one := range strings.SplitSeq(s, ",") {
				if one = strings.TrimSpace(one); one != "" {
					list = append(list, one)
				}
			}
		}
		return list, nil
	case plain && len(texts) == 0:
		return nil, errors.New("no value")
	case t.Kind() == reflect.Bool && plain:
		b, err := strconv.ParseBool(strings.TrimSpace(texts[0]))
		if err != nil {
			return nil, errors.New("want true or false")
		}
		return b, nil
	case plain:
		return texts[0], nil
	case t.Kind() != reflect.String:
		return value, nil
	}
	switch v := value.(type) {
	case json.Number:
		return v.String(), nil
	case map[string]any:
		b, err := json.Marshal(v)
		return string(b), err
	case string:
		return v, nil
	}
	return nil, fmt.Errorf("want a string")
}
