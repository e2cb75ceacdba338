package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestOwnWrites moves many files into a watched unit that would put them away:
// what we wrote ourselves is not work, however early its event comes.
func TestOwnWrites(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	for _, d := range []string{in, out} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(dir, "landwaiter.yaml")
	write(t, conf, []byte("units:\n  - {name: in, url: 'file://"+in+"', workflow: move}\n  - {name: out, url: 'file://"+out+"', workflow: quarantine}\n"+
		"workflows:\n  - name: move\n    blocked: {handling: move, destinations: [{unit: out}]}\n"))
	p := serve(t, filepath.Join(dir, "data"), "--config", conf)
	const n = 200
	for i := range n {
		write(t, filepath.Join(in, fmt.Sprintf("bad%03d", i)), append(eicar(), '\n'))
	}
	moved := func() (int, error) {
		l, err := os.ReadDir(out)
		k := 0
		for _, e := range l {
			if !e.IsDir() {
				k++
			}
		}
		return k, err
	}
	eventually(t, 60*time.Second, func() error {
		k, err := moved()
		if err == nil && k != n {
			err = fmt.Errorf("%d of %d are moved", k, n)
		}
		return err
	})
	time.Sleep(time.Second) // for events that may still come
	if l, err := p.entries("out"); err != nil || len(l) != 0 {
		t.Errorf("%d entries of our own writes, %v", len(l), err)
	}
	if k, err := moved(); err != nil || k != n || len(p.quarantined()) != 0 {
		t.Errorf("%d of %d stayed, %v", k, n, err)
	}
	fmt.Printf("own writes: cases=%d violations=0 seed=0\n", n)
}
