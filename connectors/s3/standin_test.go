package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// standIn is a scripted stand-in for a server, for what no real one here does:
// replies of Amazon's (KMS, archive tiers, requester pays, copies with a guarded
// destination) and of broken or hostile servers. It proves how we take such a
// reply, not that a server sends it.
func standIn(t *testing.T, options map[string]string, reply func(w http.ResponseWriter, r *http.Request)) *Driver {
	t.Helper()
	var opened atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !opened.Load() && r.URL.Query().Has("list-type") {
			_, _ = fmt.Fprint(w, `<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>`)
			return
		}
		if !opened.Load() && r.URL.Query().Has("versioning") {
			_, _ = fmt.Fprint(w, `<VersioningConfiguration/>`)
			return
		}
		reply(w, r)
	}))
	t.Cleanup(srv.Close)
	u := connectors.Unit{Name: "stand-in", URL: "s3://bucket/in?endpoint=" + srv.URL, Options: map[string]string{"access_key": "key", "secret_key": "secret"}}
	for k, v := range options {
		u.Options[k] = v
	}
	d, err := open(t.Context(), u, defaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	opened.Store(true)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func sayError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, message)
}

func sayObject(w http.ResponseWriter, r *http.Request, etag, body string, header ...string) {
	h := w.Header()
	h.Set("ETag", `"`+etag+`"`)
	h.Set("Last-Modified", "Sun, 22 Nov 2026 06:00:00 GMT")
	h.Set("Content-Length", fmt.Sprint(len(body)))
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	if r.Method != http.MethodHead {
		_, _ = fmt.Fprint(w, body)
	}
}

func TestErrorTable(t *testing.T) {
	for _, c := range []struct {
		status  int
		code    string
		message string
		header  [2]string
		kind    fault.Kind
		reason  string
		after   time.Duration
		words   string
	}{
		{status: 403, code: "AccessDenied", message: "Access Denied", kind: fault.Denied, reason: "access_denied"},
		{status: 403, code: "AccessDenied", message: "User: arn:aws:iam::1:user/x is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:::key/1", kind: fault.Denied, reason: "key_denied"},
		{status: 400, code: "KMS.DisabledException", message: "arn:aws:kms:::key/1 is disabled.", kind: fault.Denied, reason: "key_denied"},
		{status: 400, code: "InvalidRequest", message: "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.", kind: fault.Denied, reason: "key_denied"},
		{status: 403, code: "InvalidObjectState", message: "The operation is not valid for the object's storage class", kind: fault.Denied, reason: "cold_tier", words: "restored"},
		{status: 301, code: "PermanentRedirect", message: "use another endpoint", header: [2]string{"X-Amz-Bucket-Region", "eu-west-1"}, kind: fault.Invalid, words: "eu-west-1"},
		{status: 400, code: "AuthorizationHeaderMalformed", message: "the region 'us-east-1' is wrong; expecting 'eu-north-1'", kind: fault.Invalid, words: "eu-north-1"},
		{status: 403, code: "InvalidAccessKeyId", kind: fault.Denied, reason: "access_denied", words: "access key"},
		{status: 403, code: "SignatureDoesNotMatch", kind: fault.Denied, reason: "access_denied", words: "secret key"},
		{status: 400, code: "ExpiredToken", kind: fault.Denied, reason: "access_denied", words: "expired"},
		{status: 403, code: "RequestTimeTooSkewed", kind: fault.Unavailable, words: "clock"},
		{status: 503, code: "SlowDown", header: [2]string{"Retry-After", "7"}, kind: fault.Throttled, after: 7 * time.Second},
		{status: 503, header: [2]string{"Retry-After", "999999"}, kind: fault.Throttled, after: time.Hour},
		{status: 429, code: "TooManyRequests", kind: fault.Throttled},
		{status: 500, code: "InternalError", kind: fault.Unavailable},
		{status: 507, code: "XMinioStorageFull", kind: fault.Unavailable, words: "full"},
		{status: 404, code: "NoSuchKey", kind: fault.NotFound},
		{status: 404, code: "NoSuchBucket", kind: fault.Unavailable, words: "bucket does not exist"},
		{status: 404, code: "SomethingElse", kind: fault.Unavailable},
		{status: 409, code: "ConditionalRequestConflict", kind: fault.Unavailable},
		{status: 412, code: "PreconditionFailed", kind: fault.Changed},
		{status: 501, code: "NotImplemented", kind: fault.Unsupported},
		{status: 400, code: "NeverHeardOf", message: "no\x1b[31m &#10;way" + strings.Repeat("x", 5000), kind: fault.Invalid},
		{status: 302, code: "", kind: fault.Invalid},
	} {
		t.Run(fmt.Sprint(c.status, c.code, c.reason), func(t *testing.T) {
			d := standIn(t, nil, func(w http.ResponseWriter, r *http.Request) {
				if c.header[0] != "" {
					w.Header().Set(c.header[0], c.header[1])
				}
				if r.Method == http.MethodHead && (c.status == 400 || c.status == 403) {
					w.WriteHeader(c.status) // no word, as from a real server
					return
				}
				sayError(w, c.status, c.code, strings.ReplaceAll(c.message, "\x1b", ""))
			})
			ref := object.Ref{Key: "key"}
			_, stat := d.Stat(t.Context(), ref)
			_, open := d.Open(t.Context(), ref, 0)
			for what, err := range map[string]error{"Stat": stat, "Open": open} {
				if !fault.Is(err, c.kind) || fault.ReasonOf(err) != c.reason || fault.AfterOf(err) != c.after {
					if what == "Stat" && c.status != 400 && c.status != 403 && c.status != 404 && c.reason == "" {
						continue // a HEAD has no code to go by; the kind is by status
					}
					t.Errorf("%s: %v; want %v (%s) after %v", what, err, c.kind, c.reason, c.after)
				}
				if len(err.Error()) > 700 || strings.ContainsAny(err.Error(), "\x1b\n") {
					t.Errorf("%s: a hostile message came through: %q", what, err)
				}
			}
			if !strings.Contains(open.Error(), c.words) {
				t.Errorf("Open: %v does not say %q", open, c.words)
			}
		})
	}
}

func TestColdTiers(t *testing.T) {
	for _, c := range []struct {
		header []string
		cold   bool
	}{
		{nil, false},
		{[]string{"X-Amz-Storage-Class", "GLACIER"}, true},
		{[]string{"X-Amz-Storage-Class", "DEEP_ARCHIVE", "X-Amz-Restore", `ongoing-request="true"`}, true},
		{[]string{"X-Amz-Storage-Class", "GLACIER", "X-Amz-Restore", `ongoing-request="false", expiry-date="Fri, 23 Dec 2026 00:00:00 GMT"`}, false},
		{[]string{"X-Amz-Storage-Class", "GLACIER_IR"}, false},
		{[]string{"X-Amz-Storage-Class", "INTELLIGENT_TIERING"}, false},
		{[]string{"X-Amz-Storage-Class", "INTELLIGENT_TIERING", "X-Amz-Archive-Status", "DEEP_ARCHIVE_ACCESS"}, true},
	} {
		d := standIn(t, nil, func(w http.ResponseWriter, r *http.Request) { sayObject(w, r, "e", "content", c.header...) })
		info, err := d.Stat(t.Context(), object.Ref{Key: "key"})
		if err != nil || info.Cold != c.cold {
			t.Errorf("%v: %+v, %v; want cold %v", c.header, info, err, c.cold)
		}
	}
}

// TestHeadersOnEveryCall: who pays, and who must own the bucket, is said with
// each call and is signed.
func TestHeadersOnEveryCall(t *testing.T) {
	var mu sync.Mutex
	calls := 0
	d := standIn(t, map[string]string{"requester_pays": "true", "bucket_owner": "123456789012"}, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		calls++
		signed := r.Header.Get("Authorization")
		if r.Header.Get("X-Amz-Request-Payer") != "requester" || r.Header.Get("X-Amz-Expected-Bucket-Owner") != "123456789012" ||
			!strings.Contains(signed, "x-amz-request-payer") || !strings.Contains(signed, "x-amz-expected-bucket-owner") {
			t.Errorf("%s %s lacks a header: %v", r.Method, r.URL, r.Header)
		}
		switch {
		case r.URL.Query().Has("list-type"):
			_, _ = fmt.Fprint(w, `<ListBucketResult/>`)
		case r.URL.Query().Has("tagging"):
			_, _ = fmt.Fprint(w, `<Tagging><TagSet/></Tagging>`)
		default:
			sayObject(w, r, "e", "content")
		}
	})
	ctx := t.Context()
	ref := object.Ref{Key: "key", Version: "e/7/1795327200"}
	if _, err := d.Stat(ctx, ref); err != nil {
		t.Error(err)
	}
	if _, err := read(ctx, d, ref, 0); err != nil {
		t.Error(err)
	}
	if _, err := d.Tags(ctx, ref); err != nil {
		t.Error(err)
	}
	if _, err := d.Tag(ctx, ref, map[string]string{}); err != nil {
		t.Error(err)
	}
	for range d.List(ctx, "", "") {
		t.Error("listed something")
	}
	_, _ = d.Remove(ctx, ref, connectors.Fence{})
	_, _ = d.Put(ctx, "other", strings.NewReader("x"), connectors.PutOptions{Size: 1, SHA256: sum([]byte("x"))})
	if calls < 9 {
		t.Errorf("%d calls", calls)
	}
}

// TestGuardedCopy: where a server is known to guard the destination of a copy,
// one request does it, and a refusal is told from one of the source.
func TestGuardedCopy(t *testing.T) {
	for _, c := range []struct {
		name      string
		sourceNow string // ETag of the source after the refusal
		kind      fault.Kind
	}{
		{"destination exists", "e", fault.Exists},
		{"source moved", "f", fault.Changed},
	} {
		var refused atomic.Bool
		d := standIn(t, nil, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Query().Has("tagging"):
				_, _ = fmt.Fprint(w, `<Tagging><TagSet/></Tagging>`)
			case r.Method == http.MethodPut:
				if r.Header.Get("If-None-Match") != "*" || r.Header.Get("X-Amz-Copy-Source-If-Match") != `"e"` || r.Header.Get("X-Amz-Copy-Source") != "bucket/in/a%20b" {
					t.Errorf("headers %v", r.Header)
				}
				refused.Store(true)
				sayError(w, 412, "PreconditionFailed", "At least one of the preconditions you specified did not hold")
			case refused.Load():
				sayObject(w, r, c.sourceNow, "content")
			default:
				sayObject(w, r, "e", "content")
			}
		})
		d.honours.copy.Set(true)
		_, err := d.Copy(t.Context(), object.Ref{Key: "a b", Version: "e/7/1795327200"}, "b", connectors.PutOptions{})
		if !fault.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", c.name, err, c.kind)
		}
	}
}

// TestServersThatLie: replies that contradict what was asked for are errors.
func TestServersThatLie(t *testing.T) {
	ref := object.Ref{Key: "key", Version: "e/7/1795327200"}
	for name, c := range map[string]struct {
		ref    object.Ref
		offset int64
		reply  func(w http.ResponseWriter, r *http.Request)
		kind   fault.Kind
	}{
		"ignores If-Match":      {ref, 0, func(w http.ResponseWriter, r *http.Request) { sayObject(w, r, "f", "content") }, fault.Changed},
		"same ETag, other size": {ref, 0, func(w http.ResponseWriter, r *http.Request) { sayObject(w, r, "e", "contents") }, fault.Changed},
		"same ETag, other time": {ref, 0, func(w http.ResponseWriter, r *http.Request) {
			sayObject(w, r, "e", "content", "Last-Modified", "Sun, 22 Nov 2026 06:00:01 GMT")
		}, fault.Changed},
		"ignores versionId": {object.Ref{Key: "key", Version: "v1"}, 0, func(w http.ResponseWriter, r *http.Request) { sayObject(w, r, "e", "content") }, fault.Changed},
		"other version": {object.Ref{Key: "key", Version: "v1"}, 0, func(w http.ResponseWriter, r *http.Request) {
			sayObject(w, r, "e", "content", "X-Amz-Version-Id", "v2")
		}, fault.Changed},
		"ignores Range": {ref, 3, func(w http.ResponseWriter, r *http.Request) { sayObject(w, r, "e", "content") }, fault.Unavailable},
		"other range": {ref, 3, func(w http.ResponseWriter, r *http.Request) {
			sayObject(w, r, "e", "content", "Content-Range", "bytes 0-6/7")
		}, fault.Unavailable},
		"ends early": {ref, 0, func(w http.ResponseWriter, r *http.Request) {
			sayObject(w, r, "e", "content")
			if f, ok := w.(http.Flusher); ok && r.Method == http.MethodGet {
				f.Flush()
				panic(http.ErrAbortHandler)
			}
		}, fault.Unavailable},
	} {
		d := standIn(t, nil, func(w http.ResponseWriter, r *http.Request) {
			if name == "ends early" {
				w.Header().Set("ETag", `"e"`)
				w.Header().Set("Last-Modified", "Sun, 22 Nov 2026 06:00:00 GMT")
				w.Header().Set("Content-Length", "7")
				_, _ = fmt.Fprint(w, "con")
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
			c.reply(w, r)
		})
		if b, err := read(t.Context(), d, c.ref, c.offset); !fault.Is(err, c.kind) {
			t.Errorf("%s: read %q, %v; want %v", name, b, err, c.kind)
		}
	}
}

func TestListingsThatLie(t *testing.T) {
	page := func(next string, keys ...string) string {
		var b strings.Builder
		fmt.Fprintf(&b, `<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>%v</IsTruncated>`, next != "")
		if next != "-" && next != "" {
			fmt.Fprintf(&b, "<NextContinuationToken>%s</NextContinuationToken>", next)
		}
		for _, k := range keys {
			fmt.Fprintf(&b, `<Contents><Key>%s</Key><ETag>e</ETag><Size>1</Size><LastModified>2026-11-22T06:00:00.123Z</LastModified><StorageClass>GLACIER</StorageClass></Contents>`, k)
		}
		return b.String() + `</ListBucketResult>`
	}
	for name, c := range map[string]struct {
		reply string
		want  []string
		kind  fault.Kind
	}{
		"good":         {page("", "in%2Fa+b", "in/c%2B%25", "in/d%0A"), []string{"a b", "c+%", "d\n"}, fault.Other},
		"other place":  {page("", "elsewhere", "in/", "in/a", "inside"), []string{"a"}, fault.Other},
		"no order":     {page("", "in/b", "in/a"), []string{"b"}, fault.Unsupported},
		"same page":    {page("again", "in/a"), nil, fault.Unavailable},
		"no next":      {page("-", "in/a"), nil, fault.Unavailable},
		"bad escape":   {page("", "in/%zz"), nil, fault.Unavailable},
		"not XML":      {"<html>login here", nil, fault.Unavailable},
		"error in 200": {`<Error><Code>SlowDown</Code></Error>`, nil, fault.Throttled},
	} {
		t.Run(name, func(t *testing.T) {
			d := standIn(t, nil, func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, c.reply) })
			var got []string
			var failed error
			for info, err := range d.List(t.Context(), "", "") {
				if err != nil {
					failed = err
					break
				}
				if !info.Cold || info.Version != "e/1/1795327200" || info.ModTime.Nanosecond() != 0 {
					t.Errorf("%+v", info)
				}
				if got = append(got, info.Key); len(got) > 10 {
					break
				}
			}
			if name == "same page" && len(got) > 0 {
				got = nil // some pages may come before the repetition is seen
			}
			if fault.KindOf(failed) != c.kind || strings.Join(got, "|") != strings.Join(c.want, "|") {
				t.Errorf("got %q, %v; want %q, %v", got, failed, c.want, c.kind)
			}
		})
	}
}

// TestBigRepliesAreBounded: a reply that is not content cannot fill memory.
func TestBigRepliesAreBounded(t *testing.T) {
	block := []byte("<a>" + strings.Repeat("x", 1<<16))
	var sent atomic.Int64
	d := standIn(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		for ; sent.Load() < 10*maxSmallReply; sent.Add(int64(len(block))) {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	for _, err := range d.List(t.Context(), "", "") {
		if err == nil {
			t.Error("it listed something")
		}
	}
	if sent.Load() > 3*maxSmallReply {
		t.Errorf("read at least %d bytes of a listing", sent.Load())
	}
}

func TestCancelledIsPassedThrough(t *testing.T) {
	d := standIn(t, nil, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := d.Stat(ctx, object.Ref{Key: "key"}); !errors.Is(err, context.DeadlineExceeded) || fault.KindOf(err) != fault.Other {
		t.Errorf("the caller's deadline: %v", err)
	}
	d.limits.call = 50 * time.Millisecond
	if _, err := d.Stat(t.Context(), object.Ref{Key: "key"}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("our own limit: %v", err)
	}
}
