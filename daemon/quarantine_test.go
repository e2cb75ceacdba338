package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// TestQuarantineApart puts the quarantine where the next command could find it,
// and where none does.
func TestQuarantineApart(t *testing.T) {
	w := newWorld(t)
	in, out := w.folder("in"), w.folder("out")
	if err := os.Symlink(in, filepath.Join(w.dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at string
		ok bool
	}{
		{"in", false}, {"in/q", false}, {"in/deep/q", false}, {"link/q", false}, {"in/.landwaiter", false}, {"in/.landwaiter/tmp", false},
		{"in/.landwaiter/quarantine-2", false}, {"in/sub/.landwaiter/quarantine", false},
		{"in/.landwaiter/quarantine", true}, {"data/q", true}, {"out/q", true}, {"inn", true},
	} {
		w.configure("server: {listen: 'off'}\nunits:\n" + unit("in", in, ", workflow: quarantine"))
		d, err := Open(t.Context(), Options{Config: w.config(), Log: slog.New(slog.NewTextHandler(w.log, nil)), Quarantine: filepath.Join(w.dir, c.at)})
		if d != nil {
			if cerr := d.close(); cerr != nil {
				t.Error(cerr)
			}
		}
		switch {
		case c.ok && err != nil:
			t.Errorf("%s: %v", c.at, err)
		case !c.ok && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), filepath.Join(in, ".landwaiter/quarantine"))):
			t.Errorf("%s: %v, want a refusal that says what to take", c.at, err)
		}
		if _, err := os.Stat(filepath.Join(w.dir, c.at)); !c.ok && c.at != "in" && c.at != "in/.landwaiter" && err == nil {
			t.Errorf("%s was refused and made all the same", c.at)
		}
	}
	// A reload must not bring it about either.
	w.configure("server: {listen: 'off'}\nunits:\n" + unit("in", in, ""))
	r := w.start(func(r *running) { r.o.Quarantine = filepath.Join(out, "q") })
	w.configure("server: {listen: 'off'}\nunits:\n" + unit("in", in, "") + unit("out", out, ""))
	if err := r.Reload(t.Context()); !fault.Is(err, fault.Invalid) {
		t.Errorf("reload: %v", err)
	}
}

// TestQuarantineIsToldByAll puts a file away, and then gives the quarantine, a
// folder in it and a link to it to commands that have another ledger.
func TestQuarantineIsToldByAll(t *testing.T) {
	w := newWorld(t)
	in := w.folder("in")
	q := filepath.Join(in, ".landwaiter", "quarantine")
	put(t, filepath.Join(in, "bad"), append(eicar(), '\n'))
	w.configure("server: {listen: 'off'}\nunits:\n" + unit("in", in, ", workflow: quarantine"))
	once, err := Open(t.Context(), Options{Config: w.config(), Quarantine: q, Once: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := once.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	items, err := filepath.Glob(q + "/*.lwq")
	if err != nil || len(items) != 1 {
		t.Fatalf("%d items are in the quarantine (%v), want 1", len(items), err)
	}
	if err := os.Mkdir(filepath.Join(q, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(q, filepath.Join(w.dir, "link")); err != nil {
		t.Fatal(err)
	}
	other := newWorld(t)
	for _, dir := range []string{q, filepath.Join(q, "sub"), filepath.Join(w.dir, "link"), items[0]} {
		if dir != items[0] {
			other.configure("server: {listen: 'off'}\nunits:\n" + unit("found", dir, ""))
			if d, err := other.open(); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "is a quarantine") {
				t.Errorf("watch %s: %v", dir, err)
				_ = d.close()
			}
		}
		if filepath.Base(dir) == "link" {
			continue // scan follows none
		}
		err := Scan(t.Context(), ScanOptions{Config: other.config(), Targets: []string{dir}, Log: slog.New(slog.DiscardHandler)},
			func(r ledger.Record) error { t.Errorf("scanned %+v", r); return nil })
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "is a quarantine") {
			t.Errorf("scan %s: %v", dir, err)
		}
	}
	// The folder that it lies in is another matter: all of it but the quarantine.
	put(t, filepath.Join(in, "good"), []byte("good"))
	var seen []string
	if err := Scan(t.Context(), ScanOptions{Config: other.config(), Targets: []string{in}, Log: slog.New(slog.DiscardHandler)},
		func(r ledger.Record) error { seen = append(seen, r.Key); return nil }); err != nil {
		t.Error(err)
	}
	if len(seen) != 1 || seen[0] != "good" {
		t.Errorf("scanned %q, want what is not in the quarantine", seen)
	}
	// A stranger's mark keeps nothing from being looked at.
	if err := os.MkdirAll(filepath.Join(other.folder("open"), privateDir), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(other.dir, "open", privateDir), 0o777); err != nil { // which a umask may withhold
		t.Fatal(err)
	}
	put(t, filepath.Join(other.dir, "open", privateDir, marker), nil)
	other.configure("server: {listen: 'off'}\nunits:\n" + unit("open", filepath.Join(other.dir, "open"), ""))
	d, err := other.open()
	if err != nil {
		t.Fatalf("a mark that anybody can make: %v", err)
	}
	if err := d.close(); err != nil {
		t.Error(err)
	}
}
