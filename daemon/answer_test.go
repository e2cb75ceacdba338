package daemon

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
)

// TestServerSaysInvalid: what a storage's server says of one unit never ends
// the daemon, so the others go on.
func TestServerSaysInvalid(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`<Error><Code>InvalidBucketName</Code><Message>The specified bucket is not valid.</Message></Error>`))
	}))
	defer s.Close()
	w := newWorld(t)
	in := w.folder("in")
	w.configure("server: {listen: \"off\"}\nunits:\n" + unit("in", in, "") +
		"  - {name: far, url: \"s3://far?endpoint=" + s.URL + "\", options: {access_key: a, secret_key: b}}\n")
	d := w.start()
	put(t, filepath.Join(in, "a.txt"), []byte("fine"))
	d.verdict("in", "a.txt", "clean")
	w.logged(0, "unit cannot be opened", "InvalidBucketName")
}
