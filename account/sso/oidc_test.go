package sso

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A liar is a stand-in for a provider that says what a test wants: the real one
// that the API is tested with says nothing false.
type liar struct {
	t      *testing.T
	s      *httptest.Server
	key    *rsa.PrivateKey
	claims map[string]any
	info   map[string]any
	sign   func(payload []byte) string
	answer func(w http.ResponseWriter, r *http.Request) bool // true: it was answered
}

func newLiar(t *testing.T) *liar {
	t.Helper()
	l := &liar{t: t}
	var err error
	if l.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	l.s = httptest.NewServer(l)
	t.Cleanup(l.s.Close)
	return l
}

func (l *liar) with(alg jose.SignatureAlgorithm, key any) func([]byte) string {
	return func(payload []byte) string {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k"))
		if err != nil {
			l.t.Error(err)
			return ""
		}
		o, err := s.Sign(payload)
		if err != nil {
			l.t.Error(err)
			return ""
		}
		text, err := o.CompactSerialize()
		if err != nil {
			l.t.Error(err)
		}
		return text
	}
}

// ServeHTTP is http.Handler's.
func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if l.answer != nil && l.answer(w, r) {
		return
	}
	var v any
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		v = map[string]any{"issuer": l.s.URL, "authorization_endpoint": l.s.URL + "/auth", "token_endpoint": l.s.URL + "/token", "jwks_uri": l.s.URL + "/keys",
			"userinfo_endpoint": l.s.URL + "/me", "id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"}}
	case "/keys":
		v = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: l.key.Public(), KeyID: "k", Algorithm: "RS256", Use: "sig"}}}
	case "/token":
		payload, err := json.Marshal(l.claims)
		if err != nil {
			l.t.Error(err)
		}
		v = map[string]any{"access_token": "at", "token_type": "Bearer", "id_token": l.sign(payload)}
	case "/me":
		v = l.info
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		l.t.Error(err)
	}
}

func (l *liar) open() (*OIDC, error) {
	return OpenOIDC(l.t.Context(), OIDCOptions{Provider: Okta, Authority: l.s.URL, ClientID: "lw", ClientSecret: strings.Repeat("s", 64), BaseURL: "https://lw.example.org/", Client: NewClient(nil)})
}

func TestIDTokens(t *testing.T) {
	l := newLiar(t)
	p, err := l.open()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	half := sha256.Sum256([]byte("at"))
	good := map[string]any{"iss": l.s.URL, "aud": "lw", "sub": "ann", "nonce": "n", "iat": now, "exp": now + 60, "groups": []string{"a", "b"}, "preferred_username": "Ann",
		"at_hash": base64.RawURLEncoding.EncodeToString(half[:16])}
	rs := l.with(jose.RS256, l.key)
	finish := func(nonce string) (Person, error) { return p.Finish(t.Context(), "code", l.s.URL, nonce, "verifier") }
	l.claims, l.sign = good, rs
	if who, err := finish("n"); err != nil || who.Subject != "ann" || who.Login != "Ann" || fmt.Sprint(who.Roles) != "[a b]" {
		t.Fatalf("%+v: %v", who, err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	cases, accepted := 0, 0
	refuse := func(what, nonce string) {
		t.Helper()
		cases++
		if who, err := finish(nonce); !fault.Is(err, fault.Denied) {
			accepted++
			t.Errorf("%s: %+v, %v", what, who, err)
		}
	}
	refuse("another nonce", "m")
	refuse("no nonce asked for", "")
	for what, change := range map[string][2]any{
		"no nonce": {"nonce", nil}, "another issuer": {"iss", "https://other.example.org"}, "another audience": {"aud", "other"}, "no audience": {"aud", nil},
		"a second audience": {"aud", []string{"lw", "other"}}, "made for another": {"azp", "other"}, "over": {"exp", now - 1}, "without end": {"exp", nil}, "not yet": {"nbf", now + 3600},
		"another access token": {"at_hash", "AAAAAAAAAAAAAAAAAAAAAA"},
	} {
		l.claims = maps.Clone(good)
		if l.claims[change[0].(string)] = change[1]; change[1] == nil {
			delete(l.claims, change[0].(string))
		}
		refuse(what, "n")
	}
	l.claims = good
	for what, sign := range map[string]func([]byte) string{
		"another key": l.with(jose.RS256, other), "the client's secret": l.with(jose.HS256, []byte(strings.Repeat("s", 64))), "the public key as a secret": l.with(jose.HS256, l.key.N.Bytes()),
		"an algorithm that was not offered": l.with(jose.PS512, l.key),
		"none":                              func(b []byte) string { return b64([]byte(`{"alg":"none"}`)) + "." + b64(b) + "." },
		"nothing":                           func([]byte) string { return "" }, "cut": func(b []byte) string { return rs(b)[:40] },
		"no text": func([]byte) string { return "a.b.c" },
	} {
		l.sign = sign
		refuse(what, "n")
	}
	l.sign = rs
	if _, err := p.Finish(t.Context(), "code", "https://other.example.org", "n", "v"); !fault.Is(err, fault.Denied) {
		t.Errorf("another issuer's code: %v", err)
	}
	// What the token does not say is asked for, of nobody else.
	l.claims = maps.Clone(good)
	delete(l.claims, "groups")
	l.info = map[string]any{"sub": "ann", "groups": "one", "nonce": "x", "email": "ann@example.org"}
	if who, err := finish("n"); err != nil || fmt.Sprint(who.Roles) != "[one]" || who.Email != "ann@example.org" {
		t.Errorf("%+v: %v", who, err)
	}
	l.info = map[string]any{"sub": "root", "groups": "one"}
	refuse("the user info of another", "n")
	t.Logf("cases=%d accepted=%d", cases, accepted)
}

// What a provider says of itself is bounded, and is about it.
func TestProviderDocuments(t *testing.T) {
	l := newLiar(t)
	for what, answer := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"endless": func(w http.ResponseWriter, _ *http.Request) bool {
			for range 64 {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					break
				}
			}
			return true
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/elsewhere" {
				t.Error("a redirect was followed")
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
			return true
		},
		"another issuer": func(w http.ResponseWriter, _ *http.Request) bool {
			fmt.Fprint(w, `{"issuer":"https://other.example.org"}`)
			return true
		},
		"not JSON": func(w http.ResponseWriter, _ *http.Request) bool { fmt.Fprint(w, "hello"); return true },
		"a failure with a secret": func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "hunter2", http.StatusInternalServerError)
			return true
		},
	} {
		l.answer = answer
		if _, err := l.open(); !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", what, err)
		}
	}
	l.answer = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":"javascript:alert(1)","token_endpoint":%q}`, l.s.URL+"/", l.s.URL)
		return true
	}
	if _, err := l.open(); !fault.Is(err, fault.Denied) {
		t.Errorf("an endpoint that is none: %v", err)
	}
}

func TestRolesAndURLs(t *testing.T) {
	for _, c := range []struct {
		p    Provider
		name string
		ok   bool
	}{
		{Azure, "roles", true}, {Azure, "http://schemas.microsoft.com/ws/2008/06/identity/claims/role", true}, {Azure, "memberOf", false}, {Okta, "groups", true}, {Okta, "role", false},
		{Auth0, "https://example.org/claims/roles", true}, {Auth0, "groups", false}, {ADFS, "http://schemas.xmlsoap.org/claims/Group", true}, {PingFederate, "memberOf", true}, {OPSWAT, "roles", true}, {99, "roles", false},
	} {
		if c.p.speaksOfRoles(c.name) != c.ok {
			t.Errorf("%d %s: %v", c.p, c.name, !c.ok)
		}
	}
	if got := fmt.Sprint(roles([]any{"a", 1, nil, []any{"b"}, "CN=Admins,OU=x"})); got != "[a CN=Admins,OU=x Admins]" {
		t.Error(got)
	}
	for u, ok := range map[string]bool{"https://a.example.org/b": true, "http://127.0.0.1:8480": true, "http://localhost/x": true, "http://[::1]:1": true, "http://example.org": false, "http://127.0.0.1.example.org": false,
		"https://u:p@a.example.org": false, "https://a.example.org/#x": false, "/a": false, "": false, "javascript:alert(1)": false, "https://": false, "ftp://a": false, "http://127.1.evil": false} {
		if (CheckURL(u) == nil) != ok {
			t.Errorf("%s: %v", u, CheckURL(u))
		}
	}
	for _, text := range []string{"", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "AAAA", "-----BEGIN"} {
		if _, err := Certificates(text); err == nil {
			t.Errorf("%q is a certificate", text)
		}
	}
}
