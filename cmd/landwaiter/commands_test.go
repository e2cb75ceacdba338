package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/daemon"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

// fake is a backend that answers from its fields.
type fake struct {
	entries []ledger.Record
	asked   control.EntryQuery
	story   control.Story
	items   []control.Quarantined
	restore []control.RestoreRequest
	purged  []string
	replay  []string
	pools   []scan.PoolStatus
	tested  []control.Tested
	units   []control.Storage
	covered []control.Coverage
	feeds   []control.Feed
	letters []control.Message
	dropped []string
	members []control.Member
	changes []control.MemberChange
	err     error
	fail    map[string]error // by id
	closed  bool
}

func seq[T any](rows []T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
		if err != nil {
			var zero T
			yield(zero, err)
		}
	}
}

func (f *fake) Entries(_ context.Context, q control.EntryQuery) iter.Seq2[ledger.Record, error] {
	f.asked = q
	return seq(f.entries, f.err)
}
func (f *fake) Explain(_ context.Context, unit, key string) (control.Story, error) {
	f.story.Unit, f.story.Key = unit, key
	return f.story, f.err
}
func (f *fake) Quarantined(context.Context, string) iter.Seq2[control.Quarantined, error] {
	return seq(f.items, f.err)
}
func (f *fake) Restore(_ context.Context, r control.RestoreRequest) (control.Effect, error) {
	f.restore = append(f.restore, r)
	return control.Effect{ID: r.ID, State: "done", Key: "k"}, f.fail[r.ID]
}
func (f *fake) Members(context.Context) ([]control.Member, error) { return f.members, f.err }
func (f *fake) AddMember(_ context.Context, m control.MemberChange) (control.Effect, error) {
	f.changes = append(f.changes, m)
	return control.Effect{State: "done", Key: m.Login}, f.err
}
func (f *fake) RemoveMember(_ context.Context, login string) (control.Effect, error) {
	return control.Effect{State: "done", Key: login}, f.fail[login]
}
func (f *fake) SetMemberRole(ctx context.Context, m control.MemberChange) (control.Effect, error) {
	return f.AddMember(ctx, m)
}
func (f *fake) SetMemberPassword(ctx context.Context, m control.MemberChange) (control.Effect, error) {
	return f.AddMember(ctx, m)
}
func (f *fake) Purge(_ context.Context, id string, dry bool) (control.Effect, error) {
	f.purged = append(f.purged, fmt.Sprint(id, dry))
	return control.Effect{ID: id, State: "done"}, f.fail[id]
}
func (f *fake) Replay(_ context.Context, id string) (control.Effect, error) {
	f.replay = append(f.replay, id)
	return control.Effect{ID: id, State: "done"}, f.fail[id]
}
func (f *fake) Pools(context.Context) ([]scan.PoolStatus, error) { return f.pools, f.err }
func (f *fake) TestEngines(context.Context, string) iter.Seq2[control.Tested, error] {
	return seq(f.tested, f.err)
}
func (f *fake) Storages(context.Context) ([]control.Storage, error)  { return f.units, f.err }
func (f *fake) Coverage(context.Context) ([]control.Coverage, error) { return f.covered, f.err }
func (f *fake) Sources(context.Context) ([]control.Feed, error)      { return f.feeds, f.err }
func (f *fake) Messages(context.Context, string) iter.Seq2[control.Message, error] {
	return seq(f.letters, f.err)
}
func (f *fake) DropMessage(_ context.Context, id string) (control.Effect, error) {
	f.dropped = append(f.dropped, id)
	return control.Effect{ID: id, State: "done"}, f.fail[id]
}
func (f *fake) Close() error { f.closed = true; return nil }

// execute runs a command line against the program p.
func execute(p Program, args ...string) (code int, stdout, stderr string) {
	var out, talk bytes.Buffer
	code = run(context.Background(), args, &App{Stdout: &out, Stderr: &talk, Program: p})
	return code, out.String(), talk.String()
}

// with is a program whose backend is f.
func with(f *fake) Program {
	return Program{Dial: func(context.Context, config.Options) (backend, error) { return f, nil }}
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

var two = []ledger.Record{
	{Time: noon, ID: "id1", Unit: "in", Key: "a.txt", Size: 3, Verdict: "clean", State: "finished", Outcome: "done", Decision: "allowed"},
	{Time: noon, ID: "id2", Unit: "in", Key: `b\x1b[31m.exe`, Size: 68, Verdict: "infected", Threat: "=Eicar", State: "finished", Outcome: "done",
		Decision: "blocked", Actions: []ledger.ActionRecord{{Type: "quarantine", State: "done"}, {Type: "remove", State: "refused"}}},
}

func TestEntries(t *testing.T) {
	f := &fake{entries: two}
	code, out, _ := execute(with(f), "entries", "--unit", "in", "--verdict", "infected", "--since", "2026-01-31", "--limit", "7")
	if code != 0 || !f.closed {
		t.Errorf("code %d, closed %v", code, f.closed)
	}
	want := control.EntryQuery{Unit: "in", Verdict: "infected", Since: time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC), Limit: 7}
	if diff := cmp.Diff(want, f.asked); diff != "" {
		t.Error(diff)
	}
	wantOut := "TIME                  VERDICT   UNIT  KEY            SIZE  THREAT  DECISION  ACTIONS\n" +
		"2026-11-22T12:00:00Z  clean     in    a.txt          3     -       allowed   -\n" +
		"2026-11-22T12:00:00Z  infected  in    b\\x1b[31m.exe  68    =Eicar  blocked   quarantine done, remove refused\n"
	if diff := cmp.Diff(wantOut, out); diff != "" {
		t.Error(diff)
	}
	_, out, _ = execute(with(f), "entries", "-o", "csv")
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) != 3 || rows[2][6] != "'=Eicar" || rows[0][2] != "reason" {
		t.Errorf("csv: %v %v", rows, err)
	}
	_, out, _ = execute(with(f), "entries", "-o", "json")
	var back []ledger.Record
	if err := json.Unmarshal([]byte(out), &back); err != nil || len(back) != 2 || back[1].Threat != "=Eicar" {
		t.Errorf("json: %v\n%s", err, out)
	}
	if code, _, _ := execute(with(f), "entries", "--detailed-exitcode"); code != exitInfected {
		t.Errorf("detailed: %d", code)
	}
	if _, _, talk := execute(with(f), "entries", "--limit", "2"); !strings.Contains(talk, "Only the newest 2") {
		t.Errorf("talk: %q", talk)
	}
	f.err = fault.New(fault.Unavailable, "store.Entries", "", nil)
	if code, out, talk := execute(with(f), "entries"); code != exitUnreachable || !strings.Contains(out, "a.txt") || !strings.Contains(talk, "unavailable") {
		t.Errorf("failing: %d %q %q", code, out, talk)
	}
}

func TestExplain(t *testing.T) {
	f := &fake{story: control.Story{
		Known: &control.Known{Version: "v2", Verdict: "not_scanned", Reason: scan.Encrypted, Size: 9},
		Entries: []control.Chapter{{Record: two[1], Discovered: noon, Workflow: "w",
			Report: &scan.Report{Verdict: scan.Infected, Threat: "Eicar", Engine: "clamd", Definitions: "27000",
				Details: []scan.Detail{{Engine: "X", Verdict: scan.Clean}}, Members: []scan.Member{{Path: "a/b\x1b", Verdict: scan.Infected, Threat: "T"}}},
			Events: []ledger.Event{{Time: noon, Kind: "attempt", Detail: "1"}}}},
	}}
	code, out, _ := execute(with(f), "explain", "in", `dir/\x1b\\`)
	if code != 0 || f.story.Key != "dir/\x1b\\" {
		t.Fatalf("code %d, key %q", code, f.story.Key)
	}
	for _, want := range []string{"in the inventory: not_scanned(encrypted), version v2", "clamd said infected: Eicar, definitions 27000", `inside a/b\x1b: infected, T`,
		"step 2: remove", "2026-11-22T12:00:00Z  attempt  1", "decision blocked"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("control characters in %q", out)
	}
	f.err = fault.New(fault.NotFound, "store.Explain", "in:x", nil)
	if code, _, _ := execute(with(f), "explain", "in", "x"); code != exitNotFound {
		t.Errorf("code %d", code)
	}
}

func TestQuarantine(t *testing.T) {
	f := &fake{items: []control.Quarantined{{ID: "q1", Time: noon, Unit: "in", Key: "a", Size: 3, SHA256: "ab", Threat: "T"},
		{ID: "q2", Time: noon, Unit: "in", Key: "b", Expires: noon.AddDate(-10, 0, 0)}}, fail: map[string]error{"bad": fault.New(fault.Exists, "x", "", nil)}}
	if code, out, _ := execute(with(f), "quarantine", "list"); code != 0 || !strings.Contains(out, "q1") || !strings.Contains(out, "never") {
		t.Errorf("list: %d %s", code, out)
	}
	if code, _, _ := execute(with(f), "quarantine", "restore", "q1", "--to", "c", "--allow", "7d", "--dry-run"); code != 0 {
		t.Errorf("restore: %d", code)
	}
	if diff := cmp.Diff([]control.RestoreRequest{{ID: "q1", To: "c", Allow: 7 * 24 * time.Hour, DryRun: true}}, f.restore); diff != "" {
		t.Error(diff)
	}
	// One alone fails with its own code; among others it is a part.
	if code, _, _ := execute(with(f), "quarantine", "restore", "bad"); code != exitConflict {
		t.Errorf("bad: %d", code)
	}
	if code, out, talk := execute(with(f), "quarantine", "restore", "q1", "bad", "q2"); code != exitPartial || strings.Count(out, "done") != 2 || !strings.Contains(talk, "1 of 3") {
		t.Errorf("partial: %d\n%s%s", code, out, talk)
	}
	if code, _, _ := execute(with(f), "quarantine", "purge", "--expired"); code != 0 || fmt.Sprint(f.purged) != "[q2false]" {
		t.Errorf("purge: %d %v", code, f.purged)
	}
}

func TestDeadLetters(t *testing.T) {
	f := &fake{entries: []ledger.Record{{ID: "id9", Unit: "in", Key: "k", Attempts: 20, Error: "s3.Open: denied\x1b"}}, fail: map[string]error{"gone": fault.New(fault.NotFound, "x", "", nil)}}
	code, out, _ := execute(with(f), "dlq", "list", "--unit", "in")
	if code != 0 || f.asked.Outcome != ledger.OutcomeFailed || !strings.Contains(out, `denied\x1b`) {
		t.Errorf("list: %d %+v\n%s", code, f.asked, out)
	}
	if code, _, _ := execute(with(f), "dlq", "replay", "--all", "--unit", "in"); code != 0 || fmt.Sprint(f.replay) != "[id9]" || f.asked.Limit != 0 {
		t.Errorf("replay: %d %v", code, f.replay)
	}
	if code, _, _ := execute(with(f), "dlq", "replay", "gone"); code != exitNotFound {
		t.Errorf("gone: %d", code)
	}
}

func TestStorageAndEngines(t *testing.T) {
	f := &fake{
		units: []control.Storage{{Unit: "in", URL: "file:///in", State: "down", Detail: "no such folder", Sweep: 10 * time.Minute, Caps: []string{"watch", "put"}},
			{Unit: "acc.was", State: "gone", Gone: noon}},
		covered: []control.Coverage{{Unit: "in", Keys: 12, Counts: []control.Count{{Verdict: "clean", Keys: 10}, {Verdict: "not_scanned", Reason: "encrypted", Keys: 2}}, Within: true},
			{Unit: "acc.was", Gone: noon, Keys: 77}},
		pools: []scan.PoolStatus{{Name: "default", Instances: []scan.InstanceStatus{{Name: "c1", Ready: true, Stale: true, Limit: 64, Breaker: "closed",
			Proof: &scan.Proof{Results: []scan.Result{{Case: scan.CasePlain, Outcome: scan.Seen}, {Case: scan.CaseSize, Outcome: scan.Silent, Bound: 100}}}},
			{Name: "c2", Breaker: "open", Detail: "connection refused"}, {Name: "c3", Breaker: "open", Health: scan.Health{Ready: true}}}}},
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"storage", "list"}, 0, "no such folder"},
		{[]string{"storage", "coverage"}, 0, "clean 10, not_scanned(encrypted) 2"},
		{[]string{"storage", "coverage", "in", "-o", "yaml"}, 0, "keys: 12"},
		{[]string{"storage", "coverage", "nix"}, exitNotFound, ""},
		{[]string{"engine", "list"}, 0, "c1        stale"},
		{[]string{"engine", "list"}, 0, "c2        down"},
		{[]string{"engine", "list"}, 0, "c3        broken"},
		{[]string{"engine", "list", "-o", "json"}, 0, `"outcome": "silent"`},
		{[]string{"engine", "test"}, exitNotFound, ""},
	} {
		if code, out, _ := execute(with(f), c.args...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%v: code %d\n%s", c.args, code, out)
		}
	}
	// Who is gone is listed with since when, and left out where it is not wanted.
	for _, c := range []struct {
		args  []string
		shown bool
	}{
		{[]string{"storage", "list"}, true}, {[]string{"storage", "list", "--no-gone"}, false},
		{[]string{"storage", "coverage"}, false}, {[]string{"storage", "coverage", "--gone"}, true},
		{[]string{"storage", "coverage", "acc.was"}, true}, {[]string{"storage", "coverage", "in"}, false},
	} {
		code, out, _ := execute(with(f), c.args...)
		if code != 0 || strings.Contains(out, "acc.was") != c.shown || strings.Contains(out, stamp(noon)) != c.shown {
			t.Errorf("%v: code %d, want it shown: %v\n%s", c.args, code, c.shown, out)
		}
	}
	f.tested = []control.Tested{{Pool: "p", Instance: "a", Proof: f.pools[0].Instances[0].Proof, Note: "no date"}, {Pool: "p", Instance: "b", Error: "silent on plain"}}
	if code, out, _ := execute(with(f), "engine", "test"); code != exitPartial || !strings.Contains(out, "size silent from 100") || !strings.Contains(out, "no date") {
		t.Errorf("test: %d\n%s", code, out)
	}
}

func TestScanAndWatch(t *testing.T) {
	var asked ScanOptions
	var watched WatchOptions
	var failure error
	p := Program{
		Scan: func(ctx context.Context, o ScanOptions, each func(ledger.Record) error) error {
			asked = o
			for _, r := range two {
				if err := each(r); err != nil {
					return err
				}
			}
			return failure
		},
		Watch: func(ctx context.Context, o WatchOptions, each func(ledger.Record) error) error {
			watched = o
			return errors.Join(each(two[0]), each(two[1]), failure)
		},
	}
	code, out, talk := execute(p, "scan", "a", "b", "--engine", "clamd:///s", "-o", "json")
	if code != 0 || !json.Valid([]byte(out)) || talk != "1 clean, 1 infected, 0 not scanned\n" || asked.Engine != "clamd:///s" || len(asked.Targets) != 2 {
		t.Errorf("scan: %d %q %q", code, out, talk)
	}
	if code, _, _ := execute(p, "scan", "a", "--detailed-exitcode"); code != exitInfected {
		t.Errorf("detailed: %d", code)
	}
	_, out, _ = execute(p, "scan", "a", "-o", "sarif")
	var log sarifLog
	if err := json.Unmarshal([]byte(out), &log); err != nil || len(log.Runs) != 1 || len(log.Runs[0].Results) != 1 || log.Runs[0].Results[0].Level != "error" || !log.Runs[0].Invocations[0].Successful {
		t.Errorf("sarif: %v\n%s", err, out)
	}
	code, out, _ = execute(p, "watch", "/in", "--once", "--quarantine", "/q", "-o", "json")
	if code != 0 || strings.Count(out, "\n") != 2 || !watched.Once || watched.Quarantine != "/q" || watched.Data != "" {
		t.Errorf("watch: %d %+v\n%s", code, watched, out)
	}
	_, out, _ = execute(p, "watch", "/in")
	if want := "12:00:00 clean in:a.txt\n12:00:00 infected in:b\\x1b[31m.exe =Eicar, quarantine done, remove refused\n"; out != want {
		t.Errorf("watch: %q", out)
	}
	if _, out, _ = execute(p, "watch", "/in", "-o", "csv"); !strings.HasPrefix(out, "time,verdict,reason,") || strings.Count(out, "\n") != 3 {
		t.Errorf("watch csv: %q", out)
	}
	failure = fault.New(fault.NotFound, "file.Open", "/nowhere", nil)
	if code, out, talk := execute(p, "scan", "a"); code != exitNotFound || !strings.Contains(out, "a.txt") || !strings.Contains(talk, "/nowhere") {
		t.Errorf("failing scan: %d %q %q", code, out, talk)
	}
	if code, _, talk := execute(p, "scan", "a", "--detailed-exitcode"); code != exitInfected || !strings.Contains(talk, "/nowhere") {
		t.Errorf("failing detailed scan: %d %q", code, talk)
	}
}

func TestServeAndChecks(t *testing.T) {
	var served ServeOptions
	p := Program{
		Serve: func(_ context.Context, o ServeOptions) error { served = o; return nil },
		Doctor: func(context.Context, config.Options) checks {
			return seq([]control.Check{{Name: "clock", State: "ok"}, {Name: "disk", State: "fail", Fix: "make room"}}, nil)
		},
		Fsck: func(_ context.Context, _ config.Options, o daemon.FsckOptions) checks {
			return seq([]control.Check{{Name: fmt.Sprint("deep ", o.Deep, o.Repair), State: "ok"}}, nil)
		},
	}
	code, _, _ := execute(p, "serve", "--watch", "/a,b", "--watch", "/c", "--listen", "off", "--data", "/d", "--quarantine", "/q")
	if code != 0 || fmt.Sprint(served.Watch) != "[/a,b /c]" || served.Quarantine != "/q" {
		t.Errorf("serve: %d %+v", code, served)
	}
	cfg, err := config.Load(served.Config)
	if err != nil || cfg.Server.Listen != "off" || cfg.Data != "/d" {
		t.Errorf("serve: %v %+v", err, cfg)
	}
	if code, out, talk := execute(p, "doctor"); code != exitFailed || !strings.Contains(out, "make room") || !strings.Contains(talk, "1 checks failed") {
		t.Errorf("doctor: %d %s%s", code, out, talk)
	}
	if code, out, _ := execute(p, "fsck", "--deep", "5"); code != 0 || !strings.Contains(out, "deep 5") {
		t.Errorf("fsck: %d %s", code, out)
	}
}

func TestTimeout(t *testing.T) {
	p := Program{Dial: func(ctx context.Context, _ config.Options) (backend, error) {
		<-ctx.Done()
		return nil, fmt.Errorf("dial: %w", ctx.Err())
	}}
	if code, _, _ := execute(p, "entries", "--timeout", "10ms"); code != exitTimeout {
		t.Errorf("code %d", code)
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0}, {errors.New("x"), 1}, {usage(errors.New("x")), 2}, {config.Problems{{Message: "x"}}, 3},
		{fmt.Errorf("load: %w", config.Problems{{Message: "x"}}), 3},
		{fault.New(fault.Denied, "a", "", nil), 4}, {&fs.PathError{Op: "open", Err: syscall.EACCES}, 4},
		{fault.New(fault.NotFound, "a", "", nil), 5}, {&fs.PathError{Op: "open", Err: syscall.ENOENT}, 5},
		{fault.New(fault.Exists, "a", "", nil), 6}, {fault.New(fault.Changed, "a", "", nil), 6}, {fault.New(fault.Stale, "a", "", nil), 6},
		{partial(errors.New("x")), 7},
		{fault.New(fault.Unavailable, "a", "", nil), 8}, {fault.New(fault.Throttled, "a", "", nil), 8},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, 8},
		{context.DeadlineExceeded, 9}, {fault.New(fault.Unavailable, "a", "", context.DeadlineExceeded), 9},
		{fault.New(fault.Invalid, "a", "", nil), 2}, {fault.New(fault.Internal, "a", "", nil), 1}, {fault.New(fault.Corrupt, "a", "", nil), 1},
		{fault.New(fault.Unsupported, "a", "", nil), 1},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
	for k := fault.Other; k <= fault.Internal; k++ {
		if _, ok := kindCodes[k]; !ok {
			t.Errorf("kind %v has no exit code", k)
		}
	}
	for _, c := range []struct {
		verdicts string
		want     int
	}{{"clean", 0}, {"infected clean", 10}, {"suspicious", 10}, {"not_scanned", 11}, {"infected not_scanned", 10}} {
		var n tally
		for v := range strings.FieldsSeq(c.verdicts) {
			n.add(v)
		}
		if got := exitCode(n.exit(nil)); got != c.want {
			t.Errorf("%s: %d, want %d", c.verdicts, got, c.want)
		}
	}
}

func TestErrorsCannotSteerTheTerminal(t *testing.T) {
	p := Program{Dial: func(context.Context, config.Options) (backend, error) {
		return nil, errors.New("no \x1b[2Jsuch\r thing")
	}}
	if _, _, talk := execute(p, "entries"); strings.ContainsAny(talk, "\x1b\r") {
		t.Errorf("%q", talk)
	}
}

func TestColors(t *testing.T) {
	var out bytes.Buffer
	for _, c := range []struct {
		args  []string
		env   []string
		color bool
	}{{nil, nil, true}, {[]string{"--no-color"}, nil, false}, {nil, []string{"NO_COLOR=1"}, false}} {
		out.Reset()
		app := &App{Stdout: &out, Stderr: &bytes.Buffer{}, Env: c.env, Color: true, Program: with(&fake{entries: two})}
		run(context.Background(), append([]string{"entries"}, c.args...), app)
		if got := strings.Contains(out.String(), "\x1b["); got != c.color {
			t.Errorf("%v: colour %v", c, got)
		}
	}
}
