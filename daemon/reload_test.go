package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/landwaiter/landwaiter/control"
)

// hup asks for a reload as systemd does, and waits for its end.
func (r *running) hup(words ...string) {
	r.w.t.Helper()
	from := r.w.mark()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		r.w.t.Fatal(err)
	}
	r.w.logged(from, words...)
}

func (r *running) state(name string) control.Storage {
	r.w.t.Helper()
	l, err := r.Control().Storages(control.AsMachine(r.w.t.Context()))
	if err != nil {
		r.w.t.Fatal(err)
	}
	for _, s := range l {
		if s.Unit == name {
			return s
		}
	}
	return control.Storage{}
}

// TestReload adds, changes and removes units while the daemon runs.
func TestReload(t *testing.T) {
	w := newWorld(t)
	a, b := w.folder("a"), w.folder("b")
	put(t, filepath.Join(a, "1"), []byte("one"))
	w.configure("server: {listen: 'off'}\nunits:\n" + unit("a", a, ""))
	r := w.start()
	r.verdict("a", "1", "clean")
	bad := append(eicar(), '\n')
	put(t, filepath.Join(a, "bad1"), bad)
	if rec := r.verdict("a", "bad1", "infected"); len(rec.Actions) != 0 {
		t.Errorf("report only, and yet %+v", rec.Actions)
	}
	open, err := r.set.Get("a")
	if err != nil {
		t.Fatal(err)
	}

	// A unit is added; what did not change is not touched.
	w.configure("server: {listen: 'off'}\nunits:\n" + unit("a", a, "") + unit("b", b, ""))
	r.hup("reloaded")
	put(t, filepath.Join(b, "2"), []byte("two"))
	r.verdict("b", "2", "clean")
	if now, err := r.set.Get("a"); err != nil || now != open {
		t.Errorf("unit a was opened again: %v", err)
	}

	// A workflow changes, here by its own words, there by another name.
	w.configure("server: {listen: 'off'}\nunits:\n" + unit("a", a, ", workflow: quarantine") + unit("b", b, "") +
		"workflows:\n  - {name: default, quarantine: {enabled: true}}\n")
	r.hup("reloaded")
	for _, u := range []string{"a", "b"} {
		put(t, filepath.Join(w.dir, u, "bad2"), bad)
		if rec := r.verdict(u, "bad2", "infected"); len(rec.Actions) != 2 {
			t.Errorf("unit %s: %+v", u, rec)
		}
	}

	// A unit is removed: it is disabled, and what is known of it stays.
	w.configure("server: {listen: 'off'}\nunits:\n" + unit("a", a, ", workflow: quarantine"))
	r.hup("reloaded")
	if s := r.state("b"); s.State != "gone" || s.Gone.IsZero() {
		t.Errorf("unit b is %+v", s)
	}
	put(t, filepath.Join(b, "3"), []byte("nobody looks"))
	put(t, filepath.Join(a, "4"), []byte("four"))
	r.verdict("a", "4", "clean")
	if l := entries(t, r.Control(), control.EntryQuery{Unit: "b"}); len(l) != 2 {
		t.Errorf("unit b has %d entries, want its 2", len(l))
	}

	// It comes back: what came meanwhile is found.
	w.configure("server: {listen: 'off'}\nunits:\n" + unit("a", a, ", workflow: quarantine") + unit("b", b, ""))
	r.hup("reloaded")
	r.verdict("b", "3", "clean")
	if s := r.state("b"); s.State != "ok" {
		t.Errorf("unit b is %+v", s)
	}
}

// TestReloadRefused gives what cannot be served: everything stays as it was.
func TestReloadRefused(t *testing.T) {
	w := newWorld(t)
	a, b := w.folder("a"), w.folder("b")
	good := "server: {listen: 'off'}\nunits:\n" + unit("a", a, "")
	w.configure(good)
	r := w.start()
	for i, tt := range []struct{ yaml, says string }{
		{"server: {listen: 'off'}\nunits:\n" + unit("b", b, "") + "  - {name: x, url: 'file:///x', wrokflow: y}\n", "landwaiter.yaml:5:"},
		{"units: [\n", "landwaiter.yaml:"},
		{good + unit("b", b, "") + unit("x", b+"x", ", workflow: nowhere"), "nowhere"},
		{good + unit("b", b, "") + unit("x", a+"x", ", options: {magic: 1}"), "magic"},
		{good + unit("b", b, "") + unit("x", b+"/sub", ""), "the place of unit"},
		{good + unit("b", b, "") + unit("quarantine", w.dir+"/q", ""), "quarantine"},
		{good + unit("b", b, "") + "  - {name: x, url: 'ftp://nobody/speaks'}\n", "ftp"},
		{good + unit("b", b, "") + "workflows:\n  - {name: default, blocked: {handling: explode}}\n", "explode"},
	} {
		w.configure(tt.yaml)
		r.hup("reload refused", tt.says)
		if s := r.state("b"); s.Unit != "" {
			t.Errorf("%d: unit b came all the same: %+v", i, s)
		}
		put(t, filepath.Join(a, fmt.Sprint(i)), []byte("x"))
		r.verdict("a", fmt.Sprint(i), "clean")
	}
}

// TestReloadRestart names what a reload does not change.
func TestReloadRestart(t *testing.T) {
	w := newWorld(t)
	w.configure("server: {listen: 'off'}\n")
	r := w.start()
	w.configure("server: {listen: '127.0.0.1:1'}\nbounds: {workers: 3}\nlog: {level: debug}\nsandbox: 'off'\nstore: {dsn: 'postgres://x'}\n" +
		"pools:\n  - {name: other, instances: [{url: 'builtin:'}]}\n")
	for range 2 { // it is said each time
		r.hup("need a restart", "server", "bounds", "log", "sandbox", "store", "pools", "reloaded")
	}
}

// TestReloadMissing serves units whose folder is not there, as a start does:
// their entries wait, the others go on, and the old place is left alone.
func TestReloadMissing(t *testing.T) {
	w := newWorld(t)
	a, b := w.folder("a"), w.folder("b")
	w.configure("server: {listen: '127.0.0.1:0'}\nunits:\n" + unit("a", a, "") + unit("b", b, ""))
	r := w.start()
	put(t, filepath.Join(a, "1"), []byte("one"))
	r.verdict("a", "1", "clean")
	there := filepath.Join(w.dir, "there")
	w.configure("server: {listen: '127.0.0.1:0'}\nunits:\n" + unit("a", there, "") + unit("b", b, "") + unit("c", there+"c", ""))
	r.hup("unit cannot be opened", "unit=a", "unit=c", "reloaded")
	put(t, filepath.Join(a, "old"), []byte("not ours any more"))
	put(t, filepath.Join(b, "2"), []byte("two"))
	r.verdict("b", "2", "clean")
	_, body := r.get("/readyz?verbose")
	if !strings.Contains(body, "[!] units: ") || !strings.Contains(body, "a: ") || !strings.Contains(body, "no such file") {
		t.Errorf("readyz: %s", body)
	}
	if s := r.state("c"); s.State != "down" || !strings.Contains(s.Detail, "no such file") {
		t.Errorf("unit c: %+v", s)
	}
	put(t, filepath.Join(there, "new"), []byte("new"))
	r.verdict("a", "new", "clean")
	put(t, filepath.Join(there+"c", "new"), []byte("new"))
	r.verdict("c", "new", "clean")
	// It is watched, too, not only swept.
	put(t, filepath.Join(there, "more"), []byte("more"))
	if rec := r.verdict("a", "more", "clean"); rec.LatencyMS > 3000 {
		t.Errorf("took %v ms", rec.LatencyMS)
	}
	if l := r.records("a", "old"); len(l) != 0 {
		t.Errorf("the old place was looked at: %+v", l)
	}
}

// TestMissingFolder starts without a folder: the daemon is ready, says it, and
// works once the folder appears.
func TestMissingFolder(t *testing.T) {
	w := newWorld(t)
	a, b := filepath.Join(w.dir, "a"), w.folder("b")
	w.configure("server: {listen: '127.0.0.1:0'}\nunits:\n" + unit("a", a, "") + unit("b", b, ""))
	r := w.start()
	put(t, filepath.Join(b, "1"), []byte("one"))
	r.verdict("b", "1", "clean")
	code, body := r.get("/readyz?verbose")
	if code != 200 || !strings.Contains(body, "[!] units: a: ") || !strings.Contains(body, "no such file") {
		t.Errorf("readyz: %d %s", code, body)
	}
	put(t, filepath.Join(a, "1"), []byte("one"))
	r.verdict("a", "1", "clean")
	w.eventually("readyz without complaint", func() error {
		if _, body := r.get("/readyz?verbose"); !strings.Contains(body, "[+] units ok") {
			return fmt.Errorf("%s", body)
		}
		return nil
	})
}
