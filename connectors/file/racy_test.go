package file_test

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

// ramfs mounts a file system that stamps files by a coarse clock.
func ramfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "ramfs", 0, ""); err != nil {
		servers.Unable(t, "no ramfs: "+err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A second write of the same size in the same tick leaves the version as it is.
// It must come to light all the same: what is told, or called settled, is the
// version of the content that stays.
func TestRacilyClean(t *testing.T) {
	for name, dir := range map[string]func(*testing.T) string{"coarse": ramfs, "here": (*testing.T).TempDir} {
		t.Run(name, func(t *testing.T) {
			dir := dir(t)
			d := open(t, connectors.Unit{Name: "u", URL: dir})
			if name == "coarse" && d.Multigrain() {
				t.Fatal("ramfs is taken for a multigrain file system")
			}
			c, _ := connectortest.Watching(t, d, "")
			ready(t, dir, c)
			same, early, missed := 0, 0, 0
			const n = 60
			for i := range n {
				key := fmt.Sprintf("f%03d", i)
				path := dir + "/" + key
				write(t, path, []byte("harmless"))
				first, err := d.Stat(t.Context(), object.Ref{Key: key})
				if err != nil {
					t.Fatal(err)
				}
				wait, err := d.Settled(t.Context(), first)
				if err != nil {
					t.Fatal(err)
				}
				// The scan would see the first content; then the second is written.
				f, err := os.OpenFile(path, os.O_RDWR, 0)
				if err == nil {
					_, err = f.WriteAt([]byte("harmful!"), 0)
					err = errors.Join(err, f.Close())
				}
				if err != nil {
					t.Fatal(err)
				}
				second, err := d.Stat(t.Context(), object.Ref{Key: key})
				if err != nil {
					t.Fatal(err)
				}
				written := time.Now()
				if first.Version == second.Version {
					same++
					if wait == 0 {
						early++ // trusted while it could be exchanged unnoticed
					}
				}
				until(t, "the version that stays is told", func() bool {
					for _, e := range c.Events() {
						if e.Key == key && e.Version == second.Version {
							if e.Time.Before(written) && first.Version == second.Version {
								missed++
							}
							return true
						}
					}
					return false
				})
			}
			t.Logf("cases=%d same-token=%d settled-early=%d told-early=%d multigrain=%v", n, same, early, missed, d.Multigrain())
			if early > 0 || missed > 0 {
				t.Errorf("%d were called settled and %d told before the version could tell", early, missed)
			}
			if name == "coarse" && same == 0 {
				t.Error("no second write fell into the tick of the first: nothing was tested")
			}
		})
	}
}

// What is told of a folder without writing there is never more than what
// writing shows.
func TestKnownMultigrain(t *testing.T) {
	for name, dir := range map[string]func(*testing.T) string{"ramfs": ramfs, "here": (*testing.T).TempDir} {
		t.Run(name, func(t *testing.T) {
			dir := dir(t)
			tried := open(t, connectors.Unit{Name: "u", URL: dir}).Multigrain()
			known := open(t, connectors.Unit{Name: "u", URL: dir, ReadOnly: true}).Multigrain()
			t.Logf("tried=%v known=%v", tried, known)
			if known && !tried {
				t.Error("a coarse file system is taken for a multigrain one")
			}
			if l := names(t, dir); l != nil {
				t.Errorf("Open left %v", l)
			}
		})
	}
}

// The wait is for file systems that need it, and ends.
func TestCoarse(t *testing.T) {
	dir := t.TempDir()
	d := open(t, connectors.Unit{Name: "u", URL: dir})
	write(t, dir+"/f", []byte("x"))
	if wait, err := d.Settled(t.Context(), object.Info{Key: "f"}); d.Multigrain() && (wait != 0 || err != nil) {
		t.Errorf("Settled = %v, %v; want no wait where none is needed", wait, err)
	}
	for name, u := range map[string]connectors.Unit{"read-only": {ReadOnly: true}, "writable": {}} {
		t.Run(name, func(t *testing.T) {
			u.Name, u.URL = "u", dir
			d := open(t, u)
			d.Coarse()
			until(t, "a wait of two ticks at most", func() bool { // a stalled machine may sleep through one
				write(t, dir+"/f", []byte("y"))
				wait, err := d.Settled(t.Context(), object.Info{Key: "f"})
				return err == nil && wait > 0 && wait <= 40*time.Millisecond
			})
			until(t, "it is settled", func() bool {
				wait, err := d.Settled(t.Context(), object.Info{Key: "f"})
				return wait == 0 && err == nil
			})
		})
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("Open left %v", got)
	}
}
