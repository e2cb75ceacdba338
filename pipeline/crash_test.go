package pipeline_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/workflow"
)

const (
	source  = "in/evil.exe"
	landed  = "out/in/evil.exe"
	content = evil + "content"
)

func to(units ...string) (d []workflow.Destination) {
	for _, u := range units {
		d = append(d, workflow.Destination{Unit: u, Folder: "out"})
	}
	return d
}

// scenarios are workflows, what must be where in the end, and how often what
// may have taken effect.
var scenarios = []struct {
	name    string
	flow    workflow.Workflow
	after   map[string]string // "unit:key" → content, "*" = any
	effects map[string]int    // "unit op" → times
}{
	{"report", report(), map[string]string{"a:" + source: content}, nil},
	{"tag", workflow.Workflow{Name: "t", Tagging: workflow.Tagging{Enabled: true}}, map[string]string{"a:" + source: content}, map[string]int{"a Tag": 1}},
	{"quarantine", away(), map[string]string{vaultUnit + ":*": "*"}, map[string]int{vaultUnit + " Put": 1, "a Remove": 1}},
	{"delete", workflow.Workflow{Name: "d", Blocked: workflow.Remedy{Handling: workflow.Delete}}, nil, map[string]int{"a Remove": 1}},
	{"move within", workflow.Workflow{Name: "m", Blocked: workflow.Remedy{Handling: workflow.Move, Destinations: to("a")}},
		map[string]string{"a:" + landed: content}, map[string]int{"a Remove": 1}},
	{"move across", workflow.Workflow{Name: "m", Tagging: workflow.Tagging{Enabled: true}, Blocked: workflow.Remedy{Handling: workflow.Move, Destinations: to("b")}},
		map[string]string{"b:" + landed: content}, map[string]int{"b Put": 1, "a Remove": 1, "a Tag": 1}},
	{"move to two", workflow.Workflow{Name: "m", Blocked: workflow.Remedy{Handling: workflow.Move, Destinations: to("b", "c")}},
		map[string]string{"b:" + landed: content, "c:" + landed: content}, map[string]int{"b Put": 1, "c Put": 1, "a Remove": 1}},
}

// TestCrashAnywhere kills the process at each call that the line makes for an
// object, before and after its effect, and starts another on the same ledger:
// it wants one finished entry, each effect once, nothing lost, nothing left
// aside, and nothing processed again where it came to lie.
func TestCrashAnywhere(t *testing.T) {
	cases, violations := 0, 0
	for i, sc := range scenarios {
		for _, where := range []string{"memory", "folders"} {
			every := 1
			if where == "folders" && os.Getenv("TEST_CRASH") == "" {
				every = 5 // real disks are slow; make crash takes each call
			}
			for at := 1 + i%every; violations < 10; at += every {
				c := &crash{t: t, flow: sc.flow, folders: where == "folders", at: at}
				c.run()
				if bad := c.wrong(sc.after, sc.effects); bad != "" {
					violations++
					t.Errorf("%s in %s, dying at call %d (%s): %s", sc.name, where, at, c.died, bad)
				}
				c.w.close()
				if c.died == "" {
					break
				}
				cases++
			}
		}
	}
	told("crash-anywhere", cases, violations, "enumerated")
}

// A crash is one life that ends at a call, and the next.
type crash struct {
	t       *testing.T
	flow    workflow.Workflow
	folders bool
	at      int    // the number of the call to die at, or
	when    string // its name

	w       *world
	dirs    map[string]string
	mu      sync.Mutex
	calls   int
	died    string
	effects map[string]int
}

func (c *crash) run() {
	var units []unit
	c.effects, c.dirs = map[string]int{}, map[string]string{}
	for _, name := range []string{"a", "b", "c"} {
		flow := c.flow
		if name != "a" {
			// Whatever came to lie here must not be processed again.
			flow = workflow.Workflow{Name: "loop", Blocked: workflow.Remedy{Handling: workflow.Move, Destinations: []workflow.Destination{{Unit: "a", Folder: "looped"}}}}
		}
		u := inMemory(name, flow)
		if c.folders {
			u, c.dirs[name] = folder(c.t, name, flow)
		}
		units = append(units, u)
	}
	w := newWorld(c.t, units...)
	c.w = w
	if c.folders {
		write(c.t, c.dirs["a"]+"/"+source, content)
	} else {
		w.places["a"].Write(source, []byte(content))
	}
	w.hook = func(unit, op, key string) error {
		if op == "List" || op == "Watch" || op == "Watch+" {
			return nil // of the sweeper and the source, who do nothing for one object
		}
		return c.call(unit + " " + op)
	}
	w.effect = func(unit, op string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.effects[unit+" "+op]++
	}
	w.called = func(op, _ string) error { return c.call("ledger " + op) }
	w.engine.before = func(context.Context, scan.Sample) error { return c.call("engine Scan") }
	w.engine.after = func(scan.Sample, []byte, *scan.Report) error { return c.call("engine Scan+") }
	w.run()
	w.until("dead or idle", func() bool {
		if w.dead.Load() {
			return true
		}
		ok, err := w.pipe.Idle(context.Background())
		return err == nil && ok
	})
	if !w.dead.Load() {
		return
	}
	w.kill()
	w.run()
	w.idle()
}

// call counts a call and dies at the one that is asked for.
func (c *crash) call(what string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls++; c.died != "" || c.calls != c.at && what != c.when {
		return nil
	}
	c.died = what
	c.w.about = fmt.Sprint("\n  dying at call ", c.at, " (", what, ")")
	c.w.dead.Store(true)
	return errDead
}

// wrong says what is not as it must be.
func (c *crash) wrong(after map[string]string, effects map[string]int) string {
	w := c.w
	w.idle()
	w.pipe.Sweep(w.ids["a"], "")
	w.pipe.Sweep(w.ids["b"], "")
	for range 2 {
		w.idle()
	}
	l, err := w.db.History(context.Background(), w.ids["a"], source)
	if err != nil {
		return err.Error()
	}
	// The sweep of the second life may have seen the object while the entry acted:
	// what it made pending ends when the object goes, without having been worked on.
	l = slices.DeleteFunc(l, func(e ledger.Entry) bool {
		return e.Outcome == ledger.OutcomeGone && len(e.Plan) == 0 && e.Verdict == scan.NotScanned
	})
	if len(l) != 1 || l[0].State != ledger.Finished || l[0].Outcome != ledger.OutcomeDone || l[0].Verdict != scan.Infected {
		return "entries" + w.states()
	}
	for _, s := range l[0].Plan {
		if s.State != remediation.Done && s.State != remediation.Skipped {
			return fmt.Sprintf("%s is %s: %s", s, s.State, s.Detail)
		}
	}
	if l[0].Crashes != 0 && c.died == "" || l[0].Crashes > 1 {
		return fmt.Sprintf("%d crashes counted", l[0].Crashes)
	}
	for _, u := range []string{"a", "b", "c"} {
		for _, e := range w.entries(u) {
			if e.Key != source {
				return "processed again:" + w.states()
			}
		}
	}
	have := map[string]string{}
	for _, u := range w.units {
		for key, what := range c.holds(u.Name) {
			if u.Name == vaultUnit {
				key, what = "*", "*"
			}
			if _, twice := have[u.Name+":"+key]; twice {
				return "two in the vault"
			}
			have[u.Name+":"+key] = what
		}
	}
	if fmt.Sprint(have) != fmt.Sprint(after) && len(have)+len(after) > 0 {
		return fmt.Sprintf("there is %q, want %q", have, after)
	}
	for what, n := range effects {
		if c.effects[what] != n {
			return fmt.Sprintf("effects %v, want %v", c.effects, effects)
		}
	}
	if problems, err := w.db.Fsck(context.Background(), true); err != nil || len(problems) > 0 {
		return fmt.Sprintf("fsck: %v %v", problems, err)
	}
	held, err := w.db.Held(context.Background(), w.ids["a"])
	if err != nil || len(held) > 0 {
		return fmt.Sprintf("still held: %v %v", held, err)
	}
	return ""
}

// holds are all keys of a unit and what is in them, private folders included.
func (c *crash) holds(unit string) map[string]string {
	have := map[string]string{}
	if dir, ok := c.dirs[unit]; ok {
		for _, name := range files(c.t, dir) {
			have[name] = read(c.t, dir+"/"+name)
		}
		return have
	}
	for _, key := range c.w.places[unit].Keys() {
		have[key] = string(c.w.places[unit].Content(key))
	}
	return have
}
