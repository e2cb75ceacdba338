package store_test

import (
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/store"
)

// TestActingGoesFirst has an entry that acts back off while the same object is
// seen again: the new entry does not start before the old one has ended.
func TestActingGoesFirst(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { testActingGoesFirst(t, openAt(t, store.Options{Dir: t.TempDir()})) })
}

func testActingGoesFirst(t *testing.T, db *store.DB) {
	b := newBench(t, db)
	b.intake(b.look("k", "v1"))
	a := judge(b.pickOne(), "v1")
	a.Plan = remediation.Plan{{Action: remediation.Remove, Unit: "u", Key: []byte("k")}}
	if err := db.Begin(ctx, a); err != nil {
		t.Fatal(err)
	}
	if err := db.GiveBack(ctx, a, time.Now().Add(500*time.Millisecond), true); err != nil {
		t.Fatal(err)
	}
	b.intake(b.look("k", ""))
	var first []ledger.Entry
	wait(t, "pick-up", func() bool { first = b.pick(5); return len(first) > 0 })
	if len(first) != 1 || first[0].ID != a.ID {
		t.Fatalf("picked up %+v, want the entry that acts", first)
	}
	if n := len(b.pick(5)); n != 0 {
		t.Fatalf("picked up %d beside it", n)
	}
	if err := db.Finish(ctx, &first[0], ledger.End{Current: true}); err != nil {
		t.Fatal(err)
	}
	wait(t, "pick-up of the other", func() bool { return len(b.pick(5)) == 1 })
}
