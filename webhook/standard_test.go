package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/object"
)

var (
	stdKey      = []byte("the-key-of-the-standard-hook-32b")
	stdPrevious = []byte("the-key-that-was-there-before-it")
	stdOther    = []byte("the-key-of-another-tenants-hook!")
)

const stdBody = `{"events":[{"vendor":"s3","container":"inbox","key":"a.txt","op":"put","version":"v1","size":3}]}`

func secretOf(key []byte) string { return "whsec_" + base64.StdEncoding.EncodeToString(key) }

func stdBench(t testing.TB) *bench {
	return newBench(t,
		Hook{Name: "in", Kind: "standard", Options: map[string]string{"secret": secretOf(stdKey), "previous_secret": secretOf(stdPrevious)}},
		Hook{Name: "tenant2", Kind: "standard", Options: map[string]string{"secret": secretOf(stdOther)}})
}

// stdSign signs as the specification says.
func stdSign(key []byte, id, stamp, body string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "." + body))
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func stdAt(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// stdCall is a genuine call.
func stdCall(id, body string) *http.Request {
	stamp := stdAt(noon)
	return post(body, "Content-Type", "application/json", headerID, id, headerTimestamp, stamp, headerSignature, stdSign(stdKey, id, stamp, body))
}

func TestStandard(t *testing.T) {
	genuine := func() *http.Request { return stdCall("msg_1", stdBody) }
	signature := func(s string) *http.Request { return with(genuine(), headerSignature, s) }
	good := stdSign(stdKey, "msg_1", stdAt(noon), stdBody)
	at := func(when time.Time) *http.Request {
		return with(genuine(), headerTimestamp, stdAt(when), headerSignature, stdSign(stdKey, "msg_1", stdAt(when), stdBody))
	}
	stamp := func(s string) *http.Request {
		return with(genuine(), headerTimestamp, s, headerSignature, stdSign(stdKey, "msg_1", s, stdBody))
	}
	id := func(s string) *http.Request {
		return with(genuine(), headerID, s, headerSignature, stdSign(stdKey, s, stdAt(noon), stdBody))
	}
	event := func(e string) *http.Request { return stdCall("msg_1", `{"events":[`+e+`]}`) }
	body := func(s string) *http.Request {
		r := stdCall("msg_1", s)
		return with(r, headerSignature, good) // of another body
	}
	vectors := append(anywhere(genuine), []vector{
		{"genuine", taken, 200, genuine()},
		{"by the key before", taken, 200, signature(stdSign(stdPrevious, "msg_1", stdAt(noon), stdBody))},
		{"two signatures, the second ours", taken, 200, signature(stdSign(stdOther, "msg_1", stdAt(noon), stdBody) + " " + good)},
		{"an asymmetric signature beside it", taken, 200, signature("v1a,AAAA " + good)},
		{"almost 5 minutes old", taken, 200, at(noon.Add(-5 * time.Minute))},
		{"almost 5 minutes ahead", taken, 200, at(noon.Add(5 * time.Minute))},
		{"a deletion", taken, 200, event(`{"vendor":"gs","container":"b","key":"k","op":"delete"}`)},
		{"with an account and a time", taken, 200, event(`{"vendor":"azblob","account":"Acct","container":"b","key":"k","time":"2026-11-28T11:00:00Z"}`)},
		{"a vendor without containers", taken, 200, event(`{"vendor":"file","key":"/srv/in/a"}`)},

		{"no id", refused, 401, without(genuine(), headerID)},
		{"no timestamp", refused, 401, without(genuine(), headerTimestamp)},
		{"no signature", refused, 401, without(genuine(), headerSignature)},
		{"too old", refused, 401, at(noon.Add(-5*time.Minute - time.Second))},
		{"of the future", refused, 401, at(noon.Add(5*time.Minute + time.Second))},
		{"of 1970", refused, 401, stamp("0")},
		{"in milliseconds", refused, 401, stamp(strconv.FormatInt(noon.UnixMilli(), 10))},
		{"a timestamp with a sign", refused, 401, stamp("+" + stdAt(noon))},
		{"a timestamp with zeros", refused, 401, stamp("0" + stdAt(noon))},
		{"a timestamp as a date", refused, 401, stamp(noon.Format(time.RFC3339))},
		{"a timestamp that overflows", refused, 401, stamp("-9223372036854775808")},
		{"a timestamp swapped", refused, 401, with(genuine(), headerTimestamp, stdAt(noon.Add(time.Second)))},
		{"an id swapped", refused, 401, with(genuine(), headerID, "msg_2")},
		{"an id with a dot", refused, 401, id("msg.1")},
		{"an id with a space", refused, 401, id("msg 1")},
		{"an id too long", refused, 401, id(strings.Repeat("m", 257))},
		{"a body swapped", refused, 401, body(strings.Replace(stdBody, "a.txt", "b.txt", 1))},
		{"a body with a space more", refused, 401, body(stdBody + " ")},
		{"an empty body", refused, 401, body("")},
		{"another tenant's key", refused, 401, signature(stdSign(stdOther, "msg_1", stdAt(noon), stdBody))},
		{"the key in base64", refused, 401, signature(stdSign([]byte(secretOf(stdKey)), "msg_1", stdAt(noon), stdBody))},
		{"an empty key", refused, 401, signature(stdSign(nil, "msg_1", stdAt(noon), stdBody))},
		{"version 1a", refused, 401, signature("v1a," + good[3:])},
		{"version 2", refused, 401, signature("v2," + good[3:])},
		{"no version", refused, 401, signature(good[3:])},
		{"an empty signature", refused, 401, signature("v1,")},
		{"half a signature", refused, 401, signature(good[:20])},
		{"a signature and more", refused, 401, signature(good + "AAAA")},
		{"a signature in hex", refused, 401, signature("v1,0011223344556677")},
		{"commas between signatures", refused, 401, signature("v1,AAAA," + good)},
		{"too many signatures", refused, 401, signature(strings.Repeat("v1,AAAA ", maxSigs) + good)},
		{"the id twice", refused, 401, twice(genuine(), headerID, "msg_1")},
		{"the timestamp twice", refused, 401, twice(genuine(), headerTimestamp, stdAt(noon))},
		{"the signature twice", refused, 401, twice(genuine(), headerSignature, good)},
		{"no content type", refused, 415, without(genuine(), "Content-Type")},
		{"OPTIONS", refused, 405, func() *http.Request { r := genuine(); r.Method = http.MethodOptions; return r }()},

		{"an empty body, signed", buried, 200, stdCall("msg_1", "")},
		{"no JSON", buried, 200, stdCall("msg_1", "events")},
		{"an array", buried, 200, stdCall("msg_1", "[]")},
		{"no events", buried, 200, stdCall("msg_1", `{}`)},
		{"empty events", buried, 200, stdCall("msg_1", `{"events":[]}`)},
		{"events twice", buried, 200, stdCall("msg_1", `{"events":[],"events":[]}`)},
		{"an unknown member", buried, 200, stdCall("msg_1", `{"events":[{"vendor":"s3","container":"b","key":"k","vversion":"1"}]}`)},
		{"deep", buried, 200, stdCall("msg_1", deep(`"events":[],`))},
		{"two documents", buried, 200, stdCall("msg_1", stdBody+stdBody)},
		{"too many events", buried, 200, event(strings.Repeat(`{"vendor":"s3","container":"b","key":"k"},`, events.MaxNotices) + `{"vendor":"s3","container":"b","key":"k"}`)},
		{"no vendor", buried, 200, event(`{"container":"b","key":"k"}`)},
		{"a vendor that is none", buried, 200, event(`{"vendor":"S3://","container":"b","key":"k"}`)},
		{"no key", buried, 200, event(`{"vendor":"s3","container":"b"}`)},
		{"a key too long", buried, 200, event(`{"vendor":"s3","container":"b","key":"` + strings.Repeat("k", events.MaxKey+1) + `"}`)},
		{"a key with a zero byte", buried, 200, event(`{"vendor":"s3","container":"b","key":"a\u0000"}`)},
		{"a key with a lone backslash", buried, 200, event(`{"vendor":"s3","container":"b","key":"a\\b"}`)},
		{"a container with a slash", buried, 200, event(`{"vendor":"s3","container":"a/b","key":"k"}`)},
		{"an op that is unknown", buried, 200, event(`{"vendor":"s3","container":"b","key":"k","op":"chmod"}`)},
		{"a size below zero", buried, 200, event(`{"vendor":"s3","container":"b","key":"k","size":-1}`)},
		{"a size with a fraction", buried, 200, event(`{"vendor":"s3","container":"b","key":"k","size":1.5}`)},
		{"a good event and a bad one", taken, 200, event(`{"vendor":"s3","container":"b","key":"k"},{}`)},
	}...)
	run(t, "standard", stdBench, vectors)
}

func TestStandardNotice(t *testing.T) {
	b := stdBench(t)
	b.call(stdCall("m", `{"events":[{"vendor":"azblob","account":"Acct","container":"c","key":"a\\xff\\\\b","op":"delete","version":"v","size":0,"time":"2026-11-28T12:00:00+01:00"}]}`))
	want := []events.Notice{{Vendor: "azblob", Account: "acct", Container: "c", Key: "a\xff\\b", Op: object.Delete, Version: "v", Time: noon.Add(-time.Hour), Event: "delete"}}
	if diff := cmp.Diff(want, b.sink.notices); diff != "" {
		t.Error(diff)
	}
}

// A call that is played again within its timestamp's tolerance changes nothing,
// and neither does the sender's own second try with a new timestamp.
func TestStandardReplay(t *testing.T) {
	b := stdBench(t)
	for i := range 3 {
		if w := b.call(stdCall("msg_1", stdBody)); w.Code != 200 {
			t.Errorf("call %d: %d", i, w.Code)
		}
	}
	b.clock.add(time.Minute)
	again := with(stdCall("msg_1", stdBody), headerTimestamp, stdAt(b.clock.now()), headerSignature, stdSign(stdKey, "msg_1", stdAt(b.clock.now()), stdBody))
	if w := b.call(again); w.Code != 200 {
		t.Errorf("a second try: %d", w.Code)
	}
	if n, _ := b.sink.counts(); n != 1 {
		t.Errorf("%d notices, want 1", n)
	}
	if w := b.call(stdCall("msg_2", stdBody)); w.Code != 200 {
		t.Error(w.Code)
	}
	if n, _ := b.sink.counts(); n != 2 {
		t.Errorf("%d notices after another message, want 2", n)
	}
}
