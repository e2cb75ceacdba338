package config_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/landwaiter/landwaiter/config"
)

const secretEnv = "DSN=postgres://db/landwaiter"

func TestDiff(t *testing.T) {
	before := "units:\n- {name: a, url: file:///a, options: {token: one}}\n- {name: b, url: file:///b}\nworkflows:\n- {name: w, quarantine: {enabled: true}}\n"
	after := "log: {level: debug}\nunits:\n- {name: b, url: file:///b, sweep: 1h}\n- {name: a, url: file:///a, options: {token: two}}\nworkflows:\n- {name: w, quarantine: {enabled: false}}\n"
	old, err := load("old", before)
	if err != nil {
		t.Fatal(err)
	}
	new, err := load("new", after)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, ch := range config.Diff(old, new) {
		got = append(got, ch.String())
	}
	want := []string{
		`log.level: "info" → "debug"`,
		`units[a].options.token: "***" → "***"`,
		`units[b].sweep: "" → "1h"`,
		`workflows[w]: "{\"name\":\"w\",\"quarantine\":{\"enabled\":true}}" → "{\"name\":\"w\",\"quarantine\":{\"enabled\":false}}"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if same := config.Diff(old, old); len(same) != 0 {
		t.Errorf("differs from itself: %v", same)
	}
}

func TestShowNamesReferencesOnly(t *testing.T) {
	c, err := load("f.yaml", "store: {dsn: env:DSN}\nworkflows:\n- {name: w}\n", secretEnv)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, s := range c.Show() {
		got += s.Path + " = " + s.Value + " < " + s.Origin + "\n"
	}
	for _, want := range []string{"store.dsn = *** (env:DSN) < f.yaml:1\n", "workflows[0] = {\"name\":\"w\"} < f.yaml:3\n", "server.listen = 127.0.0.1:8480 < default\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "postgres") {
		t.Errorf("the secret is in\n%s", got)
	}
}

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(config.Schema(flow{}))))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func instance(t *testing.T, data []byte) (any, bool) {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil {
		return nil, false
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, false
	}
	v, err = jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
	return v, err == nil
}

// The schema must take whatever Load takes; what it cannot say (references
// above all) only Load refuses.
func TestSchemaAgrees(t *testing.T) {
	s := schema(t)
	for _, data := range []string{whole, "units:\nlog:\n", "bounds: {bytes_in_work: 1048576, attempts_for: 1h30m, scan_timeout: 2d}\nunits: [{name: a, url: file:///a, partitions: }]\n"} {
		v, ok := instance(t, []byte(data))
		if !ok {
			t.Fatalf("not YAML: %s", data)
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("refused: %v\n%s", err, data)
		}
	}
	archive, err := txtar.ParseFile("testdata/broken.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.Files {
		kind, _, _ := strings.Cut(f.Name, "-")
		switch kind {
		case "unknown", "type", "duration", "enum", "bound", "missing", "section":
		default:
			continue
		}
		if f.Name == "section-check.yaml" || f.Name == "section-date.yaml" || f.Name == "duration-too-short.yaml" {
			continue
		}
		v, ok := instance(t, f.Data)
		if !ok {
			continue
		}
		if err := s.Validate(v); err == nil {
			t.Errorf("%s: the schema takes it", f.Name)
		}
	}
}

func TestDurationsAndSizes(t *testing.T) {
	for in, want := range map[string]time.Duration{"0": 0, "1h30m": 90 * time.Minute, "7d": 168 * time.Hour, "1d12h": 36 * time.Hour, "250ms": 250 * time.Millisecond} {
		d, err := config.ParseDuration(in)
		if err != nil || d != want {
			t.Errorf("%q: %v %v", in, d, err)
		}
		if back, err := config.ParseDuration(config.FormatDuration(d)); err != nil || back != d {
			t.Errorf("%q → %q → %v %v", in, config.FormatDuration(d), back, err)
		}
	}
	for _, in := range []string{"", "d", "-1s", "-1d", "1", "1x", "1.5d", "99999999d", "1d-1h", "9999999h9999999h", "106000d2562047h"} {
		if d, err := config.ParseDuration(in); err == nil {
			t.Errorf("%q: read as %v", in, d)
		}
	}
	for in, want := range map[string]int64{"0": 0, "4096": 4096, "1B": 1, "64KiB": 65536, "10 MB": 10_000_000, "8TiB": 8 << 40} {
		n, err := config.ParseSize(in)
		if err != nil || n != want {
			t.Errorf("%q: %v %v", in, n, err)
		}
		if back, err := config.ParseSize(config.FormatSize(n)); err != nil || back != n {
			t.Errorf("%q → %q → %v %v", in, config.FormatSize(n), back, err)
		}
	}
	for _, in := range []string{"", "B", "-1", "1.5MiB", "1K", "9223372036854775808", "8388608TiB", "0x10"} {
		if n, err := config.ParseSize(in); err == nil {
			t.Errorf("%q: read as %v", in, n)
		}
	}
}

// docs/config.md holds the table of every setting, written from the tags.
func TestDocumentationIsCurrent(t *testing.T) {
	const name = "../docs/config.md"
	have, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- settings: written by go test ./config -->\n", "<!-- end of settings -->\n"
	head, rest, ok := strings.Cut(string(have), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the settings", name)
	}
	want := head + begin + config.Reference() + end + tail
	if string(have) == want {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatalf("%s is not current: run UPDATE=1 go test ./config", name)
	}
	write(t, name, want)
}
