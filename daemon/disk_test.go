package daemon

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/test/servers"
)

// small gives the world a data folder on a disk of some megabytes.
func (w *world) small(size string) {
	w.t.Helper()
	if os.Getuid() != 0 {
		servers.Unable(w.t, "only root mounts a small disk")
	}
	if err := os.MkdirAll(w.data, 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := unix.Mount("landwaiter-test", w.data, "tmpfs", 0, "size="+size); err != nil {
		servers.Unable(w.t, "no tmpfs can be mounted here: "+err.Error())
	}
	w.t.Cleanup(func() {
		if err := unix.Unmount(w.data, unix.MNT_DETACH); err != nil {
			w.t.Error(err)
		}
	})
}

// TestDiskFull fills the disk under the ledger, up to the share that is to stay
// free and up to the last byte: sources wait, the daemon lives and says why,
// and when there is room again nothing was lost.
func TestDiskFull(t *testing.T) {
	for _, tt := range []struct{ name, bounds string }{{"share", "20"}, {"last byte", "0"}} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.small("16m")
			in := w.folder("in")
			w.configure("server: {listen: '127.0.0.1:0'}\nbounds: {disk_free: " + tt.bounds + "}\nunits:\n" + unit("in", in, ", workflow: quarantine, sweep: 2s"))
			r := w.start()
			put(t, filepath.Join(in, "before"), []byte("x"))
			r.verdict("in", "before", "clean")
			fill(t, filepath.Join(w.data, "ballast"))
			if tt.bounds != "0" {
				w.eventually("not ready", func() error {
					if code, body := r.get("/readyz"); code != 503 || !strings.Contains(body, "[-] disk") {
						return fmt.Errorf("%d %s", code, body)
					}
					return nil
				})
			}
			const n = 100
			for i := range n {
				content := []byte("while it was full")
				if i%10 == 0 {
					content = append(eicar(), fmt.Appendf(nil, "\n%d", i)...)
				}
				put(t, filepath.Join(in, fmt.Sprintf("f%03d", i)), content)
			}
			from := w.mark()
			if tt.bounds == "0" {
				w.logged(from, "full")
			}
			if code, body := r.get("/livez"); code != 200 {
				t.Errorf("livez: %d %s", code, body)
			}
			for _, rec := range r.records("in", "f000") {
				if rec.Verdict == "clean" {
					t.Error("clean without a look")
				}
			}
			if err := os.Remove(filepath.Join(w.data, "ballast")); err != nil {
				t.Fatal(err)
			}
			done, violations := map[string]int{}, 0
			w.eventually("all of them", func() error {
				clear(done)
				for _, rec := range entries(t, r.Control(), control.EntryQuery{State: "finished", Outcome: ledger.OutcomeDone}) {
					done[rec.Key]++
				}
				if len(done) != n+1 {
					return fmt.Errorf("%d of %d", len(done), n+1)
				}
				return nil
			})
			for key, times := range done {
				if times != 1 {
					violations++
					t.Errorf("%s: done %d times", key, times)
				}
			}
			held := 0
			for _, err := range r.Control().Quarantined(control.AsMachine(t.Context()), "") {
				if err != nil {
					t.Fatal(err)
				}
				held++
			}
			if held != n/10 {
				violations++
				t.Errorf("quarantine holds %d, want %d", held, n/10)
			}
			if err := r.end(); err != nil {
				t.Errorf("stop: %v", err)
			}
			for _, ch := range fsck(t, w, FsckOptions{Deep: 100}) {
				if ch.State != "ok" {
					violations++
					t.Errorf("fsck: %+v", ch)
				}
			}
			t.Logf("cases=%d violations=%d seed=none", n, violations)
		})
	}
}

// fill writes until nothing more fits.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for {
			if _, err := f.Write(bytes.Repeat([]byte{1}, size)); err != nil {
				break
			}
		}
	}
}
