package all_test

import (
	"os"
	"testing"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/fault"
)

func TestOpenStorage(t *testing.T) {
	dir := t.TempDir()
	for _, url := range []string{dir, "file://" + dir, "file://localhost" + dir} {
		st, err := all.OpenStorage(t.Context(), connectors.Unit{Name: "u", URL: url}, connectors.Options{})
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if c := st.Caps(); !c.FencedRemove || !c.FencedPut || !c.Watch || !st.Probed().Proven {
			t.Errorf("%s: capabilities %+v, probe %+v", url, c, st.Probed())
		}
		if err := st.Close(); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for url, kind := range map[string]fault.Kind{
		"gopher://host/dir": fault.Invalid, "file://elsewhere/dir": fault.Invalid, "file:///no/such/dir": fault.NotFound,
		"": fault.Invalid, "file:///etc/passwd": fault.NotFound, "file://" + dir + "?x=y": fault.Invalid,
	} {
		if _, err := all.OpenStorage(t.Context(), connectors.Unit{Name: "u", URL: url}, connectors.Options{}); !fault.Is(err, kind) {
			t.Errorf("%q: got %v, want %v", url, err, kind)
		}
	}
}

// A read-only grant and a probe that is off leave the folder untouched.
func TestNothingIsWritten(t *testing.T) {
	for _, u := range []connectors.Unit{{ReadOnly: true}, {Probe: "off"}} {
		u.Name, u.URL = "u", t.TempDir()
		st, err := all.OpenStorage(t.Context(), u, connectors.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if c := st.Caps(); c.FencedRemove || c.FencedPut || !c.Watch || !c.Ordered || st.Probed().Error == "" {
			t.Errorf("capabilities %+v, probe %+v", c, st.Probed())
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		if names, err := os.ReadDir(u.URL); err != nil || len(names) != 0 {
			t.Errorf("the folder holds %v, %v", names, err)
		}
	}
}
