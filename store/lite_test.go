package store_test

import (
	"bufio"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/store"
	"github.com/landwaiter/landwaiter/test/servers"
)

func TestSecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	openAt(t, store.Options{Dir: dir})
	_, err := store.Open(ctx, store.Options{Dir: dir})
	if !fault.Is(err, fault.Exists) || !strings.Contains(err.Error(), fmt.Sprintf("(pid %d)", os.Getpid())) {
		t.Fatalf("got %v", err)
	}
	// Readers are welcome beside it.
	ro, err := store.OpenReadOnly(ctx, store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	if _, err := ro.Units(ctx); err != nil {
		t.Error(err)
	}
	if _, err := ro.SaveWorkflow(ctx, []byte("{}")); !fault.Is(err, fault.Denied) {
		t.Errorf("got %v, want Denied", err)
	}
}

// What the ledger holds is for its owner alone.
func TestFilesArePrivate(t *testing.T) {
	dir := t.TempDir()
	newBench(t, openAt(t, store.Options{Dir: dir}))
	for _, name := range []string{"ledger.db", "ledger.db-wal", "ledger.db-shm", "lock"} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, fi.Mode())
		}
	}
}

func TestOpenReadOnlyWithoutLedger(t *testing.T) {
	if _, err := store.OpenReadOnly(ctx, store.Options{Dir: t.TempDir()}); !fault.Is(err, fault.NotFound) {
		t.Fatalf("got %v, want NotFound", err)
	}
}

func TestDamagedFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ledger.db"), []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(ctx, store.Options{Dir: dir})
	if !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), "landwaiter fsck") {
		t.Fatalf("got %v", err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(ctx, store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, dir, "INSERT INTO schema_version (version_id, is_applied) VALUES (9999, 1)")
	for _, open := range []func() (*store.DB, error){
		func() (*store.DB, error) { return store.Open(ctx, store.Options{Dir: dir}) },
		func() (*store.DB, error) { return store.OpenReadOnly(ctx, store.Options{Dir: dir}) },
	} {
		if _, err := open(); !fault.Is(err, fault.Unsupported) {
			t.Errorf("got %v, want Unsupported", err)
		}
	}
}

// edit changes the database of dir behind the ledger's back.
func edit(t testing.TB, dir, stmt string) {
	t.Helper()
	raw, err := sql.Open("sqlite", filepath.Join(dir, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.Exec(stmt); err != nil {
		t.Fatal(err)
	}
}

// A row that the database refuses fails alone; its batch and its neighbours do not.
func TestRefusedRowFailsAlone(t *testing.T) {
	dir := t.TempDir()
	db := openAt(t, store.Options{Dir: dir})
	b := newBench(t, db)
	edit(t, dir, "CREATE TRIGGER poison BEFORE INSERT ON entries WHEN NEW.ikey = x'626164' BEGIN SELECT RAISE(ABORT, 'refused'); END")
	if err := db.SetCursor(ctx, ledger.Cursor{Unit: b.unit, Source: "s", Next: "before"}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if _, err := db.Intake(ctx, b.unit, []ledger.Arrival{b.look(fmt.Sprint("n", i), "")}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		list := []ledger.Arrival{b.look("x", ""), b.look("bad", ""), b.look("y", "")}
		taken, err := db.Intake(ctx, b.unit, list, &ledger.Cursor{Unit: b.unit, Source: "s", Next: "after"})
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "bad") || taken.Inserted != 2 {
			t.Errorf("%+v %v", taken, err)
		}
	})
	wg.Wait()
	if n := must(db.Backlog(ctx, b.unit))(t); n != 52 {
		t.Errorf("backlog %d, want 52", n)
	}
	if got := must(db.Cursor(ctx, b.unit, "s"))(t); got != "before" {
		t.Errorf("cursor %q: the refused event's moved on", got)
	}
	b.consistent()
}

// A full disk fails the operation, not the process, and heals by itself.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		servers.Missing(t, "the right to mount a tmpfs ("+err.Error()+")")
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	db := openAt(t, store.Options{Dir: dir})
	b := newBench(t, db)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	batch := func(i int) (list []ledger.Arrival) {
		for j := range 100 {
			list = append(list, b.look(fmt.Sprintf("%05d/%03d", i, j), "v"))
		}
		return list
	}
	accepted, full := 0, 0
	for i := 0; full < 3; i++ {
		taken, err := db.Intake(ctx, b.unit, batch(i), nil)
		switch {
		case err == nil:
			accepted += taken.Inserted
		case fault.Is(err, fault.Unavailable):
			full++
		default:
			t.Fatalf("got %v, want Unavailable", err)
		}
		if i > 1000 {
			t.Fatal("the disk never got full")
		}
	}
	if n := must(db.Backlog(ctx, b.unit))(t); int(n) != accepted {
		t.Errorf("backlog %d, accepted %d", n, accepted)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := db.Intake(ctx, b.unit, batch(5000), nil); err != nil {
		t.Fatalf("after there was room again: %v", err)
	}
	if n := must(db.Backlog(ctx, b.unit))(t); int(n) != accepted+100 {
		t.Errorf("backlog %d, want %d", n, accepted+100)
	}
	b.consistent()
	t.Logf("cases=1 violations=0 accepted=%d recovered in %v", accepted, time.Since(start))
}

// childEnv makes the test binary the process that is to be killed.
const childEnv = "LANDWAITER_STORE_CHILD"

// TestChild is not a test: it is what the crash tests kill.
func TestChild(t *testing.T) {
	at := os.Getenv(childEnv)
	if at == "" {
		return // only as a child of the crash tests
	}
	o := store.Options{Dir: at, Lease: 2 * time.Second}
	if strings.HasPrefix(at, "postgres:") {
		o = store.Options{DSN: at, Lease: 2 * time.Second}
	}
	b := newBench(t, openAt(t, o))
	b.intake(b.look("poison", "v1"), b.look("waits", "v1"))
	list := b.pick(1)
	fmt.Println("in work:", list[0].Key, list[0].Epoch)
	select {}
}

// dieWith runs a child on the ledger at at and kills it while an entry is in work.
func dieWith(t testing.TB, at string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"="+at)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := false
	for in := bufio.NewScanner(out); in.Scan(); {
		if ready = strings.HasPrefix(in.Text(), "in work:"); ready {
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !ready || !errors.As(err, &exit) {
		t.Fatalf("the child did not work: %v", err)
	}
}

// Nothing accepted is lost when the process is killed; what was in work runs
// alone next time.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	for n := 1; n <= 2; n++ {
		dieWith(t, dir)
		func() {
			db := openAt(t, store.Options{Dir: filepath.Join(dir)})
			defer db.Close()
			b := newBench(t, db)
			list := must(db.PickUp(ctx, b.unit, ledger.Alone, 5))(t)
			if len(list) != 1 || list[0].Crashes != n || list[0].Attempts < 2 || len(list[0].Story) != n || list[0].Story[0].Kind != "crash" {
				t.Fatalf("after %d crashes: %+v", n, list)
			}
			if n := must(db.Backlog(ctx, b.unit))(t); n != 2 {
				t.Errorf("backlog %d, want 2", n)
			}
			// So that the next child finds it first again.
			if err := db.GiveBack(ctx, func() *ledger.Entry { list[0].Lane = ledger.Small; return &list[0] }(), time.Unix(1, 0), false); err != nil {
				t.Fatal(err)
			}
			b.consistent()
		}()
	}
}
