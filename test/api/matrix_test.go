package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/account"
)

// ssoSetting says which logins become administrators: there, only who is one may.
const ssoSetting = "updateSsoConfiguration"

// suffices says which roles suffice, of the default tenant and of another.
func suffices(permission string, role account.Role, tenant int64) bool {
	for p := account.Public; p <= account.System; p++ {
		if p.String() == permission {
			return account.Caller{Role: role, Tenant: tenant}.May(p)
		}
	}
	return false
}

// TestAuthorization calls every operation as everybody: who may not is refused,
// before anything else is said, and who may is not.
func TestAuthorization(t *testing.T) {
	w := start(t, setup{})
	doc := w.document()
	type caller struct {
		name   string
		role   account.Role
		tenant int64
		key    bool
		token  string // as it is sent; of those who are nobody
	}
	callers := []caller{{name: "nobody"}, {name: "nonsense", token: "Bearer nonsense"}, {name: "basic", token: "Basic YWRtaW46YWRtaW4="},
		{name: "unsigned", token: "Bearer eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhZG1pbiJ9."}}
	for _, role := range []account.Role{account.ReadOnlyAdministrator, account.Administrator, account.SSOAdministrator, account.SSOReadOnlyAdministrator, account.TenantAdministrator} {
		for _, tenant := range []int64{account.DefaultTenant, 2} {
			for _, key := range []bool{false, true} {
				callers = append(callers, caller{name: fmt.Sprintf("cell-%d-%d-%t", role, tenant, key), role: role, tenant: tenant, key: key})
			}
		}
	}
	cells, leaks := 0, 0
	for _, c := range callers {
		var as *client
		var u account.User
		if c.role != account.None {
			u = w.user(c.name, c.role, c.tenant)
			if c.key {
				as = w.withKey(u)
			}
		}
		for _, op := range doc.operations {
			may := suffices(op.Permission, c.role, c.tenant)
			if op.ID == ssoSetting && c.role == account.TenantAdministrator && c.tenant == account.DefaultTenant {
				may = false
			}
			if op.streams() && may {
				continue // TestOurs follows it
			}
			var resp *http.Response
			var body []byte
			switch {
			case c.role == account.None && c.token != "":
				resp, body = (&client{w: w}).do(op.method, op.url(unknown), "{}", "Authorization", c.token)
			case c.role == account.None:
				resp, body = (&client{w: w}).do(op.method, op.url(unknown), "{}")
			default:
				if as == nil || !c.key && op.method != http.MethodGet { // the call before may have ended the session
					as = w.session(u)
				}
				resp, body = as.do(op.method, op.url(unknown), "{}")
			}
			if c.key && strings.HasSuffix(op.path, "/apikey") { // it may have revoked it
				as = w.withKey(u)
			}
			cells++
			at := fmt.Sprintf("%s: %s %s: %s: %.200s", c.name, op.method, op.path, resp.Status, body)
			status := resp.StatusCode
			switch {
			case op.Permission == "public":
				if status >= 500 && status != http.StatusServiceUnavailable {
					t.Error(at)
				}
			case c.role == account.None && status != http.StatusUnauthorized:
				leaks++
				t.Errorf("%s: want 401", at)
			case c.role != account.None && !may && status != http.StatusForbidden:
				leaks++
				t.Errorf("%s: want 403", at)
			case may && status == http.StatusUnauthorized, may && status == http.StatusForbidden && bytes.Contains(body, []byte("your role")):
				t.Errorf("%s: it may", at)
			case status >= 500 && status != http.StatusServiceUnavailable:
				t.Error(at)
			}
		}
	}
	t.Logf("cells=%d leaks=%d", cells, leaks)
}

// TestBadRequests sends every operation what makes no sense: it says so, and
// never that it was our fault.
func TestBadRequests(t *testing.T) {
	w := start(t, setup{})
	doc := w.document()
	deep := strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000)
	bodies := []string{"", "{", "[]", `"text"`, "null", "1", "{}{}", "\x00\xff", `{"a":1e999}`, deep, `{"name":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}",
		`{"x":"` + strings.Repeat("y", 9<<20) + `"}`}
	ids := []string{"nonsense", "%00", "%2e%2e%2f", "-1", "9999999999999999999999", strings.Repeat("x", 3000), "0198f02f-0000-7000-8000-00000000dead", "%ff%fe", "'", "NaN"}
	cases, faults := 0, 0
	a := w.admin()
	check := func(op operation, what string, resp *http.Response, body []byte) {
		cases++
		if resp.StatusCode == http.StatusUnauthorized { // a logout worked
			a = w.admin()
		}
		if resp.StatusCode >= 500 && resp.StatusCode != http.StatusServiceUnavailable {
			faults++
			t.Errorf("%s %s: %s: %s: %.300s", op.method, op.path, what, resp.Status, body)
		}
	}
	for _, op := range doc.operations {
		if op.streams() {
			continue
		}
		if op.method != http.MethodGet {
			for _, b := range bodies {
				resp, body := a.do(op.method, op.url(unknown), b)
				check(op, fmt.Sprintf("body %.20q", b), resp, body)
			}
			resp, body := a.do(op.method, op.url(unknown), "{}", "Content-Type", "text/plain")
			check(op, "text/plain", resp, body)
			resp, body = a.do(op.method, op.url(unknown), "--x\r\nnothing", "Content-Type", "multipart/form-data; boundary=x")
			check(op, "half a form", resp, body)
		}
		if strings.Contains(op.path, "{") {
			for _, id := range ids {
				resp, body := a.do(op.method, op.url(func(string) string { return id }), "{}")
				check(op, "id "+clip(id), resp, body)
			}
		}
		for _, p := range op.Parameters {
			if p.In != "query" {
				continue
			}
			for _, v := range []string{"", "nonsense", "-1", "99999999999999999999", "\x00", "1,2,x", strings.Repeat("z", 5000), "NaN", "2026-13-45"} {
				resp, body := a.do(op.method, op.url(unknown)+"?"+url.Values{p.Name: {v}}.Encode(), nil)
				check(op, "query "+p.Name+"="+clip(v), resp, body)
			}
		}
	}
	t.Logf("cases=%d faults=%d", cases, faults)
}

func clip(s string) string { return fmt.Sprintf("%.30q", s) }

// TestGenerated calls every operation with values that its schema allows, and
// some that it almost allows: no answer is a fault of ours, and each is one that
// the document knows. TEST_GENERATED is how often (default 6).
func TestGenerated(t *testing.T) {
	seed := uint64(20261128)
	times := 6
	if n, err := strconv.Atoi(os.Getenv("TEST_GENERATED")); err == nil {
		times, seed = n, rand.Uint64()
	}
	w := start(t, setup{})
	doc := w.document()
	g := &generator{d: doc, r: rand.New(rand.NewPCG(seed, 1)), t: t}
	a := w.admin()
	var known []string // ids that answers named
	cases, faults, violations := 0, 0, 0
	for range times {
		for _, op := range doc.operations {
			if op.streams() {
				continue
			}
			path := op.url(func(name string) string {
				if len(known) > 0 && g.r.IntN(2) == 0 && unknown(name) != "0" && unknown(name) != "10" {
					return known[g.r.IntN(len(known))]
				}
				return unknown(name)
			})
			query := url.Values{}
			for _, p := range op.Parameters {
				if p.In == "query" && (p.Required && g.r.IntN(20) > 0 || g.r.IntN(3) == 0) {
					v := g.value(p.Schema, 0)
					if list, ok := v.([]any); ok {
						var words []string
						for _, x := range list {
							words = append(words, fmt.Sprint(x))
						}
						v = strings.Join(words, ",")
					}
					query.Set(p.Name, fmt.Sprint(v))
				}
			}
			if len(query) > 0 {
				path += "?" + query.Encode()
			}
			var body any
			if op.Body != nil {
				for _, kind := range []string{"application/json"} {
					if c, ok := op.Body.Content[kind]; ok {
						v := g.value(c.Schema, 0)
						if o, ok := v.(map[string]any); ok && len(known) > 0 {
							for k := range o {
								if strings.HasSuffix(strings.ToLower(k), "id") && g.r.IntN(2) == 0 {
									o[k] = known[g.r.IntN(len(known))]
								}
							}
						}
						body = v
					}
				}
			}
			resp, got := a.do(op.method, path, body)
			cases++
			sent, _ := json.Marshal(body)
			at := fmt.Sprintf("seed=%d: %s %s %.500s: %s: %.300s", seed, op.method, path, sent, resp.Status, got)
			if resp.StatusCode >= 500 && resp.StatusCode != http.StatusServiceUnavailable {
				faults++
				t.Errorf("a fault: %s", at)
			} else if why := doc.breaks(op, resp, got); why != "" {
				violations++
				t.Errorf("not as the document says: %s: %s", why, at)
			}
			var v any
			if json.Unmarshal(got, &v) == nil {
				known = idsIn(v, known)
			}
			if resp.StatusCode == http.StatusUnauthorized || strings.HasPrefix(op.path, "/api/user") {
				a = w.readmit()
			}
		}
	}
	t.Logf("cases=%d faults=%d violations=%d seed=%d", cases, faults, violations, seed)
}

// idsIn adds what looks like an id to a list that stays short.
func idsIn(v any, list []string) []string {
	switch t := v.(type) {
	case []any:
		for _, x := range t {
			list = idsIn(x, list)
		}
	case map[string]any:
		for _, x := range t {
			list = idsIn(x, list)
		}
	case string:
		if len(t) == 36 && strings.Count(t, "-") == 4 && len(list) < 500 {
			list = append(list, t)
		}
	}
	return list
}

// readmit logs the administrator in again, whatever was done to them.
func (w *world) readmit() *client {
	w.t.Helper()
	store := w.d.Control().Store
	u, err := store.UserOf(w.t.Context(), "admin")
	if err != nil {
		u = w.user("admin", account.Administrator, account.DefaultTenant)
	} else {
		u.Role, u.Tenant = account.Administrator, account.DefaultTenant
		if u, err = store.PutUser(w.t.Context(), u); err != nil {
			w.t.Fatal(err)
		}
	}
	return w.session(u)
}
