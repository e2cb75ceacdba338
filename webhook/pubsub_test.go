package webhook

import (
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/events"
)

const (
	pushAudience = "https://landwaiter.example/hooks/in"
	pushAccount  = "push@project.iam.gserviceaccount.com"
	pushBody     = `{"message":{"attributes":{"bucketId":"inbox","objectId":"a b.txt","objectGeneration":"1604","eventType":"OBJECT_FINALIZE","eventTime":"2026-11-28T11:59:59.1Z","payloadFormat":"NONE"},` +
		`"messageId":"2070443601311540","message_id":"2070443601311540","publishTime":"2026-11-28T11:59:59.7Z"},"subscription":"projects/p/subscriptions/s"}`
)

func pushBench(t testing.TB) *bench {
	b := newBench(t,
		Hook{Name: "in", Kind: "pubsub", Options: map[string]string{"audience": pushAudience, "service_account": pushAccount, "subscription": "projects/p/subscriptions/s"}},
		Hook{Name: "tenant2", Kind: "pubsub", Options: map[string]string{"audience": "https://landwaiter.example/hooks/tenant2", "service_account": "other@project.iam.gserviceaccount.com"}})
	b.web.put(googleKeys, jwks(jwk(rsaKey(t, "google", 2048), "k1"), jwk(rsaKey(t, "stranger", 2048), "enc", "use", "enc"), map[string]any{"kty": "EC", "kid": "ec"}))
	return b
}

func pushToken() token {
	return token{
		header: map[string]any{"alg": "RS256", "kid": "k1", "typ": "JWT"},
		claims: map[string]any{"iss": "https://accounts.google.com", "aud": pushAudience, "azp": "1137", "sub": "1137", "email": pushAccount, "email_verified": true,
			"iat": noon.Add(-time.Minute).Unix(), "exp": noon.Add(time.Hour).Unix()},
	}
}

func pushCall(token, body string) *http.Request {
	return post(body, "Authorization", "Bearer "+token, "Content-Type", "application/json")
}

func TestPubSub(t *testing.T) {
	google, stranger := rsaKey(t, "google", 2048), rsaKey(t, "stranger", 2048)
	good := pushToken().by(t, google)
	genuine := func() *http.Request { return pushCall(good, pushBody) }
	claims := func(changes ...any) *http.Request {
		return pushCall(pushToken().but(changes...).by(t, google), pushBody)
	}
	body := func(old, new string) *http.Request { return pushCall(good, strings.Replace(pushBody, old, new, 1)) }
	data := base64.StdEncoding.EncodeToString([]byte(`{"kind":"storage#object","bucket":"inbox","name":"a b.txt","generation":"1604","size":"3"}`))
	vectors := append(anywhere(genuine), []vector{
		{"genuine", taken, 200, genuine()},
		{"the issuer without its scheme", taken, 200, claims("iss", "accounts.google.com")},
		{"a list of audiences", taken, 200, claims("aud", []any{pushAudience})},
		{"with the object's data", taken, 200, body(`"messageId"`, `"data":"`+data+`","messageId"`)},
		{"with the number of tries", taken, 200, body(`"subscription"`, `"deliveryAttempt":3,"subscription"`)},
		{"of metadata", silent, 200, body("OBJECT_FINALIZE", "OBJECT_METADATA_UPDATE")},

		{"another account", refused, 401, claims("email", "other@project.iam.gserviceaccount.com")},
		{"an account in upper case", refused, 401, claims("email", strings.ToUpper(pushAccount))},
		{"no account", refused, 401, claims("email", nil)},
		{"an account that is not verified", refused, 401, claims("email_verified", false)},
		{"nothing said of verification", refused, 401, claims("email_verified", nil)},
		{"verified as text", refused, 401, claims("email_verified", "true")},
		{"another tenant's token", refused, 401, claims("aud", "https://landwaiter.example/hooks/tenant2", "email", "other@project.iam.gserviceaccount.com")},
		{"the token in the query", refused, 401, func() *http.Request {
			r := without(genuine(), "Authorization")
			r.URL.RawQuery = "access_token=" + good
			return r
		}()},
		{"another scheme", refused, 401, with(genuine(), "Authorization", "JWT "+good)},
		{"the header twice", refused, 401, twice(genuine(), "Authorization", "Bearer "+good)},
		{"two tokens in one header", refused, 401, with(genuine(), "Authorization", "Bearer "+good+",Bearer "+good)},
		{"another subscription", refused, 401, body("subscriptions/s", "subscriptions/t")},
		{"no subscription", refused, 401, body(`,"subscription":"projects/p/subscriptions/s"`, "")},
		{"no content type", refused, 415, without(genuine(), "Content-Type")},

		{"an empty body", buried, 200, pushCall(good, "")},
		{"no JSON", buried, 200, pushCall(good, "message")},
		{"no message", buried, 200, pushCall(good, `{"subscription":"projects/p/subscriptions/s"}`)},
		{"unwrapped", buried, 200, pushCall(good, `{"kind":"storage#object","bucket":"inbox","name":"a"}`)},
		{"deep", buried, 200, pushCall(good, deep(`"subscription":"projects/p/subscriptions/s",`))},
		{"two messages", buried, 200, body(`"subscription"`, `"message":{},"subscription"`)},
		{"no attributes", buried, 200, pushCall(good, `{"message":{"messageId":"1"},"subscription":"projects/p/subscriptions/s"}`)},
		{"data that is no base64", buried, 200, body(`"messageId"`, `"data":"***","messageId"`)},
		{"no bucket", buried, 200, body(`"bucketId":"inbox",`, "")},
		{"no object", buried, 200, body(`"objectId":"a b.txt",`, "")},
		{"no event type", buried, 200, body(`"eventType":"OBJECT_FINALIZE",`, "")},
		{"a generation that is no number", buried, 200, body(`"1604"`, `"16x4"`)},
		{"data of another object", buried, 200, body(`"messageId"`, `"data":"`+base64.StdEncoding.EncodeToString([]byte(`{"bucket":"other","name":"x"}`))+`","messageId"`)},
	}...)
	forged := forgedTokens(t, pushToken(), google, stranger)
	for _, name := range slices.Sorted(maps.Keys(forged)) {
		vectors = append(vectors, vector{"token: " + name, refused, 401, pushCall(forged[name], pushBody)})
	}
	run(t, "pubsub", pushBench, vectors)
}

func TestPubSubNotice(t *testing.T) {
	b := pushBench(t)
	b.call(pushCall(pushToken().by(t, rsaKey(t, "google", 2048)), pushBody))
	want := []events.Notice{{Vendor: "gs", Container: "inbox", Key: "a b.txt", Version: "1604", Size: -1, Time: noon.Add(-900 * time.Millisecond), Event: "OBJECT_FINALIZE"}}
	if diff := cmp.Diff(want, b.sink.notices); diff != "" {
		t.Error(diff)
	}
}
