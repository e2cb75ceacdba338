package e2e

import (
	"path/filepath"
	"testing"
	"time"

	"fmt"

	"github.com/landwaiter/landwaiter/test/servers"
)

// TestAllVersions scans every version of a bucket that keeps them, each once.
func TestAllVersions(t *testing.T) {
	s := servers.Versitygw(t)
	s.MakeBucket(t, "kept", true)
	put(t, s, "kept", "doc", []byte("first"))
	put(t, s, "kept", "doc", eicar())
	put(t, s, "kept", "doc", []byte("third"))
	dir := t.TempDir()
	conf := filepath.Join(dir, "landwaiter.yaml")
	write(t, conf, []byte("units:\n"+s3Unit("kept", s, "kept", "default")+"    versions: all\n"))
	p := serve(t, filepath.Join(dir, "data"), "--config", conf)
	count := func() (map[string]int, error) {
		l, err := p.entries("kept")
		n := map[string]int{}
		for _, r := range l {
			if r.State == "finished" {
				n[r.Verdict]++
			}
		}
		return n, err
	}
	eventually(t, 20*time.Second, func() error {
		n, err := count()
		if err == nil && (n["clean"] != 2 || n["infected"] != 1) {
			err = fmt.Errorf("got %v", n)
		}
		return err
	})
	time.Sleep(5 * time.Second) // two more sweeps
	if n, err := count(); err != nil || n["clean"] != 2 || n["infected"] != 1 {
		t.Errorf("after more sweeps: %v, %v", n, err)
	}
}
