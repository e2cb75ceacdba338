package file_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/connectors/file"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, u connectors.Unit) *file.Driver {
	t.Helper()
	d, err := file.Open(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d.(*file.Driver)
}

// write replaces a file whole, as most clients do; the folders are made.
func write(t *testing.T, path string, content []byte) {
	t.Helper()
	err := os.WriteFile(path, content, 0o644)
	if errors.Is(err, os.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = os.WriteFile(path, content, 0o644)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

var all = connectors.Caps{Watch: true, Settle: true, Put: true, Remove: true, Tag: true, Prune: true,
	FencedRemove: true, FencedPut: true, Ordered: true}

func TestContract(t *testing.T) {
	var dir string
	connectortest.Run(t, connectortest.Harness{
		Open: func(t *testing.T) connectors.Driver {
			dir = t.TempDir()
			d, err := file.Open(t.Context(), connectors.Unit{Name: "here", URL: dir})
			if err != nil {
				t.Fatal(err)
			}
			return d
		},
		Write: func(t *testing.T, key string, content []byte) { write(t, dir+"/"+key, content) },
		Remove: func(t *testing.T, key string) {
			if err := os.Remove(dir + "/" + key); err != nil {
				t.Error(err)
			}
		},
		Wants:   all,
		Refuses: func(key string) bool { return strings.HasSuffix(key, "/") },
	})
}
