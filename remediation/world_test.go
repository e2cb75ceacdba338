package remediation_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/connectors/file"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/remediation/quarantine"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	sourceKey = "in/deep/evil.exe"
	entryID   = "0198c0de-0000-7000-8000-000000000001"
)

var scanned = []byte("the bytes that were scanned")

// A world is the units a, b, c and the quarantine q, in memory.
type world struct {
	t        *testing.T
	memory   map[string]*connectortest.Memory // nil for folders
	places   map[string]place
	storages map[string]*connectors.Storage
	hook     func(unit, op, key string) error // asked at each call, and "op+" after it
	effects  map[string]int                   // "unit op" → how often it took effect
	clean    []byte                           // what the engine's sanitised copy holds
}

// A place is a unit as another client of it sees it.
type place interface {
	Write(key string, content []byte) string
	Content(key string) []byte
	Keys() []string
}

// newWorld opens the units. drift: tags move the source's version token, as
// they do on file systems.
func newWorld(t *testing.T, drift, versioned bool, caps connectors.Caps) *world {
	w := &world{t: t, memory: map[string]*connectortest.Memory{}, places: map[string]place{}, storages: map[string]*connectors.Storage{}, effects: map[string]int{}, clean: []byte("disarmed")}
	for _, name := range []string{"a", "b", "c", "q"} {
		m := connectortest.NewMemory(name)
		m.Versioned = versioned
		m.Fail = func(op, key string) error {
			if done, ok := strings.CutSuffix(op, "+"); ok {
				w.effects[name+" "+done]++
			}
			if w.hook != nil {
				return w.hook(name, op, key)
			}
			return nil
		}
		var d connectors.Driver = m
		if drift {
			d = &drifting{Memory: m, moved: map[string]int{}}
		}
		w.memory[name], w.places[name] = m, m
		w.storages[name] = connectors.NewStorage(connectors.Unit{Name: name}, d, connectors.Options{Probed: &connectors.Probed{Caps: caps, Proven: true}})
		t.Cleanup(func() { _ = w.storages[name].Close() })
	}
	return w
}

// worldOf opens the units for one of the modes.
func worldOf(t *testing.T, mode string) *world {
	if strings.HasPrefix(mode, "folders") {
		return newFolders(t, mode == "folders in place")
	}
	return newWorld(t, strings.HasPrefix(mode, "drifting"), mode == "versioned", connectortest.AllCaps())
}

func (w *world) executor() *remediation.Executor {
	return &remediation.Executor{
		Storage: func(unit string) (remediation.Storage, error) {
			if st, ok := w.storages[unit]; ok {
				return st, nil
			}
			return nil, fault.New(fault.NotFound, "test", unit, nil)
		},
		Vault:     quarantine.New("q", w.storages["q"]),
		Sanitizer: w,
	}
}

// OpenSanitized is the engine's.
func (w *world) OpenSanitized(context.Context, scan.Report) (io.ReadCloser, error) {
	if w.hook != nil {
		if err := w.hook("engine", "OpenSanitized", ""); err != nil {
			return nil, err
		}
	}
	return io.NopCloser(bytes.NewReader(w.clean)), nil
}

func (w *world) input(flow workflow.Workflow, d workflow.Decision) remediation.Input {
	in := remediation.Input{Entry: entryID, Unit: "a", Key: sourceKey, Workflow: flow, Decision: d, Verdict: scan.Infected,
		Report: scan.Report{Verdict: scan.Infected, Code: 1, Threat: "Test"}, Places: map[string]remediation.Place{}, Quarantine: "q",
		At: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)}
	if info, err := w.storages["a"].Stat(context.Background(), object.Ref{Unit: "a", Key: sourceKey}); err == nil {
		in.Version = info.Version
	}
	for name, st := range w.storages {
		in.Places[name] = remediation.Place{Caps: st.Caps(), Unfenced: st.Unit().Unfenced}
	}
	return in
}

func (w *world) ref(version string) object.Ref {
	return object.Ref{Unit: "a", Key: sourceKey, Version: version}
}

// plan writes the source and plans for it.
func (w *world) plan(flow workflow.Workflow, d workflow.Decision, look, sanitized bool) remediation.Job {
	w.t.Helper()
	w.places["a"].Write(sourceKey, scanned)
	in := w.input(flow, d)
	if sanitized {
		in.Report.Sanitized = &scan.Sanitized{Result: "Sanitized"}
	}
	if err := in.Workflow.Validate(); err != nil {
		w.t.Fatal(err)
	}
	if look {
		if err := in.LookUp(context.Background(), func(ctx context.Context, ref object.Ref) (object.Info, error) {
			return w.storages[ref.Unit].Stat(ctx, ref)
		}); err != nil {
			w.t.Fatal(err)
		}
	}
	plan, err := remediation.NewPlan(in)
	if err != nil {
		w.t.Fatal(err)
	}
	sum := sha256.Sum256(scanned)
	w.effects = map[string]int{}
	return remediation.Job{Entry: entryID, Unit: "a", Key: sourceKey, Version: in.Version, Size: int64(len(scanned)), SHA256: sum[:],
		Report: in.Report, Verdict: in.Verdict, Plan: plan}
}

// A journal keeps the plan as a database would.
type journal struct {
	w    *world
	job  *remediation.Job
	kept []byte
	own  []remediation.Own
}

func keep(w *world, job *remediation.Job) *journal {
	j := &journal{w: w, job: job}
	j.kept, _ = json.Marshal(job.Plan)
	return j
}

func (j *journal) Step(_ context.Context, _ int, own []remediation.Own, _ bool) error {
	if j.w.hook != nil {
		if err := j.w.hook("ledger", "Step", ""); err != nil {
			return err
		}
	}
	j.kept, _ = json.Marshal(j.job.Plan)
	j.own = append(j.own, own...)
	if j.w.hook != nil {
		return j.w.hook("ledger", "Step+", "")
	}
	return nil
}

// restart is what is known after a crash.
func (j *journal) restart() {
	var p remediation.Plan
	if err := json.Unmarshal(j.kept, &p); err != nil {
		j.w.t.Fatal(err)
	}
	j.job.Plan = p
}

var errCrash = fault.New(fault.Stale, "test", "", errors.New("the process died here"))

func states(p remediation.Plan) string {
	var s []string
	for _, st := range p {
		s = append(s, fmt.Sprintf("%s %s", st.Action, st.State))
	}
	return strings.Join(s, ", ")
}

// drifting is a Memory whose version tokens move when tags are written, as the
// change time of a file does.
type drifting struct {
	*connectortest.Memory
	mu    sync.Mutex
	moved map[string]int // by memory's version
}

func (d *drifting) out(info object.Info) object.Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	info.Version += "." + strconv.Itoa(d.moved[info.Version])
	return info
}

func (d *drifting) in(ref object.Ref) (object.Ref, error) {
	v, n, _ := strings.Cut(ref.Version, ".")
	d.mu.Lock()
	defer d.mu.Unlock()
	if ref.Version != "" && strconv.Itoa(d.moved[v]) != n {
		return ref, fault.New(fault.Changed, "drifting", ref.String(), nil)
	}
	ref.Version = v
	return ref, nil
}

func (d *drifting) MetadataOnly(a, b string) bool {
	va, _, _ := strings.Cut(a, ".")
	vb, _, _ := strings.Cut(b, ".")
	return va == vb && va != ""
}

func (d *drifting) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	ref, err := d.in(ref)
	if err != nil {
		return object.Info{}, err
	}
	info, err := d.Memory.Stat(ctx, ref)
	return d.out(info), err
}

type driftingReader struct {
	connectors.Reader
	d *drifting
}

func (r driftingReader) Info() object.Info { return r.d.out(r.Reader.Info()) }

func (d *drifting) Open(ctx context.Context, ref object.Ref, off int64) (connectors.Reader, error) {
	ref, err := d.in(ref)
	if err != nil {
		return nil, err
	}
	r, err := d.Memory.Open(ctx, ref, off)
	if err != nil {
		return nil, err
	}
	return driftingReader{r, d}, nil
}

func (d *drifting) Put(ctx context.Context, key string, r io.Reader, opt connectors.PutOptions) (object.Info, error) {
	opt.IfVersion, _, _ = strings.Cut(opt.IfVersion, ".")
	opt.Meta = nil // file systems need not keep it
	info, err := d.Memory.Put(ctx, key, r, opt)
	return d.out(info), err
}

func (d *drifting) Copy(context.Context, object.Ref, string, connectors.PutOptions) (object.Info, error) {
	return object.Info{}, fault.New(fault.Unsupported, "drifting.Copy", "", nil)
}

func (d *drifting) Remove(ctx context.Context, ref object.Ref, f connectors.Fence) (connectors.Removed, error) {
	ref, err := d.in(ref)
	if err != nil {
		return connectors.Removed{}, err
	}
	return d.Memory.Remove(ctx, ref, f)
}

func (d *drifting) Tags(ctx context.Context, ref object.Ref) (map[string]string, error) {
	ref, err := d.in(ref)
	if err != nil {
		return nil, err
	}
	return d.Memory.Tags(ctx, ref)
}

func (d *drifting) Tag(ctx context.Context, ref object.Ref, set map[string]string) (object.Info, error) {
	ref, err := d.in(ref)
	if err != nil {
		return object.Info{}, err
	}
	// The token moves with the effect, whether or not the answer arrives.
	fail := d.Memory.Fail
	d.Memory.Fail = func(op, key string) error {
		if op == "Tag+" {
			d.mu.Lock()
			d.moved[ref.Version]++
			d.mu.Unlock()
		}
		return fail(op, key)
	}
	info, err := d.Memory.Tag(ctx, ref, set)
	d.Memory.Fail = fail
	return d.out(info), err
}

// A folder is a place on disk. Its other client writes files in place, or beside
// and then renames them.
type folder struct {
	dir     string
	inPlace bool
}

func (f folder) Write(key string, content []byte) string {
	name := filepath.Join(f.dir, key)
	written := name
	if !f.inPlace {
		written = filepath.Join(filepath.Dir(f.dir), "beside")
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(written, content, 0o644), os.Rename(written, name)); err != nil {
		panic(err)
	}
	return ""
}

func (f folder) Content(key string) []byte {
	b, err := os.ReadFile(filepath.Join(f.dir, key))
	if err != nil {
		return nil
	}
	return b
}

// Keys are all files, those in the connector's private folder included.
func (f folder) Keys() (keys []string) {
	_ = filepath.WalkDir(f.dir, func(name string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(f.dir, name)
			keys = append(keys, rel)
		}
		return err
	})
	return keys
}

// newFolders opens the units as local folders.
func newFolders(t *testing.T, inPlace bool) *world {
	w := &world{t: t, places: map[string]place{}, storages: map[string]*connectors.Storage{}, effects: map[string]int{}, clean: []byte("disarmed")}
	for _, name := range []string{"a", "b", "c", "q"} {
		u := connectors.Unit{Name: name, URL: "file://" + t.TempDir()}
		d, err := file.Open(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		proven, err := connectors.Probe(t.Context(), u, d)
		if err != nil {
			t.Fatal(err)
		}
		ask := func(op, key string) error {
			if w.hook != nil {
				return w.hook(name, op, key)
			}
			return nil
		}
		faults := &connectortest.Faults{Driver: d, Before: ask, After: func(op, key string) error {
			w.effects[name+" "+op]++
			return ask(op+"+", key)
		}}
		w.places[name] = folder{strings.TrimPrefix(u.URL, "file://"), inPlace}
		w.storages[name] = connectors.NewStorage(u, faults, connectors.Options{Probed: &proven})
		t.Cleanup(func() { _ = w.storages[name].Close() })
	}
	return w
}
