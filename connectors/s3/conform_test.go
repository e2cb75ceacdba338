package s3

import (
	"testing"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/test/servers"
)

// What conform finds on real servers, and that it leaves nothing behind.
func TestConform(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]struct {
		start  func(testing.TB) servers.S3
		absent []string
	}{"versitygw": {servers.Versitygw, nil}, "minio": {servers.MinIO, []string{"remove-stale"}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, server.start(t), false)
			u := p.unit()
			u.Unfenced = true
			d, err := open(t.Context(), u, defaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			states := connectortest.Conforms(t, u, d)
			for _, check := range server.absent {
				if states[check] != connectors.Absent {
					t.Errorf("%s is %s, want absent", check, states[check])
				}
			}
		})
	}
}

// Buckets that are there are found, with what a unit of each needs.
func TestDiscover(t *testing.T) {
	t.Parallel()
	srv := servers.Versitygw(t)
	for _, b := range []string{"beta", "alpha"} {
		srv.MakeBucket(t, b, false)
	}
	account := connectors.Unit{Name: "acc", URL: "s3://?endpoint=" + srv.Endpoint + "&region=" + srv.Region,
		Options: map[string]string{"access_key": srv.AccessKey, "secret_key": srv.SecretKey}}
	list, err := Discover(t.Context(), account)
	if err != nil || len(list) != 2 || list[0].Name != "alpha" || list[1].Name != "beta" {
		t.Fatalf("%+v, %v", list, err)
	}
	u := account
	u.URL = list[0].URL
	d, err := Open(t.Context(), u)
	if err != nil {
		t.Fatalf("%s: %v", u.URL, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	account.URL = "s3://bucket?endpoint=" + srv.Endpoint
	if _, err := Discover(t.Context(), account); err == nil {
		t.Error("an account that names a bucket was taken")
	}
}
