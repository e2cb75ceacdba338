package file_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

var trials = flag.Int("trials", 2100, "how often the adversary tries")

func sum(s string) []byte {
	h := sha256.Sum256([]byte(s))
	return h[:]
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// An adversary changes files between the verdict and the act, in every way that
// the kernel offers. No act may touch bytes that were not scanned: what is
// removed or replaced is the scanned content, what is tagged is too.
func TestAdversary(t *testing.T) {
	for name, leaseless := range map[string]bool{"lease": false, "hash": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			adversary(t, leaseless, *trials/2)
		})
	}
}

func adversary(t *testing.T, leaseless bool, n int) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	dir, elsewhere := t.TempDir(), t.TempDir()
	d := open(t, connectors.Unit{Name: "u", URL: dir})
	if leaseless {
		d.WithoutLeases()
	}
	wrong, acted, refused, left := 0, 0, 0, 0
	for i := range n {
		key := fmt.Sprintf("f%d", i)
		path := dir + "/" + key
		scanned := fmt.Sprintf("scanned content %d %s", i, strings.Repeat("s", rng.IntN(3000)))
		other := strings.Repeat("E", len(scanned)) // of the same size
		write(t, path, []byte(scanned))
		info, err := d.Stat(t.Context(), object.Ref{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		ref := object.Ref{Key: key, Version: info.Version}
		old, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		var opened *os.File // a writer that has it open through the act
		attack := func(kind int) {
			switch kind {
			case 0: // replaced by renaming another over it
				write(t, elsewhere+"/x", []byte(other))
				_ = os.Rename(elsewhere+"/x", path)
			case 1: // written in place, same size, mtime put back
				if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
					_, _ = f.WriteAt([]byte(other), 0)
					_ = f.Close()
					_ = os.Chtimes(path, old.ModTime(), old.ModTime())
				}
			case 2: // appended
				if f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0); err == nil {
					_, _ = f.WriteString(other)
					_ = f.Close()
				}
			case 3: // removed and made again
				_ = os.Remove(path)
				write(t, path, []byte(other))
			case 4: // a hard link takes the name, the old file lives on elsewhere
				_ = os.Rename(path, elsewhere+"/kept")
				write(t, elsewhere+"/y", []byte(other))
				_ = os.Link(elsewhere+"/y", path)
				_ = os.Remove(elsewhere + "/y")
				_ = os.Remove(elsewhere + "/kept")
			case 5: // a symbolic link takes it
				write(t, elsewhere+"/z", []byte(other))
				_ = os.Remove(path)
				_ = os.Symlink(elsewhere+"/z", path)
			case 6: // somebody keeps it open for writing
				opened, _ = os.OpenFile(path, os.O_WRONLY, 0)
			}
		}
		raced := rng.IntN(3) == 0
		kind := rng.IntN(14) // 7 and above: no attack
		done := make(chan struct{})
		if raced && kind < 6 {
			pause := time.Duration(rng.IntN(150)) * time.Microsecond
			go func() {
				defer close(done)
				for end := time.Now().Add(pause); time.Now().Before(end); {
				}
				attack(kind)
			}()
		} else {
			attack(kind)
			close(done)
		}
		act := i % 3
		switch act {
		case 0:
			_, err = d.Remove(t.Context(), ref, connectors.Fence{Aside: key, SHA256: sum(scanned)})
		case 1:
			_, err = d.Tag(t.Context(), ref, map[string]string{"lw.verdict": "clean"})
		case 2:
			_, err = d.Put(t.Context(), key, strings.NewReader("replacement"), connectors.PutOptions{Size: 11, IfVersion: info.Version, TempName: key})
		}
		<-done
		if opened != nil {
			_, _ = opened.WriteAt([]byte(other), 0)
			_ = opened.Close()
		}
		if err != nil {
			refused++
			if !fault.Is(err, fault.Changed, fault.Unavailable, fault.NotFound, fault.Unsupported) {
				t.Errorf("trial %d act %d attack %d: %v", i, act, kind, err)
			}
		} else {
			acted++
		}
		attacked := kind < 6
		now, rerr := os.ReadFile(path)
		evil := bytes.Contains(now, []byte("EEE"))
		kept := len(names(t, dir+"/.landwaiter/aside")) > 0
		switch {
		case !attacked && kind != 6:
			if err != nil {
				t.Errorf("trial %d act %d without an attack: %v", i, act, err)
			}
		case attacked && kind != 5 && !evil && !kept && (!raced || kind == 0 || kind == 3):
			// The attacker's bytes are at the name, or are kept. In a race, the
			// other attacks may fail because the file is gone, which takes nothing
			// of anyone's.
			wrong++
			t.Errorf("trial %d act %d attack %d raced %v: the unscanned bytes are gone (%v, %v)", i, act, kind, raced, err, rerr)
		case attacked && !raced && err == nil:
			wrong++
			t.Errorf("trial %d act %d attack %d: acted on a changed file", i, act, kind)
		case kind == 6 && act != 1 && err == nil && !leaseless:
			wrong++
			t.Errorf("trial %d act %d: acted on a file that is open for writing", i, act)
		}
		if act == 1 && evil && !raced && kind < 6 {
			if tags, terr := d.Tags(t.Context(), object.Ref{Key: key}); terr == nil && tags["lw.verdict"] != "" {
				wrong++
				t.Errorf("trial %d attack %d: unscanned bytes are tagged", i, kind)
			}
		}
		for _, name := range names(t, dir+"/.landwaiter/aside") {
			if !strings.HasPrefix(name, "kept-") {
				left++
				t.Errorf("trial %d act %d attack %d: %s is left aside", i, act, kind, name)
			}
			_ = os.Remove(dir + "/.landwaiter/aside/" + name)
		}
		if tmp := names(t, dir+"/.landwaiter/tmp"); len(tmp) > 0 {
			left += len(tmp)
			t.Errorf("trial %d: %v is left in tmp", i, tmp)
		}
		_ = os.Remove(path)
	}
	t.Logf("cases=%d violations=%d seed=%d acted=%d refused=%d left=%d", n, wrong, seed, acted, refused, left)
	if wrong > 0 || left > 0 || acted == 0 || refused == 0 {
		t.Errorf("%d wrong acts, %d files left, %d acted, %d refused", wrong, left, acted, refused)
	}
}

// A run that died in the middle is taken up where it stopped.
func TestRemoveAgain(t *testing.T) {
	dir := t.TempDir()
	d := open(t, connectors.Unit{Name: "u", URL: dir})
	aside := dir + "/.landwaiter/aside/"
	setup := func(key, content string) object.Ref {
		write(t, dir+"/"+key, []byte(content))
		info, err := d.Stat(t.Context(), object.Ref{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		return object.Ref{Key: key, Version: info.Version}
	}
	remove := func(ref object.Ref, name, content string) (connectors.Removed, error) {
		return d.Remove(t.Context(), ref, connectors.Fence{Aside: name, SHA256: sum(content)})
	}
	write(t, aside+".x", nil)
	_ = os.Remove(aside + ".x")
	_ = os.Chmod(dir+"/.landwaiter", 0o700)

	t.Run("moved", func(t *testing.T) { // died between the rename and the unlink
		ref := setup("a/moved", "content")
		if err := os.Rename(dir+"/a/moved", aside+"n1"); err != nil {
			t.Fatal(err)
		}
		write(t, dir+"/a/moved", []byte("a new file"))
		rem, err := remove(ref, "n1", "content")
		if err != nil || !rem.Already {
			t.Errorf("Remove = %+v, %v", rem, err)
		}
		if got, _ := os.ReadFile(dir + "/a/moved"); string(got) != "a new file" {
			t.Errorf("the new file holds %q", got)
		}
	})
	t.Run("moved another", func(t *testing.T) { // died before it could put back
		ref := setup("b", "content")
		write(t, dir+"/b2", []byte("unscanned"))
		_ = os.Remove(dir + "/b")
		if err := os.Rename(dir+"/b2", aside+"n2"); err != nil {
			t.Fatal(err)
		}
		_, err := remove(ref, "n2", "content")
		if got, _ := os.ReadFile(dir + "/b"); !fault.Is(err, fault.Changed) || string(got) != "unscanned" {
			t.Errorf("Remove: %v; the file holds %q", err, got)
		}
	})
	t.Run("name taken", func(t *testing.T) {
		ref := setup("c", "content")
		write(t, dir+"/c2", []byte("unscanned"))
		if err := os.Rename(dir+"/c2", aside+"n3"); err != nil {
			t.Fatal(err)
		}
		_, err := remove(ref, "n3", "content")
		kept, _ := os.ReadFile(aside + "kept-n3")
		if got, _ := os.ReadFile(dir + "/c"); !fault.Is(err, fault.Changed) || string(got) != "content" || string(kept) != "unscanned" {
			t.Errorf("Remove: %v; the file holds %q, kept is %q", err, got, kept)
		}
	})
	t.Run("folder gone", func(t *testing.T) {
		ref := setup("gone/file", "content")
		if err := os.Rename(dir+"/gone/file", aside+"n4"); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(dir + "/gone")
		if rem, err := remove(ref, "n4", "content"); err != nil || !rem.Already {
			t.Errorf("Remove = %+v, %v", rem, err)
		}
	})
	t.Run("busy", func(t *testing.T) {
		ref := setup("open", "content")
		f, err := os.OpenFile(dir+"/open", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := remove(ref, "n5", "content"); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "busy") {
			t.Errorf("Remove: %v", err)
		}
		_ = f.Close()
		reader, err := os.Open(dir + "/open") // who only reads is no hindrance
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		if _, err := remove(ref, "n5", "content"); err != nil {
			t.Errorf("Remove: %v", err)
		}
	})
	t.Run("wrong hash", func(t *testing.T) {
		ref := setup("h", "content")
		_, err := remove(ref, "n6", "something else")
		if got, _ := os.ReadFile(dir + "/h"); !fault.Is(err, fault.Changed) || string(got) != "content" {
			t.Errorf("Remove: %v; the file holds %q", err, got)
		}
	})
}

func TestPutAgain(t *testing.T) {
	dir := t.TempDir()
	d := open(t, connectors.Unit{Name: "u", URL: dir})
	first, err := d.Put(t.Context(), "k", strings.NewReader("first"), connectors.PutOptions{Size: 5, TempName: "p1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir+"/k", 0o640); err != nil {
		t.Fatal(err)
	}
	first, err = d.Stat(t.Context(), object.Ref{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	// Died when the old version was aside and the new one not yet named.
	write(t, dir+"/.landwaiter/aside/.x", nil)
	if err := os.Rename(dir+"/k", dir+"/.landwaiter/aside/p2"); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/.landwaiter/tmp/p2", []byte("half"))
	opt := connectors.PutOptions{Size: 6, IfVersion: first.Version, TempName: "p2"}
	if _, err := d.Put(t.Context(), "k", io.LimitReader(strings.NewReader("second"), 3), opt); err == nil {
		t.Error("a short put succeeded")
	}
	if got, _ := os.ReadFile(dir + "/k"); string(got) != "first" {
		t.Errorf("after a put that failed the file holds %q", got)
	}
	if err := os.Rename(dir+"/k", dir+"/.landwaiter/aside/p2"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Put(t.Context(), "k", strings.NewReader("second"), opt); err != nil {
		t.Error(err)
	}
	if got, _ := os.ReadFile(dir + "/k"); string(got) != "second" {
		t.Errorf("the file holds %q", got)
	}
	if st, _ := os.Stat(dir + "/k"); st.Mode().Perm() != 0o640 {
		t.Errorf("the mode is %v", st.Mode())
	}
	_ = os.Remove(dir + "/.landwaiter/aside/.x")
	if left := append(names(t, dir+"/.landwaiter/aside"), names(t, dir+"/.landwaiter/tmp")...); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// What is no regular file is named and never opened; links are not followed,
// not even those that stay inside.
func TestNotRegular(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write(t, outside+"/secret", []byte("secret"))
	write(t, dir+"/real/file", []byte("inside"))
	for link, to := range map[string]string{"out": outside, "in": "real", "file": "real/file", "abs": "/etc/passwd", "loop": "loop", "dangling": "nowhere", "up": ".."} {
		if err := os.Symlink(to, dir+"/"+link); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(dir+"/real/file", dir+"/real/hard"); err != nil {
		t.Fatal(err)
	}
	pipe(t, dir+"/pipe")
	d := open(t, connectors.Unit{Name: "u", URL: "file://" + dir})
	kinds := map[string]object.Kind{}
	for info, err := range d.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		kinds[info.Key] = info.Kind
		if strings.HasPrefix(info.Key, "real/") && info.Links != 2 {
			t.Errorf("%s has %d links", info.Key, info.Links)
		}
		if info.Kind != object.Regular {
			if _, err := d.Open(t.Context(), object.Ref{Key: info.Key}, 0); !fault.Is(err, fault.Unsupported) || fault.ReasonOf(err) != "not_regular" {
				t.Errorf("Open(%q): %v", info.Key, err)
			}
			if _, err := d.Remove(t.Context(), object.Ref{Key: info.Key, Version: info.Version}, connectors.Fence{Aside: "x", SHA256: sum("")}); err == nil {
				t.Errorf("Remove(%q) succeeded", info.Key)
			}
		}
	}
	for key, want := range map[string]object.Kind{"out": object.Symlink, "in": object.Symlink, "file": object.Symlink, "abs": object.Symlink,
		"loop": object.Symlink, "dangling": object.Symlink, "up": object.Symlink, "pipe": object.Special, "real/file": object.Regular, "real/hard": object.Regular} {
		if got, ok := kinds[key]; !ok || got != want {
			t.Errorf("%s is of kind %v, listed %v", key, got, ok)
		}
	}
	if len(kinds) != 10 {
		t.Errorf("listed %v", kinds)
	}
	for _, stepwise := range []bool{false, true} {
		if stepwise {
			d.Stepwise()
		}
		for _, key := range []string{"out/secret", "in/file", "up/" + filepath.Base(dir) + "/real/file", "loop/x"} {
			if _, err := d.Stat(t.Context(), object.Ref{Key: key}); !fault.Is(err, fault.NotFound) {
				t.Errorf("Stat(%q): %v", key, err)
			}
			if _, err := d.Put(t.Context(), key+"2", strings.NewReader("x"), connectors.PutOptions{Size: 1}); err == nil {
				t.Errorf("Put(%q) went through a link", key+"2")
			}
		}
	}
	if got := names(t, outside); !slices.Equal(got, []string{"secret"}) {
		t.Errorf("outside there is %v", got)
	}
}

// What is put into a folder that is nobody else's is nobody else's.
func TestPutMode(t *testing.T) {
	for _, test := range []struct{ root, file, folder os.FileMode }{
		{0o755, 0o644, 0o755}, {0o700, 0o600, 0o700}, {0o750, 0o644, 0o755},
	} {
		dir := t.TempDir() + "/root"
		err := os.Mkdir(dir, 0o700)
		if err = errors.Join(err, os.Chmod(dir, test.root)); err != nil {
			t.Fatal(err)
		}
		d := open(t, connectors.Unit{Name: "u", URL: dir})
		if _, err := d.Put(t.Context(), "sub/file", strings.NewReader("x"), connectors.PutOptions{Size: 1}); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]os.FileMode{"sub": test.folder, "sub/file": test.file} {
			st, err := os.Stat(dir + "/" + path)
			if err != nil {
				t.Fatal(err)
			}
			if got := st.Mode().Perm(); got != want {
				t.Errorf("in a root with mode %v: %s has %v, want %v", test.root, path, got, want)
			}
		}
	}
}

// A folder with many names is listed in parts, in order, each once.
func TestLargeFolder(t *testing.T) {
	dir := t.TempDir()
	var want []string
	long := strings.Repeat("n", 200)
	for i := range 3000 {
		name := fmt.Sprintf("sub/sub/sub/sub/sub/sub/sub/sub/sub/sub/%d-%s", i, long)
		if i%500 == 0 {
			name += "/leaf"
		}
		want = append(want, name)
		write(t, dir+"/"+name, nil)
	}
	slices.Sort(want)
	d := open(t, connectors.Unit{Name: "u", URL: dir})
	for _, start := range []string{"", want[1000], want[2998]} {
		var got []string
		for info, err := range d.List(t.Context(), "sub/", start) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, info.Key)
		}
		from, found := slices.BinarySearch(want, start)
		if found {
			from++
		}
		if !slices.Equal(got, want[from:]) {
			t.Errorf("from %.20q: %d keys, want %d", start, len(got), len(want)-from)
		}
	}
}

// What a reader was promised and did not get is an error, not an end.
func TestTruncatedWhileRead(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/f", bytes.Repeat([]byte("x"), 100_000))
	d := open(t, connectors.Unit{Name: "u", URL: dir})
	r, err := d.Open(t.Context(), object.Ref{Key: "f"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(dir+"/f", 2000); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !fault.Is(err, fault.Changed) {
		t.Errorf("reading on: %v", err)
	}
	if again, err := r.(connectors.FileReader).Restat(); err != nil || again.Version == r.Info().Version {
		t.Errorf("Restat = %+v, %v", again, err)
	}
}

func pipe(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}
