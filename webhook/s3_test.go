package webhook

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/events"
)

const s3Token = "a-token-of-a-minio-server"

func s3Bench(t testing.TB) *bench {
	return newBench(t,
		Hook{Name: "in", Kind: "s3", Options: map[string]string{"token": s3Token, "previous_token": "the-token-before-it"}},
		Hook{Name: "tenant2", Kind: "s3", Options: map[string]string{"token": "the-token-of-another-tenant"}})
}

func s3Call(body string) *http.Request {
	return post(body, "Authorization", "Bearer "+s3Token, "Content-Type", "application/json")
}

func TestS3(t *testing.T) {
	genuine := func() *http.Request { return s3Call(s3Body) }
	auth := func(v string) *http.Request { return with(genuine(), "Authorization", v) }
	record := func(old, new string) *http.Request { return s3Call(strings.Replace(s3Body, old, new, 1)) }
	vectors := append(anywhere(genuine), []vector{
		{"genuine", taken, 200, genuine()},
		{"charset", taken, 200, with(genuine(), "Content-Type", "application/json; charset=utf-8")},
		{"the token before", taken, 200, auth("Bearer the-token-before-it")},
		{"bearer in lower case", taken, 200, auth("bearer " + s3Token)},
		{"a deletion", taken, 200, s3Call(deletedBody)},
		{"a later minor version", taken, 200, record(`"eventVersion":"2.0"`, `"eventVersion":"2.17"`)},
		{"S3's test event", silent, 200, s3Call(`{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"inbox"}`)},
		{"only tags", silent, 200, record("s3:ObjectCreated:Put\",\"s3\"", "s3:ObjectTagging:Put\",\"s3\"")},

		{"no token", refused, 401, without(genuine(), "Authorization")},
		{"an empty token", refused, 401, auth("Bearer ")},
		{"the token alone", refused, 401, auth(s3Token)},
		{"another scheme", refused, 401, auth("Basic " + s3Token)},
		{"a wrong token", refused, 401, auth("Bearer a-token-of-a-minio-serveR")},
		{"the token of another hook", refused, 401, auth("Bearer the-token-of-another-tenant")},
		{"a prefix of the token", refused, 401, auth("Bearer " + s3Token[:20])},
		{"the token and more", refused, 401, auth("Bearer " + s3Token + "x")},
		{"the token with a space before", refused, 401, auth("Bearer  " + s3Token)},
		{"two tokens in one", refused, 401, auth("Bearer " + s3Token + ", Bearer " + s3Token)},
		{"the header twice", refused, 401, twice(genuine(), "Authorization", "Bearer "+s3Token)},
		{"the header twice, wrong first", refused, 401, twice(auth("Bearer wrong"), "Authorization", "Bearer "+s3Token)},
		{"the token in the query", refused, 401, httptest.NewRequest("POST", Prefix+"in?token="+s3Token, strings.NewReader(s3Body))},
		{"no content type", refused, 415, without(genuine(), "Content-Type")},
		{"plain text", refused, 415, with(genuine(), "Content-Type", "text/plain")},
		{"OPTIONS", refused, 405, func() *http.Request { r := genuine(); r.Method = http.MethodOptions; return r }()},

		{"an empty body", buried, 200, s3Call("")},
		{"no JSON", buried, 200, s3Call("Records")},
		{"cut off", buried, 200, s3Call(s3Body[:len(s3Body)-2])},
		{"two documents", buried, 200, s3Call(s3Body + s3Body)},
		{"deep", buried, 200, s3Call(deep(`"Records":[],`))},
		{"a version that is unknown", buried, 200, record(`"eventVersion":"2.0"`, `"eventVersion":"3.0"`)},
		{"no version", buried, 200, record(`"eventVersion":"2.0",`, ``)},
		{"no records", buried, 200, s3Call(`{"Records":[]}`)},
		{"records of another type", buried, 200, s3Call(`{"Records":{"a":1}}`)},
		{"two members Records", buried, 200, s3Call(`{"Records":[],"Records":[]}`)},
		{"no bucket", buried, 200, record(`"name":"inbox"`, `"name":""`)},
		{"a bucket with a slash", buried, 200, record(`"name":"inbox"`, `"name":"in/box"`)},
		{"no key", buried, 200, record(`"key":"a+b.txt"`, `"key":""`)},
		{"a key badly encoded", buried, 200, record(`a+b.txt`, `a%zz`)},
		{"a key with a zero byte", buried, 200, record(`a+b.txt`, `a%00`)},
		{"a key too long", buried, 200, record(`a+b.txt`, strings.Repeat("k", events.MaxKey+1))},
		{"too many records", buried, 200, s3Call(`{"Records":[` + strings.Repeat(`{},`, events.MaxNotices) + `{}]}`)},
		{"not UTF-8", buried, 200, record(`a+b.txt`, "a\xff")},
	}...)
	run(t, "s3", s3Bench, vectors)
}

func TestS3Notice(t *testing.T) {
	b := s3Bench(t)
	b.call(s3Call(s3Body))
	if len(b.sink.notices) != 1 {
		t.Fatalf("%d notices", len(b.sink.notices))
	}
	n := b.sink.notices[0]
	want := events.Notice{Vendor: "s3", Container: "inbox", Key: "a b.txt", Size: 3, Time: n.Time, Event: "ObjectCreated:Put"}
	if diff := cmp.Diff(want, n); diff != "" {
		t.Error(diff)
	}
}
