package api_test

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"hash"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/internal/seal"
	"github.com/landwaiter/landwaiter/ledger"
)

// signing is the key of a world's access tokens, as only the machine has it.
func (w *world) signing() []byte {
	w.t.Helper()
	key, _, err := seal.Load(w.data)
	if err != nil {
		w.t.Fatal(err)
	}
	box, err := seal.New(key)
	if err != nil {
		w.t.Fatal(err)
	}
	signing, err := box.Derive("access tokens")
	if err != nil {
		w.t.Fatal(err)
	}
	return signing
}

// raw signs a token of any header and claims, both as they are written.
func raw(head, claims string, key []byte, h func() hash.Hash) string {
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(head)) + "." + b64([]byte(claims))
	mac := hmac.New(h, key)
	mac.Write([]byte(text))
	return text + "." + b64(mac.Sum(nil))
}

const hs256 = `{"alg":"HS256","typ":"JWT"}`

// Every token but the one that was given is refused, however near it comes: most
// of these are signed with the right key.
func TestBadTokens(t *testing.T) {
	w := start(t, setup{})
	good := w.as("reader").token
	key := w.signing()
	claims := jwt.MapClaims{}
	if _, err := jwt.ParseWithClaims(good, claims, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
		t.Fatal(err)
	}
	with := func(change ...any) string {
		c := maps.Clone(claims)
		for i := 0; i+1 < len(change); i += 2 {
			if change[i+1] == nil {
				delete(c, change[i].(string))
			} else {
				c[change[i].(string)] = change[i+1]
			}
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	sign := func(change ...any) string { return raw(hs256, with(change...), key, sha256.New) }
	works := func(token string) bool {
		resp, _ := (&client{w: w, token: token}).do("GET", "/api/group", nil)
		if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %s", token[:min(len(token), 60)], resp.Status)
		}
		return resp.StatusCode == http.StatusOK
	}
	if !works(good) || !works(sign()) {
		t.Fatal("the good token is refused: this test would prove nothing")
	}
	part := strings.Split(good, ".")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rs256, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	ended := w.as("reader")
	ended.call("POST", "/api/user/logout", nil, http.StatusOK)
	store := w.d.Control().Store
	gone := w.user("gone", account.Administrator, account.DefaultTenant)
	ofGone := w.as("gone").token
	if err := store.DeleteUser(context.Background(), gone.ID); err != nil {
		t.Fatal(err)
	}
	other := w.user("other", account.Administrator, account.DefaultTenant)
	now := time.Now().Unix()
	b64 := base64.RawURLEncoding.EncodeToString
	bad := map[string]string{
		"alg none":                   b64([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + part[1] + ".",
		"alg None":                   b64([]byte(`{"alg":"None"}`)) + "." + part[1] + ".",
		"alg none with a signature":  b64([]byte(`{"alg":"none"}`)) + "." + part[1] + "." + part[2],
		"alg missing":                raw(`{"typ":"JWT"}`, with(), key, sha256.New),
		"alg empty":                  raw(`{"alg":""}`, with(), key, sha256.New),
		"alg a list":                 raw(`{"alg":["HS256"]}`, with(), key, sha256.New),
		"alg HS512":                  raw(`{"alg":"HS512"}`, with(), key, sha512.New),
		"alg HS384 over HS256":       raw(`{"alg":"HS384"}`, with(), key, sha256.New),
		"alg hs256":                  raw(`{"alg":"hs256"}`, with(), key, sha256.New),
		"alg RS256":                  rs256,
		"alg RS256 over HS256":       raw(`{"alg":"RS256"}`, with(), key, sha256.New),
		"alg ES256 over HS256":       raw(`{"alg":"ES256"}`, with(), key, sha256.New),
		"another key":                raw(hs256, with(), []byte(strings.Repeat("k", 32)), sha256.New),
		"an empty key":               raw(hs256, with(), nil, sha256.New),
		"the box's own key":          raw(hs256, with(), mustLoad(t, w.data), sha256.New),
		"kid of a file":              raw(`{"alg":"HS256","kid":"/dev/null"}`, with(), nil, sha256.New),
		"kid of SQL":                 raw(`{"alg":"HS256","kid":"x' UNION SELECT 'k"}`, with(), []byte("k"), sha256.New),
		"jwk of its own":             raw(`{"alg":"HS256","jwk":{"kty":"oct","k":"`+b64([]byte("own"))+`"}}`, with(), []byte("own"), sha256.New),
		"jku elsewhere":              raw(`{"alg":"HS256","jku":"http://127.0.0.1:1/keys"}`, with(), []byte("own"), sha256.New),
		"expired":                    sign("exp", now-1),
		"expires a second ago, text": sign("exp", "2020-01-01T00:00:00Z"),
		"no expiry":                  sign("exp", nil),
		"expiry negative":            sign("exp", -1),
		"not yet":                    sign("nbf", now+3600),
		"issued in the future":       sign("iat", now+3600),
		"another issuer":             sign("iss", "somebody"),
		"no issuer":                  sign("iss", nil),
		"another audience":           sign("aud", "console"),
		"no audience":                sign("aud", nil),
		"audience empty":             sign("aud", []string{}),
		"no subject":                 sign("sub", nil),
		"subject no id":              sign("sub", "reader"),
		"subject of another":         sign("sub", other.ID.String()),
		"subject of nobody":          sign("sub", ledger.NewID().String()),
		"no session":                 sign("sid", nil),
		"session of nobody":          sign("sid", ledger.NewID().String()),
		"session nil":                sign("sid", ledger.ID{}.String()),
		"session a number":           sign("sid", 1),
		"session ended":              ended.token,
		"user gone":                  ofGone,
		"truncated":                  good[:len(good)-5],
		"signature cut":              part[0] + "." + part[1] + ".",
		"no signature":               part[0] + "." + part[1],
		"header alone":               part[0],
		"an extra dot":               good + ".",
		"dots before":                "." + good,
		"a fourth part":              good + "." + part[2],
		"a changed claim":            part[0] + "." + b64([]byte(with("sub", other.ID.String()))) + "." + part[2],
		"a changed signature":        part[0] + "." + part[1] + "." + strings.Repeat("A", len(part[2])),
		"padding":                    good + "=",
		"loose last bits":            good[:len(good)-1] + next(good[len(good)-1]),
		"standard base64":            raw(hs256, with(), key, sha256.New) + "+/",
		"huge":                       sign("pad", strings.Repeat("x", 8000)),
		"deep":                       raw(hs256, `{"a":`+strings.Repeat("[", 900)+strings.Repeat("]", 900)+`}`, key, sha256.New),
		"claims no object":           raw(hs256, `"x"`, key, sha256.New),
		"claims null":                raw(hs256, `null`, key, sha256.New),
		"claims empty":               raw(hs256, `{}`, key, sha256.New),
		"not base64":                 "a.b.c",
		"duplicate sub, other last":  raw(hs256, strings.TrimSuffix(with(), "}")+`,"sub":"`+other.ID.String()+`"}`, key, sha256.New),
		"duplicate exp, old last":    raw(hs256, strings.TrimSuffix(with(), "}")+`,"exp":1}`, key, sha256.New),
		"critical unknown":           raw(`{"alg":"HS256","crit":["b64"],"b64":false}`, with(), key, sha256.New),
		"unencoded payload":          part[0] + "." + with() + "." + part[2],
		"JWE":                        b64([]byte(`{"alg":"dir","enc":"A256GCM"}`)) + "...AAAA.AAAA",
	}
	accepted := 0
	for name, token := range bad {
		if works(token) {
			accepted++
			t.Errorf("%s was accepted", name)
		}
	}
	for _, header := range []string{"bearer", "Bearer", "Basic " + good, "Token " + good, good, "Bearer  ", "Bearer " + good + " " + good, "Bearer " + good + "," + good} {
		resp, _ := (&client{w: w}).do("GET", "/api/group", nil, "Authorization", header)
		if bad["header "+header] = header; resp.StatusCode != http.StatusUnauthorized {
			accepted++
			t.Errorf("Authorization %.20s…: %s", header, resp.Status)
		}
	}
	t.Logf("cases=%d accepted=%d", len(bad), accepted)
	if len(bad) < 30 || !works(good) {
		t.Error("the good token is refused now")
	}
}

// next is the base64 letter whose low bits are others, of the same bytes where
// they do not count.
func next(b byte) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(letters[strings.IndexByte(letters, b)^1])
}

func mustLoad(t *testing.T, dir string) []byte {
	t.Helper()
	key, _, err := seal.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A refresh token works once, with the access token that came with it; an older
// one ends the session.
func TestRefresh(t *testing.T) {
	w := start(t, setup{})
	c := &client{w: w}
	login := func() map[string]any {
		return c.call("POST", "/api/user/authenticate", map[string]any{"userName": "reader", "password": password}, http.StatusOK)
	}
	refresh := func(access, token string, status int) map[string]any {
		t.Helper()
		return c.call("POST", "/api/user/refreshToken", map[string]any{"accessToken": access, "refreshToken": token}, status)
	}
	first, other := login(), login()
	refresh(word(first, "accessToken"), "nonsense", http.StatusUnauthorized) // which ends it: somebody guesses
	refresh(word(first, "accessToken"), word(first, "refreshToken"), http.StatusUnauthorized)
	refresh("nonsense", word(other, "refreshToken"), http.StatusUnauthorized)
	second := refresh(word(other, "accessToken"), word(other, "refreshToken"), http.StatusOK)
	if _, err := time.Parse(time.RFC3339, word(second, "refreshTokenExpiryTime")); err != nil || word(second, "user.userName") != "reader" {
		t.Errorf("%v", second)
	}
	refresh(word(login(), "accessToken"), word(second, "refreshToken"), http.StatusUnauthorized) // of another session
	third := refresh(word(second, "accessToken"), word(second, "refreshToken"), http.StatusOK)
	refresh(word(third, "accessToken"), word(second, "refreshToken"), http.StatusUnauthorized) // a replay
	refresh(word(third, "accessToken"), word(third, "refreshToken"), http.StatusUnauthorized)
	(&client{w: w, token: word(third, "accessToken")}).call("GET", "/api/group", nil, http.StatusUnauthorized)
	// An access token that has expired is good for a refresh, and for nothing else.
	fourth := login()
	claims := jwt.MapClaims{}
	key := w.signing()
	if _, err := jwt.ParseWithClaims(word(fourth, "accessToken"), claims, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
		t.Fatal(err)
	}
	claims["exp"] = time.Now().Add(-time.Minute).Unix()
	old, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	(&client{w: w, token: old}).call("GET", "/api/group", nil, http.StatusUnauthorized)
	refresh(old, word(fourth, "refreshToken"), http.StatusOK)
}
