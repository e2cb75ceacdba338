package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"testing"

	"github.com/landwaiter/landwaiter/account"
)

// A postbox is a stand-in for the outbox of mail: it keeps what it is given.
type postbox struct {
	mu   sync.Mutex
	mail []string
	err  error
}

func (p *postbox) Mail(_ context.Context, tenant int64, to, subject, text string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mail = append(p.mail, fmt.Sprint(tenant, " ", to, " ", subject, "\n", text))
	return p.err
}

func TestPasswordReset(t *testing.T) {
	w := start(t, setup{})
	c := &client{w: w}
	ask := func(who string, status int) map[string]any {
		t.Helper()
		return c.call("POST", "/api/user/password/reset", map[string]any{"userInput": who}, status)
	}
	set := func(token, password string, status int) {
		t.Helper()
		c.call("POST", "/api/user/password", map[string]any{"secureToken": token, "newPassword": password, "newPasswordConfirmation": password}, status)
	}
	w.d.Control().Mail = nil
	ask("reader", http.StatusServiceUnavailable) // of everybody, where no mail goes out
	ask("no such user", http.StatusServiceUnavailable)
	box := &postbox{}
	w.d.Control().Mail = box
	w.user("twin1", account.ReadOnlyAdministrator, account.DefaultTenant)
	for _, login := range []string{"twin2", "twin3"} {
		u := w.user(login, account.ReadOnlyAdministrator, account.DefaultTenant)
		u.Email = "twins@example.org"
		if _, err := w.d.Control().Store.PutUser(context.Background(), u); err != nil {
			t.Fatal(err)
		}
	}
	none := ask("no such user", http.StatusOK)
	for _, who := range []string{"twins@example.org", "nobody", "", "reader"} {
		if who == "" {
			ask(who, http.StatusBadRequest)
		} else if got := ask(who, http.StatusOK); fmt.Sprint(got) != fmt.Sprint(none) {
			t.Errorf("%s is told from nobody: %v", who, got)
		}
	}
	ask("READER@example.org ", http.StatusOK) // too soon after the other
	if len(box.mail) != 1 {
		t.Fatalf("mails: %q", box.mail)
	}
	token := regexp.MustCompile(`(?m)^[A-Za-z0-9_-]{43}$`).FindString(box.mail[0])
	if token == "" {
		t.Fatalf("no token in %q", box.mail[0])
	}
	before := w.as("reader")
	set("wrong", "another good one", http.StatusForbidden)
	set(token, "short", http.StatusBadRequest)
	c.call("POST", "/api/user/password", map[string]any{"secureToken": token, "newPassword": "another good one", "newPasswordConfirmation": "something else"}, http.StatusBadRequest)
	set(token, "another good one", http.StatusOK)
	set(token, "a third good one", http.StatusForbidden)
	before.call("GET", "/api/group", nil, http.StatusUnauthorized)
	c.call("POST", "/api/user/authenticate", map[string]any{"userName": "reader", "password": password}, http.StatusUnauthorized)
	c.call("POST", "/api/user/authenticate", map[string]any{"userName": "reader", "password": "another good one"}, http.StatusOK)
	// A password that was changed otherwise ends the token; mail that fails is
	// nothing that strangers hear of.
	box.err = errors.New("the server is down")
	if got := ask("admin", http.StatusOK); fmt.Sprint(got) != fmt.Sprint(none) {
		t.Errorf("%v", got)
	}
	token = regexp.MustCompile(`(?m)^[A-Za-z0-9_-]{43}$`).FindString(box.mail[1])
	w.admin().call("PUT", "/api/user", map[string]any{"currentPassword": password, "newPassword": "another good one"}, http.StatusOK)
	set(token, "a third good one", http.StatusForbidden)
}
