package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/test/servers"
)

// TestNodes: what is set at one node is served by the other.
func TestNodes(t *testing.T) {
	dsn := servers.Postgres(t)
	key := "encryption_key: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
	one := start(t, setup{dsn: dsn, config: key})
	two := start(t, setup{dsn: dsn, config: key, later: true})
	group := word(one.admin().call("POST", "/api/group", map[string]any{"name": "Finance"}, http.StatusOK), "groupId")
	keep(t, one, "invoices", group)
	b := two.admin()
	if got := b.call("GET", "/api/group/"+group, nil, http.StatusOK); word(got, "entry.name") != "Finance" {
		t.Errorf("the other node's group: %v", got)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got := b.call("GET", "/api/landwaiter/storages", nil, http.StatusOK)
		if word(got, "entries.0.unit") == "invoices" && strings.Contains(word(got, "entries.0.state")+word(got, "entries.0.detail"), "down") {
			break // its endpoint is nobody's
		}
		if time.Now().After(end) {
			t.Fatalf("not served within 30 s: %v", got)
		}
	}
}
