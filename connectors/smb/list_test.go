package smb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	smb2 "github.com/hirochachacha/go-smb2"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

// keys lists; gaps are shown as "gap PREFIX".
func keys(t *testing.T, d *Driver, prefix, start string) (out []string) {
	t.Helper()
	for i, err := range d.List(t.Context(), prefix, start) {
		var gap *connectors.Gap
		switch {
		case errors.As(err, &gap):
			out = append(out, "gap "+gap.Prefix)
		case err != nil:
			t.Fatalf("List(%q, %q): %v", prefix, start, err)
		default:
			out = append(out, i.Key)
		}
	}
	return out
}

// A folder that may not be read is a gap, and the listing goes on behind it.
func TestGap(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.StartSamba(t), "plain")
	d := p.open(t)
	closing(t, d)
	other := p.client(t)
	for _, key := range []string{"a", "b/shut/x", "b/z", "c"} {
		other.must(t, key, key)
	}
	shut := filepath.Join(p.local, "b/shut")
	if err := os.Chmod(shut, 0); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "gap b/shut/", "b/z", "c"}, keys(t, d, "", "")); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"gap b/shut/"}, keys(t, d, "b/shut/", "")); diff != "" {
		t.Errorf("List of the shut folder (-want +got):\n%s", diff)
	}
	if err := os.Chmod(shut, 0o755); err != nil {
		t.Fatal(err)
	}
}

// A folder with more entries than a listing holds comes in several parts, each in order.
func TestLargeFolder(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.StartSamba(t), "plain")
	d := p.open(t)
	closing(t, d)
	deep := strings.Repeat("d/", 20) // where a listing holds the least
	if err := os.MkdirAll(filepath.Join(p.local, deep), 0o755); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 3 * entriesAtLeaf {
		key := fmt.Sprintf("%sf%d", deep, i)
		if i%100 == 7 { // a folder among the files
			key += "/leaf"
			if err := os.Mkdir(filepath.Join(p.local, filepath.Dir(key)), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(p.local, key), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		want = append(want, key)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, keys(t, d, "", "")); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[1000:], keys(t, d, deep+"f", want[999])); diff != "" {
		t.Errorf("List from the middle (-want +got):\n%s", diff)
	}
}

// One file is one object: only the spelling that the server stores is a key.
func TestSpelling(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.StartSamba(t), "plain")
	d := p.open(t)
	closing(t, d)
	other := p.client(t)
	stored := []string{"Folder/[x] Ünï.TXT", "Folder/a", "Folder/very long name that has a short one.text", "Folder/😀"}
	for _, key := range stored {
		other.must(t, key, key)
	}
	for _, key := range stored {
		ref := look(t, d, key)
		for _, alias := range []string{strings.ToUpper(key), strings.ToLower(key), "folder/" + object.Base(key)} {
			if alias == key {
				continue
			}
			if _, err := d.Stat(t.Context(), object.Ref{Key: alias}); !fault.Is(err, fault.NotFound) {
				t.Errorf("Stat(%q) of %q: %v", alias, key, err)
			}
			if _, err := d.Open(t.Context(), object.Ref{Key: alias}, 0); !fault.Is(err, fault.NotFound) {
				t.Errorf("Open(%q) of %q: %v", alias, key, err)
			}
			if _, err := d.Remove(t.Context(), object.Ref{Key: alias, Version: ref.Version}, connectors.Fence{Aside: "a", SHA256: hashOf(key)}); !fault.Is(err, fault.NotFound) {
				t.Errorf("Remove(%q) of %q: %v", alias, key, err)
			}
			if _, err := d.Put(t.Context(), alias, strings.NewReader(""), connectors.PutOptions{}); !fault.Is(err, fault.Exists, fault.Invalid) {
				t.Errorf("Put(%q) beside %q: %v", alias, key, err)
			}
		}
	}
	if got := keys(t, d, "folder/", ""); len(got) > 0 {
		t.Errorf("the prefix in another spelling lists %q", got)
	}
	if diff := cmp.Diff(stored, keys(t, d, "", "")); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
}

// A DFS link is listed by its kind and not followed; what SMB has no name for is
// listed and never opened.
func TestNotRegular(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.StartSamba(t, "host msdfs = yes", "msdfs root = yes", "mangled names = no"), "plain")
	d := p.open(t)
	closing(t, d)
	if err := os.Symlink(`msdfs:127.0.0.1\elsewhere`, filepath.Join(p.local, "dfs")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.local, "trailing."), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	got := map[string]object.Kind{}
	for i, err := range d.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		got[i.Key] = i.Kind
	}
	if diff := cmp.Diff(map[string]object.Kind{"dfs": object.Symlink, "trailing.": object.Special}, got); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	for _, key := range []string{"dfs", "dfs/below"} {
		if _, err := d.Open(t.Context(), object.Ref{Key: key}, 0); !fault.Is(err, fault.Unsupported, fault.NotFound) {
			t.Errorf("Open(%s): %v", key, err)
		}
	}
	if i, err := d.Stat(t.Context(), object.Ref{Key: "dfs"}); err == nil && i.Kind != object.Symlink || err != nil && fault.ReasonOf(err) != "not_regular" {
		t.Errorf("Stat of the link = %+v, %v", i, err)
	}
}

// What no server here has: the attributes of links, junctions, deduplicated and
// offline files, as [MS-FSCC] 2.6 and Microsoft's pages on them give them.
func TestKinds(t *testing.T) {
	for name, c := range map[string]struct {
		attributes uint32
		kind       object.Kind
		cold       bool
	}{
		"file":                {0x20, object.Regular, false},
		"symbolic link":       {attrReparse, object.Symlink, false},
		"junction":            {attrReparse | attrFolder, object.Symlink, false},
		"deduplicated":        {attrReparse | attrSparse | 0x20, object.Regular, false},
		"sparse":              {attrSparse, object.Regular, false},
		"offline":             {attrOffline, object.Regular, true},
		"on tape":             {attrReparse | attrSparse | attrOffline, object.Regular, true},
		"in the cloud":        {attrReparse | 0x400000, object.Regular, true},
		"folder in the cloud": {attrReparse | attrFolder | 0x40000, object.Symlink, false},
	} {
		i := stat{&smb2.FileStat{FileAttributes: c.attributes}}.info("k")
		if i.Kind != c.kind || i.Cold != c.cold {
			t.Errorf("%s: kind %v, cold %v", name, i.Kind, i.Cold)
		}
	}
}
