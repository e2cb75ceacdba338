package file_test

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

// without runs f on a thread that has given up capabilities, which then ends.
func without(t *testing.T, f func(), caps ...uint) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread goes with the goroutine
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		err := unix.Capget(&head, &data[0])
		for _, c := range caps {
			data[c/32].Effective &^= 1 << (c % 32)
		}
		if err = errors.Join(err, unix.Capset(&head, &data[0])); err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A folder that may not be read is a gap, and the listing goes on behind it.
func TestGap(t *testing.T) {
	dir := t.TempDir()
	for _, key := range []string{"a", "b/x", "c/closed/x", "c/open/x", "d"} {
		write(t, dir+"/"+key, []byte("x"))
	}
	for path, mode := range map[string]os.FileMode{"b": 0, "c/closed": 0o600, "d": 0} { // 0600: names may be read, no more
		if err := os.Chmod(dir+"/"+path, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = os.Chmod(dir+"/b", 0o700); _ = os.Chmod(dir+"/c/closed", 0o700) })
	d := open(t, connectors.Unit{Name: "u", URL: dir})
	without(t, func() {
		var got []string
		for info, err := range d.List(t.Context(), "", "") {
			var gap *connectors.Gap
			switch {
			case errors.As(err, &gap):
				got = append(got, "gap "+gap.Prefix)
				if !fault.Is(err, fault.Denied) {
					t.Errorf("the gap's cause: %v", err)
				}
			case err != nil:
				t.Error(err)
			default:
				got = append(got, info.Key)
			}
		}
		if diff := cmp.Diff([]string{"a", "gap b/", "gap c/closed/", "c/open/x", "d"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if _, err := d.Open(t.Context(), object.Ref{Key: "d"}, 0); !fault.Is(err, fault.Denied) || fault.ReasonOf(err) != "access_denied" {
			t.Errorf("Open of what may not be read: %v", err)
		}
		if _, err := d.Stat(t.Context(), object.Ref{Key: "d"}); err != nil { // its name may be
			t.Error(err)
		}
		if wait, err := d.Settled(t.Context(), object.Info{Key: "d"}); err != nil || wait <= 0 {
			t.Errorf("Settled of what may not be read = %v, %v; want the window", wait, err)
		}
	}, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH)
}

// Without CAP_LEASE and another's file: the window tells, and removal hashes.
func TestAnothersFile(t *testing.T) {
	if os.Geteuid() != 0 {
		servers.Unable(t, "only root can make another user's file")
	}
	dir := t.TempDir()
	write(t, dir+"/f", []byte("content"))
	if err := os.Chown(dir+"/f", 65534, 65534); err != nil {
		t.Fatal(err)
	}
	d := open(t, connectors.Unit{Name: "u", URL: dir, Settle: time.Second})
	without(t, func() {
		info, err := d.Stat(t.Context(), object.Ref{Key: "f"})
		if err != nil {
			t.Error(err)
			return
		}
		if wait, err := d.Settled(t.Context(), info); err != nil || wait <= 0 || wait > time.Second {
			t.Errorf("Settled = %v, %v; want what is left of a second", wait, err)
		}
		ref := object.Ref{Key: "f", Version: info.Version}
		if _, err := d.Remove(t.Context(), ref, connectors.Fence{Aside: "x", SHA256: sum("another")}); !fault.Is(err, fault.Changed) {
			t.Errorf("Remove of other bytes: %v", err)
		}
		if info, err = d.Stat(t.Context(), object.Ref{Key: "f"}); err != nil {
			t.Error(err)
		}
		ref.Version = info.Version
		if _, err := d.Remove(t.Context(), ref, connectors.Fence{Aside: "x", SHA256: sum("content")}); err != nil {
			t.Errorf("Remove: %v", err)
		}
	}, unix.CAP_LEASE)
}

func TestTagBounds(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/f", []byte("content"))
	d := open(t, connectors.Unit{Name: "u", URL: dir})
	info, err := d.Put(t.Context(), "g", strings.NewReader("x"), connectors.PutOptions{Size: 1, Meta: map[string]string{"entry": "e"}})
	if err != nil {
		t.Fatal(err)
	}
	if tags, err := d.Tags(t.Context(), object.Ref{Key: "g", Version: info.Version}); err != nil || len(tags) != 0 {
		t.Errorf("metadata shows among the tags: %v, %v", tags, err)
	}
	for _, set := range []map[string]string{{"": "x"}, {strings.Repeat("k", 251): "x"}, {"k": strings.Repeat("v", 5000)}, {"a\x00b": "x"}, {"landwaiter.meta.entry": "forged"}} {
		if _, err := d.Tag(t.Context(), object.Ref{Key: "f"}, set); !fault.Is(err, fault.Invalid) {
			t.Errorf("Tag(%.40v): %v", set, err)
		}
	}
	// What does not fit is refused, and nothing of it stays.
	big := map[string]string{"a-first": "x"}
	for i := range 60 {
		big[strings.Repeat("k", 200)+string(rune('a'+i))] = strings.Repeat("v", 4000)
	}
	if _, err := d.Tag(t.Context(), object.Ref{Key: "f"}, big); err == nil {
		servers.Unable(t, "this file system holds any number of attributes")
	}
	if tags, err := d.Tags(t.Context(), object.Ref{Key: "f"}); err != nil || len(tags) != 0 {
		t.Errorf("after a refusal: %d tags, %v", len(tags), err)
	}
}
