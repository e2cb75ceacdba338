package remediation_test

import (
	"context"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/workflow"
)

func inputFor(flow workflow.Workflow, d workflow.Decision) remediation.Input {
	all := remediation.Place{Caps: connectortest.AllCaps()}
	return remediation.Input{Entry: entryID, Unit: "a", Key: "in/x.doc", Version: "v1", Workflow: flow, Decision: d, Verdict: scan.Infected,
		Report: scan.Report{Verdict: scan.Infected}, Places: map[string]remediation.Place{"a": all, "b": all, "c": all, "q": all}, Quarantine: "q",
		At: time.Date(2026, 2, 3, 4, 5, 6, 0, time.FixedZone("x", 3600))}
}

// show writes a plan as "action unit:key state", a line a step.
func show(p remediation.Plan) (lines []string) {
	for _, s := range p {
		lines = append(lines, string(s.Action)+" "+s.Unit+":"+string(s.Key)+" "+string(s.State))
	}
	return lines
}

func move(d ...workflow.Destination) workflow.Remedy {
	return workflow.Remedy{Handling: workflow.Move, Destinations: d}
}

func TestNewPlan(t *testing.T) {
	out := workflow.Destination{Unit: "b", Folder: "/out/"}
	sanitized := func(in *remediation.Input) { in.Report.Sanitized = &scan.Sanitized{Name: "x_clean.pdf"} }
	noFence := func(in *remediation.Input) {
		caps := connectortest.AllCaps()
		caps.FencedRemove = false
		in.Places["a"] = remediation.Place{Caps: caps}
	}
	for _, tt := range []struct {
		name   string
		flow   workflow.Workflow
		d      workflow.Decision
		change func(*remediation.Input)
		want   []string
	}{
		{"report", workflow.Report(), workflow.Blocked, nil, nil},
		{"clean, blocked remedy", workflow.Workflow{Blocked: move(out)}, workflow.Allowed, nil, nil},
		{"held is only tagged", workflow.Workflow{Tagging: workflow.Tagging{Enabled: true}, Blocked: move(out), Allowed: move(out), Quarantine: workflow.Quarantine{Enabled: true}, Sanitized: move(out)},
			workflow.Held, sanitized, []string{"tag a:in/x.doc planned"}},
		{"move to two, prune", workflow.Workflow{Blocked: move(out, workflow.Destination{Unit: "c", Flat: true}), DeleteEmptyFolders: true}, workflow.Blocked, nil,
			[]string{"copy b:out/in/x.doc planned", "copy c:x.doc planned", "remove a:in/x.doc planned", "prune a:in/x.doc planned"}},
		{"allowed copy", workflow.Workflow{Allowed: workflow.Remedy{Handling: workflow.Copy, Destinations: []workflow.Destination{out}}}, workflow.Allowed, nil, []string{"copy b:out/in/x.doc planned"}},
		{"quarantine replaces blocked", workflow.Workflow{Blocked: move(out), Quarantine: workflow.Quarantine{Enabled: true}}, workflow.Blocked, nil,
			[]string{"quarantine q:" + entryID + ".lwq planned", "remove a:in/x.doc planned"}},
		{"quarantine leaves allowed alone", workflow.WithQuarantine(), workflow.Allowed, nil, nil},
		{"everything, in order", workflow.Workflow{Tagging: workflow.Tagging{Enabled: true}, Sanitized: move(out), Blocked: workflow.Remedy{Handling: workflow.Delete}}, workflow.Blocked, sanitized,
			[]string{"tag a:in/x.doc planned", "sanitized b:out/in/x_clean.pdf planned", "remove a:in/x.doc planned"}},
		{"sanitized moves the source away once", workflow.Workflow{Sanitized: move(out), Allowed: move(workflow.Destination{Unit: "c"})}, workflow.Allowed, sanitized,
			[]string{"sanitized b:out/in/x_clean.pdf planned", "copy c:in/x.doc planned", "remove a:in/x.doc planned"}},
		{"sanitized for what is blocked, its own way", workflow.Workflow{Sanitized: move(out), BlockedSanitized: move(workflow.Destination{Unit: "c"})}, workflow.Blocked, sanitized,
			[]string{"sanitized c:in/x_clean.pdf planned", "remove a:in/x.doc planned"}},
		{"sanitized for what is allowed alone", workflow.Workflow{Sanitized: move(out), BlockedSanitized: workflow.Remedy{Handling: workflow.Keep}}, workflow.Blocked, sanitized, nil},
		{"nothing sanitized, nothing removed", workflow.Workflow{Sanitized: move(out)}, workflow.Allowed, nil, nil},
		{"a hostile name for the sanitized copy", workflow.Workflow{Sanitized: move(out)}, workflow.Allowed, func(in *remediation.Input) {
			in.Report.Sanitized = &scan.Sanitized{Name: "..\\../../etc\x00/.."}
		}, []string{"sanitized b:out/in/x_sanitized.doc planned", "remove a:in/x.doc planned"}},
		{"no fence: the whole move is refused", workflow.Workflow{Tagging: workflow.Tagging{Enabled: true}, Blocked: move(out), DeleteEmptyFolders: true}, workflow.Blocked, noFence,
			[]string{"tag a:in/x.doc planned", "copy b:out/in/x.doc refused", "remove a:in/x.doc refused"}},
		{"no fence: quarantine is refused", workflow.WithQuarantine(), workflow.Blocked, noFence,
			[]string{"quarantine q:" + entryID + ".lwq refused", "remove a:in/x.doc refused"}},
		{"no fence: a copy is not", workflow.Workflow{Blocked: workflow.Remedy{Handling: workflow.Copy, Destinations: []workflow.Destination{out}}}, workflow.Blocked, noFence, []string{"copy b:out/in/x.doc planned"}},
		{"no fence but unfenced", workflow.Workflow{Blocked: move(out)}, workflow.Blocked, func(in *remediation.Input) {
			noFence(in)
			in.Places["a"] = remediation.Place{Caps: in.Places["a"].Caps, Unfenced: true}
		}, []string{"copy b:out/in/x.doc planned", "remove a:in/x.doc planned"}},
		{"one destination lacks: all refused", workflow.Workflow{Blocked: move(out, workflow.Destination{Unit: "gone"})}, workflow.Blocked, nil,
			[]string{"copy b:out/in/x.doc refused", "copy gone:in/x.doc refused", "remove a:in/x.doc refused"}},
		{"one copy lacks: the other goes on", workflow.Workflow{Blocked: workflow.Remedy{Handling: workflow.Copy, Destinations: []workflow.Destination{{Unit: "gone"}, out}}}, workflow.Blocked, nil,
			[]string{"copy gone:in/x.doc refused", "copy b:out/in/x.doc planned"}},
		{"no quarantine", workflow.WithQuarantine(), workflow.Blocked, func(in *remediation.Input) { in.Quarantine = "" },
			[]string{"quarantine :" + entryID + ".lwq refused", "remove a:in/x.doc refused"}},
		{"no tags", workflow.Workflow{Tagging: workflow.Tagging{Enabled: true}}, workflow.Allowed, func(in *remediation.Input) { in.Places["a"] = remediation.Place{} }, []string{"tag a:in/x.doc refused"}},
		{"dry run", workflow.Workflow{Blocked: move(out), DryRun: true}, workflow.Blocked, nil, []string{"copy b:out/in/x.doc skipped", "remove a:in/x.doc skipped"}},
		{"it lies there already", workflow.Workflow{Blocked: move(workflow.Destination{Unit: "a", Folder: "in"})}, workflow.Blocked, nil, []string{"copy a:in/in/x.doc skipped"}},
		{"onto itself", workflow.Workflow{Blocked: move(workflow.Destination{Unit: "a"})}, workflow.Blocked, nil, []string{"copy a:in/x.doc skipped"}},
		{"it lies there already, but delete counts", workflow.Workflow{Sanitized: move(workflow.Destination{Unit: "a", Folder: "in"}), Blocked: workflow.Remedy{Handling: workflow.Delete}}, workflow.Blocked, sanitized,
			[]string{"sanitized a:in/in/x_clean.pdf skipped", "remove a:in/x.doc planned"}},
		{"a key that would leave the folder", workflow.Workflow{Blocked: move(out)}, workflow.Blocked, func(in *remediation.Input) { in.Key = "/../.././x//y/" },
			[]string{"copy b:out/%2E%2E/%2E%2E/%2E/x/y planned", "remove a:/../.././x//y/ planned"}},
		{"a key without a name", workflow.Workflow{Blocked: move(workflow.Destination{Unit: "b", Folder: "f", Flat: true})}, workflow.Blocked, func(in *remediation.Input) { in.Key = "//" },
			[]string{"copy b:f/unnamed planned", "remove a:// planned"}},
		{"flat names meet", workflow.Workflow{Sanitized: move(workflow.Destination{Unit: "b", Flat: true}), Blocked: move(workflow.Destination{Unit: "b", Flat: true})}, workflow.Blocked, func(in *remediation.Input) {
			in.Report.Sanitized = &scan.Sanitized{Name: "x.doc"}
			in.There = map[remediation.Target]string{}
		}, []string{"sanitized b:x.doc planned", "copy b:x (1).doc planned", "remove a:in/x.doc planned"}},
		{"conflict: fail", workflow.Workflow{Blocked: workflow.Remedy{Handling: workflow.Move, Destinations: []workflow.Destination{out}, OnConflict: workflow.Fail}}, workflow.Blocked, func(in *remediation.Input) {
			in.There = map[remediation.Target]string{{Unit: "b", Key: "out/in/x.doc"}: "v9"}
		}, []string{"copy b:out/in/x.doc refused", "remove a:in/x.doc refused"}},
	} {
		in := inputFor(tt.flow, tt.d)
		if tt.change != nil {
			tt.change(&in)
		}
		plan, err := remediation.NewPlan(in)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if d := cmp.Diff(tt.want, show(plan)); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
		for _, s := range plan {
			if (s.State == remediation.Refused || s.State == remediation.Skipped) && s.Detail == "" {
				t.Errorf("%s: %s is %s without a reason", tt.name, s.Action, s.State)
			}
		}
		again, _ := remediation.NewPlan(in)
		if d := cmp.Diff(plan, again); d != "" {
			t.Errorf("%s: not deterministic: %s", tt.name, d)
		}
	}
	if _, err := remediation.NewPlan(remediation.Input{Unit: "nowhere"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("an unknown source: %v", err)
	}
}

func TestTags(t *testing.T) {
	in := inputFor(workflow.Workflow{Tagging: workflow.Tagging{Enabled: true}}, workflow.Blocked)
	in.Version = `"etag"|12|é`
	tags := func() map[string]string {
		plan, err := remediation.NewPlan(in)
		if err != nil {
			t.Fatal(err)
		}
		return plan[0].Tags
	}
	if d := cmp.Diff(map[string]string{"MetaDefenderResult": "Infected", "MetaDefenderFileId": entryID,
		"MetaDefenderAnalysisTimestamp": "2026-02-03T03:05:06Z", "MetaDefenderVersion": "_etag__12__"}, tags()); d != "" {
		t.Error(d)
	}
	in.Workflow.Tagging = workflow.Tagging{Enabled: true, ResultKey: "r", FileIDKey: "-", TimestampKey: "-", VersionKey: "v", Values: map[string]string{"infected": "bad"}}
	in.Version = strings.Repeat("x", 300)
	got := tags()
	if len(got) != 2 || got["r"] != "bad" || !strings.HasPrefix(got["v"], "sha256:") || len(got["v"]) > 256 {
		t.Errorf("got %v", got)
	}
	in.Workflow.Tagging.Values = nil
	for _, tt := range []struct {
		v    scan.Verdict
		rep  scan.Report
		want string
	}{
		{scan.Clean, scan.Report{Verdict: scan.Clean}, "No Threat Detected"},
		{scan.Suspicious, scan.Report{Verdict: scan.Suspicious, Code: 22}, "Potentially Unwanted"},
		{scan.Infected, scan.Report{Verdict: scan.Infected, Code: 0}, "Infected"}, // an engine without codes
		{scan.NotScanned, scan.Report{Verdict: scan.NotScanned, Reason: scan.Encrypted}, "Encrypted Archive"},
	} {
		in.Verdict, in.Report = tt.v, tt.rep
		if got := tags()["r"]; got != tt.want {
			t.Errorf("%v %v: got %q, want %q", tt.v, tt.rep, got, tt.want)
		}
	}
}

func TestKeysAndExpiry(t *testing.T) {
	in := inputFor(workflow.Workflow{Tagging: workflow.Tagging{Enabled: true}, Blocked: move(workflow.Destination{Unit: "b"})}, workflow.Blocked)
	plan, _ := remediation.NewPlan(in)
	if d := cmp.Diff([]remediation.Target{{Unit: "a", Key: "in/x.doc"}, {Unit: "b", Key: "in/x.doc"}}, plan.Keys()); d != "" {
		t.Error(d)
	}
	in.Workflow.Quarantine = workflow.Quarantine{Enabled: true, Expiry: time.Hour}
	plan, _ = remediation.NewPlan(in)
	if got, want := plan[1].Expiry, in.At.Add(time.Hour).Unix(); got != want {
		t.Errorf("expiry %d, want %d", got, want)
	}
	if d := cmp.Diff([]remediation.Target{{Unit: "a", Key: "in/x.doc"}}, plan.Keys()); d != "" {
		t.Error(d)
	}
	if in.Workflow.DryRun = true; true {
		plan, _ = remediation.NewPlan(in)
		if plan.Open() || plan.Keys() != nil || !strings.Contains(plan[2].Detail, "remove a:in/x.doc") {
			t.Errorf("dry run: %+v", plan)
		}
	}
}

func TestLookUp(t *testing.T) {
	there := map[string]object.Info{
		"b:in/x.doc":     {Version: "v1"},
		"b:in/x (1).doc": {Version: "v2", Meta: map[string]string{remediation.MetaEntry: "another"}},
		"c:in/x.doc":     {Version: "v3", Meta: map[string]string{remediation.MetaEntry: entryID}},
	}
	stat := func(_ context.Context, ref object.Ref) (object.Info, error) {
		if info, ok := there[ref.Unit+":"+ref.Key]; ok {
			return info, nil
		}
		return object.Info{}, fault.New(fault.NotFound, "test", ref.Key, nil)
	}
	in := inputFor(workflow.Workflow{Blocked: move(workflow.Destination{Unit: "b"}, workflow.Destination{Unit: "c"})}, workflow.Blocked)
	if err := in.LookUp(t.Context(), stat); err != nil {
		t.Fatal(err)
	}
	plan, _ := remediation.NewPlan(in)
	if d := cmp.Diff([]string{"copy b:in/x (2).doc planned", "copy c:in/x.doc planned", "remove a:in/x.doc planned"}, show(plan)); d != "" {
		t.Error(d)
	}
	in.Workflow.Blocked.OnConflict = workflow.Overwrite
	if err := in.LookUp(t.Context(), stat); err != nil {
		t.Fatal(err)
	}
	plan, _ = remediation.NewPlan(in)
	if plan[0].IfThere != "v1" || plan[1].IfThere != "" || !plan[0].Claimed {
		t.Errorf("overwrite: %+v", plan)
	}
	in.Workflow.Blocked.OnConflict = ""
	stat = func(context.Context, object.Ref) (object.Info, error) { return object.Info{Version: "v"}, nil }
	if err := in.LookUp(t.Context(), stat); err != nil {
		t.Fatal(err)
	}
	plan, _ = remediation.NewPlan(in)
	if plan[0].State != remediation.Refused || plan.Open() {
		t.Errorf("all names taken: %v", show(plan))
	}
}

func TestCandidate(t *testing.T) {
	long := strings.Repeat("é", 125) + ".txt" // 254 bytes
	for _, tt := range []struct {
		key  string
		n    int
		want string
	}{
		{"a/b.txt", 0, "a/b.txt"}, {"a/b.txt", 1, "a/b (1).txt"}, {"b", 12, "b (12)"}, {".profile", 1, ".profile (1)"}, {"a.d/b", 1, "a.d/b (1)"},
		{long, 1, strings.Repeat("é", 123) + " (1).txt"},
		{strings.Repeat("x", 255), 99, strings.Repeat("x", 250) + " (99)"},
		{strings.Repeat("x", 300), 1, strings.Repeat("x", 300) + " (1)"},
	} {
		got := remediation.Candidate(tt.key, tt.n)
		if got != tt.want || len(tt.key) <= 255 && len(got) > 255 || !utf8.ValidString(got) {
			t.Errorf("Candidate(%q, %d) = %q (%d bytes), want %q", tt.key, tt.n, got, len(got), tt.want)
		}
	}
}

func FuzzDestination(f *testing.F) {
	f.Add("../../x", "../y", true)
	f.Add("/", "", false)
	f.Add("a//b/./c/..", "n", false)
	f.Fuzz(func(t *testing.T, key, name string, flat bool) {
		in := inputFor(workflow.Workflow{Sanitized: move(workflow.Destination{Unit: "b", Folder: "jail", Flat: flat}), Blocked: move(workflow.Destination{Unit: "c", Folder: "jail", Flat: flat})}, workflow.Blocked)
		in.Key, in.Report.Sanitized = key, &scan.Sanitized{Name: name}
		plan, err := remediation.NewPlan(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range plan {
			if s.Action != remediation.Copy && s.Action != remediation.Sanitized {
				continue
			}
			elems := strings.Split(string(s.Key), "/")
			if len(elems) < 2 || elems[0] != "jail" || flat && len(elems) != 2 {
				t.Errorf("%q %q: %q leaves its folder", key, name, s.Key)
			}
			for _, e := range elems {
				if e == "" || e == "." || e == ".." {
					t.Errorf("%q %q: %q has the element %q", key, name, s.Key, e)
				}
			}
		}
	})
}

var _ remediation.Storage = (*connectors.Storage)(nil)
