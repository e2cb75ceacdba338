package store_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/store"
)

// A bit that flips in the file is never read as clean, and fsck names it.
func TestBitFlips(t *testing.T) {
	const cases = 300
	dir := t.TempDir()
	db := openAt(t, store.Options{Dir: dir})
	b := newBench(t, db)
	var batch []ledger.Arrival
	for i := range 200 {
		batch = append(batch, b.look(fmt.Sprintf("key %03d", i), "v"))
	}
	b.intake(batch...)
	truth := map[string]scan.Verdict{}
	list := b.pick(200)
	for i := range list {
		e := judge(&list[i], "v")
		if i%2 == 0 {
			e.Verdict, e.Threat = scan.Infected, "Eicar"
		}
		e.Report = nil
		truth[e.Key] = e.Verdict
		if err := db.Finish(ctx, e, ledger.End{Current: true}); err != nil {
			t.Fatal(err)
		}
	}
	b.consistent()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	copied := t.TempDir()
	detected, harmless, violations := 0, 0, 0
	for range cases {
		flipped := append([]byte(nil), whole...)
		at := r.IntN(len(flipped))
		flipped[at] ^= 1 << r.IntN(8)
		for _, f := range []string{"ledger.db-wal", "ledger.db-shm"} {
			if err := os.Remove(filepath.Join(copied, f)); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(copied, "ledger.db"), flipped, 0o600); err != nil {
			t.Fatal(err)
		}
		switch wrong, named := readDamaged(copied, b.unit, truth); {
		case wrong:
			violations++
			t.Errorf("byte %d of %d (seed %d): infected is read as clean, or a clean one vanished unnamed", at, len(whole), seed)
		case named:
			detected++
		default:
			harmless++
		}
	}
	t.Logf("cases=%d violations=%d seed=%d detected=%d harmless=%d", cases, violations, seed, detected, harmless)
}

// readDamaged reads everything. wrong: something was read that is not so, without
// a word; named: an error or fsck said so.
func readDamaged(dir string, unit int64, truth map[string]scan.Verdict) (wrong, named bool) {
	db, err := store.OpenReadOnly(ctx, store.Options{Dir: dir})
	if err != nil {
		return false, true
	}
	defer db.Close()
	problems, err := db.Fsck(ctx, true)
	named = err != nil || len(problems) > 0
	seen := 0
	page, err := db.Entries(ctx, store.Filter{Limit: 1000})
	if err != nil {
		return false, true
	}
	for _, e := range page.Entries {
		if want, ok := truth[e.Key]; ok && e.Verdict == want {
			seen++
		} else if e.Verdict == scan.Clean {
			return true, named
		}
	}
	rows, err := db.Inventory(ctx, unit, "", 1000)
	if err != nil {
		return false, true
	}
	for _, r := range rows {
		if want, ok := truth[r.Key]; ok && r.Verdict == want {
			seen++
		} else if r.Verdict == scan.Clean {
			return true, named
		}
	}
	return seen != 2*len(truth) && !named, named
}
