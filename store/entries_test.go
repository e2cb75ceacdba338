package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/store"
	"github.com/landwaiter/landwaiter/workflow"
)

func testLine(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	for i := range 5 {
		b.wantTaken(ledger.Taken{Inserted: 1, Folded: 1}, b.look(fmt.Sprint("k", i), "v1"), b.look(fmt.Sprint("k", i), "v1"))
	}
	list := b.pick(10)
	if len(list) != 5 {
		t.Fatalf("picked %d", len(list))
	}
	for i := range list {
		if list[i].Attempts != 1 || list[i].Seq != 2 || list[i].UnitName != "u" || list[i].Scan != b.scan.ID || list[i].Workflow != b.scan.Workflow {
			t.Errorf("%+v", list[i])
		}
		b.clean(&list[i], "v1")
	}
	if n := len(b.pick(10)); n != 0 {
		t.Fatalf("picked %d more", n)
	}
	b.wantTaken(ledger.Taken{Dropped: 1}, b.look("k1", "v1"))
	b.wantTaken(ledger.Taken{Inserted: 1}, b.look("k1", "v2"))
	for _, unit := range []int64{b.unit, 0} {
		if n := must(b.db.Backlog(ctx, unit))(t); n != 1 {
			t.Errorf("backlog of %d is %d, want 1", unit, n)
		}
	}
	want := []store.Count{{Unit: b.unit, Verdict: scan.Clean, Objects: 5, Bytes: 25}}
	if diff := cmp.Diff(want, must(b.db.Counts(ctx, b.unit))(t)); diff != "" {
		t.Error(diff)
	}
	if err := b.db.DisableUnit(ctx, b.unit); err != nil {
		t.Fatal(err)
	}
	if n := must(b.db.Backlog(ctx, 0))(t); n != 0 {
		t.Errorf("%d entries of a disabled unit count for all", n)
	}
}

// What a worker says of an entry comes back as it was.
func testRoundTrip(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	key := "a/\x00\xff\\'\"é" + strings.Repeat("x", 2000)
	b.intake(b.look(key, ""))
	e := b.pickOne()
	if e.Key != key {
		t.Fatalf("got key %q", e.Key)
	}
	at := time.Date(2026, 3, 1, 12, 0, 0, 123000, time.UTC)
	e.Version, e.Size, e.ModTime, e.MD5, e.SHA1, e.SHA256 = "\xfev\x00", 7, at, make([]byte, 16), make([]byte, 20), make([]byte, 32)
	e.Verdict, e.Reason, e.Threat, e.Code, e.Engines, e.Engine = scan.Infected, "", "Eicar\x00\xff", 1, 3, "clamd@x"
	e.Decision, e.By, e.Outcome, e.Error, e.Finished = workflow.Blocked, "me", ledger.OutcomeDone, "e\x00", at
	e.Report = &scan.Report{Verdict: scan.Infected, Threat: "Eicar\x00\xff", Code: 1, Engines: 3, Engine: "clamd@x", Definitions: "27", DefinedAt: at,
		Details: []scan.Detail{{Engine: "a", Verdict: scan.Infected}}, Took: time.Second}
	e.Plan = remediation.Plan{{Action: remediation.Tag, Unit: "u", Key: []byte(key), State: remediation.Done, Tags: map[string]string{"a": "b"}}}
	e.Tell(at, "verdict", "infected")
	if err := b.db.Finish(ctx, e, ledger.End{Current: true}); err != nil {
		t.Fatal(err)
	}
	got := must(b.db.Entry(ctx, e.ID))(t)
	want := *e
	want.Epoch, want.Due, got.Due = 0, time.Time{}, time.Time{}
	// JSON has no bytes that are not UTF-8: a report's own threat may lose them, the column does not.
	want.Report.Threat, got.Report.Threat = "", ""
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if sum := must(b.db.EntryHash(ctx, e.ID))(t); len(sum) != 32 {
		t.Errorf("hash %x", sum)
	}
	row, ok, err := b.db.Row(ctx, b.unit, key)
	if err != nil || !ok || row.Key != key || row.Version != e.Version || row.Verdict != scan.Infected || row.Entry != e.ID || row.Size != 7 {
		t.Errorf("%+v %v %v", row, ok, err)
	}
	if _, err := b.db.Entry(ctx, ledger.NewID()); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v, want NotFound", err)
	}
}

func testFolding(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	b.intake(b.look("k", "v1"))
	high := b.look("k", "v1")
	high.Event.Priority = 5
	b.wantTaken(ledger.Taken{Folded: 1}, high)
	b.intake(b.look("j", "v1"))
	list := b.pick(2)
	if len(list) != 2 || list[0].Key != "k" || list[0].Priority != 5 || list[0].Seq != 2 {
		t.Fatalf("%+v", list)
	}
	e := &list[0]
	e.Error, e.Version = "no", "v1"
	due := time.Now().Add(time.Hour)
	if err := b.db.GiveBack(ctx, e, due, true); err != nil {
		t.Fatal(err)
	}
	// An event of the same version does not cut the back-off short; another version does.
	b.intake(b.look("k", "v1"), b.look("k", ""))
	if n := len(b.pick(5)); n != 0 {
		t.Fatalf("picked %d in its back-off", n)
	}
	b.intake(b.look("k", "v2"))
	again := b.pickOne()
	if again.ID != e.ID || again.Attempts != 1 || again.Version != "v2" || again.Error != "no" {
		t.Errorf("%+v", again)
	}
}

// A worker that failed sees at once what came in meanwhile; one that snoozed waits.
func testGiveBack(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	b.intake(b.look("k", "v1"))
	e := b.pickOne()
	b.intake(b.look("k", "v2"))
	later := time.Now().Add(time.Hour)
	if err := b.db.GiveBack(ctx, e, later, true); err != nil {
		t.Fatal(err)
	}
	e = b.pickOne()
	if e.Attempts != 2 || e.Seq != 2 {
		t.Fatalf("%+v", e)
	}
	e.Lane = ledger.Large
	if err := b.db.GiveBack(ctx, e, time.Now(), false); err != nil {
		t.Fatal(err)
	}
	if err := b.db.GiveBack(ctx, e, time.Now(), false); err != nil {
		t.Fatalf("a repeat: %v", err)
	}
	if n := len(b.pick(5)); n != 0 {
		t.Fatalf("picked %d from the wrong lane", n)
	}
	list := must(b.db.PickUp(ctx, b.unit, ledger.Large, 5))(t)
	if len(list) != 1 || list[0].Attempts != 2 {
		t.Fatalf("%+v", list)
	}
	if err := b.db.GiveBack(ctx, &list[0], later, false); err != nil {
		t.Fatal(err)
	}
	due := must(b.db.Due(ctx))(t)
	wait(t, "later due time", func() bool {
		must(b.db.PickUp(ctx, b.unit, ledger.Large, 5))(t)
		due = must(b.db.Due(ctx))(t)
		return due[b.unit][ledger.Large].After(time.Now().Add(50*time.Minute)) && due[b.unit][ledger.Small].IsZero()
	})
}

// Promise 3's ledger side: an event between recheck and Finish.
func testMoved(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	b.intake(b.look("k", "v1"))
	e := judge(b.pickOne(), "v1")
	b.intake(b.look("k", "v2"))
	err := b.db.Finish(ctx, e, ledger.End{Current: true})
	if !errors.Is(err, ledger.ErrMoved) || e.Seq != 2 {
		t.Fatalf("got %v, seq %d", err, e.Seq)
	}
	if _, ok, _ := b.db.Row(ctx, b.unit, "k"); ok {
		t.Fatal("the inventory has a row already")
	}
	// The stat shows another version: superseded, and the new one is pending, in one transaction.
	e.Outcome, e.Verdict, e.Reason = ledger.OutcomeSuperseded, scan.NotScanned, scan.Superseded
	next := &object.Event{Ref: object.Ref{Key: "k", Version: "v2"}, Size: 3, Cause: "supersede"}
	repeat := *e
	if err := b.db.Finish(ctx, e, ledger.End{Next: next}); err != nil {
		t.Fatal(err)
	}
	if err := b.db.Finish(ctx, &repeat, ledger.End{Next: next}); err != nil {
		t.Fatalf("a repeat: %v", err)
	}
	n := b.pickOne()
	if n.ID == e.ID || n.Version != "v2" || n.Attempts != 1 || n.Seq != 1 || n.Cause != "supersede" {
		t.Fatalf("%+v", n)
	}
	b.clean(n, "v2")
	list := must(b.db.History(ctx, b.unit, "k"))(t)
	if len(list) != 2 || list[0].Outcome != ledger.OutcomeSuperseded || list[1].Verdict != scan.Clean {
		t.Fatalf("%+v", list)
	}
	b.consistent()
}

// Only one entry of a key is in work, whichever scan it belongs to.
func testOneAtATime(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	other := must(b.db.StartScan(ctx, ledger.Scan{Unit: b.unit, Type: ledger.Instant, Workflow: b.scan.Workflow}))(t)
	second := b.look("k", "v1")
	second.Scan = other.ID
	b.intake(b.look("k", "v1"), second)
	for i := range 2 {
		e := b.pickOne()
		if n := len(b.pick(5)); n != 0 {
			t.Fatalf("picked %d of a key in work", n)
		}
		b.clean(e, "v1")
		due := must(b.db.Due(ctx))(t)
		if at := due[b.unit][ledger.Small]; i == 0 && (at.IsZero() || at.After(time.Now().Add(time.Second))) {
			t.Fatalf("the other entry is due at %v", at)
		}
	}
	if _, err := b.db.StartScan(ctx, ledger.Scan{Unit: b.unit, Type: ledger.Scheduled, Partition: "a/", Workflow: b.scan.Workflow}); !fault.Is(err, fault.Exists) {
		t.Errorf("overlapping scan: got %v, want Exists", err)
	}
	if err := b.db.EndScan(ctx, other.ID, store.ScanCompleted); err != nil {
		t.Fatal(err)
	}
	counts := must(b.db.ScanCounts(ctx, other.ID))(t)
	if len(counts) != 1 || counts[0].Entries != 1 || counts[0].Outcome != ledger.OutcomeDone {
		t.Errorf("%+v", counts)
	}
	b.consistent()
}

func testPlan(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	dest := must(b.db.EnsureUnit(ctx, connectors.Unit{Name: "dest", URL: "file:///dest"}))(t)
	scan2 := must(b.db.EnsureRealTimeScan(ctx, dest, "", b.scan.Workflow, time.Time{}))(t)
	onDest := ledger.Arrival{Scan: scan2.ID, Event: object.Event{Ref: object.Ref{Key: "out"}, Size: -1}}
	pickDest := func() []ledger.Entry { return must(b.db.PickUp(ctx, dest, ledger.Small, 5))(t) }

	b.intake(b.look("in", "v1"), b.look("in2", "v1"))
	must(b.db.Intake(ctx, dest, []ledger.Arrival{onDest}, nil))(t)
	early := pickDest()
	if len(early) != 1 {
		t.Fatalf("picked %d", len(early))
	}
	list := b.pick(5)
	plan := remediation.Plan{{Action: remediation.Copy, Unit: "dest", Key: []byte("out"), Aside: "tmp1"}, {Action: remediation.Remove, Unit: "u", Key: []byte("in"), Aside: ".landwaiter/x"}}
	a, c := judge(&list[0], "v1"), judge(&list[1], "v1")
	a.Plan, c.Plan = plan, plan
	if err := b.db.Begin(ctx, a); err != nil {
		t.Fatal(err)
	}
	repeat := *a
	repeat.State = ledger.Pending
	if err := b.db.Begin(ctx, &repeat); err != nil {
		t.Fatalf("a repeat: %v", err)
	}
	if err := b.db.Begin(ctx, c); !errors.Is(err, ledger.ErrHeld) {
		t.Fatalf("second plan on one destination: got %v, want ErrHeld", err)
	}
	// What began on the destination before the hold may not end; what comes after does not start.
	if err := b.db.Finish(ctx, judge(&early[0], "d0"), ledger.End{Current: true}); !errors.Is(err, ledger.ErrHeld) {
		t.Fatalf("got %v, want ErrHeld", err)
	}
	if err := b.db.GiveBack(ctx, &early[0], time.Now(), false); err != nil {
		t.Fatal(err)
	}
	if n := len(pickDest()); n != 0 {
		t.Fatal("a held key was started")
	}
	for unit, want := range map[int64]string{b.unit: ".landwaiter/x", dest: "tmp1"} {
		if got := must(b.db.Held(ctx, unit))(t); len(got) != 1 || !got[want] {
			t.Errorf("held %v, want %s", got, want)
		}
	}
	// The copy is our own write: its event is no work.
	a.Plan[0].State, a.Plan[0].Version = remediation.Done, "d1"
	if err := b.db.Step(ctx, a, []ledger.Own{{Unit: dest, Key: "out", Version: "d1", Size: 5}}, true); err != nil {
		t.Fatal(err)
	}
	own := onDest
	own.Event.Version = "d1"
	if got := must(b.db.Intake(ctx, dest, []ledger.Arrival{own}, nil))(t); got != (ledger.Taken{Dropped: 1}) {
		t.Fatalf("%+v", got)
	}
	row, _, _ := b.db.Row(ctx, dest, "out")
	if row.Version != "d1" || row.Verdict != scan.Clean || row.Entry != a.ID {
		t.Errorf("%+v", row)
	}
	var freed []ledger.Entry
	wait(t, "pick-up of the freed key", func() bool { freed = pickDest(); return len(freed) > 0 })
	// A false alarm leaves no trace.
	if err := b.db.Finish(ctx, &freed[0], ledger.End{Known: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.db.Entry(ctx, freed[0].ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v, want NotFound", err)
	}
	a.Plan[1].State = remediation.Done
	if err := b.db.Step(ctx, a, []ledger.Own{{Unit: b.unit, Key: "in", Gone: true}}, false); err != nil {
		t.Fatal(err)
	}
	// The source changed while acting: done steps stay, the new version is pending.
	b.intake(b.look("in", "v2"))
	if err := b.db.Finish(ctx, a, ledger.End{Gone: true, Next: &object.Event{Ref: object.Ref{Key: "in", Version: "v2"}}}); err != nil {
		t.Fatal(err)
	}
	if got := must(b.db.Held(ctx, b.unit))(t); len(got) != 0 {
		t.Errorf("held %v", got)
	}
	if err := b.db.Begin(ctx, c); err != nil {
		t.Fatalf("after the hold: %v", err)
	}
	if err := b.db.Finish(ctx, c, ledger.End{Current: true}); err != nil {
		t.Fatal(err)
	}
	n := b.pickOne()
	if n.Key != "in" || n.Version != "v2" || n.Seq != 2 {
		t.Errorf("%+v", n)
	}
	b.consistent()
}

func testCancel(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	b.intake(b.look("k", "v1"), b.look("l", "v1"))
	list := b.pick(1)
	if n := must(b.db.Cancel(ctx, b.scan.ID))(t); n != 2 {
		t.Fatalf("asked %d", n)
	}
	e := judge(&list[0], "v1")
	e.Plan = remediation.Plan{{Action: remediation.Tag, Unit: "u", Key: []byte("k")}}
	if err := b.db.Begin(ctx, e); !errors.Is(err, ledger.ErrCanceled) {
		t.Fatalf("got %v, want ErrCanceled", err)
	}
	e.Outcome = ledger.OutcomeCanceled
	if err := b.db.Finish(ctx, e, ledger.End{Current: true}); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := b.db.Row(ctx, b.unit, e.Key); ok {
		t.Error("a canceled entry wrote an inventory row")
	}
	if other := b.pickOne(); !other.Cancel {
		t.Error("the flag is not seen at pick-up")
	}
}

func testDelete(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	del := func(key, version string) ledger.Arrival {
		a := b.look(key, version)
		a.Event.Op = object.Delete
		return a
	}
	b.intake(b.look("waits", "v1"), b.look("works", "v1"))
	b.intake(del("waits", ""))
	e := b.pickOne()
	if e.Key != "works" {
		t.Fatalf("picked %q", e.Key)
	}
	b.intake(del("works", ""))
	if err := b.db.Finish(ctx, judge(e, "v1"), ledger.End{Current: true}); !errors.Is(err, ledger.ErrMoved) {
		t.Fatalf("got %v, want ErrMoved", err)
	}
	b.clean(e, "v1")
	list := must(b.db.History(ctx, b.unit, "waits"))(t)
	if len(list) != 1 || list[0].Outcome != ledger.OutcomeGone {
		t.Fatalf("%+v", list)
	}
	// A late delete of an older version hides nothing: it is a reason to look.
	b.wantTaken(ledger.Taken{Inserted: 1}, del("works", "v0"))
	if row, ok, _ := b.db.Row(ctx, b.unit, "works"); !ok || row.Version != "v1" {
		t.Fatalf("%+v %v", row, ok)
	}
	b.intake(del("works", "v1"))
	if _, ok, _ := b.db.Row(ctx, b.unit, "works"); ok {
		t.Fatal("the row is still there")
	}
	// The order within a batch counts.
	b.intake(b.look("x", "v1"), del("x", ""), b.look("x", "v2"))
	n := b.pickOne()
	if n.Key != "x" || n.Version != "v2" || n.Seq != 1 {
		t.Fatalf("%+v", n)
	}
	b.consistent()
}

func testBaseline(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	old := b.look("old", "v1")
	old.Event.Baseline, old.Event.Size = true, 10
	b.wantTaken(ledger.Taken{Inserted: 1}, old)
	b.wantTaken(ledger.Taken{Dropped: 1}, b.look("old", "v1"))
	if n := len(b.pick(5)); n != 0 {
		t.Fatalf("picked %d", n)
	}
	if c := must(b.db.Coverage(ctx, b.unit))(t); c != (store.Coverage{Objects: 1, Baseline: 1}) {
		t.Errorf("%+v", c)
	}
	b.intake(b.look("old", "v2"))
	b.clean(b.pickOne(), "v2")
	if c := must(b.db.Coverage(ctx, b.unit))(t); c != (store.Coverage{Objects: 1, Scanned: 1}) {
		t.Errorf("%+v", c)
	}
	b.wantTaken(ledger.Taken{Dropped: 1}, old)
	if row, _, _ := b.db.Row(ctx, b.unit, "old"); row.Baseline || row.Version != "v2" {
		t.Errorf("%+v", row)
	}
	b.consistent()
}

func testRescan(t *testing.T, open func(testing.TB) *store.DB) {
	b := newBench(t, open(t))
	b.intake(b.look("k", "v1"))
	first := b.pickOne()
	first.Story = nil
	b.clean(first, "v1")
	force := b.look("k", "v1")
	force.Event.Force, force.Event.Cause = true, "rescan"
	b.wantTaken(ledger.Taken{Inserted: 1}, force)
	b.wantTaken(ledger.Taken{Folded: 1}, force)
	e := b.pickOne()
	if e.ID != first.ID || !e.Force || e.Attempts != 1 || len(e.Story) != 2 || e.Story[0].Detail != "done clean allowed" || e.Verdict != scan.None || e.Report != nil {
		t.Fatalf("%+v", e)
	}
	// Another version is another entry.
	b.clean(e, "v1")
	force.Event.Version = "v2"
	b.intake(force)
	n := b.pickOne()
	if n.ID == first.ID || n.Version != "v2" {
		t.Fatalf("%+v", n)
	}
	n.Outcome, n.Verdict, n.Reason, n.Error = ledger.OutcomeFailed, scan.NotScanned, scan.EngineUnavailable, "no engine"
	if err := b.db.Finish(ctx, n, ledger.End{}); err != nil {
		t.Fatal(err)
	}
	dead := must(b.db.Entries(ctx, store.Filter{Failed: true}))(t)
	if len(dead.Entries) != 1 || dead.Entries[0].ID != n.ID || dead.Entries[0].Error != "no engine" {
		t.Fatalf("%+v", dead)
	}
	if got := must(b.db.Replay(ctx, "ann", n.ID, ledger.NewID()))(t); got != 1 {
		t.Fatalf("replayed %d", got)
	}
	if got := must(b.db.Replay(ctx, "ann", n.ID))(t); got != 0 {
		t.Fatalf("replayed %d twice", got)
	}
	again := b.pickOne()
	if again.ID != n.ID || again.Attempts != 1 || again.Cause != "replay ann" || again.Error != "" {
		t.Fatalf("%+v", again)
	}
	b.clean(again, "v2")
	b.consistent()
}

func testVersions(t *testing.T, open func(testing.TB) *store.DB) {
	db := open(t)
	b := &bench{t: t, db: db}
	b.unit = must(db.EnsureUnit(ctx, connectors.Unit{Name: "u", URL: "s3://b", Versions: "all"}))(t)
	b.scan = must(db.EnsureRealTimeScan(ctx, b.unit, "", b.workflow(), time.Time{}))(t)
	b.wantTaken(ledger.Taken{Inserted: 3, Folded: 1}, b.look("k", "v1"), b.look("k", "v2"), b.look("k", strings.Repeat("v", 300)), b.look("k", "v1"))
	seen := map[string]bool{}
	for range 3 {
		e := b.pickOne() // one of the key at a time
		seen[e.Version] = true
		b.clean(e, e.Version)
	}
	if len(seen) != 3 {
		t.Errorf("saw %v", seen)
	}
	b.consistent()
}
