package daemon

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

func epoch(t *testing.T, data string) (e string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(data, "ledger.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var v []byte
	if err := db.QueryRow("SELECT value FROM meta WHERE name = 'epoch'").Scan(&v); err != nil {
		t.Fatal(err)
	}
	return string(v)
}

// TestLocalReads reads a ledger on which no daemon runs: nothing is locked and
// nothing moves, so a daemon that starts meanwhile is not disturbed.
func TestLocalReads(t *testing.T) {
	w := newWorld(t)
	in := w.folder("in")
	w.configure("server: {listen: 'off'}\nunits:\n" + unit("in", in, ", workflow: quarantine"))
	if _, err := OpenControl(t.Context(), w.config(), nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("no ledger: got %v, want NotFound", err)
	}
	if _, err := os.Stat(w.data); !os.IsNotExist(err) {
		t.Errorf("a look made the data folder: %v", err)
	}
	r := w.start()
	put(t, filepath.Join(in, "bad"), eicar())
	r.verdict("in", "bad", "infected")
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	before := epoch(t, w.data)
	l := w.local()
	look := func() {
		t.Helper()
		if n := len(entries(t, l.Control, control.EntryQuery{Verdict: "infected"})); n != 1 {
			t.Errorf("%d entries", n)
		}
		if _, err := l.Explain(control.AsMachine(t.Context()), "in", "bad"); err != nil {
			t.Error(err)
		}
		for q, err := range l.Quarantined(control.AsMachine(t.Context()), "") {
			if err != nil {
				t.Error(err)
			}
			if e, err := l.Restore(control.AsMachine(t.Context()), control.RestoreRequest{ID: q.ID, DryRun: true}); err != nil || e.State != "planned" {
				t.Errorf("dry run: %+v, %v", e, err)
			}
		}
		if s, err := l.Storages(control.AsMachine(t.Context())); err != nil || len(s) != 1 || !strings.HasPrefix(s[0].Detail, "no daemon runs") {
			t.Errorf("%+v, %v", s, err)
		}
	}
	look()
	if now := epoch(t, w.data); now != before {
		t.Errorf("epoch %s after reading, was %s", now, before)
	}
	r = w.start() // while l is open
	look()
	put(t, filepath.Join(in, "more"), []byte("x"))
	r.verdict("in", "more", "clean")
	// What changes something finds the daemon.
	if _, err := l.Replay(control.AsMachine(t.Context()), r.records("in", "more")[0].ID); !fault.Is(err, fault.Exists) {
		t.Errorf("replay beside a daemon: got %v, want Exists", err)
	}
}

// TestLocalRestore restores without a daemon, from a quarantine that is where
// only the ledger knows.
func TestLocalRestore(t *testing.T) {
	w := newWorld(t)
	in, q := w.folder("in"), filepath.Join(w.dir, "elsewhere")
	w.configure("server: {listen: 'off'}\nunits:\n" + unit("in", in, ", workflow: quarantine"))
	d, err := Open(t.Context(), Options{Config: w.config(), Quarantine: q, Once: true})
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(in, "bad"), eicar())
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := w.local()
	var item control.Quarantined
	for q, err := range l.Quarantined(control.AsMachine(t.Context()), "") {
		if err != nil {
			t.Fatal(err)
		}
		item = q
	}
	for _, o := range []FsckOptions{{Deep: 100}, {Repair: true}} {
		for _, ch := range fsck(t, w, o) {
			if ch.State != "ok" {
				t.Errorf("fsck %+v: %+v", o, ch)
			}
		}
	}
	if e, err := l.Restore(control.AsMachine(t.Context()), control.RestoreRequest{ID: item.ID}); err != nil || e.State != "done" {
		t.Fatalf("%+v, %v", e, err)
	}
	if got, err := os.ReadFile(filepath.Join(in, "bad")); err != nil || !bytes.Equal(got, eicar()) {
		t.Errorf("%q, %v", got, err)
	}
	if left, err := filepath.Glob(q + "/*.lwq"); err != nil || len(left) != 0 {
		t.Errorf("left in quarantine: %v, %v", left, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	// It stays, with the next daemon too.
	d, err = Open(t.Context(), Options{Config: w.config(), Quarantine: q, Once: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(in, "bad")); err != nil {
		t.Error(err)
	}
}

func fsck(t *testing.T, w *world, o FsckOptions) (l []control.Check) {
	t.Helper()
	if err := Fsck(t.Context(), w.config(), o, func(ch control.Check) bool { l = append(l, ch); return true }); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestRestore restores beside a daemon: to where it was, elsewhere, over
// another object, and what came of the hash each time.
func TestRestore(t *testing.T) {
	w := newWorld(t)
	in := w.folder("in")
	w.configure("server: {listen: 'off'}\nunits:\n" + unit("in", in, ", workflow: quarantine"))
	r := w.start()
	c, err := control.Dial(t.Context(), w.data)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	bad := func(n int) []byte { return append(eicar(), fmt.Appendf(nil, "\n%*s", n, "")...) }
	catch := func(name string, n int) control.Quarantined {
		t.Helper()
		put(t, filepath.Join(in, name), bad(n))
		var found control.Quarantined
		w.eventually(name+" in quarantine", func() error {
			for q, err := range c.Quarantined(control.AsMachine(t.Context()), "in") {
				if err != nil {
					return err
				}
				if q.Key == name {
					found = q
					return nil
				}
			}
			return os.ErrNotExist
		})
		w.eventually("its removal", func() error {
			if _, err := os.Lstat(filepath.Join(in, name)); err == nil {
				return os.ErrExist
			}
			return nil
		})
		return found
	}

	// The key is taken: nothing is replaced, and the hash is not allowed either.
	taken := catch("taken", 1)
	put(t, filepath.Join(in, "taken"), []byte("somebody else's"))
	r.verdict("in", "taken", "clean")
	if _, err := c.Restore(control.AsMachine(t.Context()), control.RestoreRequest{ID: taken.ID}); !fault.Is(err, fault.Exists) || !strings.Contains(err.Error(), "--to") {
		t.Errorf("taken: got %v, want Exists that names --to", err)
	}
	if got, err := os.ReadFile(filepath.Join(in, "taken")); err != nil || string(got) != "somebody else's" {
		t.Errorf("%q, %v", got, err)
	}
	put(t, filepath.Join(in, "again"), bad(1))
	if rec := r.verdict("in", "again", "infected"); rec.Decision != "blocked" {
		t.Errorf("a restore that failed has allowed the hash: %+v", rec)
	}
	if _, err := c.Restore(control.AsMachine(t.Context()), control.RestoreRequest{ID: taken.ID, To: "dir/other"}); err != nil {
		t.Fatal(err)
	}
	if rec := r.verdict("in", "dir/other", "infected"); rec.Decision != "allowed" || rec.By == "" {
		t.Errorf("restored: %+v", rec)
	}
	if got, err := os.ReadFile(filepath.Join(in, "dir/other")); err != nil || !bytes.Equal(got, bad(1)) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := c.Restore(control.AsMachine(t.Context()), control.RestoreRequest{ID: taken.ID}); !fault.Is(err, fault.NotFound) {
		t.Errorf("restored twice: %v", err)
	}
	if _, err := c.Restore(control.AsMachine(t.Context()), control.RestoreRequest{ID: "nonsense"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("nonsense: %v", err)
	}

	// A purged object is gone for good.
	gone := catch("gone", 2)
	if e, err := c.Purge(control.AsMachine(t.Context()), gone.ID, true); err != nil || e.State != "planned" {
		t.Errorf("dry run: %+v, %v", e, err)
	}
	if _, err := c.Purge(control.AsMachine(t.Context()), gone.ID, false); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Restore(control.AsMachine(t.Context()), control.RestoreRequest{ID: gone.ID}); !fault.Is(err, fault.NotFound) {
		t.Errorf("purged and restored: %v", err)
	}

	// Restored again and again it never loops: one entry a look, and it stays.
	loops := 0
	for i := range 5 {
		q := catch(fmt.Sprintf("loop%d", i), 100+i)
		if _, err := c.Restore(control.AsMachine(t.Context()), control.RestoreRequest{ID: q.ID}); err != nil {
			t.Fatal(err)
		}
		w.eventually("the look at what was restored", func() error {
			for _, rec := range r.records("in", q.Key) {
				if rec.Decision == "allowed" {
					return nil
				}
			}
			return os.ErrNotExist
		})
	}
	for i := range 5 {
		if _, err := os.Stat(filepath.Join(in, fmt.Sprintf("loop%d", i))); err != nil {
			loops++
			t.Error(err)
		}
	}
	t.Logf("cases=5 violations=%d seed=none: restore loops", loops)
}

// TestExpiry purges what was kept long enough, past what cannot be purged.
func TestExpiry(t *testing.T) {
	w := newWorld(t)
	in := w.folder("in")
	w.configure("server: {listen: 'off'}\nunits:\n" + unit("in", in, ", workflow: brief") +
		"workflows:\n  - {name: brief, quarantine: {enabled: true, expiry: 1h}}\n")
	r := w.start()
	for i := range 3 {
		put(t, filepath.Join(in, fmt.Sprint(i)), append(eicar(), fmt.Appendf(nil, "\n%d", i)...))
		r.verdict("in", fmt.Sprint(i), "infected")
	}
	held := func() (l []control.Quarantined) {
		for q, err := range r.Control().Quarantined(control.AsMachine(t.Context()), "") {
			if err != nil {
				t.Fatal(err)
			}
			l = append(l, q)
		}
		return l
	}
	if n, err := r.Control().Expire(t.Context(), time.Now()); n != 0 || err != nil || len(held()) != 3 {
		t.Errorf("before its time: purged %d, %v", n, err)
	}
	// Something that is no file stands in the place of the newest.
	var newest ledger.ID
	if err := newest.UnmarshalText([]byte(held()[0].ID)); err != nil {
		t.Fatal(err)
	}
	item, err := r.db.QuarantineGet(t.Context(), newest)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(w.data, "quarantine", item.Object)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(name, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	n, err := r.Control().Expire(t.Context(), time.Now().Add(2*time.Hour))
	if n < 2 {
		t.Errorf("purged %d, %v; want the two that can be", n, err)
	}
}

// TestCorruptLedger damages the ledger in several ways: no daemon starts on it,
// and fsck says how to go on.
func TestCorruptLedger(t *testing.T) {
	w := newWorld(t)
	in := w.folder("in")
	for i := range 200 {
		put(t, filepath.Join(in, fmt.Sprint(i)), []byte("x"))
	}
	w.configure("server: {listen: 'off'}\nunits:\n" + unit("in", in, ""))
	d, err := Open(t.Context(), Options{Config: w.config(), Once: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(w.data, "ledger.db")
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"garbage":   func(b []byte) []byte { return bytes.Repeat([]byte("not a database "), 1000) },
		"truncated": func(b []byte) []byte { return b[:len(b)/2] },
		"pages":     func(b []byte) []byte { copy(b[len(b)/4:], bytes.Repeat([]byte{0xa5}, len(b)/2)); return b },
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, damage(bytes.Clone(sound)), 0o600); err != nil {
				t.Fatal(err)
			}
			failed := false
			for _, ch := range fsck(t, w, FsckOptions{Deep: 1}) {
				failed = failed || ch.State == "fail" && ch.Fix != ""
			}
			if !failed {
				t.Error("fsck found nothing, or says no way out")
			}
			if name == "pages" { // which only a look at every page finds
				return
			}
			if d, err := Open(t.Context(), Options{Config: w.config()}); err == nil || !strings.Contains(err.Error(), "fsck") {
				t.Errorf("open: %v", err)
				if err == nil {
					_ = d.close()
				}
			}
		})
	}
}
