package remediation_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/workflow"
)

func flow(r workflow.Remedy) workflow.Workflow { return workflow.Workflow{Name: "test", Blocked: r} }

func tagging(f workflow.Workflow) workflow.Workflow {
	f.Tagging.Enabled = true
	return f
}

var moveToB = workflow.Remedy{Handling: workflow.Move, Destinations: to("b")}

// failing returns the executor of w with one method of one unit replaced by an error.
func (w *world) failing(unit, op string, kind fault.Kind) *remediation.Executor {
	w.hook = func(u, o, _ string) error {
		if u == unit && o == op {
			return fault.New(kind, "test", o, errors.New("says the vendor"))
		}
		return nil
	}
	return w.executor()
}

func TestKindsOfErrors(t *testing.T) {
	for _, tt := range []struct {
		unit, op string
		kind     fault.Kind
		want     string     // states of the plan
		returns  fault.Kind // of Run
		source   bool       // still there
	}{
		{"a", "Tag", fault.Unsupported, "tag refused, copy done, remove done", 0, false},
		{"a", "Tag", fault.Denied, "tag refused, copy done, remove done", 0, false},
		{"a", "Tags", fault.Denied, "tag refused, copy done, remove done", 0, false},
		{"a", "Tag", fault.Changed, "tag planned, copy planned, remove planned", fault.Changed, true},
		{"a", "Open", fault.Denied, "tag done, copy failed, remove skipped", 0, true},
		{"a", "Open", fault.NotFound, "tag done, copy planned, remove planned", fault.NotFound, true},
		{"a", "Read", fault.Changed, "tag done, copy planned, remove planned", fault.Changed, true},
		{"b", "Put", fault.Denied, "tag done, copy failed, remove skipped", 0, true},
		{"b", "Put", fault.Invalid, "tag done, copy failed, remove skipped", 0, true},
		{"b", "Put", fault.Unsupported, "tag done, copy refused, remove refused", 0, true},
		{"b", "Put", fault.NotFound, "tag done, copy failed, remove skipped", 0, true}, // the bucket is gone
		{"b", "Put", fault.Changed, "tag done, copy planned, remove planned", fault.Unavailable, true},
		{"b", "Stat", fault.Denied, "tag done, copy failed, remove skipped", 0, true},
		{"a", "Remove", fault.Unsupported, "tag done, copy done, remove refused", 0, true},
		{"a", "Remove", fault.Denied, "tag done, copy done, remove failed", 0, true},
		{"a", "Remove", fault.Changed, "tag done, copy done, remove planned", fault.Changed, true},
		{"a", "Remove", fault.Stale, "tag done, copy done, remove planned", fault.Stale, true},
		{"a", "Prune", fault.Denied, "tag done, copy done, remove done", 0, false}, // no prune asked for
	} {
		w := newWorld(t, false, false, connectortest.AllCaps())
		job := w.plan(tagging(flow(moveToB)), workflow.Blocked, true, false)
		err := w.failing(tt.unit, tt.op, tt.kind).Run(t.Context(), job, keep(w, &job))
		name := fmt.Sprintf("%s %s %s", tt.unit, tt.op, tt.kind)
		if fault.KindOf(err) != tt.returns || (err == nil) != (tt.returns == 0) {
			t.Errorf("%s: returned %v, want %v", name, err, tt.returns)
		}
		if got := states(job.Plan); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
		if got := w.memory["a"].Content(sourceKey) != nil; got != tt.source {
			t.Errorf("%s: source there: %v", name, got)
		}
		for _, s := range job.Plan {
			if (s.State == remediation.Failed || s.State == remediation.Refused) && s.Detail == "" {
				t.Errorf("%s: %s is %s without a reason", name, s.Action, s.State)
			}
		}
		if failed := strings.Contains(tt.want, "failed"); failed != (job.Plan.Failure() != "") {
			t.Errorf("%s: failure %q", name, job.Plan.Failure())
		}
	}
}

// A vendor without a precondition on tags writes them onto whatever is current,
// and says afterwards that it moved.
type looseTagger struct {
	*connectortest.Memory
	before func()
}

func (l looseTagger) Tag(ctx context.Context, ref object.Ref, set map[string]string) (object.Info, error) {
	if l.before != nil && set[remediation.ResultKey] != "" {
		l.before()
	}
	info, err := l.Memory.Tag(ctx, object.Ref{Unit: ref.Unit, Key: ref.Key}, set)
	if err == nil && info.Version != ref.Version {
		return info, fault.New(fault.Changed, "loose.Tag", ref.String(), nil)
	}
	return info, err
}

func TestTagsAreTakenBack(t *testing.T) {
	w := newWorld(t, false, false, connectortest.AllCaps())
	job := w.plan(tagging(flow(workflow.Remedy{})), workflow.Blocked, true, false)
	loose := looseTagger{w.memory["a"], func() {
		w.memory["a"].Write(sourceKey, []byte("next"))
		w.memory["a"].Retag(sourceKey, map[string]string{"owner": "me"})
	}}
	w.storages["a"] = connectors.NewStorage(connectors.Unit{Name: "a"}, loose, connectors.Options{Probed: &connectors.Probed{Caps: connectortest.AllCaps(), Proven: true}})
	if err := w.executor().Run(t.Context(), job, keep(w, &job)); !fault.Is(err, fault.Changed) {
		t.Errorf("got %v", err)
	}
	tags, err := w.memory["a"].Tags(t.Context(), w.ref(""))
	if d := cmp.Diff(map[string]string{"owner": "me"}, tags); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
}

func TestTagsThatAreThere(t *testing.T) {
	w := newWorld(t, false, false, connectortest.AllCaps())
	job := w.plan(tagging(flow(workflow.Remedy{})), workflow.Blocked, true, false)
	old := maps.Clone(job.Plan[0].Tags)
	old[remediation.FileIDKey], old[remediation.TimestampKey] = "another entry", "2020-01-01T00:00:00Z"
	w.memory["a"].Retag(sourceKey, old)
	if err := w.executor().Run(t.Context(), job, keep(w, &job)); err != nil || job.Plan[0].State != remediation.Skipped || w.effects["a Tag"] != 0 {
		t.Errorf("%v %+v %v", err, job.Plan, w.effects)
	}
	job = w.plan(tagging(flow(workflow.Remedy{})), workflow.Blocked, true, false)
	old[remediation.ResultKey] = "No Threat Detected"
	w.memory["a"].Retag(sourceKey, old)
	if err := w.executor().Run(t.Context(), job, keep(w, &job)); err != nil || job.Plan[0].State != remediation.Done || w.effects["a Tag"] != 1 {
		t.Errorf("%v %+v %v", err, job.Plan, w.effects)
	}
}

// A file that is written in place while it is read keeps its token for a
// moment; a destination that believes everything takes what it gets.
type torn struct {
	remediation.Storage
	content []byte
	put     *[]byte
}

// a lie is a reader of other bytes than its version has.
type lie struct {
	connectors.Reader
	body io.Reader
}

func (l lie) Read(p []byte) (int, error) { return l.body.Read(p) }

func (s torn) Open(ctx context.Context, ref object.Ref, off int64) (connectors.Reader, error) {
	in, err := s.Storage.Open(ctx, ref, off)
	if err != nil || s.content == nil {
		return in, err
	}
	return lie{in, bytes.NewReader(s.content)}, nil
}

func (s torn) Put(_ context.Context, key string, r io.Reader, opt connectors.PutOptions) (object.Info, error) {
	if s.put == nil {
		return object.Info{}, fault.New(fault.Unsupported, "torn.Put", key, nil)
	}
	// It reads what was announced and not a byte more.
	got, err := io.ReadAll(io.LimitReader(r, opt.Size))
	if err == nil {
		*s.put = got
	}
	return object.Info{Key: key, Version: "x"}, err
}

func TestTornSource(t *testing.T) {
	for name, content := range map[string]string{
		"other":   strings.Repeat("x", len(scanned)),
		"shorter": string(scanned[:5]),
		"longer":  string(scanned) + "x",
		"empty":   "",
	} {
		for _, action := range []workflow.Workflow{flow(moveToB), {Name: "q", Quarantine: workflow.Quarantine{Enabled: true}}} {
			w := newWorld(t, false, false, connectortest.AllCaps())
			job := w.plan(action, workflow.Blocked, true, false)
			var put []byte
			x := w.executor()
			open := x.Storage
			x.Storage = func(unit string) (remediation.Storage, error) {
				st, err := open(unit)
				if unit == "a" {
					return torn{Storage: st, content: []byte(content)}, err
				}
				return torn{Storage: st, put: &put}, err
			}
			err := x.Run(t.Context(), job, keep(w, &job))
			// A believing destination stops before bytes too many; those that it has
			// are the scanned ones then.
			if name == "longer" && err == nil && bytes.Equal(put, scanned) {
				continue
			}
			if !fault.Is(err, fault.Changed) || put != nil || w.memory["a"].Content(sourceKey) == nil || len(w.memory["q"].Keys()) > 0 {
				t.Errorf("%s %s: %v, put %q, %s", action.Name, name, err, put, states(job.Plan))
			}
		}
	}
}

// A vendor whose copy does not hold what it was asked for.
type badCopier struct{ *connectortest.Memory }

func (b badCopier) Copy(_ context.Context, _ object.Ref, key string, _ connectors.PutOptions) (object.Info, error) {
	return object.Info{Key: key, Version: b.Write(key, []byte("something else"))}, nil
}

func TestCopyWithinIsReadBack(t *testing.T) {
	w := newWorld(t, false, false, connectortest.AllCaps())
	job := w.plan(flow(workflow.Remedy{Handling: workflow.Move, Destinations: to("a")}), workflow.Blocked, true, false)
	w.storages["a"] = connectors.NewStorage(connectors.Unit{Name: "a"}, badCopier{w.memory["a"]}, connectors.Options{Probed: &connectors.Probed{Caps: connectortest.AllCaps(), Proven: true}})
	err := w.executor().Run(t.Context(), job, keep(w, &job))
	if !fault.Is(err, fault.Changed) || len(w.memory["a"].Keys()) != 1 || w.memory["a"].Content(sourceKey) == nil {
		t.Errorf("%v, left %v", err, w.memory["a"].Keys())
	}
}

func TestCarriesWhatItCan(t *testing.T) {
	w := newWorld(t, false, false, connectortest.AllCaps())
	job := w.plan(flow(moveToB), workflow.Blocked, true, false)
	info, err := w.storages["a"].Put(t.Context(), sourceKey, bytes.NewReader(scanned), connectors.PutOptions{IfVersion: job.Version, Size: job.Size, ContentType: "text/x-evil", Meta: map[string]string{"camera": "mine"}})
	if err != nil {
		t.Fatal(err)
	}
	job.Version = info.Version
	tags := map[string]string{"owner": "me", "odd": "caf\xe9\n"}
	for i := range 12 {
		tags[fmt.Sprintf("z%02d", i)] = "v"
	}
	w.memory["a"].Retag(sourceKey, tags)
	if err := w.executor().Run(t.Context(), job, keep(w, &job)); err != nil {
		t.Fatal(err)
	}
	info, _ = w.memory["b"].Stat(t.Context(), object.Ref{Key: landing})
	got, _ := w.memory["b"].Tags(t.Context(), object.Ref{Key: landing})
	sum := sha256.Sum256(scanned)
	if info.ContentType != "text/x-evil" || info.Meta["camera"] != "mine" || info.Meta[remediation.MetaEntry] != entryID || info.Meta[remediation.MetaSHA256] != fmt.Sprintf("%x", sum) || len(got) != 10 || got["owner"] != "me" || got["odd"] != "" {
		t.Errorf("meta %v, tags %v", info.Meta, got)
	}
	if !strings.Contains(job.Plan[0].Detail, "4 tags") {
		t.Errorf("detail %q", job.Plan[0].Detail)
	}
}

func TestForeignCopiesAreNotAdopted(t *testing.T) {
	for name, meta := range map[string]map[string]string{
		"another entry's": {remediation.MetaEntry: "another"},
		"nobody's":        nil,
	} {
		w := newWorld(t, false, false, connectortest.AllCaps())
		job := w.plan(flow(moveToB), workflow.Blocked, false, false)
		if _, err := w.storages["b"].Put(t.Context(), landing, bytes.NewReader(scanned), connectors.PutOptions{Size: int64(len(scanned)), Meta: meta}); err != nil {
			t.Fatal(err)
		}
		if err := w.executor().Run(t.Context(), job, keep(w, &job)); err != nil {
			t.Fatal(err)
		}
		if got := string(job.Plan[0].Key); got != "out/in/deep/evil (1).exe" {
			t.Errorf("%s: went to %s", name, got)
		}
	}
	// Ours by name, but somebody has changed it since.
	w := newWorld(t, false, false, connectortest.AllCaps())
	job := w.plan(flow(moveToB), workflow.Blocked, true, false)
	other := strings.Repeat("x", len(scanned))
	if _, err := w.storages["b"].Put(t.Context(), landing, strings.NewReader(other), connectors.PutOptions{Size: int64(len(scanned)), Meta: map[string]string{remediation.MetaEntry: entryID}}); err != nil {
		t.Fatal(err)
	}
	if err := w.executor().Run(t.Context(), job, keep(w, &job)); err != nil || string(w.memory["b"].Content(landing)) != other {
		t.Errorf("%v: %q", err, w.memory["b"].Content(landing))
	}
}

func TestSanitizedCopyIsHostile(t *testing.T) {
	for name, tt := range map[string]struct {
		content string
		first   func(w *world)
		want    string
	}{
		"not what was reported": {"other", func(w *world) {}, "sanitized failed, remove skipped"},
		"endless":               {strings.Repeat("x", 65<<20), func(w *world) {}, "sanitized failed, remove skipped"},
	} {
		w := newWorld(t, false, false, connectortest.AllCaps())
		w.clean = []byte(tt.content)
		job := w.plan(workflow.Workflow{Name: "test", Sanitized: moveToB}, workflow.Allowed, true, true)
		if name != "endless" {
			job.Report.Sanitized.Size = 4
		}
		if err := w.executor().Run(t.Context(), job, keep(w, &job)); err != nil || states(job.Plan) != tt.want || len(w.memory["b"].Keys()) > 0 || w.memory["a"].Content(sourceKey) == nil {
			t.Errorf("%s: %v %s", name, err, states(job.Plan))
		}
	}
	// It changes between the two times that it is read.
	w := newWorld(t, false, false, connectortest.AllCaps())
	job := w.plan(workflow.Workflow{Name: "test", Sanitized: moveToB}, workflow.Allowed, true, true)
	n := 0
	w.hook = func(_, op, _ string) error {
		if op == "OpenSanitized" {
			if n++; n == 2 {
				w.clean = []byte("and more")
			}
		}
		return nil
	}
	if err := w.executor().Run(t.Context(), job, keep(w, &job)); err != nil || states(job.Plan) != "sanitized failed, remove skipped" || len(w.memory["b"].Keys()) > 0 {
		t.Errorf("%v %s", err, states(job.Plan))
	}
}

func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := func(lease func() time.Time, hook func(w *world, op string) error) (*world, remediation.Job, error) {
			w := newWorld(t, false, false, connectortest.AllCaps())
			job := w.plan(flow(moveToB), workflow.Blocked, true, false)
			big := make([]byte, 2<<20) // 8 s at the slowest rate, beside the 10 s
			sum := sha256.Sum256(big)
			job.Version, job.Size, job.SHA256 = w.memory["a"].Write(sourceKey, big), int64(len(big)), sum[:]
			job.Lease = lease
			slept := false
			w.hook = func(_, op, _ string) error {
				if op == "Read" && slept {
					return nil
				}
				slept = slept || op == "Read"
				return hook(w, op)
			}
			err := w.executor().Run(t.Context(), job, keep(w, &job))
			w.hook = nil
			return w, job, err
		}
		start := time.Now()
		// Too short a lease: nothing starts.
		w, _, err := run(func() time.Time { return start.Add(9 * time.Second) }, func(*world, string) error { return nil })
		if !fault.Is(err, fault.Stale) || len(w.memory["b"].Keys()) > 0 {
			t.Errorf("short lease: %v", err)
		}
		// A lease that ends meanwhile ends the call.
		start = time.Now()
		w, _, err = run(func() time.Time { return start.Add(11 * time.Second) }, func(w *world, op string) error {
			if op == "Read" {
				time.Sleep(12 * time.Second)
			}
			return nil
		})
		if !fault.Is(err, fault.Stale) || w.memory["a"].Content(sourceKey) == nil || len(w.memory["b"].Keys()) > 0 {
			t.Errorf("ended lease: %v, %v", err, w.memory["b"].Keys())
		}
		// One that is renewed does not, but slowness does in the end.
		slow := func(d time.Duration) func(*world, string) error {
			return func(_ *world, op string) error {
				if op == "Read" {
					time.Sleep(d)
				}
				return nil
			}
		}
		renewed := func() time.Time { return time.Now().Add(11 * time.Second) }
		if _, job, err := run(renewed, slow(17*time.Second)); err != nil || job.Plan.Open() {
			t.Errorf("renewed: %v", err)
		}
		if _, _, err := run(renewed, slow(20*time.Second)); !fault.Is(err, fault.Unavailable) {
			t.Errorf("slow: %v", err)
		}
		// The caller's own end is passed through.
		ctx, cancel := context.WithCancel(t.Context())
		w = newWorld(t, false, false, connectortest.AllCaps())
		job := w.plan(flow(moveToB), workflow.Blocked, true, false)
		job.Lease = renewed
		w.hook = func(_, op, _ string) error {
			if op == "Read" {
				cancel()
			}
			return nil
		}
		if err := w.executor().Run(ctx, job, keep(w, &job)); !fault.Canceled(err) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

func TestUnfencedIsSaid(t *testing.T) {
	caps := connectortest.AllCaps()
	caps.FencedRemove, caps.FencedPut, caps.FencedCopy = false, false, false
	w := newWorld(t, false, false, caps)
	for name := range w.storages {
		w.storages[name] = connectors.NewStorage(connectors.Unit{Name: name, Unfenced: true}, w.memory[name], connectors.Options{Probed: &connectors.Probed{Caps: caps, Proven: true}})
	}
	job := w.plan(flow(moveToB), workflow.Blocked, true, false)
	if err := w.executor().Run(t.Context(), job, keep(w, &job)); err != nil {
		t.Fatal(err)
	}
	for _, s := range job.Plan {
		if s.State != remediation.Done || !s.Unfenced {
			t.Errorf("%+v", s)
		}
	}
}

func TestAmissInput(t *testing.T) {
	w := newWorld(t, false, false, connectortest.AllCaps())
	job := w.plan(flow(moveToB), workflow.Blocked, true, false)
	job.SHA256 = nil
	if err := w.executor().Run(t.Context(), job, keep(w, &job)); !fault.Is(err, fault.Internal) {
		t.Errorf("without a hash: %v", err)
	}
	if err := w.executor().Run(t.Context(), remediation.Job{}, nil); err != nil {
		t.Errorf("nothing to do: %v", err)
	}
}
