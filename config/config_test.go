package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/fault"
)

// flow stands in for the type that package workflow decodes.
type flow struct {
	Name    string   `yaml:"name"`
	Pools   []string `yaml:"pools"`
	Filters struct {
		MaxSize int64     `yaml:"max_size"`
		After   time.Time `yaml:"after"`
	} `yaml:"filters"`
	NotScanned map[string]string `yaml:"not_scanned" enum:"held,blocked,allowed" keys:"encrypted,too_large"`
	Blocked    struct {
		Handling     string `yaml:"handling" enum:"keep,move,delete"`
		Destinations []struct {
			Unit   string `yaml:"unit"`
			Folder string `yaml:"folder"`
		} `yaml:"destinations"`
	} `yaml:"blocked"`
	Quarantine struct {
		Enabled bool          `yaml:"enabled"`
		Expiry  time.Duration `yaml:"expiry"`
	} `yaml:"quarantine"`
}

func (f flow) Validate() error {
	if f.Blocked.Handling == "move" && len(f.Blocked.Destinations) == 0 {
		return fault.New(fault.Invalid, "flow.Validate", "", errors.Join(errors.New("blocked.handling: move needs at least one destination")))
	}
	return nil
}

// load loads data and decodes its workflows, as the daemon does.
func load(name, data string, env ...string) (*config.Config, error) {
	c, err := config.Load(config.Options{File: name, Data: []byte(data), Env: env,
		Storages: []string{"file", "s3", "smb"}, Engines: []string{"builtin", "clamd", "mdcore"}})
	if err != nil {
		return c, err
	}
	for _, w := range c.Workflows {
		if err := w.Decode(new(flow)); err != nil {
			return c, err
		}
	}
	return c, nil
}

var wantLine = regexp.MustCompile(`^# want (\d+)(?::(\d+))? (.+)$`)

func TestBrokenFilesNameTheLine(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/broken.txtar")
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	for _, f := range archive.Files {
		t.Run(strings.TrimSuffix(f.Name, ".yaml"), func(t *testing.T) {
			first, _, _ := strings.Cut(string(f.Data), "\n")
			want := wantLine.FindStringSubmatch(first)
			if want == nil {
				t.Fatalf("no want in %q", first)
			}
			_, err := load(f.Name, string(f.Data))
			var problems config.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got %v, want problems", err)
			}
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("kind %v, want invalid", fault.KindOf(err))
			}
			p := problems[0]
			if strconv.Itoa(p.Line) != want[1] || want[2] != "" && strconv.Itoa(p.Column) != want[2] {
				t.Errorf("place %d:%d, want %s:%s\n%v", p.Line, p.Column, want[1], want[2], err)
			}
			if !strings.Contains(p.String(), want[3]) {
				t.Errorf("got  %s\nwant %s", p, want[3])
			}
			if !strings.Contains(p.Excerpt, "^") || !strings.HasPrefix(strings.TrimSpace(p.Excerpt), want[1]+" |") {
				t.Errorf("no excerpt of the line: %q", p.Excerpt)
			}
			if !t.Failed() {
				right++
			}
		})
	}
	fmt.Printf("cases=%d violations=%d\n", len(archive.Files), len(archive.Files)-right)
	if len(archive.Files) < 60 {
		t.Errorf("%d cases, want 60", len(archive.Files))
	}
}

const whole = `
data: /srv/landwaiter
server: {listen: "0.0.0.0:9000"}
log: {level: debug, format: json}
store: {dsn: "env:DSN"}
sandbox: required
bounds:
  workers: 3
  bytes_in_work: 64MiB
  attempts_for: 1d12h
  archive: {depth: 2}
units:
  - name: Invoices 2026
    url: s3://invoices/in?endpoint=http://127.0.0.1:9000&region=eu
    workflow: strict
    partitions: [a, b/c/]
    options: {access_key: AKIA, secret_key: "credential:s3", path_style: true, account: 0012}
    sweep: 90s
    rate: 2.5
    versions: all
  - {name: infected, url: file:///srv/infected, read_only: false}
pools:
  - name: core
    failover: default
    max_definitions_age: 0
    instances:
      - {url: "mdcore://core:8008", limit: 8, api_key: "value:file:not-a-path"}
workflows:
  - name: strict
    pools: [core]
    filters: {max_size: 1GiB, after: 2026-01-31}
    not_scanned: {encrypted: blocked}
    blocked:
      handling: move
      destinations: [{unit: infected, folder: x}]
    quarantine: {enabled: true, expiry: 30d}
`

func TestLoadReadsEverything(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "s3"), "hunter2\n")
	c, err := load("landwaiter.yaml", whole, "DSN=postgres://db/landwaiter", "CREDENTIALS_DIRECTORY="+dir)
	if err != nil {
		t.Fatal(err)
	}
	u, in := c.Units[0], c.Pools[0].Instances[0]
	got := []any{c.Data, c.Server.Listen, c.Log.Level, c.Log.Format, c.Store.DSN.Reveal(), c.Sandbox, c.Bounds.Workers,
		c.Bounds.BytesInWork, c.Bounds.AttemptsFor, c.Bounds.Archive.Depth, c.Bounds.Archive.Ratio, c.Bounds.Backlog,
		u.Name, u.Workflow, u.Partitions, u.Options["access_key"].Reveal(), u.Options["secret_key"].Reveal(), u.Options["path_style"].Reveal(), u.Options["account"].Reveal(), u.Sweep, u.Rate, u.Versions,
		c.Units[1].Versions, c.Pools[0].Failover, c.Pools[0].MaxDefinitionsAge, in.Limit, in.APIKey.Reveal(), c.Workflows[0].Name}
	want := []any{"/srv/landwaiter", "0.0.0.0:9000", "debug", "json", "postgres://db/landwaiter", "required", 3,
		config.Size(64 << 20), 36 * time.Hour, 2, 1000, 50000,
		"Invoices 2026", "strict", []string{"a", "b/c/"}, "AKIA", "hunter2", "true", "0012", 90 * time.Second, 2.5, "all",
		"current", "default", time.Duration(0), 8, "file:not-a-path", "strict"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var f flow
	if err := c.Workflows[0].Decode(&f); err != nil {
		t.Fatal(err)
	}
	if f.Filters.MaxSize != 1<<30 || f.Filters.After.Format(time.DateOnly) != "2026-01-31" || f.Quarantine.Expiry != 30*24*time.Hour || f.Blocked.Destinations[0].Folder != "x" {
		t.Errorf("section: %+v", f)
	}
}

func TestDefaults(t *testing.T) {
	for _, data := range []string{"", "\n", "# nothing\n", "\ufeff", "---\n", "units:\nlog:\n"} {
		c, err := load("empty.yaml", data)
		if err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		if c.Data != "./landwaiter-data" || c.Server.Listen != "127.0.0.1:8480" || c.Bounds.Workers < 8 || c.Bounds.BytesInWork != 256<<20 || c.Sandbox != "auto" {
			t.Errorf("%q: %+v", data, c)
		}
	}
}

func TestEnvironmentAndFlagsOverride(t *testing.T) {
	c, err := config.Load(config.Options{File: "f.yaml", Data: []byte("data: a\nlog: {level: warn}\nbounds: {workers: 2}\n"),
		Env: []string{"LANDWAITER_DATA=b", "LANDWAITER_LOG_LEVEL=error", "LANDWAITER_STORE_DSN=postgres://x", "LANDWAITER_BOUNDS_BYTES_IN_WORK=2MiB",
			"LANDWAITER_SERVICE_HOST=10.0.0.1", "LANDWAITER_PORT_80_TCP=tcp://10.0.0.1:80", "PATH=/bin"},
		Set: []config.Override{{Path: "data", Value: "c", Flag: "--data"}}})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range c.Show() {
		got[s.Path] = s.Value + " < " + s.Origin
	}
	for path, want := range map[string]string{
		"data": "c < --data", "log.level": "error < LANDWAITER_LOG_LEVEL", "store.dsn": "*** < LANDWAITER_STORE_DSN",
		"bounds.workers": "2 < f.yaml:3", "bounds.bytes_in_work": "2MiB < LANDWAITER_BOUNDS_BYTES_IN_WORK", "sandbox": "auto < default",
	} {
		if got[path] != want {
			t.Errorf("%s: got %q, want %q", path, got[path], want)
		}
	}
}

func TestBadOverrides(t *testing.T) {
	for _, c := range []struct {
		env, path, value, want string
	}{
		{env: "LANDWAITER_LOG_LEVLE=info", want: "LANDWAITER_LOG_LEVLE: no such setting; did you mean LANDWAITER_LOG_LEVEL?"},
		{env: "LANDWAITER_LOG_LEVEL=loud", want: `LANDWAITER_LOG_LEVEL: log.level: "loud" is not one of debug, info, warn, error; known are debug, info, warn, error`},
		{env: "LANDWAITER_BOUNDS_WORKERS=-1", want: "LANDWAITER_BOUNDS_WORKERS: bounds.workers: at least 1 is allowed"},
		{env: "LANDWAITER_BOUNDS_SCAN_TIMEOUT=5", want: `a duration is wanted, "5" is not one`},
		{env: "LANDWAITER_SERVER_LISTEN=nowhere", want: `LANDWAITER_SERVER_LISTEN: server.listen: "nowhere" is no address`},
		{env: "LANDWAITER_STORE_DSN=env:GONE", want: "LANDWAITER_STORE_DSN: store.dsn: the environment has no GONE"},
		{path: "log.levle", value: "info", want: `--flag: log.levle: no such setting; did you mean "log.level"?`},
		{path: "server.listen", value: "x", want: `--flag: server.listen: "x" is no address`},
	} {
		o := config.Options{Env: []string{c.env}}
		if c.path != "" {
			o.Set = []config.Override{{Path: c.path, Value: c.value, Flag: "--flag"}}
		}
		_, err := config.Load(o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v", c, err)
		}
	}
}

func TestSeveralProblemsAreReportedTogether(t *testing.T) {
	_, err := load("f.yaml", "dta: x\nlog: {level: loud}\nbounds: {workers: x, backlog: 0}\n")
	var problems config.Problems
	if !errors.As(err, &problems) || len(problems) != 4 {
		t.Fatalf("got %v", err)
	}
	lines := ""
	for range 200 {
		lines += "- {}\n"
	}
	_, err = load("f.yaml", "units:\n"+lines)
	if !errors.As(err, &problems) || len(problems) != config.MaxProblems {
		t.Errorf("got %d problems", len(problems))
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big.yaml")
	write(t, big, "# "+strings.Repeat("x", config.MaxFile))
	for name, want := range map[string]fault.Kind{filepath.Join(dir, "none.yaml"): fault.NotFound, dir: fault.Other, big: fault.Invalid} {
		if _, err := config.Load(config.Options{File: name}); err == nil || fault.KindOf(err) != want {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

func TestHostileFiles(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := range 9 {
		c := string(rune('a' + i))
		d := string(rune('b' + i))
		bomb += d + ": &" + d + " [*" + c + ",*" + c + ",*" + c + ",*" + c + ",*" + c + ",*" + c + ",*" + c + ",*" + c + ",*" + c + "]\n"
	}
	for name, data := range map[string]string{
		"bomb": bomb, "self": "data: &a [*a]\n", "deep": strings.Repeat("[", 5000), "deep map": "a: " + strings.Repeat("{a: ", 3000),
		"nul": "data: a\x00b\n", "escape": "data: \x1b[31mred\n", "latin1": "data: caf\xe9\n", "cr": "data: a\rb: c\n",
	} {
		start := time.Now()
		_, err := load(name, data)
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v", name, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s took %v", name, took)
		}
		if strings.ContainsAny(err.Error(), "\x00\x1b\r") {
			t.Errorf("%s: the error holds control characters: %q", name, err)
		}
	}
	if _, err := load("crlf", "log:\r\n  level: info\r\n"); err != nil {
		t.Errorf("CRLF: %v", err)
	}
	if c, err := load("alias", "data: &d /x\nlog: &l {level: info}\nunits: [{name: a, url: file:///a, workflow: *w}]\nworkflows: [{name: &w w}]\n"); err == nil {
		t.Errorf("an alias before its anchor: %+v", c)
	}
	if c, err := load("alias", "workflows: [{name: &w w}]\nunits: [{name: a, url: file:///a, workflow: *w}]\n"); err != nil || c.Units[0].Workflow != "w" {
		t.Errorf("alias: %v", err)
	}
}

func write(t *testing.T, name, data string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func FuzzLoad(f *testing.F) {
	archive, err := txtar.ParseFile("testdata/broken.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range archive.Files {
		f.Add(string(file.Data))
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data string) {
		c, err := load("f.yaml", data)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }) {
				t.Errorf("control characters: %q", err)
			}
			return
		}
		c.Show()
		if changes := config.Diff(c, c); len(changes) > 0 {
			t.Errorf("differs from itself: %v", changes)
		}
	})
}
