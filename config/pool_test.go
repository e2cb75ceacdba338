package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestAgeAsked: who writes the default down asks for it all the same.
func TestAgeAsked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	text := "pools:\n" +
		"  - {name: a, instances: [{url: 'builtin:'}]}\n" +
		"  - {name: b, max_definitions_age: 7d, instances: [{url: 'builtin:'}]}\n" +
		"  - {name: c, max_definitions_age: , instances: [{url: 'builtin:'}]}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Options{File: file})
	if err != nil {
		t.Fatal(err)
	}
	const week = 7 * 24 * time.Hour
	for i, asked := range []bool{false, true, false} {
		if p := c.Pools[i]; p.AgeAsked != asked || p.MaxDefinitionsAge != week {
			t.Errorf("%s: %v, asked %v", p.Name, p.MaxDefinitionsAge, p.AgeAsked)
		}
	}
	if p := NewPool("default", Instance{URL: "builtin:"}); p.AgeAsked || p.MaxDefinitionsAge != week || len(p.Instances) != 1 {
		t.Errorf("NewPool: %+v", p)
	}
}
