package s3

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/test/servers"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The plain client of test/servers keeps idle connections.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// A place is a bucket on a real server, seen from behind the driver's back.
type place struct {
	srv    servers.S3
	bucket string
	prefix string
}

var buckets atomic.Int32

func newPlace(t testing.TB, srv servers.S3, versioned bool) place {
	t.Helper()
	p := place{srv: srv, bucket: fmt.Sprintf("bucket-%d", buckets.Add(1)), prefix: "in box/"}
	srv.MakeBucket(t, p.bucket, versioned)
	return p
}

func (p place) unit() connectors.Unit {
	return connectors.Unit{
		Name:    "s3",
		URL:     "s3://" + p.bucket + "/in%20box?endpoint=" + p.srv.Endpoint + "&region=" + p.srv.Region,
		Options: map[string]string{"access_key": p.srv.AccessKey, "secret_key": p.srv.SecretKey},
	}
}

func (p place) open(t testing.TB) *Driver {
	t.Helper()
	return p.openWith(t, defaultLimits)
}

func (p place) openWith(t testing.TB, lim limits) *Driver {
	t.Helper()
	d, err := open(t.Context(), p.unit(), lim)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// put writes as a stranger does and returns the version id.
func (p place) put(t testing.TB, key string, content []byte) string {
	t.Helper()
	out, err := p.srv.Client().PutObject(context.Background(), &awss3.PutObjectInput{
		Bucket: &p.bucket, Key: aws.String(p.prefix + key), Body: bytes.NewReader(content)})
	if err != nil {
		t.Errorf("put %q: %v", key, err)
		return ""
	}
	return aws.ToString(out.VersionId)
}

func (p place) remove(t testing.TB, key string) {
	t.Helper()
	_, err := p.srv.Client().DeleteObject(context.Background(), &awss3.DeleteObjectInput{Bucket: &p.bucket, Key: aws.String(p.prefix + key)})
	if err != nil {
		t.Errorf("remove %q: %v", key, err)
	}
}

// refusedByVersitygw are keys that a gateway over files cannot hold, or cannot
// spell in its listing, which knows no encoding-type.
func refusedByVersitygw(key string) bool {
	return strings.Contains(key, "\x01") || !utf8.ValidString(key) || strings.Contains(key, "...") || len(key) > 255
}

// refusedByMinIO are keys that MinIO says no to.
func refusedByMinIO(key string) bool {
	return !utf8.ValidString(key) || len(key) > 255
}

func TestContract(t *testing.T) {
	t.Parallel()
	all := connectors.Caps{Put: true, Copy: true, Remove: true, Tag: true, ReadIsVersion: true, FencedRemove: true, FencedPut: true, FencedCopy: true, Ordered: true, TagsKeepVersion: true}
	for _, server := range []struct {
		name    string
		start   func(testing.TB) servers.S3
		refuses func(string) bool
		fenced  bool // removal from a bucket that keeps no versions
	}{
		{"versitygw", servers.Versitygw, refusedByVersitygw, true},
		{"minio", servers.MinIO, refusedByMinIO, false},
	} {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			srv := server.start(t)
			for _, versioned := range []bool{false, true} {
				wants := all
				wants.Versions, wants.FencedRemove = versioned, versioned || server.fenced
				t.Run(fmt.Sprintf("versioned=%v", versioned), func(t *testing.T) {
					var at place
					connectortest.Run(t, connectortest.Harness{
						Open: func(t *testing.T) connectors.Driver {
							at = newPlace(t, srv, versioned)
							return at.open(t)
						},
						Write:      func(t *testing.T, key string, content []byte) { at.put(t, key, content) },
						Remove:     func(t *testing.T, key string) { at.remove(t, key) },
						Wants:      wants,
						Refuses:    server.refuses,
						Bucketlike: false,
					})
				})
			}
		})
	}
}
