package config

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDeep gives files that nest far deeper than any configuration: they are
// refused at once, not after gigabytes of a syntax tree.
func TestDeep(t *testing.T) {
	var stairs strings.Builder
	for i := range 1300 {
		stairs.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	for name, file := range map[string]string{
		"lists": "units: " + strings.Repeat("[", 100_000), "mappings": "units: " + strings.Repeat("{a: ", 50_000),
		"dashes": "units: " + strings.Repeat("- ", 50_000), "keys": "units: " + strings.Repeat("? ", 50_000), "stairs": stairs.String(),
	} {
		began := time.Now()
		if _, err := Load(Options{File: "f.yaml", Data: []byte(file)}); err == nil {
			t.Errorf("%s: no error", name)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
}

// TestPipe gives a pipe that nobody writes to.
func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe.yaml")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(Options{File: path}); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Errorf("got %v", err)
	}
}
