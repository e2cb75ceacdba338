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

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

// A deletion that is told is no more than a reason to look, and its version is
// not the one to be found.
func TestDeletionIsALook(t *testing.T) {
	n := events.Notice{Vendor: "s3", Op: object.Delete, Version: "v1", Key: "a"}
	if ev := eventOf("u", "a", &n, "queue"); ev.Op != object.Look || ev.Version != "" {
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
	if err != nil || len(feeds) != 1 || feeds[0].Acked != 2 || feeds[0].Refused != 1 || feeds[0].Error != "" || !feeds[0].ErrorAt.IsZero() {
		t.Errorf("%+v, %v: a call that is accepted clears what was refused", feeds, err)
	}
	if got := call("landing", "bad", "not the token"); got/100 == 2 {
		t.Errorf("a stranger got %d", got)
	}
	feeds, err = r.Control().Sources(control.AsMachine(t.Context()))
	if err != nil || len(feeds) != 1 || feeds[0].Error == "" || time.Since(feeds[0].ErrorAt) > 10*time.Minute {
		t.Errorf("%+v, %v: want the refusal and its time", feeds, err)
	}
}

// A said is a source that says of itself what the test wants.
type said struct {
	events.Source
	status events.Status
}

func (s *said) Status() events.Status { return s.status }

// TestSourceError follows what goes wrong with a source, and since when.
func TestSourceError(t *testing.T) {
	src := &said{}
	f := &feed{name: "q", Source: src}
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for i, c := range []struct {
		says  string
		since time.Duration // -1 = not at all
	}{{"", -1}, {"refused", 1}, {"refused", 1}, {"connection lost", 3}, {"", -1}, {"refused", 5}} {
		src.status.Error = c.says
		text, since := f.error(at.Add(time.Duration(i) * time.Minute))
		want := time.Time{}
		if c.since >= 0 {
			want = at.Add(c.since * time.Minute)
		}
		if text != c.says || !since.Equal(want) {
			t.Errorf("%d: %q since %v, want %q since %v", i, text, since, c.says, want)
		}
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
	if s := r.state("acc.in-two"); s.State != "gone" || time.Since(s.Gone) > 10*time.Minute {
		t.Errorf("the unit that went: %+v", s)
	}
	if s := r.state("acc.in-one"); !s.Gone.IsZero() {
		t.Errorf("the unit that stayed: %+v", s)
	}
	covered, err := r.Control().Coverage(control.AsMachine(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range covered {
		if c.Gone.IsZero() == (c.Unit == "acc.in-two") {
			t.Errorf("coverage of %s: %+v", c.Unit, c)
		}
	}

	// A discovered unit is proven by its name, beside the daemon.
	c, err := config.Load(config.Options{File: w.file, Unresolved: true})
	if err != nil {
		t.Fatal(err)
	}
	findings := 0
	if err := Conform(t.Context(), c, "acc.in-one", nil, func(f connectors.Finding) {
		findings++
		if f.State == connectors.Failed && f.Check == "open" {
			t.Errorf("%+v", f)
		}
	}); err != nil || findings < 5 {
		t.Errorf("conform of a discovered unit: %d findings, %v", findings, err)
	}
	for name, want := range map[string]string{"acc.in-two": "gone since 20", "acc.never": "nor the ledger has", "quarantine": "nor the ledger has"} {
		err := Conform(t.Context(), c, name, nil, func(connectors.Finding) {})
		if !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), want) {
			t.Errorf("conform %s: %v", name, err)
		}
	}
}
