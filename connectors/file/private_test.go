package file_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/file"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// keys lists the unit.
func keys(t *testing.T, d *file.Driver) (out []string) {
	t.Helper()
	for info, err := range d.List(t.Context(), "", "") {
		if err != nil {
			t.Error(err)
		}
		out = append(out, info.Key)
	}
	return out
}

// remove writes a file and removes it as an act does.
func remove(t *testing.T, d *file.Driver, dir, key string) error {
	t.Helper()
	write(t, dir+"/"+key, []byte("content"))
	info, err := d.Stat(t.Context(), object.Ref{Key: key})
	if err != nil {
		return err
	}
	_, err = d.Remove(t.Context(), object.Ref{Key: key, Version: info.Version}, connectors.Fence{Aside: "n", SHA256: sum("content")})
	return err
}

// asNobody runs this test again as a user without any rights, with a folder of
// that user's.
func asNobody(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	t.Run("nobody", func(t *testing.T) {
		bin, dir := "", t.TempDir()
		for p := dir; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
			if err := os.Chmod(p, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		self, err := os.ReadFile("/proc/self/exe")
		if err == nil {
			bin = dir + "/test"
			err = os.WriteFile(bin, self, 0o755)
		}
		if err == nil {
			err = os.Mkdir(dir+"/tmp", 0o755)
		}
		if err == nil {
			err = os.Chown(dir+"/tmp", 65534, 65534)
		}
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), bin, "-test.run=^"+strings.Split(t.Name(), "/")[0]+"$", "-test.v")
		cmd.Dir, cmd.Env = dir+"/tmp", append(os.Environ(), "TMPDIR="+dir+"/tmp")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// What has the private folder's name and is not ours alone is content, and
// keeps nothing from being removed.
func TestStrangers(t *testing.T) {
	asNobody(t)
	elsewhere := t.TempDir()
	for name, make := range map[string]func(path string) error{
		"link":   func(path string) error { return os.Symlink(elsewhere, path) },
		"file":   func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"open":   func(path string) error { return os.Mkdir(path, 0o700) },
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := dir + "/.landwaiter"
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			want := []string{".landwaiter"}
			switch name {
			case "open":
				if err := os.Chmod(path, 0o770); err != nil {
					t.Fatal(err)
				}
			case "folder":
				if os.Geteuid() != 0 {
					return // only root can give a folder away: as root this case ran before
				}
				if err := os.Chown(path, 65534, 65534); err != nil {
					t.Fatal(err)
				}
			}
			if name == "open" || name == "folder" {
				write(t, path+"/hidden", nil)
				want = []string{".landwaiter/hidden"}
			}
			d, c, _ := watching(t, connectors.Unit{Name: "u", URL: dir})
			caps, err := d.Probe(t.Context(), "")
			if err != nil || !caps.FencedRemove || !caps.FencedPut {
				t.Errorf("Probe = %+v, %v", caps, err)
			}
			if err := remove(t, d, dir, "f"); err != nil {
				t.Errorf("Remove: %v", err)
			}
			if diff := cmp.Diff(append(want, ".ready"), keys(t, d)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if want[0] == ".landwaiter/hidden" {
				write(t, path+"/later", nil)
				until(t, "what is written there is told", func() bool { return c.Saw(".landwaiter/later", object.Look) })
				if err := remove(t, d, dir, ".landwaiter/later"); err != nil {
					t.Errorf("Remove there: %v", err)
				}
				if _, err := d.Put(t.Context(), ".landwaiter/new", strings.NewReader(""), connectors.PutOptions{}); !fault.Is(err, fault.Denied) {
					t.Errorf("Put there: %v", err)
				}
			}
			if err := d.Degraded(); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), ".landwaiter is a ") {
				t.Errorf("Degraded = %v", err)
			}
			if names(t, elsewhere) != nil {
				t.Errorf("written through the link: %v", names(t, elsewhere))
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := d.Degraded(); err != nil {
				t.Errorf("with the stranger gone: %v", err)
			}
			if err := remove(t, d, dir, "g"); err != nil {
				t.Errorf("Remove: %v", err)
			}
			if diff := cmp.Diff([]string{".landwaiter", ".landwaiter-1", ".ready"}, names(t, dir)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{".ready"}, keys(t, d)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// With every name taken the unit is still watched; acts say who is in the way.
func TestEveryNameTaken(t *testing.T) {
	dir := t.TempDir()
	for i := range 10 {
		name := dir + "/.landwaiter"
		if i > 0 {
			name += fmt.Sprint("-", i)
		}
		write(t, name, nil)
	}
	write(t, dir+"/.landwaiter-10/file", nil)
	d := open(t, connectors.Unit{Name: "u", URL: dir})
	caps, err := d.Probe(t.Context(), "")
	if err != nil || !caps.FencedRemove {
		t.Errorf("Probe = %+v, %v; the unit would not be opened, or removal be refused for good", caps, err)
	}
	who := fmt.Sprintf(".landwaiter-9 is a file of user %d with mode 0644", os.Geteuid())
	if err := remove(t, d, dir, "f"); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), who) {
		t.Errorf("Remove: %v", err)
	}
	if _, err := d.Put(t.Context(), "g", strings.NewReader(""), connectors.PutOptions{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Put: %v", err)
	}
	if err := d.Degraded(); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "every name") || !strings.Contains(err.Error(), who) {
		t.Errorf("Degraded = %v", err)
	}
	if got := len(keys(t, d)); got != 12 {
		t.Errorf("%d keys, want every file", got)
	}
}

// While we run, an uploader puts a folder of his own in the place of ours.
func TestPrivateFolderExchanged(t *testing.T) {
	dir := t.TempDir()
	d, c, _ := watching(t, connectors.Unit{Name: "u", URL: dir})
	if err := remove(t, d, dir, "first"); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/.landwaiter/aside/left", []byte("content"))
	if err := os.Rename(dir+"/.landwaiter", dir+"/zz"); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/.landwaiter/hidden", []byte("x"))
	if os.Geteuid() == 0 {
		if err := os.Chown(dir+"/.landwaiter", 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the stranger's file is told", func() bool { return c.Saw(".landwaiter/hidden", object.Look) })
	until(t, "what was ours is told", func() bool { return c.Saw("zz/aside/left", object.Look) })
	if err := remove(t, d, dir, "f"); err != nil {
		t.Errorf("Remove: %v", err)
	}
	if diff := cmp.Diff([]string{".landwaiter/hidden", ".ready", "zz/aside/left"}, keys(t, d)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if d.Degraded() == nil {
		t.Error("Degraded does not say so")
	}
	// Back again: the stranger's folder is still content, under its new name.
	if err := unix.Renameat2(unix.AT_FDCWD, dir+"/.landwaiter", unix.AT_FDCWD, dir+"/zz", unix.RENAME_EXCHANGE); err != nil {
		t.Fatal(err)
	}
	until(t, "the stranger's file is told again", func() bool { return c.Saw("zz/hidden", object.Look) })
	write(t, dir+"/zz/more", nil)
	until(t, "its folder is watched", func() bool { return c.Saw("zz/more", object.Look) })
	if err := d.Degraded(); err != nil {
		t.Errorf("with ours in its place: %v", err)
	}
	if diff := cmp.Diff([]string{".ready", "zz/hidden", "zz/more"}, keys(t, d)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// What a crash left in any folder of ours is found.
	for _, in := range []string{".landwaiter", ".landwaiter-1"} {
		if err := os.Rename(dir+"/.landwaiter/aside/left", dir+"/"+in+"/aside/n"); err != nil {
			t.Fatal(err)
		}
		rem, err := d.Remove(t.Context(), object.Ref{Key: "gone", Version: "1.7.1.1"}, connectors.Fence{Aside: "n", SHA256: sum("content")})
		if err != nil || !rem.Already {
			t.Errorf("Remove of what lies in %s = %+v, %v", in, rem, err)
		}
		write(t, dir+"/.landwaiter/aside/left", []byte("content"))
	}
}

// A folder of our own that others may enter is not taken back: what they left
// there would never be looked at.
func TestLoosened(t *testing.T) {
	dir := t.TempDir()
	d := open(t, connectors.Unit{Name: "u", URL: dir})
	if err := remove(t, d, dir, "f"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir+"/.landwaiter", 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/.landwaiter/planted", nil)
	if err := remove(t, d, dir, "g"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{".landwaiter/planted"}, keys(t, d)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Temporary files of a Put that was killed go after a day, and nothing else.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	d := open(t, connectors.Unit{Name: "u", URL: dir})
	if err := remove(t, d, dir, "f"); err != nil { // makes the private folder
		t.Fatal(err)
	}
	for i := range 3 {
		write(t, fmt.Sprintf("%s/.landwaiter/tmp/lw-%d", dir, i), []byte("x"))
		write(t, fmt.Sprintf("%s/.landwaiter/aside/lw-%d", dir, i), []byte("x"))
	}
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(dir+"/.landwaiter/tmp/lw-0", old, old); err != nil { // mtime is anybody's to set
		t.Fatal(err)
	}
	if n := d.Clean(time.Now().Add(23 * time.Hour)); n != 0 {
		t.Errorf("%d younger than a day were removed", n)
	}
	_ = open(t, connectors.Unit{Name: "u", URL: dir})
	if got := len(names(t, dir+"/.landwaiter/tmp")); got != 3 {
		t.Errorf("%d left after Open, want 3", got)
	}
	if n := d.Clean(time.Now().Add(25 * time.Hour)); n != 3 {
		t.Errorf("%d were removed, want 3", n)
	}
	if got := len(names(t, dir+"/.landwaiter/aside")); got != 3 {
		t.Errorf("%d left aside, want 3: they are the plan's", got)
	}
}
