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

// An account is a unit without a place, of a vendor that has accounts.
func TestCheckAccount(t *testing.T) {
	key := map[string]string{"key": "bGFuZHdhaXRlcg=="}
	for url, c := range map[string]struct {
		options map[string]string
		ok      bool
	}{
		"s3://?region=eu-central-1":         {nil, true},
		"s3://?endpoint=http://127.0.0.1:1": {map[string]string{"access_key": "a", "secret_key": "b"}, true},
		"s3://bucket":                       {nil, false},
		"s3://?regoin=x":                    {nil, false},
		"azblob://acc":                      {key, true},
		"azblob://acc/container":            {key, false},
		"azblob://acc?":                     {map[string]string{"kye": "x"}, false},
		"gs://?project=p":                   {nil, true},
		"gs://bucket":                       {nil, false},
		"smb://host:445":                    {map[string]string{"user": "u"}, true},
		"smb://host/share":                  {map[string]string{"user": "u"}, false},
		"smb://host":                        {nil, false}, // a user is wanted
		"gopher://host":                     {nil, false},
		"file:///srv":                       {nil, false},
	} {
		err := all.CheckAccount(connectors.Unit{Name: "acc", URL: url, Options: c.options})
		if (err == nil) != c.ok || err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%s %v: %v", url, c.options, err)
		}
	}
}
