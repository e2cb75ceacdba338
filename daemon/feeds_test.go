package daemon

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

func TestKeyIn(t *testing.T) {
	for _, c := range []struct {
		url  string
		n    events.Notice
		want string // "" = not in it
	}{
		{"s3://landing", events.Notice{Vendor: "s3", Container: "landing", Key: "a/b"}, "a/b"},
		{"s3://landing/in%20box?region=x", events.Notice{Vendor: "s3", Container: "landing", Key: "in box/b"}, "b"},
		{"s3://landing/in", events.Notice{Vendor: "s3", Container: "landing", Key: "inbox/b"}, ""},
		{"s3://landing/in", events.Notice{Vendor: "s3", Container: "landing", Key: "in/"}, ""},
		{"s3://landing", events.Notice{Vendor: "s3", Container: "Landing", Key: "a"}, ""},
		{"s3://landing", events.Notice{Vendor: "gs", Container: "landing", Key: "a"}, ""},
		{"gs://landing/x", events.Notice{Vendor: "gs", Container: "landing", Key: "x/a"}, "a"},
		{"azblob://acc/box/in", events.Notice{Vendor: "azblob", Account: "acc", Container: "box", Key: "in/a"}, "a"},
		{"azblob://acc/box", events.Notice{Vendor: "azblob", Container: "box", Key: "a"}, "a"},
		{"azblob://acc/box", events.Notice{Vendor: "azblob", Account: "other", Container: "box", Key: "a"}, ""},
		{"azblob://acc/box", events.Notice{Vendor: "azblob", Account: "acc", Container: "boxes", Key: "a"}, ""},
		{"file:///srv", events.Notice{Vendor: events.ByUnit, Container: "u", Key: "a"}, "a"},
		{"file:///srv", events.Notice{Vendor: events.ByUnit, Container: "v", Key: "a"}, ""},
		{"file:///srv", events.Notice{Vendor: events.ByUnit, Container: "u"}, ""},
		{"file:///srv", events.Notice{Vendor: "file", Key: "a"}, ""},
	} {
		key, ok := keyIn(connectors.Unit{Name: "u", URL: c.url}, &c.n)
		if ok != (c.want != "") || ok && key != c.want {
			t.Errorf("%s, %+v: %q, %v; want %q", c.url, c.n, key, ok, c.want)
		}
	}
}

// A deletion that is told is no more than a reason to look, and its version is
// not the one to be found.
func TestDeletionIsALook(t *testing.T) {
	n := events.Notice{Vendor: "s3", Op: object.Delete, Version: "v1", Key: "a"}
	if ev := eventOf(connectors.Unit{Name: "u"}, "a", &n, "queue"); ev.Op != object.Look || ev.Version != "" {
		t.Errorf("%+v", ev)
	}
}

func (w *world) bucket(srv servers.S3, name, more string) string {
	return fmt.Sprintf("  - {name: %s, url: 's3://%s?endpoint=%s&region=%s', options: {access_key: %s, secret_key: %s}%s}\n",
		name, name, srv.Endpoint, srv.Region, srv.AccessKey, srv.SecretKey, more)
}

func putS3(t *testing.T, srv servers.S3, bucket, key string, content []byte) {
	t.Helper()
	if _, err := srv.Client().PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(content)}); err != nil {
		t.Fatal(err)
	}
}

// A bucket's hook has an object scanned long before the next sweep; who has no
// token, or speaks of a unit that is not the hook's, is told nothing and causes
// nothing but the sweep that a burst of refused calls asks for.
func TestHook(t *testing.T) {
	srv := servers.Versitygw(t)
	w := newWorld(t)
	for _, b := range []string{"landing", "other"} {
		srv.MakeBucket(t, b, false)
	}
	w.configure("server: {listen: '127.0.0.1:0'}\nhooks:\n  - {name: minio, kind: s3, units: [landing], options: {token: 'a-token-of-more-than-enough-letters'}}\nunits:\n" +
		w.bucket(srv, "landing", ", sweep: 1h") + w.bucket(srv, "other", ", sweep: 1h"))
	r := w.start()
	w.eventually("both are swept", func() error {
		for _, u := range []string{"landing", "other"} {
			if r.state(u).Swept.IsZero() {
				return fmt.Errorf("%s is not", u)
			}
		}
		return nil
	})
	call := func(bucket, key, token string) int {
		t.Helper()
		body := fmt.Sprintf(`{"EventName":"s3:ObjectCreated:Put","Key":"%[1]s/%[2]s","Records":[{"eventVersion":"2.0","eventSource":"minio:s3","eventName":"s3:ObjectCreated:Put",
			"s3":{"bucket":{"name":"%[1]s"},"object":{"key":"%[2]s","size":4}}}]}`, bucket, key)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.addr+"/hooks/minio", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	putS3(t, srv, "other", "bad", eicar())
	putS3(t, srv, "landing", "bad", eicar())
	if got := call("landing", "bad", "not the token"); got/100 == 2 {
		t.Errorf("a stranger got %d", got)
	}
	if got := call("other", "bad", "a-token-of-more-than-enough-letters"); got != http.StatusOK {
		t.Errorf("a bucket that is not the hook's got %d, want 200: the vendor must not send it again", got)
	}
	if got := call("landing", "bad", "a-token-of-more-than-enough-letters"); got != http.StatusOK {
		t.Errorf("got %d", got)
	}
	if rec := r.verdict("landing", "bad", "infected"); rec.Cause != "hook" {
		t.Errorf("cause %q", rec.Cause)
	}
	if l := r.records("other", "bad"); len(l) > 0 {
		t.Errorf("a unit that is not the hook's was looked at: %+v", l)
	}
	feeds, err := r.Control().Sources(control.AsMachine(t.Context()))
	if err != nil || len(feeds) != 1 || feeds[0].Acked != 2 || feeds[0].Refused != 1 {
		t.Errorf("%+v, %v", feeds, err)
	}
}

// Buckets of an account become units as they come; what the account says of
// endpoint and credentials is theirs.
func TestDiscovery(t *testing.T) {
	srv := servers.Versitygw(t)
	w := newWorld(t)
	for _, b := range []string{"in-one", "kept-out", "taken"} {
		srv.MakeBucket(t, b, false)
	}
	putS3(t, srv, "in-one", "bad", eicar())
	w.configure(fmt.Sprintf(`server: {listen: 'off'}
accounts:
  - name: acc
    url: 's3://?endpoint=%s&region=%s'
    options: {access_key: %s, secret_key: %s}
    discover: {include: ['in-*', 'taken'], every: 1s}
units:
  - {name: mine, url: 's3://taken', account: acc, sweep: 1h}
`, srv.Endpoint, srv.Region, srv.AccessKey, srv.SecretKey))
	r := w.start()
	r.verdict("acc.in-one", "bad", "infected")
	srv.MakeBucket(t, "in-two", false)
	putS3(t, srv, "in-two", "bad", eicar())
	r.verdict("acc.in-two", "bad", "infected")
	var names []string
	for _, u := range r.list() {
		names = append(names, u.Name)
	}
	if len(names) != 3 {
		t.Errorf("units %v, want mine, acc.in-one and acc.in-two", names)
	}
	if _, err := srv.Client().DeleteObject(context.Background(), &awss3.DeleteObjectInput{Bucket: new("in-two"), Key: new("bad")}); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Client().DeleteBucket(context.Background(), &awss3.DeleteBucketInput{Bucket: new("in-two")}); err != nil {
		t.Fatal(err)
	}
	w.eventually("a bucket that went is no unit any more", func() error {
		if n := len(r.list()); n != 2 {
			return fmt.Errorf("%d units", n)
		}
		return nil
	})
}
