package gcs

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/test/servers"
)

// TestDiscover finds the buckets of a project by name, and opens what it found.
func TestDiscover(t *testing.T) {
	t.Parallel()
	srv := servers.FakeGCS(t)
	u := connectors.Unit{Name: "account", URL: "gs://?project=test&endpoint=" + srv.Endpoint, Options: map[string]string{"anonymous": "true"}}
	if found, err := Discover(t.Context(), u); err != nil || len(found) != 0 {
		t.Errorf("without buckets: %v, %v", found, err)
	}
	for _, name := range []string{"bbb", "a.example.com", "c-2", "c-10"} {
		srv.MakeBucket(t, name, false)
	}
	found, err := Discover(t.Context(), u)
	var names []string
	for _, f := range found {
		names = append(names, f.Name)
		d, err := Open(t.Context(), connectors.Unit{Name: "unit", URL: f.URL, Options: u.Options})
		if err != nil {
			t.Errorf("open %s: %v", f.URL, err)
			continue
		}
		if got := d.(*Driver).bucket; got != f.Name {
			t.Errorf("%s opens %s", f.URL, got)
		}
		_ = d.Close()
	}
	if diff := cmp.Diff([]string{"a.example.com", "bbb", "c-10", "c-2"}, names); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestDiscoverSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	denied := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		sayError(w, 403, "forbidden", "x@y does not have storage.buckets.list access to the Google Cloud project.")
	}))
	defer denied.Close()
	for url, kind := range map[string]fault.Kind{
		"gs://?endpoint=" + denied.URL:                           fault.Invalid, // no project
		"gs://bucket?project=p&endpoint=" + denied.URL:           fault.Invalid,
		"gs:///folder?project=p&endpoint=" + denied.URL:          fault.Invalid,
		"gs://?project=p&unknown=1&endpoint=" + denied.URL:       fault.Invalid,
		"gs://?project=example.com:p&endpoint=" + denied.URL:     fault.Denied,
		"gs://?project=p&endpoint=http://127.0.0.1:1":            fault.Unavailable,
		"s3://?project=p&endpoint=" + denied.URL:                 fault.Invalid,
		"gs://?project=p&credentials_json=secret&endpoint=" + "": fault.Invalid,
	} {
		if found, err := Discover(t.Context(), connectors.Unit{URL: url, Options: map[string]string{"anonymous": "true"}}); !fault.Is(err, kind) {
			t.Errorf("%s: %v, %v; want %v", url, found, err, kind)
		}
	}
}

// TestDiscoverManyPages asks a stand-in for Google, which has more buckets than
// come back, page by page.
func TestDiscoverManyPages(t *testing.T) {
	t.Parallel()
	calls := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		q := r.URL.Query()
		from, _ := strconv.Atoi(q.Get("pageToken"))
		n, _ := strconv.Atoi(q.Get("maxResults"))
		if r.URL.Path != "/storage/v1/b" || q.Get("project") != "p" || q.Get("projection") != "noAcl" || n == 0 {
			t.Errorf("asked %s", r.URL)
		}
		var items []map[string]any
		for i := range n {
			items = append(items, map[string]any{"name": fmt.Sprintf("b%07d", from+i)})
		}
		say(w, map[string]any{"items": items, "nextPageToken": fmt.Sprint(from + n)})
	}))
	defer srv.Close()
	u := connectors.Unit{URL: "gs://?endpoint=" + srv.URL, Options: map[string]string{"anonymous": "true", "project": "p"}}
	found, err := Discover(t.Context(), u)
	if err != nil || len(found) != connectors.MaxFound || calls != connectors.MaxFound/defaultLimits.list {
		t.Fatalf("%d found, %v, in %d calls", len(found), err, calls)
	}
	if last := found[len(found)-1]; last.Name != fmt.Sprintf("b%07d", connectors.MaxFound-1) || u.Options["project"] != "p" {
		t.Errorf("the last one is %+v", last)
	}
}
