package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/store"
)

func testUnits(t *testing.T, open func(testing.TB) *store.DB) {
	db := open(t)
	u := connectors.Unit{Name: "näme\x00", URL: "s3://b/p", Workflow: "w", Partitions: []string{"a/"}, SweepEvery: time.Minute, Options: map[string]string{"secret": "s"}, Versions: "all"}
	id := must(db.EnsureUnit(ctx, u))(t)
	if again := must(db.EnsureUnit(ctx, u))(t); again != id {
		t.Errorf("got number %d, want %d", again, id)
	}
	got := must(db.Unit(ctx, u.Name))(t)
	if got.Client == (ledger.ID{}) {
		t.Error("the unit was given no id")
	}
	u.ID, u.Client, u.Tenant, u.Options = id, got.Client, 1, nil // options, secrets among them, stay where they came from
	if diff := cmp.Diff(u, got); diff != "" {
		t.Error(diff)
	}
	renamed := u
	renamed.Name = "another name"
	if again := must(db.EnsureUnit(ctx, renamed))(t); again != id {
		t.Errorf("renamed: got number %d, want %d", again, id)
	}
	must(db.EnsureUnit(ctx, u))(t)
	u.Managed = true
	must(db.EnsureUnit(ctx, u))(t)
	if got := must(db.Units(ctx))(t); len(got) != 1 || got[0].Options != nil || !got[0].Managed {
		t.Errorf("%+v", got)
	}
	if err := db.DisableUnit(ctx, id); err != nil {
		t.Fatal(err)
	}
	if got := must(db.Unit(ctx, u.Name))(t); !got.Disabled {
		t.Error("not disabled")
	}
	if gone := must(db.Gone(ctx))(t); len(gone) != 1 || gone[id].IsZero() {
		t.Errorf("gone: %v", gone)
	}
	for _, err := range []error{db.DisableUnit(ctx, 999), second(db.Unit(ctx, "none")), second(db.Intake(ctx, 999, nil, nil)), second(db.Workflow(ctx, ledger.Hash{1})),
		second(db.EnsureRealTimeScan(ctx, id, "", ledger.Hash{1}, time.Time{}))} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("got %v, want NotFound", err)
		}
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := db.SetUnitState(ctx, id, store.UnitState{LastEvent: at, Probe: []byte(`{"a":1}`), Probed: at}); err != nil {
		t.Fatal(err)
	}
	if err := db.SetUnitState(ctx, id, store.UnitState{SweepStart: at, Covered: at, Listed: 7, Gaps: 1, Error: "gone", ErrorAt: at}); err != nil {
		t.Fatal(err)
	}
	want := store.UnitState{LastEvent: at, SweepStart: at, Covered: at, Listed: 7, Gaps: 1, Probe: []byte(`{"a":1}`), Probed: at, Error: "gone", ErrorAt: at}
	if diff := cmp.Diff(want, must(db.UnitState(ctx, id))(t)); diff != "" {
		t.Error(diff)
	}
	for _, next := range []string{"1", "2\x00\xff", ""} {
		if err := db.SetCursor(ctx, ledger.Cursor{Unit: id, Source: "sweep", Next: next}); err != nil {
			t.Fatal(err)
		}
		if got := must(db.Cursor(ctx, id, "sweep"))(t); got != next {
			t.Errorf("got %q, want %q", got, next)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func testScans(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	same := must(b.db.EnsureRealTimeScan(ctx, b.unit, "", b.scan.Workflow, time.Time{}))(t)
	if same.ID != b.scan.ID {
		t.Error("a second RealTime scan of one partition")
	}
	w2 := must(b.db.SaveWorkflow(ctx, []byte(`{"name":"x"}`)))(t)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	changed := must(b.db.EnsureRealTimeScan(ctx, b.unit, "", w2, start))(t)
	if changed.ID != b.scan.ID || changed.Workflow != w2 || !changed.StartDate.Equal(start) {
		t.Errorf("%+v", changed)
	}
	if got := string(must(b.db.Workflow(ctx, w2))(t)); got != `{"name":"x"}` {
		t.Errorf("got %s", got)
	}
	b.intake(b.look("k", ""))
	if e := b.pickOne(); e.Workflow != w2 {
		t.Errorf("the entry has workflow %s", e.Workflow)
	}
	must(b.db.EnsureRealTimeScan(ctx, b.unit, "sub/", w2, start))(t)
	if list := must(b.db.Scans(ctx, b.unit))(t); len(list) != 2 || list[1].Partition != "sub/" {
		t.Errorf("%+v", list)
	}
}

func testQuarantine(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	item := store.QuarantineItem{Tenant: 1, Unit: b.unit, Key: "a\xff", Version: "v", SHA256: make([]byte, 32), Size: 3, Entry: ledger.NewID(), Place: b.unit, Object: "q/1",
		Reason: "blocked", Threat: "Eicar", At: at, Expires: at.Add(time.Hour), State: store.QuarantineHeld}
	item.ID = must(b.db.QuarantinePut(ctx, item))(t)
	other := item
	other.ID = ledger.ID{}
	if again := must(b.db.QuarantinePut(ctx, other))(t); again != item.ID {
		t.Error("a repeated put made another item")
	}
	if diff := cmp.Diff(item, must(b.db.QuarantineGet(ctx, item.ID))(t)); diff != "" {
		t.Error(diff)
	}
	for want, f := range map[int][]store.QuarantineFilter{1: {{}, {Unit: b.unit, State: store.QuarantineHeld}, {Expired: at.Add(2 * time.Hour)}}, 0: {{Expired: at}, {State: store.QuarantinePurged}, {After: item.ID}}} {
		for _, f := range f {
			if got := must(b.db.QuarantineList(ctx, f))(t); len(got) != want {
				t.Errorf("%+v: got %d items, want %d", f, len(got), want)
			}
		}
	}
	if err := b.db.QuarantineSet(ctx, item.ID, store.QuarantineRestored, "ann"); err != nil {
		t.Fatal(err)
	}
	if err := b.db.QuarantineSet(ctx, item.ID, store.QuarantinePurged, "bob"); !fault.Is(err, fault.Changed) {
		t.Errorf("got %v, want Changed", err)
	}
	if got := must(b.db.QuarantineGet(ctx, item.ID))(t); got.State != store.QuarantineRestored || got.By != "ann" || got.Changed.IsZero() {
		t.Errorf("%+v", got)
	}
	for _, err := range []error{b.db.QuarantineSet(ctx, ledger.NewID(), store.QuarantinePurged, ""), second(b.db.QuarantineGet(ctx, ledger.NewID()))} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("got %v, want NotFound", err)
		}
	}
	sum := make([]byte, 32)
	if err := b.db.Allow(ctx, store.AllowanceRow{Unit: b.unit, SHA256: sum, By: "ann", Until: at}); err != nil {
		t.Fatal(err)
	}
	if by, ok, err := b.db.Allowance(ctx, b.unit, sum, at.Add(-time.Second)); err != nil || !ok || by != "allow-list: ann until 2026-01-02T03:04:05Z" {
		t.Errorf("%q %v %v", by, ok, err)
	}
	if _, ok, _ := b.db.Allowance(ctx, b.unit, sum, at); ok {
		t.Error("allowed after its end")
	}
	if list := must(b.db.Allowances(ctx, b.unit))(t); len(list) != 1 {
		t.Errorf("%+v", list)
	}
	if err := b.db.Disallow(ctx, b.unit, sum); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := b.db.Allowance(ctx, b.unit, sum, at.Add(-time.Second)); ok {
		t.Error("allowed after it was taken back")
	}
}

func testLetters(t *testing.T, open func(testing.TB) *store.DB) {
	db := open(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, l := range []ledger.Letter{
		{Source: "queue", Message: "m1", Body: []byte("{\xff"), Why: "not JSON", Tries: 1, At: at},
		{Source: "queue", Message: "m1", Body: []byte("again"), Why: "not JSON, still", Tries: 2, At: at.Add(time.Second)},
		{Source: "hook", Body: make([]byte, 100<<10), Why: "too deep"},
		{Source: "hook", Why: "the same, without an id"},
	} {
		if err := db.Bury(ctx, l); err != nil {
			t.Fatal(i, err)
		}
	}
	all := must(db.Letters(ctx, "", ledger.ID{}, 10))(t)
	if len(all) != 3 {
		t.Fatalf("%d letters, want 3", len(all))
	}
	want := ledger.Letter{ID: all[2].ID, Source: "queue", Message: "m1", Body: []byte("{\xff"), Why: "not JSON, still", Tries: 2, At: at.Add(time.Second)}
	if diff := cmp.Diff(want, all[2]); diff != "" {
		t.Error(diff)
	}
	if n := len(all[1].Body); n != 64<<10 || all[1].Message != "" || all[1].At.IsZero() {
		t.Errorf("%d bytes, message %q, at %v", n, all[1].Message, all[1].At)
	}
	if l := must(db.Letters(ctx, "hook", all[0].ID, 10))(t); len(l) != 1 || l[0].ID != all[1].ID {
		t.Errorf("the page after the first: %+v", l)
	}
	if err := db.DropLetter(ctx, all[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := db.DropLetter(ctx, all[0].ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v, want NotFound", err)
	}
}

func testOperatorsNouns(t *testing.T, open func(testing.TB) *store.DB) {
	db := open(t)
	n := must(db.AddNoun(ctx, ledger.Noun{Kind: ledger.Group, Name: "Fin\x00ance", Body: []byte(`{"a":1}`)}))(t)
	if n.Tenant != 1 || n.Rev != 1 || n.Created.IsZero() {
		t.Errorf("%+v", n)
	}
	other := must(db.AddNoun(ctx, ledger.Noun{Tenant: 2, Kind: ledger.Group, Name: n.Name, Parent: n.ID, Body: []byte(`{}`)}))(t)
	must(db.AddNoun(ctx, ledger.Noun{Kind: ledger.Pool, Name: n.Name, Body: []byte(`{}`)}))(t)
	if diff := cmp.Diff(n, must(db.Noun(ctx, 1, ledger.Group, n.ID))(t)); diff != "" {
		t.Error(diff)
	}
	if got := must(db.NounNamed(ctx, 2, ledger.Group, n.Name))(t); got.ID != other.ID || got.Parent != n.ID {
		t.Errorf("%+v", got)
	}
	for tenant, want := range map[int64]int{0: 2, 1: 1, 2: 1, 3: 0} {
		if got := must(db.Nouns(ctx, tenant, ledger.Group))(t); len(got) != want {
			t.Errorf("tenant %d: %d nouns, want %d", tenant, len(got), want)
		}
	}
	stale := n
	n.Name, n.Disabled, n.Body = "Legal", true, []byte(`{"a":2}`)
	n = must(db.SetNoun(ctx, n))(t)
	if diff := cmp.Diff(n, must(db.Noun(ctx, 0, ledger.Group, n.ID))(t)); diff != "" || n.Rev != 2 {
		t.Error(n.Rev, diff)
	}
	twin := must(db.AddNoun(ctx, ledger.Noun{Kind: ledger.Group, Name: "Sales", Body: []byte(`{}`)}))(t)
	twin.Name = "Legal"
	foreign := n
	foreign.Tenant = 2
	gone := ledger.NewID()
	for want, errs := range map[fault.Kind][]error{
		fault.Exists:  {second(db.AddNoun(ctx, ledger.Noun{Kind: ledger.Group, Name: "Legal", Body: []byte(`{}`)})), second(db.SetNoun(ctx, twin))},
		fault.Changed: {second(db.SetNoun(ctx, stale))},
		fault.NotFound: {second(db.SetNoun(ctx, foreign)), second(db.Noun(ctx, 2, ledger.Group, n.ID)), second(db.Noun(ctx, 1, ledger.Pool, n.ID)), second(db.Noun(ctx, 1, ledger.Group, gone)),
			second(db.NounNamed(ctx, 1, ledger.Group, "none")), db.DeleteNoun(ctx, 2, ledger.Group, n.ID), db.DeleteNoun(ctx, 1, ledger.Group, gone)},
	} {
		for i, err := range errs {
			if !fault.Is(err, want) {
				t.Errorf("%v %d: got %v", want, i, err)
			}
		}
	}
	if err := db.DeleteNoun(ctx, 1, ledger.Group, n.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Noun(ctx, 1, ledger.Group, n.ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v, want NotFound", err)
	}
}
