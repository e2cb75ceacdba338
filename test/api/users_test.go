package api_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/ledger"
)

// body is a user to be.
func body(login string, more ...any) map[string]any {
	m := map[string]any{"userName": login, "fullName": "N " + login, "email": login + "@example.org", "password": password}
	for i := 0; i+1 < len(more); i += 2 {
		m[more[i].(string)] = more[i+1]
	}
	return m
}

func TestUsers(t *testing.T) {
	both(t, setup{}, func(t *testing.T, w *world) {
		a, r, stranger := w.admin(), w.as("reader"), &client{w: w}
		// Who registers waits, and is let in.
		id := word(stranger.call("POST", "/api/user/register", body("Ann"), http.StatusOK), "user.id")
		stranger.call("POST", "/api/user/register", body("ann"), http.StatusConflict)
		for _, bad := range []map[string]any{body(" "), body("x", "password", "short"), body("x", "email", "nobody"), body("x", "email", "a@b.c\r\nBcc: d@e.f"), body("x", "fullName", ""), {"userName": "x"}} {
			stranger.call("POST", "/api/user/register", bad, http.StatusBadRequest)
		}
		stranger.call("POST", "/api/user/authenticate", map[string]any{"userName": "ann", "password": password}, http.StatusForbidden)
		got := a.call("GET", "/api/user/requests?searchText=ann", nil, http.StatusOK)
		if at(got, "totalCount") != 1.0 || word(got, "entries.0.id") != id || at(got, "entries.0.role") != 0.0 {
			t.Errorf("requests: %v", got)
		}
		r.call("PUT", "/api/user/role", map[string]any{"userId": id, "role": 1}, http.StatusForbidden)
		stranger.call("PUT", "/api/user/role", map[string]any{"userId": id, "role": 1}, http.StatusUnauthorized)
		for _, none := range []string{"0198f02f-0000-7000-8000-000000000001", "nonsense"} {
			a.call("PUT", "/api/user/role", map[string]any{"userId": none, "role": 1}, http.StatusNotFound)
			a.call("DELETE", "/api/user/"+none, nil, http.StatusNotFound)
			a.call("PUT", "/api/user", map[string]any{"userId": none, "fullName": "x"}, http.StatusNotFound)
		}
		for _, role := range []int{3, 7, 999} {
			a.call("PUT", "/api/user/role", map[string]any{"userId": id, "role": role}, http.StatusBadRequest)
		}
		got = a.call("PUT", "/api/User/Role", map[string]any{"USERID": id, "Role": 1}, http.StatusOK)
		if at(got, "user.role") != 1.0 || word(got, "user.userName") != "ann" {
			t.Errorf("let in: %v", got)
		}
		ann := w.as("ANN")
		// Pages, order, search.
		got = a.call("GET", "/api/user/active/1/2?orderBy=userName&orderType=1", nil, http.StatusOK)
		if at(got, "totalCount") != 3.0 || word(got, "entries.0.userName") != "ann" || word(got, "entries.1.userName") != "admin" {
			t.Errorf("active: %v", got)
		}
		if got := r.call("GET", "/api/user/active/0/10?searchTerm=reader", nil, http.StatusOK); at(got, "totalCount") != 1.0 || strings.Contains(fmt.Sprint(got), "argon2") {
			t.Errorf("searched: %v", got)
		}
		for _, bad := range []string{"0/0", "-1/10", "x/10", "0/10?searchText=%25", "0/10?orderBy=password"} {
			a.call("GET", "/api/user/active/"+bad, nil, http.StatusBadRequest)
		}
		// A role, a password and a removal end sessions; the key goes with the user.
		key := word(ann.call("POST", "/api/landwaiter/user/apikey", nil, http.StatusOK), "apiKey")
		byKey := &client{w: w, key: key}
		byKey.call("GET", "/api/landwaiter/user", nil, http.StatusOK)
		a.call("PUT", "/api/user/role", map[string]any{"userId": id, "role": 2}, http.StatusOK)
		ann.call("GET", "/api/landwaiter/user", nil, http.StatusUnauthorized)
		ann = w.as("ann")
		ann.call("PUT", "/api/user", map[string]any{"newPassword": "another good one", "currentPassword": "wrong"}, http.StatusForbidden)
		ann.call("PUT", "/api/user", map[string]any{"newPassword": "short", "currentPassword": password}, http.StatusBadRequest)
		ann.call("PUT", "/api/user", map[string]any{"newPassword": "another good one", "currentPassword": password, "fullName": "Ann B"}, http.StatusOK)
		ann.call("GET", "/api/landwaiter/user", nil, http.StatusUnauthorized)
		stranger.call("POST", "/api/user/authenticate", map[string]any{"userName": "ann", "password": password}, http.StatusUnauthorized)
		a.call("DELETE", "/api/user/"+id, nil, http.StatusOK)
		byKey.call("GET", "/api/landwaiter/user", nil, http.StatusUnauthorized)
		// Created with a role; nobody is made or changed by who may not.
		made := word(a.call("POST", "/api/user/create", body("bob", "role", 1), http.StatusOK), "user.id")
		a.call("POST", "/api/user/create", body("bob", "role", 1), http.StatusConflict)
		r.call("POST", "/api/user/create", body("cy", "role", 1), http.StatusForbidden)
		r.call("PUT", "/api/user", map[string]any{"role": 2}, http.StatusForbidden)
		r.call("PUT", "/api/user", map[string]any{"userId": made, "fullName": "x"}, http.StatusForbidden)
		r.call("PUT", "/api/user", map[string]any{"fullName": "The Reader", "email": "New@Example.org"}, http.StatusOK)
		if got := r.call("GET", "/api/landwaiter/user", nil, http.StatusOK); word(got, "user.fullName") != "The Reader" || word(got, "user.email") != "new@example.org" {
			t.Errorf("own: %v", got)
		}
		a.call("PUT", "/api/user", map[string]any{"userId": made, "newPassword": "another good one"}, http.StatusForbidden)
		a.call("PUT", "/api/user", map[string]any{"userName": "reader"}, http.StatusConflict)
		// The last administrator stays one.
		self := word(a.call("GET", "/api/landwaiter/user", nil, http.StatusOK), "user.id")
		a.call("DELETE", "/api/user/"+self, nil, http.StatusConflict)
		a.call("PUT", "/api/user/role", map[string]any{"userId": self, "role": 1}, http.StatusConflict)
		a.call("PUT", "/api/user", map[string]any{"role": 0}, http.StatusConflict)
		// Tours.
		a.call("POST", "/api/usertour/finalizeUserTour", map[string]any{"userId": self, "userTourType": 1}, http.StatusOK)
		if got := a.call("GET", "/api/usertour/"+self, nil, http.StatusOK); at(got, "userTours.0.tourType") != 1.0 || word(got, "userId") != self {
			t.Errorf("tours: %v", got)
		}
		a.call("POST", "/api/usertour/finalizeUserTour", map[string]any{"userId": self, "userTourType": 2}, http.StatusBadRequest)
		a.call("GET", "/api/usertour/nonsense", nil, http.StatusNotFound)
		r.call("GET", "/api/usertour/"+self, nil, http.StatusForbidden)
		// Own sessions.
		second := w.as("reader")
		got = r.call("GET", "/api/landwaiter/user/sessions", nil, http.StatusOK)
		if at(got, "totalCount") != 2.0 || at(got, "entries.0.current") != false || at(got, "entries.1.current") != true {
			t.Errorf("sessions: %v", got)
		}
		a.call("DELETE", "/api/landwaiter/user/sessions/"+word(got, "entries.0.id"), nil, http.StatusNotFound)
		r.call("DELETE", "/api/landwaiter/user/sessions/"+word(got, "entries.0.id"), nil, http.StatusOK)
		second.call("GET", "/api/landwaiter/user", nil, http.StatusUnauthorized)
		third := w.as("reader")
		r.call("DELETE", "/api/landwaiter/user/sessions", nil, http.StatusOK)
		third.call("GET", "/api/landwaiter/user", nil, http.StatusUnauthorized)
		rkey := &client{w: w, key: word(r.call("POST", "/api/landwaiter/user/apikey", nil, http.StatusOK), "apiKey")}
		rkey.call("GET", "/api/group", nil, http.StatusOK)
		rkey.call("POST", "/api/group", map[string]any{"name": "x"}, http.StatusForbidden)
		r.call("DELETE", "/api/landwaiter/user/apikey", nil, http.StatusOK)
		rkey.call("GET", "/api/group", nil, http.StatusUnauthorized)
		r.call("POST", "/api/user/logout", nil, http.StatusOK)
		r.call("GET", "/api/group", nil, http.StatusUnauthorized)
	})
}

func TestTenants(t *testing.T) {
	both(t, setup{}, func(t *testing.T, w *world) {
		a, r := w.admin(), w.as("reader")
		tenant := func(name string) string {
			return word(a.call("POST", "/api/tenant", map[string]any{"customerName": name}, http.StatusOK), "tenant.id")
		}
		one, two := tenant("One"), tenant("Two")
		a.call("POST", "/api/tenant", map[string]any{"customerName": "One"}, http.StatusConflict)
		a.call("POST", "/api/tenant", map[string]any{"customerName": " \t"}, http.StatusBadRequest)
		r.call("GET", "/api/tenant", nil, http.StatusForbidden)
		(&client{w: w}).call("GET", "/api/tenant", nil, http.StatusUnauthorized)
		if got := a.call("PUT", "/api/tenant/"+one, map[string]any{"customerName": "Uno"}, http.StatusOK); word(got, "tenant.customerName") != "Uno" || word(got, "tenant.id") != one {
			t.Errorf("renamed: %v", got)
		}
		a.call("PUT", "/api/tenant/"+one, map[string]any{"customerName": "Two"}, http.StatusConflict)
		if got := a.call("GET", "/api/tenant", nil, http.StatusOK); len(at(got, "tenants").([]any)) != 3 {
			t.Errorf("list: %v", got)
		}
		// A tenant's administrator sees and changes that tenant's users alone, and
		// gives no role that exceeds their own.
		first := word(a.call("POST", "/api/user/create", body("t1", "role", 6, "tenantId", one), http.StatusOK), "user.id")
		other := word(a.call("POST", "/api/user/create", body("t2", "role", 6, "tenantId", two), http.StatusOK), "user.id")
		a.call("POST", "/api/user/create", body("t3", "role", 6, "tenantId", "nonsense"), http.StatusNotFound)
		waits := word((&client{w: w}).call("POST", "/api/user/register", body("w1", "tenantId", one), http.StatusOK), "user.id")
		t1 := w.as("t1")
		if got := t1.call("GET", "/api/user/active/0/100", nil, http.StatusOK); at(got, "totalCount") != 1.0 || word(got, "entries.0.id") != first {
			t.Errorf("t1 sees %v", got)
		}
		if got := t1.call("GET", "/api/user/requests", nil, http.StatusOK); at(got, "totalCount") != 1.0 || word(got, "entries.0.id") != waits {
			t.Errorf("t1 sees %v", got)
		}
		none := t1.call("DELETE", "/api/user/0198f02f-0000-7000-8000-000000000001", nil, http.StatusNotFound)
		if got := t1.call("DELETE", "/api/user/"+other, nil, http.StatusNotFound); fmt.Sprint(got) != fmt.Sprint(none) {
			t.Errorf("another tenant's user is told from none: %v, %v", got, none)
		}
		t1.call("PUT", "/api/user/role", map[string]any{"userId": other, "role": 1}, http.StatusNotFound)
		t1.call("PUT", "/api/user", map[string]any{"userId": other, "fullName": "x"}, http.StatusNotFound)
		t1.call("GET", "/api/usertour/"+other, nil, http.StatusNotFound)
		for _, role := range []int{2, 4} {
			t1.call("PUT", "/api/user/role", map[string]any{"userId": waits, "role": role}, http.StatusForbidden)
			t1.call("POST", "/api/user/create", body("t4", "role", role), http.StatusForbidden)
			t1.call("PUT", "/api/user", map[string]any{"role": role}, http.StatusForbidden)
		}
		t1.call("POST", "/api/user/create", body("t5", "role", 1, "tenantId", two), http.StatusForbidden)
		t1.call("PUT", "/api/user/role", map[string]any{"userId": waits, "role": 6}, http.StatusOK)
		t1.call("GET", "/api/tenant/"+one, nil, http.StatusForbidden)
		// An administrator of all is above the tenant's.
		above := w.user("above", account.Administrator, 2)
		t1.call("PUT", "/api/user/role", map[string]any{"userId": above.ID.String(), "role": 1}, http.StatusForbidden)
		t1.call("DELETE", "/api/user/"+above.ID.String(), nil, http.StatusForbidden)
		// One goes when nothing belongs to it.
		a.call("DELETE", "/api/tenant/"+two, nil, http.StatusConflict)
		a.call("DELETE", "/api/user/"+other, nil, http.StatusOK)
		a.call("DELETE", "/api/tenant/"+two, nil, http.StatusOK)
		a.call("DELETE", "/api/tenant/"+two, nil, http.StatusNotFound)
		a.call("GET", "/api/tenant/nonsense", nil, http.StatusNotFound)
		a.call("DELETE", "/api/tenant/00000000-0000-7000-8000-000000000001", nil, http.StatusConflict)
	})
}

// The first administrator is whoever has the token that the daemon shows.
func TestSetupToken(t *testing.T) {
	empty := t.TempDir()
	w := start(t, setup{data: empty}) // an earlier world's folder has no users made for it
	c := &client{w: w}
	c.call("POST", "/api/user/register", body("ann"), http.StatusForbidden)
	found := regexp.MustCompile(`curl .*setupToken[^A-Za-z0-9]+([A-Za-z0-9_-]{43})`).FindStringSubmatch(w.log.String())
	if found == nil {
		t.Fatal("no setup token in the log")
	}
	c.call("POST", "/api/user/register", body("ann", "setupToken", "wrong"), http.StatusForbidden)
	c.call("POST", "/api/user/register", body("ann", "setupToken", found[1], "password", "CHOOSE ONE"), http.StatusBadRequest)
	if got := c.call("POST", "/api/user/register", body("ann", "setupToken", found[1]), http.StatusOK); at(got, "user.role") != 2.0 {
		t.Errorf("the first: %v", got)
	}
	c.call("POST", "/api/user/register", body("eve", "setupToken", found[1]), http.StatusConflict)
	if got := w.as("ann").call("GET", "/api/user/active/0/10", nil, http.StatusOK); at(got, "totalCount") != 1.0 {
		t.Errorf("users: %v", got)
	}
	w.stop()
	w = start(t, setup{data: empty})
	if strings.Contains(w.log.String(), "setupToken") {
		t.Error("a setup token where there is an administrator")
	}
	w.as("ann")
}

// Failed logins make the next one wait, however many try at once.
func TestLoginsBackOff(t *testing.T) {
	w := start(t, setup{})
	c := &client{w: w}
	u := w.user("ann", account.ReadOnlyAdministrator, account.DefaultTenant)
	login := func(password string) (int, string) {
		resp, _ := c.do("POST", "/api/user/authenticate", map[string]any{"userName": "ann", "password": password})
		return resp.StatusCode, resp.Header.Get("Retry-After")
	}
	failed := func(n int, ago time.Duration) {
		t.Helper()
		u.Failures, u.Failed = n, time.Now().Add(-ago)
		if _, err := w.d.Control().Store.PutUser(context.Background(), u); err != nil {
			t.Fatal(err)
		}
	}
	failed(8, 0)
	status, after := login(password)
	if n, err := strconv.Atoi(after); status != http.StatusTooManyRequests || err != nil || n < 1 || n > 33 {
		t.Errorf("after 8 failures: %d, Retry-After %s", status, after)
	}
	failed(100, 14*time.Minute)
	if status, _ := login(password); status != http.StatusTooManyRequests {
		t.Errorf("after 100 failures and 14 minutes: %d", status)
	}
	failed(100, 16*time.Minute)
	if status, _ := login(password); status != http.StatusOK {
		t.Errorf("after 100 failures and 16 minutes: %d", status)
	}
	// Thirty guesses at once are no more than a few.
	failed(0, 0)
	var g sync.WaitGroup
	var mu sync.Mutex
	tried := map[int]int{}
	for range 30 {
		g.Go(func() {
			status, _ := login("a wrong password")
			mu.Lock()
			defer mu.Unlock()
			tried[status]++
		})
	}
	g.Wait()
	if tried[http.StatusUnauthorized] > 12 || tried[http.StatusUnauthorized] < 3 || tried[http.StatusUnauthorized]+tried[http.StatusTooManyRequests] != 30 {
		t.Errorf("30 guesses at once: %v", tried)
	}
	// A name that is nobody's waits as a user's does.
	guess := map[string]any{"userName": "Nobody-at-all", "password": "a wrong password"}
	for range 3 {
		c.call("POST", "/api/user/authenticate", guess, http.StatusUnauthorized)
	}
	guess["userName"] = "nobody-AT-all "
	if resp, _ := c.do("POST", "/api/user/authenticate", guess); resp.StatusCode != http.StatusTooManyRequests {
		// A slow machine may have waited already: then the next is soon.
		for end := time.Now().Add(20 * time.Second); resp.StatusCode != http.StatusTooManyRequests; resp, _ = c.do("POST", "/api/user/authenticate", guess) {
			if time.Now().After(end) {
				t.Fatal("a name that is nobody's never waits")
			}
		}
	}
	// An administrator lets the user try again; the user cannot.
	failed(100, 0)
	unlock := map[string]any{"userId": u.ID.String(), "accountSecurity": map[string]any{"incrementalDelay": "00:00:00", "failedLoginDate": nil}}
	w.as("reader").call("PUT", "/api/user", unlock, http.StatusForbidden)
	w.admin().call("PUT", "/api/user", map[string]any{"userId": u.ID.String(), "accountSecurity": map[string]any{"incrementalDelay": "00:01:00"}}, http.StatusBadRequest)
	w.admin().call("PUT", "/api/user", unlock, http.StatusOK)
	if status, _ := login(password); status != http.StatusOK {
		t.Errorf("after it was forgotten: %d", status)
	}
}

// Strangers cannot fill the audit.
func TestStrangersLeaveFewRows(t *testing.T) {
	w := start(t, setup{})
	c := &client{w: w}
	for i := range 230 {
		if i%20 == 0 { // each takes a hash
			c.do("POST", "/api/user/authenticate", map[string]any{"userName": fmt.Sprint("nobody", i), "password": "x"})
		}
		c.do("POST", "/api/user/password/reset", map[string]any{"userInput": fmt.Sprint("nobody", i)})
	}
	for range 300 {
		c.do("GET", "/api/group", nil)
	}
	audit, ok := w.d.Control().Store.(interface {
		Audit(ctx context.Context, f ledger.AuditFilter) ([]ledger.AuditRow, int64, error)
	})
	if !ok {
		t.Fatal("the store has no audit")
	}
	_, total, err := audit.Audit(context.Background(), ledger.AuditFilter{Limit: 1})
	if err != nil || total != 200 {
		t.Errorf("%d rows, want 200: %v", total, err)
	}
}
