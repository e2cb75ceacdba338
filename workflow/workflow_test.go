package workflow

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

func TestDefaultsAreValid(t *testing.T) {
	for _, w := range []Workflow{Report(), WithQuarantine()} {
		if err := w.Validate(); err != nil {
			t.Errorf("%s: %v", w.Name, err)
		}
	}
}

func TestValidateNamesTheField(t *testing.T) {
	dest := func(n int) (d []Destination) {
		for range n {
			d = append(d, Destination{Unit: "u", Folder: strings.Repeat("x", len(d)+1)})
		}
		return d
	}
	day := func(d int) time.Time { return time.Date(2026, 1, d, 0, 0, 0, 0, time.UTC) }
	for _, tt := range []struct {
		field string
		w     Workflow
	}{
		{"name:", Workflow{Name: "-"[:0]}},
		{"pools[1]:", Workflow{Pools: []string{"a", "a"}}},
		{"filters.min_size:", Workflow{Filters: Filters{MinSize: 2, MaxSize: 1}}},
		{"filters.max_size:", Workflow{Filters: Filters{MaxSize: -1}}},
		{"filters.after:", Workflow{Filters: Filters{After: day(2), Before: day(1)}}},
		{"filters.before:", Workflow{Filters: Filters{Before: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}}},
		{"filters.include[0]:", Workflow{Filters: Filters{Include: []string{"a["}}}},
		{"filters.exclude[1]:", Workflow{Filters: Filters{Exclude: []string{"a", "b**/c"}}}},
		{"filters.exclude[0]:", Workflow{Filters: Filters{Exclude: []string{""}}}},
		{"not_scanned.*:", Workflow{NotScanned: map[scan.Reason]Decision{"*": Allowed}}},
		{"not_scanned.:", Workflow{NotScanned: map[scan.Reason]Decision{"": Allowed}}},
		{"not_scanned.timeout:", Workflow{NotScanned: map[scan.Reason]Decision{scan.Timeout: "ok"}}},
		{"file_definition.sensitive:", Workflow{Definition: FileDefinition{Sensitive: true}}},
		{"tagging:", Workflow{Tagging: Tagging{Enabled: true, ResultKey: Off, FileIDKey: Off, TimestampKey: Off, VersionKey: Off}}},
		{"tagging.file_id_key:", Workflow{Tagging: Tagging{ResultKey: "A", FileIDKey: "A"}}},
		{"tagging.result_key:", Workflow{Tagging: Tagging{ResultKey: "a\nb"}}},
		{"tagging.values.dirty:", Workflow{Tagging: Tagging{Values: map[string]string{"dirty": "x"}}}},
		{"tagging.values.clean:", Workflow{Tagging: Tagging{Values: map[string]string{"clean": "<b>"}}}},
		{"sanitized.handling:", Workflow{Sanitized: Remedy{Handling: Delete}}},
		{"sanitized.handling:", Workflow{Sanitized: Remedy{Handling: Copy, Destinations: dest(1)}}},
		{"blocked.handling:", Workflow{Blocked: Remedy{Handling: "burn"}}},
		{"blocked.destinations:", Workflow{Blocked: Remedy{Handling: Move}}},
		{"allowed.destinations:", Workflow{Allowed: Remedy{Handling: Copy, Destinations: dest(6)}}},
		{"allowed.destinations:", Workflow{Allowed: Remedy{Destinations: dest(1)}}},
		{"allowed.destinations[0].unit:", Workflow{Allowed: Remedy{Handling: Copy, Destinations: []Destination{{}}}}},
		{"allowed.destinations[0].folder:", Workflow{Allowed: Remedy{Handling: Copy, Destinations: []Destination{{Unit: "u", Folder: "a/../b"}}}}},
		{"allowed.destinations[1]:", Workflow{Allowed: Remedy{Handling: Copy, Destinations: []Destination{{Unit: "u", Folder: "a"}, {Unit: "u", Folder: "/a/"}}}}},
		{"allowed.on_conflict:", Workflow{Allowed: Remedy{OnConflict: "merge"}}},
		{"quarantine.expiry:", Workflow{Quarantine: Quarantine{Expiry: -1}}},
	} {
		if tt.field != "name:" {
			tt.w.Name = "w"
		}
		err := tt.w.Validate()
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.field) {
			t.Errorf("%s: got %v", tt.field, err)
		}
	}
	ok := Workflow{Name: "full", Pools: []string{"a", "b"},
		Filters:    Filters{MinSize: 1, MaxSize: 1 << 40, After: day(1), Before: day(2), Include: []string{"**/*.[ch]"}, Exclude: []string{"tmp/**"}},
		NotScanned: map[scan.Reason]Decision{scan.Encrypted: Allowed, scan.Timeout: Blocked},
		Tagging:    Tagging{Enabled: true, ResultKey: "scan-result", Values: map[string]string{"clean": "No Threat Detected"}},
		Sanitized:  Remedy{Handling: Move, Destinations: dest(1)},
		Blocked:    Remedy{Handling: Move, Destinations: dest(5), OnConflict: Overwrite},
		Allowed:    Remedy{Handling: Delete},
	}
	if err := ok.Validate(); err != nil {
		t.Error(err)
	}
}

func TestDecide(t *testing.T) {
	strict := Workflow{NotScanned: map[scan.Reason]Decision{scan.Encrypted: Allowed, scan.Timeout: Blocked, "new": Allowed}}
	conf := strict
	conf.Definition = FileDefinition{Configurable: true}
	asked := conf
	asked.Definition.Sensitive, asked.Definition.Vulnerabilities = true, true
	for _, tt := range []struct {
		name string
		w    Workflow
		rep  scan.Report
		want Decision
	}{
		{"clean", strict, scan.Report{Verdict: scan.Clean}, Allowed},
		{"infected", strict, scan.Report{Verdict: scan.Infected, Threat: "X"}, Blocked},
		{"suspicious", conf, scan.Report{Verdict: scan.Suspicious}, Blocked},
		{"engine's block, strict", strict, scan.Report{Verdict: scan.Clean, Blocked: "DLP"}, Blocked},
		{"engine's block beats an allowed reason", strict, scan.Report{Verdict: scan.NotScanned, Reason: scan.Encrypted, Blocked: "Encrypted Archive"}, Blocked},
		{"engine's block, configurable", conf, scan.Report{Verdict: scan.Clean, Blocked: "DLP", Sensitive: 3}, Allowed},
		{"infected and allowed by nobody", conf, scan.Report{Verdict: scan.Infected, Blocked: ""}, Blocked},
		{"sensitive, asked", asked, scan.Report{Verdict: scan.Clean, Sensitive: 1}, Blocked},
		{"vulnerable, asked", asked, scan.Report{Verdict: scan.NotScanned, Reason: scan.Encrypted, Vulnerabilities: 1}, Blocked},
		{"vulnerable, not asked", strict, scan.Report{Verdict: scan.Clean, Vulnerabilities: 1}, Allowed},
		{"reason allowed", strict, scan.Report{Verdict: scan.NotScanned, Reason: scan.Encrypted}, Allowed},
		{"reason blocked", conf, scan.Report{Verdict: scan.NotScanned, Reason: scan.Timeout}, Blocked},
		{"reason by default", strict, scan.Report{Verdict: scan.NotScanned, Reason: scan.TooLarge}, Held},
		{"reason that nobody knows", strict, scan.Report{Verdict: scan.NotScanned, Reason: "new"}, Held},
		{"no reason", strict, scan.Report{Verdict: scan.NotScanned}, Held},
		{"no verdict", strict, scan.Report{}, Held},
		{"a verdict that nobody knows", strict, scan.Report{Verdict: 77}, Held},
	} {
		got := tt.w.Decide(tt.rep)
		if got.Decision != tt.want || got.Because == "" {
			t.Errorf("%s: got %+v, want %s", tt.name, got, tt.want)
		}
	}
}

func TestExcluded(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 1, d, 0, 0, 0, 0, time.UTC) }
	w := Workflow{Filters: Filters{MinSize: 10, MaxSize: 100, After: day(2), Before: day(4),
		Include: []string{"**/*.exe", "in/**"}, Exclude: []string{"**/tmp/**"}}}
	for _, tt := range []struct {
		key  string
		size int64
		mod  time.Time
		want string // a part of why, "" = looked at
	}{
		{"a.exe", 10, day(2), ""},
		{"a.exe", 9, day(2), "min_size"},
		{"a.exe", 101, day(2), "max_size"},
		{"a.exe", -1, time.Time{}, ""},
		{"a.exe", 10, day(1), "after"},
		{"a.exe", 10, day(4), "before"},
		{"a.txt", 10, day(3), "include"},
		{"in/a.txt", 10, day(3), ""},
		{"in/tmp/a.txt", 10, day(3), "exclude"},
		{"tmp/a.exe", 10, day(3), "exclude"},
		{"x/\xff.exe", 10, day(3), ""},
	} {
		why, got := w.Excluded(tt.key, tt.size, tt.mod)
		if got != (tt.want != "") || !strings.Contains(why, tt.want) {
			t.Errorf("%q %d %v: got %q %v, want %q", tt.key, tt.size, tt.mod, why, got, tt.want)
		}
	}
	if why, out := Report().Excluded("", 0, time.Time{}); out {
		t.Errorf("no filters exclude: %s", why)
	}
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		glob, key string
		want      bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"*.log", "x.log", true}, {"*.log", "d/x.log", false},
		{"**/*.log", "x.log", true}, {"**/*.log", "d/e/x.log", true}, {"d/**", "d/e/f", true}, {"d/**", "d", true}, {"d/**", "e/d/f", false},
		{"**", "", true}, {"**", "a//b", true}, {"a/**/b", "a/b", true}, {"a/**/b", "a/x/y/b", true}, {"a/**/b", "a/x/y/bc", false},
		{"a/**/b/**/c", "a/b/x/b/y/c", true}, {"**/a/**/a", "a/b/a", true}, {"**/a/**/a", "a", false},
		{"a?c", "abc", true}, {"a?c", "a/c", false}, {"[a-c]x", "bx", true}, {`\*`, "*", true}, {`\*`, "x", false},
		{"*", "\xff\xfe", true}, {"?", "é", true}, {"[", "[", false}, {"a/", "a/", true}, {"", "", true},
	} {
		if got := Match(tt.glob, tt.key); got != tt.want {
			t.Errorf("Match(%q, %q) = %v", tt.glob, tt.key, got)
		}
	}
	// A key made to make a matcher slow.
	start := time.Now()
	Match(strings.Repeat("**/a*/", 60)+"z", strings.Repeat("aaaa/", 1000)+"b")
	if d := time.Since(start); d > time.Second {
		t.Errorf("a hostile key took %v", d)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("**/a*", "b/a")
	f.Fuzz(func(t *testing.T, glob, key string) {
		if checkGlob(glob) == nil && len(glob)+len(key) < 1000 {
			Match(glob, key)
		}
		if !Match("**", key) {
			t.Error("** does not match")
		}
	})
}

func TestSnapshot(t *testing.T) {
	a := Workflow{Name: "a", NotScanned: map[scan.Reason]Decision{scan.Timeout: Held, scan.Encrypted: Blocked, scan.Locked: Blocked},
		Filters: Filters{After: time.Date(2026, 1, 1, 1, 0, 0, 0, time.FixedZone("x", 3600))}}
	b := a
	b.Filters.After = a.Filters.After.UTC()
	data, h1 := a.Snapshot()
	for range 20 {
		if _, h := b.Snapshot(); h != h1 {
			t.Fatal("equal workflows, other hashes")
		}
	}
	var back Workflow
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(b, back); d != "" {
		t.Error(d)
	}
	b.DryRun = true
	if _, h := b.Snapshot(); h == h1 {
		t.Error("other workflows, equal hashes")
	}
}
