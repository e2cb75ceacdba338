// Package crash kills and stops the built program under load, and sees that
// nothing that it was given is lost and nothing is done twice.
package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/store"
)

// eicar is the test file, assembled so that no source holds it whole.
func eicar() []byte {
	return []byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*")
}

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "landwaiter-crash-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "landwaiter")
	out, err := exec.Command("go", "build", "-o", bin, "github.com/landwaiter/landwaiter/cmd/landwaiter").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if bin, err := build(); err == nil {
		_ = os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// number is an environment's number, or the one for a normal test run.
func number(name string, normal int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return normal
}

// seeded is a source of chance that the same TEST_SEED repeats.
func seeded() (*rand.Rand, uint64) {
	seed := uint64(number("TEST_SEED", int(time.Now().UnixNano()%1e9)))
	return rand.New(rand.NewPCG(seed, 1)), seed
}

// A place is where the program works in a test.
type place struct {
	t                       *testing.T
	inbox, data, quarantine string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	dir := t.TempDir()
	p := &place{t: t, inbox: filepath.Join(dir, "inbox"), data: filepath.Join(dir, "data"), quarantine: filepath.Join(dir, "quarantine")}
	if err := os.Mkdir(p.inbox, 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

// A process is a running landwaiter.
type process struct {
	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan error
}

func (p *place) start() *process {
	p.t.Helper()
	return p.run("serve", "--data", p.data, "--listen", "off", "--watch", p.inbox, "--quarantine", p.quarantine)
}

// run starts the program with these arguments, until the test ends.
func (p *place) run(args ...string) *process {
	p.t.Helper()
	bin, err := build()
	if err != nil {
		p.t.Fatal(err)
	}
	r := &process{done: make(chan error, 1)}
	r.cmd = exec.Command(bin, args...)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() { r.done <- r.cmd.Wait() }()
	p.t.Cleanup(func() { _ = r.end(syscall.SIGKILL) })
	return r
}

// end signals the process and waits for its end; it may have ended already.
func (r *process) end(sig syscall.Signal) error {
	_ = r.cmd.Process.Signal(sig) // it may be gone
	select {
	case err := <-r.done:
		r.done <- err
		return err
	case <-time.After(40 * time.Second):
		_ = r.cmd.Process.Kill()
		return errors.New("it did not end within 40 s of its signal")
	}
}

// read opens the ledger for reading, beside the process, and returns the number
// of the watched unit.
func (p *place) read() (*store.DB, int64, error) {
	db, err := store.OpenReadOnly(context.Background(), store.Options{Dir: p.data})
	if err != nil {
		return nil, 0, err
	}
	u, err := db.Unit(context.Background(), "inbox")
	if err != nil {
		return nil, 0, errors.Join(err, db.Close())
	}
	return db, u.ID, nil
}

// finished waits until the unit has n objects that ended and nothing else.
func (p *place) finished(within time.Duration, ok func(finished map[string][]ledger.Entry, items []ledger.QuarantineItem) error) {
	p.t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := p.look(ok)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("after %v: %v", within, err)
		}
		time.Sleep(100 * time.Millisecond) // between two looks
	}
}

func (p *place) look(ok func(map[string][]ledger.Entry, []ledger.QuarantineItem) error) error {
	db, unit, err := p.read()
	if err != nil {
		return err
	}
	defer db.Close()
	if n, err := db.Backlog(context.Background(), unit); err != nil || n > 0 {
		return fmt.Errorf("%d entries are not finished: %w", n, err)
	}
	all := map[string][]ledger.Entry{}
	for f := (ledger.Filter{Unit: unit, Limit: 1000, Oldest: true}); ; {
		page, err := db.Entries(context.Background(), f)
		if err != nil {
			return err
		}
		for _, e := range page.Entries {
			all[e.Key] = append(all[e.Key], e)
		}
		if f.After = page.Next; f.After == "" {
			break
		}
	}
	var items []ledger.QuarantineItem
	for f := (ledger.QuarantineFilter{Limit: 1000}); ; {
		page, err := db.QuarantineList(context.Background(), f)
		if err != nil {
			return err
		}
		items = append(items, page...)
		if len(page) < f.Limit {
			break
		}
		f.After = page[len(page)-1].ID
	}
	return ok(all, items)
}

func count(t *testing.T, dir string) int { return len(list(t, dir, "?")) }

// list are the files below dir, but those whose name begins with but.
func list(t *testing.T, dir, but string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), but) {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
