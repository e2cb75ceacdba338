package api_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/test/servers"
)

// A browser follows redirects, keeps cookies and fills in forms.
type browser struct {
	t    *testing.T
	http *http.Client
	// stop says where not to go on: the answer is then the redirect.
	stop string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	b.http = &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if b.stop != "" && strings.Contains(r.URL.String(), b.stop) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	return b
}

func (b *browser) read(resp *http.Response, err error) (*http.Response, string) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(text)
}

func (b *browser) get(u string) (*http.Response, string) { b.t.Helper(); return b.read(b.http.Get(u)) }

func (b *browser) post(u string, form url.Values) (*http.Response, string) {
	b.t.Helper()
	return b.read(b.http.PostForm(u, form))
}

var formAction = regexp.MustCompile(`action="([^"]+)"`)

// logIn goes from our login through the provider's forms, and returns what is at
// the end.
func (b *browser) logIn(begin, name string) (*http.Response, string) {
	b.t.Helper()
	resp, text := b.get(begin)
	for range 4 {
		action := formAction.FindStringSubmatch(text)
		if action == nil {
			break
		}
		to, err := resp.Request.URL.Parse(action[1])
		if err != nil {
			b.t.Fatal(err)
		}
		form := url.Values{"prompt": {"login"}, "login": {name}, "password": {"any"}}
		if !strings.Contains(text, `name="login"`) {
			form = url.Values{"prompt": {"consent"}}
		}
		resp, text = b.post(to.String(), form)
	}
	return resp, text
}

// granted reads the grant at the end of a login.
func (w *world) granted(resp *http.Response, text string) map[string]any {
	w.t.Helper()
	got := map[string]any{}
	if err := json.Unmarshal([]byte(text), &got); err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("%s %s: %.500s", resp.Request.URL, resp.Status, text)
	}
	if resp.Header.Get("Cache-Control") != "no-store" {
		w.t.Error("a grant may be cached")
	}
	return got
}

func TestOIDC(t *testing.T) {
	w := start(t, setup{})
	a := w.admin()
	login, callback := w.url+"/api/landwaiter/sso/login", w.url+"/api/landwaiter/sso/callback"
	newBrowser(t).get(login)
	a.call("GET", "/api/landwaiter/sso/login", nil, http.StatusNotFound) // not set up
	config := func(p servers.OIDC) map[string]any {
		return map[string]any{"isEnabled": true, "ssoType": 0, "ssoProvider": 1, "baseUrl": w.url, "authority": p.Issuer, "clientId": p.ClientID, "clientSecret": p.ClientSecret,
			"administratorRoleName": "lw-admins", "readonlyRoleName": "lw-readers"}
	}
	p := servers.StartOIDC(t, callback, false)
	for _, bad := range []map[string]any{{"isEnabled": true}, {"ssoProvider": 6}, {"ssoType": 2}, {"baseUrl": "javascript:alert(1)"}, {"authority": "http://example.org"},
		{"authority": "https://u:p@example.org"}, {"administratorRoleName": strings.Repeat("x", 64)}, {"identityProviderCertificate": map[string]any{"content": "nonsense"}}} {
		a.call("PATCH", "/api/sso", bad, http.StatusBadRequest)
	}
	w.as("reader").call("PATCH", "/api/sso", config(p), http.StatusForbidden)
	w.as("reader").call("GET", "/api/sso/config", nil, http.StatusForbidden)
	(&client{w: w}).call("GET", "/api/sso/config", nil, http.StatusUnauthorized)
	w.user("t0", account.TenantAdministrator, account.DefaultTenant) // who would make themselves more than they are
	w.as("t0").call("PATCH", "/api/sso", config(p), http.StatusForbidden)
	a.call("PATCH", "/api/sso", config(p), http.StatusOK)
	got := a.call("GET", "/api/sso/config", nil, http.StatusOK)
	if at(got, "isEnabled") != true || word(got, "authority") != p.Issuer || word(got, "clientSecret") != "" || at(got, "ssoProvider") != 1.0 {
		t.Errorf("config: %v", got)
	}

	b := newBrowser(t)
	grant := w.granted(b.logIn(login, "ann-admin"))
	if at(grant, "user.role") != 4.0 || word(grant, "user.userName") != "ann-admin@example.org" || word(grant, "user.fullName") != "The ann-admin" {
		t.Errorf("grant: %v", grant)
	}
	ann := &client{w: w, token: word(grant, "accessToken")}
	ann.call("POST", "/api/group", map[string]any{"name": "by sso"}, http.StatusOK)
	// Again, with the provider's own session: the same user.
	if again := w.granted(b.get(login)); word(again, "user.id") != word(grant, "user.id") {
		t.Errorf("another user: %v", again)
	}
	reader := w.granted(newBrowser(t).logIn(login, "bob-reader"))
	if at(reader, "user.role") != 5.0 {
		t.Errorf("reader: %v", reader)
	}
	(&client{w: w, token: word(reader, "accessToken")}).call("POST", "/api/group", map[string]any{"name": "x"}, http.StatusForbidden)
	if resp, text := newBrowser(t).logIn(login, "nobody"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("without a group: %s %s", resp.Status, text)
	}

	// What comes back is good once, in the browser that went, and unchanged.
	accepted, cases := 0, 0
	refuse := func(what string, resp *http.Response, text string) {
		t.Helper()
		if cases++; resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusBadRequest {
			accepted++
			t.Errorf("%s: %s %.300s", what, resp.Status, text)
		}
	}
	// back is where the provider would send a browser that is logged in.
	back := func(b *browser) *url.URL {
		t.Helper()
		b.stop = "/sso/callback"
		resp, _ := b.get(login)
		b.stop = ""
		to, err := resp.Location()
		if err != nil {
			t.Fatalf("%s: %v", resp.Status, err)
		}
		return to
	}
	with := func(u *url.URL, name, value string) string {
		q := u.Query()
		if q.Set(name, value); value == "" {
			q.Del(name)
		}
		c := *u
		c.RawQuery = q.Encode()
		return c.String()
	}
	other := newBrowser(t)
	other.logIn(login, "eve-reader")
	for what, change := range map[string]func(u *url.URL) string{
		"no state": func(u *url.URL) string { return with(u, "state", "") }, "another state": func(u *url.URL) string { return with(u, "state", strings.Repeat("A", 43)) },
		"no code": func(u *url.URL) string { return with(u, "code", "") }, "another code": func(u *url.URL) string { return with(u, "code", "stolen") },
		"another issuer":    func(u *url.URL) string { return with(u, "iss", "http://127.0.0.1:1") },
		"the code of eve":   func(u *url.URL) string { return with(u, "code", back(other).Query().Get("code")) },
		"the provider's no": func(u *url.URL) string { return with(u, "code", "") + "&error=access_denied" },
	} {
		resp, text := b.get(change(back(b)))
		refuse(what, resp, text)
	}
	u := back(b)
	resp, text := other.get(u.String())
	refuse("another browser", resp, text)
	resp, text = b.get(u.String())
	refuse("after another browser tried", resp, text)
	u = back(b)
	w.granted(b.get(u.String()))
	resp, text = b.get(u.String())
	refuse("a second time", resp, text)
	t.Logf("cases=%d accepted=%d", cases, accepted)

	// A browser that wants a page is sent to ours, with a code that works once.
	req, err := http.NewRequest(http.MethodGet, back(b).String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html,application/xhtml+xml,*/*")
	b.stop = w.url + "/#"
	resp, text = b.read(b.http.Do(req))
	b.stop = ""
	_, code, _ := strings.Cut(resp.Header.Get("Location"), w.url+"/#sso=")
	if resp.StatusCode != http.StatusSeeOther || len(code) != 43 || strings.Contains(text, "eyJ") {
		t.Fatalf("a browser: %s %s %s", resp.Status, resp.Header.Get("Location"), text)
	}
	c := &client{w: w}
	c.call("POST", "/api/landwaiter/sso/session", map[string]any{"code": strings.Repeat("A", 43)}, http.StatusUnauthorized)
	page := &client{w: w, token: word(c.call("POST", "/api/landwaiter/sso/session", map[string]any{"code": code}, http.StatusOK), "accessToken")}
	page.call("GET", "/api/group", nil, http.StatusOK)
	c.call("POST", "/api/landwaiter/sso/session", map[string]any{"code": code}, http.StatusUnauthorized)

	// A local user of the same name is not taken over; one that an administrator
	// linked is the person's, with the role that the administrator gave.
	w.user("mallory-admin@example.org", account.ReadOnlyAdministrator, account.DefaultTenant)
	if resp, text := newBrowser(t).logIn(login, "mallory-admin"); resp.StatusCode != http.StatusConflict {
		t.Errorf("a local user's name: %s %s", resp.Status, text)
	}
	a.call("POST", "/api/user/create", map[string]any{"userName": "carl", "fullName": "Carl", "email": "carl@example.org", "ssoUserId": "carl", "role": 2}, http.StatusOK)
	if got := w.granted(newBrowser(t).logIn(login, "carl")); word(got, "user.userName") != "carl" || at(got, "user.role") != 2.0 {
		t.Errorf("linked: %v", got)
	}
	// The role goes as the group does.
	a.call("PATCH", "/api/sso", map[string]any{"administratorRoleName": "lw-others"}, http.StatusOK)
	if resp, _ := b.get(login); resp.StatusCode != http.StatusForbidden {
		t.Errorf("after the group was taken away: %s", resp.Status)
	}
	ann.call("GET", "/api/group", nil, http.StatusUnauthorized)
	a.call("PATCH", "/api/sso", map[string]any{"readonlyRoleName": "staff"}, http.StatusOK)
	if got := w.granted(b.get(login)); at(got, "user.role") != 5.0 || word(got, "user.id") != word(grant, "user.id") {
		t.Errorf("with another group: %v", got)
	}
	// A secret is not shown to another authority.
	a.call("PATCH", "/api/sso", map[string]any{"authority": "http://127.0.0.1:9"}, http.StatusOK)
	if resp, _ := b.get(login); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a provider that does not answer: %s", resp.Status)
	}
}

// A provider whose ID tokens say all, for a tenant of its own.
func TestOIDCOfATenant(t *testing.T) {
	w := start(t, setup{})
	tenant := word(w.admin().call("POST", "/api/tenant", map[string]any{"customerName": "One"}, http.StatusOK), "tenant.id")
	w.admin().call("POST", "/api/user/create", body("t1", "role", 6, "tenantId", tenant), http.StatusOK)
	p := servers.StartOIDC(t, w.url+"/api/landwaiter/sso/callback", true)
	w.as("t1").call("PATCH", "/api/sso", map[string]any{"isEnabled": true, "ssoProvider": 4, "baseUrl": w.url + "/", "authority": p.Issuer + "/", "clientId": p.ClientID, "clientSecret": p.ClientSecret,
		"administratorRoleName": "lw-admins"}, http.StatusOK)
	if resp, _ := newBrowser(t).get(w.url + "/api/landwaiter/sso/login"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the tenant that has none: %s", resp.Status)
	}
	if resp, _ := newBrowser(t).get(w.url + "/api/landwaiter/sso/login?tenantId=nonsense"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("a tenant that is not there: %s", resp.Status)
	}
	got := w.granted(newBrowser(t).logIn(w.url+"/api/landwaiter/sso/login?tenantId="+tenant, "ann-admin"))
	ann := &client{w: w, token: word(got, "accessToken")}
	if list := ann.call("GET", "/api/user/active/0/10", nil, http.StatusOK); at(list, "totalCount") != 2.0 {
		t.Errorf("ann sees %v", list)
	}
	ann.call("GET", "/api/tenant", nil, http.StatusForbidden)
	// The tenant's provider cannot speak for the other tenant's users.
	w.admin().call("POST", "/api/user/create", map[string]any{"userName": "root2", "fullName": "R", "email": "r@example.org", "ssoUserId": "r-admin", "role": 2}, http.StatusOK)
	if got := w.granted(newBrowser(t).logIn(w.url+"/api/landwaiter/sso/login?tenantId="+tenant, "r-admin")); word(got, "user.userName") == "root2" {
		t.Error("another tenant's user was taken over")
	}
}
