package api_test

import (
	"encoding/json"
	"testing"

	"github.com/landwaiter/landwaiter/api"
	"github.com/landwaiter/landwaiter/control"
)

// The document tells of every way in which the fields may come.
func TestFormsInTheDocument(t *testing.T) {
	t.Parallel()
	a, err := api.New(api.Options{Control: &control.Control{}, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := a.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	paths := doc["paths"].(map[string]any)
	for _, c := range []struct {
		path, method string
		kinds        []string
		required     any
	}{
		{"/api/storage", "post", []string{"multipart/form-data", "application/json"}, nil},
		{"/api/storage/{storageId}", "patch", []string{"multipart/form-data", "application/json"}, nil},
		{"/api/account", "patch", []string{"multipart/form-data", "application/json"}, nil},
		{"/api/storage/batch", "post", []string{"application/json"}, true},
		{"/api/webhook/realtime/graph/{storageClientId}/{scanId}", "post", []string{"application/json"}, nil},
	} {
		body, _ := at(paths[c.path], c.method+".requestBody").(map[string]any)
		content, _ := body["content"].(map[string]any)
		if len(content) != len(c.kinds) || body["required"] != c.required {
			t.Errorf("%s %s: %v", c.method, c.path, body)
		}
		for _, kind := range c.kinds {
			if s, _ := content[kind].(map[string]any); s["schema"] == nil || at(s, "schema.format") == "binary" {
				t.Errorf("%s %s: %s is %v", c.method, c.path, kind, s)
			}
		}
	}
	fields := at(doc, "components.schemas")
	for _, schema := range fields.(map[string]any) {
		if properties, ok := at(schema, "properties").(map[string]any); ok && properties["StorageVendorType"] != nil {
			if at(properties["Credentials"], "maxLength") != 65536.0 {
				t.Errorf("%v", properties["Credentials"])
			}
			return
		}
	}
	t.Error("the fields of a storage are not in the document")
}
