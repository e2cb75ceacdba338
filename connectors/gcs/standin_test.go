package gcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/storage"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// standIn opens a driver on a stand-in for Google, written from its documents,
// that answers with reply. Opening itself is answered with an empty listing.
func standIn(t *testing.T, options map[string]string, reply http.HandlerFunc) *Driver {
	t.Helper()
	var opened atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !opened.Load() {
			say(w, map[string]any{"kind": "storage#objects"})
			return
		}
		reply(w, r)
	}))
	t.Cleanup(srv.Close)
	u := connectors.Unit{Name: "stand-in", URL: "gs://bucket/in?endpoint=" + srv.URL, Options: map[string]string{"anonymous": "true"}}
	for k, v := range options {
		u.Options[k] = v
	}
	d, err := open(t.Context(), u, defaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*connectors.Answer{&d.honours.remove, &d.honours.put, &d.honours.copy, &d.honours.patch} {
		a.Set(true) // as on Google's own endpoint
	}
	opened.Store(true)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func say(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_ = json.NewEncoder(w).Encode(v)
}

func sayError(w http.ResponseWriter, status int, reason, message string) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": status, "message": message,
		"errors": []map[string]string{{"domain": "global", "reason": reason, "message": message}}}})
}

// anObject is in/key as the JSON API describes it.
func anObject(gen int64, more ...string) map[string]any {
	o := map[string]any{"kind": "storage#object", "name": "in/key", "bucket": "bucket", "generation": fmt.Sprint(gen), "metageneration": "3",
		"size": "7", "updated": "2026-11-22T06:00:00.123Z", "storageClass": "ARCHIVE"}
	for i := 0; i+1 < len(more); i += 2 {
		o[more[i]] = more[i+1]
	}
	return o
}

// anAttrs is the same, as the library has it.
func anAttrs(gen int64) *storage.ObjectAttrs {
	return &storage.ObjectAttrs{Name: "in/key", Bucket: "bucket", Generation: gen, Metageneration: 3, Size: 7}
}

func sayContent(w http.ResponseWriter, gen int64, body string, header ...string) {
	h := w.Header()
	h.Set("X-Goog-Generation", fmt.Sprint(gen))
	h.Set("Last-Modified", "Sun, 22 Nov 2026 06:00:00 GMT")
	h.Set("Content-Length", fmt.Sprint(len(body)))
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	_, _ = io.WriteString(w, body)
}

func TestErrorTable(t *testing.T) {
	held := "Object 'bucket/in/key' is under active %s hold and cannot be deleted, overwritten or archived until hold is removed."
	retained := "Object 'bucket/in/key' is subject to %s and cannot be deleted, overwritten or archived until 2026-12-05T11:36:47.70576-08:00"
	for _, c := range []struct {
		status int
		code   string // of the reply; "" = a reply that is no JSON
		words  string // of the reply
		header [2]string
		kind   fault.Kind
		reason string
		after  time.Duration
		says   string
	}{
		{status: 404, code: "notFound", words: "No such object: bucket/in/key", kind: fault.NotFound},
		{status: 404, code: "notFound", words: "The specified bucket does not exist.", kind: fault.Unavailable, says: "bucket does not exist"},
		{status: 404, words: "<html>nothing here", kind: fault.Unavailable},
		{status: 404, code: "somethingElse", kind: fault.Unavailable},
		{status: 410, code: "gone", kind: fault.Unavailable},
		{status: 412, code: "conditionNotMet", words: "At least one of the pre-conditions you specified did not hold.", kind: fault.Changed},
		{status: 412, code: "orgPolicyConstraintFailed", words: "violates constraint", kind: fault.Denied, reason: "access_denied", says: "organization"},
		{status: 401, code: "required", words: "Login Required", kind: fault.Denied, reason: "access_denied", says: "wants credentials"},
		{status: 401, code: "authError", words: "Invalid Credentials", kind: fault.Denied, reason: "access_denied"},
		{status: 403, code: "forbidden", words: "x@y does not have storage.objects.get access to the Google Cloud Storage object.", kind: fault.Denied, reason: "access_denied"},
		{status: 403, words: "<Error>Access denied.</Error>", kind: fault.Denied, reason: "access_denied"},
		{status: 403, code: "forbidden", words: fmt.Sprintf(held, "Temporary"), kind: fault.Denied, says: keptTemporary},
		{status: 403, code: "forbidden", words: fmt.Sprintf(held, "Event-Based"), kind: fault.Denied, says: keptEvent},
		{status: 403, code: "objectUnderActiveHold", kind: fault.Denied, says: "hold"},
		{status: 403, code: "retentionPolicyNotMet", words: fmt.Sprintf(retained, "bucket's retention policy"), kind: fault.Denied, says: keptBucket},
		{status: 403, code: "retentionPolicyNotMet", words: fmt.Sprintf(retained, "object's retention policy"), kind: fault.Denied, says: keptObject},
		{status: 403, code: "retentionPolicyNotMet", words: fmt.Sprintf(retained, "bucket's retention policy or object retention"), kind: fault.Denied, says: keptSomehow},
		{status: 403, code: "forbidden", words: "Permission denied on Cloud KMS key. Please ensure that your Cloud Storage service account has been authorized to use this key.", kind: fault.Denied, reason: "key_denied"},
		{status: 400, code: "cloudKmsDisabledKey", kind: fault.Denied, reason: "key_denied", says: "disabled"},
		{status: 400, code: "resourceIsEncryptedWithCustomerEncryptionKey", words: "The target object is encrypted by a customer-supplied encryption key.", kind: fault.Denied, reason: "key_denied", says: "its writer kept"},
		{status: 400, words: "The target object is encrypted by a customer-supplied encryption key.", kind: fault.Denied, reason: "key_denied", says: "its writer kept"},
		{status: 400, code: "required", words: "Bucket is a requester pays bucket but no user project provided.", kind: fault.Denied, reason: "access_denied", says: "user_project"},
		{status: 400, code: "userProjectMissing", kind: fault.Denied, reason: "access_denied", says: "user_project"},
		{status: 403, code: "userProjectAccessDenied", kind: fault.Denied, reason: "access_denied", says: "bill"},
		{status: 429, code: "rateLimitExceeded", words: "The object bucket/in/key exceeded the rate limit for object mutation operations", header: [2]string{"Retry-After", "7"}, kind: fault.Throttled, after: 7 * time.Second},
		{status: 429, header: [2]string{"Retry-After", "999999"}, kind: fault.Throttled, after: time.Hour},
		{status: 403, code: "userRateLimitExceeded", kind: fault.Throttled},
		{status: 403, code: "quotaExceeded", kind: fault.Throttled},
		{status: 503, code: "backendError", words: "Backend Error", kind: fault.Unavailable},
		{status: 503, words: "<html>Service Unavailable", header: [2]string{"Retry-After", "3"}, kind: fault.Unavailable, after: 3 * time.Second},
		{status: 500, code: "internalError", kind: fault.Unavailable},
		{status: 504, code: "gatewayTimeout", kind: fault.Unavailable},
		{status: 408, code: "uploadBrokenConnection", kind: fault.Unavailable},
		{status: 409, code: "conflict", kind: fault.Unavailable},
		{status: 405, code: "methodNotAllowed", kind: fault.Unsupported},
		{status: 501, code: "notImplemented", kind: fault.Unsupported},
		{status: 400, code: "invalid", words: "Invalid argument", kind: fault.Invalid},
		{status: 400, code: "required", words: "Required parameter: name", kind: fault.Invalid},
		{status: 400, code: "neverHeardOf", words: "no\x1b[31m \nway" + strings.Repeat("x", 5000), kind: fault.Invalid},
		{status: 302, kind: fault.Invalid},
	} {
		t.Run(fmt.Sprint(c.status, c.code, c.says), func(t *testing.T) {
			d := standIn(t, nil, func(w http.ResponseWriter, r *http.Request) {
				if c.header[0] != "" {
					w.Header().Set(c.header[0], c.header[1])
				}
				if c.code == "" || r.URL.Query().Get("alt") == "media" { // a download is refused in words alone
					w.WriteHeader(c.status)
					_, _ = io.WriteString(w, c.words)
					return
				}
				sayError(w, c.status, c.code, c.words)
			})
			ref := object.Ref{Key: "key"}
			_, stat := d.Stat(t.Context(), ref)
			_, open := d.Open(t.Context(), ref, 0)
			if !fault.Is(stat, c.kind) || fault.ReasonOf(stat) != c.reason || fault.AfterOf(stat) != c.after || !strings.Contains(stat.Error(), c.says) {
				t.Errorf("Stat: %v; want %v (%s) after %v, with %q", stat, c.kind, c.reason, c.after, c.says)
			}
			// A download says no reason: only status and words are there to go by.
			if byReason := c.words == "" && c.code != "" || c.code == "userRateLimitExceeded" || c.status == 412 && c.code != "conditionNotMet"; !byReason && !fault.Is(open, c.kind) {
				t.Errorf("Open: %v; want %v", open, c.kind)
			}
			for what, err := range map[string]error{"Stat": stat, "Open": open} {
				if len(err.Error()) > 700 || strings.ContainsAny(err.Error(), "\x1b\n") {
					t.Errorf("%s: a hostile message came through: %q", what, err)
				}
			}
		})
	}
}

// TestHolds: what keeps an object is told apart, and where the bucket keeps
// versions the object is hidden, and said to remain.
func TestHolds(t *testing.T) {
	for name, c := range map[string]struct {
		object   []string
		message  string // of the refusal
		archive  bool   // making it noncurrent is allowed
		versions bool   // and keeps it
		now      string // another generation is current
		kind     fault.Kind
		says     string
		removed  connectors.Removed
	}{
		"temporary":        {[]string{"temporaryHold", "true"}, "is under active Temporary hold", false, false, "", fault.Denied, keptTemporary, connectors.Removed{}},
		"event":            {[]string{"eventBasedHold", "true"}, "is under active Event-Based hold", false, false, "", fault.Denied, keptEvent, connectors.Removed{}},
		"object retention": {[]string{"retention", "2099-01-02T00:00:00Z"}, "bucket's retention policy or object retention", false, false, "", fault.Denied, "own retention keeps it (Locked) until 2099-01-02", connectors.Removed{}},
		"bucket retention": {[]string{"retentionExpirationTime", "2099-01-02T00:00:00Z"}, "is subject to bucket's retention policy", false, false, "", fault.Denied, "bucket's retention policy keeps the object until 2099-01-02", connectors.Removed{}},
		"hidden":           {[]string{"retentionExpirationTime", "2099-01-02T00:00:00Z"}, "is subject to bucket's retention policy", true, true, "", fault.Other, "", connectors.Removed{Marker: true}},
		"gone after all":   {[]string{"temporaryHold", "true"}, "is under active Temporary hold", true, false, "", fault.Other, "", connectors.Removed{}},
		"hidden already":   {[]string{"temporaryHold", "true", "timeDeleted", "2026-11-23T00:00:00Z"}, "is under active Temporary hold", false, true, "", fault.Other, "", connectors.Removed{Marker: true, Already: true}},
		"below another":    {[]string{"temporaryHold", "true", "timeDeleted", "2026-11-23T00:00:00Z"}, "is under active Temporary hold", false, true, "6", fault.Denied, keptTemporary, connectors.Removed{}},
		"no hold":          {nil, "x@y does not have storage.objects.delete access", true, true, "", fault.Denied, "storage.objects.delete", connectors.Removed{}},
	} {
		t.Run(name, func(t *testing.T) {
			var archived atomic.Bool
			d := standIn(t, nil, func(w http.ResponseWriter, r *http.Request) {
				q := r.URL.Query()
				o := anObject(5, c.object...)
				for _, flag := range []string{"temporaryHold", "eventBasedHold"} {
					if o[flag] != nil {
						o[flag] = true
					}
				}
				if until := o["retention"]; until != nil {
					o["retention"] = map[string]any{"mode": "Locked", "retainUntilTime": until}
				}
				switch {
				case r.Method == http.MethodDelete && q.Get("generation") == "5":
					sayError(w, 403, "forbidden", "Object 'bucket/in/key' "+c.message)
				case r.Method == http.MethodDelete:
					if q.Get("ifGenerationMatch") != "5" || q.Has("generation") {
						t.Errorf("made noncurrent by %v", q)
					}
					if !c.archive {
						sayError(w, 403, "forbidden", "Object 'bucket/in/key' "+c.message)
						return
					}
					archived.Store(true)
					w.WriteHeader(http.StatusNoContent)
				case q.Get("softDeleted") == "true":
					sayError(w, 404, "notFound", "No such object")
				case q.Get("generation") == "" && (o["timeDeleted"] != nil || archived.Load()):
					if c.now == "" {
						sayError(w, 404, "notFound", "No such object")
						return
					}
					say(w, anObject(6))
				case archived.Load() && !c.versions:
					sayError(w, 404, "notFound", "No such object")
				default:
					say(w, o)
				}
			})
			rem, err := d.Remove(t.Context(), object.Ref{Key: "key", Version: "5"}, connectors.Fence{})
			if fault.KindOf(err) != c.kind || rem != c.removed || err != nil && (!strings.Contains(err.Error(), c.says)) {
				t.Errorf("%+v, %v; want %+v, %v with %q", rem, err, c.removed, c.kind, c.says)
			}
		})
	}
}

// TestSoftDelete: an object that can be restored is said to remain.
func TestSoftDelete(t *testing.T) {
	for _, soft := range []bool{false, true} {
		var deleted atomic.Bool
		d := standIn(t, nil, func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			switch {
			case r.Method == http.MethodDelete:
				if q.Get("generation") != "5" || q.Get("ifGenerationMatch") != "5" {
					t.Errorf("deleted with %v", q)
				}
				deleted.Store(true)
				w.WriteHeader(http.StatusNoContent)
			case deleted.Load() && soft && q.Get("softDeleted") == "true":
				say(w, anObject(5, "softDeleteTime", "2026-11-28T00:00:00Z", "hardDeleteTime", "2026-12-05T00:00:00Z"))
			case deleted.Load():
				sayError(w, 404, "notFound", "No such object")
			default:
				say(w, anObject(5))
			}
		})
		rem, err := d.Remove(t.Context(), object.Ref{Key: "key", Version: "5"}, connectors.Fence{})
		if err != nil || rem.Marker != soft {
			t.Errorf("soft delete %v: %+v, %v", soft, rem, err)
		}
	}
}

// TestPayerOnEveryCall: who pays is said with each call.
func TestPayerOnEveryCall(t *testing.T) {
	var calls atomic.Int32
	d := standIn(t, map[string]string{"user_project": "payer-1"}, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.URL.Query().Get("userProject") != "payer-1" {
			t.Errorf("%s %s does not say who pays", r.Method, r.URL)
		}
		if p := r.URL.Query().Get("projection"); p != "" && p != "noAcl" || r.UserAgent() != "landwaiter" {
			t.Errorf("%s %s asks for access lists, or comes from %q", r.Method, r.URL, r.UserAgent())
		}
		_, _ = io.Copy(io.Discard, r.Body)
		switch {
		case r.URL.Query().Get("alt") == "media":
			if r.Header.Get("Accept-Encoding") != "gzip" {
				t.Errorf("a download accepts %q", r.Header.Get("Accept-Encoding"))
			}
			sayContent(w, 5, "content", "X-Goog-Storage-Class", "ARCHIVE", "X-Goog-Meta-Who", "them")
		case strings.HasSuffix(r.URL.Path, "/o") && r.Method == http.MethodGet:
			say(w, map[string]any{"kind": "storage#objects"})
		case strings.Contains(r.URL.Path, "/rewriteTo/"):
			say(w, map[string]any{"done": true, "resource": anObject(9, "name", "in/copy")})
		case strings.HasPrefix(r.URL.Path, "/upload/"):
			say(w, anObject(8, "name", "in/other", "size", "1"))
		default:
			say(w, anObject(5, "contentType", "x/y"))
		}
	})
	ctx, ref := t.Context(), object.Ref{Key: "key", Version: "5"}
	info, err := d.Stat(ctx, ref)
	if err != nil || info.Cold || info.StorageClass != "ARCHIVE" { // it can be read at once
		t.Errorf("%+v, %v", info, err)
	}
	r, err := d.Open(ctx, ref, 0)
	if err != nil || r.Info().Meta["who"] != "them" || r.Info().Version != info.Version || r.Info().StorageClass != "ARCHIVE" || !r.Info().ModTime.Equal(info.ModTime) {
		t.Fatalf("%+v, %v", r, err)
	}
	_ = r.Close()
	_, _ = d.Tags(ctx, ref)
	_, _ = d.Tag(ctx, ref, map[string]string{"a": "b"})
	_, _ = d.Copy(ctx, ref, "copy", connectors.PutOptions{})
	_, _ = d.Remove(ctx, ref, connectors.Fence{})
	_, _ = d.Put(ctx, "other", strings.NewReader("x"), connectors.PutOptions{Size: 1})
	for range d.List(ctx, "", "") {
		t.Error("listed something")
	}
	if calls.Load() < 12 {
		t.Errorf("%d calls", calls.Load())
	}
}

// TestRewriteInSteps: a copy that the server makes in several calls names the
// same source, destination and preconditions in each, and keeps class and key.
func TestRewriteInSteps(t *testing.T) {
	for name, c := range map[string]struct {
		done []int // bytes, call by call; the last is all
		kind fault.Kind
	}{
		"one":   {[]int{7}, fault.Other},
		"three": {[]int{2, 5, 7}, fault.Other},
		"stuck": {[]int{2, 2, 2, 2, 7}, fault.Unavailable},
	} {
		calls := 0
		d := standIn(t, nil, func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.URL.Path, "/rewriteTo/") {
				say(w, anObject(5, "kmsKeyName", "projects/p/cryptoKeys/k/cryptoKeyVersions/3"))
				return
			}
			q := r.URL.Query()
			var sent struct{ StorageClass string }
			_ = json.NewDecoder(r.Body).Decode(&sent)
			if q.Get("sourceGeneration") != "5" || q.Get("ifGenerationMatch") != "0" || sent.StorageClass != "ARCHIVE" ||
				q.Get("destinationKmsKeyName") != "projects/p/cryptoKeys/k" || (calls > 0) != (q.Get("rewriteToken") == fmt.Sprint("token", calls)) {
				t.Errorf("%s: call %d: %v, %+v", name, calls, q, sent)
			}
			n := c.done[calls]
			calls++
			reply := map[string]any{"done": n == 7, "totalBytesRewritten": fmt.Sprint(n), "objectSize": "7", "rewriteToken": fmt.Sprint("token", calls)}
			if n == 7 {
				reply["resource"] = anObject(9, "name", "in/copy")
			}
			say(w, reply)
		})
		info, err := d.Copy(t.Context(), object.Ref{Key: "key", Version: "5"}, "copy", connectors.PutOptions{})
		if fault.KindOf(err) != c.kind || err == nil && (info.Version != "9" || calls != len(c.done)) {
			t.Errorf("%s: %+v, %v after %d calls", name, info, err, calls)
		}
	}
}

// TestServersThatLie: replies that contradict what was asked for are errors.
func TestServersThatLie(t *testing.T) {
	for name, c := range map[string]struct {
		version string
		offset  int64
		reply   func(w http.ResponseWriter)
		kind    fault.Kind
	}{
		"other generation": {"5", 0, func(w http.ResponseWriter) { sayContent(w, 6, "content") }, fault.Changed},
		"no generation":    {"", 0, func(w http.ResponseWriter) { sayContent(w, 0, "content", "X-Goog-Generation", "") }, fault.Unavailable},
		"ignores Range":    {"5", 3, func(w http.ResponseWriter) { sayContent(w, 5, "content") }, fault.Unavailable},
		"other range":      {"5", 3, func(w http.ResponseWriter) { sayContent(w, 5, "content", "Content-Range", "bytes 0-6/7") }, fault.Unavailable},
		"unpacks":          {"5", 0, func(w http.ResponseWriter) { sayContent(w, 5, "content", "X-Goog-Stored-Content-Length", "5") }, fault.Unavailable},
		"ends early": {"5", 0, func(w http.ResponseWriter) {
			w.Header().Set("X-Goog-Generation", "5")
			w.Header().Set("Content-Length", "7")
			_, _ = io.WriteString(w, "con")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, fault.Unavailable},
		"redirects": {"5", 0, func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://127.0.0.2:1/elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, fault.Unavailable},
	} {
		d := standIn(t, nil, func(w http.ResponseWriter, _ *http.Request) { c.reply(w) })
		if b, err := read(t.Context(), d, object.Ref{Key: "key", Version: c.version}, c.offset); !fault.Is(err, c.kind) {
			t.Errorf("%s: read %q, %v; want %v", name, b, err, c.kind)
		}
	}
	for name, o := range map[string]map[string]any{
		"other generation": anObject(6), "other name": anObject(5, "name", "in/other"), "no generation": anObject(0),
	} {
		d := standIn(t, nil, func(w http.ResponseWriter, _ *http.Request) { say(w, o) })
		if info, err := d.Stat(t.Context(), object.Ref{Key: "key", Version: "5"}); !fault.Is(err, fault.Changed) {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
}

// TestSessionElsewhere: an upload's session on another host is not followed.
func TestSessionElsewhere(t *testing.T) {
	d := standIn(t, nil, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Location", "http://127.0.0.2:1/session")
	})
	d.limits.chunk = 256 << 10
	_, err := d.Put(t.Context(), "key", strings.NewReader(strings.Repeat("x", 300<<10)), connectors.PutOptions{Size: 300 << 10})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), errElsewhere.Error()) {
		t.Errorf("got %v", err)
	}
}

// TestOtherBytesStored: what the server stored wrongly is removed again, that
// generation alone.
func TestOtherBytesStored(t *testing.T) {
	var removed atomic.Value
	d := standIn(t, nil, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodDelete {
			removed.Store(r.URL.Query().Get("generation"))
			w.WriteHeader(http.StatusNoContent)
			return
		}
		say(w, anObject(5, "size", "7", "crc32c", "AAAAAA=="))
	})
	_, err := d.Put(t.Context(), "key", strings.NewReader("content"), connectors.PutOptions{Size: 7})
	if !fault.Is(err, fault.Unavailable) || removed.Load() != "5" {
		t.Errorf("got %v, removed %v", err, removed.Load())
	}
}

func TestListingsThatLie(t *testing.T) {
	page := func(next string, names ...string) map[string]any {
		items := []map[string]any{}
		for _, n := range names {
			items = append(items, anObject(5, "name", n))
		}
		return map[string]any{"kind": "storage#objects", "items": items, "nextPageToken": next}
	}
	for name, c := range map[string]struct {
		reply any
		want  []string
		kind  fault.Kind
	}{
		"good":          {page("", "in/a b", "in/c+%", "in/d\x01"), []string{"a b", "c+%", "d\x01"}, fault.Other},
		"other place":   {page("", "elsewhere", "in/", "in/a", "inside"), []string{"a"}, fault.Other},
		"no order":      {page("", "in/b", "in/a"), []string{"b"}, fault.Unsupported},
		"same page":     {page("again", "in/a"), nil, fault.Unavailable},
		"no generation": {map[string]any{"items": []any{anObject(0)}}, nil, fault.Unavailable},
		"not JSON":      {nil, nil, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			d := standIn(t, nil, func(w http.ResponseWriter, _ *http.Request) {
				if c.reply == nil {
					_, _ = io.WriteString(w, "<html>login here")
					return
				}
				say(w, c.reply)
			})
			var got []string
			var failed error
			for info, err := range d.List(t.Context(), "", "") {
				if err != nil {
					failed = err
					break
				}
				if info.Version != "5" || info.ModTime.Nanosecond() != 0 || !info.Latest {
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
	block := []byte(`"` + strings.Repeat("x", 1<<16) + `",`)
	var sent atomic.Int64
	d := standIn(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"kind":[`)
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

func TestLimitsAndCancellation(t *testing.T) {
	var mu sync.Mutex
	end := make(chan struct{})
	d := standIn(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("alt") == "media" {
			mu.Lock()
			defer mu.Unlock()
			w.Header().Set("X-Goog-Generation", "5")
			w.Header().Set("Content-Length", "7")
			_ = http.NewResponseController(w).Flush()
		}
		select { // the body is unread: the server does not see that the client is gone
		case <-r.Context().Done():
		case <-end:
		}
	})
	defer close(end)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := d.Stat(ctx, object.Ref{Key: "key"}); !errors.Is(err, context.DeadlineExceeded) || fault.KindOf(err) != fault.Other {
		t.Errorf("the caller's deadline: %v", err)
	}
	d.limits.call, d.limits.stall = 50*time.Millisecond, 50*time.Millisecond
	if _, err := d.Stat(t.Context(), object.Ref{Key: "key"}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("our own limit: %v", err)
	}
	if _, err := read(t.Context(), d, object.Ref{Key: "key"}, 0); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "no byte came") {
		t.Errorf("a read that stalls: %v", err)
	}
	if _, err := d.Put(t.Context(), "key", strings.NewReader("x"), connectors.PutOptions{Size: 1}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a write that stalls: %v", err)
	}
}
