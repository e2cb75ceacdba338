package webhook

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// part is an element of a token, as JSON.
func part(v map[string]any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a map of plain values
	}
	return b64(b)
}

// jwk is a public key in a key set.
func jwk(key *rsa.PrivateKey, id string, more ...string) map[string]any {
	k := map[string]any{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": id, "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}
	for i := 0; i+1 < len(more); i += 2 {
		k[more[i]] = more[i+1]
	}
	return k
}

func jwks(keys ...map[string]any) []byte {
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return b
}

// A token is a JWT that the test may still change.
type token struct {
	header, claims map[string]any
}

// but changes claims, given as name and value in turn; nil takes one away.
func (k token) but(changes ...any) token {
	k.claims = changed(k.claims, changes)
	return k
}

// headed changes the header likewise.
func (k token) headed(changes ...any) token {
	k.header = changed(k.header, changes)
	return k
}

func changed(m map[string]any, changes []any) map[string]any {
	m = maps.Clone(m)
	for i := 0; i+1 < len(changes); i += 2 {
		if name := changes[i].(string); changes[i+1] == nil {
			delete(m, name)
		} else {
			m[name] = changes[i+1]
		}
	}
	return m
}

func (k token) text() string { return part(k.header) + "." + part(k.claims) }

// by signs with RS256, or what the header names.
func (k token) by(t testing.TB, key *rsa.PrivateKey) string {
	t.Helper()
	var sig []byte
	var err error
	switch k.header["alg"] {
	case "RS512":
		sum := sha512.Sum512([]byte(k.text()))
		sig, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA512, sum[:])
	case "PS256":
		sum := sha256.Sum256([]byte(k.text()))
		sig, err = rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], nil)
	default:
		sum := sha256.Sum256([]byte(k.text()))
		sig, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	}
	if err != nil {
		t.Fatal(err)
	}
	return k.text() + "." + b64(sig)
}

// hmacBy signs with HS256 and a key that is no secret.
func (k token) hmacBy(key []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(k.text()))
	return k.text() + "." + b64(mac.Sum(nil))
}

func publicPEM(t testing.TB, key *rsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// forgedTokens are what nobody may get in with, made from a genuine token.
func forgedTokens(t testing.TB, good token, issuer, stranger *rsa.PrivateKey) map[string]string {
	t.Helper()
	whole := good.by(t, issuer)
	elements := strings.Split(whole, ".")
	seconds := func(d time.Duration) int64 { return noon.Add(d).Unix() }
	list := []any{"https://elsewhere.example"}
	return map[string]string{
		"no token":                     "",
		"nonsense":                     "x",
		"alg none":                     good.headed("alg", "none").text() + ".",
		"alg None":                     good.headed("alg", "None").text() + ".",
		"alg none with a signature":    part(good.headed("alg", "none").header) + "." + elements[1] + "." + elements[2],
		"no alg":                       good.headed("alg", nil).by(t, issuer),
		"HS256 by the public key":      good.headed("alg", "HS256").hmacBy(publicPEM(t, issuer)),
		"HS256 by the modulus":         good.headed("alg", "HS256").hmacBy(issuer.N.Bytes()),
		"HS256 said to be RS256":       good.hmacBy(publicPEM(t, issuer)),
		"RS512":                        good.headed("alg", "RS512").by(t, issuer),
		"PS256":                        good.headed("alg", "PS256").by(t, issuer),
		"by a stranger":                good.by(t, stranger),
		"by a stranger under his kid":  good.headed("kid", "stranger").by(t, stranger),
		"no kid":                       good.headed("kid", nil).by(t, issuer),
		"an empty kid":                 good.headed("kid", "").by(t, issuer),
		"an unknown kid":               good.headed("kid", "unknown").by(t, issuer),
		"a kid that is a path":         good.headed("kid", "../../dev/null").by(t, issuer),
		"a key in the header":          good.headed("jwk", jwk(stranger, "k1")).by(t, stranger),
		"a key set's URL":              good.headed("jku", "https://evil.example/keys").by(t, stranger),
		"a certificate's URL":          good.headed("x5u", "https://evil.example/cert").by(t, stranger),
		"a key for encryption":         good.headed("kid", "enc").by(t, stranger),
		"a critical header":            good.headed("crit", []string{"exp"}, "exp", 1).by(t, issuer),
		"expired":                      good.but("exp", seconds(-time.Second)).by(t, issuer),
		"never expiring":               good.but("exp", nil).by(t, issuer),
		"expiring as text":             good.but("exp", "2030").by(t, issuer),
		"not yet valid":                good.but("nbf", seconds(time.Hour)).by(t, issuer),
		"issued in the future":         good.but("iat", seconds(time.Hour)).by(t, issuer),
		"another audience":             good.but("aud", "https://elsewhere.example").by(t, issuer),
		"a list of other audiences":    good.but("aud", list).by(t, issuer),
		"no audience":                  good.but("aud", nil).by(t, issuer),
		"an audience that begins same": good.but("aud", good.claims["aud"].(string)+"/x").by(t, issuer),
		"another issuer":               good.but("iss", "https://evil.example").by(t, issuer),
		"an issuer that begins same":   good.but("iss", good.claims["iss"].(string)+".evil.example").by(t, issuer),
		"no issuer":                    good.but("iss", nil).by(t, issuer),
		"claims swapped":               elements[0] + "." + part(changed(good.claims, []any{"sub", "x"})) + "." + elements[2],
		"header swapped":               part(changed(good.header, []any{"typ", "x"})) + "." + elements[1] + "." + elements[2],
		"no signature":                 elements[0] + "." + elements[1] + ".",
		"half a signature":             whole[:len(whole)-40],
		"two elements":                 elements[0] + "." + elements[1],
		"five elements":                whole + ".x.y",
		"in JSON":                      `{"payload":"` + elements[1] + `","protected":"` + elements[0] + `","signature":"` + elements[2] + `"}`,
		"too long":                     whole + strings.Repeat("A", 20<<10),
		"claims that are a list":       elements[0] + "." + b64([]byte("[]")) + "." + elements[2],
	}
}

// Keys are fetched once, again when they are old or unknown, and a set that
// cannot be fetched is our own fault.
func TestKeysRotate(t *testing.T) {
	one, two := rsaKey(t, "google", 2048), rsaKey(t, "google2", 2048)
	b := pushBench(t)
	call := func(tok string) int { return b.call(pushCall(tok, pushBody)).Code }
	fresh := func() token {
		return pushToken().but("iat", b.clock.now().Unix(), "exp", b.clock.now().Add(time.Hour).Unix())
	}
	b.web.fail(fault.New(fault.Unavailable, "test", "", errors.New("no route")))
	for range 5 {
		if got := call(fresh().by(t, one)); got != http.StatusServiceUnavailable {
			t.Errorf("without keys: %d", got)
		}
	}
	if n := b.web.count(); n != 1 {
		t.Errorf("%d fetches in a moment without a network, want 1", n)
	}
	b.web.fail(nil)
	b.clock.add(keysPause)
	for range 5 {
		if got := call(fresh().by(t, one)); got != http.StatusOK {
			t.Errorf("with keys: %d", got)
		}
	}
	if n := b.web.count(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
	// A new key appears beside the old one.
	b.web.put(googleKeys, jwks(jwk(one, "k1"), jwk(two, "k2")))
	b.clock.add(keysPause)
	if got := call(fresh().headed("kid", "k2").by(t, two)); got != http.StatusOK {
		t.Errorf("a new key: %d", got)
	}
	// A stranger's keys are asked for once in a while, however many there are.
	before := b.web.count()
	for i := range 100 {
		if got := call(fresh().headed("kid", string(rune('a'+i%26))+"x").by(t, rsaKey(t, "stranger", 2048))); got != http.StatusUnauthorized {
			t.Errorf("a stranger's key: %d", got)
		}
	}
	if n := b.web.count() - before; n > 1 {
		t.Errorf("%d fetches for a stranger's keys", n)
	}
	// A key that is gone from the set is trusted no more once the set is renewed.
	b.web.put(googleKeys, jwks(jwk(two, "k2")))
	b.clock.add(keysFresh + time.Second)
	if got := call(fresh().by(t, one)); got != http.StatusUnauthorized {
		t.Errorf("a key that is gone: %d", got)
	}
	// While the set cannot be renewed the old one serves, for a day.
	b.web.fail(fault.New(fault.Unavailable, "test", "", errors.New("no route")))
	b.clock.add(20 * time.Hour)
	if got := call(fresh().headed("kid", "k2").by(t, two)); got != http.StatusOK {
		t.Errorf("an old set: %d", got)
	}
	b.clock.add(5 * time.Hour)
	if got := call(fresh().headed("kid", "k2").by(t, two)); got != http.StatusServiceUnavailable {
		t.Errorf("a set too old: %d", got)
	}
	// A page in the place of the keys is our own fault, too.
	b.web.fail(nil)
	b.web.put(googleKeys, []byte("<html>"))
	b.clock.add(time.Minute)
	if got := call(fresh().headed("kid", "k2").by(t, two)); got != http.StatusServiceUnavailable {
		t.Errorf("a page instead of keys: %d", got)
	}
}
