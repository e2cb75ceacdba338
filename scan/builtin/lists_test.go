package builtin

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/archive"
)

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestLines(t *testing.T) {
	five := strings.Repeat("5", 64)
	for _, c := range []struct {
		line, name string
		size       int64
		wrong      string
	}{
		{five, listName, -1, ""},
		{five + "  a name of words", "a_name_of_words", -1, ""},
		{five + " *file.exe", "file.exe", -1, ""},
		{five + "\tname", "name", -1, ""},
		{strings.ToUpper("aa" + five[2:]), listName, -1, ""},
		{five[:32] + ":17:Name", "Name", 17, ""},
		{five[:40] + ":*:Name:73", "Name", -1, ""},
		{five + ":0:Na\x1b[31me", "Na_[31me", 0, ""},
		{five + " " + strings.Repeat("n", 1000), strings.Repeat("n", maxName), -1, ""},
		{"", "", 0, ""},
		{"# a comment", "", 0, ""},
		{five[:63], "", 0, "no digest"},
		{five[:62], "", 0, "no MD5"},
		{"a word", "", 0, "no digest"},
		{five + ":17", "", 0, "hash:size:name"},
		{five + ":17:", "", 0, "hash:size:name"},
		{five + ":-1:Name", "", 0, "size"},
		{five + ":x:Name", "", 0, "size"},
		{":1:Name", "", 0, "no MD5"},
	} {
		l := newLists()
		err := l.line(c.line, map[meaning]uint32{})
		switch {
		case c.wrong != "":
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%.80q: got %v, want %q", c.line, err, c.wrong)
			}
		case err != nil:
			t.Errorf("%.80q: %v", c.line, err)
		case c.name == "" && len(l.means) == 0:
		case len(l.means) != 1 || l.means[0] != meaning{c.name, c.size}:
			t.Errorf("%.80q: got %+v", c.line, l.means)
		}
	}
}

func TestMatch(t *testing.T) {
	content := []byte("content")
	m, s1, s2 := md5.Sum(content), sha1.Sum(content), sha256.Sum256(content)
	for _, c := range []struct {
		list string
		want string
		need archive.Digests
	}{
		{"", "", 0},
		{fmt.Sprintf("%x By256\n", s2), "By256", archive.SHA256},
		{fmt.Sprintf("%x By1\n", s1), "By1", archive.SHA1},
		{fmt.Sprintf("%x:7:By5\n", m), "By5", archive.MD5},
		{fmt.Sprintf("%x:8:By5\n", m), "", archive.MD5},
		{fmt.Sprintf("%x:8:No\n%x:7:Yes\n%x:9:No\n", m, m, m), "Yes", archive.MD5},
		{fmt.Sprintf("%064d A\n%064d B\n%x C\n", 1, 2, s2), "C", archive.SHA256},
		{fmt.Sprintf("%x:8:No\n%x:*:Yes", m, s1), "Yes", archive.MD5 | archive.SHA1},
	} {
		path := filepath.Join(t.TempDir(), "list")
		write(t, path, c.list)
		files, err := stamps([]string{path})
		if err != nil {
			t.Fatal(err)
		}
		l, err := read(files)
		if err != nil {
			t.Fatal(err)
		}
		look := archive.NewLook(l.digests(), nil)
		_, _ = look.Write(content)
		sums := look.Sums()
		if got, ok := l.match(&sums, 7); got != c.want || ok != (c.want != "") || l.digests() != c.need {
			t.Errorf("%q: got %q %v, digests %b", c.list, got, ok, l.digests())
		}
	}
}

// TestReload: changed lists are taken whole, broken ones not at all.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	one := filepath.Join(dir, "one.txt")
	write(t, one, fmt.Sprintf("%x One\n", sha256.Sum256([]byte("one"))))
	e := open(t, Options{HashLists: []string{dir}, reload: time.Millisecond})
	threat := func(content string) string {
		t.Helper()
		rep, err := e.Scan(context.Background(), stream([]byte(content)))
		if err != nil {
			t.Fatal(err)
		}
		return rep.Threat
	}
	health := func() scan.Health {
		t.Helper()
		h, err := e.Probe(context.Background())
		if err != nil || !h.Ready {
			t.Fatal(h, err)
		}
		return h
	}
	until := func(what string, f func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("never: ", what)
			}
		}
	}
	if threat("one") != "One" || threat("two") != "" {
		t.Fatal("the first list")
	}
	first := health()
	if first.DefinedAt.IsZero() || first.Definitions == version {
		t.Errorf("got %+v", first)
	}
	write(t, filepath.Join(dir, "two.txt"), fmt.Sprintf("%x Two\n", sha1.Sum([]byte("two"))))
	until("the second list", func() bool { return threat("two") == "Two" })
	second := health()
	if second.Definitions == first.Definitions {
		t.Error("definitions are the same")
	}
	write(t, one, fmt.Sprintf("%x Three\nnonsense\n", sha256.Sum256([]byte("three"))))
	until("the broken list is told", func() bool { return strings.Contains(health().Detail, "one.txt:2") })
	if threat("one") != "One" || threat("three") != "" || health().Definitions != second.Definitions {
		t.Error("a broken list was taken")
	}
	write(t, one, fmt.Sprintf("%x Three\n", sha256.Sum256([]byte("three"))))
	until("the repaired list", func() bool { return threat("three") == "Three" && threat("one") == "" && health().Detail == "" })
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	until("the lists are gone", func() bool { return health().Detail != "" })
	if threat("two") != "Two" {
		t.Error("the lists went with their files")
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "bad"), "# fine\n\nnot a digest\n")
	write(t, filepath.Join(dir, "long"), strings.Repeat("x", 2*maxLine))
	for _, c := range []struct {
		path string
		kind fault.Kind
		word string
	}{
		{filepath.Join(dir, "none"), fault.NotFound, "none"},
		{filepath.Join(dir, "bad"), fault.Invalid, "bad:3"},
		{filepath.Join(dir, "long"), fault.Invalid, "long:1"},
		{"/dev/null", fault.Invalid, "not a regular file"},
	} {
		if _, err := Open(context.Background(), Options{HashLists: []string{c.path}}); !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: got %v", c.path, err)
		}
	}
}

// TestManyHashes: a million hashes cost what they must.
func TestManyHashes(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n /= 10
	}
	path := filepath.Join(t.TempDir(), "many")
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%x\n", sha256.Sum256(fmt.Append(nil, i)))
	}
	write(t, path, b.String())
	b.Reset()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	e := open(t, Options{HashLists: []string{path}})
	took := time.Since(began)
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := float64(after.HeapAlloc-before.HeapAlloc) / float64(n)
	t.Logf("%.1f bytes a hash, %v", each, took)
	if each > 60 {
		t.Errorf("%.1f bytes a hash", each)
	}
	rep, err := e.Scan(context.Background(), stream(fmt.Append(nil, n/2)))
	if err != nil || rep.Verdict != scan.Infected {
		t.Errorf("got %+v, %v", rep, err)
	}
}

func FuzzLine(f *testing.F) {
	f.Add(strings.Repeat("5", 64) + " name")
	f.Add(strings.Repeat("a", 32) + ":17:Name:1:2")
	f.Fuzz(func(t *testing.T, s string) {
		l := newLists()
		if l.line(s, map[meaning]uint32{}) != nil {
			return
		}
		for _, m := range l.means {
			if m.name == "" || len(m.name) > maxName || m.size < -1 || strings.ContainsFunc(m.name, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Errorf("%q: %+v", s, m)
			}
		}
	})
}
