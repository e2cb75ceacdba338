package servers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// A GCS is a running server that speaks the JSON API of Google Cloud Storage.
type GCS struct {
	Endpoint string // http://127.0.0.1:port
}

// GCSEvents says where fake-gcs-server publishes what happens to its objects,
// in the form of Google's own notifications.
type GCSEvents struct {
	PubSub  string // host:port of an emulator of Pub/Sub
	Project string
	Topic   string
}

// FakeGCS starts fake-gcs-server, which keeps objects in memory. It ignores
// ifGenerationMatch everywhere but on uploads, and ifMetagenerationMatch, and
// has the metageneration 1 always: CheckedGCS does better. At most one events.
func FakeGCS(t testing.TB, events ...GCSEvents) GCS {
	t.Helper()
	port := FreePort(t)
	srv := GCS{Endpoint: "http://" + loopback(port)}
	cmd := exec.Command(Binary(t, "fake-gcs-server"), "-scheme", "http", "-host", "127.0.0.1", "-port", strconv.Itoa(port), "-backend", "memory",
		"-public-host", loopback(port), "-external-url", srv.Endpoint, "-log-level", "error")
	for _, e := range events {
		cmd.Env = append(os.Environ(), "PUBSUB_EMULATOR_HOST="+e.PubSub)
		cmd.Args = append(cmd.Args, "-event.pubsub-project-id", e.Project, "-event.pubsub-topic", e.Topic, "-event.list", "finalize,delete,metadataUpdate")
	}
	start(t, cmd, answersHTTP(srv.Endpoint+"/_internal/healthcheck"))
	return srv
}

// MakeBucket makes an empty bucket, with versioning if versioned.
func (s GCS) MakeBucket(t testing.TB, name string, versioned bool) {
	t.Helper()
	body := fmt.Sprintf(`{"name":%q,"versioning":{"enabled":%v}}`, name, versioned)
	if _, err := s.do(http.MethodPost, "/storage/v1/b?project=test", "application/json", []byte(body)); err != nil {
		t.Fatal(err)
	}
}

// Write creates or replaces an object, as any client may, and returns its
// generation.
func (s GCS) Write(t testing.TB, bucket, name string, content []byte) int64 {
	t.Helper()
	reply, err := s.do(http.MethodPost, "/upload/storage/v1/b/"+bucket+"/o?uploadType=media&name="+url.QueryEscape(name), "application/octet-stream", content)
	var o gcsObject
	if err == nil {
		err = json.Unmarshal(reply, &o)
	}
	if err != nil {
		t.Errorf("write %q: %v", name, err)
	}
	return o.Generation
}

// Remove deletes what is current of an object, as any client may.
func (s GCS) Remove(t testing.TB, bucket, name string) {
	t.Helper()
	if _, err := s.do(http.MethodDelete, "/storage/v1/b/"+bucket+"/o/"+strings.ReplaceAll(url.QueryEscape(name), "+", "%20"), "", nil); err != nil {
		t.Errorf("remove %q: %v", name, err)
	}
}

func (s GCS) do(method, path, contentType string, body []byte) ([]byte, error) {
	req, err := http.NewRequest(method, s.Endpoint+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %.200s", method, path, resp.Status, reply)
	}
	return reply, err
}
