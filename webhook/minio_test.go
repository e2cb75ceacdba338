package webhook

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/events/eventstest"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

// A real MinIO calls the hook: what it says is understood, odd keys and
// versions included, and what is answered 503 comes again.
func TestMinIOCalls(t *testing.T) {
	b := s3Bench(t)
	srv := httptest.NewServer(b)
	defer srv.Close()
	minio := servers.MinIOHook(t, srv.URL+Prefix+"in", s3Token)
	minio.MakeBucket(t, "inbox", true)
	minio.NotifyHook(t, "inbox")
	put := func(key string) string {
		t.Helper()
		out, err := minio.Client().PutObject(t.Context(), &awss3.PutObjectInput{Bucket: aws.String("inbox"), Key: &key, Body: strings.NewReader("abc")})
		if err != nil {
			t.Fatal(err)
		}
		return aws.ToString(out.VersionId)
	}
	taken := func() map[string]events.Notice {
		b.sink.mu.Lock()
		defer b.sink.mu.Unlock()
		m := make(map[string]events.Notice)
		for _, n := range b.sink.notices {
			m[n.Key+"@"+n.Version] = n
		}
		return m
	}
	cases, violations := 0, 0
	for _, key := range []string{"plain.txt", "a folder/with spaces & ü+%.txt", "100%25"} {
		version := put(key)
		eventstest.Until(t, "the notice of "+key, func() bool { _, ok := taken()[key+"@"+version]; return ok })
		cases++
		if n := taken()[key+"@"+version]; n.Container != "inbox" || n.Size != 3 || n.Op != object.Look || time.Since(n.Time).Abs() > time.Hour {
			violations++
			t.Errorf("notice %+v", n)
		}
	}
	b.sink.fail(errors.New("disk full"))
	version := put("later.txt")
	eventstest.Until(t, "the hook says 503", func() bool { return b.Status()[0].Refused[string(ours)] > 0 })
	if _, ok := taken()["later.txt@"+version]; ok {
		violations++
		t.Error("taken while the sink was away")
	}
	b.sink.fail(nil)
	eventstest.Until(t, "it comes again", func() bool { _, ok := taken()["later.txt@"+version]; return ok })
	cases++
	if _, err := minio.Client().DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: aws.String("inbox"), Key: aws.String("plain.txt")}); err != nil {
		t.Fatal(err)
	}
	eventstest.Until(t, "the deletion", func() bool { n, ok := taken()["plain.txt@"]; return ok && n.Op == object.Delete })
	cases++
	if _, letters := b.sink.counts(); letters > 0 {
		violations++
		t.Errorf("buried %q", b.sink.letters[0].Why)
	}
	t.Logf("cases=%d violations=%d", cases, violations)
}
