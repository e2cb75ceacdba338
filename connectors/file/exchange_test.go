package file_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/object"
)

// Two names are exchanged while one is being written to. Both are still there:
// each is told again, the one that is held open once it is closed.
func TestExchange(t *testing.T) {
	dir := t.TempDir()
	d, c, _ := watching(t, connectors.Unit{Name: "u", URL: dir})
	const n = 20
	missed, early, deleted := 0, 0, 0
	for i := range n {
		a, b := fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i)
		write(t, dir+"/"+b, []byte("clean"))
		f, err := os.Create(dir + "/" + a)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("held open"); err != nil {
			t.Fatal(err)
		}
		until(t, "the first is told", func() bool { return c.Saw(b, object.Look) })
		if i%2 == 0 { // the watch is asleep, or in the midst of looking
			time.Sleep(30 * time.Millisecond)
		}
		if err := unix.Renameat2(unix.AT_FDCWD, dir+"/"+a, unix.AT_FDCWD, dir+"/"+b, unix.RENAME_EXCHANGE); err != nil {
			t.Fatal(err)
		}
		told := func(key string) bool {
			info, err := d.Stat(t.Context(), object.Ref{Key: key})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range c.Events() {
				if e.Key == key && e.Version == info.Version {
					return true
				}
			}
			return false
		}
		if i%4 < 2 { // else it is closed at once
			until(t, "the name that is not being written to is told", func() bool { return told(a) })
			if told(b) {
				early++
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(2 * time.Second); !told(a) || !told(b); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				missed++
				break
			}
		}
		deleted += count(c, a, object.Delete) + count(c, b, object.Delete)
	}
	t.Logf("cases=%d missed=%d early=%d deletes=%d", n, missed, early, deleted)
	if missed+early+deleted > 0 {
		t.Errorf("%d missed, %d told before they were closed, %d told as deleted", missed, early, deleted)
	}
	// Folders too: what is below them is told under its new name.
	write(t, dir+"/x/one", nil)
	write(t, dir+"/y/two", nil)
	until(t, "both folders", func() bool { return c.Saw("x/one", object.Look) && c.Saw("y/two", object.Look) })
	if err := unix.Renameat2(unix.AT_FDCWD, dir+"/x", unix.AT_FDCWD, dir+"/y", unix.RENAME_EXCHANGE); err != nil {
		t.Fatal(err)
	}
	until(t, "both files under their new names", func() bool { return c.Saw("x/two", object.Look) && c.Saw("y/one", object.Look) })
	write(t, dir+"/x/three", nil)
	write(t, dir+"/y/four", nil)
	until(t, "both folders are watched", func() bool { return c.Saw("x/three", object.Look) && c.Saw("y/four", object.Look) })
}
