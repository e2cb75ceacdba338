package smb

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

// inside lists the files in the private folder.
func inside(t *testing.T, local string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(local, private), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, strings.TrimPrefix(path, local+"/"))
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A run that died in the middle is taken up where it stopped.
func TestRemoveAgain(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.StartSamba(t), "plain")
	d := p.open(t)
	closing(t, d)
	other := p.client(t)
	for name, c := range map[string]struct {
		aside   string // what the earlier run left there
		taken   bool   // the name has been given to another file meanwhile
		already bool
		kind    fault.Kind
	}{
		"the version":              {aside: "scanned", already: true},
		"the version, name taken":  {aside: "scanned", taken: true, already: true},
		"other bytes":              {aside: "unknown", kind: fault.Changed},
		"other bytes, name taken":  {aside: "unknown", taken: true, kind: fault.Changed},
		"nothing, and no file too": {kind: fault.NotFound},
	} {
		key := strings.ReplaceAll(name, " ", "-")
		ref := object.Ref{Key: key, Version: "1.2.3.4"}
		if c.aside != "" {
			other.must(t, key, c.aside)
			ref = look(t, d, key)
			other.must(t, asideDir+"there", "")
			if err := other.Rename(other.path(key), other.path(asideDir+key)); err != nil {
				t.Fatal(err)
			}
		}
		if c.taken {
			other.must(t, key, "another")
		}
		got, err := d.Remove(t.Context(), ref, connectors.Fence{Aside: key, SHA256: hashOf("scanned")})
		if got.Already != c.already || c.kind != fault.Other && !fault.Is(err, c.kind) || c.kind == fault.Other && err != nil {
			t.Errorf("%s: Remove = %+v, %v", name, got, err)
		}
		content, _ := os.ReadFile(filepath.Join(p.local, key))
		kept, _ := os.ReadFile(filepath.Join(p.local, asideDir, keptPrefix+key))
		switch want := c.aside; {
		case c.taken && string(content) != "another":
			t.Errorf("%s: who took the name has %q", name, content)
		case c.kind == fault.Changed && c.taken && string(kept) != want, c.kind == fault.Changed && !c.taken && string(content) != want:
			t.Errorf("%s: the other bytes are not put back: %q, kept %q", name, content, kept)
		}
		if _, err := os.Stat(filepath.Join(p.local, asideDir, key)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: it is still aside: %v", name, err)
		}
	}
}

// Whoever has a file open, to read or to write, keeps it from being settled,
// removed and replaced.
func TestOpenElsewhere(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.StartSamba(t), "plain")
	d := p.open(t)
	closing(t, d)
	other := p.client(t)
	for _, flag := range []int{os.O_RDONLY, os.O_WRONLY, os.O_RDWR} {
		other.must(t, "file", "content")
		f, err := other.OpenFile(other.path("file"), flag, 0)
		if err != nil {
			t.Fatal(err)
		}
		ref := look(t, d, "file")
		info := object.Info{Key: "file", Version: ref.Version}
		if wait, err := d.Settled(t.Context(), info); err != nil || wait <= 0 {
			t.Errorf("flag %d: Settled = %v, %v while it is open", flag, wait, err)
		}
		_, err = d.Remove(t.Context(), ref, connectors.Fence{Aside: "a", SHA256: hashOf("content")})
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("flag %d: Remove of an open file: %v", flag, err)
		}
		_, err = d.Put(t.Context(), "file", strings.NewReader("x"), connectors.PutOptions{Size: 1, IfVersion: ref.Version})
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("flag %d: Put over an open file: %v", flag, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		settles(t, d, info)
		ref = look(t, d, "file")
		if _, err := d.Remove(t.Context(), ref, connectors.Fence{Aside: "a", SHA256: hashOf("content")}); err != nil {
			t.Errorf("flag %d: Remove: %v", flag, err)
		}
		if left := inside(t, p.local); len(left) > 0 {
			t.Errorf("flag %d: %q is left", flag, left)
		}
	}
}

func settles(t *testing.T, d *Driver, info object.Info) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		wait, err := d.Settled(t.Context(), info)
		if err == nil && wait == 0 {
			return
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("Settled = %v, %v after %v", wait, err, patience)
		}
	}
}

// With a file go its alternate data streams, and what is put keeps its metadata
// where there are streams.
func TestStreams(t *testing.T) {
	t.Parallel()
	srv := servers.StartSamba(t)
	for _, share := range []string{"streams", "plain"} {
		p := newPlace(t, srv, share)
		d := p.open(t)
		closing(t, d)
		other := p.client(t)
		meta := map[string]string{"landwaiter-entry": "0190"}
		info, err := d.Put(t.Context(), "file", strings.NewReader("content"), connectors.PutOptions{Size: 7, Meta: meta})
		if err != nil {
			t.Fatal(err)
		}
		kept := info.Meta["landwaiter-entry"] == "0190"
		if kept != (share == "streams") {
			t.Errorf("%s: metadata kept: %v", share, info.Meta)
		}
		st, err := d.Stat(t.Context(), object.Ref{Key: "file"})
		if err != nil || (st.Meta["landwaiter-entry"] == "0190") != kept || st.Version != info.Version {
			t.Errorf("%s: Stat = %+v, %v; Put said %+v", share, st, err, info)
		}
		for _, key := range []string{"file:hidden", "file::$DATA", "file:hidden:$DATA"} {
			if _, err := d.Stat(t.Context(), object.Ref{Key: key}); !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: Stat of %s: %v", share, key, err)
			}
		}
		ref := look(t, d, "file")
		if kept {
			if err := other.WriteFile(other.path("file:hidden"), []byte("evil"), 0o666); err != nil {
				t.Fatal(err)
			}
			moved := look(t, d, "file")
			if moved.Version == ref.Version {
				t.Error("a stream that was written does not move the version")
			}
			ref = moved
		}
		if _, err := d.Remove(t.Context(), ref, connectors.Fence{Aside: "a", SHA256: hashOf("content")}); err != nil {
			t.Fatal(err)
		}
		other.must(t, "file", "again")
		if _, err := other.ReadFile(other.path("file:hidden")); err == nil {
			t.Errorf("%s: the stream outlived its file", share)
		}
	}
}

// A folder that was pruned, or that somebody removed, is made again; one that is
// spelled otherwise, or is a file, is not written into.
func TestFoldersAgain(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.StartSamba(t), "plain")
	d := p.open(t)
	closing(t, d)
	put := func(key string) error {
		_, err := d.Put(t.Context(), key, strings.NewReader("x"), connectors.PutOptions{Size: 1})
		return err
	}
	for range 2 {
		if err := put("a/b/file"); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Remove(t.Context(), look(t, d, "a/b/file"), connectors.Fence{Aside: "a", SHA256: hashOf("x")}); err != nil {
			t.Fatal(err)
		}
		if n, err := d.Prune(t.Context(), "a/b/file"); n != 2 || err != nil {
			t.Fatalf("Prune = %d, %v", n, err)
		}
		if err := os.RemoveAll(filepath.Join(p.local, private)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(put("Folder/file"), put("file")); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"folder/other", "file/below", "file/below/deep", "CON", "nul.txt/x"} {
		if err := put(key); !fault.Is(err, fault.Invalid) {
			t.Errorf("Put(%q): %v", key, err)
		}
	}
	for _, key := range []string{".landwaiter/x", ".LANDWAITER/tmp/x"} {
		if err := put(key); !fault.Is(err, fault.Denied) {
			t.Errorf("Put(%q): %v", key, err)
		}
	}
}

// The probe finds what the account may do, leaves nothing behind, and says that
// Samba's change time is no guard.
func TestProbe(t *testing.T) {
	t.Parallel()
	srv := servers.StartSamba(t)
	all := connectors.Caps{Settle: true, Put: true, Remove: true, Prune: true, FencedRemove: true, FencedPut: true, Ordered: true}
	for name, c := range map[string]struct {
		share string
		mode  os.FileMode
		want  connectors.Caps
	}{
		"streams":   {"streams", 0o777, all},
		"plain":     {"plain", 0o777, all},
		"read only": {"plain", 0o555, connectors.Caps{Settle: true, Ordered: true}},
	} {
		p := newPlace(t, srv, c.share)
		if err := os.Chmod(p.local, c.mode); err != nil {
			t.Fatal(err)
		}
		d := p.open(t)
		closing(t, d)
		got, err := d.Probe(t.Context(), connectors.DefaultProbePrefix)
		if err != nil || got != c.want {
			t.Errorf("%s: Probe = %+v, %v; want %+v", name, got, err, c.want)
		}
		if err := d.Degraded(); c.want.Put != (err != nil && strings.Contains(err.Error(), "change time")) {
			t.Errorf("%s: Degraded = %v", name, err)
		}
		if left := keys(t, d, "", ""); len(left) > 0 {
			t.Errorf("%s: the probe left %q", name, left)
		}
	}
}
