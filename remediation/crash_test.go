package remediation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/workflow"
)

func to(units ...string) (d []workflow.Destination) {
	for _, u := range units {
		d = append(d, workflow.Destination{Unit: u, Folder: "out"})
	}
	return d
}

const landing = "out/" + sourceKey

// A scenario is an action and what must be true after it, whatever happened on
// the way.
type scenario struct {
	name      string
	flow      workflow.Workflow
	sanitized bool
	before    map[string]string // "unit:key" → content that is there already
	after     map[string]string // all that is there then; the quarantine's content is not compared
	effects   map[string]int
}

var scenarios = []scenario{
	{"tag", workflow.Workflow{}, false, nil, map[string]string{"a:" + sourceKey: "scanned"}, nil},
	{"delete", workflow.Workflow{DeleteEmptyFolders: true, Blocked: workflow.Remedy{Handling: workflow.Delete}}, false, nil, nil, map[string]int{"a Remove": 1}},
	{"copy", workflow.Workflow{Blocked: workflow.Remedy{Handling: workflow.Copy, Destinations: to("b", "c")}}, false, nil,
		map[string]string{"a:" + sourceKey: "scanned", "b:" + landing: "scanned", "c:" + landing: "scanned"}, map[string]int{"b Put": 1, "c Put": 1}},
	{"copy within", workflow.Workflow{Blocked: workflow.Remedy{Handling: workflow.Copy, Destinations: to("a")}}, false, nil,
		map[string]string{"a:" + sourceKey: "scanned", "a:" + landing: "scanned"}, nil},
	{"move", workflow.Workflow{Blocked: workflow.Remedy{Handling: workflow.Move, Destinations: to("b", "c")}}, false, nil,
		map[string]string{"b:" + landing: "scanned", "c:" + landing: "scanned"}, map[string]int{"b Put": 1, "c Put": 1, "a Remove": 1}},
	{"move within", workflow.Workflow{Blocked: workflow.Remedy{Handling: workflow.Move, Destinations: to("a")}}, false, nil,
		map[string]string{"a:" + landing: "scanned"}, map[string]int{"a Remove": 1}},
	{"move, taken, rename", workflow.Workflow{Blocked: workflow.Remedy{Handling: workflow.Move, Destinations: to("b")}}, false,
		map[string]string{"b:" + landing: "foreign", "b:out/in/deep/evil (1).exe": "foreign too"},
		map[string]string{"b:" + landing: "foreign", "b:out/in/deep/evil (1).exe": "foreign too", "b:out/in/deep/evil (2).exe": "scanned"}, map[string]int{"b Put": 1, "a Remove": 1}},
	{"move, taken, overwrite", workflow.Workflow{Blocked: workflow.Remedy{Handling: workflow.Move, Destinations: to("b"), OnConflict: workflow.Overwrite}}, false,
		map[string]string{"b:" + landing: "foreign"}, map[string]string{"b:" + landing: "scanned"}, map[string]int{"b Put": 1, "a Remove": 1}},
	{"sanitized", workflow.Workflow{Sanitized: workflow.Remedy{Handling: workflow.Move, Destinations: to("b")}}, true, nil,
		map[string]string{"b:out/in/deep/evil_sanitized.exe": "disarmed"}, map[string]int{"b Put": 1, "a Remove": 1}},
	{"sanitized and moved", workflow.Workflow{Sanitized: workflow.Remedy{Handling: workflow.Move, Destinations: to("b")},
		Blocked: workflow.Remedy{Handling: workflow.Move, Destinations: to("c")}}, true, nil,
		map[string]string{"b:out/in/deep/evil_sanitized.exe": "disarmed", "c:" + landing: "scanned"}, map[string]int{"b Put": 1, "c Put": 1, "a Remove": 1}},
	{"quarantine", workflow.Workflow{Quarantine: workflow.Quarantine{Enabled: true, Expiry: 1}}, false, nil,
		map[string]string{"q:" + entryID + ".lwq": "*"}, map[string]int{"q Put": 1, "a Remove": 1}},
}

// TestCrashAnywhere dies at each call to storage, ledger and engine, before and
// after its effect, then once more at each call of the second run, and wants
// each effect once and nothing left behind.
func TestCrashAnywhere(t *testing.T) {
	cases, violations := 0, 0
	for _, sc := range scenarios {
		for _, mode := range []string{"plain", "drifting", "versioned", "unlooked", "drifting unlooked", "folders"} {
			if strings.HasSuffix(mode, "unlooked") && sc.name == "move, taken, overwrite" {
				continue // what may be overwritten comes from the look
			}
			for first := 1; ; first++ {
				fired := false
				for second := 0; ; second++ {
					if second > 0 && mode != "plain" && mode != "drifting unlooked" {
						break // one death tells as much, and real disks are slow
					}
					cases++
					got := crash(t, sc, mode, first, second)
					fired = fired || got.first
					if got.bad != "" {
						violations++
						t.Errorf("%s, %s, dying at call %d (%s) and %d (%s): %s", sc.name, mode, first, got.at, second, got.at2, got.bad)
					}
					if second > 0 && !got.second || !got.first {
						break
					}
				}
				if !fired || violations > 20 {
					break
				}
			}
		}
	}
	fmt.Printf("effect-once: cases=%d violations=%d seed=enumerated\n", cases, violations)
}

type crashed struct {
	first, second bool // whether the call exists
	at, at2, bad  string
}

func crash(t *testing.T, sc scenario, mode string, first, second int) (out crashed) {
	w := worldOf(t, mode)
	for at, content := range sc.before {
		unit, key, _ := strings.Cut(at, ":")
		w.places[unit].Write(key, []byte(content))
	}
	flow := sc.flow
	flow.Name, flow.Tagging.Enabled = "test", true
	job := w.plan(flow, workflow.Blocked, !strings.HasSuffix(mode, "unlooked"), sc.sanitized)
	j := keep(w, &job)

	die := func(at int, where *string, fired *bool) {
		n := 0
		w.hook = func(unit, op, key string) error {
			if n++; n == at || *fired {
				if !*fired {
					*where, *fired = unit+" "+op, true
				}
				return errCrash // a dead process makes no further call that counts
			}
			return nil
		}
	}
	die(first, &out.at, &out.first)
	err := w.executor().Run(context.Background(), job, j)
	if out.first != (err != nil) {
		out.bad = fmt.Sprintf("the first run returned %v", err)
		return out
	}
	if second > 0 {
		j.restart()
		die(second, &out.at2, &out.second)
		if err := w.executor().Run(context.Background(), job, j); out.second != (err != nil) {
			out.bad = fmt.Sprintf("the second run returned %v", err)
			return out
		}
	}
	w.hook = nil
	j.restart()
	if err := w.executor().Run(context.Background(), job, j); err != nil {
		out.bad = fmt.Sprintf("the last run returned %v", err)
		return out
	}
	out.bad = w.wrong(job, j, sc.after, sc.effects)
	return out
}

// wrong says what is not as it must be.
func (w *world) wrong(job remediation.Job, j *journal, after map[string]string, effects map[string]int) string {
	for _, s := range job.Plan {
		// A tag step that finds its own tags after a crash has nothing to do.
		if s.State != remediation.Done && !(s.Action == remediation.Prune && s.State == remediation.Skipped) {
			return fmt.Sprintf("%s is %s: %s", s.Action, s.State, s.Detail)
		}
	}
	have := map[string]string{}
	for unit, m := range w.places {
		for _, key := range m.Keys() {
			have[unit+":"+key] = string(m.Content(key))
		}
	}
	for at, want := range after {
		if want == "scanned" {
			want = string(scanned)
		}
		if got, ok := have[at]; !ok || want != "*" && got != want {
			return fmt.Sprintf("%s holds %q, want %q; there is %q", at, got, want, have)
		}
		delete(have, at)
	}
	if len(have) > 0 {
		return fmt.Sprintf("orphans: %q", have)
	}
	for what, n := range effects {
		if w.effects[what] != n {
			return fmt.Sprintf("effects %v, want %v", w.effects, effects)
		}
	}
	if w.effects["a Tag"] != 1 {
		return fmt.Sprintf("tagged %d times", w.effects["a Tag"])
	}
	// The inventory must know every version that is there, so that our own
	// events are dropped.
	for _, s := range job.Plan {
		known := slices.ContainsFunc(j.own, func(o remediation.Own) bool {
			return o.Unit == s.Unit && o.Key == string(s.Key) && (o.Gone || o.Version == s.Version)
		})
		if s.Action != remediation.Put && s.Action != remediation.Prune && !known {
			return fmt.Sprintf("nobody told the ledger of %s; it knows %v", s, j.own)
		}
	}
	return ""
}

// TestSourceReplaced replaces the source before each call: what was not scanned
// must stay where it is, untagged, and nothing else may arrive anywhere.
func TestSourceReplaced(t *testing.T) {
	cases, violations := 0, 0
	const fresh = "not yet scanned, or longer"
	for _, sc := range scenarios {
		for _, mode := range []string{"plain", "drifting", "versioned", "folders", "folders in place"} {
			for at := 1; ; at++ {
				w := worldOf(t, mode)
				for where, content := range sc.before {
					unit, key, _ := strings.Cut(where, ":")
					w.places[unit].Write(key, []byte(content))
				}
				flow := sc.flow
				flow.Name, flow.Tagging.Enabled = "test", true
				job := w.plan(flow, workflow.Blocked, true, sc.sanitized)
				j := keep(w, &job)
				n, fired := 0, ""
				w.hook = func(unit, op, key string) error {
					if n++; n == at {
						fired = unit + " " + op
						w.places["a"].Write(sourceKey, []byte(fresh))
					}
					return nil
				}
				err := w.executor().Run(context.Background(), job, j)
				if fired == "" {
					break
				}
				cases++
				bad := ""
				if err != nil && !fault.Is(err, fault.Changed) {
					bad = fmt.Sprintf("returned %v", err)
				}
				w.hook = nil
				if got := string(w.places["a"].Content(sourceKey)); got != fresh {
					bad = fmt.Sprintf("the new version is %q (run: %v)", got, err)
				}
				tags, terr := w.storages["a"].Tags(context.Background(), w.ref(""))
				if terr == nil && len(tags) > 0 && mode != "folders in place" {
					// In place, a file keeps the tags of what it was; one names that version.
					bad = fmt.Sprintf("the new version has tags %v", tags)
				}
				for unit, m := range w.places {
					for _, key := range m.Keys() {
						if c := string(m.Content(key)); c == fresh && !(unit == "a" && key == sourceKey) {
							bad = fmt.Sprintf("unscanned bytes at %s:%s", unit, key)
						}
					}
				}
				if bad != "" {
					violations++
					t.Errorf("%s, %s, replaced at call %d (%s): %s; %s", sc.name, mode, at, fired, bad, states(job.Plan))
				}
			}
		}
	}
	fmt.Printf("unscanned-untouched: cases=%d violations=%d seed=enumerated\n", cases, violations)
}

// TestDestinationAppears writes a foreign object to the destination before each
// call: it must stay what it is, and the source may only go if its copy is there.
func TestDestinationAppears(t *testing.T) {
	for _, conflict := range []string{workflow.Rename, workflow.Overwrite, workflow.Fail} {
		for _, unit := range []string{"a", "b"} {
			for at := 1; ; at++ {
				w := newWorld(t, false, false, connectortest.AllCaps())
				flow := workflow.Workflow{Name: "test", Blocked: workflow.Remedy{Handling: workflow.Move, Destinations: to(unit), OnConflict: conflict}}
				job := w.plan(flow, workflow.Blocked, true, false)
				j := keep(w, &job)
				n, fired, ours := 0, "", false
				w.hook = func(_, op, _ string) error {
					if n++; n == at {
						fired = op
						ours = w.memory[unit].Content(landing) != nil // landed before: somebody overwrites our copy
						w.memory[unit].Write(landing, []byte("foreign"))
					}
					return nil
				}
				err := w.executor().Run(context.Background(), job, j)
				if fired == "" {
					break
				}
				if got := string(w.memory[unit].Content(landing)); got != "foreign" {
					t.Errorf("%s %s at %d %s: the foreign object is %q", conflict, unit, at, fired, got)
				}
				source, renamed := w.memory["a"].Content(sourceKey), w.memory[unit].Content("out/in/deep/evil (1).exe")
				switch {
				case ours:
				case err != nil:
					t.Errorf("%s %s at %d %s: %v", conflict, unit, at, fired, err)
				case conflict == workflow.Rename && (source != nil || string(renamed) != string(scanned)):
					t.Errorf("%s %s at %d %s: %s", conflict, unit, at, fired, states(job.Plan))
				case conflict != workflow.Rename && (source == nil || job.Plan.Failure() == ""):
					t.Errorf("%s %s at %d %s: the source is %q; %s", conflict, unit, at, fired, source, states(job.Plan))
				}
			}
		}
	}
}

// TestTransientErrors fails each call once with each transient kind: the run
// says so, keeps its state, and the next one completes.
func TestTransientErrors(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Stale, fault.Internal} {
		for at := 1; ; at++ {
			w := newWorld(t, false, false, connectortest.AllCaps())
			flow := workflow.Workflow{Name: "test", Tagging: workflow.Tagging{Enabled: true}, Blocked: workflow.Remedy{Handling: workflow.Move, Destinations: to("b")}}
			job := w.plan(flow, workflow.Blocked, true, false)
			j := keep(w, &job)
			n, fired := 0, false
			w.hook = func(_, op, _ string) error {
				if n++; n == at {
					fired = true
					return fault.New(kind, "test", op, errors.New("once"))
				}
				return nil
			}
			err := w.executor().Run(context.Background(), job, j)
			if !fired {
				break
			}
			if !fault.Is(err, kind) {
				t.Errorf("%v at %d: got %v", kind, at, err)
			}
			// Without a restart: the plan in memory must not say more than the journal.
			if err := w.executor().Run(context.Background(), job, j); err != nil {
				t.Errorf("%v at %d: second run: %v", kind, at, err)
			}
			if bad := w.wrong(job, j, map[string]string{"b:" + landing: "scanned"}, map[string]int{"b Put": 1, "a Remove": 1}); bad != "" {
				t.Errorf("%v at %d: %s", kind, at, bad)
			}
		}
	}
}
