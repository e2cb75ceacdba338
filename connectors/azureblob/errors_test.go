package azureblob

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// answering opens a driver on a stand-in that answers all but what opens a
// container with reply.
func answering(t *testing.T, reply http.HandlerFunc) *Driver {
	t.Helper()
	var opened atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !opened.Load() {
			_, _ = fmt.Fprint(w, "<EnumerationResults/>")
			return
		}
		reply(w, r)
	}))
	t.Cleanup(srv.Close)
	d, err := open(t.Context(), connectors.Unit{Name: "stand-in", URL: "azblob://account/container/in?endpoint=" + srv.URL, Options: map[string]string{"key": "c2VjcmV0"}}, defaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	opened.Store(true)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// TestErrorTable goes through a stand-in that answers with the service's errors.
func TestErrorTable(t *testing.T) {
	for _, c := range []struct {
		status  int
		code    string
		message string
		header  string // Retry-After
		kind    fault.Kind
		reason  string
		after   time.Duration
		words   string
	}{
		{status: 404, code: "BlobNotFound", kind: fault.NotFound},
		{status: 404, code: "ContainerNotFound", kind: fault.Unavailable, words: "container does not exist"},
		{status: 404, code: "", kind: fault.Unavailable}, // from a proxy
		{status: 404, code: "SomethingElse", kind: fault.Unavailable},
		{status: 412, code: "ConditionNotMet", kind: fault.Changed},
		{status: 412, code: "SourceConditionNotMet", kind: fault.Changed},
		{status: 412, code: "LeaseIdMissing", kind: fault.Unavailable, reason: "locked", words: "lease"},
		{status: 409, code: "LeaseAlreadyPresent", kind: fault.Unavailable, reason: "locked", words: "lease"},
		{status: 409, code: "BlobAlreadyExists", kind: fault.Exists},
		{status: 409, code: "BlobArchived", kind: fault.Denied, reason: "cold_tier", words: "rehydrated"},
		{status: 409, code: "BlobBeingRehydrated", kind: fault.Denied, reason: "cold_tier"},
		{status: 409, code: "BlobUsesCustomerSpecifiedEncryption", kind: fault.Denied, reason: "key_denied"},
		{status: 403, code: "KeyVaultEncryptionKeyNotFound", message: "The key vault key is not found to unwrap the encryption key.", kind: fault.Denied, reason: "key_denied", words: "key vault"},
		{status: 409, code: "BlobImmutableDueToPolicy", message: "This operation is not permitted as the blob is immutable due to a policy.", kind: fault.Denied, words: "an immutability policy keeps it"},
		{status: 409, code: "BlobImmutableDueToPolicy", message: "This operation is not permitted as the blob is immutable due to one or more legal holds.", kind: fault.Denied, words: "a legal hold keeps it"},
		{status: 409, code: "BlobImmutableDueToLegalHold", kind: fault.Denied, words: "a legal hold keeps it"},
		{status: 409, code: "SnapshotsPresent", kind: fault.Denied, words: "delete_snapshots"},
		{status: 409, code: "InvalidBlobType", kind: fault.Invalid},
		{status: 409, code: "PendingCopyOperation", kind: fault.Unavailable, reason: "locked"},
		{status: 409, code: "FeatureNotYetSupportedForHierarchicalNamespaceAccounts", kind: fault.Unsupported},
		{status: 409, code: "NeverHeardOf", kind: fault.Unavailable},
		{status: 403, code: "AuthenticationFailed", message: "Server failed to authenticate the request.", kind: fault.Denied, reason: "access_denied", words: "clock"},
		{status: 403, code: "AuthorizationPermissionMismatch", kind: fault.Denied, reason: "access_denied", words: "role"},
		{status: 403, code: "AuthorizationFailure", kind: fault.Denied, reason: "access_denied", words: "firewall"},
		{status: 403, code: "KeyBasedAuthenticationNotPermitted", kind: fault.Denied, reason: "access_denied", words: "Entra ID"},
		{status: 401, code: "NoAuthenticationInformation", kind: fault.Denied, reason: "access_denied"},
		{status: 403, code: "NeverHeardOf", kind: fault.Denied, reason: "access_denied"},
		{status: 503, code: "ServerBusy", header: "7", kind: fault.Throttled, after: 7 * time.Second},
		{status: 503, code: "", header: "999999", kind: fault.Throttled, after: time.Hour},
		{status: 429, code: "TooManyRequests", kind: fault.Throttled},
		{status: 500, code: "InternalError", kind: fault.Unavailable},
		{status: 500, code: "OperationTimedOut", kind: fault.Unavailable},
		{status: 400, code: "InvalidBlockList", kind: fault.Unavailable},
		{status: 400, code: "AccountRequiresHttps", kind: fault.Invalid, words: "https"},
		{status: 400, code: "NeverHeardOf", message: "no&#10;way" + strings.Repeat("x", 5000), kind: fault.Invalid},
		{status: 405, code: "UnsupportedHttpVerb", kind: fault.Unsupported},
		{status: 501, code: "APINotImplemented", kind: fault.Unsupported},
		{status: 302, code: "", kind: fault.Invalid},
	} {
		t.Run(fmt.Sprint(c.status, c.code, c.reason), func(t *testing.T) {
			d := answering(t, func(w http.ResponseWriter, r *http.Request) {
				if c.header != "" {
					w.Header().Set("Retry-After", c.header)
				}
				if c.code != "" {
					w.Header().Set("x-ms-error-code", c.code)
				}
				w.WriteHeader(c.status)
				if r.Method != http.MethodHead {
					_, _ = fmt.Fprintf(w, "\ufeff<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code><Message>%s\nRequestId:1\nTime:2</Message>"+
						"<AuthenticationErrorDetail>signature c2VjcmV0</AuthenticationErrorDetail></Error>", c.code, c.message)
				}
			})
			ref := object.Ref{Key: "key"}
			_, stat := d.Stat(t.Context(), ref)
			_, open := d.Open(t.Context(), ref, 0)
			for what, err := range map[string]error{"Stat": stat, "Open": open} {
				if what == "Stat" && c.code == "BlobImmutableDueToPolicy" {
					continue // a HEAD has no words to tell them apart
				}
				if !fault.Is(err, c.kind) || fault.ReasonOf(err) != c.reason || fault.AfterOf(err) != c.after || !strings.Contains(err.Error(), c.words) {
					t.Errorf("%s: %v; want %v (%s) after %v, with %q", what, err, c.kind, c.reason, c.after, c.words)
				}
				if len(err.Error()) > 700 || strings.ContainsAny(err.Error(), "\x1b\n") || strings.Contains(err.Error(), "c2VjcmV0") {
					t.Errorf("%s: too much came through: %q", what, err)
				}
			}
		})
	}
}

// TestServersThatLie: replies that contradict what was asked for are errors.
func TestServersThatLie(t *testing.T) {
	for name, c := range map[string]struct {
		version string
		offset  int64
		header  []string
		kind    fault.Kind
	}{
		"ignores If-Match":  {"0x1", 0, []string{"ETag", `"0x2"`}, fault.Changed},
		"ignores versionid": {"2026-11-28T15:56:26.1234567Z", 0, []string{"ETag", `"0x2"`}, fault.Changed},
		"other version":     {"2026-11-28T15:56:26.1234567Z", 0, []string{"x-ms-version-id", "2026-11-28T15:56:27.1234567Z"}, fault.Changed},
		"ignores the range": {"0x1", 3, []string{"ETag", `"0x1"`}, fault.Unavailable},
		"other range":       {"0x1", 3, []string{"ETag", `"0x1"`, "Content-Range", "bytes 0-6/7"}, fault.Unavailable},
	} {
		d := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(c.header); i += 2 {
				w.Header().Set(c.header[i], c.header[i+1])
			}
			_, _ = fmt.Fprint(w, "content")
		})
		if b, err := read(t.Context(), d, object.Ref{Key: "key", Version: c.version}, c.offset); !fault.Is(err, c.kind) {
			t.Errorf("%s: read %q, %v; want %v", name, b, err, c.kind)
		}
	}
}

func TestListingsThatLie(t *testing.T) {
	page := func(next string, names ...string) string {
		var b strings.Builder
		for _, n := range names {
			fmt.Fprintf(&b, "<Blob><Name>%s</Name><Properties><Etag>0x1</Etag><Content-Length>1</Content-Length></Properties></Blob>", n)
		}
		return "<EnumerationResults><Blobs>" + b.String() + "</Blobs><NextMarker>" + next + "</NextMarker></EnumerationResults>"
	}
	for name, c := range map[string]struct {
		reply string
		want  []string
		kind  fault.Kind
	}{
		"good":        {page("", "in/a b", "in/c+%"), []string{"a b", "c+%"}, fault.Other},
		"other place": {page("", "elsewhere", "in/", "in/a", "inside"), []string{"a"}, fault.Other},
		"no order":    {page("", "in/b", "in/a"), []string{"b"}, fault.Unsupported},
		"same page":   {page("again", "in/a"), nil, fault.Unavailable},
		"not XML":     {"<html>login here", nil, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			d := answering(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, c.reply) })
			var got []string
			var failed error
			for info, err := range d.List(t.Context(), "", "") {
				if err != nil {
					failed = err
					break
				}
				if info.Version != "0x1" {
					t.Errorf("%+v", info)
				}
				if got = append(got, info.Key); len(got) > 10 {
					break
				}
			}
			if name == "same page" {
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
	sent := make(chan int, 1)
	d := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		n := 0
		for n < 5*maxSmallReply {
			if _, err := w.Write(block); err != nil {
				break
			}
			n += len(block)
		}
		select {
		case sent <- n:
		default:
		}
	})
	for _, err := range d.List(t.Context(), "", "") {
		if err == nil {
			t.Error("it listed something")
		}
	}
	if n := <-sent; n > 2*maxSmallReply {
		t.Errorf("read about %d bytes of a listing", n)
	}
}

func TestCancelledIsPassedThrough(t *testing.T) {
	d := answering(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
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
