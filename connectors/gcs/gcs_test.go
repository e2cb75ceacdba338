package gcs

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"cloud.google.com/go/storage"
	"go.uber.org/goleak"
	"google.golang.org/api/option"

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

// A place is a bucket on a server, seen from behind the driver's back.
type place struct {
	srv    servers.GCS
	bucket string
	prefix string
}

var buckets atomic.Int32

func newPlace(t testing.TB, srv servers.GCS, versioned bool) place {
	t.Helper()
	p := place{srv: srv, bucket: fmt.Sprintf("bucket-%d", buckets.Add(1)), prefix: "in box/"}
	srv.MakeBucket(t, p.bucket, versioned)
	return p
}

func (p place) unit() connectors.Unit {
	return connectors.Unit{
		Name:    "gcs",
		URL:     "gs://" + p.bucket + "/in%20box?endpoint=" + p.srv.Endpoint,
		Options: map[string]string{"anonymous": "true"},
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

// client is one of Google's own library, for what a stranger does.
func (p place) client(t testing.TB) *storage.Client {
	t.Helper()
	c, err := storage.NewClient(t.Context(), option.WithEndpoint(p.srv.Endpoint+"/storage/v1/"), option.WithoutAuthentication())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// object is key, as a stranger sees it.
func (p place) object(t testing.TB, key string) *storage.ObjectHandle {
	t.Helper()
	return p.client(t).Bucket(p.bucket).Object(p.prefix + key)
}

// put writes as a stranger does and returns the generation.
func (p place) put(t testing.TB, key string, content []byte) int64 {
	t.Helper()
	return p.srv.Write(t, p.bucket, p.prefix+key, content)
}

func (p place) remove(t testing.TB, key string) {
	t.Helper()
	p.srv.Remove(t, p.bucket, p.prefix+key)
}

// refuses are keys that Google does not take.
func refuses(key string) bool { return !utf8.ValidString(key) || strings.ContainsAny(key, "\r\n") }

// TestContract runs the contract against fake-gcs-server as it is, which ignores
// most preconditions, and behind the checking proxy, which stands in for what
// Google does with them.
func TestContract(t *testing.T) {
	t.Parallel()
	for _, server := range []struct {
		name    string
		start   func(testing.TB) servers.GCS
		checked bool
	}{
		{"fake-gcs-server", func(t testing.TB) servers.GCS { return servers.FakeGCS(t) }, false},
		{"fake-gcs-server behind the checking proxy", servers.CheckedGCS, true},
	} {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			srv := server.start(t)
			for _, versioned := range []bool{false, true} {
				wants := connectors.Caps{Put: true, Remove: true, ReadIsVersion: true, FencedPut: true, Ordered: true, Versions: versioned,
					Copy: server.checked, FencedCopy: server.checked, Tag: server.checked, TagsKeepVersion: server.checked,
					FencedRemove: server.checked || versioned}
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
						Refuses:    refuses,
						Bucketlike: true,
					})
				})
			}
		})
	}
}
