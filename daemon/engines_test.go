package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/test/servers"
)

// examined returns what the doctor says of the engines.
func (w *world) examined() (checks []control.Check) {
	w.t.Helper()
	d := &doctor{c: w.config(), tell: func(ch control.Check) bool {
		checks = append(checks, ch)
		return true
	}}
	d.engines(w.t.Context())
	return checks
}

// small are limits that make canaries small, and a clamd quick to prove itself.
func small() servers.ClamdOptions {
	return servers.ClamdOptions{Config: []string{"MaxFileSize 4M", "MaxScanSize 8M", "StreamMaxLength 4M", "MaxFiles 1000"}}
}

// TestBuiltinPool: a pool written down for the builtin engine calls clean what
// the pool that nobody wrote down would.
func TestBuiltinPool(t *testing.T) {
	w := newWorld(t)
	in := w.folder("in")
	put(t, filepath.Join(in, "a"), []byte("x"))
	for _, age := range []string{"", ", max_definitions_age: 1d"} {
		w.configure("server: {listen: '127.0.0.1:0'}\npools:\n  - {name: default, instances: [{url: 'builtin:'}]" + age + "}\nunits:\n" + unit("in", in, ""))
		r := w.start()
		r.verdict("in", "a", "clean")
		if code, body := r.get("/readyz?verbose"); code != 200 || !strings.Contains(body, "[+] pools ok") {
			t.Errorf("readyz: %d %s", code, body)
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(in, "a"), []byte("another"))
	}
	for _, ch := range w.examined() {
		if strings.HasPrefix(ch.Name, "engine ") && (ch.State != "ok" || ch.Detail != "builtin engine: EICAR and 0 hashes") {
			t.Errorf("doctor: %+v", ch)
		}
	}
}

// TestUndatedEngine has a clamd whose database has no date, with the age that
// is the default, and with the same written down.
func TestUndatedEngine(t *testing.T) {
	socket, _ := servers.Clamd(t, small())
	for _, asked := range []bool{false, true} {
		t.Run(fmt.Sprintf("asked=%v", asked), func(t *testing.T) {
			w := newWorld(t)
			in := w.folder("in")
			put(t, filepath.Join(in, "a"), []byte("x"))
			age, verdict, ready := "", "clean", 200
			if asked {
				age, verdict, ready = ", max_definitions_age: 7d", "not_scanned", 503
			}
			w.configure("server: {listen: '127.0.0.1:0'}\npools:\n  - {name: default, instances: [{url: 'clamd://" + socket + "'}]" + age + "}\nunits:\n" + unit("in", in, ""))
			r := w.start()
			r.verdict("in", "a", verdict)
			code, body := r.get("/readyz?verbose")
			if code != ready || asked != strings.Contains(body, "[-] engines: stale definitions in pool default") {
				t.Errorf("readyz: %d %s", code, body)
			}
			if err := r.Engines(); err != nil {
				t.Errorf("waited for: %v", err) // it does take work
			}
			for tested, err := range r.pools.Test(t.Context(), "") {
				if err != nil || asked != strings.Contains(tested.Error, "have no date") || asked == strings.Contains(tested.Note, "have no date") {
					t.Errorf("test: %+v, %v", tested, err)
				}
			}
			if st := r.pools.Status()[0].Instances[0]; st.Stale != asked || !st.Undated || !st.Ready {
				t.Errorf("status: %+v", st)
			}
			if n := strings.Count(w.log.String(), "definitions have no date"); n != 1 {
				t.Errorf("logged %d times", n)
			}
			found := false
			for _, ch := range w.examined() {
				found = found || ch.State == "warn" && strings.Contains(ch.Detail, "definitions have no date") && strings.Contains(ch.Fix, "max_definitions_age: 0")
			}
			if !found {
				t.Errorf("doctor: %+v", w.examined())
			}
		})
	}
}

// TestFailoverIsTold: who lives on the failover pool is ready, and says so.
func TestFailoverIsTold(t *testing.T) {
	w := newWorld(t)
	in := w.folder("in")
	put(t, filepath.Join(in, "a"), []byte("x"))
	socket, _ := servers.Clamd(t, small())
	for name, url := range map[string]string{"down": "clamd://" + filepath.Join(w.dir, "no.sock"), "up": "clamd://" + socket} {
		w.configure("server: {listen: '127.0.0.1:0'}\npools:\n  - {name: default, failover: spare, instances: [{url: '" + url + "'}]}\n" +
			"  - {name: spare, instances: [{url: 'builtin:'}]}\nunits:\n" + unit("in", in, ""))
		r := w.start()
		rec := r.verdict("in", "a", "clean")
		if by := rec.Engine; strings.HasPrefix(by, "builtin") != (name == "down") {
			t.Errorf("%s: scanned by %s", name, by)
		}
		want := "[+] default ok"
		if name == "down" {
			want = "[!] default: on failover (" + url + ": "
		}
		w.eventually(want, func() error {
			if code, body := r.get("/readyz?verbose"); code != 200 || !strings.Contains(body, want) || !strings.Contains(body, "[+] engines ok") {
				return fmt.Errorf("%d %s", code, body)
			}
			return nil
		})
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(in, "a"), []byte("again "+name))
	}
}

// TestOnceWithoutEngine: what is to end says at once that it waits, and gives up.
func TestOnceWithoutEngine(t *testing.T) {
	w := newWorld(t)
	in := w.folder("in")
	put(t, filepath.Join(in, "a"), []byte("x"))
	w.configure("server: {listen: off}\nunits:\n" + unit("in", in, ""))
	engine := "clamd://" + filepath.Join(w.dir, "no.sock")
	c := w.config()
	c.Pools = []config.Pool{config.NewPool(DefaultPool, config.Instance{URL: engine})}
	open := func() *Daemon {
		d, err := Open(t.Context(), Options{Config: c, Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelWarn})), Once: true})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := open()
	d.pools.patience = time.Second
	err := d.Run(t.Context())
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), engine+": ") {
		t.Errorf("without an engine: %v", err)
	}
	w.logged(0, "engine "+engine+": ", "; objects wait")
	if n := strings.Count(w.log.String(), "objects wait"); n != 1 {
		t.Errorf("said %d times", n)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	d = open()
	if err := d.Run(ctx); err != nil {
		t.Errorf("out of time: %v", err)
	}
	if err := d.Engines(); err == nil || strings.Count(err.Error(), engine) != 1 {
		t.Errorf("waited for: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = Scan(ctx, ScanOptions{Config: c, Targets: []string{in}, Log: slog.New(slog.DiscardHandler)}, nil)
	if !errors.Is(err, context.DeadlineExceeded) || strings.Count(err.Error(), "deadline") != 1 || !strings.Contains(err.Error(), engine) {
		t.Errorf("a scan out of time: %v", err)
	}
}
