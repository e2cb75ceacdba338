package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sort"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// An operation is one that the OpenAPI document names.
type operation struct {
	method, path string
	ID           string                     `json:"operationId"`
	Permission   string                     `json:"x-permission"`
	Parameters   []parameter                `json:"parameters"`
	Body         *content                   `json:"requestBody"`
	Responses    map[string]json.RawMessage `json:"responses"`
}

type content struct {
	Content map[string]struct {
		Schema map[string]any `json:"schema"`
	} `json:"content"`
}

type parameter struct {
	Name     string         `json:"name"`
	In       string         `json:"in"`
	Required bool           `json:"required"`
	Schema   map[string]any `json:"schema"`
}

// A document is what the daemon says of its API.
type document struct {
	raw        []byte
	operations []operation
	schemas    map[string]map[string]any
	compiler   *jsonschema.Compiler
}

func (w *world) document() *document {
	w.t.Helper()
	resp, raw := (&client{w: w}).do("GET", "/api/openapi.json", nil)
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("the document: %s", resp.Status)
	}
	d := &document{raw: raw}
	var doc struct {
		Paths      map[string]map[string]operation `json:"paths"`
		Components struct {
			Schemas map[string]map[string]any `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		w.t.Fatal(err)
	}
	d.schemas = doc.Components.Schemas
	for path, methods := range doc.Paths {
		for method, op := range methods {
			op.method, op.path = strings.ToUpper(method), path
			d.operations = append(d.operations, op)
		}
	}
	sort.Slice(d.operations, func(i, j int) bool {
		a, b := d.operations[i], d.operations[j]
		return a.path+a.method < b.path+b.method
	})
	any, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		w.t.Fatal(err)
	}
	d.compiler = jsonschema.NewCompiler()
	if err := d.compiler.AddResource("doc.json", any); err != nil {
		w.t.Fatal(err)
	}
	return d
}

// streams are answered for as long as the caller stays.
func (op operation) streams() bool { return op.ID == "followEvents" }

// breaks says why an answer is not as the document says; "" if it is.
func (d *document) breaks(op operation, resp *http.Response, body []byte) string {
	status := fmt.Sprint(resp.StatusCode)
	raw, ok := op.Responses[status]
	if !ok {
		return "the document knows no status " + status
	}
	var r content
	if err := json.Unmarshal(raw, &r); err != nil {
		return err.Error()
	}
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if len(r.Content) == 0 {
		return ""
	}
	c, ok := r.Content[kind]
	if !ok {
		return "the document knows no content type " + kind
	}
	if kind != "application/json" || c.Schema == nil {
		return ""
	}
	ref, _ := c.Schema["$ref"].(string)
	if ref == "" {
		return ""
	}
	s, err := d.compiler.Compile("doc.json" + ref)
	if err != nil {
		return err.Error()
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err.Error()
	}
	if err := s.Validate(v); err != nil {
		return err.Error()
	}
	return ""
}

// url is the operation's path with what id gives for each parameter in it.
func (op operation) url(id func(name string) string) string {
	parts := strings.Split(op.path, "/")
	for i, p := range parts {
		if strings.HasPrefix(p, "{") {
			parts[i] = id(strings.Trim(p, "{}"))
		}
	}
	return strings.Join(parts, "/")
}

// unknown is an id of nothing, and a number where one is meant.
func unknown(name string) string {
	switch {
	case strings.EqualFold(name, "startIndex"), strings.EqualFold(name, "sortDirection"):
		return "0"
	case strings.EqualFold(name, "count"):
		return "10"
	}
	return "0198f02f-0000-7000-8000-00000000dead"
}

// A generator makes requests that the document allows, and some that are almost.
type generator struct {
	d *document
	r *rand.Rand
	t *testing.T
}

func (g *generator) resolve(s map[string]any) map[string]any {
	if ref, ok := s["$ref"].(string); ok {
		return g.d.schemas[ref[strings.LastIndexByte(ref, '/')+1:]]
	}
	return s
}

func number(s map[string]any, name string, def float64) float64 {
	if v, ok := s[name].(float64); ok {
		return v
	}
	return def
}

var oddTexts = []string{"", "a", "Ärger & Söhne", "' OR 1=1 --", "../../etc/passwd", "\x00", "\u202e", "{{7*7}}", "<script>alert(1)</script>", "%00%ff", "\\x00",
	"0198f02f-0000-7000-8000-000000000001", "2026-01-01T00:00:00Z", "9223372036854775808", "-1", "true", "null", "[]", "{}"}

func (g *generator) text(s map[string]any) string {
	if e, ok := s["enum"].([]any); ok && g.r.IntN(8) > 0 {
		return fmt.Sprint(e[g.r.IntN(len(e))])
	}
	switch s["format"] {
	case "date-time":
		if g.r.IntN(4) > 0 {
			return fmt.Sprintf("20%02d-0%d-1%dT0%d:00:00Z", g.r.IntN(99), 1+g.r.IntN(9), g.r.IntN(10), g.r.IntN(10))
		}
	case "uri":
		return []string{"http://127.0.0.1:1/x", "https://example.org", "file:///etc/passwd"}[g.r.IntN(3)]
	}
	least, most := int(number(s, "minLength", 0)), int(min(number(s, "maxLength", 40), 60))
	switch g.r.IntN(4) {
	case 0:
		return oddTexts[g.r.IntN(len(oddTexts))]
	case 1:
		return strings.Repeat("x", least)
	case 2:
		return strings.Repeat("é", most)
	}
	if e, ok := s["examples"].([]any); ok && len(e) > 0 {
		return fmt.Sprint(e[0])
	}
	return fmt.Sprintf("text %d", g.r.IntN(1000))
}

func (g *generator) value(s map[string]any, depth int) any {
	s = g.resolve(s)
	kind, _ := s["type"].(string)
	if kinds, ok := s["type"].([]any); ok {
		kind, _ = kinds[g.r.IntN(len(kinds))].(string)
	}
	if g.r.IntN(25) == 0 { // of another type
		kind = []string{"string", "integer", "boolean", "array", "object", "null"}[g.r.IntN(6)]
	}
	switch kind {
	case "integer", "number":
		if e, ok := s["enum"].([]any); ok && g.r.IntN(8) > 0 {
			return e[g.r.IntN(len(e))]
		}
		least, most := number(s, "minimum", -10), number(s, "maximum", 1e6)
		switch g.r.IntN(5) {
		case 0:
			return least
		case 1:
			return most
		case 2:
			return most + 1
		}
		return least + float64(g.r.IntN(1+int(min(most-least, 1000))))
	case "boolean":
		return g.r.IntN(2) == 0
	case "null":
		return nil
	case "array":
		items, _ := s["items"].(map[string]any)
		list := []any{}
		for range g.r.IntN(4) {
			if depth < 5 && items != nil {
				list = append(list, g.value(items, depth+1))
			}
		}
		return list
	case "object":
		o := map[string]any{}
		properties, _ := s["properties"].(map[string]any)
		needed := map[string]bool{}
		for _, n := range asList(s["required"]) {
			needed[fmt.Sprint(n)] = true
		}
		for name, p := range properties {
			if ps, ok := p.(map[string]any); ok && depth < 6 && (needed[name] && g.r.IntN(20) > 0 || g.r.IntN(2) == 0) {
				o[name] = g.value(ps, depth+1)
			}
		}
		return o
	}
	return g.text(s)
}

func asList(v any) []any {
	l, _ := v.([]any)
	return l
}
