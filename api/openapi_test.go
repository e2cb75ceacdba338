package api_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/api"
	"github.com/landwaiter/landwaiter/control"
)

func open(t *testing.T) *api.API {
	t.Helper()
	a, err := api.New(api.Options{Control: &control.Control{}, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestOpenAPI: the document is the one in testdata, so that a change of the
// contract is seen. UPDATE=1 writes it.
func TestOpenAPI(t *testing.T) {
	raw, err := open(t).OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := json.Indent(&got, raw, "", " "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	const golden = "testdata/openapi.json"
	if os.Getenv("UPDATE") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); diff != "" {
		t.Errorf("the document has changed; if that is meant, run UPDATE=1 go test ./api:\n%.4000s", diff)
	}
}

// TestDocumented: every operation says what it is for, and has its errors.
func TestDocumented(t *testing.T) {
	raw, err := open(t).OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			OperationID string                     `json:"operationId"`
			Summary     string                     `json:"summary"`
			Tags        []string                   `json:"tags"`
			Responses   map[string]json.RawMessage `json:"responses"`
			Security    []any                      `json:"security"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("OpenAPI %s", doc.OpenAPI)
	}
	var ids []string
	n := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			n++
			at := method + " " + path
			ids = append(ids, op.OperationID)
			if op.Summary == "" || op.OperationID == "" || len(op.Tags) != 1 {
				t.Errorf("%s: summary %q, id %q, tags %v", at, op.Summary, op.OperationID, op.Tags)
			}
			for _, status := range []string{"400"} {
				if op.Responses[status] == nil {
					t.Errorf("%s says nothing of %s", at, status)
				}
			}
			if op.Security != nil && (op.Responses["401"] == nil || op.Responses["403"] == nil) {
				t.Errorf("%s says nothing of 401 and 403", at)
			}
			if strings.Contains(path, "{") && op.Responses["404"] == nil && !strings.Contains(path, "{startIndex}") {
				t.Errorf("%s says nothing of 404", at)
			}
		}
	}
	slices.Sort(ids)
	if u := slices.Compact(slices.Clone(ids)); len(u) != len(ids) {
		t.Errorf("operation ids are not unique: %v", ids)
	}
	t.Logf("operations=%d", n)
}
