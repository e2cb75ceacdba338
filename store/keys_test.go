package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/store"
)

// strangeKeys are what storages really hold, and what nobody would.
func strangeKeys() []string {
	long := strings.Repeat("d/", 600)
	keys := []string{"a", "A", "B", "b", "a b", "a-b", "a.txt", "a/x", "ä", "z", "Z", "_", "\x00", "\x00\x00", "a\x00b", "\xff", "\xff\xfe", "\xc3", "é", "e\u0301",
		"'; DROP TABLE entries; --", "$1", "?", ":id", `\x41`, `\\`, "{}", "\n", "%", strings.Repeat("x", 1023), strings.Repeat("x", 1024), strings.Repeat("x", 1025),
		strings.Repeat("x", 2000), strings.Repeat("x", 4000), strings.Repeat("\x00", 2000), strings.Repeat("\xff", 2000)}
	for i := range 10 { // long keys that begin alike
		keys = append(keys, long+fmt.Sprint(i), long[:1024]+fmt.Sprint(9-i))
	}
	return append(keys, long, long[:1024], long[:1023])
}

// Keys are bytes in byte order, whatever the database's encoding and collation.
func testKeys(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	keys := strangeKeys()
	want := slices.Clone(keys)
	slices.Sort(want)
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	var batch []ledger.Arrival
	for _, k := range keys {
		batch = append(batch, b.look(k, "v\xff\x00"+k))
	}
	b.wantTaken(ledger.Taken{Inserted: len(keys)}, batch...)
	b.wantTaken(ledger.Taken{Folded: len(keys)}, batch...)
	for left := len(keys); left > 0; {
		list := b.pick(20)
		if len(list) == 0 {
			t.Fatalf("%d entries left, none to pick up", left)
		}
		for i := range list {
			b.clean(&list[i], "v\xff\x00"+list[i].Key)
		}
		left -= len(list)
	}
	b.wantTaken(ledger.Taken{Dropped: len(keys)}, batch...)
	for _, n := range []int{1, 3, 7, 1000} {
		var got []string
		for after := ""; ; {
			page := must(b.db.Inventory(ctx, b.unit, after, n))(t)
			for _, r := range page {
				got = append(got, r.Key)
			}
			if len(page) < n {
				break
			}
			after = page[len(page)-1].Key
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("pages of %d: %s", n, diff)
		}
	}
	for _, k := range keys {
		if row, ok, err := b.db.Row(ctx, b.unit, k); err != nil || !ok || row.Key != k {
			t.Errorf("row of %q: %+v %v %v", k, row, ok, err)
		}
		if list := must(b.db.History(ctx, b.unit, k))(t); len(list) != 1 || list[0].Key != k {
			t.Errorf("history of %q: %+v", k, list)
		}
	}
	found := must(b.db.Entries(ctx, store.Filter{Search: "\x00\x00"}))(t)
	if len(found.Entries) != 2 {
		t.Errorf("found %d", len(found.Entries))
	}
	b.consistent()
}

func testPages(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	const n = 57
	var batch []ledger.Arrival
	for i := range n {
		batch = append(batch, b.look(fmt.Sprintf("k%03d", i), "v"))
	}
	b.intake(batch...)
	walk := func(f store.Filter) (keys []string) {
		for {
			p := must(b.db.Entries(ctx, f))(t)
			for _, e := range p.Entries {
				keys = append(keys, e.Key)
			}
			if p.Next == "" {
				return keys
			}
			f.After = p.Next
		}
	}
	if got := walk(store.Filter{Unfinished: true, Limit: 10}); len(got) != n || !slices.IsSorted(got) {
		t.Fatalf("unfinished: %v", got)
	}
	if got := walk(store.Filter{Unfinished: true, Limit: 10, Search: "05", Unit: b.unit}); len(got) != 8 {
		t.Fatalf("unfinished with 05: %v", got)
	}
	var order []string
	for len(order) < n {
		for _, e := range b.pick(10) {
			order = append(order, e.Key)
			b.clean(&e, "v")
		}
	}
	oldest := walk(store.Filter{Oldest: true, Limit: 7})
	newest := walk(store.Filter{Limit: 7, Unit: b.unit, Scan: b.scan.ID})
	slices.Reverse(newest)
	if diff := cmp.Diff(oldest, newest); diff != "" || len(oldest) != n {
		t.Fatalf("%d: %s", len(oldest), diff)
	}
	if _, err := b.db.Entries(ctx, store.Filter{After: "nonsense"}); err == nil {
		t.Error("a cursor that is none was taken")
	}
	if removed := must(b.db.Purge(ctx, b.scan.Started.AddDate(1, 0, 0), 50))(t); removed != 50 {
		t.Errorf("purged %d", removed)
	}
	b.consistent()
}
