package webhook

import (
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
	gridToken    = "a-token-of-an-event-subscription"
	gridTenant   = "11111111-2222-3333-4444-555555555555"
	gridAudience = "api://landwaiter"
	entraKeys    = entra + "/" + gridTenant + "/discovery/v2.0/keys"
	validateBody = `[{"id":"2d1781af","topic":"/subscriptions/x","subject":"","data":{"validationCode":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6","validationUrl":"https://evil.example/validate"},` +
		`"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","eventTime":"2026-11-28T11:59:59Z","metadataVersion":"1","dataVersion":"2"}]`
)

func gridBench(t testing.TB) *bench {
	return newBench(t,
		Hook{Name: "in", Kind: "eventgrid", Options: map[string]string{"token": gridToken, "previous_token": "the-token-before-this-one"}},
		Hook{Name: "tenant2", Kind: "eventgrid", Options: map[string]string{"token": "the-token-of-another-tenant"}})
}

func gridCall(body string) *http.Request {
	r := post(body, "Content-Type", "application/json; charset=utf-8", gridTypeHeader, "Notification")
	r.URL.RawQuery = "token=" + gridToken
	return r
}

// handshake makes a CloudEvents handshake of r.
func handshake(r *http.Request, origin string) *http.Request {
	r.Method, r.Body, r.ContentLength = http.MethodOptions, http.NoBody, 0
	return without(without(with(r, originHeader, origin, "WebHook-Request-Callback", "https://evil.example/validate", "WebHook-Request-Rate", "120"), "Content-Type"), gridTypeHeader)
}

func validation(r *http.Request) *http.Request {
	return with(r, gridTypeHeader, "SubscriptionValidation")
}

func TestEventGrid(t *testing.T) {
	genuine := func() *http.Request { return gridCall(gridBody) }
	query := func(q string) *http.Request { r := genuine(); r.URL.RawQuery = q; return r }
	header := func(v string) *http.Request { return with(query(""), "Authorization", v) }
	event := func(old, new string) *http.Request { return gridCall(strings.Replace(gridBody, old, new, 1)) }
	vectors := append(anywhere(genuine), []vector{
		{"genuine", taken, 200, genuine()},
		{"the token in a header", taken, 200, header("Bearer " + gridToken)},
		{"the token before", taken, 200, query("token=the-token-before-this-one")},
		{"a query with more", taken, 200, query("a=b&token=" + gridToken)},
		{"without Event Grid's header", taken, 200, without(genuine(), gridTypeHeader)},
		{"CloudEvents", taken, 200, with(gridCall(cloudBody), "Content-Type", "application/cloudevents+json; charset=utf-8")},
		{"CloudEvents in a batch", taken, 200, with(gridCall("["+cloudBody+"]"), "Content-Type", "application/cloudevents-batch+json")},
		{"a block that completes nothing", silent, 200, event(`"PutBlob"`, `"AppendFile"`)},
		{"the validation of a subscription", silent, 200, validation(gridCall(validateBody))},
		{"the end of a subscription", silent, 200, with(gridCall(`[]`), gridTypeHeader, "SubscriptionDeletion")},
		{"a handshake", silent, 200, handshake(genuine(), eventGridHost)},
		{"a handshake by header", silent, 200, handshake(header("Bearer "+gridToken), eventGridHost)},

		{"no token", refused, 503, query("")},
		{"an empty token", refused, 503, query("token=")},
		{"a wrong token", refused, 503, query("token=" + gridToken + "x")},
		{"a prefix of the token", refused, 503, query("token=" + gridToken[:20])},
		{"the token of another hook", refused, 503, query("token=the-token-of-another-tenant")},
		{"the token twice", refused, 503, query("token=" + gridToken + "&token=" + gridToken)},
		{"a wrong token and the right one", refused, 503, query("token=wrong&token=" + gridToken)},
		{"the token under another name", refused, 503, query("code=" + gridToken)},
		{"the name in upper case", refused, 503, query("TOKEN=" + gridToken)},
		{"a token in query and header", refused, 503, with(genuine(), "Authorization", "Bearer "+gridToken)},
		{"a wrong token in the header", refused, 503, header("Bearer wrong")},
		{"another scheme", refused, 503, header("SharedKey " + gridToken)},
		{"the header alone", refused, 503, header(gridToken)},
		{"the header twice", refused, 503, twice(header("Bearer "+gridToken), "Authorization", "Bearer "+gridToken)},
		{"the type twice", refused, 503, twice(genuine(), gridTypeHeader, "SubscriptionValidation")},
		{"a validation without a token", refused, 503, validation(func() *http.Request { r := gridCall(validateBody); r.URL.RawQuery = ""; return r }())},
		{"a handshake without a token", refused, 503, handshake(query(""), eventGridHost)},
		{"a handshake of another origin", refused, 503, handshake(genuine(), "evil.example")},
		{"a handshake of every origin", refused, 503, handshake(genuine(), "*")},
		{"a handshake of a look-alike", refused, 503, handshake(genuine(), "eventgrid.azure.net.evil.example")},
		{"a handshake without an origin", refused, 503, without(handshake(genuine(), ""), originHeader)},
		{"a handshake of two origins", refused, 503, twice(handshake(genuine(), eventGridHost), originHeader, "evil.example")},
		{"no content type", refused, 415, without(genuine(), "Content-Type")},

		{"an empty body", buried, 200, gridCall("")},
		{"no JSON", buried, 200, gridCall("event")},
		{"no events", buried, 200, gridCall("[]")},
		{"deep", buried, 200, gridCall(deep(`"id":"1",`))},
		{"of neither schema", buried, 200, gridCall(`[{"id":"1"}]`)},
		{"of both schemas", buried, 200, event(`"eventType"`, `"specversion":"1.0","type":"x","eventType"`)},
		{"CloudEvents of a later major version", buried, 200, gridCall(strings.Replace(cloudBody, `"specversion":"1.0"`, `"specversion":"2.0"`, 1))},
		{"two members url", buried, 200, event(`"url":`, `"url":"https://acct.blob.core.windows.net/in/b","url":`)},
		{"no data", buried, 200, gridCall(`[{"eventType":"Microsoft.Storage.BlobCreated"}]`)},
		{"a URL of a file", buried, 200, event("https://acct.blob.core.windows.net/in/a.txt", "file:///etc/passwd")},
		{"a URL without a blob", buried, 200, event("net/in/a.txt", "net/")},
		{"a URL badly encoded", buried, 200, event("net/in/a.txt", "net/in/%zz")},
		{"a validation without a code", buried, 200, validation(gridCall(strings.Replace(validateBody, "validationCode", "code", 1)))},
		{"a validation of two", buried, 200, validation(gridCall(strings.Replace(validateBody, "[{", `[{},{`, 1)))},
		{"a validation with a long code", buried, 200, validation(gridCall(strings.Replace(validateBody, "512d38b6", strings.Repeat("5", 600), 1)))},
		{"an event said to be a validation", buried, 200, validation(genuine())},
	}...)
	run(t, "eventgrid", gridBench, vectors)
}

func entraBench(t testing.TB) *bench {
	b := newBench(t,
		Hook{Name: "in", Kind: "eventgrid", Options: map[string]string{"tenant": gridTenant, "audience": gridAudience}},
		Hook{Name: "tenant2", Kind: "eventgrid", Options: map[string]string{"tenant": "99999999-2222-3333-4444-555555555555", "audience": gridAudience}})
	b.web.put(entraKeys, jwks(jwk(rsaKey(t, "entra", 2048), "k1"), jwk(rsaKey(t, "stranger", 2048), "enc", "use", "enc")))
	return b
}

func entraToken() token {
	return token{
		header: map[string]any{"alg": "RS256", "kid": "k1", "typ": "JWT", "x5t": "k1"},
		claims: map[string]any{"iss": "https://sts.windows.net/" + gridTenant + "/", "aud": gridAudience, "tid": gridTenant, "appid": eventGridApp, "ver": "1.0", "roles": []any{"AzureEventGridSecureWebhookSubscriber"},
			"iat": noon.Add(-time.Minute).Unix(), "nbf": noon.Add(-time.Minute).Unix(), "exp": noon.Add(time.Hour).Unix()},
	}
}

func entraCall(token, body string) *http.Request {
	return post(body, "Content-Type", "application/json", gridTypeHeader, "Notification", "Authorization", "Bearer "+token)
}

func TestEventGridEntra(t *testing.T) {
	issuer, stranger := rsaKey(t, "entra", 2048), rsaKey(t, "stranger", 2048)
	good := entraToken().by(t, issuer)
	genuine := func() *http.Request { return entraCall(good, gridBody) }
	claims := func(changes ...any) *http.Request {
		return entraCall(entraToken().but(changes...).by(t, issuer), gridBody)
	}
	other := "99999999-2222-3333-4444-555555555555"
	vectors := append(anywhere(genuine), []vector{
		{"genuine", taken, 200, genuine()},
		{"version 2", taken, 200, claims("iss", entra+"/"+gridTenant+"/v2.0", "appid", nil, "azp", eventGridApp, "ver", "2.0")},
		{"a validation", silent, 200, validation(entraCall(good, validateBody))},
		{"a handshake", silent, 200, handshake(genuine(), eventGridHost)},
		{"a handshake without a token", silent, 200, handshake(without(genuine(), "Authorization"), eventGridHost)},

		{"another tenant's issuer", refused, 503, claims("iss", "https://sts.windows.net/"+other+"/")},
		{"another tenant", refused, 503, claims("tid", other)},
		{"no tenant", refused, 503, claims("tid", nil)},
		{"another application", refused, 503, claims("appid", other)},
		{"no application", refused, 503, claims("appid", nil)},
		{"another application, ours as azp", refused, 503, claims("appid", other, "azp", eventGridApp)},
		{"the issuer without its slash", refused, 503, claims("iss", "https://sts.windows.net/"+gridTenant)},
		{"the common issuer", refused, 503, claims("iss", entra+"/common/v2.0")},
		{"a token in the query", refused, 503, func() *http.Request {
			r := without(genuine(), "Authorization")
			r.URL.RawQuery = "token=" + good
			return r
		}()},
		{"the header twice", refused, 503, twice(genuine(), "Authorization", "Bearer "+good)},
		{"a validation without a token", refused, 503, without(validation(entraCall(good, validateBody)), "Authorization")},
		{"a handshake with a bad token", refused, 503, handshake(with(genuine(), "Authorization", "Bearer "+entraToken().by(t, stranger)), eventGridHost)},
		{"a handshake of another origin", refused, 503, handshake(genuine(), "evil.example")},
	}...)
	forged := forgedTokens(t, entraToken(), issuer, stranger)
	for _, name := range slices.Sorted(maps.Keys(forged)) {
		vectors = append(vectors, vector{"token: " + name, refused, 503, entraCall(forged[name], gridBody)})
	}
	run(t, "eventgrid with Entra ID", entraBench, vectors)
}

// The handshakes are answered as Event Grid wants it, and nobody is called.
func TestEventGridHandshakes(t *testing.T) {
	b := gridBench(t)
	w := b.call(validation(gridCall(validateBody)))
	if got, want := w.Body.String(), `{"validationResponse":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}`; got != want || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("validation: %s (%s), want %s", got, w.Header().Get("Content-Type"), want)
	}
	w = b.call(handshake(gridCall(""), eventGridHost))
	want := map[string]string{"Webhook-Allowed-Origin": eventGridHost, "Webhook-Allowed-Rate": "*", "Allow": "POST, OPTIONS"}
	for name, value := range want {
		if got := w.Header().Get(name); got != value {
			t.Errorf("handshake: %s is %q, want %q", name, got, value)
		}
	}
	if n := b.web.count(); n != 0 {
		t.Errorf("fetched %q", b.web.asked)
	}
}

func TestEventGridNotice(t *testing.T) {
	want := []events.Notice{{Vendor: "azblob", Account: "acct", Container: "in", Key: "a.txt", Version: "0x8D4BCC2E4835CD0", Size: 3, Time: noon.Add(-900 * time.Millisecond), Event: "BlobCreated"}}
	for name, r := range map[string]*http.Request{"Event Grid": gridCall(gridBody), "CloudEvents": gridCall(cloudBody)} {
		b := gridBench(t)
		b.call(r)
		if diff := cmp.Diff(want, b.sink.notices); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
