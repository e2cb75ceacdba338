package api_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const eicarWatched = `
units:
  - {name: in, url: "file://INBOX", workflow: quarantine}
`

// watched is a world with a watched folder.
func watched(t *testing.T) *world {
	t.Helper()
	return start(t, setup{config: eicarWatched})
}

func (w *world) arrives(name, content string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.inbox, name), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func TestOurs(t *testing.T) {
	w := watched(t)
	a := w.admin()
	events := follow(t, a)
	w.arrives("bad.txt", eicar())
	w.arrives("good.txt", "nothing of note")
	seen := map[string]string{}
	for len(seen) < 2 {
		e := <-events
		seen[e.Key] = e.Verdict
	}
	if seen["bad.txt"] != "infected" || seen["good.txt"] != "clean" {
		t.Errorf("the stream told %v", seen)
	}
	got := a.call("GET", "/api/landwaiter/entries?unit=in&verdict=infected", nil, http.StatusOK)
	if word(got, "entries.0.key") != "bad.txt" || at(got, "entries.1") != nil {
		t.Errorf("entries: %v", got)
	}
	if more := a.call("GET", "/api/landwaiter/entries?limit=1", nil, http.StatusOK); at(more, "more") != true {
		t.Errorf("one entry: %v", more)
	}
	story := a.call("GET", "/api/landwaiter/explain?"+url.Values{"unit": {"in"}, "key": {"bad.txt"}}.Encode(), nil, http.StatusOK)
	if word(story, "entry.entries.0.verdict") != "infected" || word(story, "entry.entries.0.quarantine.state") != "held" {
		t.Errorf("story: %v", story)
	}
	if cov := a.call("GET", "/api/landwaiter/coverage", nil, http.StatusOK); at(cov, "entries.0.unaccounted") != 0.0 || word(cov, "entries.0.unit") != "in" {
		t.Errorf("coverage: %v", cov)
	}
	if s := a.call("GET", "/api/landwaiter/storages", nil, http.StatusOK); word(s, "entries.0.state") != "ok" {
		t.Errorf("storages: %v", s)
	}
	a.call("GET", "/api/landwaiter/sources", nil, http.StatusOK)
	a.call("GET", "/api/landwaiter/messages", nil, http.StatusOK)

	list := a.call("GET", "/api/landwaiter/quarantine?unit=in", nil, http.StatusOK)
	id := word(list, "entries.0.id")
	r := w.as("reader")
	r.call("POST", "/api/landwaiter/quarantine/"+id+"/restore", map[string]any{}, http.StatusForbidden)
	if dry := a.call("POST", "/api/landwaiter/quarantine/"+id+"/restore", map[string]any{"dryRun": true}, http.StatusOK); word(dry, "entry.state") != "planned" {
		t.Errorf("dry run: %v", dry)
	}
	a.call("POST", "/api/landwaiter/quarantine/"+id+"/restore", map[string]any{}, http.StatusOK)
	if back, err := os.ReadFile(filepath.Join(w.inbox, "bad.txt")); err != nil || string(back) != eicar() {
		t.Errorf("restored: %q, %v", back, err)
	}
	a.call("DELETE", "/api/landwaiter/quarantine/"+id, nil, http.StatusNotFound)

	// Somebody else's daemon: a user of another tenant sees nothing of this one.
	w.user("stranger", 6, 2)
	s := w.as("stranger")
	for _, path := range []string{"entries", "coverage", "storages", "quarantine", "sources", "messages"} {
		if got := s.call("GET", "/api/landwaiter/"+path, nil, http.StatusOK); at(got, "entries.0") != nil {
			t.Errorf("another tenant's %s: %v", path, got)
		}
	}
	s.call("GET", "/api/landwaiter/explain?unit=in&key=bad.txt", nil, http.StatusNotFound)
	s.call("POST", "/api/landwaiter/quarantine/"+id+"/restore", map[string]any{}, http.StatusNotFound)
	s.call("POST", "/api/landwaiter/entries/"+word(got, "entries.0.id")+"/replay", nil, http.StatusNotFound)
}

type told struct{ Key, Verdict string }

// follow reads the stream of events until the test ends.
func follow(t *testing.T, c *client) <-chan told {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.w.url+"/api/landwaiter/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%v, %v", resp, err)
	}
	events := make(chan told, 100)
	go func() {
		defer close(events)
		defer resp.Body.Close()
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var e told
				if json.Unmarshal([]byte(data), &e) == nil && e.Key != "" {
					events <- e
				}
			}
		}
	}()
	return events
}

// TestMachine: what concerns the installation as a whole.
func TestMachine(t *testing.T) {
	w := start(t, setup{})
	nobody := &client{w: w}
	if got := nobody.call("GET", "/api/health?verbose=true", nil, http.StatusOK); word(got, "apiStatus") != "Healthy" || at(got, "parts") != nil {
		t.Errorf("to strangers: %v", got)
	}
	a := w.admin()
	if got := a.call("GET", "/api/health?verbose=true", nil, http.StatusOK); word(got, "parts.ledger") != "ok" {
		t.Errorf("health: %v", got)
	}
	if got := nobody.call("GET", "/api/onboarding", nil, http.StatusOK); at(got, "hasUserConfigured") != true || at(got, "isOnboardingDone") != false || at(got, "isEulaAgreed") != false {
		t.Errorf("before: %v", got)
	}
	a.call("POST", "/api/onboarding/eula", nil, http.StatusOK)
	a.call("POST", "/api/onboarding", nil, http.StatusOK)
	if got := nobody.call("GET", "/api/onboarding", nil, http.StatusOK); at(got, "isOnboardingDone") != true || at(got, "isEulaAgreed") != true {
		t.Errorf("after: %v", got)
	}
	if got := a.call("POST", "/api/settings/admin/license/activate/online", map[string]any{"key": "ABC"}, http.StatusOK); word(got, "responseKey") != "LICENSE_NOT_NEEDED" {
		t.Errorf("license: %v", got)
	}
	a.call("POST", "/api/settings/admin/license/activate/offline", map[string]any{"licenseContent": "QUJD"}, http.StatusOK)
	a.call("POST", "/api/settings/admin/license/activate/offline", map[string]any{}, http.StatusBadRequest)
	a.call("POST", "/api/settings/admin/license/deactivate", nil, http.StatusOK)
	a.call("GET", "/api/settings/admin/license", nil, http.StatusOK)
	a.call("PUT", "/api/ocm", map[string]any{"serverUrl": "https://ocm.example.org", "name": "us", "regCode": "hidden"}, http.StatusOK)
	a.call("POST", "/api/ocm/manage", nil, http.StatusOK)
	if got := a.call("GET", "/api/ocm", nil, http.StatusOK); at(got, "isEnrolled") != true || word(got, "serverUrl") != "https://ocm.example.org" || at(got, "isManaged") != true {
		t.Errorf("ocm: %v", got)
	}
	a.call("DELETE", "/api/ocm/manage", nil, http.StatusOK)
	a.call("POST", "/api/ocm", nil, http.StatusOK)
	if got := a.call("GET", "/api/ocm/manage", nil, http.StatusOK); at(got, "isEnrolled") != false || at(got, "isManaged") != false {
		t.Errorf("ocm after: %v", got)
	}
	before := word(a.call("GET", "/api/settings/encryption/creation-date", nil, http.StatusOK), "creationDate")
	a.call("POST", "/api/settings/encryption/generate", nil, http.StatusOK)
	if after := word(a.call("GET", "/api/settings/encryption/creation-date", nil, http.StatusOK), "creationDate"); before == "" || after <= before {
		t.Errorf("the key's date went from %s to %s", before, after)
	}
	w.as("reader").call("POST", "/api/settings/encryption/generate", nil, http.StatusForbidden)
}
